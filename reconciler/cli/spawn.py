"""`spawn`: one agent for one task, now. The same rules as a watch's, but for waiting: a person has spoken."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import click
from msgspec import Struct, field

from reconciler import wiring
from reconciler.cli.defaults import Asked, made_up
from reconciler.cli.output import Output, act, common, here
from reconciler.cli.people import begin_anew, closed
from reconciler.cli.run import AGENT
from reconciler.cli.session import LoopSession
from reconciler.cli.task_names import found_work, task_named
from reconciler.loop.executor import execute
from reconciler.loop.loop import Tick
from reconciler.model.desired import Desired, EpicSpec
from reconciler.model.errors import ChangedError, ReconcileError, UsageError
from reconciler.model.names import TaskId
from reconciler.model.observed import RetryPoint, RunState
from reconciler.model.reasons import Reason
from reconciler.model.values import replace
from reconciler.planning.actions import (
    Action,
    BlockTask,
    ClosePullRequest,
    Decision,
    RetryTask,
    StartAgent,
    StopAgent,
    Waiting,
    guards,
    next_step,
)
from reconciler.planning.actions.block_task import retrying
from reconciler.planning.graph import Index
from reconciler.planning.job import Job
from reconciler.planning.jobs import group_tasks, owners
from reconciler.planning.scheduling import admit
from reconciler.render import document, text
from reconciler.system.journal import Event
from reconciler.wiring import Site

ENDING_MOST_S = 15.0
KILLED_S = 1.0  # by then the record of an agent that was just killed stands
PAUSE_S = 0.1
STEPS_MAX = 20
ON_THE_WAY = (StartAgent, RetryTask, ClosePullRequest)  # what a person's word sets going; all else is the loop's

_AFTERWARDS = "no manifest covers it: 'reconcile merge' or 'reconcile run' merges its work"


@click.command("spawn")
@click.argument("task")
@AGENT
@common
def spawn_command(task: str, agent: str | None, out: Output) -> int:
    """Start one agent for TASK now: without waiting for a backoff, but within maxAgents.

    Works beside a running watch, and without a manifest (with the settings of reconcile.yaml). A task that was stopped
    or needs attention starts over, as with 'retry'. If its agent is running already, nothing is started, which is no
    error. Exit status 1: it can't be started now, and why.

    Refused inside a run: agents do not start agents.
    """
    environ = wiring.environ()
    wiring.refuse_agents(environ, "spawn")
    site = here()
    id = task_named(site, task, out.chat)
    _workable(site, id)
    desired, known = _desired(site, id, Asked(agent=agent, environ=environ))
    spawning = _Spawning(site=site, out=out, task=id, desired=desired)
    refused = spawning.until_at_work()
    if not out.for_people:
        out.answer(spawning.answer(refused), lambda: "")
    if refused:
        out.chat(f"{id}: not started: {refused.message} ({refused.reason})")
        return 1
    out.chat(f"'reconcile logs -f {id}' shows what it prints" + ("" if known else f"; {_AFTERWARDS}"))
    return 0


def _workable(site: Site, task: TaskId) -> None:
    """Raise for what no agent could work on."""
    if found_work(site, task).closed:
        raise closed(task)


def _desired(site: Site, task: TaskId, asked: Asked) -> tuple[Desired, bool]:
    """What is wanted, without pauses, and whether a manifest speaks of the task: one is made up where none does.

    What is made up is not recorded: a watch would take on every other task too.
    """
    recorded = site.desired()
    tasks = site.tracker.tasks()
    owner = owners(group_tasks(recorded, site.tracker.prefix(), tasks, Index(tasks))).get(task)
    if owner and asked.agent:
        raise UsageError(
            f"the manifest {owner} names the agent of {task}", hint="change it there, and leave --agent out"
        )
    epics = recorded.epics if owner else (*recorded.epics, made_up(site, asked, recorded.epics))
    return replace(recorded, epics=tuple(map(_at_once, epics))), owner is not None


def _at_once(spec: EpicSpec) -> EpicSpec:
    return replace(spec, agent=replace(spec.agent, backoff_initial_s=0.0, backoff_max_s=0.0))


class _Spawning(Struct, kw_only=True):
    """The way from a person's word to an agent running, in looks and steps."""

    site: Site
    out: Output
    task: TaskId
    desired: Desired
    began: float = field(default_factory=time.monotonic)
    done: list[dict[str, Any]] = field(default_factory=list)

    def until_at_work(self) -> Waiting | None:
        """Why no agent can be running now; None when one is."""
        for _ in range(STEPS_MAX):
            tick, job = self._settled()
            if isinstance(job, Waiting):
                return job
            if job.attempts.live:
                self.out.chat(
                    f"{self.task}: its agent is running (attempt {job.attempts.live.attempt}, pid {job.attempts.live.pid})"
                )
                return None
            decision = self._in_turn(tick, job)
            if _handed_over(job, decision):
                fresh = self._in_turn(tick, _anew(job))
                if not isinstance(fresh, StartAgent):
                    return _refusal(fresh)
                begin_anew(self.site, self.task, self.out)
                self._tell("RetryTask", "reset: attempts start again at 1")
            elif not isinstance(decision, ON_THE_WAY):
                return _refusal(decision)
            elif self._did(decision, tick) and isinstance(decision, StartAgent):
                self._remember()
                return None
        return Waiting(Reason.UNKNOWN, "it keeps changing; see 'reconcile status', then try again")

    def answer(self, refused: Waiting | None) -> dict[str, Any]:
        """What a command that acts prints."""
        waits = {"task": self.task, "reason": refused.reason, "message": refused.message} if refused else None
        return {"actions": self.done, "waiting": [waits] if waits else [], "unknown": []}

    def _look(self) -> Tick:
        return LoopSession(site=self.site, out=self.out, load=lambda: self.desired).loop().look()

    def _settled(self) -> tuple[Tick, Job | Waiting]:
        """The task with what belongs to it, once an agent that is ending has ended; or why it is not ours to touch."""
        while True:
            tick = self._look()
            job = _job_of(self.task, tick)
            if isinstance(job, Waiting) or job.attempts.live is None:
                return tick, job
            since, stop = time.monotonic() - self.began, next_step(job)
            if not isinstance(stop, StopAgent) and job.attempts.live.state is not RunState.ENDING and since > KILLED_S:
                return tick, job
            if since > ENDING_MOST_S:
                return tick, Waiting(
                    Reason.AGENT_RUNNING, f"attempt {job.attempts.live.attempt} is still ending; try again"
                )
            if isinstance(stop, StopAgent):
                self._did(stop, tick)
            time.sleep(PAUSE_S)

    def _in_turn(self, tick: Tick, job: Job) -> Decision:
        """The next step of the task alone, within the bound on agents."""
        key = (job.spec.name, job.task.id)
        return admit({key: (job, next_step(job))}, self.desired, tick.observed)[key][1]

    def _did(self, action: Action, tick: Tick) -> bool:
        """True when the action was performed; False when somebody else came first."""
        [outcome] = execute((action,), self.site.ports)
        if outcome.error and not isinstance(outcome.error, ChangedError):
            raise outcome.error
        if outcome.error:
            time.sleep(PAUSE_S)
            return False
        shown = document.outcome(outcome)
        self.done.append(shown)
        self.out.line(text.outcome(outcome))
        self._write(lambda: self.site.journal.append([Event(at=tick.observed.at, event="ActionDone", values=shown)]))
        return True

    def _tell(self, action: str, message: str) -> None:
        self.done.append(act(action, self.task, message))
        self.out.line(f"{self.task}  {action}  {message}")

    def _remember(self) -> None:
        """Let scripts find the new agent's pid where no watch tells them."""
        self._write(lambda: self.site.journal.state(self._look().observed))

    def _write(self, write: Callable[[], None]) -> None:
        try:
            write()
        except ReconcileError as error:
            self.out.chat(str(error))  # costs history, not work


