"""The program dies before, after, or without hearing of, every single effect of a dozen workloads. Each time it is
started again, keeps every promise, ends where an undisturbed run ends, and falls quiet."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import worlds
from memory import Fault, World
from merging_world import MergingWorld
from stories import Story, Teller, inline, open_pulls

from reconciler.model.desired import MergeMode, OnConflict
from reconciler.model.names import PrNumber, RunKind, TaskId
from reconciler.model.observed import PullState
from reconciler.model.review_by_risk import Review, ReviewByRisk
from reconciler.model.values import replace

BY_AGENT = ReviewByRisk.always(Review.AGENT)


def _approve_all(world: World) -> None:
    for number, pull in world.pulls.items():
        world.pulls[number] = replace(pull, approved=world.heads.get(pull.task, pull.head))


def _put_off(world: World) -> None:
    world.edit("x-1", status="deferred")


def _set_open(world: World) -> None:
    assert world.beads[TaskId("x-1")].status == "deferred" and world.landed == []
    world.edit("x-1", status="open")


def _closed(world: World) -> bool:
    return all(task.closed for task in world.beads.values())


def _needs_human(*ids: str) -> Callable[[World], bool]:
    return lambda world: all(
        ("needs-human" in task.labels and task.status == "blocked") == (task.id in ids) for task in world.beads.values()
    )


def _cleared(world: World) -> bool:
    """True when nothing is left behind but branches whose work is on no base."""
    landed = world.commits[world.main]
    left = [task for task, head in world.heads.items() if world.commits[head] <= landed]
    return not world.trees and not left and not world.check_trees and not open_pulls(world)


def _merge_now(world: World) -> None:
    for number, pull in world.pulls.items():
        world.pulls[number] = replace(pull, merge_now=world.heads.get(pull.task, pull.head))


def _push_there(world: World, patch: str) -> None:
    assert isinstance(world, MergingWorld)
    for task, head in world.there.items():
        if patch not in world.commits[head]:
            world.there[task] = world._new_commit(world.commits[head] | {patch}, (head,))


def _approve_there(world: World) -> None:
    assert isinstance(world, MergingWorld)
    for number, pull in world.pulls.items():
        world.pulls[number] = replace(pull, approved=world.there.get(pull.task, pull.head))


def _merge_all(world: World) -> None:
    assert isinstance(world, MergingWorld)
    for number, pull in list(world.pulls.items()):
        if pull.state is PullState.OPEN:
            world.merge(number)


STACKED = worlds.an_epic(stack=True, merge={"mode": MergeMode.MANUAL})
ON_TOP: tuple[dict[str, object], ...] = ({"id": "x-1"}, {"id": "x-2", "blockers": (TaskId("x-1"),)})

STORIES = {
    "one task": Story(),
    "five tasks, two agents, dependencies": Story(
        epic=worlds.an_epic(max_agents=2),
        tasks=(
            {"id": "x-1"},
            {"id": "x-2", "blockers": (TaskId("x-1"),)},
            {"id": "x-3", "blockers": (TaskId("x-1"),)},
            {"id": "x-4", "blockers": (TaskId("x-2"), TaskId("x-3"))},
            {"id": "x-5", "priority": 0},
        ),
    ),
    "an inline epic": Story(
        epic=worlds.an_epic(name="inline", tasks=inline("a", "b", after={"b": ("a",)}), max_agents=1), tasks=()
    ),
    "no checks": Story(epic=worlds.an_epic(merge={"checks": ()})),
    "an agent fails, leaves files, and does it the second time": Story(
        deeds={"x-1": ("dirty half; exit 1", "commit p; exit 0")}
    ),
    "an agent commits and is killed": Story(deeds={"x-1": ("commit p; die", "exit 0")}),
    "an agent leaves files beside its commits": Story(deeds={"x-1": ("commit p; dirty rest; exit 0",)}),
    "checks are red once": Story(deeds={"x-1": ("commit bad-1; exit 0", "commit fix; exit 0")}),
    "checks stay red": Story(
        deeds={"x-1": ("commit bad-1; exit 0", "commit bad-2; exit 0", "commit bad-3; exit 0")},
        ends=_needs_human("x-1"),
    ),
    "an agent never commits": Story(deeds={"x-1": ("exit 0",)}, ends=_needs_human("x-1")),
    "two tasks in conflict": Story(
        tasks=({"id": "x-1"}, {"id": "x-2"}),
        deeds={"x-1": ("commit left; exit 0", "merge; exit 0"), "x-2": ("commit right; exit 0", "merge; exit 0")},
        rivals=(("left", "right"),),
    ),
    "a conflict that nobody fixes": Story(
        epic=worlds.an_epic(merge={"on_conflict": OnConflict.BLOCK}),
        tasks=({"id": "x-1"}, {"id": "x-2", "priority": 3}),
        deeds={"x-1": ("commit left; exit 0",), "x-2": ("commit right; exit 0",)},
        rivals=(("left", "right"),),
        ends=lambda world: _needs_human("x-1")(world) or _needs_human("x-2")(world),
        one_end=False,
    ),
    "a person approves": Story(
        epic=worlds.an_epic(merge={"protected_paths": ("p",)}),
        deeds={"x-1": ("commit p; exit 0",)},
        people={9: _approve_all, 30: _approve_all},
    ),
    "an agent reviews": Story(epic=worlds.an_epic(merge={"review": BY_AGENT})),
    "a reviewer sends work back once": Story(
        epic=worlds.an_epic(merge={"review": BY_AGENT}),
        deeds={"x-1": ("commit p; exit 0", "commit q; exit 0")},
        verdicts={"x-1": ("request_changes", "approve")},
    ),
    "a reviewer has a bad day": Story(
        epic=worlds.an_epic(merge={"review": BY_AGENT}), verdicts={"x-1": ("nonsense", "approve")}
    ),
    "a person merges": Story(
        epic=worlds.an_epic(merge={"mode": MergeMode.MANUAL}),
        deeds={"x-1": ("commit p; exit 0",)},
        people={30: lambda world: setattr(world, "main", world.merge_base_into("x-1"))},
    ),
    "a task on top of another": Story(
        epic=STACKED,
        tasks=ON_TOP,
        deeds={"x-1": ("commit p; exit 0",), "x-2": ("commit q; exit 0",)},
        people={30: _merge_now, 45: _merge_now, 60: _merge_now},
        ends=lambda world: _closed(world) and world.commits[world.main] == {"p", "q"},
    ),
    "a task on top of one that is closed without landing": Story(
        epic=STACKED,
        tasks=ON_TOP,
        deeds={"x-1": ("commit p; exit 0",), "x-2": ("commit q; exit 0",)},
        people={30: lambda world: world.edit("x-1", status="closed"), 45: _merge_now, 60: _merge_now},
        ends=lambda world: _closed(world) and world.commits[world.main] == {"q"},
    ),
    "a task on top of one that does not fit there once that has landed": Story(
        epic=STACKED,
        tasks=ON_TOP,
        rivals=(("q", "theirs"),),
        deeds={"x-1": ("commit p; exit 0",), "x-2": ("commit q; exit 0", "merge; exit 0")},
        people={
            25: lambda world: setattr(
                world, "main", world._new_commit(world.commits[world.main] | {"theirs"}, (world.main,))
            ),
            30: _merge_now,
            45: _merge_now,
            60: _merge_now,
        },
        ends=lambda world: _needs_human("x-2")(world) and "q" not in world.commits[world.main],
    ),
    "a person closes the task under its agent": Story(
        deeds={"x-1": ("commit p; dirty q; stay",)},
        people={3: lambda world: world.edit("x-1", status="closed")},
        ends=lambda world: _closed(world) and not world.trees and world.heads[TaskId("x-1")] != world.main,
    ),
    "an agent closes its own task, with commits": Story(deeds={"x-1": ("commit p; close; exit 0",)}),
    "an agent closes its own task, with nothing to land": Story(deeds={"x-1": ("close; exit 0",)}),
    "an agent gives up": Story(deeds={"x-1": ("block; exit 0",)}, ends=_needs_human("x-1")),
    "an agent says that it is done and stays": Story(deeds={"x-1": ("commit p; hint; stay",)}),
    "a person opens a finished task again": Story(
        deeds={"x-1": ("commit p; exit 0", "commit again; exit 0")},
        people={25: lambda world: world.edit("x-1", status="open")},
    ),
    "a person opens a finished task again, and there is nothing left to do": Story(
        deeds={"x-1": ("commit p; exit 0", "exit 0")},
        people={25: lambda world: world.edit("x-1", status="open")},
        ends=lambda world: _needs_human("x-1")(world) and sum(run.kind is RunKind.WORK for run in world.processes) == 2,
    ),
    "a person puts a task off, and later on no more": Story(
        epic=worlds.an_epic(merge={"protected_paths": ("p",)}),
        deeds={"x-1": ("commit p; exit 0",)},
        people={12: _put_off, 13: _approve_all, 25: _set_open, 26: _approve_all},
    ),
    "a person deletes the branch and starts over": Story(
        epic=worlds.an_epic(merge={"mode": MergeMode.AUTO, "protected_paths": ("p",)}),
        deeds={"x-1": ("commit p; exit 0", "commit q; exit 0")},
        people={
            12: lambda world: (world.trees.clear(), world.heads.clear(), None)[-1],
            13: lambda world: world.edit("x-1", status="open", labels=frozenset()),
        },
    ),
}


ELSEWHERE = {
    "one task, merged elsewhere": Story(kind=MergingWorld),
    "three tasks, merged elsewhere": Story(
        kind=MergingWorld,
        tasks=({"id": "x-1"}, {"id": "x-2"}, {"id": "x-3", "blockers": (TaskId("x-1"), TaskId("x-2"))}),
    ),
    "checks are red elsewhere": Story(kind=MergingWorld, deeds={"x-1": ("commit bad-1; exit 0", "commit fix; exit 0")}),
    "checks are red elsewhere by chance": Story(kind=MergingWorld, deeds={"x-1": ("commit flaky-1; exit 0",)}),
    "the base is wanted in every branch": Story(
        kind=MergingWorld, strict=True, tasks=({"id": "x-1"}, {"id": "x-2"})
    ),
    "only the forge runs checks": Story(
        kind=MergingWorld, epic=worlds.an_epic(merge={"checks": ()}),
        tasks=({"id": "x-1"}, {"id": "x-2"}, {"id": "x-3"}),
    ),
    "a person pushes to the branch elsewhere": Story(
        kind=MergingWorld, epic=worlds.an_epic(merge={"protected_paths": ("p",)}),
        deeds={"x-1": ("commit p; exit 0",)},
        people={8: lambda world: _push_there(world, "theirs"), 14: _approve_there, 25: _approve_there},
    ),
    "a person merges elsewhere": Story(
        kind=MergingWorld, epic=worlds.an_epic(merge={"mode": MergeMode.MANUAL}),
        deeds={"x-1": ("commit p; exit 0",)},
        people={20: lambda world: _merge_all(world), 30: lambda world: _merge_all(world)},
    ),
    "the forge is silent for a while": Story(
        kind=MergingWorld, tasks=({"id": "x-1"}, {"id": "x-2"}),
        people={n: lambda world: setattr(world, "silent_until", 2) for n in (2, 7, 11)},
    ),
}  # fmt: skip
STORIES |= ELSEWHERE


@pytest.mark.parametrize("name", STORIES)
def test_a_story_ends_well_and_quietly(name: str) -> None:
    story = STORIES[name]
    told = Teller.tell(story)
    assert story.ends(told.world), told.world.beads
    if _closed(told.world):
        assert _cleared(told.world)


@pytest.mark.parametrize("how", ["before", "after", "unanswered"])
@pytest.mark.parametrize("name", STORIES)
def test_killed_at_any_effect_it_ends_in_the_same_place(name: str, how: str) -> None:
    story = STORIES[name]
    undisturbed = Teller.tell(story).world
    for at in range(1, len(undisturbed.effects) + 1):
        world = Teller.tell(story, Fault(at, how)).world
        assert story.ends(world), (at, how, world.beads)
        assert not story.one_end or world.commits[world.main] == undisturbed.commits[undisturbed.main], (at, how)
        assert len(world.landed) == len(undisturbed.landed), (at, how)
        assert len(world.pulls) == len(undisturbed.pulls), (at, how)
        assert _started(world, RunKind.WORK) <= _started(undisturbed, RunKind.WORK), (at, how)
        assert _started(world, RunKind.REVIEW) <= _started(undisturbed, RunKind.REVIEW), (at, how)
        # What was to be tested together may come to be ready one by one; it is not tested more often than by itself.
        checks = _started(undisturbed, RunKind.CHECK)
        assert _started(world, RunKind.CHECK) <= max(checks, len(world.landed)), (at, how)
        if _closed(world):
            assert _cleared(world), (at, how)


def _started(world: World, kind: RunKind) -> int:
    return sum(run.started for run in world.processes.values() if run.id.kind is kind)


def test_numbers_of_pull_requests_are_never_used_twice() -> None:
    told = Teller.tell(STORIES["five tasks, two agents, dependencies"])
    assert sorted(told.world.pulls) == [PrNumber(n) for n in range(1, 6)]


@pytest.mark.parametrize("name", ["one task", "two tasks in conflict", "checks are red once"])
def test_a_landed_task_names_its_pull_request_whatever_was_repaired_before(name: str) -> None:
    world = Teller.tell(STORIES[name]).world
    named = {pull.task: {"phase:merged", f"pr:{number}"} for number, pull in world.pulls.items()}
    assert named == {task.id: set(task.labels) for task in world.beads.values()}
