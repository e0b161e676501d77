"""Hosts without an engine of their own: reached by ssh, or pretended on this machine. Placement is ours: the least busy.

On a host a job is a folder `<name>` with a script and a lock, below one of that host: hosts may share a disk. Whoever holds the lock is alive. What a real engine has and
this lacks: a queue, limits, users, accounting, and a word on hosts that are dead.
"""

from __future__ import annotations

import shlex
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from reconciler.model.errors import ReconcileError, TemporaryError
from reconciler.model.venue import Venue, VenueKind
from reconciler.runners._engines import LOOK_AT_NODE, EngineJob, Fitness, JobState, judged
from reconciler.system import shell
from reconciler.system.environment import scrubbed

ASK_S = 30.0
TAKEN = 17
_AT_ONCE = 16
_PLACING = threading.Lock()

# Plain sh, and `$1` the folder of the host's jobs. A name is used once: `mkdir` refuses the second. The job holds the lock for as long
# as it lives, and by that it is found; its pid is believed only while it does.
_SUBMIT = r"""umask 077; d="$1/$2"; mkdir -p "$1" && mkdir "$d" 2>/dev/null || exit 17
cat > "$d/script" && exec 9> "$d/lock" && flock -n 9 || exit 18
RECONCILE_NODE="$3" setsid python3 -I "$d/script" < /dev/null > "$d/out" 2>&1 9>&9 &
echo $! > "$d/pid" """
_LIST = r"""cd "$1" 2>/dev/null || exit 0
for d in *; do [ -e "$d/lock" ] || continue
if flock -n "$d/lock" true; then [ -z "$(find "$d" -maxdepth 0 -mmin +60)" ] || rm -rf "$d"; echo "$d over"
else echo "$d running"; fi; done"""
_CANCEL = r"""d="$1/$2"; [ -e "$d/lock" ] || exit 0
flock -n "$d/lock" true || kill -TERM "$(cat "$d/pid")" """


