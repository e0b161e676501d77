"""Runs on other machines: never two of a task that can write, and nothing of them lost. Pretend nodes, everything else is real."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import gitrepo
import pytest
from dying import arm, dying
from nodes import MOST, Nodes
from outside import outside
from slurm_cluster import free_ports
from waiting import until

from reconciler.git.task_refs import TaskRefs
from reconciler.model.errors import ChangedError, ReconcileError, TemporaryError
from reconciler.model.names import RUN_REFS, RunId, RunKind, TaskId
from reconciler.model.observed import Cause, RunState, Says, StopWhy
from reconciler.model.values import replace
from reconciler.model.venue import Venue, VenueKind
from reconciler.runners import courier, supervisor
from reconciler.runners._engines import JobState
from reconciler.runners._hosts import Hosts
from reconciler.runners.anywhere import AnyRunner
from reconciler.workspaces.elsewhere import AnyWorkspaces

pytestmark = pytest.mark.skipif(not supervisor.PROC, reason="needs /proc")
X = TaskId("x-1")


def _old_python() -> str:
    """A Python 3.9, the oldest that a node may have; empty where there is none."""
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    found = [shutil.which("python3.9"), *home.glob(".pyenv/versions/3.9*/bin/python3.9")]
    works = (each for each in found if each and subprocess.run([each, "-V"], capture_output=True).returncode == 0)
    return str(next(works, ""))


OLD = _old_python()


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    made = Nodes(tmp_path)
    yield made
    made.clear()


def test_what_a_run_commits_and_what_it_does_not_comes_back_and_nothing_stays_on_the_node(nodes: Nodes):
    run = nodes.start("x-1")
    seen = nodes.over(run)
    assert seen.exit and seen.exit.well and seen.started, nodes.runner.log_tail(run)
    assert nodes.repo.content("agent/x-1:work.txt") == b"work of work/x-1/1\n"
    assert nodes.repo.git("log", "-1", "--format=%an", "agent/x-1") == "Somebody"
    assert "hello from x-1" in nodes.runner.log_tail(run)
    saved = nodes.spaces.salvage(X, nodes.venue)
    assert saved and nodes.repo.content(f"{saved.commit}:half.txt") == b"half\n"
    assert nodes.repo.head(f"{saved.commit}^") == nodes.repo.head("agent/x-1")
    until(lambda: not nodes.left() and not nodes.strays(), "the node to be cleared")
    assert nodes.repo.git("for-each-ref", "--format=%(refname)", cwd=nodes.remote) == "refs/reconcile/run/x-1"


def test_an_agent_on_a_node_finds_its_prompt_where_its_command_line_says_that_it_is(nodes: Nodes):
    where = nodes.runner.prompt_path(RunId(RunKind.WORK, "x-1", 1), nodes.venue)
    steps = (("/bin/sh", "-c", 'test "$1" = "$RECONCILE_PROMPT" && echo "told: $(cat "$1")"', "sh", where),)
    seen = nodes.over(run := nodes.start("x-1", steps=steps))
    assert seen.exit and seen.exit.well and "told: Do x-1." in nodes.runner.log_tail(run)


def test_a_courier_that_is_killed_with_a_lock_keeps_nobody_out_and_the_next_one_clears_it_away(tmp_path: Path):
    lock, wake = courier.lock_of(str(tmp_path), "x-1", "1"), tmp_path / "runs/wake"
    for step in range(100):
        wake.parent.mkdir(exist_ok=True)
        wake.touch()
        stale = Path(courier.lock_of(str(tmp_path), "x-2", "1"))
        stale.parent.mkdir(exist_ok=True)
        stale.touch()

        def tidied() -> None:
            with courier.NodeLock(lock):
                pass
            courier.tidy(str(tmp_path))

        died = dying(tidied, lambda step=step: arm(step, (os, "open"), (os, "unlink"), (os, "close"), (fcntl, "flock")))
        with courier.NodeLock(lock, wait=False) as again:
            assert again.taken
        courier.tidy(str(tmp_path))
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]
        if died == 0:
            break
    assert 8 < step < 99


def test_a_lock_whose_file_goes_with_it_is_had_by_one_at_a_time(tmp_path: Path):
    lock, count = str(tmp_path / "lock"), tmp_path / "count"
    count.write_text("0")

    def counts() -> None:
        for _ in range(100):
            with courier.NodeLock(lock):
                count.write_text(str(int(count.read_text()) + 1))

    both(*[counts] * 4)
    assert count.read_text() == "400" and not (tmp_path / "lock").exists()


def settled(nodes: Nodes) -> None:
    until(lambda: not any(run.alive for run in nodes.runner.runs().values()), "all runs to be over")


def test_nodes_share_nothing_but_a_remote_that_is_reached_by_tcp(tmp_path: Path):
    port = free_ports(1)[0]
    nodes = Nodes(tmp_path, Venue(kind=VenueKind.HERE, hosts=("n1", "n2"), remote=f"git://127.0.0.1:{port}/remote.git"))
    served = (
        f"--base-path={tmp_path}",
        "--export-all",
        "--enable=receive-pack",
        "--listen=127.0.0.1",
        f"--port={port}",
    )
    daemon = subprocess.Popen(
        ["git", "daemon", *served, "--reuseaddr"], stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        asked = ["git", "ls-remote", nodes.venue.remote]
        until(lambda: subprocess.run(asked, capture_output=True).returncode == 0, "git to serve")
        runs = [nodes.start(f"x-{n}") for n in range(3)]
        assert all((seen := nodes.over(run)).exit and seen.exit.well for run in runs)
        assert all(nodes.spaces.remove(TaskId(run.subject), nodes.venue) for run in runs)
    finally:
        os.killpg(daemon.pid, signal.SIGTERM)
        daemon.wait()
        nodes.clear()


@pytest.mark.skipif(not OLD, reason="needs Python 3.9")
def test_a_node_may_have_an_older_python(nodes: Nodes, tmp_path: Path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3").symlink_to(OLD)
    nodes.environ = {**nodes.environ, "PATH": f"{tmp_path / 'bin'}:{nodes.environ['PATH']}"}
    nodes.born()
    run = nodes.start("x-1", steps=nodes.agent("x-1", "python3 -V"))
    seen = nodes.over(run)
    assert seen.exit and seen.exit.well and "Python 3.9" in nodes.runner.log_tail(run)


# --- who may start -------------------------------------------------------------------------------------------


def both(*acts: Callable[[], object]) -> None:
    """Do these at the same moment, each in a process of its own."""
    ready, go = os.pipe()
    pids = []
    for act in acts:
        if not (pid := os.fork()):
            try:
                os.close(go)
                os.read(ready, 1)  # until everybody is there
                act()
            except ReconcileError:
                pass
            finally:
                os._exit(0)
        pids.append(pid)
    os.close(ready)
    os.close(go)
    for pid in pids:
        os.waitpid(pid, 0)


def race(nodes: Nodes, tmp_path: Path, trials: int) -> None:
    (tmp_path / "other").mkdir()
    other = Nodes(tmp_path / "other", nodes.venue)
    other.ledger.unlink()
    other.ledger.symlink_to(nodes.ledger)
    steps = (("/bin/sh", "-c", f'echo "start $RECONCILE_TASK" >> {nodes.ledger}'),)
    tasks = [f"r-{n}" for n in range(trials)]
    for task in tasks:
        both(
            lambda task=task: nodes.start(task, steps=steps, slot=None),
            lambda task=task: other.start(task, steps=steps, slot=None),
        )
    for each in (nodes, other):
        each.born()
        settled(each)
    assert nodes.starts() == dict.fromkeys(tasks, 1)
    other.clear()


def test_of_two_controllers_that_start_the_same_task_one_has_an_agent(nodes: Nodes, tmp_path: Path):
    race(nodes, tmp_path, 20)


def test_a_reservation_that_is_submitted_twice_is_claimed_once(nodes: Nodes, monkeypatch: pytest.MonkeyPatch):
    class Twice(Hosts):
        def submit(self, name: str, script: str, env: Mapping[str, str], lock: int) -> None:
            super().submit(name, script, env, lock)
            super().submit(f"{name}.again", script, env, lock)

    monkeypatch.setattr(nodes.runner.remote, "engine", lambda at: Twice(at, nodes.environ))
    nodes.venue = replace(nodes.venue, per_host=20)  # none is full, however busy this machine is
    for n in range(10):
        nodes.start(f"d-{n}", slot=None)
    settled(nodes)
    until(lambda: all(job.state is JobState.OVER for jobs in nodes.engine().jobs().values() for job in jobs))
    assert nodes.starts() == {f"d-{n}": 1 for n in range(10)}


def test_no_more_agents_than_the_manifest_allows_wherever_they_are(nodes: Nodes):
    for n in range(MOST):
        nodes.start(f"x-{n}", steps=nodes.agent(f"x-{n}", beats=600))
    with pytest.raises(ChangedError, match="all 4 agents"):
        nodes.start("x-9")
    local = replace(nodes.venue, kind=VenueKind.LOCAL)
    with pytest.raises(ChangedError, match="all 4 agents"):
        nodes.start("x-8", at=local, cwd=str(nodes.folder))
    nodes.runner.stop(RunId(RunKind.WORK, "x-0", 1), StopWhy.PERSON)
    nodes.over(RunId(RunKind.WORK, "x-0", 1))
    nodes.start("x-9")


def test_a_task_that_is_at_work_elsewhere_is_started_nowhere_else(nodes: Nodes):
    nodes.start("x-1", steps=nodes.agent("x-1", beats=600))
    for at in (nodes.venue, replace(nodes.venue, kind=VenueKind.LOCAL)):
        with pytest.raises(ChangedError):
            nodes.start("x-1", 2, at=at, cwd=str(nodes.folder))
    assert not (nodes.repo.common / "reconcile/runs/work/x-1/2").exists()


def test_a_submission_that_fails_leaves_nothing_that_could_start(nodes: Nodes, monkeypatch: pytest.MonkeyPatch):
    late: list[Callable[[], None]] = []

    class Late(Hosts):
        def submit(self, name: str, script: str, env: Mapping[str, str], lock: int) -> None:
            late.append(lambda: Hosts(nodes.venue, nodes.environ).submit(name, script, env, lock))
            raise TemporaryError("no answer")

    monkeypatch.setattr(nodes.runner.remote, "engine", lambda at: Late(at, nodes.environ))
    with pytest.raises(TemporaryError):
        nodes.start("x-1")
    run = nodes.run(RunId(RunKind.WORK, "x-1", 1))
    assert (run.state, run.started, run.remark) == (RunState.LOST, False, "it could not be submitted")
    assert not nodes.repo.git("for-each-ref", "refs/reconcile/run", cwd=nodes.remote)
    assert nodes.spaces.worktrees(nodes.venue, [X]) == {}
    late[0]()
    begun = time.monotonic()
    until(
        lambda: all(
            job.state is JobState.OVER for jobs in Hosts(nodes.venue, nodes.environ).jobs().values() for job in jobs
        )
    )
    assert not nodes.starts() and time.monotonic() - begun < courier.CLAIM_S / 2
    monkeypatch.undo()
    assert nodes.over(nodes.start("x-1", 2)).exit


def test_a_submission_that_fails_keeps_what_an_earlier_run_had_not_committed(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
):
    nodes.over(nodes.start("x-1"))

    class Down(Hosts):
        def submit(self, name: str, script: str, env: Mapping[str, str], lock: int) -> None:
            raise TemporaryError("no answer")

    monkeypatch.setattr(nodes.runner.remote, "engine", lambda at: Down(at, nodes.environ))
    with pytest.raises(TemporaryError):
        nodes.start("x-1", 2)
    monkeypatch.undo()
    again = nodes.start("x-1", 3, (("/bin/sh", "-c", "cat half.txt"),))
    nodes.over(again)
    assert nodes.runner.log_tail(again) == "half\n"


def test_a_ref_that_moves_while_it_is_read_is_read_again(nodes: Nodes, monkeypatch: pytest.MonkeyPatch):
    nodes.over(nodes.start("x-1"))
    ref, refs = "refs/reconcile/run/x-1", nodes.spaces.elsewhere.refs(nodes.venue.remote)
    fetch, parent = refs._fetch, nodes.repo.git("rev-parse", ref, cwd=nodes.remote).strip()

    def moves() -> str:
        """Write the same record once more, there and not here."""
        commit = ("commit-tree", f"{ref}^{{tree}}", "-p", parent, "-m", f"again {len(moved)}")
        nodes.repo.git("update-ref", ref, nodes.repo.git(*commit, cwd=nodes.remote).strip(), cwd=nodes.remote)
        return nodes.repo.git("rev-parse", ref, cwd=nodes.remote).strip()

    def fetched(names: Iterable[str]) -> None:
        monkeypatch.undo()
        moved.append(moves())
        fetch(names)

    moved: list[str] = []
    moved.append(moves())
    monkeypatch.setattr(refs, "_fetch", fetched)
    found = refs.one(X)
    assert found and found.at == moved[-1] and len(moved) == 2


def test_a_copy_of_a_repository_takes_nothing_from_the_run_of_the_one_that_it_was_copied_from(nodes: Nodes):
    go = nodes.folder / "go"
    run = nodes.start("x-1", steps=nodes.agent("x-1", f"until test -e {go}; do sleep 0.05; done"))
    nodes.begun("x-1")
    until(lambda: nodes.run(run).started)
    copy = gitrepo.GitRepo(shutil.copytree(nodes.repo.path, nodes.folder / "copy", symlinks=True), nodes.repo.home)
    git = copy.seam()
    spaces = AnyWorkspaces(git)
    theirs = AnyRunner(git.repository.state, nodes.environ, Path("/opt/bin"), {}.get, work=spaces.elsewhere)

    seen = theirs.runs()[run]
    assert seen.state is RunState.LOST and "is a copy of" in seen.remark
    theirs.stop(run, StopWhy.PERSON)
    with pytest.raises(ChangedError):
        spaces.remove(X, nodes.venue)
    go.touch()
    ended = nodes.over(run)
    assert ended.exit and ended.exit.well and nodes.repo.content("agent/x-1:work.txt")
    assert not copy.git("log", "--format=%s", "main..agent/x-1")
    with pytest.raises(ChangedError, match="another reconciler"):
        spaces.remove(X, nodes.venue)


# --- how it ends ---------------------------------------------------------------------------------------------


def test_a_run_that_is_stopped_ends_with_all_it_started_and_what_it_has_is_saved(nodes: Nodes):
    body = "setsid sleep 300 & (setsid sh -c 'trap \"\" TERM; sleep 301' &); echo dirty > half2.txt"
    run = nodes.start("x-1", steps=nodes.agent("x-1", body, beats=600))
    nodes.begun("x-1")
    until(lambda: nodes.run(run).state is RunState.RUNNING)
    nodes.runner.stop(run, StopWhy.PERSON)
    assert nodes.run(run).state in (RunState.ENDING, RunState.ENDED)
    seen = nodes.over(run)
    assert seen.exit and (seen.exit.cause, seen.exit.stop) == (Cause.STOPPED, StopWhy.PERSON)
    saved = nodes.spaces.salvage(X, nodes.venue)
    assert saved and nodes.repo.content(f"{saved.commit}:half2.txt") == b"dirty\n"
    until(lambda: not nodes.processes(run), "nothing of it to be left")


def test_the_next_attempt_goes_on_with_what_a_dead_node_had_not_committed(nodes: Nodes):
    run = nodes.start("x-1", steps=nodes.agent("x-1", "echo precious > precious.txt", beats=600))
    nodes.begun("x-1")
    seen = nodes.spaces.elsewhere.refs(nodes.venue.remote)
    until(lambda: seen.one(X).wip, "a renewal that holds it")
    nodes.send(nodes.processes(run), signal.SIGKILL)
    nodes.forgets(run)
    until(lambda: nodes.run(run).gives_up_at, "its silence to be told")
    lost = nodes.over(run)
    assert (lost.state, lost.exit) == (RunState.LOST, None) and "no word from n1" in lost.remark
    again = nodes.start("x-1", 2, (("/bin/sh", "-c", "cat precious.txt; git status --porcelain"),))
    nodes.over(again)
    assert "precious" in nodes.runner.log_tail(again) and "?? precious.txt" in nodes.runner.log_tail(again)


@pytest.mark.parametrize("clash", [False, True], ids=["elsewhere", "there"])
def test_what_was_not_committed_goes_on_to_a_base_that_has_moved_where_git_can_tell_how(nodes: Nodes, clash: bool):
    nodes.over(nodes.start("x-1", steps=(("/bin/sh", "-c", "echo precious > precious.txt"),)))
    main = nodes.repo.commit({"precious.txt" if clash else "other.txt": "of somebody else\n"})
    nodes.repo.git("push", "--quiet", str(nodes.remote), "main")
    nodes.repo.git("update-ref", "refs/heads/agent/x-1", main)

    again = nodes.start("x-1", 2, (("/bin/sh", "-c", "cat precious.txt other.txt; git status --porcelain"),))
    nodes.over(again)

    printed = nodes.runner.log_tail(again)
    assert ("?? precious.txt" in printed) is not clash and "of somebody else" in printed
    if clash:
        (saved,) = nodes.spaces.salvages()
        assert nodes.repo.content(f"{saved.commit}:precious.txt") == b"precious\n"


def test_a_courier_that_is_killed_takes_its_agent_along_and_what_it_left_becomes_saved_work(nodes: Nodes):
    body = "git commit -q --allow-empty -m early; echo late > late.txt"
    slow = replace(nodes.venue, sync_s=3.0, lease_s=12.0, hosts=("n1",))
    nodes.venue = slow
    run = nodes.start("x-1", steps=nodes.agent("x-1", body, beats=600))
    nodes.begun("x-1")
    until(lambda: nodes.run(run).started)
    (courier_pid, *tree) = nodes.processes(run)
    os.kill(courier_pid, signal.SIGKILL)
    until(lambda: not any(pid in supervisor.parent_pids() for pid in tree), "the agent to be ended")
    assert nodes.over(run).state is RunState.LOST
    nodes.start("x-2")
    nodes.over(RunId(RunKind.WORK, "x-2", 1))
    until(lambda: not nodes.left(), "the next courier to clear the node")
    nodes.spaces.elsewhere.refs(nodes.venue.remote).look()
    for saved in nodes.spaces.elsewhere.collect():
        assert nodes.repo.content(f"{saved.commit}:late.txt") == b"late\n"
    assert not nodes.repo.git("for-each-ref", "refs/reconcile/undelivered", cwd=nodes.remote)


def test_what_an_agent_says_by_a_file_comes_with_its_record(nodes: Nodes):
    said = '{"status": "blocked", "labels": ["phase:merged", "ui"], "note": "no access"}'
    run = nodes.start("x-1", steps=nodes.agent("x-1", f"echo '{said}' > $RECONCILE_SAYS"))
    assert nodes.over(run).says == Says(status="blocked", labels=("phase:merged", "ui"), note="no access")


def test_what_no_commit_can_hold_keeps_the_checkout_on_its_node_and_the_log_says_where(nodes: Nodes):
    body = "git init -q nested; cd nested; echo a > b; git add b; git commit -qm inner; cd .."
    run = nodes.start("x-1", steps=nodes.agent("x-1", body))
    seen = nodes.over(run)
    assert seen.exit and seen.exit.well
    assert "it is kept on n1: nested is a repository of its own" in nodes.runner.log_tail(run)
    until(lambda: not nodes.processes(run), "its courier to be over")
    nodes.over(nodes.start("x-2"))
    until(lambda: not nodes.processes(RunId(RunKind.WORK, "x-2", 1)), "the next courier there to be over")
    tree = Path(nodes.spaces.elsewhere.tree_path(nodes.venue, X, 1))
    assert (tree / "nested/b").read_text() == "a\n"


def test_what_git_lfs_keeps_beside_the_commits_is_not_cleared_away(nodes: Nodes, tmp_path: Path):
    path, home = f"{outside('git-lfs').parent}{os.pathsep}{nodes.environ['PATH']}", str(tmp_path)
    nodes.environ = {**nodes.environ, "PATH": path, "HOME": home, "GIT_CONFIG_GLOBAL": str(tmp_path / ".gitconfig")}
    subprocess.run(["git", "lfs", "install", "--skip-repo"], env=nodes.environ, check=True, capture_output=True)
    nodes.born()
    track = "echo '*.bin filter=lfs diff=lfs merge=lfs -text' > .gitattributes"
    run = nodes.start("x-1", steps=nodes.agent("x-1", f"{track}; echo large > a.bin; git add .; git commit -qm Large"))
    seen = nodes.over(run)
    assert seen.exit and seen.exit.well
    assert nodes.repo.git("show", "agent/x-1:a.bin").startswith("version https://git-lfs")
    assert "it is kept on n1: Git LFS keeps 1 of its files" in nodes.runner.log_tail(run)
    until(lambda: not nodes.processes(run), "its courier to be over")
    (kept,) = Path(nodes.spaces.elsewhere.tree_path(nodes.venue, X, 1)).glob(".git/lfs/objects/*/*/*")
    assert kept.read_text() == "large\n"


def test_what_can_not_be_set_up_on_a_node_is_told(nodes: Nodes):
    steps = (("/bin/sh", "-c", "echo cannot; exit 3"), ("/bin/sh", "-c", "true"))
    run = nodes.start("x-1", steps=steps, setup_steps=1)
    seen = nodes.over(run)
    assert seen.exit and (seen.exit.cause, seen.exit.code) == (Cause.SETUP, 3)
    assert "cannot" in nodes.runner.log_tail(run)


# --- cut off, frozen, away -----------------------------------------------------------------------------------


def test_a_node_that_is_cut_off_halts_its_agent_before_its_task_is_given_away_and_writes_nothing_after(nodes: Nodes):
    run = nodes.start(
        "x-1", steps=nodes.agent("x-1", "echo zombie > zombie.txt; git add .; git commit -qm zombie", beats=6000)
    )
    nodes.begun("x-1")
    until(lambda: nodes.run(run).started)
    back = nodes.cut(nodes_only=True)
    nodes.forgets(run)
    lost = nodes.over(run)
    given_away = time.time()
    assert lost.state is RunState.LOST
    assert nodes.beats(run)[-1] < given_away - 1
    head = nodes.repo.head("agent/x-1")
    back()
    second = nodes.start("x-1", 2)
    nodes.over(second)
    until(lambda: not nodes.processes(run), "the zombie to be ended")
    assert all(at < given_away for at in nodes.beats(run))
    assert nodes.repo.git("merge-base", "--is-ancestor", head, "agent/x-1", ok=True) == ""
    assert nodes.starts()["x-1"] == 2


def test_what_a_node_had_after_it_was_cut_off_becomes_saved_work_once_it_is_back(nodes: Nodes):
    go = nodes.folder / "go"
    body = f"until test -e {go}; do sleep 0.05; done; echo late > late.txt; touch {go}.done"
    run = nodes.start("x-1", steps=nodes.agent("x-1", body, beats=6000))
    nodes.begun("x-1")
    until(lambda: nodes.run(run).started)
    back = nodes.cut(nodes_only=True)
    go.touch()
    until(lambda: Path(f"{go}.done").exists(), "it to write what nobody has seen")
    nodes.forgets(run)
    assert nodes.over(run).state is RunState.LOST
    back()
    until(lambda: not nodes.processes(run) and not nodes.left(), "its courier to have delivered")
    nodes.spaces.elsewhere.refs(nodes.venue.remote).look()
    (saved,) = nodes.spaces.elsewhere.collect()
    assert nodes.repo.content(f"{saved.commit}:late.txt") == b"late\n"
    assert [each.task for each in nodes.spaces.salvages()] == [X]
    assert not nodes.repo.git("for-each-ref", "refs/reconcile/undelivered", cwd=nodes.remote)


def test_a_node_that_was_frozen_past_its_lease_ends_its_agent_as_it_wakes(nodes: Nodes):
    run = nodes.start("x-1", steps=nodes.agent("x-1", beats=6000))
    nodes.begun("x-1")
    until(lambda: nodes.run(run).started)
    frozen = nodes.processes(run)
    nodes.send(frozen, signal.SIGSTOP)
    nodes.forgets(run)
    assert nodes.over(run).state is RunState.LOST
    second = nodes.start("x-1", 2, nodes.agent("x-1", beats=60))
    nodes.begun("x-1", 2)
    nodes.send(frozen, signal.SIGCONT)
    until(lambda: not nodes.processes(run), "the zombie to be ended")
    seen = nodes.over(second)
    assert seen.exit and seen.exit.well
    assert nodes.repo.content("agent/x-1:work.txt") == b"work of work/x-1/2\n"


def test_a_remote_that_is_away_for_longer_than_the_lease_costs_no_run(nodes: Nodes):
    run = nodes.start("x-1", steps=nodes.agent("x-1", beats=80))
    nodes.begun("x-1")
    until(lambda: nodes.run(run).started)
    back = nodes.cut()
    until(lambda: time.time() - nodes.beats(run)[-1] > 2, "its agent to be halted")
    halted = len(nodes.beats(run))
    ends = time.monotonic() + 2 * nodes.venue.lease_s
    while time.monotonic() < ends:
        assert nodes.run(run).alive
    assert len(nodes.beats(run)) == halted
    assert len(unreaped(nodes.processes(run)[0])) <= 2  # of one try to reach it
    back()
    seen = nodes.over(run)
    assert seen.exit and seen.exit.well and len(nodes.beats(run)) == 80
    assert "was halted" in nodes.runner.log_tail(run)


def test_a_run_that_writes_at_that_very_moment_is_given_up_all_the_same(nodes: Nodes, monkeypatch: pytest.MonkeyPatch):
    run = nodes.start("x-1", steps=nodes.agent("x-1", beats=400))
    nodes.begun("x-1")
    until(lambda: nodes.run(run).started)
    one, reads = TaskRefs.one, []

    def late(refs: TaskRefs, task: TaskId):
        seen = one(refs, task)
        reads.append(task)
        if seen and len(reads) <= 2:  # it renews its lease between this look and what comes of it
            until(lambda: nodes.repo.git("ls-remote", str(nodes.remote), RUN_REFS + task).split()[0] != seen.at)
        return seen

    monkeypatch.setattr(TaskRefs, "one", late)
    nodes.runner.give_up(run)

    assert len(reads) == 3
    lost = nodes.run(run)
    assert lost.state is RunState.LOST and lost.remark == "a person gave it up"


def unreaped(parent: int) -> list[int]:
    """The children of a process that have ended, and that nobody has waited for."""
    stats = {int(name): courier.read(f"/proc/{name}/stat") for name in os.listdir("/proc") if name.isdecimal()}
    return [pid for pid, stat in stats.items() if f") Z {parent} ".encode() in stat]


# --- controllers that die ------------------------------------------------------------------------------------


def drive(nodes: Nodes, tasks: list[str]) -> None:
    """Start every task until all have ended well; as a program that may be killed at any moment."""
    nodes.born()
    while True:
        runs = nodes.runner.runs()
        for task in tasks:
            mine = [run for run in runs.values() if run.task == task]
            if any(run.alive or (run.exit and run.exit.well) for run in mine):
                continue
            with contextlib.suppress(ReconcileError):
                nodes.start(task, max((run.id.n for run in mine), default=0) + 1, nodes.agent(task, beats=4))
        if all(any(run.task == task and run.exit and run.exit.well for run in runs.values()) for task in tasks):
            return
        time.sleep(0.05)


def storm(nodes: Nodes, kills: int, tasks: list[str]) -> None:
    rng = random.Random(7)
    for _ in range(kills):
        if not (pid := os.fork()):
            try:
                drive(nodes, tasks)
            finally:
                os._exit(0)
        time.sleep(rng.uniform(0.1, 1.5))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    drive(nodes, tasks)
    assert nodes.starts() == dict.fromkeys(tasks, 1)
    spans = [
        (min(beats), max(beats))
        for task in tasks
        for n in range(1, 20)
        if (beats := nodes.beats(RunId(RunKind.WORK, task, n)))
    ]
    assert max(sum(a <= at <= b for a, b in spans) for at, _ in spans) <= MOST
    for task in tasks:
        assert nodes.repo.git("show", f"agent/{task}:work.txt").startswith("work of")


def test_a_controller_that_is_killed_again_and_again_starts_every_task_once(nodes: Nodes):
    storm(nodes, 5, [f"k-{n}" for n in range(6)])


@pytest.mark.slow
def test_a_controller_that_is_killed_fifty_times_starts_every_task_once(nodes: Nodes):
    storm(nodes, 50, [f"k-{n}" for n in range(24)])


@pytest.mark.slow
def test_of_two_controllers_one_has_an_agent_two_hundred_times(nodes: Nodes, tmp_path: Path):
    race(nodes, tmp_path, 200)
