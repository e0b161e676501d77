"""The world in memory with a forge that is elsewhere: it has branches of its own, runs checks, merges by itself, and
forgets to answer. It follows the protocol that `reconciler.forges.github` does: one merge asked for, and always read back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from memory import World, effect

from reconciler.model.errors import ChangedError, SilentError, TemporaryError
from reconciler.model.names import PrNumber, Sha, TaskId
from reconciler.model.observed import (
    Base,
    CheckResult,
    ForgeCheck,
    Landing,
    PullRequest,
    PullState,
    Rerun,
    Rules,
    Standing,
)
from reconciler.model.ports import LandOrder
from reconciler.model.values import replace

NAME = "ci"


@dataclass(frozen=True)
class Asked:
    """A merge that was asked for, until its answer is known."""

    number: PrNumber
    head: Sha
    tree: Sha


@dataclass
class MergingWorld(World):
    """`main` and `there` are what the forge has; `here` is the base in the repository."""

    there: dict[TaskId, Sha] = field(default_factory=dict)
    here: Sha = Sha("c0")
    pushed: dict[TaskId, Sha] = field(default_factory=dict)
    verdicts: dict[Sha, CheckResult] = field(default_factory=dict)
    merges: dict[PrNumber, Sha] = field(default_factory=dict)
    asked: Asked | None = None
    rounds: dict[Sha, int] = field(default_factory=dict)  # of the checks of each head
    reruns: dict[Sha, Rerun] = field(default_factory=dict)
    strict: bool = False
    silent_until: int = 0  # reads that get no answer

    def run_checks(self) -> None:
        """What was pushed is checked by the forge, a little later."""
        for head in self.there.values():
            bad = any(patch.startswith("bad") for patch in self.commits[head]) and "fix" not in self.commits[head]
            bad |= any(patch.startswith("flaky") for patch in self.commits[head]) and self.rounds.get(head, 1) == 1
            if self.verdicts.get(head) is CheckResult.PENDING:
                self.verdicts[head] = CheckResult.FAILED if bad else CheckResult.PASSED
            self.verdicts.setdefault(head, CheckResult.PENDING)

    # --- looking -------------------------------------------------------------------------------------------

    def base(self, name: str, *, push: bool = False, look: bool = True) -> Base:
        behind = self.here != self.main or self.asked is not None
        rules = Rules(forge="the forge", required=(NAME,))
        return Base(name=name, head=self.main, behind=behind, rules=rules)

    def pull_requests(self) -> dict[TaskId, PullRequest]:
        self._up("forge")
        if self.silent_until:
            self.silent_until -= 1
            raise SilentError("no answer", delay=10.0)
        newest: dict[TaskId, PullRequest] = {}
        for _, pull in sorted(self.pulls.items()):
            before = newest.get(pull.task)
            if before is None or before.state is not PullState.OPEN:
                newest[pull.task] = self._seen(pull)
        return newest

    def _seen(self, pull: PullRequest) -> PullRequest:
        if pull.state is not PullState.OPEN:
            return replace(pull, left=self.there.get(pull.task))
        head = self.there[pull.task]
        result = self.verdicts.get(head)
        number = self.rounds.get(head, 1)
        checks = (ForgeCheck(name=NAME, result=result, number=number, workflow=1),) if result else ()
        lacks = self.strict and not self.contains(head, self.main)
        return replace(
            pull,
            head=head,
            checks=checks,
            here=self._standing(pull.task, head),
            lacks_base=lacks,
            rerun=self.reruns.get(head),
        )

    def _standing(self, task: TaskId, there: Sha) -> Standing:
        here = self.heads.get(task)
        if here == there:
            return Standing.SAME
        if here is None or self.contains(there, here):
            return Standing.BEHIND
        return Standing.AHEAD if self.contains(here, there) or self.pushed.get(task) == there else Standing.BEHIND

    # --- changing ------------------------------------------------------------------------------------------

    def open(self, task: TaskId, head: Sha, title: str, body: str, *, base: str = "", onto: str = "") -> PrNumber:
        if self.heads.get(task) != head:
            raise ChangedError("the branch moved")
        if self.there.get(task) != head:
            self._push(task, head)
        mine = [pull for pull in self.pulls.values() if pull.task == task and pull.state is PullState.OPEN]
        return mine[0].number if mine else self._open_there(task, head)

    @effect
    def _push(self, task: TaskId, head: Sha) -> None:
        there = self.there.get(task)
        kept = there is None or self.contains(head, there) or self.pushed.get(task) == there
        self._promise(kept, f"{task}: what a person pushed was overwritten")
        self.there[task] = self.pushed[task] = head

    @effect
    def _open_there(self, task: TaskId, head: Sha) -> PrNumber:
        number = PrNumber(len(self.pulls) + 1)
        self.pulls[number] = PullRequest(number=number, task=task, head=head, opened_head=head, opened_at=self.now)
        return number

    def land(self, order: LandOrder) -> Sha:
        self._settle()
        if self.asked:
            raise TemporaryError("the answer is not known yet", delay=1.0)
        expected = order.expected
        pull = self.pulls[order.number]
        if pull.state is not PullState.OPEN or self.there[order.task] != expected.head or self.main != expected.base:
            raise ChangedError("base, head or pull request moved")
        self._note(Asked(order.number, expected.head, expected.tree))
        commit = self._merge_there(order)
        self._settle()
        return commit

    @effect
    def _note(self, asked: Asked) -> None:
        self.asked = asked

    @effect
    def _merge_there(self, order: LandOrder) -> Sha:
        self._promise(self._passed(order), f"{order.task}: landed without having passed here")
        tested_so = self.checked or self.contains(order.expected.head, self.main)
        self._promise(tested_so, f"{order.task}: what landed was never tested as such")
        self._promise(self.verdicts.get(order.expected.head) is CheckResult.PASSED, f"{order.task}: not green there")
        return self.merge(order.number)

    def merge(self, number: PrNumber) -> Sha:
        """The forge merges, whoever asked for it."""
        pull = self.pulls[number]
        head = self.there[pull.task]
        self._promise(head not in [landing.head for landing in self.landed], f"{pull.task}: {head} landed twice")
        commit = self._new_commit(self.commits[self.main] | self.commits[head], (self.main,))
        self.main = self.merges[number] = commit
        self.landed.append(Landing(task=pull.task, head=head, commit=commit, at=self.now))
        self.pulls[number] = replace(pull, state=PullState.MERGED, head=head, closed_at=self.now, landed=commit)
        return commit

    def follow(self, base: str) -> None:
        self._settle()
        if self.here != self.main:
            self._follow_base()

    @effect
    def _follow_base(self) -> None:
        self.here = self.main

    def _settle(self) -> None:
        if self.asked is None:
            return
        commit = self.merges.get(self.asked.number)
        if commit:
            same = self._tree(self.commits[commit]) == self.asked.tree
            self._promise(same, f"#{self.asked.number}: another tree landed than the judged one")
        self._answered()

    @effect
    def _answered(self) -> None:
        self.asked = None

    @effect
    def follow_branch(self, task: TaskId, head: Sha) -> None:
        lost = task in self.heads and not self.contains(head, self.heads[task])
        if lost:
            self.saved_patches |= self.commits[self.heads[task]]
        self.heads[task] = head
        if task in self.trees:
            self.trees[task].head = head

    @effect
    def update(self, number: PrNumber, head: Sha) -> None:
        task = self.pulls[number].task
        if self.there[task] != head:
            raise ChangedError("the head moved")
        self.there[task] = self._new_commit(self.commits[head] | self.commits[self.main], (head, self.main))

    def rerun(self, number: PrNumber, head: Sha, workflows: Sequence[int]) -> None:
        if self.there[self.pulls[number].task] != head:
            raise ChangedError("the head moved")
        self._note_rerun(head)
        self._run_again(head)

    @effect
    def _note_rerun(self, head: Sha) -> None:
        times = self.reruns[head].times + 1 if head in self.reruns else 1
        self.reruns[head] = Rerun(at=self.now, after=frozenset({1}), names=(NAME,), times=times)

    @effect
    def _run_again(self, head: Sha) -> None:
        self._promise(self.rounds.get(head, 1) == 1, f"the checks of {head} ran a third time")
        self.rounds[head] = 2
        self.verdicts[head] = CheckResult.PENDING

    @effect
    def drop_branch(self, task: TaskId, head: Sha) -> None:
        if self.there.get(task) not in (head, None):
            raise ChangedError("the branch went on")
        self._promise(
            head in [landing.head for landing in self.landed], f"{task}: a branch that never landed was deleted"
        )
        self.there.pop(task, None)

    def close(self, number: PrNumber, *, declined: bool, merged: bool = False) -> None:
        if self.pulls[number].state is PullState.OPEN:
            self._close_there(number)

    @effect
    def _close_there(self, number: PrNumber) -> None:
        self.pulls[number] = replace(self.pulls[number], state=PullState.CLOSED, closed_at=self.now)
