"""`spawn`: one agent for one task, now. The same rules as a watch's, but for waiting: a person has spoken."""

from __future__ import annotations

import time

import click
from msgspec import Struct, field

from reconciler.cli.defaults import Asked, made_up
from reconciler.cli.drive import Ended, drive
from reconciler.cli.output import Output, act, common
from reconciler.cli.people import begin_anew, over
from reconciler.cli.run import AGENT
from reconciler.cli.session import LoopSession
from reconciler.cli.task_names import found_work, on_a_task
from reconciler.model.desired import Desired, EpicSpec
from reconciler.model.errors import UsageError
from reconciler.model.names import TaskId
from reconciler.model.observed import Observed, RetryPoint, RunState, Unknown
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
    UpdateTask,
    Waiting,
    guards,
    next_step,
)
from reconciler.planning.actions.block_task import retrying
from reconciler.planning.epic_tasks import group_tasks, owners
from reconciler.planning.graph import Index
from reconciler.planning.job import Job
from reconciler.planning.plan import Plan
from reconciler.planning.planner import plan
from reconciler.wiring import Site

ENDING_MOST_S = 15.0
KILLED_S = 1.0  # by then the record of an agent that was just killed stands
PAUSE_S = 0.1
ON_THE_WAY = (UpdateTask, StopAgent, ClosePullRequest, RetryTask, StartAgent)  # what a person's word sets going
STARTS = ("StartAgent", "RestartAgent")
ANEW = "reset: attempts start again at 1"

_AFTERWARDS = "no manifest covers it: 'reconcile merge' or 'reconcile run' merges its work"


@click.command("spawn")
@AGENT
@common
@on_a_task
def spawn_command(site: Site, id: TaskId, agent: str | None, out: Output) -> int:
    """Start one agent for TASK now: without waiting for a backoff, but within maxAgents.

    Works beside a running watch, and without a manifest (with the settings of reconcile.yaml). A task that was stopped
    or needs attention starts over, as with 'retry'. If its agent is running already, nothing is started, which is no
    error. Exit status 1: it can't be started now, and why.

    Refused inside a run: agents do not start agents.
    """
    if (found := found_work(site, id)).closed:
        raise over(found)
    session = LoopSession(site=site, out=out, beside=True)
    desired, known = _desired(session, id, Asked(agent=agent, environ=site.environ))
    afterwards = f"'reconcile logs -f {id}' shows what it prints" + ("" if known else f"; {_AFTERWARDS}")
    return _Spawning(session=session, task=id, desired=desired, afterwards=afterwards).drive()


def _desired(session: LoopSession, task: TaskId, asked: Asked) -> tuple[Desired, bool]:
    """What is wanted for a task, without pauses, and whether a manifest speaks of it: one is made up where none does.

    What is made up is not recorded: a watch would take on every other task too.
    """
    site, invalid = session.site, session.met().invalid
    recorded = site.desired()
    tasks = site.tracker.tasks()
    owner = owners(group_tasks(recorded, site.tracker.prefix(), tasks, Index(tasks))).get(task)
    if owner and asked.agent:
        raise UsageError(
            f"the manifest {owner} names the agent of {task}", hint="change it there, and leave --agent out"
        )
    epics = recorded.epics if owner else (*recorded.epics, made_up(site, asked, recorded.epics))
    specs = tuple(_at_once(spec, invalid.get(spec.name)) for spec in epics)
    return replace(recorded, epics=specs, alone=task), owner is not None


def _at_once(spec: EpicSpec, invalid: str | None) -> EpicSpec:
    agent = replace(spec.agent, backoff_initial_s=0.0, backoff_max_s=0.0)
    return replace(spec, agent=agent, invalid=spec.invalid or invalid)


