"""The commit that lands: the same one each time it is made, whatever the clock says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct

from reconciler.git import objects
from reconciler.git.ancestry import Ancestry
from reconciler.git.commands import Git
from reconciler.git.identity import identity
from reconciler.git.objects import Commit
from reconciler.landing import message, signature, squash
from reconciler.landing.candidates import Candidates
from reconciler.landing.merge_tree import Merged, MergeTree
from reconciler.landing.merging import merge
from reconciler.landing.rerere import Resolutions
from reconciler.landing.signature import Signature
from reconciler.model.desired import LandingMode, MergeMethod
from reconciler.model.errors import ChangedError, PermanentError, ReconcileError, UnfitError
from reconciler.model.names import Sha, TaskId
from reconciler.model.observed import Candidate, Fold, MergeStep
from reconciler.model.ports import LandOrder
from reconciler.model.values import replace

KNOWN_MAX = 256


class Commits:
    """Makes the commits that land."""

    def __init__(self, git: Git, candidates: Candidates) -> None:
        self._git = git
        self._candidates = candidates
        self._ancestry = Ancestry(git)
        self._known: dict[LandOrder, Sha] = {}

    def make(self, order: LandOrder) -> tuple[Sha, ...]:
        """The commits that put each of `order.whole` on the base, the lowest first; written but on no branch.

        Raises ChangedError when one would not have the judged tree, UnfitError for a branch that its method
        can't land as it is.
        """
        made: list[Sha] = []
        base = order.whole[0].expected.base
        steps = tuple(MergeStep(each.expected.head, each.method) for each in order.whole)
        for n, each in enumerate(order.whole, 1):
            below = made[-1] if made else each.expected.base
            alone = replace(each, expected=replace(each.expected, base=below), beneath=())
            commit = self._known.get(alone)
            if not commit or not objects.loose(
                self._git, commit
            ):  # somebody may have cleared it away: it is on no branch
                with concerning(each.task):
                    commit = self._made(alone, (base, steps[:n]))
                if len(self._known) >= KNOWN_MAX:
                    self._known = {}
                self._known[alone] = commit
            self._candidates.lands_as(base, steps[:n], commit)
            made.append(commit)
        return tuple(made)

    def or_tested(self, made: Sha, tested: Sha | None) -> Sha:
        """A commit that was made; where the forge's own checks passed on one of just the same, that one."""
        if tested in (None, made):
            return made
        try:
            mine, theirs = objects.commits(self._git, made, tested)
        except ReconcileError:
            return made  # somebody has cleared it away
        return tested if (mine.tree, mine.parents) == (theirs.tree, theirs.parents) else made

    def forget(self) -> None:
        """Make each again: what was made may be gone by now, or would be another."""
        self._known = {}

    def _made(self, order: LandOrder, chain: Fold) -> Sha:
        expected = order.expected
        with self._candidates.benches.at(expected.base, quarantined=False) as bench:
            match order.method:
                case MergeMethod.REBASE:
                    made = self._folded(bench, order)
                case method:
                    if not self._candidates.store(*chain, expected.tree):
                        self._merge_again(bench, order)
                    made = self._whole(bench, order, method)
        self._candidates.benches.note(expected.base, made, expected.changed)
        return made

    def _folded(self, bench: MergeTree, order: LandOrder) -> Sha:
        fold = _CommitChain(bench, order, self._committer())
        commit = fold.commit()
        if bench.tree(commit) == order.expected.tree:
            return commit
        raise fold.refused("do not add up to what was tested")

    def _whole(self, bench: MergeTree, order: LandOrder, method: MergeMethod) -> Sha:
        expected = order.expected
        base, head = objects.commits(self._git, expected.base, expected.head)
        parents = (base.sha, head.sha) if method is MergeMethod.MERGE else (base.sha,)
        title, body = order.title, order.body
        if method is MergeMethod.SQUASH:
            own = self._own(expected.base, head)
            title, body = squash.words(order, own, signature.parse(head.author).email)
        text = message.of_landing(title, body, order.task, head.sha)
        made = replace(head, tree=expected.tree, parents=parents, text=text)
        return write(bench, made, dated(self._committer(), base, head))

    def _own(self, base: Sha, head: Commit) -> list[Commit]:
        walked = self._ancestry.own(base, head.sha)
        if walked is None:
            return own(self._git, base, head.sha)
        return objects.commits(self._git, *reversed(walked))

    def _merge_again(self, bench: MergeTree, order: LandOrder) -> None:
        """Have the judged tree in the repository, where judging it left no object behind."""
        expected = order.expected
        if bench.merge(expected.base, expected.head) == Merged(expected.tree):
            return
        # With what a branch did to `.beads/` left out, it may still be the same.
        merged = merge(bench, expected.base, expected.head)
        if isinstance(merged, Candidate) and merged.tree == expected.tree:
            return
        self._candidates.forget()
        now = f"merges to {merged.tree[:12]} now" if isinstance(merged, Candidate) else "is in conflict now"
        raise ChangedError(f"{order.task}: it {now}, not to {expected.tree[:12]} as on {order.base} before")

    def _committer(self) -> tuple[str, str]:
        return identity(self._git)


