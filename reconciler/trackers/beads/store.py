"""The tasks of a Beads database as `bd` tells them: one process for a look, however many there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from reconciler.model.errors import TemporaryError
from reconciler.model.names import TaskId
from reconciler.trackers._records import Record
from reconciler.trackers.beads import decoding, deferrals
from reconciler.trackers.beads.program import Bd
from reconciler.trackers.beads.versions import Can


def everything(bd: Bd) -> list[Record]:
    """Every task, closed and hidden ones too. Raises TemporaryError where that was not the whole answer."""
    if bd.program().can(Can.LIST_EDGES):
        return _listed(bd)
    finished = bd.read("export")
    if not finished.out.strip():
        # No task, or no answer: the exit status is 0 for both. A list says which, if not what a task waits for.
        found = _listed(bd)
        if found:
            raise _not_an_answer("export", "nothing")
    with _telling("export"):
        exported = decoding.exported(finished.out)
    until = deferrals.of_rows(bd.beads)
    return deferrals.added(exported, _deferred(bd) if until is None else until)


def some(bd: Bd, ids: Iterable[TaskId]) -> list[Record]:
    """These tasks, as far as they are there; early versions tell all others with them."""
    if not bd.program().can(Can.LIST_EDGES):
        return everything(bd)
    return _listed(bd, f"--id={','.join(sorted(ids))}")


def prefix(bd: Bd) -> str:
    """What the ids of this database begin with; empty where it does not say."""
    with _telling("config"):
        data = decoding.answer(bd.read("config", "get", "issue_prefix", "--json").out)
    return str(data.get("value") or "") if isinstance(data, dict) else ""


def _deferred(bd: Bd) -> dict[str, str]:
    """The deferred tasks by id, each with its date: one process more where there are none, two where there are some."""
    if not bd.program().can(Can.DEFER):
        return {}
    ids = sorted(str(record["id"]) for record in _listed(bd, "--deferred"))
    if not ids:
        return {}
    with _telling("show"):
        shown = decoding.records(bd.read("show", *ids, "--json").out)
    return {str(record["id"]): str(until) for record in shown if (until := record.get("defer_until"))}


def _listed(bd: Bd, *options: str) -> list[Record]:
    program = bd.program()
    # Without them some tasks are left out, first of all the closed ones; without a limit of 0 all but the first fifty.
    options = ("--json", "--all", "--limit=0", *options)
    if program.can(Can.LIST_HIDDEN):
        options += ("--include-gates", "--include-templates")
    if program.can(Can.LIST_INFRA):
        options += ("--include-infra",)
    if program.can(Can.LIST_NEEDS_FLAT):
        options += ("--flat",)
    with _telling("list"):
        return decoding.records(bd.read("list", *options).out)


@contextmanager
def _telling(what: str) -> Iterator[None]:
    """Say of which command the answer can't be read in the block."""
    try:
        yield
    except decoding.Unreadable as error:
        raise _not_an_answer(what, error) from error


def _not_an_answer(what: str, value: object) -> TemporaryError:
    return TemporaryError(f"bd {what} printed no tasks, but: {value}", delay=30.0, hint=f"see what 'bd {what}' says")