class Hosts:
    """An engine of hosts."""

    def __init__(self, venue: Venue, env: Mapping[str, str]) -> None:
        # A pretend node starts with our environment: it gets no more of that than agents here do.
        self._venue, self._env = venue, scrubbed(env) if venue.kind is VenueKind.HERE else dict(env)
        self._hosts = venue.hosts

    def submit(self, name: str, script: str, env: Mapping[str, str], lock: int) -> None:
        """Run a script on the host that has the fewest of ours. What it is given travels with it, in no command's words."""
        # One after the other: what is placed at the same moment would all be placed on one host.
        with _PLACING:
            self._submit(name, script, env)

    def _submit(self, name: str, script: str, env: Mapping[str, str]) -> None:
        busy: dict[str, int] = {}
        had: dict[str, int] = {}
        for host, jobs in self._all().items():
            if isinstance(jobs, ReconcileError):
                continue
            if name in jobs:
                return  # it was submitted, and the answer was lost
            had[host] = len(jobs)
            busy[host] = sum(each.state is JobState.RUNNING for each in jobs.values())
        room = {host: count for host, count in busy.items() if count < self._venue.per_host}
        if not room:
            raise TemporaryError("every host is full" if busy else "no host answers", delay=30.0)
        # Of those that are as busy the one that had the fewest of late: what ends at once on one host is tried on another.
        host = min(room, key=lambda each: (room[each], had[each], self._hosts.index(each)))
        head, _, rest = script.partition("\n")
        # What it is given may be secret: once it runs, nothing of it stays in a file.
        given = f"{head}\nimport os, sys\nos.unlink(sys.argv[0])\nos.environ.update({dict(env)!r})\n"
        # A docstring and imports from the future stand first in a program: it is run as one, from within.
        whole = f"{given}exec(compile({rest!r}, 'courier', 'exec'))\n"
        # The lock stays with us: what ssh leaves behind as its master, or the job itself, would hold it for hours.
        self._on(host, _SUBMIT, self._folder(host), name, host, stdin=whole)

    def jobs(self) -> Mapping[str, Sequence[EngineJob]]:
        """The jobs on every host that answers. One that does not makes its jobs absent: that is never 'over'."""
        found: dict[str, list[EngineJob]] = {}
        answers = self._all()
        if answers and all(isinstance(each, ReconcileError) for each in answers.values()):
            raise TemporaryError("no host answers", delay=30.0)
        for jobs in answers.values():
            for name, job in jobs.items() if not isinstance(jobs, ReconcileError) else ():
                found.setdefault(name, []).append(job)
        return found

    def cancel(self, name: str) -> None:
        """TERM to the job of this name, wherever it lives."""
        for host, jobs in self._all().items():
            if not isinstance(jobs, ReconcileError) and name in jobs and jobs[name].state is JobState.RUNNING:
                self._on(host, _CANCEL, self._folder(host), name)

    def fit(self) -> Iterator[Fitness]:
        """Whether the hosts answer."""
        answers = self._all()
        silent = {host: each for host, each in answers.items() if isinstance(each, ReconcileError)}
        found = f"{len(answers) - len(silent)} of {len(answers)} hosts answer"
        if not silent:
            yield Fitness(name=f"runner {self._venue.kind}", found=found)
        for host, error in silent.items():
            hint = f"try: ssh {host} true" if self._venue.kind is VenueKind.SSH else ""
            wrong, fatal = f"{host} does not: {error}", len(silent) == len(answers)
            yield Fitness(name=f"runner {self._venue.kind}", found=found, wrong=wrong, hint=hint, fatal=fatal)

    def nodes(self, program: str) -> Iterator[Fitness]:
        """Each host: its programs, its disk, the remote, what lies there."""
        for host in self._hosts:
            try:
                yield judged(host, self._on(host, LOOK_AT_NODE, self._root(host), self._venue.remote, program))
            except ReconcileError as error:
                yield judged(host, str(error))

    def _all(self) -> Mapping[str, Mapping[str, EngineJob] | ReconcileError]:
        """What each host says of its jobs, or why it says nothing; asked at the same time."""

        def one(host: str) -> Mapping[str, EngineJob] | ReconcileError:
            try:
                rows = (line.split(" ") for line in self._on(host, _LIST, self._folder(host)).splitlines())
                return {row[0]: EngineJob(state=JobState(row[1]), node=host) for row in rows if len(row) == 2}
            except ReconcileError as error:
                return error
            except ValueError:
                return TemporaryError(f"{host} answers something else")

        with ThreadPoolExecutor(min(len(self._hosts), _AT_ONCE) or 1) as pool:
            return dict(zip(self._hosts, pool.map(one, self._hosts), strict=True))

    def _root(self, host: str) -> str:
        pretended = self._venue.kind is VenueKind.HERE
        return f"{self._venue.scratch}/{host}" if pretended else self._venue.scratch

    def _folder(self, host: str) -> str:
        """Where the jobs of a host are."""
        pretended = self._venue.kind is VenueKind.HERE
        return f"{self._root(host)}/jobs" if pretended else f"{self._root(host)}/jobs/{host}"

    def _on(self, host: str, script: str, *args: str, stdin: str = "") -> str:
        argv = ["/bin/sh", "-c", script, "reconcile", *args]
        if self._venue.kind is not VenueKind.HERE:
            how = (*self._venue.options, *("-o", "BatchMode=yes"), *("-o", "ConnectTimeout=10"))
            argv = ["ssh", *how, "--", host, shlex.join(argv)]
        done = shell.run(argv, env=self._env, stdin=stdin.encode(), timeout_s=ASK_S)
        if done.code == TAKEN:
            return ""  # another submission of the same run was faster
        if done.code:
            raise TemporaryError(f"{host}: {done.complaint}", delay=30.0)
        return done.text
