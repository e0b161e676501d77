"""What follows from the edges between tasks."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import NOW, a_task, ago

from reconciler.planning.graph import Index, order, ready


def a_graph(*tasks):
    return {task.id: task for task in tasks}


def blocked_by(id, *tasks):
    return Index(a_graph(*tasks)).blocked_by(id)


def ids(tasks):
    return [task.id for task in tasks]


# --- what blocks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["open", "in_progress", "blocked", "deferred", "hooked", "a-word-of-somebody's"])
def test_a_blocker_that_is_not_closed_blocks_whatever_its_status_is_called(status):
    assert blocked_by("x-1", a_task("x-1", blockers=("x-2",)), a_task("x-2", status=status)) == ("x-2",)


@pytest.mark.parametrize("status", ["closed", "tombstone", "pinned"])
def test_a_blocker_that_is_closed_deleted_or_pinned_blocks_nothing(status):
    assert blocked_by("x-1", a_task("x-1", blockers=("x-2",)), a_task("x-2", status=status)) == ()


def test_a_blocker_that_does_not_exist_blocks_nothing():
    assert blocked_by("x-1", a_task("x-1", blockers=("x-404",))) == ()


def test_a_task_that_does_not_exist_is_not_blocked():
    assert blocked_by("x-404", a_task("x-1")) == ()


def test_every_unclosed_blocker_is_named_once_and_in_order():
    task = a_task("x-1", blockers=("x-3", "x-2", "x-3", "x-4"))

    assert blocked_by("x-1", task, a_task("x-2"), a_task("x-3"), a_task("x-4", status="closed")) == ("x-2", "x-3")


def test_tasks_that_block_each_other_both_wait():
    index = Index(a_graph(a_task("x-1", blockers=("x-2",)), a_task("x-2", blockers=("x-1",))))

    assert (index.blocked_by("x-1"), index.blocked_by("x-2")) == (("x-2",), ("x-1",))


def test_a_parent_that_is_merely_open_blocks_nothing():
    assert blocked_by("x-1", a_task("x-1", parents=("x-e",)), a_task("x-e", type="epic")) == ()


def test_what_blocks_an_epic_blocks_everything_below_it():
    index = Index(
        a_graph(
            a_task("x-e", blockers=("x-f",)),
            a_task("x-e.1", parents=("x-e",)),
            a_task("x-e.1.1", parents=("x-e.1",)),
            a_task("x-f"),
        )
    )

    assert index.blocked_by("x-e.1") == index.blocked_by("x-e.1.1") == ("x-f",)


def test_of_its_own_blockers_and_those_of_its_parent_a_task_names_its_own():
    tasks = (a_task("x-e", blockers=("x-f",)), a_task("x-1", parents=("x-e",), blockers=("x-2",)))

    assert blocked_by("x-1", *tasks, a_task("x-2"), a_task("x-f")) == ("x-2",)
    assert blocked_by("x-1", *tasks, a_task("x-2", status="closed"), a_task("x-f")) == ("x-f",)


def test_one_blocked_parent_of_several_is_enough():
    task = a_task("x-1", parents=("x-a", "x-b"))

    assert blocked_by("x-1", task, a_task("x-a"), a_task("x-b", blockers=("x-2",)), a_task("x-2")) == ("x-2",)


def test_parents_that_are_each_other_s_children_are_no_trap():
    tasks = (a_task("x-1", parents=("x-2",)), a_task("x-2", parents=("x-1",), blockers=("x-3",)), a_task("x-3"))

    assert blocked_by("x-1", *tasks) == ("x-3",)
    assert Index(a_graph(*tasks)).descendants("x-1") == ("x-2",)


def test_a_waiting_task_waits_until_the_children_of_its_spawner_are_closed():
    waiter, spawner = a_task("x-1", waits_for=("x-s",)), a_task("x-s", status="closed")
    first, second = a_task("x-s.1", status="closed"), a_task("x-s.2")

    assert blocked_by("x-1", waiter, spawner, first, second) == ("x-s",)
    assert blocked_by("x-1", waiter, spawner, first) == ()


def test_a_spawner_without_children_or_without_existence_is_not_waited_for():
    assert blocked_by("x-1", a_task("x-1", waits_for=("x-s", "x-404")), a_task("x-s")) == ()


# --- epics and children --------------------------------------------------------------------------------------


def test_an_epic_is_what_is_called_one_or_has_children():
    index = Index(a_graph(a_task("x-e", type="epic"), a_task("x-p"), a_task("x-1", parents=("x-p",), status="closed")))

    assert [id for id in ("x-e", "x-p", "x-1", "x-404") if index.is_epic(id)] == ["x-e", "x-p"]


def test_a_dotted_id_without_a_parent_edge_is_a_child_of_what_it_is_named_after():
    index = Index(
        a_graph(a_task("x-e"), a_task("x-e.1"), a_task("x-e.1.2"), a_task("x-v1.x"), a_task("x-v1"), a_task("y.1"))
    )

    assert index.children == {"x-e": ("x-e.1",), "x-e.1": ("x-e.1.2",)}
    assert not index.is_epic("y")


def test_a_parent_edge_counts_for_more_than_the_dotted_id():
    index = Index(a_graph(a_task("x-e"), a_task("x-e.1", parents=("x-f",)), a_task("x-f")))

    assert index.children == {"x-f": ("x-e.1",)}


def test_a_task_that_claims_to_be_its_own_parent_stays_work():
    assert not Index(a_graph(a_task("x-1", parents=("x-1",)))).is_epic("x-1")


def test_descendants_are_all_that_is_below_an_epic_each_once():
    tasks = (
        a_task("x-e"),
        a_task("x-a", parents=("x-e",)),
        a_task("x-b", parents=("x-e",)),
        a_task("x-c", parents=("x-a", "x-b"), status="closed"),
        a_task("x-other"),
    )

    assert Index(a_graph(*tasks)).descendants("x-e") == ("x-a", "x-b", "x-c")
    assert Index(a_graph(*tasks)).descendants("x-404") == ()


# --- what is ready -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "why",
    [
        {"status": "in_progress"},
        {"status": "blocked"},
        {"status": "deferred"},
        {"status": "closed"},
        {"status": "pinned"},
        {"status": "a-word-of-somebody's"},
        {"type": "epic"},
        {"held_back": True},
        {"defer_until": NOW + timedelta(seconds=1)},
        {"blockers": ("x-2",)},
        {"parents": ("x-e",)},
    ],
    ids=str,
)
def test_a_task_is_not_ready_for_any_one_reason(why):
    others = (a_task("x-2"), a_task("x-e", blockers=("x-2",)))

    assert "x-1" in ids(ready(a_graph(a_task("x-1"), *others), NOW))
    assert "x-1" not in ids(ready(a_graph(a_task("x-1", **why), *others), NOW))


def test_a_deferred_task_is_ready_once_its_time_has_come():
    assert ids(ready(a_graph(a_task("x-1", defer_until=NOW)), NOW)) == ["x-1"]


def test_the_ready_tasks_come_by_priority_then_age_then_id():
    tasks = (
        a_task("x-d", created_at=ago(10)),
        a_task("x-c", created_at=ago(10)),
        a_task("x-b", created_at=ago(99)),
        a_task("x-a", priority=3, created_at=ago(999)),
        a_task("x-e", priority=0),
    )

    assert ids(ready(a_graph(*tasks), NOW)) == ["x-e", "x-b", "x-c", "x-d", "x-a"]
    assert ids(sorted(tasks, key=order)) == ["x-e", "x-b", "x-c", "x-d", "x-a"]


# --- against the rules as they are written down ----------------------------------------------------------------

NAMES = ["x", "x.1", "x.1.1", "y", "y.2", "z"]
SOME = st.lists(st.sampled_from([*NAMES, "gone"]), max_size=2).map(tuple)
GRAPHS = st.lists(st.sampled_from(NAMES), unique=True).flatmap(
    lambda names: st.tuples(
        *(
            st.builds(
                a_task,
                id=st.just(name),
                status=st.sampled_from(["open", "closed", "pinned", "tombstone", "hooked"]),
                parents=SOME,
                blockers=SOME,
                waits_for=SOME,
            )
            for name in names
        )
    )
)


def parents_as_written(graph, id):
    above = id.rpartition(".")[0]
    return set(graph[id].parents or ([above] if above in graph else [])) - {id}


def own_blockers_as_written(graph, id):
    def unclosed(other):
        return other in graph and graph[other].status not in ("closed", "tombstone", "pinned")

    busy = {
        s
        for s in graph[id].waits_for
        for c in graph
        if s in graph and s in parents_as_written(graph, c) and unclosed(c)
    }
    return {other for other in graph[id].blockers if unclosed(other)} | busy


def blocked_as_written(graph, id):
    """What may be named: by distance, nearest first, what blocks the task and each of its ancestors."""
    seen, level = set(), {id}
    while level:
        found = [by for other in sorted(level) if (by := own_blockers_as_written(graph, other))]
        if found:
            return found
        seen |= level
        level = {p for other in level for p in graph[other].parents if p in graph and p != other} - seen
    return [set()]


@given(GRAPHS)
def test_what_blocks_a_task_is_what_the_rules_say(tasks):
    graph = a_graph(*tasks)
    index = Index(graph)

    for id in graph:
        named = index.blocked_by(id)
        assert named == tuple(sorted(set(named)))
        assert set(named) in blocked_as_written(graph, id)


# --- size ------------------------------------------------------------------------------------------------------

MANY = 100_000


def test_a_chain_as_long_as_the_store_is_walked_to_its_end():
    chain = [a_task("x-0", blockers=("y",)), *(a_task(f"x-{n}", parents=(f"x-{n - 1}",)) for n in range(1, MANY))]
    index = Index(a_graph(*chain, a_task("y")))

    assert index.blocked_by(f"x-{MANY - 1}") == ("y",)
    assert len(index.descendants("x-0")) == MANY - 1


def test_an_epic_with_every_task_below_it_and_all_of_them_waiting_is_no_trouble():
    below = [a_task(f"x.{n}", waits_for=("x",)) for n in range(MANY)]
    graph = a_graph(a_task("x"), *below)

    assert Index(graph).blocked_by("x.17") == ("x",)
    assert ready(graph, NOW) == ()


@pytest.mark.parametrize("how", [{"status": "deferred"}, {"defer_until": NOW + timedelta(seconds=1)}])
def test_nothing_below_a_deferred_epic_is_ready(how):
    graph = a_graph(
        a_task("x-e", type="epic", **how), a_task("x-f", type="epic", parents=("x-e",)), a_task("x-1", parents=("x-f",))
    )
    assert ids(ready(graph, NOW)) == []
    assert Index(graph, NOW).deferred_by("x-1").id == "x-e"
    assert ids(ready(graph, NOW + timedelta(seconds=2))) == (["x-1"] if "defer_until" in how else [])


@pytest.mark.parametrize("put_off", [{"status": "deferred"}, {"blockers": ("x-0",)}])
def test_a_parent_that_only_an_id_names_holds_nothing_back(put_off):
    graph = a_graph(a_task("x-0", status="in_progress"), a_task("x-e", **put_off), a_task("x-e.3"))
    assert ids(ready(graph, NOW)) == ["x-e.3"]
    assert Index(graph, NOW).children == {"x-e": ("x-e.3",)}
