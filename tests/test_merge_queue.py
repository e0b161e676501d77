"""The merge queue: what lands, what is tested to find out, and what it costs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.names import TaskId
from reconciler.model.values import replace
from reconciler.planning.merge_queue import (
    ALONE_FROM,
    GROUP_MAX,
    Bounds,
    Chain,
    Contender,
    FailureRate,
    Proof,
    Turn,
    group_size,
    turn,
)
from tests.bench import queueing

MANY = tuple(TaskId(f"x-{n}") for n in range(GROUP_MAX))
TASKS = MANY[:8]
KNOWN = st.dictionaries(st.frozensets(st.sampled_from(TASKS), min_size=1), st.sampled_from(Proof), max_size=40)


@st.composite
def lines(draw: st.DrawFn) -> list[Contender]:
    tasks = draw(st.lists(st.sampled_from(TASKS), unique=True, max_size=8))
    return [
        Contender(
            task=task,
            rank=(False, draw(st.integers(0, 2)), n),
            lands=draw(st.booleans()),
            reds=draw(st.integers(0, 2)),
            solo=draw(st.integers(0, 5)) == 0,
        )
        for n, task in enumerate(tasks)
    ]


class Known:
    """What is known of trees, which are what is in them: in whichever order it got there."""

    def __init__(self, known: dict[frozenset[TaskId], Proof]) -> None:
        self.known = known

    def __call__(self, chain: Chain, more: object = ()) -> Proof:
        return self.known.get(frozenset(chain), Proof.UNTESTED)

    def chains(self, proof: Proof) -> list[Chain]:
        return sorted(tuple(sorted(tree)) for tree, known in self.known.items() if known is proof)


def turned(
    line: list[Contender],
    known: Known,
    slots: int,
    rate: float = 0.05,
    busy: int | None = None,
    *,
    together: bool = True,
    every_commit: bool = False,
) -> Turn:
    running, passed = known.chains(Proof.RUNNING), known.chains(Proof.PASSED)
    busy = len(running) if busy is None else busy
    bounds = Bounds(
        slots=slots,
        rate=FailureRate(good=1000 * (1 - rate), bad=1000 * rate),
        together=together,
        every_commit=every_commit,
        running=running,
        passed=passed,
        busy=busy,
    )
    return turn(line, known, bounds)


@given(lines(), KNOWN, st.integers(1, 5), st.floats(0.01, 0.9))
def test_nothing_lands_but_a_chain_that_has_passed(line, known, slots, rate) -> None:
    view = Known(known)
    found = turned(line, view, slots, rate)
    assert not found.land or view(found.land) is Proof.PASSED
    assert all(each.lands for each in line if each.task in found.land)


@given(lines(), KNOWN, st.integers(1, 5))
def test_where_a_forge_moves_the_base_only_what_passed_by_itself_lands(line, known, slots) -> None:
    view = Known(known)
    found = turned(line, view, slots, together=False)
    assert len(found.land) <= 1
    assert not found.land or view(found.land) is Proof.PASSED
    assert len(found.check) <= max(slots - len(view.chains(Proof.RUNNING)), 0)
    assert not found.land or all(chain[: len(found.land)] == found.land for chain in found.check)


@given(lines(), KNOWN, st.integers(1, 5))
def test_where_every_commit_is_to_be_green_nothing_lands_that_has_not_passed_where_it_lands(line, known, slots) -> None:
    view = Known(known)
    found = turned(line, view, slots, every_commit=True)
    assert all(view(found.land[:n]) is Proof.PASSED for n in range(1, len(found.land) + 1))
    assert len(found.check) <= max(slots - len(view.chains(Proof.RUNNING)), 0)


@given(lines(), st.integers(1, 5))
def test_where_every_commit_is_to_be_green_every_beginning_of_the_line_is_tested(line, slots) -> None:
    found = turned(
        [replace(each, lands=True, reds=0, solo=False) for each in line], Known({}), slots, every_commit=True
    )
    assert found.check == [found.line[:n] for n in range(1, min(slots, len(line)) + 1)]


def test_where_every_commit_is_to_be_green_those_that_have_passed_one_after_the_other_land_together() -> None:
    known = Known(
        {of(0): Proof.PASSED, of(0, 1): Proof.PASSED, of(0, 1, 2): Proof.RUNNING, of(0, 1, 2, 3): Proof.PASSED}
    )
    assert turned(in_line(4), known, 2, every_commit=True).land == TASKS[:2]


@given(lines(), st.integers(1, 5))
def test_where_a_forge_moves_the_base_every_beginning_of_the_line_is_tested(line, slots) -> None:
    found = turned([replace(each, lands=True, reds=0, solo=False) for each in line], Known({}), slots, together=False)
    assert found.check == [found.line[:n] for n in range(1, min(slots, len(line)) + 1)]


def test_while_a_forge_merges_those_behind_are_tested_on_top_of_it() -> None:
    found = turned(in_line(4), Known({of(0): Proof.PASSED}), 2, together=False)
    assert (found.land, found.check) == (TASKS[:1], [TASKS[:2], TASKS[:3]])


def test_a_gap_between_tested_beginnings_is_closed() -> None:
    known = Known({of(0): Proof.RUNNING, of(0, 1, 2): Proof.PASSED})
    assert turned(in_line(4), known, 2, together=False).check == [TASKS[:2]]


def test_what_comes_behind_a_red_one_is_tested_without_it() -> None:
    known = Known({of(0): Proof.RUNNING, of(0, 1): Proof.FAILED})
    assert turned(in_line(4), known, 3, together=False).check == [(TASKS[0], TASKS[2]), (TASKS[0], *TASKS[2:4])]


@given(lines(), KNOWN, st.integers(1, 5), st.integers(0, 6), st.floats(0.01, 0.9))
def test_never_more_checks_than_slots_and_none_of_what_is_known(line, known, slots, busy, rate) -> None:
    view = Known(known)
    found = turned(line, view, slots, rate, busy)
    assert len(found.check) <= max(slots - busy, 0)
    assert len(set(found.check)) == len(found.check)
    assert all(view(chain) is Proof.UNTESTED for chain in found.check)


@given(lines(), KNOWN, st.integers(1, 5))
def test_while_something_lands_nothing_is_tested(line, known, slots) -> None:
    found = turned(line, Known(known), slots)
    assert not (found.land and found.check)


@given(lines(), KNOWN, st.integers(1, 5), st.randoms())
def test_the_order_in_which_the_line_is_named_says_nothing(line, known, slots, dice) -> None:
    shuffled = list(line)
    dice.shuffle(shuffled)
    assert turned(line, Known(known), slots) == turned(shuffled, Known(known), slots)


@given(lines(), st.integers(1, 5), st.floats(0.01, 0.9))
def test_where_nothing_is_under_test_something_is_started(line, slots, rate) -> None:
    found = turned(line, Known({}), slots, rate)
    assert bool(found.check) == bool(line)


@given(lines(), KNOWN, st.integers(1, 5))
def test_what_has_to_be_alone_is_in_no_group(line, known, slots) -> None:
    found = turned(line, Known(known), slots)
    solo = {each.task for each in line if each.solo}
    assert not any(len(chain) > 1 and solo & set(chain) for chain in (found.line, *found.check))


@given(lines(), KNOWN, st.integers(1, 5))
def test_what_may_not_land_yet_is_tested_by_itself_only(line, known, slots) -> None:
    found = turned(line, Known(known), slots)
    waits = {each.task for each in line if not each.lands}
    assert not any(len(chain) > 1 and waits & set(chain) for chain in found.check)


def in_line(count: int, **fields: object) -> list[Contender]:
    return [Contender(task=task, rank=(False, 2, n), **fields) for n, task in enumerate(MANY[:count])]  # type: ignore[arg-type]


def of(*tasks: int) -> frozenset[TaskId]:
    return frozenset(TASKS[n] for n in tasks)


def test_a_longer_chain_that_passed_lands_whole_although_a_beginning_of_it_failed() -> None:
    known = Known({of(0, 1): Proof.FAILED, of(0, 1, 2): Proof.PASSED})
    assert turned(in_line(4), known, 2).land == TASKS[:3]


def test_whoever_failed_alone_stays_in_line_while_a_chain_with_it_is_under_test() -> None:
    line = in_line(3)
    line[0] = replace(line[0], reds=1)
    known = Known({of(0, 1, 2): Proof.RUNNING})
    assert turned(line, known, 1).line == TASKS[:3]
    known.known[of(0, 1, 2)] = Proof.PASSED
    assert turned(line, known, 1).land == TASKS[:3]


def test_whoever_failed_alone_is_tested_by_itself_before_the_line_goes_on() -> None:
    line = in_line(3)
    line[0] = replace(line[0], reds=1)
    found = turned(line, Known({}), 1)
    assert (found.check, found.line) == ([TASKS[:1]], TASKS[1:3])
    assert turned(line, Known({}), 2).check == [TASKS[:1], TASKS[1:3]]


def test_whoever_failed_once_and_then_passed_alone_lands() -> None:
    line = in_line(2)
    line[0] = replace(line[0], reds=1)
    assert turned(line, Known({of(0): Proof.PASSED}), 1).land == TASKS[:1]


@pytest.mark.parametrize("known", [Proof.PASSED, Proof.FAILED, Proof.CONFLICT])
def test_what_is_known_already_of_one_that_may_not_land_is_for_itself_to_say(known: Proof) -> None:
    assert turned(in_line(1, lands=False), Known({of(0): known}), 1).apart == {TASKS[0]}


def test_what_does_not_merge_after_another_is_held_and_lets_those_behind_it_go_on() -> None:
    found = turned(in_line(3), Known({of(0, 1): Proof.CONFLICT}), 1)
    assert (found.line, found.held) == ((TASKS[0], TASKS[2]), {TASKS[1]: TASKS[0]})
    assert found.check == [(TASKS[0], TASKS[2])]


def test_behind_what_has_yet_to_be_merged_nothing_is_guessed() -> None:
    assert turned(in_line(3), Known({of(0, 1): Proof.UNSEEN}), 2).line == TASKS[:1]


def test_a_group_that_failed_is_told_apart_by_shorter_ones_and_speculated_past() -> None:
    found = turned(in_line(6), Known({of(0, 1, 2): Proof.FAILED}), 4)
    assert found.check[:2] == [TASKS[:1], TASKS[:2]]
    assert all(set(chain) >= {TASKS[0], TASKS[1], *TASKS[3:6]} or TASKS[2] in chain for chain in found.check[2:])


def test_the_rarer_bad_ones_are_the_larger_groups_get() -> None:
    sizes = [group_size(rate / 100, slots) for slots in (1, 4) for rate in range(1, 60)]
    assert all(1 <= size <= GROUP_MAX for size in sizes)
    for slots in (1, 2, 4, 8):
        by_rate = [group_size(rate / 100, slots) for rate in range(1, 60)]
        assert by_rate == sorted(by_rate, reverse=True)
        assert group_size(ALONE_FROM, slots) == 1


def test_what_was_seen_outweighs_what_was_believed() -> None:
    assert FailureRate().mean == 0.05
    assert FailureRate(good=1000).mean < 0.001 and FailureRate(bad=1000).mean > 0.99


@given(st.integers(0, 300), st.integers(0, 300), st.integers(2, GROUP_MAX), st.integers(1, 8))
def test_a_group_that_failed_is_cut_into_as_many_parts_as_there_are_slots(good, bad, red, slots) -> None:
    tasks = MANY[:red]
    bounds = Bounds(slots=slots, rate=FailureRate(good, bad))
    found = turn(in_line(red), Known({frozenset(tasks): Proof.FAILED}), bounds)
    inside = [chain for chain in found.check if chain == tasks[: len(chain)]]
    assert len(inside) == min(slots, red - 1) and {len(chain) for chain in inside} <= set(range(1, red))


@pytest.mark.parametrize(("good", "bad", "first"), [(0, 0, 4), (1000, 20, 7), (100, 40, 2)])
def test_the_less_is_known_or_the_more_are_bad_the_earlier_a_group_that_failed_is_cut(good, bad, first) -> None:
    tasks = MANY[:16]
    bounds = Bounds(slots=1, rate=FailureRate(good, bad))
    assert turn(in_line(16), Known({frozenset(tasks): Proof.FAILED}), bounds).check == [tasks[:first]]


@pytest.mark.parametrize(("slots", "runs", "lengths"), [(1, 0.46, 0.46), (4, 0.71, 0.19)])
def test_with_one_bad_change_of_twenty_it_costs_what_is_promised(slots: int, runs: float, lengths: float) -> None:
    cost = queueing.cost(queueing.ours, 0.05, slots, worlds=30)
    assert cost[0] <= runs and cost[1] <= lengths and cost[2] <= 0.2


@pytest.mark.slow
@pytest.mark.parametrize("rate", queueing.RATES)
@pytest.mark.parametrize("slots", [1, 2, 4, 8])
def test_every_change_of_every_world_ends_landed_or_ejected_on_a_green_base(rate: float, slots: int) -> None:
    queueing.cost(queueing.ours, rate, slots, worlds=100)
