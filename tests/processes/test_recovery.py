"""What a kill -9 leaves behind is found again and brought to its end: the real program, real git, real agents.

Each scenario ends with the same proof (`Scene.converged`): every task landed in one commit and is closed with
`phase:merged`; no worktree, branch or process is left; the base never pointed to a tree that its checks had not passed;
never two agents of a task were alive at a time. Who started is counted by the agents themselves, outside the repository.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scenes import CUT_OFF, HANGING, Scene, end
from waiting import ended, removed, until

from reconciler.runners import supervisor

pytestmark = [
    pytest.mark.skipif(not supervisor.PROC, reason="needs /proc"),
    pytest.mark.skipif(not shutil.which("flock"), reason="the agents count themselves with flock(1)"),
]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.clear()


# --- the seven scenarios -----------------------------------------------------------------------------------


def test_1_an_agent_that_lives_is_adopted(scene: Scene) -> None:
    """The watcher is killed under two agents running: the next one finds them, same run and same process."""
    watcher = scene.work_begins("reach there; await go; commit done.$task", titles=("Do a", "Do b"))
    before = {title: entry["run"] for title, entry in scene.entries().items()}

    end(watcher)
    again = scene.watch()
    after = {title: entry["run"] for title, entry in scene.entries().items()}
    scene.let("go")

    ended(again)
    assert again.returncode == 0
    assert [(run["n"], run["pid"], run["state"]) for run in after.values()] == [
        (1, run["pid"], "running") for run in before.values()
    ]
    assert len(scene.starts) == 2
    scene.converged("Do a", "Do b")


def test_2_an_agent_that_died_without_work_is_started_again_in_its_worktree(scene: Scene) -> None:
    """Watcher, supervisor and agent are killed before anything was done: attempt 2, in the very same folder."""
    scene.crash(scene.work_begins(HANGING, "commit done"))

    scene.until_done()

    assert scene.runs() == ["1", "2"]
    assert scene.said("visitors.2").count("\n") == 2
    scene.converged()


def test_3_the_commits_of_an_agent_that_died_stay_and_land(scene: Scene) -> None:
    """Killed after its first commit: it is not offered half done; the next agent goes on from it, both land as one."""
    scene.crash(scene.work_begins(f"commit half; {HANGING}", "git log --format=%s > $out/log; commit whole"))

    scene.until_done()

    assert scene.runs() == ["1", "2"]
    assert scene.said("log").splitlines() == ["half", "Begin"]
    assert scene.said("checks").count("x") == 1
    assert {"half", "whole"} <= scene.landed()
    scene.converged()


@pytest.mark.parametrize("then", ["they are committed", "they are left lying"])
def test_4_the_uncommitted_files_of_an_agent_that_died_are_kept(scene: Scene, then: str) -> None:
    """Killed with a changed and a new file: both are still there for the next agent, and end up merged or saved."""
    dirt = "echo changed > README; echo precious > notes"
    second = {"they are committed": "git add .; git commit --quiet --message=all", "they are left lying": "commit done"}
    scene.crash(scene.work_begins(f"{dirt}; {HANGING}", second[then]))

    scene.until_done()

    assert scene.runs() == ["1", "2"]
    assert scene.said("visitors.2").count("\n") == 2
    assert scene.said("status.2").splitlines() == [" M README", "?? notes"]
    where = "main" if then == "they are committed" else next(iter(scene.salvages()), "")
    assert scene.git("show", f"{where}:README", f"{where}:notes") == "changed\nprecious\n"
    scene.converged()


CUTS = {
    "git worktree add was killed": ("*'worktree add'*agent/*", CUT_OFF),
    "the watcher was killed right after git worktree add": ("*'worktree add'*agent/*", ""),
    "git was killed while it wrote the files": ("*read-tree*-u*", CUT_OFF),
}


@pytest.mark.parametrize("cut", CUTS)
def test_5_a_half_made_worktree_is_never_used(scene: Scene, cut: str) -> None:
    """Killed in the middle of making the worktree: no agent sees it before it is whole, on its branch and clean."""
    manifest = scene.wanted("ls > $out/files; commit done")
    scene.strike(*CUTS[cut])

    scene.reconcile("watch", "--until-done", "-f", str(manifest), code=-signal.SIGKILL)
    assert scene.starts == []
    task = scene.only_task()
    scene.until_done()

    assert scene.runs() == ["1"]
    assert scene.said("branch.1").strip() == f"refs/heads/agent/{task}"
    assert (scene.said("status.1"), scene.said("files")) == ("", "README\n")
    scene.converged()


LOSSES: dict[str, Callable[[Scene], None]] = {
    "its folder is gone": lambda scene: shutil.rmtree(scene.worktree()),
    "its .git file is gone": lambda scene: (scene.worktree() / ".git").unlink(),
    "git's record of it is gone": lambda scene: shutil.rmtree(scene.root / ".git/worktrees" / scene.only_task()),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_5_a_worktree_that_was_taken_apart_is_made_again(scene: Scene, loss: str) -> None:
    """Folder, .git file or git's own record of it removed by hand: made again with its commits, what lay in it saved."""
    scene.crash(scene.work_begins(f"commit half; echo precious > notes; {HANGING}", "commit whole"))

    LOSSES[loss](scene)
    scene.until_done()

    assert scene.runs() == ["1", "2"]
    assert scene.said("visitors.2").count("\n") == 1
    assert (scene.said("branch.2"), scene.said("status.2")) == (scene.said("branch.1"), "")
    assert {"half", "whole"} <= scene.landed()
    saved = [scene.git("show", f"{ref}:notes") for ref in scene.salvages()]
    assert saved == ([] if loss == "its folder is gone" else ["precious\n"])
    scene.converged()


