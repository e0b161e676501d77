"""Whom to notify of what, and when: from a plan, what was sent before, and the time. Pure.

A notice says what *is*, not what happened: one who was killed before it was sent finds it again. `key` names one occurrence
of it, so that each recipient hears of it once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, time, timedelta

from msgspec import Struct, field

from reconciler.model.desired import EpicSpec
from reconciler.model.names import TaskId
from reconciler.model.notify import Notify, Telling
from reconciler.model.observed import Unknown
from reconciler.model.reasons import Reason
from reconciler.planning.messages import one_line
from reconciler.planning.plan import EpicPlan

SETTLES = timedelta(minutes=5)  # what is often over by itself is sent only when it is not
AGAIN = timedelta(hours=6)  # what comes and goes is sent no more often
FIRST_S, MOST_S = 60, 3600  # between two tries at a recipient that can't be reached
LINES_MAX, NAMED_MAX = 12, 3
TEXT_MAX, TITLE_MAX = 300, 60


class Notice(Struct, frozen=True, kw_only=True):
    """One thing to notify somebody of. `since`: of what may come back under the same key, since when it is so."""

    manifest: str
    event: Telling
    key: str
    message: str
    task: TaskId | None = None
    title: str = ""  # of the task
    since: datetime | None = None


class Missed(Struct, frozen=True, kw_only=True):
    """A recipient that could not be reached: why, how often, since when, and when it was tried last."""

    why: str
    tries: int
    since: datetime
    at: datetime


class Told(Struct, frozen=True, kw_only=True):
    """What is recorded of what was sent: when, by recipient and key; to whom last; who could not be reached."""

    sent: Mapping[tuple[str, str], datetime] = field(default_factory=dict)
    last: Mapping[str, datetime] = field(default_factory=dict)
    missed: Mapping[str, Missed] = field(default_factory=dict)


class Letter(Struct, frozen=True, kw_only=True):
    """One message to one recipient, with all that is due for it."""

    to: str
    rule: Notify
    notices: tuple[Notice, ...]
    tries: int = 0  # that were in vain

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(notice.key for notice in self.notices)

    @property
    def subject(self) -> str:
        """One line: what it is about."""
        names = sorted({notice.manifest for notice in self.notices})
        events = sorted({str(notice.event) for notice in self.notices})
        return f"reconcile {', '.join(names)}: {', '.join(events)}"

    @property
    def message(self) -> str:
        """A line for each thing; what several tasks wait for alike is one."""
        alike: dict[tuple[str, str], list[Notice]] = {}
        for notice in self.notices:
            alike.setdefault((notice.manifest, notice.message), []).append(notice)
        lines = [_line(manifest, text, found) for (manifest, text), found in alike.items()]
        more = len(lines) - LINES_MAX
        return "\n".join([*lines[:LINES_MAX], *([f"and {more} more: see 'reconcile status'"] if more > 0 else [])])


def recipient(rule: Notify) -> str:
    """The name of a recipient in the record: the same for the same target, and no secret can be read off it."""
    return hashlib.sha256("\0".join(rule.target).encode()).hexdigest()[:12]


def notices(epic: EpicPlan, conditions: Iterable[Mapping[str, str]], now: datetime) -> Iterator[Notice]:
    """All that there is to tell of a manifest. `conditions`: as `status` shows them, times in ISO 8601."""
    name = epic.name
    by_type = {each["type"]: each for each in conditions if each["status"] == "True"}
    if epic.converged and epic.epic_tasks:
        ends = [task.closed_at or task.updated_at for task in epic.epic_tasks.members]
        last = max(ends, default=epic.spec.recorded_at)
        message = f"all {len(ends)} tasks are closed"
        key = f"{name}/EpicComplete/{len(ends)}/{last:%Y%m%dT%H%M%S}"
        yield Notice(manifest=name, event=Telling.EPIC_COMPLETE, key=key, message=message)
    if low := by_type.get("BudgetLow"):
        budget = epic.spec.budget
        key = f"{name}/BudgetLow/{budget.usd}/{budget.tokens}"
        yield Notice(manifest=name, event=Telling.BUDGET_LOW, key=key, message=one_line(low["message"], TEXT_MAX))
    wrong = by_type.get("Degraded")
    since = datetime.fromisoformat(wrong["lastTransitionTime"]) if wrong else now
    if wrong and not (Reason.of(wrong["reason"]).row.passing and since > now - SETTLES):
        text = f"{wrong['reason']}: {one_line(wrong['message'], TEXT_MAX)}"
        key = f"{name}/Degraded/{wrong['reason']}"
        yield Notice(manifest=name, event=Telling.DEGRADED, key=key, message=text, since=since)
    if epic.held is None:
        yield from _for_people(epic)


def due(
    epics: Iterable[EpicSpec],
    found: Mapping[str, Sequence[Notice]],
    record: Told,
    now: datetime,
    *,
    closing: bool = False,
) -> list[Letter]:
    """The messages that are to be sent now. `found`: what there is to tell, by manifest; `now`: in the zone in which quiet
    hours are meant; `closing`: nobody comes back for what would wait for the next message."""
    letters: dict[str, Letter] = {}
    for spec in epics:
        for rule in spec.notify:
            to = recipient(rule)
            new = [n for n in found.get(spec.name, ()) if n.event in rule.on and not _knows(record, to, n, now)]
            if not new or is_quiet(rule, now) or _rests(record.missed.get(to), now):
                continue
            if not closing and _too_soon(rule, record.last.get(to), now):
                continue
            before = letters.get(to)
            known = {notice.key for notice in before.notices} if before else set()
            more = tuple(notice for notice in new if notice.key not in known)
            missed = record.missed.get(to)
            letters[to] = Letter(
                to=to,
                rule=before.rule if before else rule,
                notices=(*(before.notices if before else ()), *more),
                tries=missed.tries if missed else 0,
            )
    return list(letters.values())


def left(letter: Letter, record: Told, now: datetime) -> Letter | None:
    """What of a letter its recipient does not know by now; None where there is nothing, or it can't be reached for now."""
    rest = tuple(notice for notice in letter.notices if not _knows(record, letter.to, notice, now))
    missed = record.missed.get(letter.to)
    if not rest or _rests(missed, now):
        return None
    return Letter(to=letter.to, rule=letter.rule, notices=rest, tries=missed.tries if missed else 0)


