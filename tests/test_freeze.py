"""When a line pauses and what ends that, and at which commit a base is green: in a whole world, and of records alone."""

from __future__ import annotations

import pytest
import worlds
from memory import World
from test_landing_line import Night, an_epic
from test_loop import offered

from reconciler.model.desired import EpicSpec
from reconciler.model.names import RunId, RunKind, Sha, TaskId, check_subject
from reconciler.model.observed import BaseCommit, Observed, Run
from reconciler.model.values import replace
from reconciler.planning import freeze
from reconciler.planning.planner import plan
from reconciler.planning.queue_places import LineState
from reconciler.render import document, safe
from reconciler.render.status import base_words


@pytest.fixture
def night() -> Night:
    """One change has landed, so that the base is known to be green; from then on every check is red."""
    world = World(now=worlds.NOW)
    offered(world, 1)
    made = Night(world, an_epic(parallel=1))
    made.through()
    offered(world, 7, first=2)
    made.green = lambda patches: False
    return made


def paused(night: Night) -> list[TaskId]:
    night.quiet()
    return sorted(task for task, word in night.waiting.items() if word.reason == "QueuePaused")


def until_paused(night: Night) -> None:
    night.through()
    assert not night.checks() and paused(night)


def test_changes_that_fail_one_after_the_other_pause_the_line_and_say_what_to_do(night: Night) -> None:
    until_paused(night)
    assert len(paused(night)) >= 5
    looked = night.loop.look().plan
    degraded = looked.epics[0].degraded
    assert degraded and degraded.reason == "QueuePaused"
    assert "'reconcile unfreeze all'" in degraded.message and "reconcile logs" in degraded.message
    said = [place.message for place in looked.line if place.state is LineState.PAUSED]
    assert said and all("reconcile status all" in each for each in said)
    assert {place.state for place in looked.line} == {LineState.PAUSED}


def test_a_pause_is_the_same_for_who_starts_anew(night: Night) -> None:
    until_paused(night)
    again = Night(night.world, an_epic(parallel=1))
    assert paused(again) == paused(night) and not again.checks()


def test_what_failed_before_a_line_was_unfrozen_is_tested_again_and_blames_nobody(night: Night) -> None:
    until_paused(night)
    night.world.later(seconds=1)
    kept = set(paused(night))
    after = Night(night.world, replace(an_epic(parallel=1), unfrozen_at=night.world.now))
    night.world.later(seconds=1)
    after.through()
    assert kept <= set(after.landed)


def a_check(n: int, at: float, *, well: bool = False, heads: int = 1, **fields: object) -> Run:
    """The n-th change's own, on top of those before it, that ended so many seconds ago."""
    tree = Sha(f"{n:040d}")
    return Run(
        **{
            "id": RunId(RunKind.CHECK, check_subject(tree, worlds.CHECKS), 1),
            "task": TaskId(f"x-{n}"),
            "manifest": "all",
            "state": worlds.RunState.ENDED,
            "tree": tree,
            "baseline": Sha(f"{n:039d}f"),
            "base_tip": worlds.BASE,
            "heads": tuple(Sha(f"{m:039d}f") for m in range(n - heads + 1, n + 1)),
            "started_at": worlds.ago(at + 5),
            "exit": worlds.an_exit(code=0 if well else 1, at=worlds.ago(at)),
            **fields,
        }
    )


def seen(*runs: Run, **fields: object) -> Observed:
    return worlds.seen(*(worlds.a_task(f"x-{n}") for n in range(1, 9)), checks=runs, **fields)


def pauses(observed: Observed, *specs: EpicSpec) -> set[str]:
    return set(freeze.pauses(worlds.wanted(*specs), observed))


REDS = [a_check(n, 100 - n) for n in (1, 2, 3)]


def test_three_different_changes_in_a_row_are_no_chance() -> None:
    assert pauses(seen(*REDS)) == {"all"}
    assert not pauses(seen(*REDS[:2]))


def test_one_change_that_fails_again_and_again_is_one_change() -> None:
    assert not pauses(seen(*(a_check(n, 100 - n, task=TaskId("x-1")) for n in (1, 2, 3, 4))))


def test_whatever_passes_in_between_ends_the_row() -> None:
    runs = [a_check(1, 99), a_check(2, 98), a_check(4, 97, well=True), a_check(3, 96)]
    assert not pauses(seen(*runs))
    assert pauses(seen(*runs, a_check(5, 95), a_check(6, 94))) == {"all"}


def test_chains_that_one_of_them_turns_red_are_that_one_alone() -> None:
    below = a_check(2, 98, heads=2, below=Sha("9" * 40))  # of which nobody knows whether it passes
    assert not pauses(seen(a_check(1, 99), below, a_check(3, 97, heads=3)))


def test_the_base_alone_is_no_change() -> None:
    assert not pauses(seen(*REDS[:2], a_check(3, 97, baseline=worlds.BASE)))