def test_6_an_offered_pull_request_goes_on_without_an_agent(scene: Scene) -> None:
    """Killed while its pull request was being checked, the check too: it is checked again and lands, no agent starts."""
    scene.crash(scene.checking_begins("commit done"))
    assert scene.entries()["Do a"]["pullRequest"]["state"] == "open"

    scene.let("check")
    scene.until_done()

    assert scene.runs() == ["1"]
    assert scene.said("checks").count("x") == 2
    scene.converged()


def test_6_a_half_made_worktree_of_a_check_is_never_used(scene: Scene) -> None:
    """Killed between its pull request and its check, in the middle of making the check's worktree: made again, no agent."""
    scene.strike("*'worktree add'*/.checks/*", CUT_OFF)
    manifest = scene.wanted("commit done")
    scene.reconcile("watch", "--until-done", "-f", str(manifest), code=-signal.SIGKILL)
    assert scene.said("checks") == ""

    scene.until_done()

    assert (scene.runs(), scene.said("checks").count("x")) == (["1"], 1)
    scene.converged()


def test_7_what_landed_is_closed_and_not_landed_again(scene: Scene) -> None:
    """Killed after the base had moved and before the task was closed: it is closed; nothing is checked or landed again."""
    scene.strike("*'reconcile: land #1'*")
    scene.reconcile("watch", "--until-done", "-f", str(scene.wanted("commit done")), code=-signal.SIGKILL)
    assert scene.subjects() == ["Do a", "Begin"]
    assert scene.tasks()["Do a"]["status"] != "closed"

    scene.until_done()

    assert scene.runs() == ["1"]
    assert scene.said("checks").count("x") == 1
    scene.converged()


# --- orphaned worktrees ------------------------------------------------------------------------------------

WORK = f"commit half; echo precious > notes; {HANGING}"


def orphaned(scene: Scene, life: str = WORK) -> subprocess.Popen[str]:
    """A watcher over every task of the repository, running on one that no manifest declares."""
    scene.reconcile("task", "create", "Do a")
    watcher = scene.watch("-f", str(scene.wanted(life, "commit whole", tasks=[])))
    until((scene.out / f"reached.{scene.only_task()}.there").exists, by=watcher)
    return watcher


def kept(scene: Scene, task: str) -> bool:
    """True when everything that was done for a task is where its agent left it."""
    notes = scene.worktrees / task / "notes"
    return notes.exists() and scene.git("log", "--format=%s", f"agent/{task}").split() == ["half", "Begin"]


@pytest.mark.parametrize("agent", ["lives", "died"])
def test_orphan_a_task_closed_while_nobody_watched_is_cleared_up_and_its_work_saved(scene: Scene, agent: str) -> None:
    """A person closed the task: its agent ends, the worktree goes, files are saved, commits stay on their branch."""
    watcher = scene.work_begins(WORK)
    end(watcher) if agent == "lives" else scene.crash(watcher)
    task = scene.only_task()
    scene.reconcile("task", "close", task)

    said = scene.reconcile("diff", code=1)
    scene.until_done()

    assert ("StopAgent" if agent == "lives" else "RemoveWorktree") in said and task in said
    assert [scene.git("show", f"{ref}:notes") for ref in scene.salvages()] == ["precious\n"]
    assert scene.leftovers() == [f"agent/{task}"]
    assert scene.git("log", "--format=%s", f"agent/{task}").split() == ["half", "Begin"]
    assert (scene.runs(), scene.subjects()) == (["1"], ["Begin"])


