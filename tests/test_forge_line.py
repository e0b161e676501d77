"""The landing line: who may be tested, who may land, and whom everybody else waits for."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.model.names import TaskId
from reconciler.planning.forge_line import Member, Stage, ahead


def a_member(task: str, stage: Stage, priority: int = 2, number: int = 1) -> Member:
    return Member(task=TaskId(task), stage=stage, rank=(False, priority, number))


LINES = st.lists(st.tuples(st.sampled_from(Stage), st.integers(0, 4)), max_size=8).map(
    lambda members: [a_member(f"x-{n}", stage, priority, n) for n, (stage, priority) in enumerate(members)]
)
STALE = st.integers(0, 3)


def alive(line: list[Member], stale: int) -> int:
    return stale + sum(member.stage is Stage.CHECKING for member in line)


@given(LINES, STALE, st.integers(1, 4))
def test_never_more_checks_than_slots(line: list[Member], stale: int, parallel: int) -> None:
    checks = alive(line, stale)
    waiting = ahead(line, checks_alive=checks, parallel=parallel)
    started = [m for m in line if m.stage is Stage.UNPROVEN and m.task not in waiting]
    assert not started or len(started) + checks <= parallel


@given(LINES, STALE, st.integers(1, 4))
def test_at_most_one_lands_and_nothing_is_tested_meanwhile(line: list[Member], stale: int, parallel: int) -> None:
    waiting = ahead(line, checks_alive=alive(line, stale), parallel=parallel)
    going = [m for m in line if m.task not in waiting]
    landing = [m for m in going if m.stage is Stage.PROVEN]
    proven = [m for m in line if m.stage is Stage.PROVEN]
    assert len(landing) == (1 if proven else 0)
    assert not landing or not any(m.stage is Stage.UNPROVEN for m in going)
    assert all(landing[0].rank <= m.rank for m in proven)


@given(LINES, STALE, st.integers(1, 4))
@example([a_member("x-1", Stage.UNPROVEN)], 1, 1)
def test_whoever_waits_waits_for_somebody_who_goes_on_or_for_a_check_slot(
    line: list[Member], stale: int, parallel: int
) -> None:
    waiting = ahead(line, checks_alive=alive(line, stale), parallel=parallel)
    going = {m.task for m in line} - set(waiting)
    for task, whom in waiting.items():
        assert whom != task
        assert whom in going or (whom is None and alive(line, stale) >= parallel)


@given(LINES, STALE, st.integers(1, 4))
def test_the_line_always_moves(line: list[Member], stale: int, parallel: int) -> None:
    waiting = ahead(line, checks_alive=alive(line, stale), parallel=parallel)
    assert not line or len(waiting) < len(line) or stale >= parallel


@given(LINES, STALE, st.integers(1, 4), st.randoms())
def test_the_order_in_which_the_line_is_told_does_not_matter(line, stale, parallel, dice) -> None:
    shuffled = list(line)
    dice.shuffle(shuffled)
    checks = alive(line, stale)
    assert ahead(line, checks_alive=checks, parallel=parallel) == ahead(
        shuffled, checks_alive=checks, parallel=parallel
    )


@given(LINES, st.integers(1, 4))
def test_tests_go_by_rank(line: list[Member], parallel: int) -> None:
    waiting = ahead(line, checks_alive=alive(line, 0), parallel=parallel)
    unproven = sorted((m for m in line if m.stage is Stage.UNPROVEN), key=lambda m: m.rank)
    started = [m for m in unproven if m.task not in waiting]
    assert started == unproven[: len(started)]


def test_a_check_that_runs_is_never_told_to_wait() -> None:
    line = [a_member("x-1", Stage.CHECKING, 4), a_member("x-2", Stage.PROVEN, 0)]
    assert ahead(line, checks_alive=1, parallel=1) == {}
