"""An existing Slurm: three commands. It places, queues, limits and accounts; its word on what became of a job proves nothing.

Jobs are known by name, never by id: a controller of Slurm that was killed early hands ids out again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from reconciler.model.errors import PermanentError, ReconcileError, TemporaryError
from reconciler.model.venue import Venue
from reconciler.runners._engines import LOOK_AT_NODE, EngineJob, Fitness, JobState, judged
from reconciler.system import shell
from reconciler.system.shell import Finished

# Without its controller `squeue` tries for ten seconds; a tick is not to wait for that.
LOOK_S, SUBMIT_S, NODE_S = 5.0, 30.0, 5.0
KILL_WAIT_S = 30
_QUEUED = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
_RUNNING = {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}
_OVER = {"COMPLETED", "FAILED", "OUT_OF_MEMORY", "BOOT_FAIL"}
# That it was asked to end is all that these say where its node can't be reached: the lease decides.
_TOLD = {"NODE_FAIL", "CANCELLED", "TIMEOUT", "DEADLINE", "PREEMPTED"}
_SETTING = re.compile(r"^(\w+)\s*= (.*)$", re.MULTILINE)
# No more of our environment goes into a job than it needs: Slurm keeps a copy of it in its spool.
_KEPT = ("HOME", "PATH", "USER", "LOGNAME", "LANG", "SHELL", "SLURM_CONF")


class Slurm:
    """The engine `slurm`."""

    def __init__(self, venue: Venue, env: Mapping[str, str]) -> None:
        self._venue, self._env = venue, {name: env[name] for name in _KEPT if name in env}

    def submit(self, name: str, script: str, env: Mapping[str, str], lock: int) -> None:
        """Hand the script to `sbatch`. The folder that we are in need not be there on the node."""
        self._run(
            "sbatch",
            *("--parsable", "--no-requeue", f"--job-name={name}", "--chdir=/", "--output=/dev/null"),
            *("--open-mode=truncate", "--signal=B:TERM@60", "--nodes=1"),
            *self._venue.options,
            stdin=script,
            env={**self._env, **env},
            timeout_s=SUBMIT_S,
            lock=lock,
        )

    def jobs(self) -> Mapping[str, Sequence[EngineJob]]:
        """All of our jobs that Slurm still knows of: one process."""
        found: dict[str, list[EngineJob]] = {}
        for line in self._run("squeue", "--me", "--noheader", "--states=all", "--format=%j|%T|%N|%r").splitlines():
            name, state, node, why = (*line.split("|", 3), "", "", "")[:4]
            found.setdefault(name, []).append(_job(state, node, why))
        return found

    def cancel(self, name: str) -> None:
        """`scancel` by name: TERM to the courier, KILL where that has not ended in time."""
        self._run("scancel", "--me", f"--name={name}", timeout_s=SUBMIT_S)

    def fit(self) -> Iterator[Fitness]:
        """The commands, the version, and the settings on which a good ending of a run depends."""
        try:
            version = self._run("sbatch", "--version").strip()
        except ReconcileError as error:
            hint = "install slurm-client, and have slurm.conf where it looks for it"
            yield Fitness(name="runner slurm", found="", wrong=str(error), hint=hint, fatal=True)
            return
        try:
            config = dict(_SETTING.findall(self._run("scontrol", "show", "config")))
        except ReconcileError as error:
            hint = "is slurmctld running?"
            yield Fitness(
                name="runner slurm", found=version, wrong=f"it does not answer: {error}", hint=hint, fatal=True
            )
            return
        yield Fitness(name="runner slurm", found=version)
        kill_wait = int((re.match(r"\d+", config.get("KillWait", "")) or ["0"])[0])
        wrong = f"KillWait is {kill_wait} s: a run that is stopped may be killed before its work is delivered"
        yield Fitness(
            name="slurm KillWait",
            found=f"{kill_wait} s",
            wrong=wrong if kill_wait < KILL_WAIT_S else "",
            hint=f"KillWait={KILL_WAIT_S} or more in slurm.conf",
        )
        tracked = config.get("ProctrackType", "").strip()
        wrong = "what an agent starts in a session of its own is not found by it where a courier is killed"
        yield Fitness(
            name="slurm ProctrackType",
            found=tracked,
            wrong=wrong if tracked.endswith("linuxproc") else "",
            hint="ProctrackType=proctrack/cgroup in slurm.conf",
        )

    def nodes(self, program: str) -> Iterator[Fitness]:
        """A short job on each node; one that does not begin in time is named."""
        listed = self._run("sinfo", "--Node", "--noheader", "--format=%N", timeout_s=SUBMIT_S).split()
        for node in dict.fromkeys(listed):
            where = f"--nodelist={node}", "--nodes=1", "--ntasks=1"
            how = f"--immediate={int(NODE_S)}", "--chdir=/", "--quiet"
            look = ("/bin/sh", "-c", LOOK_AT_NODE, "reconcile", self._venue.scratch, self._venue.remote, program)
            try:
                options = (each for each in self._venue.options if not each.startswith(("-w", "--nodelist")))
                yield judged(node, self._run("srun", *options, *where, *how, *look, timeout_s=NODE_S * 2))
            except ReconcileError as error:
                yield judged(node, str(error))

    def _run(
        self,
        *argv: str,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout_s: float = LOOK_S,
        lock: int = -1,
    ) -> str:
        given = None if stdin is None else stdin.encode()
        fds = () if lock < 0 else (lock,)
        try:
            done = shell.run(argv, env=env or self._env, stdin=given, timeout_s=timeout_s, pass_fds=fds)
        except PermanentError as error:
            raise TemporaryError(str(error), delay=30.0, hint=error.hint) from error
        if done.code:
            raise TemporaryError(f"{argv[0]}: {_complaint(done)}", delay=30.0)
        return done.text


def _job(state: str, node: str, why: str) -> EngineJob:
    """A job by Slurm's words. What it may call one in a later version counts as running: nothing is shortened by that.

    >>> _job("PENDING", "", "Resources"), _job("NODE_FAIL", "n2", "None").state
    (EngineJob(state=<JobState.QUEUED: 'queued'>, node='', remark='Resources'), <JobState.LOST: 'lost'>)
    """
    if state in _QUEUED:
        return EngineJob(state=JobState.QUEUED, remark=why if why != "None" else "")
    if state in _OVER:
        return EngineJob(state=JobState.OVER, node=node, remark=state)
    if state in _TOLD:
        return EngineJob(state=JobState.LOST, node=node, remark=state)
    return EngineJob(state=JobState.RUNNING, node=node, remark="" if state in _RUNNING else state)


def _complaint(done: Finished) -> str:
    """What a command of Slurm has against what it was given: before the last line, which says where help is.

    >>> _complaint(Finished(1, b"", b"sbatch: unrecognized option x")), _complaint(Finished(1, b"", b"sbatch: no x\\nUsage: sbatch"))
    ('sbatch: unrecognized option x', 'sbatch: no x')
    """
    lines = [line.strip() for line in done.err.decode("utf-8", "replace").splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(('Try "', "Usage:"))]
    return "; ".join(telling[-3:]) or done.complaint