def test_what_fails_on_a_red_base_says_nothing_about_the_machine_also_once_that_has_moved_on() -> None:
    red = Sha("b" * 40)
    of_the_base = a_check(
        8, 50, tree=red, id=RunId(RunKind.CHECK, check_subject(red, worlds.CHECKS), 1), baseline=worlds.BASE
    )
    tip, mended = BaseCommit(worlds.BASE, red), BaseCommit(Sha("c" * 40), Sha("d" * 40))

    assert pauses(seen(*REDS, of_the_base)) == {"all"}
    assert not pauses(seen(*REDS, of_the_base, recent={"main": (tip,)}))
    assert not pauses(seen(*REDS, of_the_base, recent={"main": (mended, tip)}))


def test_where_many_are_bad_more_of_them_have_to_fail() -> None:
    sent_back = tuple(worlds.a_run("x-8", n, why="ChecksFailed", started_at=worlds.ago(900)) for n in range(1, 21))
    many = {"runs": {TaskId("x-8"): sent_back}, "landed": {"main": 20}}
    assert not pauses(seen(*(a_check(n, 100 - n) for n in range(1, 8)), **many))
    assert pauses(seen(*(a_check(n, 100 - n) for n in range(1, 9)), **many)) == {"all"}


def test_whom_the_row_itself_has_sent_back_makes_it_no_longer() -> None:
    """Each of them failed, was sent back and failed again before the next one did."""
    reds = [
        a_check(n + 3 * again, 100 - 20 * n - 9 * again, task=TaskId(f"x-{n}")) for n in (1, 2, 3) for again in (0, 1)
    ]
    back = {
        TaskId(f"x-{n}"): tuple(
            worlds.a_run(f"x-{n}", again, why="ChecksFailed", started_at=worlds.ago(100 - 20 * n - again))
            for again in range(2, 8)
        )
        for n in (1, 2)
    }
    assert pauses(seen(*reds, runs=back)) == {"all"}


def test_a_line_is_unfrozen_for_all_manifests_that_share_it_and_by_no_clock_for_ever() -> None:
    other = worlds.an_epic(name="other")
    assert pauses(seen(*REDS), worlds.an_epic(), other) == {"all", "other"}
    assert not pauses(seen(*REDS), worlds.an_epic(), replace(other, unfrozen_at=worlds.ago(10)))
    assert pauses(seen(*REDS), worlds.an_epic(unfrozen_at=worlds.ago(-3600))) == {"all"}


def test_a_retry_of_a_task_takes_it_out_of_the_row() -> None:
    mark = worlds.RetryPoint(n=1, base=None, at=worlds.ago(10))
    assert not pauses(seen(*REDS, since={TaskId("x-2"): mark}))


def test_while_a_line_pauses_nobody_is_sent_back_for_what_failed() -> None:
    tree, n = Sha("ba" * 20), 3
    tasks = [TaskId(f"x-{each}") for each in range(1, n + 1)]
    passed = a_check(9, 500, well=True, tree=tree, id=RunId(RunKind.CHECK, check_subject(tree, worlds.CHECKS), 1))
    observed = worlds.seen(
        *(worlds.a_task(task, status="in_progress", assignee=worlds.US) for task in tasks),
        checks=(passed, *REDS),
        recent={"main": (BaseCommit(worlds.BASE, tree),)},
        runs={task: (worlds.a_run(task),) for task in tasks},
        branches={task: worlds.a_branch(task) for task in tasks},
        pull_requests={task: worlds.a_pull(task, each) for each, task in enumerate(tasks, 1)},
        candidates={task: replace(worlds.a_candidate(), tree=red.tree) for task, red in zip(tasks, REDS, strict=True)},
    )
    wanted = worlds.wanted(worlds.an_epic(merge={"retries": 0}))
    assert {word.reason for word in plan(wanted, observed).epics[0].waiting.values()} == {"QueuePaused"}
    went_on = worlds.wanted(worlds.an_epic(merge={"retries": 0}, unfrozen_at=worlds.ago(1)))
    assert {type(action).__name__ for action in plan(went_on, observed).actions} <= {"SetPhase", "StartCheck"}


# --- a red base ----------------------------------------------------------------------------------------------


def red_base(code: int = 1) -> Observed:
    tree = Sha("ba" * 20)
    subject = RunId(RunKind.CHECK, check_subject(tree, worlds.CHECKS), 1)
    run = a_check(1, 50, baseline=worlds.BASE, tree=tree, id=subject, exit=worlds.an_exit(code=code))
    return seen(run, recent={"main": (BaseCommit(worlds.BASE, tree),)})


def test_no_task_begins_on_a_base_that_is_red() -> None:
    epic = plan(worlds.wanted(), red_base()).epics[0]
    assert {word.reason for word in epic.waiting.values()} == {"CheckBroken"} and not epic.actions
    assert epic.degraded and "reconcile spawn" in epic.degraded.message