def told_of(lines: Iterable[Mapping[str, object]]) -> Told:
    """What the record says, oldest line first. What makes no sense in it is left out."""
    sent: dict[tuple[str, str], datetime] = {}
    last: dict[str, datetime] = {}
    missed: dict[str, Missed] = {}
    for line in lines:
        match line:
            case {"at": str(text), "to": str(to), "keys": list(keys), **more} if at := _time(text):
                why, tries = more.get("failed"), more.get("tries")
                if isinstance(why, str):
                    since = missed[to].since if to in missed else at
                    missed[to] = Missed(why=why, tries=tries if isinstance(tries, int) else 1, since=since, at=at)
                    continue
                missed.pop(to, None)
                last[to] = at
                sent |= {(to, str(key)): at for key in keys}
    return Told(sent=sent, last=last, missed=missed)


def _for_people(epic: EpicPlan) -> Iterator[Notice]:
    jobs = {job.task.id: job for job in epic.jobs if job.task.id in epic.needy}
    titles = {task.id: task.title for task in epic.epic_tasks.members} if epic.epic_tasks else {}
    for task, word in epic.needy.items():
        job = jobs.get(task)
        # Started over and back again, it is another occurrence.
        runs = () if job is None or isinstance(job.runs, Unknown) else job.runs
        n, since = max((run.id.n for run in runs), default=0), job.since.n if job and job.since else 0
        yield Notice(
            manifest=epic.name,
            event=Telling.NEEDS_HUMAN,
            key=f"{epic.name}/NeedsHuman/{task}/{word.reason}/{n}.{since}",
            message=f"{word.reason}: {one_line(word.message, TEXT_MAX)}",
            task=task,
            title=one_line(titles.get(task, ""), TITLE_MAX),
        )


def _knows(record: Told, to: str, notice: Notice, now: datetime) -> bool:
    at = record.sent.get((to, notice.key))
    if at is None:
        return False
    came_back = notice.since is not None and notice.since > at
    return not (came_back and now - at >= AGAIN)


def _too_soon(rule: Notify, last: datetime | None, now: datetime) -> bool:
    # A time in the future was written before somebody set the clock back.
    return bool(last and timedelta() <= now - last < timedelta(seconds=rule.every_s))


def _rests(missed: Missed | None, now: datetime) -> bool:
    """True while it is too early to try again who could not be reached."""
    pause = min(FIRST_S * 2 ** min(missed.tries - 1, 10), MOST_S) if missed else 0
    return bool(missed and timedelta() <= now - missed.at < timedelta(seconds=pause))


def is_quiet(rule: Notify, now: datetime) -> bool:
    """True in the hours in which nothing is sent. `now`: in the zone in which they are meant."""
    if rule.quiet is None:
        return False
    begins, ends = (time.fromisoformat(text) for text in rule.quiet.split("-"))
    clock = now.time()
    return begins <= clock < ends if begins < ends else clock >= begins or clock < ends


def _line(manifest: str, text: str, found: Sequence[Notice]) -> str:
    tasks = [_called(notice.task, notice.title) for notice in found if notice.task]
    more = f" and {len(tasks) - NAMED_MAX} more" if len(tasks) > NAMED_MAX else ""
    about = f" {', '.join(tasks[:NAMED_MAX])}{more}:" if tasks else ""
    return f"{manifest}:{about} {text}"


def _called(task: TaskId, title: str) -> str:
    return f"{task} {title}" if title not in ("", task) else task


def _time(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else None