class _Spawning(Struct, kw_only=True):
    """The way from a person's word to an agent running: a loop that acts on one task alone."""

    session: LoopSession
    task: TaskId
    desired: Desired
    afterwards: str
    began: float = field(default_factory=time.monotonic)
    again: bool = False  # it has started over

    def drive(self) -> int:
        self.session.load, self.session.wanted = lambda: self.desired, self._wanted
        return drive(
            self.session, self._settled, self._conclude, timeout_s=ENDING_MOST_S, interval_s=PAUSE_S, listens=None
        )

    @property
    def _started(self) -> bool:
        return any(done["action"] in STARTS and "error" not in done for done in self.session.done)

    def _wanted(self, action: Action) -> bool:
        return isinstance(action, ON_THE_WAY) and not (isinstance(action, StartAgent) and self._started)

    def _settled(self, decided: Plan) -> bool:
        """True once nothing of the task is about to end."""
        job = _job_of(self.task, decided)
        if self._started or isinstance(job, Waiting) or job.attempts.live is None:
            return True
        ending = job.attempts.live.state is RunState.ENDING or isinstance(next_step(job), StopAgent)
        return not ending and time.monotonic() - self.began > KILLED_S

    def _conclude(self, session: LoopSession, ended: Ended) -> int:
        job = _job_of(self.task, ended.tick.plan)
        if self._started:
            return self._say(None)
        if isinstance(job, Waiting):
            return self._say(job)
        if run := job.attempts.live:
            if ended.timed_out:
                return self._say(Waiting(Reason.AGENT_RUNNING, f"attempt {run.attempt} is still ending; try again"))
            session.out.chat(f"{self.task}: its agent is running (attempt {run.attempt}, pid {run.pid})")
            return self._say(None)
        decision = _decision(job, ended.tick.plan)
        if self.again or ended.interrupted or not _handed_over(job, decision):
            return self._say(_refusal(decision))
        decision = _decision(job, plan(self.desired, _anew(job, ended.tick.observed)))
        if not isinstance(decision, StartAgent):
            return self._say(_refusal(decision))
        begin_anew(session.site, self.task, session.out)
        self.again = True
        session.done.append(act("RetryTask", self.task, ANEW))
        session.out.noted(session.site, session.done[-1:])
        session.out.line(f"{self.task}  RetryTask  {ANEW}")
        return self.drive()

    def _say(self, refused: Waiting | None) -> int:
        """Say why no agent can be running now, None where one is; the exit code."""
        out = self.session.out
        if not out.for_people:
            waits = {"task": self.task, "reason": refused.reason, "message": refused.message} if refused else None
            out.answer({"actions": self.session.done, "waiting": [waits] if waits else [], "unknown": []}, lambda: "")
        out.chat(f"{self.task}: not started: {refused.message} ({refused.reason})" if refused else self.afterwards)
        return 1 if refused else 0


def _job_of(task: TaskId, decided: Plan) -> Job | Waiting:
    """The task with what belongs to it, under the manifest that owns it; or why an agent of ours may not touch it."""
    for epic in decided.epics:
        for job in epic.jobs:
            if not job.owned_by:
                theirs = guards.not_for_us(job) or guards.somebody_elses(job)
                return job if theirs is None or theirs.reason is Reason.STOPPED else theirs
    found = (epic.waiting.get(task) or epic.held for epic in decided.epics)
    return next((decision for decision in found if decision), Waiting(Reason.UNKNOWN, "it can't be seen now"))


def _handed_over(job: Job, decision: Decision) -> bool:
    """True for a task that waits for a person to say that it starts over: spawning it is saying so."""
    return isinstance(decision, BlockTask) or (
        isinstance(decision, Waiting) and decision in (guards.somebody_elses(job), guards.for_a_person(job))
    )


def _anew(job: Job, observed: Observed) -> Observed:
    """What would be seen once the task has started over, to see first whether an agent could start then."""
    assert not isinstance(observed.tasks, Unknown)  # the job is of one of them
    labels = job.task.labels - retrying(job.task).remove_labels
    task = replace(job.task, status="open", labels=labels)
    since = RetryPoint(n=job.attempts.next_n - 1, base=job.base_head, at=job.now)
    return replace(observed, tasks={**observed.tasks, task.id: task}, since={**observed.since, task.id: since})


def _decision(job: Job, decided: Plan) -> Decision:
    """What comes next for the task, also where that is more than a person's word sets going."""
    mine = next(epic for epic in decided.epics if epic.name == job.spec.name)
    return mine.waiting.get(job.task.id) or next(iter(mine.actions), None) or next_step(job)


def _refusal(decision: Decision) -> Waiting:
    if isinstance(decision, Waiting):
        return decision
    if isinstance(decision, ON_THE_WAY):
        return Waiting(Reason.UNKNOWN, "it keeps changing; see 'reconcile status', then try again")
    what = (
        f"what comes next needs no agent: {decision.message}"
        if decision
        else "nothing is known that could be done for it"
    )
    return Waiting(Reason.AWAITING_MERGE if decision else Reason.UNKNOWN, what)
