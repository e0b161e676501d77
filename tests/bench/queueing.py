"""What a merge queue costs, in check runs: simulated worlds, decided by the planner's own queue and by what others do.

A world has a backlog of changes, of which some are bad by themselves and a few pairs only together; a check of a good tree
fails now and then. All checks take one length of time, and each of the slots runs one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from statistics import fmean

from reconciler.model.names import TaskId
from reconciler.planning.merge_queue import Bounds, Chain, Contender, FailureRate, Proof, turn
from tests.bench.figures import Figure

BACKLOG = 64
FLAKES = 0.03
PAIRS = 0.0005
RETRIES = 1
WORLDS, QUICK = 300, 40
RATES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)
BATCH = 8  # of the queue that halves

Tree = frozenset[TaskId]


@dataclass
class World:
    """Changes that want to land, and what checks say of them. Counts what a strategy spends."""

    seed: int
    rate: float
    slots: int
    runs: int = 0
    lengths: int = 0
    landed: set[TaskId] = field(default_factory=set)
    ejected: set[TaskId] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)
        self.all = [TaskId(f"x-{n:02}") for n in range(BACKLOG)]
        self.bad = {task for task in self.all if self._dice.random() < self.rate}
        pairs = (frozenset({one, other}) for n, one in enumerate(self.all) for other in self.all[n + 1 :])
        self.pairs = [pair for pair in pairs if self._dice.random() < PAIRS]
        self.innocents = 0

    @property
    def left(self) -> list[TaskId]:
        return [task for task in self.all if task not in self.landed and task not in self.ejected]

    @property
    def base(self) -> Tree:
        return frozenset(self.landed)

    def check(self, *trees: Tree) -> list[bool]:
        """Run checks side by side, in as many rounds as the slots make of it."""
        self.runs += len(trees)
        self.lengths += ceil(len(trees) / self.slots)
        return [not self._red(tree) and self._dice.random() >= FLAKES for tree in trees]

    def land(self, tasks: Chain) -> None:
        self.landed |= set(tasks)
        assert not self._red(self.base), "a red base"

    def eject(self, task: TaskId) -> None:
        self.ejected.add(task)
        self.innocents += not self._red(self.base | {task})

    def _red(self, tree: Tree) -> bool:
        return bool(tree & self.bad) or any(pair <= tree for pair in self.pairs)


def ours(world: World, good: int = 0, bad: int = 0) -> None:
    """The planner's queue, with proofs by tree as they are kept. `good`, `bad`: what it has seen on this base before."""
    proofs: dict[Tree, Proof] = {}
    reds: list[tuple[TaskId, Tree, Tree]] = []  # whose run it was, the tree below it, the tree

    def proof_of(chain: Chain, more: Sequence[TaskId] = ()) -> Proof:
        proof = proofs.get(world.base | set(chain), Proof.UNTESTED)
        again = len(chain) == 1 and proof is Proof.FAILED and count(chain[0]) <= RETRIES
        return Proof.UNTESTED if again else proof

    def count(task: TaskId) -> int:
        alone = world.base | {task}
        passed = (below <= world.base or proofs.get(below) is Proof.PASSED for _, below, _ in reds)
        return sum(
            tree == alone or (whose == task and well) for (whose, _, tree), well in zip(reds, passed, strict=True)
        )

    def passed() -> list[Chain]:
        left = set(world.left)
        above = (tree - world.base for tree, proof in proofs.items() if proof is Proof.PASSED and world.base < tree)
        return [tuple(sorted(chain)) for chain in above if chain <= left]

    while world.left:
        for task in world.left:
            if count(task) > RETRIES and proof_of((task,)) is not Proof.PASSED:
                world.eject(task)
        line = [Contender(task=task, rank=(False, 2, n), reds=count(task)) for n, task in enumerate(world.left)]
        suspects = sum(bool(each.reds) for each in line)
        rate = FailureRate(good + len(world.landed), bad + len(world.ejected) + suspects)
        now = turn(line, proof_of, Bounds(slots=world.slots, rate=rate, passed=passed()))
        if now.land:
            world.land(now.land)
            continue
        trees = [world.base | set(chain) for chain in now.check]
        assert trees or not world.left, "it stands still"
        for chain, tree, green in zip(now.check, trees, world.check(*trees) if trees else [], strict=True):
            proofs[tree] = Proof.PASSED if green else Proof.FAILED
            if not green:
                reds.append((chain[-1], world.base | set(chain[:-1]), tree))