class _CommitChain(Struct, frozen=True):
    """Puts the commits of a branch onto its base, one after the other. What their merges solved is solved that way again;
    whether it adds up to the tree that was tested is for who asks to see."""

    bench: MergeTree
    order: LandOrder
    committer: tuple[str, str]

    def commit(self) -> Sha:
        """The tip of what it makes. Merge commits are left out, as `git rebase` does: what they join is put on one by one."""
        expected = self.order.expected
        (base,) = objects.commits(self.bench.git, expected.base)
        tip = base
        originals = self._own()
        # What a forge makes itself knows no such solutions.
        solved = Resolutions(self.bench, originals if self.order.how is LandingMode.CAS else ())
        for original in originals:
            if len(original.parents) != 1:
                continue
            tree = self._picked(original, tip, solved)
            if tree == tip.tree:
                continue  # What it does is on the base already, or is in `.beads` only.
            text = message.of_rebased(original.text, self.order.task, expected.head)
            made = replace(original, tree=tree, parents=(tip.sha,), text=text)
            (tip,) = objects.commits(self.bench.git, write(self.bench, made, dated(self.committer, tip, original)))
        if tip is base:
            raise PermanentError(
                f"{self.order.task}: nothing of it is left to land on {self.order.base}",
                hint="close the task, or let its agent do something",
            )
        return tip.sha

    def refused(self, why: str) -> UnfitError:
        """The error for a branch whose commits can't land one by one."""
        merges = [commit.sha[:12] for commit in self._own() if len(commit.parents) != 1]
        without = f" without {', '.join(merges[:3])}, which can't be rebased," if merges else ","
        return UnfitError(f"{self.order.task}: its commits, one by one{without} {why}")

    def _own(self) -> list[Commit]:
        expected = self.order.expected
        listed = self.bench.run("rev-list", "--reverse", "--topo-order", expected.head, f"^{expected.base}")
        return objects.commits(self.bench.git, *(Sha(sha) for sha in listed.text.split()))

    def _picked(self, original: Commit, tip: Commit, solved: Resolutions) -> Sha:
        # `merge-tree --merge-base` is missing before git 2.40: commits that part at the original's parent do the same.
        base = self.order.expected.base
        before = self.bench.with_beads_of(base, self.bench.tree(original.parents[0]))
        parted = self.bench.commit(before)
        ours = self.bench.commit(tip.tree, parted)
        theirs = self.bench.commit(self.bench.with_beads_of(base, original.tree), parted)
        merged = self.bench.merge(ours, theirs)
        if not merged.conflicts:
            return merged.tree
        if tree := solved.merged(ours, theirs):
            return tree
        paths = ", ".join(merged.conflicts[:5])
        raise self.refused(f"do not fit: {original.sha[:12]} is in conflict with {self.order.base}: {paths}")


@contextmanager
def concerning(task: TaskId) -> Iterator[None]:
    """What can't be done here is about this task, whatever lands on top of it."""
    try:
        yield
    except PermanentError as error:
        error.about = task
        raise


def own(git: Git, base: Sha, head: Sha) -> list[Commit]:
    """The commits of `head` that `base` lacks, without merges, the oldest first."""
    listed = git.objects("rev-list", "--reverse", "--topo-order", "--no-merges", head, f"^{base}").text.split()
    return objects.commits(git, *map(Sha, listed))


def write(bench: MergeTree, commit: Commit, committer: Signature) -> Sha:
    """Store a commit with another committer. Nothing signs it, and no hook sees it."""
    return objects.write_commit(
        bench.git,
        commit.tree,
        commit.parents,
        author=signature.parse(commit.author).line,
        committer=committer.line,
        text=commit.text,
    )


def dated(committer: tuple[str, str], *commits: Commit) -> Signature:
    """Who commits, at a time that is the same whenever it is made again."""
    # The date of the newest commit that goes into it: made again after a crash, it is the same commit.
    newest = max((signature.parse(commit.committer) for commit in commits), key=lambda signed: signed.seconds)
    return Signature(*committer, newest.date)
