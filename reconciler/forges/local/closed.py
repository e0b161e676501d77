"""Pull requests that are closed, in one file: a process that starts takes them from it, and reads none of their records.

Which there are, the refs say. A row counts only beside a ref that names the very commit it was made of, and what a commit says never
changes: so the file may be lost, damaged or old, and what it lacks is read where it stands.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import fields, force_setattr

from reconciler.git.commands import Refs
from reconciler.model.names import PrNumber, Sha, TaskId
from reconciler.model.observed import PullRequest, Rejection
from reconciler.system import derived

FEWEST = 32  # that are closed and not written down, before they are
_VERSION = 1  # of what `PullRecord.seen` makes of a record


class ClosedPull(Struct, frozen=True, array_like=True):
    """What is known of a pull request that is closed, and of which commit it was read."""

    ref: str
    commit: Sha
    pull: PullRequest


# A program whose values have other fields reads for itself.
_FORM = f"{_VERSION} {' '.join((*PullRequest.__struct_fields__, *Rejection.__struct_fields__))}"
_DEFAULTS = {each.name: each.default for each in fields(PullRequest)}
_Known = dict[str, tuple[Sha, PullRequest]]


class ClosedPulls:
    """The file at `path`, and what is closed since. Safe to share between threads: who comes second does it again."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._known: _Known | None = None  # by ref: the commit that it named, and what that says
        self._written = 0

    def among(self, refs: Refs) -> tuple[dict[PrNumber, PullRequest], Refs]:
        """The pull requests of these refs that are known to be closed; and the refs of all others."""
        known = self._load(refs) if self._known is None else self._known
        closed: dict[PrNumber, PullRequest] = {}
        others: Refs = {}
        for ref, named in refs.items():
            commit, pull = known.get(ref, _NOTHING)
            if pull is not None and commit == named[0]:
                closed[pull.number] = pull
            else:
                others[ref] = named
        return closed, others

    def note(self, found: Mapping[str, tuple[Sha, PullRequest]], refs: Refs) -> None:
        """These are closed. They are written down once that is worth it, with those that these `refs` still name."""
        known = self._load(refs) if self._known is None else self._known
        known |= found
        if len(known) - self._written < max(FEWEST, self._written // 16):
            return
        self._written = len(known)
        kept = ((ref, *one) for ref, one in known.items() if ref in refs and refs[ref][0] == one[0])
        derived.store(self._path, _FORM, [(ref, commit, _differing(pull)) for ref, commit, pull in kept])

    def _load(self, refs: Refs) -> _Known:
        rows = {row.ref: row for row in derived.load(self._path, _FORM, list[ClosedPull]) or []}
        self._known = {}
        for ref, (commit, _) in refs.items():
            if (row := rows.get(ref)) and row.commit == commit:
                _share(row.pull)
                self._known[ref] = commit, row.pull  # in the words of the refs, which stay in memory as well
        self._written = len(self._known)
        return self._known


_NOTHING = (None, None)


def _differing(pull: PullRequest) -> dict[str, Any]:
    """Its fields, without those that say nothing: what is read back shares these with all others."""
    return {name: value for name, default in _DEFAULTS.items() if (value := getattr(pull, name)) != default}


def _share(pull: PullRequest) -> None:
    """Thousands of them stay in memory: what their tasks and runs say too is there once, and most were merged as opened."""
    force_setattr(pull, "task", TaskId(sys.intern(pull.task)))
    if pull.opened_head == pull.head:
        force_setattr(pull, "opened_head", pull.head)
