"""A world in memory with agents that follow a script, and the loop that is killed and started again in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import worlds
from memory import Fault, Killed, World
from merging_world import MergingWorld

from reconciler.loop.loop import Loop, Tick
from reconciler.model.desired import Desired, EpicSpec, InlineTask
from reconciler.model.names import RunId, RunKind, TaskId
from reconciler.model.observed import Cause, PullState, RunState
from reconciler.model.review_by_risk import RiskLevel
from reconciler.model.values import replace
from reconciler.model.verdicts import ReviewVerdict, ReviewWord

TICKS_MAX = 400
QUIET_TICKS = 6

Deed = str
"""What an agent does in one attempt, in words: 'commit p', 'dirty p', 'merge', 'exit N', 'die', 'close', 'block',
'hint', 'unavailable', 'stay'. Several are separated by ';'."""


@dataclass(frozen=True, kw_only=True)
class Story:
    """What is wanted, what is there, and what every agent does, attempt by attempt."""

    epic: EpicSpec = field(default_factory=worlds.an_epic)
    tasks: tuple[Mapping[str, object], ...] = ({"id": "x-1"},)
    deeds: Mapping[str, tuple[Deed, ...]] = field(default_factory=dict)  # by task; the last one is repeated
    verdicts: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # by task, review by review; the last is repeated
    rivals: tuple[tuple[str, str], ...] = ()
    people: Mapping[int, Callable[[World], None]] = field(default_factory=dict)  # at a tick
    one_end: bool = True  # whatever happens on the way, the same work lands
    ends: Callable[[World], bool] = lambda world: all(task.closed for task in world.beads.values())

    kind: type[World] = World
    strict: bool = False  # a forge elsewhere merges only what has the base in it

    def world(self) -> World:
        made = self.kind(now=worlds.NOW, rivals={frozenset(pair) for pair in self.rivals})
        made.checked = bool(self.epic.merge.checks)
        if isinstance(made, MergingWorld):
            made.strict = self.strict
        for fields in self.tasks:
            made.add(**fields)
        return made


@dataclass
class Teller:
    """Tells a story to its end, whatever is struck down on the way."""

    story: Story
    world: World
    ticks: list[Tick] = field(default_factory=list)

    @classmethod
    def tell(cls, story: Story, fault: Fault | None = None) -> Teller:
        teller = cls(story, story.world())
        teller.world.fault = fault
        teller.go()
        return teller

    def go(self) -> None:
        loop = self._loop()
        quiet = 0
        for number in range(TICKS_MAX):
            if number in self.story.people:
                self.story.people[number](self.world)
            try:
                tick = loop.tick()
                self.ticks.append(tick)
                quiet = quiet + 1 if not tick.plan.actions and not self._busy() else 0
            except Killed:
                self.world.dead = False
                loop = self._loop()
                quiet = 0
            assert self.world.broken == []
            if quiet >= QUIET_TICKS and number >= max(self.story.people, default=0):
                return
            self._agents()
            self.world.later(seconds=20)
        raise AssertionError(f"not quiet after {TICKS_MAX} ticks; last plan: {self.ticks[-1].plan.actions}")

    def _loop(self) -> Loop:
        return Loop(load=self._desired, ports=self.world.ports(), clock=lambda: self.world.now, workers=1)

    def _desired(self) -> Desired:
        applied = {key: task for (name, key), task in self.world.applied_tasks.items() if name == self.story.epic.name}
        return Desired(epics=(replace(self.story.epic, applied=applied),))

    def _busy(self) -> bool:
        timers = self.ticks[-1].plan.wake_at is not None
        return timers or any(run.alive for run in self.world.processes.values())

    def _agents(self) -> None:
        if isinstance(self.world, MergingWorld):
            self.world.run_checks()
        for run in list(self.world.processes.values()):
            if run.state is not RunState.RUNNING:
                continue
            if run.id.kind is RunKind.CHECK:
                self._check(run.id)
            elif run.id.kind is RunKind.REVIEW:
                every = [r for r in self.world.processes.values() if r.task == run.task and r.id.kind is RunKind.REVIEW]
                verdicts = self.story.verdicts.get(run.task, ("approve",))
                answer(self.world, run.id, verdicts[min(len(every), len(verdicts)) - 1])
            else:
                deeds = self.story.deeds.get(run.task, ("commit {task}; exit 0",))
                mine = [r for r in self.world.processes.values() if r.task == run.task and r.id.kind is RunKind.WORK]
                for deed in deeds[min(len(mine), len(deeds)) - 1].split(";"):
                    self._do(deed.strip().format(task=run.task), run.id)

    def _check(self, run) -> None:
        order = self.world.specs[run]
        head = self.world.heads.get(order.task)
        content = self.world.commits[self.world.main]
        if head and order.tree != self.world._tree(content):  # else it is the base as it is
            content |= self.world.commits[head]
        bad = {patch for patch in content if patch.startswith("bad")}
        self.world.finish(run, 1 if bad and "fix" not in content else 0)

    def _do(self, deed: str, run) -> None:
        world, task = self.world, run.subject
        match deed.split():
            case ["commit", patch]:
                if patch not in world.commits[world.heads[TaskId(task)]]:
                    world.commit(task, patch)
            case ["dirty", patch]:
                world.trees[TaskId(task)].dirty |= {patch}
            case ["merge"]:
                world.merge_base_into(task)
            case ["exit", code]:
                world.finish(run, int(code))
            case ["die"]:
                world.lose(run)
            case ["close"] if not world.beads[TaskId(task)].closed:
                world.edit(task, status="closed", closed_by_session=str(run))
            case ["block"]:
                world.edit(task, status="blocked")
            case ["hint"] if "phase:committed" not in world.beads[TaskId(task)].labels:
                world.edit(task, labels=world.beads[TaskId(task)].labels | {"phase:committed"})
            case ["unavailable"]:
                world.finish(run, 127, Cause.UNAVAILABLE)
            case ["close" | "hint" | "stay", *_]:
                pass


def answer(world: World, run: RunId, words: str) -> None:
    """A reviewer ends: with a verdict and perhaps a risk, as 'approve high'; with 'nonsense'; or it 'fails'."""
    match words.split():
        case ["nonsense"]:
            world.finish(run)
        case ["fails"]:
            world.finish(run, 1)
        case ["stays"]:
            pass
        case [word, *risk]:
            level = RiskLevel(risk[0]) if risk else None
            world.finish(run, verdict=ReviewVerdict(verdict=ReviewWord(word), summary=f"it says {words}", risk=level))


def inline(*keys: str, after: Mapping[str, tuple[str, ...]] | None = None) -> tuple[InlineTask, ...]:
    return tuple(InlineTask(key=key, title=key, depends_on=(after or {}).get(key, ())) for key in keys)


def open_pulls(world: World) -> int:
    return sum(pull.state is PullState.OPEN for pull in world.pulls.values())
