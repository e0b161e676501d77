"""The guide that people know from shell scripts: each of its lines typed for real, most of them beside a running watch."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typed import WORK, Shell
from waiting import ended, until

from reconciler.cli import COMMANDS

ROOT = Path(__file__).parents[2]
# What the guide's table of commands holds.
RECIPES = {
    "orchestrate", "orchestrate-epic", "orchestrate-status", "orchestrate-preview", "orchestrate-help",
    "worker", "merger", "worktree-clean", "worktree-remove", "test-crash-recovery",
}  # fmt: skip


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A repository on `master` with the recipes in it."""
    shell = Shell(tmp_path)
    shell.git("branch", "--move", "main", "master")
    shell.type("reconcile init --justfile")
    yield shell
    shell.reconcile("stop", "--all", code=None)


@contextmanager
def watching(shell: Shell) -> Iterator[subprocess.Popen[str]]:
    """`reconcile watch` in the background, over every task; still there at the end."""
    path = shell.root / "reconcile.yaml"
    watch = subprocess.Popen(
        ("reconcile", "watch", "--interval", "3s", "-f", str(path)),  # file events may be lost
        cwd=shell.root, env=shell.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield watch
        assert watch.poll() is None, watch.communicate()
    finally:
        watch.send_signal(signal.SIGTERM)
        ended(watch)


def pid(shell: Shell, task: str) -> str:
    """What the guide reads with jq: the pid of a task's agent; "null" where none runs."""
    if shutil.which("jq"):
        return shell.type(f"""jq -r '."{task}".pid' .beads/orchestrator/state.json""", code=None).strip()
    found = re.search(rf'"{re.escape(task)}": {{\s*"pid": "(\d+)"', state(shell))
    return found[1] if found else "null"


def state(shell: Shell) -> str:
    file = shell.root / ".beads/orchestrator/state.json"
    return file.read_text() if file.exists() else "{}"


def closed(shell: Shell, *tasks: str) -> bool:
    return all(shell.task(task)["status"] == "closed" for task in tasks)


def landed(shell: Shell) -> list[str]:
    return shell.git("log", "--format=%s", "master").splitlines()


# --- quick start, commands -------------------------------------------------------------------------------------


def test_the_quick_start_does_what_it_says(shell: Shell) -> None:
    shell.settings()

    def made(line: str) -> str:
        return shell.type(line).split()[-1]

    epic = made('reconcile task create "Epic: Feature X" -p 0')
    first = made(f'reconcile task create "Implement component A" -p 1 --parent {epic}')
    last = made(f'reconcile task create "Write integration tests" -p 1 --parent {epic}')
    shell.type(f"reconcile task dep add {last} {first}")
    before = shell.type("just orchestrate-status", cwd=shell.root)
    previews = [shell.type(f"just {line}", code=1) for line in ("orchestrate --dry-run", "orchestrate-preview")]

    shell.type(f"just orchestrate --epic {epic} --max-agents 2")

    assert "Ready (1)" in before and first in before
    assert all("StartAgent" in shown and "error" not in shown for shown in previews)
    assert closed(shell, epic, first, last)
    assert landed(shell) == ["Write integration tests", "Implement component A", "Begin"]
    assert "2/2 closed" in shell.type("just orchestrate-status")
    assert shell.type("just worktree-clean").strip() == "nothing to remove"
    assert shell.leftovers() == []


def test_one_worker_and_the_merger_need_nothing_else(shell: Shell) -> None:
    shell.settings()
    task = shell.made("Alone")

    shell.type(f"just worker {task}")
    shell.type(f"reconcile logs -f {task}")
    preview = shell.type("just merger --dry-run", code=1)
    shell.type("just merger")

    assert "OpenPullRequest" in preview and "run 'reconcile merge' to do this" in preview
    assert closed(shell, task) and landed(shell) == ["Alone", "Begin"]
    assert "Nothing left to merge" in shell.type("just merger")


def test_tasks_are_written_as_with_bd_in_the_short_words_too(shell: Shell) -> None:
    epic = json.loads(shell.type("reconcile task create 'Feature X' -t epic -p P0 -l ui,docs --json"))
    task = json.loads(shell.type(f"reconcile task create Lexer --parent {epic['id']} --labels ui -l tests --json"))

    assert (epic["issue_type"], epic["priority"], sorted(epic["labels"])) == ("epic", 0, ["docs", "ui"])
    assert sorted(task["labels"]) == ["tests", "ui"]
    shell.type(f"reconcile task update {task['id']} -s blocked -a ann")
    assert task["id"] in shell.type("reconcile task list -s blocked")
    shell.type(f"reconcile task close {task['id']} -r 'Not needed'")
    assert shell.task(task["id"])["close_reason"] == "Not needed"


def test_whose_agent_it_is_that_a_run_can_not_change_is_said_by_name_when_all_is_done_too(shell: Shell) -> None:
    shell.reconcile("apply", "--wait", "-f", str(shell.manifest(tasks=[{"key": "a", "title": "A"}])))

    assert "the manifest work names the agent" in shell.type("reconcile run --agent 'sh work.sh' --dry-run", code=2)


def test_an_epic_has_a_shorthand_and_an_unknown_one_is_refused(shell: Shell) -> None:
    epic, [task] = shell.epic("Do a")
    shell.settings()

    assert "no task" in shell.type("just orchestrate-epic no-such-1", code=2)
    shell.type(f"just orchestrate-epic {epic} --max-agents 1")

    assert closed(shell, task)


def test_what_is_typed_reaches_the_command_word_by_word(shell: Shell) -> None:
    task = shell.made("Do a")

    shell.type(f"""just worker {task} --agent {shlex.quote(f"sh -c '{WORK}; touch /tmp/x; rm /tmp/x'")}""")
    said = shell.type("just worker '$(touch pwned); touch pwned'", code=2)

    assert "is not a task's id" in said and not (shell.root / "pwned").exists()


def test_every_recipe_of_the_guide_is_there_for_a_stranger_and_for_us(shell: Shell) -> None:
    for justfile in (shell.root / "justfile", ROOT / "justfile"):
        names = shell.type(f"just --justfile {shlex.quote(str(justfile))} --summary").split()
        assert set(names) >= RECIPES
    listed = shell.type("just orchestrate-help")
    assert all(re.search(rf"^ +{name}\b.*# \w", listed, re.MULTILINE) for name in RECIPES)


def test_a_killed_orchestrator_goes_on_where_it_left_off(shell: Shell) -> None:
    epic, tasks = shell.epic("Do a", "Do b")
    shell.settings(f"sleep 1; {WORK}")
    run = shell.start("run", "--epic", epic)
    until(lambda: shell.attempts(tasks[0]), by=run)
    run.kill()
    run.communicate()

    shell.type("just orchestrate-status")
    shell.type(f"just orchestrate --epic {epic}")

    assert sorted(landed(shell)) == ["Begin", "Do a", "Do b"]
    assert [shell.attempts(task) for task in tasks] == [1, 1]


# --- troubleshooting, beside a running watch -------------------------------------------------------------------


def test_a_stuck_agent_is_found_killed_and_started_again_at_once(shell: Shell) -> None:
    fixed = shell.root.parent / "fixed"
    shell.settings(f"test -e {fixed} || sleep 600; {WORK}")
    path = shell.root / "reconcile.yaml"
    path.write_text(path.read_text().replace("initial: 1s", "initial: 10m").replace("max: 1s", "max: 10m"))
    task = shell.made("Do a")
    with watching(shell) as watch:
        until(lambda: pid(shell, task).isdecimal(), by=watch)
        found = pid(shell, task)
        shell.type("git status", cwd=shell.root.parent / "worktrees" / task)
        assert found in shell.type(f"ps -p {found}")
        fixed.touch()

        shell.type(f"kill {found}")
        shell.type(f"just worker {task}")

        until(lambda: closed(shell, task), by=watch)
        until(lambda: shell.leftovers() == [], by=watch)
    assert shell.attempts(task) == 2 and landed(shell) == ["Do a", "Begin"]
    assert task not in state(shell)


def test_a_worktree_and_its_branch_may_be_thrown_away_and_the_task_begun_again(shell: Shell) -> None:
    fixed = shell.root.parent / "fixed"
    shell.settings(f"echo bad > bad; git add .; git commit -qm bad; sleep 1; test -e {fixed} || exit 1; {WORK}")
    path = shell.root / "reconcile.yaml"
    path.write_text(path.read_text().replace("initial: 1s", "initial: 10m").replace("max: 1s", "max: 10m"))
    task = shell.made("Do a")
    with watching(shell) as watch:
        until(lambda: "Backoff" in shell.reconcile("describe", task, "-o", "json", code=None), by=watch)
        until(lambda: pid(shell, task) == "null", by=watch)
        fixed.touch()

        # git itself stops where another worktree, of a check, goes while it looks at all of them; people type it again then.
        shell.type(
            f"git worktree remove ../worktrees/{task} --force || git worktree remove ../worktrees/{task} --force"
        )
        shell.type(f"git branch -D agent/{task} || git branch -D agent/{task}")
        shell.type(f'reconcile task update {task} --status open --remove-label "phase:working"')

        until(lambda: closed(shell, task), by=watch)
        until(lambda: shell.leftovers() == [], by=watch)
    assert landed(shell) == ["Do a", "Begin"] and shell.attempts(task) == 2


def test_a_branch_may_be_rebased_and_pushed_by_hand(shell: Shell) -> None:
    origin = shell.root.parent / "origin.git"
    shell.git("init", "--quiet", "--bare", "--initial-branch=master", str(origin))
    shell.git("remote", "add", "origin", str(origin))
    shell.git("push", "--quiet", "--set-upstream", "origin", "master")
    shell.settings(f"{WORK}; git push --quiet --set-upstream origin HEAD", mergePolicy={"review": "human"})
    task = shell.made("Do a")
    worktree = shell.root.parent / "worktrees" / task
    with watching(shell) as watch:
        until(lambda: 'pr_number": "1' in state(shell), by=watch)
        (shell.root / "README").write_text("hello, and more\n")
        shell.type('git commit -qam "Meanwhile" && git push -q')
        before = shell.git("rev-parse", f"agent/{task}")

        shell.type("git fetch origin master", cwd=worktree)
        shell.type("git rebase origin/master", cwd=worktree)
        shell.type("git push --force-with-lease", cwd=worktree)

        after = shell.git("rev-parse", f"agent/{task}")
        assert shell.git("ls-remote", "origin", f"agent/{task}").split()[0] == after.strip() != before.strip()
        time.sleep(1)
        assert shell.git("rev-parse", f"agent/{task}") == after
        shell.type(f"reconcile approve {task}")
        until(lambda: closed(shell, task), by=watch)
    assert landed(shell) == ["Do a", "Meanwhile", "Begin"] and shell.attempts(task) == 1


def test_worktrees_are_cleaned_up_without_losing_what_is_in_them(shell: Shell) -> None:
    shell.settings(f"{WORK}; echo kept > loose", mergePolicy={"review": "human"})
    tasks = [shell.made("Do a"), shell.made("Do b")]
    with watching(shell) as watch:
        until(lambda: state(shell).count("pr_number") == 2, by=watch)
        assert all(task in shell.type("git worktree list") for task in tasks)

        shell.type(f"just worktree-remove {tasks[0]}")
        shell.type("just worktree-clean")

        assert not any(task in shell.type("git worktree list") for task in tasks)
        for task in tasks:
            shell.type(f"reconcile approve {task}")
        until(lambda: closed(shell, *tasks), by=watch)
    assert sorted(landed(shell)) == ["Begin", "Do a", "Do b"]
    assert [shell.attempts(task) for task in tasks] == [1, 1]
    refs = shell.git("for-each-ref", "--format=%(refname)", "refs/reconcile/salvage").split()
    assert [shell.git("show", f"{ref}:loose") for ref in refs] == ["kept\n", "kept\n"]


def test_the_questions_of_the_guide_are_answered_beside_a_watch(shell: Shell) -> None:
    shell.settings("sleep 600")
    first, second = shell.made("Do a"), shell.made("Do b")
    shell.type(f"reconcile task dep add {second} {first}")
    with watching(shell) as watch:
        until(lambda: "phase:working" in shell.task(first).get("labels", []), by=watch)
        assert first in shell.type("just orchestrate-status")
        assert first in shell.type("reconcile task list --status in_progress")
        assert second not in shell.type("reconcile task ready")
        assert second in shell.type("reconcile task list --json")
        if shutil.which("jq"):
            query = """jq '.[] | select(.labels[]? | contains("phase:working"))'"""
            assert first in shell.type(f"reconcile task list --json | {query}")


def test_the_readme_maps_every_recipe_and_only_commands_that_there_are() -> None:
    section = (ROOT / "docs" / "coming-from-scripts.md").read_text("utf-8")

    assert set(re.findall(r"`just ([a-z-]+)", section)) == RECIPES
    assert set(re.findall(r"`reconcile ([a-z]+)", section)) <= set(COMMANDS)
    assert "bd sync" in section and "cat .beads/issues/*.jsonl" in section


# --- init --justfile -------------------------------------------------------------------------------------------


def test_recipes_are_brought_in_once(shell: Shell) -> None:
    files = {name: (shell.root / name).read_bytes() for name in ("justfile", "reconcile.just", "reconcile.yaml")}

    shell.type("reconcile init --justfile")

    assert {name: (shell.root / name).read_bytes() for name in files} == files
    assert files["reconcile.just"] == (ROOT / "manifests/reconcile.just").read_bytes()


def test_what_somebody_changed_is_not_overwritten(shell: Shell) -> None:
    (shell.root / "reconcile.just").write_text("mine:\n    true\n")
    (shell.root / "reconcile.yaml").unlink()

    said = shell.type("reconcile init --justfile", code=2)

    assert "reconcile.just" in said and "nothing was written" in said
    assert (shell.root / "reconcile.just").read_text() == "mine:\n    true\n"
    assert not (shell.root / "reconcile.yaml").exists()


def test_a_justfile_that_is_there_is_left_alone_and_its_owner_told_what_to_add(shell: Shell) -> None:
    (shell.root / "justfile").rename(shell.root / "Justfile")
    (shell.root / "Justfile").write_text("mine:\n    @echo mine\n")

    said = shell.type("reconcile init --justfile")

    assert (shell.root / "Justfile").read_text() == "mine:\n    @echo mine\n"
    [line] = re.findall(r"add this line to Justfile: +(.*)", said)
    with (shell.root / "Justfile").open("a") as file:
        file.write(f"{line}\n")
    assert shell.type("just mine") == "mine\n" and "orchestrate" in shell.type("just --summary")
    assert "imports them already" in shell.type("reconcile init --justfile")


def test_the_settings_that_are_brought_in_name_no_agent_and_say_so(shell: Shell) -> None:
    task = shell.made("Do a")

    said = shell.type("just orchestrate", code=2)

    assert "put-your-agent-here" in said and "reconcile.yaml" in said
    assert shell.attempts(task) == 0 and "labels" not in shell.task(task)