def test_what_a_red_base_printed_leaves_room_for_what_to_do_about_it() -> None:
    observed = red_base()
    (run,) = next(iter(observed.checks.values()))
    epic = plan(worlds.wanted(), replace(observed, printed={run.id: "usage " * 60 + "the end"})).epics[0]
    assert epic.degraded and safe.line(epic.degraded.message) == epic.degraded.message, "it is shown whole"
    assert "the end ('reconcile logs check/" in epic.degraded.message
    assert "fix main or mergePolicy.checks ('reconcile spawn TASK'" in epic.degraded.message


def test_on_a_red_base_a_task_begins_that_is_asked_for_by_name() -> None:
    wanted = replace(worlds.wanted(), alone=TaskId("x-2"))
    assert [action.task for action in plan(wanted, red_base()).actions] == ["x-2"]


def test_checks_that_can_not_be_run_keep_nobody_from_beginning() -> None:
    assert plan(worlds.wanted(), red_base(code=127)).actions


@pytest.mark.parametrize(
    ("code", "printed", "said"),
    [
        (127, "3 passed sh: 2: superlint: not found", "superlint was not found (exit status 127,"),
        (127, "bash: line 1: superlint: command not found", "install it on the PATH of 'reconcile watch', or fix"),
        (126, "sh: 1: ./ci/run.sh: Permission denied", "'chmod +x ./ci/run.sh' and commit that, or fix"),
        (127, "sh: 1: ./ci/run.sh: not found", "./ci/run.sh, or what its first line names, was not found"),
        (127, "a; b went wrong", "either: a, b went wrong (exit status 127,"),
        (127, "", "either: it printed nothing (exit status 127,"),
    ],
)
def test_of_checks_that_can_not_be_run_it_is_said_first_what_they_lack(code: int, printed: str, said: str) -> None:
    observed = red_base(code)
    (run,) = next(iter(observed.checks.values()))
    epic = plan(worlds.wanted(), replace(observed, printed={run.id: printed})).epics[0]
    assert epic.degraded and said in epic.degraded.message
    what, _, to_do = epic.degraded.message.partition("; ")
    assert "can't be run on main" in what and to_do.startswith("nothing lands until they can: ")
    assert to_do.endswith(f"'reconcile retry {run.task}'")


def test_what_was_foreseen_of_checks_is_said_with_how_they_ended() -> None:
    foreseen = "the checks can't be run: pytset is not on their PATH; install that, or fix mergePolicy.checks and apply"
    epic = plan(worlds.wanted(), replace(red_base(127), unaskable={"all": foreseen})).epics[0]
    assert epic.degraded and "pytset is not on their PATH (exit status 127" in epic.degraded.message
    assert "install that, or fix mergePolicy.checks and apply, then 'reconcile retry" in epic.degraded.message


def test_on_a_base_that_moved_to_what_is_not_red_tasks_begin_by_themselves() -> None:
    red = red_base()
    mended = replace(red, recent={"main": (BaseCommit(worlds.OTHER, worlds.TREE), *red.recent["main"])})
    assert plan(worlds.wanted(), mended).actions


# --- at which commit is the base green? ------------------------------------------------------------------------


GREEN, RED, UNTESTED = Sha(f"{1:040d}"), Sha(f"{2:040d}"), Sha("f" * 40)


def known(*trees: Sha) -> dict[str, object]:
    """What is said of a base whose newest commits have these trees."""
    commits = tuple(BaseCommit(Sha(f"{n}" * 40), tree) for n, tree in enumerate(trees, 1))
    observed = seen(a_check(1, 50, well=True), a_check(2, 40), recent={"main": commits})
    return document.status(plan(worlds.wanted(), observed), observed)["epics"][0]["base"]


def test_of_every_commit_it_is_said_whether_it_is_green_red_or_not_known() -> None:
    found = known(UNTESTED, RED, GREEN)
    assert [commit["state"] for commit in found["commits"]] == ["unknown", "red", "green"]
    assert (found["name"], found["green"]) == ("main", "3" * 40)


@pytest.mark.parametrize("code", [126, 127])
def test_a_commit_on_which_the_checks_could_not_be_run_is_not_red_and_stays_as_green_as_it_was(code: int) -> None:
    def states(observed: Observed) -> list[str]:
        found = document.status(plan(worlds.wanted(), observed), observed)["epics"][0]["base"]["commits"]
        return [commit["state"] for commit in found]

    unasked = red_base(code)
    ((subject, (last,)),) = unasked.checks.items()
    before = replace(last, id=replace(last.id, n=0), exit=worlds.an_exit(code=0))
    assert states(unasked) == ["unknown"] and states(red_base(1)) == ["red"]
    assert states(replace(unasked, checks={subject: (before, last)})) == ["green"]


def test_people_read_at_which_commit_the_base_is_green() -> None:
    assert base_words(known(GREEN)) == "main is green at its tip 111111111111"
    assert base_words(known(UNTESTED, UNTESTED)) == ""
    assert base_words(known(RED)) == "main is red at its tip 111111111111, and not known to be green before"
    before = "main is green at 333333333333, 2 commits before its tip 111111111111, which is red"
    assert base_words(known(RED, UNTESTED, GREEN)) == before