def _job_of(task: TaskId, tick: Tick) -> Job | Waiting:
    """The task with what belongs to it, under the manifest that owns it; or why an agent of ours may not touch it."""
    for epic in tick.plan.epics:
        for job in epic.jobs:
            if job.task.id == task and not job.owned_by:
                theirs = guards.not_for_us(job) or guards.somebody_elses(job)
                return job if theirs is None or theirs.reason is Reason.STOPPED else theirs
    found = (epic.waiting.get(task) or epic.held for epic in tick.plan.epics)
    return next((decision for decision in found if decision), Waiting(Reason.UNKNOWN, "it can't be seen now"))


def _handed_over(job: Job, decision: Decision) -> bool:
    """True for a task that waits for a person to say that it starts over: spawning it is saying so."""
    return isinstance(decision, BlockTask) or (
        isinstance(decision, Waiting) and decision in (guards.somebody_elses(job), guards.for_a_person(job))
    )


def _anew(job: Job) -> Job:
    """What the task would be once it has started over, to see first whether an agent could start then."""
    labels = job.task.labels - retrying(job.task).remove_labels
    since = RetryPoint(n=job.attempts.next_n - 1, base=job.base_head, at=job.now)
    return replace(job, task=replace(job.task, status="open", labels=labels), since=since)


def _refusal(decision: Decision) -> Waiting:
    if isinstance(decision, Waiting):
        return decision
    what = (
        f"what comes next needs no agent: {decision.message}"
        if decision
        else "nothing is known that could be done for it"
    )
    return Waiting(Reason.AWAITING_MERGE if decision else Reason.UNKNOWN, what)
