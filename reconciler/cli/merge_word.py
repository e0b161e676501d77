"""`merge` beside another reconciler: a person's word for what waits for one, and a look at what becomes of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from reconciler.cli.drive import NothingLeft, look_on
from reconciler.cli.output import act
from reconciler.cli.session import LoopSession
from reconciler.loop.asking import ask
from reconciler.loop.loop import Tick
from reconciler.model.errors import ChangedError
from reconciler.model.names import Sha, TaskId
from reconciler.model.observed import Unknown
from reconciler.model.pull_records import Verdict
from reconciler.model.reasons import Reason
from reconciler.planning.actions.enqueue import taken_out_by_a_person
from reconciler.planning.job import Job
from reconciler.planning.plan import EpicPlan, Plan

Heads = Mapping[TaskId, Sha]
"""The heads that a person wants merged now."""


def say(session: LoopSession) -> tuple[Heads, Tick]:
    """Record the word for exactly the heads that wait for a merge; these, and the look that found them."""
    tick = session.look()
    heads = _order_merges(session, _waiting(tick.plan))
    if not heads:
        session.out.chat("nothing waits for a merge")
    return heads, tick


def put_back(session: LoopSession) -> None:
    """Record the word for what a person has taken out of the queue of its forge."""
    pulls = ask(session.site.forge.pull_requests)
    if not isinstance(pulls, Unknown) and any(map(taken_out_by_a_person, pulls.values())):
        _order_merges(session, taken_out(session.look().plan))


def taken_out(decided: Plan) -> list[Job]:
    """What is in no queue of its forge because a person took it out."""
    return [job for job in offered(decided.epics) if job.open_pull and taken_out_by_a_person(job.open_pull)]


def offered(epics: Iterable[EpicPlan]) -> list[Job]:
    """What is open of the tasks of these manifests."""
    return [job for epic in epics for job in epic.jobs if job.open_pull and not job.owned_by]


def _order_merges(session: LoopSession, jobs: Iterable[Job]) -> dict[TaskId, Sha]:
    heads: dict[TaskId, Sha] = {}
    for job in jobs:
        pull = job.open_pull
        assert pull is not None
        try:
            session.site.forge.review(pull.number, pull.head, Verdict.MERGE)
        except ChangedError as error:
            session.out.chat(f"{job.task.id}: it is not the head that waited: {error}")
            continue
        message = f"requested merge of #{pull.number} at {pull.head[:12]}"
        heads[job.task.id] = pull.head
        session.done.append(act("Merge", job.task.id, message))
        session.out.line(f"{job.task.id}  Merge  {message}")
    return heads


def outcome(session: LoopSession, heads: Heads) -> Tick | None:
    """The last look, once each head has landed or can't without something else; None when the other one has ended."""
    over = NothingLeft()
    return look_on(session, lambda decided: over(_about(decided, heads)))


def _waiting(decided: Plan) -> list[Job]:
    left = [
        job
        for epic in decided.epics
        for job in epic.jobs
        if job.open_pull and (word := epic.waiting.get(job.task.id)) and word.reason is Reason.AWAITING_MERGE
    ]
    return left + taken_out(decided)


def _about(decided: Plan, heads: Heads) -> Plan:
    """A plan without everything that has nothing to do with these heads, or comes after them: a repair makes another."""
    going = {job.task.id for e in decided.epics for job in e.jobs if _same(job, heads.get(job.task.id))}
    return Plan(epics=tuple(epic.about(going) for epic in decided.epics))


def _same(job: Job, head: Sha | None) -> bool:
    """True while a task is on its way with this head; what is landed and not closed yet is too."""
    if head is None or job.owned_by or job.done or job.verdict:
        return False
    return job.open_pull is None or job.open_pull.head == head