def serial(world: World) -> None:
    """One at a time, and once more where it failed."""
    while world.left:
        task = world.left[0]
        tree = world.base | {task}
        if any(world.check(tree)[0] for _ in range(1 + RETRIES)):
            world.land((task,))
        else:
            world.eject(task)


def halving(world: World) -> None:
    """A batch at a time; where it failed, its halves are tried again one after the other. One red is enough."""

    def tried(batch: list[TaskId]) -> None:
        if world.check(world.base | set(batch))[0]:
            world.land(tuple(batch))
        elif len(batch) == 1:
            world.eject(batch[0])
        else:
            tried(batch[: len(batch) // 2])
            tried(batch[len(batch) // 2 :])

    while world.left:
        tried(world.left[:BATCH])


def chained(world: World) -> None:
    """Each on all before it, as many as there are slots; what comes behind one that failed begins again."""
    strikes: dict[TaskId, int] = {}
    while world.left:
        window = world.left[: world.slots]
        trees = [world.base | set(window[: n + 1]) for n in range(len(window))]
        for task, green in zip(window, world.check(*trees), strict=True):
            if green:
                world.land((task,))
                continue
            strikes[task] = strikes.get(task, 0) + 1
            if strikes[task] > RETRIES:
                world.eject(task)
            break


Strategy = Callable[[World], None]


def cost(strategy: Strategy, rate: float, slots: int, worlds: int) -> tuple[float, float, float]:
    """Runs and lengths of a run per change, and innocents ejected per 100, on average."""
    lived = [World(seed, rate, slots) for seed in range(worlds)]
    for world in lived:
        strategy(world)
    per = [(world.runs, world.lengths, 100 * world.innocents) for world in lived]
    runs, lengths, innocents = (fmean(values) / BACKLOG for values in zip(*per, strict=True))
    return runs, lengths, innocents


def queueing(*, quick: bool) -> list[Figure]:
    """What a change costs in the queue, beside what it costs in those of others, at several rates of bad changes."""
    worlds = QUICK if quick else WORLDS
    found = [figure for slots in (1, 2, 4, 8) for rate in RATES for figure in _at(rate, slots, worlds)]
    known = cost(partial(ours, good=600, bad=400), RATES[-1], 1, worlds)
    alone = cost(serial, RATES[-1], 1, worlds)
    return [
        *found,
        Figure(
            what=f"check runs a change, 1 slots, {RATES[-1]:.0%} bad, after 1,000 others",
            value=known[0],
            unit="",
            beside="one at a time, with one retry",
            other=alone[0],
            limit=alone[0],
        ),
    ]


# At 5 % bad: runs and lengths per change, by slots.
WANTED = {1: (0.46, 0.46), 4: (0.71, 0.19)}
INNOCENTS_MAX = 0.05


def _at(rate: float, slots: int, worlds: int) -> Iterator[Figure]:
    runs, lengths, innocents = cost(ours, rate, slots, worlds)
    plain = cost(serial, rate, slots, worlds)
    others = {"halves": cost(halving, rate, 1, worlds), "chain": cost(chained, rate, slots, worlds)}
    bounds = WANTED.get(slots) if rate == RATES[2] else None
    beside = "; ".join(f"{name} {r:.2f} runs, {n:.2f} lengths, {i:.1f} innocents" for name, (r, n, i) in others.items())
    where = f"{slots} slots, {rate:.0%} bad"
    yield Figure(
        what=f"check runs a change, {where}",
        value=runs,
        unit="",
        beside="one at a time, with one retry",
        other=plain[0],
        limit=bounds[0] if bounds else float("inf"),
        note=beside,
    )
    yield Figure(
        what=f"run lengths a change, {where}",
        value=lengths,
        unit="",
        beside="one at a time, with one retry",
        other=plain[1],
        limit=bounds[1] if bounds else plain[1] * 1.1,
    )
    yield Figure(
        what=f"innocents ejected of 100, {where}",
        value=innocents,
        unit="",
        beside="one at a time, with one retry",
        other=plain[2],
        limit=INNOCENTS_MAX if rate == RATES[2] else max(plain[2], 0.2),
    )
