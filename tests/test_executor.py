"""A plan is performed to its end: changes are written together, and nobody is held up by what goes wrong for another."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import ClassVar

import pytest
from memory import World
from msgspec import field
from waiting import MOST_S

from reconciler.loop.executor import Outcome, execute
from reconciler.model.desired import InlineTask
from reconciler.model.errors import ChangedError, PermanentError, ReconcileError, TemporaryError
from reconciler.model.names import TaskId
from reconciler.model.ports import AppliedTask, Change, Ports
from reconciler.planning.actions import Action


class Steps(Action, frozen=True, kw_only=True):
    """Does what it is told: 'write A' yields a change of the task's title, 'record A' a task of manifest A, all else nothing."""

    by_merge: ClassVar[bool] = False
    manifest: str = "all"
    reason: str = "Asked"
    message: str = "asked"
    steps: tuple[str | Exception, ...] = ()
    done: list[str] = field(default_factory=list)

    def perform(self, ports: Ports) -> Iterator[Change | AppliedTask]:
        for step in self.steps:
            if isinstance(step, Exception):
                raise step
            self.done.append(step)
            if step.startswith("write"):
                yield Change(task=self.task, title=step, expect_status=frozenset({"open"}))
            if step.startswith("record"):
                yield AppliedTask(step.split()[1], InlineTask(key=str(self.task), title="T"))


class Tidies(Steps, frozen=True, kw_only=True):
    """Does the same, for tidiness."""

    tidies: ClassVar[bool] = True


class Counting(World):
    """A world that remembers what was written at once."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[list[str]] = []
        self.recorded: list[tuple[str, list[str]]] = []

    def write(self, changes: Sequence[Change]) -> list[ReconcileError | None]:
        self.written.append([f"{change.task} {change.title}" for change in changes])
        return super().write(changes)

    def applied(self, manifest: str, tasks: Sequence[InlineTask]) -> None:
        self.recorded.append((manifest, [task.key for task in tasks]))
        if manifest == "damaged":
            raise PermanentError("it is damaged")


@pytest.fixture
def world() -> Counting:
    made = Counting()
    for task in ("x-1", "x-2", "x-3"):
        made.add(task)
    return made


def steps(task: str, *what: str | Exception) -> Steps:
    return Steps(task=TaskId(task), steps=what)


def errors(outcomes: list[Outcome]) -> list[type | None]:
    return [type(outcome.error) if outcome.error else None for outcome in outcomes]


def test_all_changes_of_a_round_are_written_at_once(world: Counting) -> None:
    actions = [steps("x-1", "write a", "write b"), steps("x-2", "write c"), steps("x-3", "look")]
    assert errors(execute(actions, world.ports())) == [None, None, None]
    assert world.written == [["x-1 write a", "x-2 write c"], ["x-1 write b"]]
    assert {task.title for task in world.beads.values()} == {"write b", "write c", "x-3"}


def test_all_that_is_recorded_of_a_manifest_in_a_round_is_recorded_at_once(world: Counting) -> None:
    actions = [
        steps("x-1", "write a", "record m"),
        steps("x-2", "write b", "record m"),
        steps("x-3", "write c", "record n"),
    ]
    assert errors(execute(actions, world.ports())) == [None, None, None]
    assert world.recorded == [("m", ["x-1", "x-2"]), ("n", ["x-3"])]


def test_a_manifest_that_can_not_be_recorded_fails_only_those_that_are_of_it(world: Counting) -> None:
    actions = [steps("x-1", "record damaged", "write a"), steps("x-2", "record m", "write b")]
    assert errors(execute(actions, world.ports())) == [PermanentError, None]
    assert world.written == [["x-2 write b"]]


def test_an_action_goes_on_only_after_its_change_is_written(world: Counting) -> None:
    world.edit("x-1", status="closed")
    refused, other = steps("x-1", "write a", "look"), steps("x-2", "write b", "look")
    assert errors(execute([refused, other], world.ports())) == [ChangedError, None]
    assert refused.done == ["write a"]
    assert other.done == ["write b", "look"]
    assert world.beads[TaskId("x-1")].title == "x-1"


@pytest.mark.parametrize("error", [PermanentError("no"), TemporaryError("not now"), ChangedError("moved")])
def test_an_action_that_fails_stops_nobody_else(world: Counting, error: ReconcileError) -> None:
    outcomes = execute([steps("x-1", error, "write a"), steps("x-2", "write b")], world.ports())
    assert [outcome.error for outcome in outcomes] == [error, None]
    assert world.beads[TaskId("x-2")].title == "write b"


@pytest.mark.parametrize("defect", [ZeroDivisionError("oh"), OSError(28, "no space"), KeyError("x")])
def test_a_defect_in_one_action_is_a_failure_that_passes(world: Counting, defect: Exception) -> None:
    outcomes = execute([steps("x-1", "write a", defect), steps("x-2", "write b", "look")], world.ports())
    assert errors(outcomes) == [TemporaryError, None]
    assert type(defect).__name__ in str(outcomes[0].error)


def test_a_tracker_that_refuses_everything_fails_only_those_that_write(world: Counting) -> None:
    world.down = {"tracker"}
    outcomes = execute([steps("x-1", "write a"), steps("x-2", "look")], world.ports())
    assert errors(outcomes) == [TemporaryError, None]


def test_a_tracker_that_breaks_does_not_end_the_loop(world: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: World, changes: Sequence[Change]) -> list[ReconcileError | None]:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(Counting, "write", broken)
    outcomes = execute([steps("x-1", "write a"), steps("x-2", "look")], world.ports())
    assert errors(outcomes) == [TemporaryError, None]


def test_outcomes_come_in_the_order_of_the_actions(world: Counting) -> None:
    actions = [steps(task, "write a") for task in ("x-3", "x-1", "x-2")]
    assert [outcome.action for outcome in execute(actions, world.ports(), workers=3)] == actions


def test_actions_go_side_by_side(world: Counting) -> None:
    both = threading.Barrier(2, timeout=MOST_S)

    class Meeting(Steps):
        def perform(self, ports: Ports) -> Iterator[Change]:
            both.wait()
            yield from ()

    outcomes = execute([Meeting(task=TaskId("x-1")), Meeting(task=TaskId("x-2"))], world.ports(), workers=2)
    assert errors(outcomes) == [None, None]


def test_nothing_to_do_is_done(world: Counting) -> None:
    assert execute([], world.ports()) == []
    assert world.written == []


def test_what_only_tidies_is_begun_once_all_else_is_done(world: Counting) -> None:
    began: list[str] = []
    tidy, other = (
        Tidies(task=TaskId("x-1"), steps=("tidy",), done=began),
        Steps(task=TaskId("x-2"), steps=("write b", "do"), done=began),
    )
    execute([tidy, other], world.ports())
    assert began == ["write b", "do", "tidy"]
