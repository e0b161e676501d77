"""Landing: a base moves to a tested commit by compare-and-swap, and its checkouts go with it.

The order of the steps is the whole point. First everything that can say no is asked; then what is about to happen is
written down; then the checkouts go forward, their indexes locked; then the base moves, in one transaction that also demands
that branch and pull request are as they were judged. Killed in between, the note says what is to be finished or taken back.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Protocol

from reconciler.git import objects, refs, update_ref
from reconciler.git.commands import Git
from reconciler.git.refs import HEADS
from reconciler.git.update_ref import Move
from reconciler.landing import checkouts, following
from reconciler.landing.commits import Commits, concerning
from reconciler.landing.history import History
from reconciler.landing.intents import Carried, Intent, Intents
from reconciler.landing.opened import BaseCheckout, CheckoutStep
from reconciler.landing.remotes import Remotes
from reconciler.landing.undone import Undone
from reconciler.model.errors import ChangedError, PermanentError, ReconcileError, TemporaryError
from reconciler.model.names import PrNumber, Sha, branch_of
from reconciler.model.ports import LandOrder
from reconciler.model.pull_records import StoredPull
from reconciler.model.values import replace


class PullRecords(Protocol):
    """What a landing asks of the place where the pull requests of this repository are kept."""

    def show(self, number: PrNumber) -> StoredPull:
        """The record of one pull request. Raises PermanentError when there is none, or when it is damaged."""

    def landing(self, kept: StoredPull, head: Sha, commit: Sha, method: str) -> Move:
        """The move that records, in the transaction that moves the base, that `commit` carries `head` to it."""


class LandingLine:
    """Moves the bases of one repository, one writer at a time."""

    def __init__(self, git: Git, commits: Commits, history: History, pulls: PullRecords, remotes: Remotes) -> None:
        self._git = git
        self._commits = commits
        self._history = history
        self._pulls = pulls
        self._remotes = remotes
        self._intents = Intents(git.repository.state / "landing")
        self.undone = Undone(git, history)

    def land(self, order: LandOrder) -> Sha:
        """Move the base to the judged tree, with all that is beneath it; the landed commit."""
        with self._git.writing() as lock:
            self._settle(order.base, lock)
            kept = [self._judged_pull(each) for each in order.whole]
            old = self._judged_base(order)
            commits = self._commits.make(order)
            intent = Intent(
                base=order.base,
                old=old,
                new=commits[-1],
                number=order.number,
                head=order.expected.head,
                method=order.method,
                push=order.push,
                beneath=tuple(
                    Carried(number=each.number, head=each.expected.head, commit=commit, method=each.method)
                    for each, commit in zip(order.beneath, commits, strict=False)
                ),
            )
            # What was judged is what lands: where the checkouts come from there, it is known what changes in them.
            known = order.changed if old == order.expected.base else None
            try:
                self._advance(intent, kept, lock, known)
            except ReconcileError:
                self._commits.forget()  # somebody may have cleared away what was made and is on no branch yet
                raise
            self._compare(order, intent.new)
            return intent.new

    def catch_up(self, base: str) -> None:
        """Finish what a killed landing left undone; then follow the remote, where the base is one that is pushed."""
        with self._git.writing() as lock:
            self._settle(base, lock)
            self._forget(
                Intent(base=base, old=Sha(""), new=Sha("")), lock
            )  # what was cut off before it was written down
            theirs, ours = self._remotes.last_heard(base), refs.head_of(self._git, HEADS + base)
            if theirs and ours and theirs != ours and self._history.contains(theirs, ours):
                self._advance(Intent(base=base, old=ours, new=theirs), (), lock)
                self._remotes.remember(base, theirs)

    def bring(self, branch: str, old: Sha, new: Sha) -> None:
        """Move any branch from one commit to another, and whatever has it checked out; what only it held is the caller's."""
        with self._git.writing() as lock:
            self._settle(branch, lock)
            now = refs.head_of(self._git, HEADS + branch)
            if now == new:
                return
            if now != old:
                raise ChangedError(f"{branch} is at {now[:12] if now else 'nothing'}, not at {old[:12]}")
            self._advance(Intent(base=branch, old=old, new=new), (), lock)

    def push(self, base: str) -> None:
        """Bring the remote to the local base, where all that it lacks was landed by us."""
        with self._git.writing() as lock:
            self._settle(base, lock)
            ours = self.local(base)
            theirs = self._remotes.head(base, near=ours, fresh=True)
            if theirs and self._history.contains(theirs, ours):
                return
            if theirs is None:
                raise PermanentError(f"the remote has no branch {base}", hint="push it by hand, once")
            if why := self.diverged(base, ours, theirs):
                raise PermanentError(why, hint=f"bring {base} and its remote together by hand")
            self._remotes.push(base, theirs, ours, lock)

    def restore(self, base: str) -> None:
        """Stage again in the checkouts of a base what landed there and a git beside it put back by chance."""
        with self._git.writing() as lock:
            head = self.local(base)
            landings = self._history.landings(base, head)
            nonce = secrets.token_hex(8)
            for checkout in checkouts.of_base(self._git, base):
                found = self.undone.staged(checkout, head, landings) if not checkout.busy else None
                if found and found.by_chance:
                    with following.held([checkout], nonce):
                        following.restored(self._git, checkout, head, found.changes, nonce, lock)

    def begun(self, base: str) -> Intent | None:
        """The landing that was begun and is not over: it is done by now, or somebody was killed amid it."""
        return self._intents.read(base)

    def local(self, base: str) -> Sha:
        """The head of the local base. Raises PermanentError when there is none."""
        head = refs.head_of(self._git, HEADS + base)
        if head:
            return head
        unborn = self._git.refs("symbolic-ref", "-q", "HEAD", ok=(0, 1, 128)).text.strip() == HEADS + base
        if unborn:
            error = PermanentError(f"the base branch {base} has no commit yet", hint="make a first commit on it")
        else:
            hint = f"set spec.base to a branch that exists, or run 'git branch {base}'"
            error = PermanentError(f"there is no base branch {base}", hint=hint)
        raise error.due_to(*self._git.repository.files_of(HEADS + base))

    def diverged(self, base: str, ours: Sha, theirs: Sha) -> str | None:
        """Why the remote can't be brought to the local base by what we landed; None when it can."""
        if not self._history.contains(ours, theirs):
            return f"{base} and its remote have gone different ways: each has commits that the other lacks"
        landed = {landing.commit for landing in self._history.landings(base, ours)}
        foreign = [commit for commit in self._history.lacks(ours, theirs) if commit not in landed]
        if foreign:
            return f"{base} has {len(foreign)} commit(s) that its remote lacks and that we did not land"
        return None

    def _judged_pull(self, order: LandOrder) -> StoredPull:
        with concerning(order.task):
            kept = self._pulls.show(order.number)
        head = order.expected.head
        if kept.record.task != order.task or not kept.record.open:
            raise ChangedError(f"{order.task}: #{order.number} is {kept.record.state}")
        if kept.record.rejected(head):
            raise ChangedError(f"{order.task}: {head[:12]} was rejected")
        now = refs.head_of(self._git, HEADS + branch_of(order.task))
        if now != head:
            at = now[:12] if now else "gone"
            raise ChangedError(f"{order.task}: its head is {at}, not {head[:12]}, which was judged")
        if self._history.contains(order.expected.base, head):
            raise ChangedError(f"{order.task}: {head[:12]} is on {order.base} already")
        return kept

    def _judged_base(self, order: LandOrder) -> Sha:
        ours = self.local(order.base)
        judged = order.expected.base
        where = self._remotes.head(order.base, near=ours, fresh=True) if order.push else ours
        if where != judged:
            raise ChangedError(f"{order.task}: {order.base} is not at {judged[:12]} any more, where it was judged")
        if not self._history.contains(judged, ours):
            raise ChangedError(f"{order.task}: {order.base} has commits that its remote lacks")
        return ours

    def _advance(
        self, intent: Intent, kept: Sequence[StoredPull], lock: int, changed: frozenset[str] | None = None
    ) -> None:
        """Move the base and whatever belongs to it, so that a kill at any point is known from what is left."""
        way = checkouts.step(self._git, intent.old, intent.new, changed)
        found = checkouts.of_base(self._git, intent.base)
        for checkout in found:
            checkouts.make_sure_it_can_follow(self._git, checkout, way)
        named = tuple(str(checkout.path) for checkout in found)
        intent = replace(intent, checkouts=named, nonce=secrets.token_hex(8))
        if intent.number:  # else it is what a remote has
            self._name(intent, lock)
        self._intents.write(intent)
        try:
            self._push_first(intent, lock)
        except ChangedError:
            self._forget(intent, lock)
            raise
        # As they are now: a push takes its time, and somebody may have checked out something else meanwhile.
        self._go(intent, kept, way, checkouts.of_base(self._git, intent.base), lock)
        self._forget(intent, lock)

    def _name(self, intent: Intent, lock: int) -> None:
        """Have git keep what is to land."""
        before = refs.head_of(self._git, intent.ref)
        if before != intent.new:
            update_ref.move(self._git, (Move(intent.ref, before, intent.new),), f"about to {_landing(intent)}", lock)

    def _forget(self, intent: Intent, lock: int) -> None:
        """What was begun has come to its end, whichever."""
        if named := refs.head_of(self._git, intent.ref):
            update_ref.move(self._git, (Move(intent.ref, named, gone=True),), "landed, or not", lock)
        self._intents.drop(intent.base)

    def _go(
        self,
        intent: Intent,
        kept: Sequence[StoredPull],
        way: CheckoutStep,
        found: Sequence[BaseCheckout],
        lock: int,
        *,
        again: bool = False,
    ) -> None:
        """Bring the checkouts forward, then the base: the other way round, the next commit there would undo the landing.

        What can't be done is taken back. Where the remote was moved before, that is done again later; else it is forgotten.
        """
        with following.held(found, intent.nonce):
            gone: list[BaseCheckout] = []
            try:
                for checkout in found:
                    following.forward(self._git, checkout, way, intent.nonce, lock, again=again)
                    gone.append(checkout)
                self._move(intent, kept, lock)
                for checkout in gone:
                    self.undone.clean(checkout, intent.new)
            except ReconcileError:
                if self.local(intent.base) == intent.new:
                    return  # the answer was lost, the move was not
                for checkout in gone:
                    following.back(self._git, checkout, way, intent.old, intent.nonce, lock)
                if not intent.push:
                    self._forget(intent, lock)
                raise

    def _push_first(self, intent: Intent, lock: int) -> None:
        if intent.push:
            # The remote's answer is the compare-and-swap; the local base only follows.
            theirs = self._remotes.head(intent.base, near=intent.old)
            if theirs is None:
                raise ChangedError(f"the remote's {intent.base} is gone")
            self._remotes.push(intent.base, theirs, intent.new, lock)

    def _move(self, intent: Intent, kept: Sequence[StoredPull], lock: int) -> None:
        moves = [Move(HEADS + intent.base, intent.old, intent.new)]
        carried = _carried(intent)
        for pull in kept:
            mine = carried[pull.record.number]
            moves.append(self._pulls.landing(pull, mine.head, mine.commit, mine.method))
            if not intent.push:
                moves.append(Move(HEADS + pull.record.branch, mine.head))
        if refs.head_of(self._git, intent.ref) == intent.new:
            moves.append(Move(intent.ref, intent.new, gone=True))
        update_ref.move(self._git, tuple(moves), _landing(intent) if kept else "follow the remote", lock)

    def _settle(self, base: str, lock: int) -> None:
        """Finish the landing that a kill cut off, or take it back where the base never moved; nothing else lands before."""
        intent = self._intents.read(base)
        if intent is None:
            return
        began = bool(intent.nonce)  # an older program touched no checkout before the base had moved
        intent = replace(intent, nonce=intent.nonce or secrets.token_hex(8))
        now = self.local(base)
        found = [each for each in checkouts.of_base(self._git, base) if str(each.path) in intent.checkouts]
        if now == intent.old and intent.push and self._arrived(intent):
            way = checkouts.step(self._git, intent.old, intent.new)
            self._go(intent, self._still_open(intent), way, found, lock, again=True)
            now = intent.new
        if self._history.contains(now, intent.new):
            self._bring_along(intent, now, found, lock)
            if kept := self._still_open(intent):
                carried = _carried(intent)
                mine = ((pull, carried[pull.record.number]) for pull in kept)
                moves = tuple(self._pulls.landing(pull, each.head, each.commit, each.method) for pull, each in mine)
                update_ref.move(self._git, moves, _landing(intent), lock)
        elif began:
            self._take_back(intent, now, found, lock)
        self._forget(intent, lock)

    def _bring_along(self, intent: Intent, to: Sha, found: Sequence[BaseCheckout], lock: int) -> None:
        way = checkouts.step(self._git, intent.old, to)
        with following.held(found, intent.nonce):
            for checkout in found:
                following.forward(self._git, checkout, way, intent.nonce, lock, again=True)

    def _take_back(self, intent: Intent, now: Sha, found: Sequence[BaseCheckout], lock: int) -> None:
        way = checkouts.step(self._git, intent.old, intent.new)
        with following.held(found, intent.nonce):
            for checkout in found:
                following.back(self._git, checkout, way, now, intent.nonce, lock)

    def _arrived(self, intent: Intent) -> bool:
        theirs = self._remotes.head(intent.base, near=intent.old, fresh=True)
        return theirs is not None and self._history.contains(theirs, intent.new)

    def _still_open(self, intent: Intent) -> list[StoredPull]:
        return [kept for number in _carried(intent) if (kept := self._pulls.show(number)).record.open]

    def _compare(self, order: LandOrder, commit: Sha) -> None:
        """Read back what landed. A merge queue that trusted its own commit has silently undone other people's work."""
        now = self.local(order.base)
        (landed,) = objects.commits(self._git, commit)
        tree = landed.tree
        if tree != order.expected.tree:
            raise PermanentError(
                f"{order.task}: {order.base} is frozen: {tree[:12]} landed, but {order.expected.tree[:12]} was judged",
                hint=f"compare {commit[:12]} with what was tested, and fix {order.base} by hand",
            )
        if not self._history.contains(now, commit):
            raise TemporaryError(f"{order.task}: somebody took {order.base} back to {now[:12]} after it had landed")


def _carried(intent: Intent) -> dict[PrNumber, Carried]:
    """What lands with an intent, by pull request; nothing where it only follows a remote."""
    found = {each.number: each for each in intent.beneath}
    if intent.number and intent.head:
        found[intent.number] = Carried(number=intent.number, head=intent.head, commit=intent.new, method=intent.method)
    return found


def _landing(intent: Intent) -> str:
    return f"land {', '.join(f'#{number}' for number in _carried(intent))}"
