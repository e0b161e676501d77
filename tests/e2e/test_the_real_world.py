"""Real `bd`, `gh` and `claude` on one project: all of it lands and is closed, wherever tasks and pull requests are kept."""

from __future__ import annotations

import subprocess
import sys

import pytest
import real_world
from real_world import CHECK, TITLES, Project
from waiting import run, until

pytestmark = pytest.mark.xdist_group("claude")  # two at a time would wait for each other's processors


def green(project: Project) -> bool:
    """The checks pass on the base as it is now, in a clean checkout."""
    checkout = project.root.parent / "green"
    project.git("worktree", "add", "--quiet", "--detach", str(checkout), "main")
    return subprocess.run(("sh", "-c", CHECK), cwd=checkout, env=project.env, capture_output=True).returncode == 0


def test_without_what_tests_need_it_says_what_to_install():
    bare = run((sys.executable, "-S", real_world.__file__))

    assert bare.returncode == 1 and "install what tests need" in bare.stderr and "Traceback" not in bare.stderr


def test_what_beads_asks_for_is_done_by_claude_and_merged_on_github():
    with real_world.project() as project:
        watcher = project.start("watch", "--until-done", "-f", str(project.manifest()))
        until(lambda: project.git("branch", "--list", "agent/*"), by=watcher)
        watcher.kill()  # nobody is there to see what happens next
        watcher.communicate()

        said = project.reconcile("watch", "--until-done")

        beads = project.beads()
        assert {title: beads[title]["status"] for title in beads} == dict.fromkeys(
            (*TITLES, "Build the shop"), "closed"
        ), said
        assert all("phase:merged" in beads[title]["labels"] for title in TITLES)
        assert sorted(project.landed()) == sorted(TITLES)
        pulls = [project.app.pull(number) for number in (1, 2, 3)]
        assert {pull.state for pull in pulls} == {"MERGED"}
        assert project.git("rev-parse", "main", "origin/main").split() == [project.app.head("main")] * 2
        assert project.app.bare.heads().keys() == {"main"}
        assert project.leftovers() == []
        assert green(project)
        assert project.json("status")["epics"][0]["spend"]["tokens"] > 0


def test_the_same_manifest_ends_the_same_without_beads_and_github():
    with real_world.project() as project:
        project.without_beads()

        project.reconcile("watch", "--until-done", "-f", str(project.manifest(tracker="jsonl", forge="local")))

        tasks = project.tasks()
        assert {tasks[title]["status"] for title in (*TITLES, "shop")} == {"closed"}
        assert all("phase:merged" in tasks[title]["labels"] for title in TITLES)
        assert sorted(project.subjects()[:-1]) == sorted(TITLES)
        assert project.leftovers() == []
        assert green(project)
