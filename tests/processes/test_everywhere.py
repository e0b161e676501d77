"""What holds wherever a run is, on this machine or on another: one suite for both. Its worktree goes with it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from nodes import MOST, Nodes
from waiting import until

from reconciler.model.errors import ChangedError
from reconciler.model.names import RunId, RunKind, TaskId
from reconciler.model.observed import Cause, RunState, StopWhy
from reconciler.model.venue import Venue
from reconciler.runners import supervisor

pytestmark = pytest.mark.skipif(not supervisor.PROC, reason="needs /proc")
X = TaskId("x-1")


@pytest.fixture(params=["local", "here"])
def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Nodes]:
    at = Venue(root=str(tmp_path / "worktrees")) if request.param == "local" else None
    made = Nodes(tmp_path, at)
    yield made
    made.clear()


def sh(script: str) -> tuple[tuple[str, ...], ...]:
    return (("/bin/sh", "-c", script),)


# --- runs ----------------------------------------------------------------------------------------------------


def test_how_a_run_ended_is_recorded_with_what_it_printed(nodes: Nodes):
    run = nodes.start("x-1", steps=sh("echo one; echo two >&2; exit 3"), attempt=2, why="Conflict")
    seen = nodes.over(run)
    assert seen.exit and (seen.exit.cause, seen.exit.code, seen.exit.step) == (Cause.EXITED, 3, 0)
    assert (seen.task, seen.manifest, seen.attempt, seen.why, seen.state) == ("x-1", "demo", 2, "Conflict", "ended")
    assert seen.started and seen.exit.memory
    assert nodes.runner.log_tail(run) == "one\ntwo\n"
    assert nodes.runner.log(run)[0] == b"one\ntwo\n"


@pytest.mark.parametrize(
    ("more", "cause"),
    [
        ({"steps": (*sh("true"), ("no-such-program",))}, Cause.UNAVAILABLE),
        ({"steps": sh("exit 1") + sh("true"), "setup_steps": 1}, Cause.SETUP),
        ({"steps": sh("sleep 600"), "timeout_s": 1.0}, Cause.TIMEOUT),
        ({"steps": sh("sleep 600"), "stuck_after_s": 1.0}, Cause.STUCK),
    ],
)
def test_what_ended_a_run_is_told_apart(nodes: Nodes, more: dict[str, object], cause: Cause):
    seen = nodes.over(nodes.start("x-1", **more))  # type: ignore[arg-type]
    assert seen.exit and seen.exit.cause is cause


def test_an_agent_gets_its_prompt_its_variables_and_no_others_of_ours(nodes: Nodes):
    nodes.environ = {**nodes.environ, "A_TOKEN": "secret", "B_TOKEN": "secret"}
    nodes.born()
    script = 'cat; cat "$RECONCILE_PROMPT"; echo; echo "$KEY|$A_TOKEN|$B_TOKEN|$RECONCILE_TASK|$RECONCILE_RUN"; pwd'
    env = {"KEY": "a 'b' $c", "RECONCILE_TASK": "x-1", "RECONCILE_BASE": "main"}
    run = nodes.start("x-1", steps=sh(script), env=env, pass_env=("A_TOKEN",), prompt="Do it.", prompt_on_stdin=True)
    nodes.over(run)
    told = nodes.runner.log_tail(run).splitlines()
    assert told[:2] == ["Do it.Do it.", "a 'b' $c|secret||x-1|work/x-1/1"]
    assert Path(told[2]).name in ("x-1", "x-1.1")
    kept = (nodes.repo.common / "reconcile/runs/work/x-1/1").iterdir()
    assert not [path for path in kept if path.name != "log" and b"secret" in path.read_bytes()]


def test_a_number_is_used_once_and_a_task_has_one_run(nodes: Nodes):
    run = nodes.start("x-1", steps=sh("sleep 600"))
    for n in (1, 2):
        with pytest.raises(ChangedError):
            nodes.start("x-1", n)
    with pytest.raises(ChangedError), nodes.runner.idle(X):
        raise AssertionError("it is alive")
    nodes.runner.stop(run, StopWhy.PERSON)
    nodes.over(run)
    with pytest.raises(ChangedError):
        nodes.start("x-1", 1)
    nodes.over(nodes.start("x-1", 2))


def test_a_stopped_run_says_why_and_asking_again_changes_nothing(nodes: Nodes):
    run = nodes.start("x-1", steps=sh("trap '' TERM; while true; do sleep 1; done"))
    until(lambda: nodes.run(run).state is RunState.RUNNING)
    nodes.runner.stop(run, StopWhy.CLOSED)
    nodes.runner.stop(run, StopWhy.PERSON)
    seen = nodes.over(run)
    assert seen.exit and (seen.exit.cause, seen.exit.stop) == (Cause.STOPPED, StopWhy.CLOSED)


def test_no_more_agents_than_the_manifest_allows(nodes: Nodes):
    for n in range(MOST):
        nodes.start(f"x-{n}", steps=sh("sleep 600"))
    with pytest.raises(ChangedError, match=f"all {MOST} agents"):
        nodes.start("x-9")


def test_a_run_outlives_whoever_started_it(nodes: Nodes):
    if not (pid := os.fork()):
        try:
            nodes.start("x-1", steps=nodes.agent("x-1", "sleep 1"))
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    nodes.born()
    seen = nodes.over(RunId(RunKind.WORK, "x-1", 1))
    assert seen.exit and seen.exit.well


# --- their worktrees -----------------------------------------------------------------------------------------


def test_a_task_has_a_branch_and_a_worktree_from_its_first_start_until_it_is_removed(nodes: Nodes):
    assert nodes.spaces.worktrees(nodes.venue, [X]) == {}
    run = nodes.start("x-1")
    main = nodes.repo.head("main")
    assert nodes.repo.git("merge-base", "main", "agent/x-1").strip() == main  # its agent may have committed by now
    nodes.over(run)
    (tree,) = nodes.spaces.worktrees(nodes.venue, [X]).values()
    assert (tree.head, tree.fault, tree.branch) == (nodes.repo.head("agent/x-1"), None, "agent/x-1")
    assert nodes.spaces.branches(nodes.repo.head("main"))[X].ahead == 1
    saved = nodes.spaces.remove(X, nodes.venue)
    assert saved and nodes.repo.content(f"{saved.commit}:half.txt") == b"half\n"
    assert nodes.spaces.worktrees(nodes.venue, [X]) == {} and nodes.spaces.remove(X, nodes.venue) is None


def test_what_is_saved_is_saved_once_and_can_be_brought_back(nodes: Nodes):
    nodes.over(nodes.start("x-1"))
    one, other = nodes.spaces.salvage(X, nodes.venue), nodes.spaces.salvage(X, nodes.venue)
    assert one and other and one.commit == other.commit and len(nodes.spaces.salvages()) == 1
    assert nodes.spaces.restore(X) == "restored/x-1-1"
    assert nodes.repo.content("restored/x-1-1:half.txt") == b"half\n"


def test_what_was_staged_although_git_ignores_it_is_saved(nodes: Nodes):
    ignores = "echo '*.o' > .gitignore; git add .gitignore; git commit -qm ignore"
    nodes.over(
        nodes.start("x-1", steps=sh(f"{ignores}; echo precious > 'k*.o'; echo made > b.o; git add -f -- 'k*.o'"))
    )
    saved = nodes.spaces.remove(X, nodes.venue)
    assert saved and nodes.repo.content(f"{saved.commit}:k*.o") == b"precious\n"
    assert "b.o" not in nodes.repo.git("ls-tree", "--name-only", saved.commit)


def test_where_nothing_is_uncommitted_nothing_is_saved(nodes: Nodes):
    nodes.over(nodes.start("x-1", steps=sh("echo a > a; git add a; git commit -qm a")))
    assert nodes.spaces.salvage(X, nodes.venue) is None and nodes.spaces.remove(X, nodes.venue) is None
    assert nodes.repo.content("agent/x-1:a") == b"a\n"


def test_the_next_attempt_goes_on_with_commits_and_files_of_the_last(nodes: Nodes):
    nodes.over(nodes.start("x-1"))
    run = nodes.start("x-1", 2, sh("cat work.txt half.txt; git status --porcelain; git log --oneline | wc -l"))
    nodes.over(run)
    assert nodes.runner.log_tail(run).split() == ["work", "of", "work/x-1/1", "half", "??", "half.txt", "2"]


def test_a_task_that_was_worked_on_here_goes_on_elsewhere_and_what_it_left_here_is_saved(tmp_path: Path):
    nodes = Nodes(tmp_path)
    far, nodes.venue = nodes.venue, Venue(root=str(tmp_path / "worktrees"))
    nodes.over(nodes.start("x-1"))
    nodes.venue = far
    run = nodes.start("x-1", 2, sh("cat work.txt; echo more >> work.txt; git commit -qam more"))
    nodes.over(run)
    assert nodes.runner.log_tail(run) == "work of work/x-1/1\n"
    assert nodes.repo.content("agent/x-1:work.txt") == b"work of work/x-1/1\nmore\n"
    (saved,) = nodes.spaces.salvages()
    assert nodes.repo.content(f"{saved.commit}:half.txt") == b"half\n"
    assert not (tmp_path / "worktrees/x-1").exists()
    nodes.clear()
