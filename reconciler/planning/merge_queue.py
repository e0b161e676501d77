"""The merge queue of one base: what lands now, and which trees are tested to find out what lands next. Pure.

Those that may land stand in line, oldest first. A chain is the base with some of them on it, one after the other; a check
is a proof about exactly the tree of one chain. Once a chain has passed, all of it lands at once, also where a part of it
had failed by itself. Where one has failed, shorter ones tell where. Whoever is found at fault so, alone on what has passed,
leaves the line and is tested by itself, once more than `retries`: others go on without it, and one bad night of a check
costs nobody an agent. Only then is it its own fault.

Where every commit of the base is to be green (`Bounds.stepwise`), every beginning of the line is tested, shorter ones first, and
lands with those of it that have passed. Where a forge moves the base one by one (`Bounds.together` is False), it stands at each
for a while, so that is always so, and the first alone lands. What was found behind it holds for as long as the base then has
the tree that was tested.

What is seen is asked for by chain (`ProofOf`), so the same line is the same plan after a crash. A turn costs one question for
each member, and one for each chain that it tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from functools import cache
from math import ceil, log, prod
from typing import Protocol

from msgspec import Struct, field

from reconciler.model.names import TaskId

GROUP_MAX = 32  # members that one more check proves
CHAIN_MAX = 64  # members that are merged ahead of time: so many merges are made again when somebody pushes to the base
# How many are bad before anything is known, as if that had been seen of so many: few, as a wrong guess costs most where many are bad.
PRIOR_BAD, PRIOR_ALL = 0.125, 2.5
ALONE_FROM = 0.38  # of so many bad ones, testing several at once costs more than it saves

Chain = tuple[TaskId, ...]


class Proof(StrEnum):
    """What is known about the tree of a chain."""

    UNSEEN = "unseen"  # nobody has merged it yet, or it can't be seen what its checks came to
    CONFLICT = "conflict"  # its last member does not merge with those before it
    UNTESTED = "untested"
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"


class ProofOf(Protocol):
    """What is known of the tree of a chain. `more`: who may come behind it, which is asked for next."""

    def __call__(self, chain: Chain, more: Sequence[TaskId] = ()) -> Proof: ...


class Contender(Struct, frozen=True, kw_only=True):
    """Something offered. Smaller `rank` goes first. `lands`: nothing but its turn and its checks keeps it from landing.
    `reds`: how often it has failed by itself. `solo`: nothing is tested together with it. `alone`: the base fails its checks:
    it lands if it mends that, and shows so by itself."""

    task: TaskId
    rank: tuple[bool, int, int]
    lands: bool = True
    reds: int = 0
    solo: bool = False
    alone: bool = False


class Turn(Struct):
    """What happens now, all of it at once. What is in none of these waits for a check slot, or for those before it."""

    land: Chain = ()
    check: list[Chain] = field(default_factory=list)  # to be started, each for its last member
    line: Chain = ()
    held: dict[TaskId, TaskId] = field(default_factory=dict)  # who does not merge after whom
    apart: set[TaskId] = field(default_factory=set)  # of whom it is known what comes of them alone


class FailureRate(Struct, frozen=True):
    """How many of those that join a line fail by themselves, as is believed after so many have been seen. A Beta distribution."""

    good: float = 0
    bad: float = 0

    @property
    def mean(self) -> float:
        return (PRIOR_BAD + self.bad) / (PRIOR_ALL + self.good + self.bad)

    def first_bad_within(self, members: int) -> float:
        """How probable it is that any of so many is bad."""
        good, both = PRIOR_ALL - PRIOR_BAD + self.good, PRIOR_ALL + self.good + self.bad
        return 1 - prod((good + n) / (both + n) for n in range(members))


class Bounds(Struct, frozen=True):
    """The bounds of a line. `running`, `passed`: the chains that are under test, and that have passed. `busy`: all check runs
    there are, also those that prove nothing any more.
    `together`: several may land in one move of the base. `every_commit`: even so each of them is to have passed where it lands."""

    slots: int
    rate: FailureRate
    together: bool = True
    every_commit: bool = False
    running: Sequence[Chain] = ()
    passed: Sequence[Chain] = ()
    busy: int = 0

    @property
    def stepwise(self) -> bool:
        """True where nobody may land along with what only passed further on."""
        return self.every_commit or not self.together


def turn(contenders: Sequence[Contender], proof_of: ProofOf, bounds: Bounds) -> Turn:
    """What is done for a line now. The order in which its members are named says nothing."""
    ordered = sorted(contenders, key=lambda each: each.rank)
    # Alone it lands only where that has passed: what a longer chain comes to says nothing about it.
    tried = {task for chain in bounds.running if not bounds.stepwise and len(chain) > 1 for task in chain}
    # Whoever failed stays in line while a chain with it is under test: that one may pass.
    standing = [each for each in ordered if each.lands and not each.alone and (not each.reds or each.task in tried)]
    suspects = [each for each in ordered if each.lands and each not in standing]
    found = Turn(apart={each.task for each in suspects if proof_of((each.task,)) is Proof.FAILED})
    proofs = list(_line(standing, proof_of, found))
    landable = {each.task for each in ordered if each.lands}
    green = [found.line[:n] for n, proof in enumerate(proofs, 1) if proof is Proof.PASSED]
    green += [chain for chain in bounds.passed if landable.issuperset(chain)]
    green += [(each.task,) for each in suspects if proof_of((each.task,)) is Proof.PASSED]
    green = [chain for chain in green if bounds.together or len(chain) == 1]
    if bounds.stepwise:
        green = [chain for chain in green if all(proof_of(chain[:n]) is Proof.PASSED for n in range(1, len(chain)))]
    tests = _Tests(proof_of, bounds, found, bounds.slots - bounds.busy)
    if green:
        found.land = max(green, key=len)  # of equals, that of the line
        if bounds.stepwise and found.land == found.line[: len(found.land)]:
            tests.of_the_line(proofs)  # after its landing they are about the very same trees
        return found
    if proofs and proofs[0] is Proof.FAILED:
        found.apart.add(found.line[0])
    alone = {chain[0] for chain in bounds.running if len(chain) == 1}
    if not any(each.task in alone for each in suspects):
        tests.first_of(suspects)
    tests.of_the_line(proofs)
    tests.each_of(suspects)
    tests.each_of([each for each in ordered if not each.lands])
    return found


def _line(standing: Sequence[Contender], proof_of: ProofOf, found: Turn) -> Iterator[Proof]:
    """Put those into line that merge one after the other: what is known of each beginning of it."""
    solo = False
    for n, each in enumerate(standing[:CHAIN_MAX]):
        if found.line and (solo or each.solo):
            break
        proof = proof_of(
            (*found.line, each.task), [other.task for other in standing[n + 1 : CHAIN_MAX] if not other.solo]
        )
        if proof is Proof.UNSEEN:
            break
        if proof is Proof.CONFLICT:
            if found.line:
                found.held[each.task] = found.line[-1]
            else:
                found.apart.add(each.task)
            continue
        found.line = (*found.line, each.task)
        solo = each.solo
        yield proof


class _Tests(Struct):
    """Gives out the check slots that are free."""

    proof_of: ProofOf
    bounds: Bounds
    found: Turn
    free: int

    def first_of(self, contenders: Sequence[Contender]) -> None:
        """Test one of these by itself."""
        any(self._start((each.task,)) for each in contenders)

    def each_of(self, contenders: Sequence[Contender]) -> None:
        """Test as many of these by themselves as there are slots. What is known of one already is for itself to say."""
        for each in contenders:
            if self.free < 1:
                return
            if not self._start((each.task,)) and self.proof_of((each.task,)) not in (Proof.RUNNING, Proof.UNSEEN):
                self.found.apart.add(each.task)

    def of_the_line(self, proofs: Sequence[Proof]) -> None:
        """Test beginnings of the line: the more at once the fewer are expected to fail."""
        red = next((n for n, proof in enumerate(proofs, 1) if proof is Proof.FAILED), 0)
        if self.bounds.stepwise:
            self._each_beginning(red)
            return
        running = [n for n, proof in enumerate(proofs, 1) if proof is Proof.RUNNING]
        if red:
            self._inside(red, sum(n < red for n in running))
        else:
            self._onwards(max(running, default=0))

    def _start(self, chain: Chain) -> bool:
        if self.free < 1 or not chain or chain in self.found.check or self.proof_of(chain) is not Proof.UNTESTED:
            return False
        self.found.check.append(chain)
        self.free -= 1
        return True

    def _each_beginning(self, red: int) -> None:
        """Every beginning of the line; without the last of the first `red`, which failed, if there is one."""
        line = self.found.line
        for n in range(1, red or len(line) + 1):
            self._start(line[:n])
        for n in range(red + 1, len(line) + 1 if red else 0):
            without = line[: red - 1] + line[red:n]
            if self.free < 1 or self.proof_of(without, line[n:]) in (Proof.UNSEEN, Proof.CONFLICT):
                return
            self._start(without)

    def _onwards(self, at: int) -> None:
        """More of the line, behind the `at` members that are under test already."""
        line, size = self.found.line, group_size(self.bounds.rate.mean, self.bounds.slots)
        while self.free > 0 and at < len(line):
            groups = min(self.free, ceil((len(line) - at) / size))
            at += ceil(min(len(line) - at, groups * size) / groups)
            if not self._start(line[:at]):
                return

    def _inside(self, red: int, running: int) -> None:
        """Who of the first `red` is it? `running`: how many of the shorter chains are under test already."""
        line, cuts = self.found.line, min(max(self.free, 0) + running, red - 1)
        for at in _cuts(self.bounds.rate, red, cuts):
            self._start(line[:at])
        if cuts < red - 1:
            return
        # By the end of this round it is known. What comes behind that one may be tested without it already.
        upto = red + group_size(self.bounds.rate.mean, self.bounds.slots)
        for at in range(red - 1, -1, -1):
            if self.free > 0:
                self._start(line[:at] + line[at + 1 : upto])


def _cuts(rate: FailureRate, red: int, cuts: int) -> Iterator[int]:
    """Where to cut the first `red`, of whom somebody is bad, so that the first such is as probably in each part as in the next.

    The less is known, the more a red group says that many are bad, and the earlier it is cut.
    """
    within = [rate.first_bad_within(members) for members in range(1, red + 1)]
    at = 0
    for cut in range(1, cuts + 1):
        share = within[-1] * cut / (cuts + 1)
        at = min((abs(within[n - 1] - share), n) for n in range(at + 1, red - cuts + cut))[1]
        yield at


@cache
def group_size(rate: float, slots: int) -> int:
    """How many members one more check should prove: as many as have most of them sorted per round.

    With `slots` chains of s, 2s, … members, each member bad with the probability `rate`.
    """
    if rate >= ALONE_FROM:
        return 1
    return max(range(1, GROUP_MAX + 1), key=lambda size: _settled_per_round(size, rate, slots))


def _settled_per_round(size: int, rate: float, slots: int) -> float:
    passes = (1 - rate) ** size
    if passes >= 1:
        return size * slots
    some_red = 1 - passes**slots
    in_green_groups = size * passes * some_red / (1 - passes)
    before_the_first_bad = 1 / rate - size * passes / (1 - passes)
    rounds = 1 + some_red * (ceil(log(size, slots + 1)) if size > 1 else 0)
    return (in_green_groups + some_red * before_the_first_bad) / rounds
