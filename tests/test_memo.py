"""What is derived from a look is derived again exactly where something changed, and is then what a first look gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from worlds import a_run

from reconciler.loop.memo import Memo
from reconciler.model.names import RunId, RunKind, TaskId
from reconciler.model.observed import Run
from reconciler.model.values import replace

RUNS = st.dictionaries(
    st.tuples(st.sampled_from(["x-1", "x-2", "x-3"]), st.integers(1, 3)),
    st.sampled_from(["running", "ended"]),
    max_size=9,
)


def seen(said: dict[tuple[str, int], str], before: dict[RunId, Run]) -> dict[RunId, Run]:
    """Runs as a census gives them: what did not change is the very same object."""
    found = {}
    for (task, n), state in said.items():
        id = RunId(RunKind.WORK, task, n)
        run = replace(a_run(state=state), id=id, task=TaskId(task))
        found[id] = before[id] if before.get(id) == run else run
    return found


@given(st.lists(RUNS, max_size=6))
def test_runs_are_grouped_as_at_a_first_look(looks: list[dict[tuple[str, int], str]]) -> None:
    memo, runs = Memo(), dict[RunId, Run]()
    for said in looks:
        runs = seen(said, runs)
        found = memo.grouped("by task", RunKind.WORK, runs, lambda run: run.task)
        tasks = {run.task for run in runs.values()}
        assert found == {
            task: tuple(sorted((run for run in runs.values() if run.task == task), key=lambda run: run.id.n))
            for task in tasks
        }
        assert memo.grouped("by task", RunKind.WORK, runs, lambda run: run.task) is found


def test_runs_of_another_kind_are_in_no_group() -> None:
    memo, one = Memo(), seen({("x-1", 1): "ended"}, {})
    check = RunId(RunKind.CHECK, "x-1", 1)
    running, ended = (replace(a_run(state=state), id=check, task=TaskId("x-1")) for state in ("running", "ended"))

    first = memo.grouped("by task", RunKind.WORK, {**one, check: running}, lambda run: run.task)
    second = memo.grouped("by task", RunKind.WORK, {**one, check: ended}, lambda run: run.task)

    assert dict(first) == dict(second) == {TaskId("x-1"): tuple(one.values())}


def test_a_group_in_which_nothing_changed_is_the_same() -> None:
    memo = Memo()
    before = seen({("x-1", 1): "ended", ("x-2", 1): "running"}, {})
    first = memo.grouped("by task", RunKind.WORK, before, lambda run: run.task)

    second = memo.grouped(
        "by task", RunKind.WORK, seen({("x-1", 1): "ended", ("x-2", 1): "ended"}, before), lambda run: run.task
    )

    assert second[TaskId("x-1")] is first[TaskId("x-1")] and second[TaskId("x-2")] != first[TaskId("x-2")]


def test_a_value_is_made_again_where_a_source_is_another_object_or_the_rest_is_not_equal() -> None:
    memo, made = Memo(), []
    one, other = [1], [1]

    def make() -> int:
        made.append(1)
        return len(made)

    for sources, equal in (((one,), 1), ((one,), 1), ((other,), 1), ((other,), 2), ((other, one), 2), ((), 2)):
        memo.of("value", sources, make, equal=equal)

    assert len(made) == 5
