"""What heads make of a base, one after the other: each merged once, while the base stays where it is."""

from __future__ import annotations

import os
import posixpath
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from msgspec import Struct, field

from reconciler.git import trees
from reconciler.git.commands import Git
from reconciler.landing import merging
from reconciler.landing.merge_tree import MergeTree, MergeTrees
from reconciler.model.desired import MergeMethod
from reconciler.model.errors import ReconcileError
from reconciler.model.names import Sha
from reconciler.model.observed import Candidate, Conflict, MergeStep
from reconciler.model.values import replace

ATTRIBUTES = ".gitattributes"
BASES = 4
MERGES_MAX = 4096
NAMED_MAX = 256
# What a merge found in the repository, and names, can be cleared away there as long as nothing else names it.
FRESH_S = 60.0


class _Grown(Struct, eq=False):
    """The base, with some heads on it. `tip`: the commit that is; None where the one is not written yet whose `tree` that is, on
    what it stands `on` and, where it is a merge, `beside`."""

    tip: Sha | None = None
    tree: Sha | None = None
    on: _Grown | None = None
    beside: Sha | None = None
    rules_change: bool = False
    made: dict[Sha, tuple[float, Candidate | Conflict]] = field(default_factory=dict)  # by head: when, and what
    behind: dict[MergeStep, _Grown] = field(default_factory=dict)


class _Chain(Struct, eq=False):
    """All that is known of one base, and the folder with the objects that this took."""

    bench: MergeTree
    folder: ExitStack
    root: _Grown
    merges: int = 0

    def usable(self) -> bool:
        """True while its folder is there, which is young again from now on: what is old in there is swept."""
        try:
            os.utime(self.bench.folder.parent)
        except FileNotFoundError:
            return False
        return self.merges < MERGES_MAX


