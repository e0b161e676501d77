"""One look at the world: what is silent becomes Unknown, what is stale is left out, and each task has its own base."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import worlds
from memory import World

from reconciler.loop.closer import closer
from reconciler.loop.memo import Memo
from reconciler.loop.observer import Circumstances, observe
from reconciler.model.desired import Desired, EpicSpec, WorktreeSpec
from reconciler.model.errors import PermanentError, TemporaryError
from reconciler.model.names import PrNumber, RunId, RunKind, Sha, TaskId
from reconciler.model.observed import (
    Base,
    Candidate,
    Conflict,
    Imprecise,
    Landing,
    Observed,
    Occupant,
    PullState,
    Unknown,
    Worktree,
    WorktreeFault,
)
from reconciler.model.ports import RunSpec
from reconciler.planning.planner import plan

X = TaskId("x-1")
WORK = RunId(RunKind.WORK, "x-1", 1)
FIELD_OF = {
    "tracker": "tasks",
    "runs": "runs",
    "worktrees": "worktrees",
    "branches": "branches",
    "forge": "pull_requests",
    "landings": "landings",
}


def look(world: World, *epics: EpicSpec) -> Observed:
    return observe(Desired(epics=epics or (worlds.an_epic(),)), world.ports(), Circumstances(at=world.now))


def a_world() -> World:
    """A task that was worked on and offered, one that waits, and one that is closed with a worktree left."""
    world = World(now=worlds.NOW)
    epic = worlds.an_epic()
    for task, fields in (("x-1", {"status": "in_progress"}), ("x-2", {}), ("x-3", {"status": "closed"})):
        world.add(task, **fields)
    for task in ("x-1", "x-3"):
        world.create(TaskId(task), epic, world.main)
    world.edit("x-1", assignee=worlds.US)
    world.start(RunSpec(id=WORK, task=X, manifest="all", steps=(("agent",),), cwd="", baseline=world.main))
    world.commit("x-1", "p")
    world.finish(WORK)
    world.open(X, world.heads[X], "", "")
    return world


# --- silence -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", FIELD_OF)
def test_a_silent_source_is_unknown_and_the_others_are_seen(source: str) -> None:
    world = a_world()
    whole = look(world)
    world.down = {source}
    observed = look(world)
    silent = {name for name in FIELD_OF.values() if isinstance(getattr(observed, name), Unknown)}
    # From where runs and landings count is kept beside the runs.
    assert silent == {FIELD_OF[source]} | ({"landings"} if source == "runs" else set())
    kept = set(FIELD_OF.values()) - silent
    assert {name: getattr(observed, name) for name in kept} == {name: getattr(whole, name) for name in kept}
    assert isinstance(observed.checks, Unknown) == (source == "runs")


@pytest.mark.parametrize("source", [*FIELD_OF, "base", "candidates"])
def test_nothing_that_depends_on_a_silent_source_is_done(source: str) -> None:
    world = a_world()
    world.down = {source}
    decided = plan(Desired(epics=(worlds.an_epic(),)), look(world))
    done = {type(action).__name__ for action in decided.actions if action.task == X}
    assert done <= {"SetPhase"}
    if source != "candidates":  # of an open pull request only, which x-3 has not
        assert not any(type(action).__name__ == "RemoveWorktree" for action in decided.actions)
        assert not any(type(action).__name__ == "StartAgent" for action in decided.actions)


def test_where_people_cannot_be_looked_for_no_worktree_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(paths: Any) -> None:
        raise TemporaryError("later")

    world = a_world()
    monkeypatch.setattr(world, "occupants", silent)
    observed = look(world)
    assert isinstance(observed.occupants, Unknown)
    decided = plan(Desired(epics=(worlds.an_epic(),)), observed)
    assert {type(action).__name__ for action in decided.actions} <= {"SetPhase"}


def test_a_silent_base_is_told_from_a_missing_one() -> None:
    world = a_world()
    world.down = {"base"}
    assert isinstance(look(world).bases["main"], Unknown)


@pytest.mark.parametrize("error", [TemporaryError("later"), PermanentError("never"), OSError(5, "I/O error")])
@pytest.mark.parametrize(
    "method", ["tasks", "prefix", "runs", "since", "occupants", "missing", "worktrees", "check_worktrees", "branches",
               "salvages", "base", "pull_requests", "landings", "candidate", "contains"],
)  # fmt: skip
def test_no_source_ends_the_look(monkeypatch: pytest.MonkeyPatch, method: str, error: Exception) -> None:
    def silent(*args: object, **kwargs: object) -> None:
        raise error

    world = a_world()
    monkeypatch.setattr(world, method, silent)
    decided = plan(Desired(epics=(worlds.an_epic(),)), look(world))
    risky = {"Land", "CloseTask", "DeleteBranch", "OpenPullRequest"}
    assert not risky & {type(action).__name__ for action in decided.actions}


def test_a_tracker_that_does_not_answer_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent() -> str:
        world.later(seconds=10)
        raise TemporaryError("later")

    world = a_world()
    before = world.now
    for method in ("tasks", "prefix"):
        monkeypatch.setattr(world, method, silent)
    assert isinstance(look(world).tasks, Unknown)
    assert (world.now - before).total_seconds() == 10


def test_without_the_last_retry_nobody_knows_how_many_attempts_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: object) -> None:
        raise TemporaryError("later")

    world = a_world()
    monkeypatch.setattr(world, "since", silent)
    observed = look(world)
    assert isinstance(observed.runs, Unknown) and isinstance(observed.landings, Unknown)


def test_an_agent_that_cannot_be_judged_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(spec: EpicSpec) -> None:
        raise TemporaryError("the PATH can't be read")

    world = a_world()
    monkeypatch.setattr(world, "missing", silent)
    assert look(world).agents_missing == {"all": "the PATH can't be read"}


# --- what is laid side by side -------------------------------------------------------------------------------


def test_what_is_open_is_the_very_same_until_a_task_is_closed_opened_or_made() -> None:
    world, memo = a_world(), Memo()
    found = []
    for change in (None, {"priority": 1}, {"status": "closed"}, {"status": "open"}):
        if change:
            world.edit("x-2", **change)
        observe(Desired(epics=(worlds.an_epic(),)), world.ports(), Circumstances(at=world.now), memo)
        found.append(memo.open_tasks)
    world.add("../x")  # a name that can be no branch
    world.add("x-4")
    observe(Desired(epics=(worlds.an_epic(),)), world.ports(), Circumstances(at=world.now), memo)

    assert found[1] is found[0] == {"x-1", "x-2"}
    assert found[2:] == [{"x-1"}, {"x-1", "x-2"}] and memo.open_tasks == {"x-1", "x-2", "x-4"}


def test_runs_are_sorted_by_task_and_checks_by_tree() -> None:
    world = a_world()
    for n in (3, 2):
        world.processes[RunId(RunKind.WORK, "x-1", n)] = worlds.a_run(n=n)
    check = worlds.a_check("passed")
    world.processes[check.id] = check
    observed = look(world)
    assert [run.id.n for run in observed.runs[X]] == [1, 2, 3]
    assert observed.checks == {check.id.subject: (check,)}


def test_people_are_looked_for_only_where_nothing_of_ours_runs() -> None:
    world = a_world()
    asked: list[list[str]] = []
    real = world.occupants

    def occupants(paths: Any) -> dict[str, Occupant]:
        asked.append(sorted(paths))
        return real(paths)

    world.occupants = occupants
    world.occupied = {TaskId("x-3"): Occupant(pid=7, command="vim")}
    assert look(world).occupants == {"x-3": Occupant(pid=7, command="vim")}
    world.processes[WORK] = worlds.a_run(state="running")
    look(world)
    assert asked == [["/worktrees/x-1", "/worktrees/x-3"], ["/worktrees/x-3"]]


def test_a_landing_from_before_the_last_retry_does_not_count() -> None:
    world = a_world()
    before = world._new_commit({"p"}, (world.main,))
    world.main = before
    world.landed.append(Landing(task=X, head=world.heads[X], commit=before, at=world.now))
    assert X in look(world).landings
    world.mark_since(X, world.main, world.now)
    assert X not in look(world).landings
    world.push_to_main("q")
    world.landed.append(Landing(task=X, head=world.heads[X], commit=world.main, at=world.now))
    assert look(world).landings[X].commit == world.main


def test_what_a_person_merged_is_seen_by_its_commits_or_by_having_no_effect() -> None:
    world = a_world()
    assert look(world).merged_by_hand == frozenset()
    merged = a_world()
    merged.main = merged._new_commit({"p"}, (merged.main, merged.heads[X]))
    assert look(merged).merged_by_hand == {X}
    squashed = a_world()
    squashed.push_to_main("p")
    assert look(squashed).merged_by_hand == {X}


def test_a_branch_without_changes_of_its_own_was_not_merged_by_anybody() -> None:
    world = a_world()
    world.heads[X] = world._new_commit(set(), (world.main,))
    assert look(world).merged_by_hand == frozenset()


def test_a_commit_that_came_after_the_hand_merge_is_still_to_land() -> None:
    world = a_world()
    world.main = world._new_commit({"p"}, (world.main, world.heads[X]))
    world.commit("x-1", "more")
    assert look(world).merged_by_hand == frozenset()


def test_a_repair_is_judged_by_the_tip_it_was_given() -> None:
    world = a_world()
    given_tip = world.main
    world.processes[WORK] = worlds.a_run(why="Conflict", base_tip=given_tip)
    world.rivals = {frozenset({"p", "q"})}
    assert look(world).repaired == frozenset()
    world.push_to_main("q")
    observed = look(world)
    assert isinstance(observed.candidates[X], Conflict) and observed.repaired == {X}
    world.processes[WORK] = worlds.a_run(why="Conflict", base_tip=world.main)
    assert look(world).repaired == frozenset()


def test_only_open_pull_requests_are_merged_for_a_try() -> None:
    world = a_world()
    assert isinstance(look(world).candidates[X], Candidate)
    world.close(PrNumber(1), declined=False)
    assert look(world).pull_requests[X].state is PullState.CLOSED
    assert look(world).candidates == {}


# --- several bases -------------------------------------------------------------------------------------------


class TwoBases(World):
    """A world with a second base, `next`, one commit behind."""

    behind = Sha("c0")
    looked: tuple[bool, ...] = ()

    def base(self, name: str, *, push: bool = False, look: bool = True) -> Base:
        if name in self.down:
            raise TemporaryError(f"{name} did not answer")
        self.looked += (look,)
        return Base(name=name, head=self.main if name == "main" else self.behind)


@pytest.fixture
def two() -> Iterator[tuple[TwoBases, EpicSpec, EpicSpec]]:
    world = TwoBases(now=worlds.NOW)
    for name in ("a", "b"):
        world.add(f"{name}-0", type="epic")
        world.add(f"{name}-1", parents=(TaskId(f"{name}-0"),))
        world.heads[TaskId(f"{name}-1")] = world._new_commit({f"p-{name}"}, (world.main,))
    world.push_to_main("q")
    for task in ("a-1", "b-1"):
        world.heads[TaskId(task)] = world._new_commit({"q", task}, (world.main,))
    yield (
        world,
        worlds.an_epic(name="a", epic=TaskId("a-0")),
        worlds.an_epic(name="b", epic=TaskId("b-0"), base="next"),
    )


def test_every_branch_is_measured_against_the_base_of_its_own_manifest(two: Any) -> None:
    world, *epics = two
    branches = look(world, *epics).branches
    assert {task: branch.ahead for task, branch in branches.items()} == {"a-1": 1, "b-1": 2}


def test_every_candidate_is_made_for_the_base_of_its_own_manifest(two: Any) -> None:
    world, *epics = two
    for task in ("a-1", "b-1"):
        world.open(TaskId(task), world.heads[TaskId(task)], "", "")
    candidates = look(world, *epics).candidates
    assert {task: candidate.base for task, candidate in candidates.items()} == {"a-1": world.main, "b-1": "c0"}


def test_a_silent_base_holds_only_its_own_manifest(two: Any) -> None:
    world, *epics = two
    world.heads.clear()
    world.down = {"next"}
    decided = plan(Desired(epics=tuple(epics)), look(world, *epics))
    assert [(type(a).__name__, a.task) for a in decided.actions] == [("StartAgent", "a-1")]
    assert decided.epics[1].held is not None


def test_a_checkout_is_looked_into_only_where_something_would_land(two: Any) -> None:
    world, *epics = two
    desired = Desired(epics=tuple(epics))
    observed = look(world, *epics)
    assert world.looked == (False, False)
    closer(observed, desired, world.ports(), Imprecise(bases=frozenset({"next"})))
    assert world.looked == (False, False, True)


def test_a_folder_in_the_way_elsewhere_does_not_hide_a_tasks_own_worktree(monkeypatch: pytest.MonkeyPatch) -> None:
    world = a_world()
    own, taken = Worktree(path="/b/x-1", head=world.main), Worktree(path="/x/x-1", fault=WorktreeFault.TAKEN)
    for roots in (("/b", "/x"), ("/x", "/b")):
        epics = [worlds.an_epic(name=f"m{n}", worktrees=WorktreeSpec(root=root)) for n, root in enumerate(roots)]
        monkeypatch.setattr(world, "worktrees", lambda at, ids: {X: own if at.root == "/b" else taken})
        observed = look(world, *epics)
        assert not isinstance(observed.worktrees, Unknown)
        assert observed.worktrees[X] is own


def test_what_git_could_not_tell_of_a_landing_is_asked_for_at_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    world = a_world()
    landed = [Landing(task=X, head=worlds.HEAD, commit=worlds.OTHER, at=world.now)]
    retried = {X: worlds.RetryPoint(n=0, base=worlds.BASE, at=world.now - timedelta(hours=1))}
    monkeypatch.setattr(world, "landings", lambda base: landed)
    monkeypatch.setattr(world, "since", lambda open_tasks: retried)
    answers: list[bool] = []

    def contains(base: object, commit: object) -> bool:
        if not answers:
            raise TemporaryError("busy")
        return answers[-1]

    monkeypatch.setattr(world, "contains", contains)
    memo, desired = Memo(), Desired(epics=(worlds.an_epic(),))
    looks = []
    for answer in (None, True, False):
        answers += [] if answer is None else [answer]
        seen = observe(desired, world.ports(), Circumstances(at=world.now), memo)
        looks.append(X in seen.landings)

    # By the clock it landed after the retry; git says that it did before; and what git said is not asked again.
    assert looks == [True, False, False]
