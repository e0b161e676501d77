"""Random workloads, agents, people, silences and deaths. The promises hold at every step; once all of it stops, the
world comes to rest, and whatever is not done is explained.

A seed is a whole story: `Chaos(17).tell()` tells number 17 again.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
import worlds
from memory import Fault, Killed, World, effect
from stories import answer, inline

from reconciler.loop.loop import Loop, Tick
from reconciler.model import report
from reconciler.model.desired import Desired, EpicSpec, MergeMode, OnConflict
from reconciler.model.names import RunId, RunKind, Sha, TaskId, task_for_key
from reconciler.model.observed import Cause, Exit, Landing, Occupant, PullState, RunState, StopWhy
from reconciler.model.pull_records import Verdict
from reconciler.model.reasons import Reason
from reconciler.model.review_by_risk import Review, ReviewByRisk
from reconciler.model.values import replace
from reconciler.model.verdicts import ReviewWord
from reconciler.planning.actions import Action
from reconciler.planning.actions.block_task import retrying

UNREST_TICKS = 60
TICKS_MAX = 600
QUIET_TICKS = 4
LONGEST_RUN_TICKS = 12
REPEATS_MAX = 4
ATTEMPTS_MAX = worlds.an_epic().agent.max_attempts
SOURCES = ("tracker", "runs", "worktrees", "branches", "forge", "landings", "base", "candidates")
PASSING = {
    Reason.UNKNOWN, Reason.BACKOFF, Reason.READY, Reason.AGENT_RUNNING, Reason.CHECKS_RUNNING,
    Reason.LANDING_QUEUED, Reason.NO_AGENT_SLOT, Reason.REVIEW_DUE, Reason.REVIEW_RUNNING,
}  # fmt: skip
DEEDS = (
    *["commit {task}; exit 0"] * 8,
    "commit bad-{task}; exit 0", "commit fix; exit 0", "exit 0", "exit 1", "dirty half-{task}; exit 1", "die",
    "commit {task}; dirty rest-{task}; exit 0", "commit {task}; die", "merge; exit 0", "merge; commit {task}; exit 0",
    "close; exit 0", "commit {task}; close; exit 0", "commit {task}; close; stay", "block; exit 0",
    "commit {task}; hint; stay", "unavailable", "limit", "stay", "beg; exit 1", "boast; commit {task}; exit 0", "reset; exit 0",
)  # fmt: skip
VERDICTS = (
    *["approve"] * 6, "approve low", "approve high", "request_changes", "request_changes", "person", "nonsense", "fails",
    "stays",
)  # fmt: skip

FLAKY = 0.05


class SlowWorld(World):
    """A world in which what is told to stop takes its time."""

    def __init__(self, **fields: object) -> None:
        super().__init__(**fields)
        self.told: dict[RunId, StopWhy] = {}

    @effect
    def stop(self, run: RunId, why: StopWhy) -> None:
        seen = self.processes[run]
        if seen.state in (RunState.STARTING, RunState.RUNNING):
            self.processes[run] = replace(seen, state=RunState.ENDING, pid=7, stopped_at=self.now)
            self.told[run] = why

    def end_what_was_told_to(self) -> None:
        for run, why in list(self.told.items()):
            del self.told[run]
            record = Exit(cause=Cause.STOPPED, signal=15, stop=why, at=self.now)
            self.processes[run] = replace(self.processes[run], state=RunState.ENDED, exit=record)


@dataclass
class Chaos:
    """One random story. Everything in it follows from its seed."""

    seed: int
    epics: tuple[EpicSpec, ...] = ()
    max_agents: int | None = None
    world: SlowWorld = field(default_factory=lambda: SlowWorld(now=worlds.NOW))
    ticks: list[Tick] = field(default_factory=list)
    landings_seen: int = 0
    repeats: Counter[tuple[object, ...]] = field(default_factory=Counter)
    limited: bool = True  # in peace nobody meets a usage limit for ever
    lived: Counter[RunId] = field(default_factory=Counter)  # in ticks

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.reviewers = random.Random(f"reviewers {self.seed}")  # of their own: with them no other story changes
        self.epics = tuple(self._epic(name) for name in self.dice.choice((["a"], ["a"], ["a", "b"])))
        self.max_agents = self.dice.choice((None, None, 1, 2)) if len(self.epics) > 1 else None
        self.world.checked = all(epic.merge.checks for epic in self.epics)
        ids = [f"x-{n}" for n in range(1, self.dice.randint(1, 5) + 1)]
        for epic in self.epics:
            if epic.epic:
                self.world.add(epic.epic, type="epic")
        for n, id in enumerate(ids):
            blockers = tuple(TaskId(other) for other in ids[:n] if self.dice.random() < 0.2)
            parents = tuple(epic.epic for epic in self.epics if epic.epic and self.dice.random() < 0.6)
            self.world.add(id, priority=self.dice.randint(0, 4), blockers=blockers, parents=parents)
        if self.dice.random() < 0.5:
            self.world.rivals = {frozenset(self.dice.sample(ids, 2))} if len(ids) > 1 else set()
        declared = [(epic.name, task.key) for epic in self.epics for task in epic.tasks]
        self.ids = [TaskId(id) for id in ids] + [task_for_key("t", *names) for names in declared]
        self.deeds = {id: self.dice.choices(DEEDS, k=12) for id in self.ids}

    def _epic(self, name: str) -> EpicSpec:
        pick = self.dice.choice
        return worlds.an_epic(
            name=name,
            epic=pick((None, None, TaskId(f"{name}-0"))),
            tasks=pick(((), (), inline("p", "q", after={"q": ("p",)}))),
            max_agents=pick((1, 1, 2, 3)),
            merge={
                "checks": pick((worlds.CHECKS, worlds.CHECKS, ())),
                "parallel": pick((1, 1, 2, 4)),
                "retries": pick((1, 1, 0)),
                "on_conflict": pick((OnConflict.AGENT, OnConflict.AGENT, OnConflict.BLOCK)),
                "review": ReviewByRisk.always(self._by(pick((Review.NONE, Review.NONE, Review.HUMAN)))),
                "review_rounds": self.reviewers.choice((3, 3, 0, 1)),
                "mode": pick((MergeMode.AUTO, MergeMode.AUTO, MergeMode.AUTO, MergeMode.MANUAL)),
                "delete_branch": pick((True, True, False)),
                "protected_paths": pick(((), ("x-1",))),
            },
        )

    def _by(self, review: Review) -> Review:
        return Review.AGENT if self.seed not in STOOD_STILL and self.reviewers.random() < 0.3 else review

    # --- the story -----------------------------------------------------------------------------------------

    def tell(self) -> Chaos:
        loop = self._loop()
        quiet = 0
        for number in range(TICKS_MAX):
            if number < UNREST_TICKS:
                self._unrest()
            elif number == UNREST_TICKS:
                self._peace()
            try:
                tick = loop.tick()
                self.ticks.append(tick)
                self._no_spinning(tick)
                quiet = 0 if tick.plan.actions or tick.plan.wake_at or self._alive() else quiet + 1
                self._everything_is_explained(tick)
            except Killed:
                self.world.dead = False
                loop = self._loop()
                quiet = 0
            self._promises_hold()
            if quiet >= QUIET_TICKS and number > UNREST_TICKS:
                self._it_rests_for_a_reason()
                return self
            self._agents()
            self.world.later(seconds=self.dice.choice((1, 20, 60)))
        raise AssertionError(f"not quiet after {TICKS_MAX} ticks; last plan: {self.ticks[-1].plan.actions}")

    def _loop(self) -> Loop:
        return Loop(load=self._desired, ports=self.world.ports(), clock=lambda: self.world.now, workers=1)

    def _desired(self) -> Desired:
        return Desired(epics=tuple(map(self._recorded, self.epics)), max_agents=self.max_agents)

    def _recorded(self, epic: EpicSpec) -> EpicSpec:
        applied = {key: task for (name, key), task in self.world.applied_tasks.items() if name == epic.name}
        return replace(epic, applied=applied)

    def _alive(self) -> bool:
        return any(run.alive for run in self.world.processes.values())

    # --- what must hold ------------------------------------------------------------------------------------

    def _promises_hold(self) -> None:
        world = self.world
        assert world.broken == []
        live = Counter(run.task for run in world.alive())
        assert all(count == 1 for count in live.values()), live
        opened = Counter(pull.task for pull in world.pulls.values() if pull.state is PullState.OPEN)
        assert all(count == 1 for count in opened.values()), opened
        for landing in world.landed[self.landings_seen :]:
            pull = next(p for p in world.pulls.values() if p.task == landing.task and p.state is PullState.MERGED)
            asked = all(epic.merge.review == ReviewByRisk.always(Review.HUMAN) for epic in self.epics)
            assert not asked or pull.approved == landing.head, f"{landing.task} landed without an approval"
            by_agent = all(Review.NONE not in epic.merge.review.each for epic in self.epics)
            assert not by_agent or pull.approved == landing.head or self._reviewed(landing), (
                f"{landing.task}: unreviewed"
            )
        self.landings_seen = len(world.landed)
        attempts = {run.id: run.attempt for run in world.processes.values() if run.attempt > ATTEMPTS_MAX}
        assert not attempts, attempts

    def _reviewed(self, landing: Landing) -> bool:
        """True where a reviewer has approved the very tree that its head is of."""
        tree = self.world._tree(self.world.commits[landing.head])
        reviews = (run for run in self.world.processes.values() if run.id.kind is RunKind.REVIEW and run.tree == tree)
        return any(run.verdict and run.verdict.verdict is ReviewWord.APPROVE and run.exit.well for run in reviews)

    def _everything_is_explained(self, tick: Tick) -> None:
        if "tracker" in self.world.down or self.world.down & {"base"}:
            return
        tasks = tick.observed.tasks
        assert isinstance(tasks, dict)
        explained = {task for epic in tick.plan.epics for task in epic.waiting}
        explained |= {action.task for action in tick.plan.actions}
        members = {task.id for epic in tick.plan.epics if epic.epic_tasks for task in epic.epic_tasks.members}
        open_still = {id for id, task in tasks.items() if not task.closed and id in members}
        assert open_still <= explained, open_still - explained

    def _no_spinning(self, tick: Tick) -> None:
        """The same thing, done again and again without an error, does nothing."""
        done = {
            (type(o.action).__name__, o.action.manifest, o.action.task, o.action.reason, _which(o.action))
            for o in tick.outcomes
            if o.error is None
        }
        self.repeats = Counter({deed: self.repeats[deed] + 1 for deed in done})
        spinning = [deed for deed, count in self.repeats.items() if count > REPEATS_MAX]
        assert not spinning, spinning

    def _it_rests_for_a_reason(self) -> None:
        for epic in self.ticks[-1].plan.epics:
            passing = {task: w for task, w in epic.waiting.items() if w.reason in PASSING}
            assert not passing, passing
            assert epic.converged or epic.waiting or epic.held or not epic.complete

    # --- agents --------------------------------------------------------------------------------------------

    def _agents(self) -> None:
        self.world.end_what_was_told_to()
        for run in list(self.world.processes.values()):
            if run.state is not RunState.RUNNING:
                continue
            self.lived[run.id] += 1  # a supervisor's clock does not jump
            if run.id.kind is RunKind.CHECK:
                if self.dice.random() < 0.7:
                    self._check(run.id)
            elif self.lived[run.id] > LONGEST_RUN_TICKS:
                self.world.finish(run.id, 1, Cause.TIMEOUT)
            elif run.id.kind is RunKind.REVIEW:
                answer(self.world, run.id, self.reviewers.choice(VERDICTS))
            elif self.dice.random() < 0.6:
                deeds = self.deeds[run.task]
                for deed in deeds[(run.id.n - 1) % len(deeds)].format(task=run.task).split(";"):
                    self._do(deed.strip(), run.id)

    def _check(self, run: RunId) -> None:
        spec = self.world.specs[run]
        content = frozenset().union(*(self.world.commits[each] for each in (spec.base_tip, *spec.heads) if each))
        bad = {patch for patch in content if patch.startswith("bad")} and "fix" not in content
        self.world.finish(run, 1 if bad or self.dice.random() < FLAKY else 0)

    def _do(self, deed: str, run: RunId) -> None:
        world, task = self.world, TaskId(run.subject)
        if task not in world.heads or task not in world.trees:
            world.finish(run, 1)
            return
        labels = world.beads[task].labels
        match deed.split():
            case ["commit", patch] if patch not in world.commits[world.heads[task]]:
                world.commit(task, patch)
            case ["dirty", patch]:
                world.trees[task].dirty |= {patch}
            case ["merge"]:
                world.merge_base_into(task)
            case ["reset"]:
                world.heads[task] = world.trees[task].head = world.main
            case ["exit", code]:
                world.finish(run, int(code))
            case ["die"]:
                world.lose(run)
            case ["close"] if not world.beads[task].closed:
                world.edit(task, status="closed", closed_by_session=str(run), closed_at=world.now)
            case ["block"]:
                world.edit(task, status="blocked")
            case ["hint"] if "phase:committed" not in labels:
                world.edit(task, labels=labels | {"phase:committed"})
            case ["beg"]:
                world.edit(task, status="open", labels=labels | {"needs-human"})
            case ["boast"]:
                world.edit(task, labels=labels | {"phase:merged"})
            case ["unavailable"]:
                world.finish(run, 127, Cause.UNAVAILABLE)
            case ["limit"] if self.limited:
                lifted = world.now + timedelta(minutes=5)
                world.finish(run, 1, report=report.Report(fault=report.Fault.USAGE_LIMIT, retry_at=lifted))
            case ["limit"]:
                world.finish(run, 1)

    # --- people, silence, death ----------------------------------------------------------------------------

    def _unrest(self) -> None:
        dice, world = self.dice, self.world
        world.down = {dice.choice(SOURCES)} if dice.random() < 0.15 else set()
        if dice.random() < 0.2:
            world.fault = Fault(dice.randint(1, 6), dice.choice(("before", "after", "unanswered")))
        if dice.random() < 0.35:
            people = (
                self._close, self._reopen, self._reassign, self._give_back, self._take, self._stop, self._retry,
                self._delete_branch, self._push_to_main, self._push, self._approve, self._approve, self._reject,
                self._merge, self._block, self._rebound, self._suspend, self._sit_down, self._dirty_the_checkout,
                self._set_the_clock_back, self._remove_worktree, self._lose_a_run, self._edit_the_manifest,
                self._give_it_a_child,
            )  # fmt: skip
            deed: Callable[[TaskId], None] = dice.choice(people)
            task = dice.choice(self.ids)
            if task in world.beads:
                deed(task)

    def _peace(self) -> None:
        world = self.world
        self.limited = False
        world.down, world.fault, world.occupied, world.in_the_way = set(), None, {}, frozenset()
        self.epics = tuple(replace(epic, suspend=False) for epic in self.epics)

    def _close(self, task: TaskId) -> None:
        self.world.edit(task, status="closed", closed_at=self.world.now)

    def _reopen(self, task: TaskId) -> None:
        self.world.edit(task, status="open", closed_at=None, closed_by_session="")

    def _reassign(self, task: TaskId) -> None:
        self.world.edit(task, assignee="ann")

    def _give_back(self, task: TaskId) -> None:
        labels = self.world.beads[task].labels - {"reconcile:taken"}
        self.world.edit(task, assignee="", labels=labels)

    def _take(self, task: TaskId) -> None:
        self.world.edit(task, labels=self.world.beads[task].labels | {"reconcile:taken"})

    def _stop(self, task: TaskId) -> None:
        self.world.edit(task, labels=self.world.beads[task].labels | {"reconcile:stopped"})

    def _retry(self, task: TaskId) -> None:
        if not self.world.beads[task].closed:
            fault, self.world.fault = self.world.fault, None
            self.world.mark_since(task, self.world.main, self.world.now)
            self.world.change(retrying(self.world.beads[task]))
            self.world.fault = fault

    def _delete_branch(self, task: TaskId) -> None:
        if not any(run.task == task for run in self.world.alive()):
            self.world.trees.pop(task, None)
            self.world.heads.pop(task, None)

    def _remove_worktree(self, task: TaskId) -> None:
        self.world.trees.pop(task, None)

    def _push_to_main(self, task: TaskId) -> None:
        self.world.push_to_main(f"main-{len(self.world.commits)}")

    def _push(self, task: TaskId) -> None:
        if task in self.world.heads:
            self.world.commit(task, f"push-{len(self.world.commits)}")

    def _approve(self, task: TaskId) -> None:
        for number, pull in self.world.pulls.items():
            self.world.pulls[number] = replace(pull, approved=self.world.heads.get(pull.task))

    def _reject(self, task: TaskId) -> None:
        for number, pull in self.world.pulls.items():
            if pull.task == task and task in self.world.heads:
                self.world.review(
                    number, self.world.heads[task], Verdict.REJECTED, "not so"
                ) if not self.world.fault else None

    def _merge(self, task: TaskId) -> None:
        if head := self.world.heads.get(task):
            world = self.world
            world.main = world._new_commit(world.commits[world.main] | world.commits[head], (world.main, Sha(head)))

    def _block(self, task: TaskId) -> None:
        if not self.world.beads[task].closed:
            self.world.edit(task, status=self.dice.choice(("blocked", "deferred", "hooked", "open", "in_progress")))

    def _rebound(self, task: TaskId) -> None:
        self.epics = tuple(replace(epic, max_agents=self.dice.randint(0, 3) or 1) for epic in self.epics)

    def _suspend(self, task: TaskId) -> None:
        self.epics = tuple(replace(epic, suspend=not epic.suspend) for epic in self.epics)

    def _edit_the_manifest(self, task: TaskId) -> None:
        changed = self.dice.choice((
            inline("p", "q"), inline("p"), inline("p", "q", after={"p": ("q",)}), inline("q", "r", after={"q": ("r",)}),
        ))  # fmt: skip
        self.epics = tuple(replace(epic, tasks=changed if epic.tasks else ()) for epic in self.epics)
        self.ids += [
            id for epic in self.epics if epic.tasks and (id := task_for_key("t", epic.name, "r")) not in self.ids
        ]
        self.deeds |= {id: self.dice.choices(DEEDS, k=12) for id in self.ids if id not in self.deeds}

    def _give_it_a_child(self, task: TaskId) -> None:
        if f"{task}.1" not in self.world.beads:
            self.world.add(f"{task}.1", parents=(task,))
            self.deeds[TaskId(f"{task}.1")] = self.dice.choices(DEEDS, k=12)

    def _sit_down(self, task: TaskId) -> None:
        self.world.occupied = {} if self.world.occupied else {task: Occupant(pid=1, command="vim")}

    def _dirty_the_checkout(self, task: TaskId) -> None:
        self.world.in_the_way = frozenset() if self.world.in_the_way else frozenset({str(task)})

    def _set_the_clock_back(self, task: TaskId) -> None:
        self.world.later(seconds=-self.dice.choice((5, 600, 86400)))

    def _lose_a_run(self, task: TaskId) -> None:
        for run in self.world.alive(self.dice.choice(list(RunKind))):
            self.world.lose(run.id)


def _which(action: Action) -> object:
    """Which of several of its kind for the same task."""
    return getattr(action, "n", None) or getattr(action, "check", None)


# In which the queue once stood still, or went round and round.
STOOD_STILL = (1260, 3324, 3946, 4453, 4826, 11307, 21179, 42429)


@pytest.mark.parametrize("seed", [*range(120), *STOOD_STILL])
def test_a_random_story_keeps_its_promises_and_comes_to_rest(seed: int) -> None:
    Chaos(seed).tell()


@pytest.mark.slow
@pytest.mark.parametrize("block", range(40))
def test_many_random_stories_keep_their_promises_and_come_to_rest(block: int) -> None:
    for seed in range(1000 + block * 100, 1000 + (block + 1) * 100):
        Chaos(seed).tell()