class Chains:
    """Merges heads into the newest few bases, and into what others have made of those. Safe to share between threads."""

    def __init__(self, git: Git, benches: MergeTrees, *, whole: bool = False) -> None:
        self._git, self._benches, self._whole = git, benches, whole
        self._lines: dict[Sha, _Chain] = {}
        self._named: dict[Sha, tuple[Sha, _Grown]] = {}  # by the commit that would land: the same, among what is here
        self._lock = threading.RLock()
        weakref.finalize(self, _end, self._lines)

    def merged(self, base: Sha, head: Sha) -> Candidate | Conflict:
        """What landing `head` on `base` makes of it."""
        with self._lock:
            line = self._line(base)
            made = replace(self._made(line, line.root, head), base=base)
            if isinstance(made, Conflict) and made.paths:
                return replace(made, against=merging.against(line.bench, base, head, made.paths))
            return made

    def fold(self, base: Sha, steps: Sequence[MergeStep]) -> tuple[Candidate | Conflict, ...]:
        """What landing these on `base` makes, step by step; what conflicts is left out of the rest."""
        with self._lock:
            return tuple(self._folded(self._line(base), base, steps))

    def store(self, base: Sha, steps: Sequence[MergeStep], tree: Sha) -> bool:
        """Have in the repository what landing these on `base` made here this moment. False where that was another tree, or
        has to be made again."""
        with self._lock:
            line = self._lines.get(base)
            if line is None or line.bench.quarantine is None or not line.usable():
                return False
            node, oldest = line.root, time.monotonic() - FRESH_S
            for step in steps:
                at, made = node.made.get(step.head, (oldest, None))
                if made is None or at <= oldest:
                    return False
                last, node = made, node.behind.get(step, _Grown(tip=base))
            fits = isinstance(last, Candidate) and last.tree == tree
            return fits and trees.bring(self._git, tree, line.bench.quarantine)

    def note(self, base: Sha, steps: Sequence[MergeStep], commit: Sha) -> None:
        """Remember that these on `base` are this commit: once it has landed, what was merged behind them goes on."""
        with self._lock:
            node = self._lines[base].root if base in self._lines else None
            for step in steps:
                node = node and node.behind.get(step)
            if node:
                self._named = {**dict(list(self._named.items())[1 - NAMED_MAX :]), commit: (base, node)}

    def forget(self) -> None:
        """Merge again from now on."""
        with self._lock:
            _end(self._lines)
            self._named.clear()

    def _line(self, base: Sha) -> _Chain:
        line = self._lines.pop(base, None)
        if line and not line.usable():
            line.folder.close()
            line = None
        line = self._lines[base] = line or self._gone_on(base) or self._begun(base)
        for old in list(self._lines)[:-BASES]:
            self._lines.pop(old).folder.close()
        return line

    def _gone_on(self, base: Sha) -> _Chain | None:
        """What is known of a base that is one of before, with what has landed on it from here."""
        before, node = self._named.get(base, (base, None))
        line = self._lines.get(before)
        if line is None or node is None or not _stands_on(line.root, node):
            return None
        del self._lines[before]
        if not line.usable():
            line.folder.close()
            return None
        return replace(line, root=_landed(node, base))

    def _begun(self, base: Sha) -> _Chain:
        with ExitStack() as folder:
            bench = folder.enter_context(self._benches.at(base, quarantined=True))
            return _Chain(bench, folder.pop_all(), _Grown(tip=base))

    def _folded(self, line: _Chain, base: Sha, steps: Sequence[MergeStep]) -> Iterator[Candidate | Conflict]:
        node = line.root
        for step in steps:
            if node.rules_change:
                yield Conflict(base=base, head=step.head, detail="what lands before it changes how files are merged")
                continue
            made = self._made(line, node, step.head)
            yield replace(made, base=base)
            if isinstance(made, Candidate):
                node = node.behind.get(step) or _put(node, step, made)

    def _made(self, line: _Chain, node: _Grown, head: Sha) -> Candidate | Conflict:
        if head not in node.made:
            line.merges += 1
            try:
                made = merging.judged(line.bench, _tip(line.bench, node), head, whole=self._whole)
            except ReconcileError:
                # Perhaps it lacks what somebody has cleared away from the repository since: nothing here is sure.
                for base in [base for base, each in self._lines.items() if each is line]:
                    self._lines.pop(base).folder.close()
                raise
            node.made[head] = time.monotonic(), made
        return node.made[head][1]


def _put(node: _Grown, step: MergeStep, made: Candidate) -> _Grown:
    rules_change = any(posixpath.basename(path) == ATTRIBUTES for path in made.changed)
    beside = step.head if step.method is MergeMethod.MERGE else None
    node.behind[step] = _Grown(tree=made.tree, on=node, beside=beside, rules_change=rules_change)
    return node.behind[step]


def _tip(bench: MergeTree, node: _Grown) -> Sha:
    """The commit that it is; what is not written yet is, with all beneath it."""
    unwritten, at = [], node
    while at.tip is None and at.on:
        unwritten.append(at)
        at = at.on
    tip = at.tip
    for each in reversed(unwritten):
        assert tip and each.tree
        tip = each.tip = bench.commit(each.tree, *((tip, each.beside) if each.beside else (tip,)))
    assert tip
    return tip


def _stands_on(root: _Grown, node: _Grown) -> bool:
    """False for what landed already, or stands on what has since: a base of before that is asked for again begins from nothing."""
    at: _Grown | None = node
    while at and at is not root:
        at = at.on
    return at is not None


def _landed(node: _Grown, base: Sha) -> _Grown:
    """The same, now that it is the base itself: a head that has that in it is to be merged with just that, and with what stands on
    that. What was merged before cannot have had it, and stays as it is."""
    node.tip, node.on, left = base, None, [*node.behind.values()]
    while left:
        each = left.pop()
        each.tip = None
        left += each.behind.values()
    return node


def _end(lines: dict[Sha, _Chain]) -> None:
    while lines:
        lines.popitem()[1].folder.close()
