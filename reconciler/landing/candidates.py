"""What the base becomes when a head lands on it: computed without writing anything, and remembered."""

from __future__ import annotations

import json
import posixpath
import time
from collections.abc import Iterator, Sequence
from typing import Any

from reconciler.git.commands import Git, GitError
from reconciler.landing.merge_tree import BEADS, MergeTree, MergeTrees
from reconciler.model.desired import MergeMethod
from reconciler.model.errors import ReconcileError
from reconciler.model.names import Sha
from reconciler.model.observed import Candidate, Conflict, MergeStep
from reconciler.model.values import replace

PACKAGE = "package.json"
ATTRIBUTES = ".gitattributes"
REMEMBERED = 16_384
FOLDS_MAX = 256
_UNREADABLE = object()
# Objects can be made by hand at which git works for as long as it is let: all else would wait for them at every look.
LONG_S = 10.0
RESTS = 20  # times as long as it took


class Candidates:
    """Merges heads into bases. What was computed for a pair is remembered until `forget`.

    `whole`: somebody merges who makes no exception for `.beads/`.
    """

    def __init__(self, git: Git, *, whole: bool = False) -> None:
        self._git, self._whole = git, whole
        self.benches = MergeTrees(git)
        self._pairs: dict[tuple[Sha, Sha], Candidate | Conflict] = {}
        self._newest: dict[Sha, Candidate | Conflict] = {}
        self._folds: dict[tuple[Sha, tuple[MergeStep, ...]], tuple[Candidate | Conflict, ...]] = {}
        self._failed: dict[Sha, tuple[float, ReconcileError]] = {}  # by head: until when it is not tried again

    def judge(self, base: Sha, head: Sha) -> Candidate | Conflict:
        """The tree that landing `head` on `base` makes, or why git can't make one."""
        found = self._pairs.get((base, head)) or self._tried(base, head)
        if len(self._pairs) >= REMEMBERED:
            self._pairs.clear()
            self._newest.clear()
        self._pairs[base, head] = found
        return found

    def fold(self, base: Sha, steps: tuple[MergeStep, ...]) -> tuple[Candidate | Conflict, ...]:
        """What landing these heads on `base` one after the other makes, step by step; what conflicts is left out of the rest.

        What follows a change of `.gitattributes` conflicts too: by which rules it merges is known once that has landed.
        """
        if (base, steps) not in self._folds:
            if len(self._folds) >= FOLDS_MAX:
                self._folds.clear()
            with self.benches.at(base, quarantined=True) as bench:
                self._folds[base, steps] = tuple(_folded(bench, base, steps, whole=self._whole))
        return self._folds[base, steps]

    def note(self, found: Candidate | Conflict) -> None:
        """Remember it as the newest of its head: it is one on a tip of a base, not on one of before."""
        self._newest[found.head] = found

    def newest(self, head: Sha) -> Candidate | Conflict | None:
        """What was computed last for a head, on whatever base."""
        return self._newest.get(head)

    def forget(self) -> None:
        """Compute again from now on. A merge driver or another git may have changed what a merge gives."""
        self._pairs.clear()
        self._newest.clear()
        self._folds.clear()

    def _tried(self, base: Sha, head: Sha) -> Candidate | Conflict:
        begun = time.monotonic()
        until, error = self._failed.get(head, (begun, None))
        if error and begun < until:
            raise error.with_traceback(None)
        try:
            return self._judge(base, head)
        except ReconcileError as failed:
            took = time.monotonic() - begun
            if took > LONG_S:
                self._failed[head] = begun + RESTS * took, failed
            raise

    def _judge(self, base: Sha, head: Sha) -> Candidate | Conflict:
        with self.benches.at(base, quarantined=True) as bench:
            return _judged(bench, base, head, whole=self._whole)


def _judged(bench: MergeTree, base: Sha, head: Sha, *, whole: bool) -> Candidate | Conflict:
    try:
        return merge(bench, base, head, whole=whole)
    except GitError:
        if _parted(bench, base, head) is None:
            return Conflict(base=base, head=head, detail="it has no commit in common with the base")
        raise


def merge(bench: MergeTree, base: Sha, head: Sha, *, whole: bool = False) -> Candidate | Conflict:
    """Merge `head` into `base` on this bench. Unless it is the `whole` of it, `.beads` stays as the base has it."""
    merged = bench.merge(base, head)
    changed = bench.changed(base, merged.tree)
    if not whole and any(map(of_beads, (*merged.conflicts, *changed.paths))):
        merged = bench.merge(base, bench.commit(bench.with_beads_of(base, bench.tree(head)), head))
        changed = bench.changed(base, merged.tree)
    if merged.conflicts:
        return Conflict(base=base, head=head, paths=merged.conflicts)
    if unusable := next(filter(_nowhere, sorted(changed.paths)), None):
        detail = f"it holds {unusable!r}, which git writes into no checkout; take it out of the branch's tree"
        return Conflict(base=base, head=head, detail=detail)
    return Candidate(
        base=base,
        head=head,
        tree=merged.tree,
        changed=changed.paths,
        submodules=changed.submodules,
        scripts=frozenset(path for path in changed.paths if _other_scripts(bench, base, merged.tree, path)),
        own_changes=bool(changed.paths) or _has_own_changes(bench, base, head),
    )


def _folded(bench: MergeTree, base: Sha, steps: Sequence[MergeStep], *, whole: bool) -> Iterator[Candidate | Conflict]:
    tip, rules_change = base, False
    for step in steps:
        if rules_change:
            yield Conflict(base=base, head=step.head, detail="what lands before it changes how files are merged")
            continue
        made = _judged(bench, tip, step.head, whole=whole)
        yield replace(made, base=base)
        if isinstance(made, Candidate):
            parents = (tip, step.head) if step.method is MergeMethod.MERGE else (tip,)
            tip = bench.commit(made.tree, *parents)
            rules_change = any(posixpath.basename(path) == ATTRIBUTES for path in made.changed)


def _has_own_changes(bench: MergeTree, base: Sha, head: Sha) -> bool:
    parted = _parted(bench, base, head)
    return parted is None or not all(map(of_beads, bench.changed(parted, head).paths))


def _parted(bench: MergeTree, base: Sha, head: Sha) -> Sha | None:
    found = bench.run("merge-base", base, head, ok=(0, 1))
    return Sha(found.text.strip()) if found.code == 0 else None


def _other_scripts(bench: MergeTree, base: Sha, tree: Sha, path: str) -> bool:
    """True for a package.json in which other scripts stand, or of which that is not known."""
    if posixpath.basename(path).casefold() != PACKAGE:
        return False
    before, after = (_scripts(bench.file(where, path)) for where in (base, tree))
    return before != after or before is _UNREADABLE


def _scripts(content: bytes | None) -> Any:
    if content is None:
        return {}
    try:
        return dict(json.loads(content)).get("scripts", {})
    except (ValueError, TypeError, RecursionError):
        return _UNREADABLE


def _nowhere(path: str) -> bool:
    """True for a path in a tree that was made by hand: it leads out of a checkout, or into its git dir."""
    return any(part.lower() in ("", ".", "..", ".git") for part in path.split("/"))


def of_beads(path: str) -> bool:
    """True for what is the tracker's."""
    return path == BEADS or path.startswith(f"{BEADS}/")
