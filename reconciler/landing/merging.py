"""What one merge makes of a base: the tree that lands, with what is to be known of it, or why there is none."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Sequence
from typing import Any

from reconciler.git.refusals import GitError
from reconciler.git.tree_entries import of_beads
from reconciler.landing.merge_tree import MergeTree
from reconciler.model.names import Sha
from reconciler.model.observed import Candidate, Conflict

PACKAGE = "package.json"
AGAINST_MAX, PATHS_MAX, SUBJECT_MAX = 3, 100, 100
_UNREADABLE = object()


def judged(bench: MergeTree, base: Sha, head: Sha, *, whole: bool) -> Candidate | Conflict:
    """What `merge` says; of commits that have nothing in common, too."""
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
    if unusable := next(filter(nowhere, sorted(changed.paths)), None):
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


def against(bench: MergeTree, base: Sha, head: Sha, paths: Sequence[str]) -> tuple[str, ...]:
    """Whose changes it conflicts with: who resolves that must know what both sides meant."""
    listed = ("--first-parent", f"--max-count={AGAINST_MAX}", "--no-show-signature", "--format=%h %s")
    found = bench.run("log", *listed, f"{head}..{base}", "--", *(f":(top,literal){path}" for path in paths[:PATHS_MAX]))
    return tuple(line[:SUBJECT_MAX] for line in found.text.splitlines())


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


def nowhere(path: str) -> bool:
    """True for a path in a tree that was made by hand: it leads out of a checkout, or into its git dir."""
    return any(part.lower() in ("", ".", "..", ".git") for part in path.split("/"))