def test_orphan_a_deleted_task_keeps_its_worktree_and_goes_on_when_it_comes_back(scene: Scene) -> None:
    """What the store no longer holds is not known to be done: nothing is removed, and `prune --all` names it."""
    scene.crash(orphaned(scene))
    task, store = scene.only_task(), scene.root / ".beads/issues.jsonl"
    before = store.read_text()
    store.write_text("")

    scene.until_done()
    said = scene.reconcile("prune", "--all", "--dry-run")

    assert kept(scene, task) and f"would remove {scene.worktrees / task}" in said
    store.write_text(before)
    scene.until_done()
    assert scene.runs() == ["1", "2"]
    assert scene.said("visitors.2").count("\n") == 2
    assert scene.tasks()["Do a"]["status"] == "closed" and {"half", "whole"} <= scene.landed()
    assert scene.leftovers() == []


def test_orphan_an_agent_whose_task_was_deleted_works_on_and_is_named(scene: Scene) -> None:
    """Its task is gone, the agent is not: it is neither ended nor started again, and `status` says how to end it."""
    end(orphaned(scene))
    task = scene.only_task()
    (scene.root / ".beads/issues.jsonl").write_text("")

    watcher = scene.watch()
    said = scene.reconcile("status")

    assert f"reconcile stop {task}" in said
    assert scene.starts[0][2] in scene.processes() and len(scene.starts) == 1
    assert kept(scene, task)
    end(watcher)


@pytest.mark.parametrize("orphans", [False, True])
def test_orphan_a_closed_task_of_no_manifest_is_cleared_up_only_where_that_is_asked_for(
    scene: Scene, orphans: bool
) -> None:
    """Its manifest was forgotten: `prune --dry-run` names the worktree; `prune.orphans` removes it, its files saved."""
    scene.crash(scene.work_begins(WORK))
    task = scene.only_task()
    scene.reconcile("delete", "work")
    scene.reconcile("task", "close", task)
    other = scene.wanted(titles=("Do b",), prune={"orphans": orphans})
    other.write_text(other.read_text().replace("name: work", "name: other"))

    scene.reconcile("apply", "-f", str(other))

    said = scene.reconcile("prune", "--dry-run")
    assert (str(scene.worktrees / task) in said) is not orphans
    assert kept(scene, task) is not orphans
    assert [scene.git("show", f"{ref}:notes") for ref in scene.salvages()] == ["precious\n"] * orphans
    assert scene.git("log", "--format=%s", f"agent/{task}").split() == ["half", "Begin"]


# --- records deleted while agents run ----------------------------------------------------------------------


def restarted(scene: Scene, watcher: subprocess.Popen[str], *, supervisors: bool = False) -> subprocess.Popen[str]:
    """The watcher that follows one that was killed, with what supervises the agents or without."""
    end(watcher)
    if supervisors:
        scene.kill_supervisors()
    return scene.watch()


def test_records_without_the_history_nothing_is_started_twice(scene: Scene) -> None:
    """`rm -rf .beads/orchestrator` under agents running, then the watcher killed: nobody notices."""
    watcher = scene.work_begins("reach there; await go; commit done.$task", titles=("Do a", "Do b"))

    removed(scene.root / ".beads/orchestrator")
    watcher = restarted(scene, watcher)
    scene.let("go")

    ended(watcher)
    assert watcher.returncode == 0
    assert len(scene.starts) == 2
    scene.converged("Do a", "Do b")


@pytest.mark.parametrize("killed", ["nobody", "the watcher", "the watcher and the supervisor"])
def test_records_without_any_run_nothing_is_started_twice_and_nothing_is_lost(scene: Scene, killed: str) -> None:
    """The runs folder removed too: held locks keep a second agent away; how the first one ended is forgotten, not its work."""
    first = "commit half; reach there; await go; commit whole; echo precious > notes"
    watcher = scene.work_begins(first, "true")

    removed(scene.root / ".beads/orchestrator")
    removed(scene.root / ".git/reconcile/runs")
    if killed != "nobody":
        watcher = restarted(scene, watcher, supervisors="supervisor" in killed)
    seen = scene.entries()["Do a"]["waiting"]["reason"]
    assert (seen, len(scene.starts)) == ("AgentRunning", 1)
    scene.let("go")

    ended(watcher)
    assert watcher.returncode == 0
    assert len(scene.starts) == 2
    assert {"half", "whole"} <= scene.landed()
    assert [scene.git("show", f"{ref}:notes") for ref in scene.salvages()] == ["precious\n"]
    scene.converged()


def test_records_without_any_run_no_check_runs_twice_at_a_time(scene: Scene) -> None:
    """The runs folder removed under a check: it is waited for and then repeated, as nobody can say how it ended."""
    watcher = scene.checking_begins("commit done", "true")

    removed(scene.root / ".git/reconcile/runs")
    watcher = restarted(scene, watcher)
    assert scene.said("checks").count("x") == 1
    scene.let("check")

    ended(watcher)
    assert watcher.returncode == 0
    assert scene.said("checks").count("x") == scene.said("green").count("\n") == 2
    scene.converged()
