"""`run`, `spawn`, `take`, `release`, `suspend`, `resume`: a person's word, beside a watch or without one."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from strangers import Place
from typed import WORK, Shell
from waiting import ended, run, until

from reconciler.manifest import Recorded
from reconciler.model.desired import EpicSpec

SLOW = f"sleep 600; {WORK}"


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    yield shell
    shell.reconcile("stop", "--all", code=None)


@contextmanager
def watching(place: Place, *args: str) -> Iterator[subprocess.Popen[str]]:
    """A watch that runs beside what is typed, and is still there at the end."""
    watch = place.start("watch", "--interval", "3s", *args)  # file events may be lost
    lock = place.root / ".git/reconcile/locks/reconciler"
    until(lambda: lock.exists() and str(watch.pid) in lock.read_text(), by=watch)
    try:
        yield watch
        assert watch.poll() is None, watch.communicate()
    finally:
        watch.send_signal(signal.SIGTERM)
        ended(watch)


def recorded(place: Place) -> dict[str, EpicSpec]:
    found = Recorded(place.root / ".git/reconcile").load()
    return {spec.name: spec for spec in found.epics}


def website(place: Place, **spec: object) -> str:
    """A manifest of a person's own, whose name comes late in the alphabet."""
    path = place.manifest("website.yaml", tasks=[], **spec)
    path.write_text(path.read_text().replace("name: work", "name: website"))
    return str(path)


def closed(place: Shell, *tasks: str) -> bool:
    return all(place.task(task)["status"] == "closed" for task in tasks)


def waiting(place: Shell) -> list[str]:
    """Why the tasks of the one manifest wait."""
    [epic] = place.json("status")["epics"]
    return [task["waiting"]["reason"] for task in epic["tasks"] if task["waiting"]]


# --- run -------------------------------------------------------------------------------------------------------


def test_a_run_works_off_an_epic_and_nothing_else(shell: Shell) -> None:
    epic, tasks = shell.epic("Do a", "Do b")
    other = shell.made("Not asked for")
    shell.settings()

    shell.reconcile("run", "--epic", epic, "--max-agents", "1")

    assert closed(shell, epic, *tasks) and shell.task(other)["status"] == "open"
    assert sorted(shell.subjects()) == ["Begin", "Do a", "Do b"]
    assert shell.leftovers() == []
    assert recorded(shell)[f"run-{epic}"].max_agents == 1


def test_a_run_without_an_epic_works_off_every_task(shell: Shell) -> None:
    _, tasks = shell.epic("Do a")
    alone = shell.made("Do b")
    shell.settings()

    shell.reconcile("run")

    assert closed(shell, alone, *tasks)


def test_where_no_agent_is_known_a_run_says_what_to_write_and_changes_nothing(shell: Shell) -> None:
    epic, _ = shell.epic("Do a")

    said = shell.reconcile("run", "--epic", epic, code=2)

    assert "no agent is known" in said and "reconcile.yaml" in said and "--agent" in said and "RECONCILE_AGENT" in said
    assert recorded(shell) == {}
    said = shell.reconcile("run", "--agent", "no-such-program-here --x", code=2)
    assert "no-such-program-here" in said and recorded(shell) == {}


@pytest.mark.parametrize("where", ["option", "environment", "profile", "manifest"])
def test_an_agent_may_be_named_in_several_places(shell: Shell, where: str) -> None:
    epic, tasks = shell.epic("Do a")
    told: list[str] = []
    match where:
        case "option":
            told = ["--agent", f"sh -c '{WORK}'"]
        case "environment":
            shell.env["RECONCILE_AGENT"] = f"sh -c '{WORK}'"
        case "profile":
            profile = {"apiVersion": "reconcile/v1", "kind": "AgentProfile", "metadata": {"name": "mine"}}
            profile["spec"] = {"kind": "command", "argv": ["sh", "-c", WORK]}
            (shell.root / "reconcile.yaml").write_text(yaml.safe_dump(profile))
        case "manifest":
            shell.reconcile("apply", "-f", str(shell.manifest(tasks=[], epic=shell.epic("Other")[0])))

    shell.reconcile("run", "--epic", epic, *told)

    assert closed(shell, *tasks)


def test_a_dry_run_shows_what_the_run_does_first_and_changes_nothing(shell: Shell) -> None:
    epic, [task] = shell.epic("Do a")
    shell.settings()
    before = sorted(shell.root.glob(".git/reconcile/manifests/*"))

    shown = shell.json("run", "--epic", epic, "--dry-run", code=1)

    assert [(a["action"], a["task"]) for a in shown["epics"][0]["actions"]] == [("StartAgent", task)]
    assert sorted(shell.root.glob(".git/reconcile/manifests/*")) == before and shell.attempts(task) == 0


def test_a_killed_run_called_again_goes_on_where_it_was(shell: Shell) -> None:
    epic, tasks = shell.epic("Do a", "Do b")
    shell.settings(f"sleep 1; {WORK}")
    for delay in (0.8, 0.5):
        run = shell.start("run", "--epic", epic)
        time.sleep(delay)
        run.kill()
        run.communicate()

    shell.reconcile("run", "--epic", epic)

    assert closed(shell, *tasks)
    assert [shell.attempts(task) for task in tasks] == [1, 1]
    assert list(recorded(shell)) == [f"run-{epic}"] and recorded(shell)[f"run-{epic}"].generation == 1


def test_an_epic_that_a_manifest_of_ones_own_covers_is_run_by_that_manifest(shell: Shell) -> None:
    epic, tasks = shell.epic("Do a")
    shell.reconcile("apply", "-f", website(shell, epic=epic, suspend=True))
    shell.reconcile("resume", "website")

    shell.reconcile("run", "--epic", epic)

    assert closed(shell, *tasks) and list(recorded(shell)) == ["website"]
    said = shell.reconcile("run", "--epic", epic, "--agent", "other thing", code=2)
    assert "website" in said


def test_a_run_over_everything_leaves_to_a_manifest_what_is_its_own(shell: Shell) -> None:
    epic, [theirs] = shell.epic("Do a")
    alone = shell.made("Do b")
    shell.reconcile("apply", "-f", website(shell, epic=epic, mergePolicy={"mode": "manual"}))
    shell.settings()

    told = shell.reconcile("run", code=3)

    assert closed(shell, alone) and shell.task(theirs)["status"] != "closed"
    assert sorted(recorded(shell)) == ["run-all", "website"] and told.count(f"\n{theirs}  waits") == 1
    spec = yaml.safe_load((shell.root / f".git/reconcile/runs/work/{theirs}/1/spec.json").read_text())
    assert spec["manifest"] == "website"


def test_what_is_offered_and_covered_by_no_manifest_is_said_by_merge(shell: Shell) -> None:
    epic, [task] = shell.epic("Do a")
    manifest = website(shell, epic=epic, mergePolicy={"review": "human"})
    shell.reconcile("apply", "-f", manifest, "--wait", code=3)
    shell.reconcile("delete", "website")

    told = shell.reconcile("merge", code=3)

    assert f"{task}: #1 is not merged: no manifest covers it" in told and "1 pull request is not merged." in told


def test_the_last_run_wins_over_an_earlier_one(shell: Shell) -> None:
    first, [held] = shell.epic("Do a")
    second, [wanted] = shell.epic("Do b")
    shell.reconcile("task", "update", held, "--status", "blocked")
    shell.settings()
    shell.reconcile("run", "--epic", first, code=3)
    everything = shell.start("run")
    until(lambda: list(recorded(shell)) == ["run-all"], by=everything)
    everything.kill()
    everything.communicate()
    shell.reconcile("task", "update", held, "--status", "open")

    shell.reconcile("run", "--epic", second)

    assert closed(shell, wanted) and not closed(shell, held)
    assert list(recorded(shell)) == [f"run-{second}"]
    # Two epics that have nothing to do with each other stand side by side.
    shell.made("Do c", parent=second)
    shell.reconcile("run", "--epic", first)
    assert closed(shell, held) and sorted(recorded(shell)) == sorted([f"run-{first}", f"run-{second}"])


def test_a_run_beside_a_watch_is_turned_away_and_records_nothing(shell: Shell) -> None:
    epic, _ = shell.epic("Do a")
    shell.settings()
    shell.reconcile("apply", "-f", str(shell.manifest(tasks=[], epic=shell.epic("Other")[0], suspend=True)))

    with watching(shell) as watch:
        said = shell.reconcile("run", "--epic", epic, code=5)

    assert str(watch.pid) in said and list(recorded(shell)) == ["work"]


def test_what_an_agent_changes_in_the_settings_waits_for_a_person(shell: Shell) -> None:
    epic, [task] = shell.epic("Do a")
    shell.settings()
    shell.git("add", "reconcile.yaml")
    shell.git("commit", "--quiet", "--message=Settings")
    shell.settings("sed -i 's/test -e README/true/' reconcile.yaml; git commit -qam weaker")

    shell.git("update-index", "--assume-unchanged", "reconcile.yaml")
    shell.reconcile("run", "--epic", epic, code=3)

    waiting = shell.json("describe", task)["waiting"]
    assert waiting["reason"] in ("AwaitingApproval", "ProtectedPaths") and "reconcile.yaml" in waiting["message"]


@pytest.mark.parametrize(
    ("named", "says"), [("nothing-1", "no task nothing-1"), (None, "no tasks below it"), ("--x", "--x")]
)
def test_what_is_no_epic_is_not_run(shell: Shell, named: str | None, says: str) -> None:
    task = shell.made("A leaf")
    shell.settings()

    assert says in shell.reconcile("run", "--epic", named or task, code=2)


def test_where_manifests_differ_a_run_says_in_what(shell: Shell) -> None:
    for name, method in (("one", "merge"), ("two", "squash")):
        path = shell.manifest(f"{name}.yaml", tasks=[], epic=shell.epic(name)[0], mergePolicy={"method": method})
        path.write_text(path.read_text().replace("name: work", f"name: {name}"))
        shell.reconcile("apply", "-f", str(path))
    alone = shell.made("Do a")

    for command in (["run"], ["spawn", alone], ["run", "--agent", "cat"]):
        said = shell.reconcile(*command, code=2)
        assert "mergePolicy.method differs between the manifests one, two" in said and "reconcile.yaml" in said


# --- spawn -----------------------------------------------------------------------------------------------------


def test_a_task_without_a_manifest_is_worked_on_and_merged_by_word(shell: Shell) -> None:
    task, other, over = shell.made("Do a"), shell.made("Do b"), shell.made("Do c")
    shell.reconcile("task", "close", over)
    shell.git("branch", f"agent/{over}")
    shell.settings()

    shell.reconcile("spawn", task)
    shell.reconcile("logs", "-f", task)
    shell.reconcile("merge")

    assert shell.subjects() == ["Do a", "Begin"] and closed(shell, task)
    assert shell.task(other)["status"] == "open" and recorded(shell) == {}
    assert shell.leftovers() == [f"agent/{over}"]  # nobody asked for anything about it


def test_what_was_spawned_beside_a_manifest_is_shown_as_long_as_it_is_unfinished(shell: Shell) -> None:
    epic, _ = shell.epic("Do a")
    shell.settings()
    shell.reconcile("run", "--epic", epic)
    task = shell.made("Do b")
    shell.settings(f"echo half > half; until test -e ../../go; do sleep 0.1; done; {WORK}")
    assert shell.json("status")["unmanaged"] == []

    def shown() -> dict:
        [entry] = shell.json("status")["unmanaged"]
        said = shell.reconcile("status")
        assert "orphaned" not in said and "Not covered by any manifest (1)" in said and task in said
        described = shell.json("describe", task)
        assert (described["manifest"], described["group"]) == (None, entry["group"])
        assert "none covers it" in shell.reconcile("describe", task)
        return entry

    shell.reconcile("spawn", task)
    assert (shown()["group"], shown()["waiting"]["reason"]) == ("working", "AgentRunning")
    (shell.root.parent / "go").touch()
    shell.reconcile("logs", "-f", task)
    assert "has commits that are in no pull request; 'reconcile merge'" in shown()["waiting"]["message"]
    shell.reconcile("merge")
    assert shell.json("status")["unmanaged"] == [] and closed(shell, task)
    assert "nothing of it is unfinished" in shell.reconcile("describe", shell.made("Do c"), code=2)


def test_a_task_whose_manifest_was_deleted_is_no_orphan_while_its_agent_runs(shell: Shell) -> None:
    epic, [task] = shell.epic("Do a")
    path = shell.manifest(tasks=[], epic=epic, agent={"argv": ["sh", "-c", SLOW]})
    shell.reconcile("apply", "-f", str(path))

    deleted = shell.start("delete", "work")
    assert f"{task}: its agent keeps running" in ended(deleted)[1]
    assert [entry["id"] for entry in shell.json("status")["unmanaged"]] == [task]
    said = shell.reconcile("status")
    assert "orphaned" not in said and "attempt 1" in said

    shell.reconcile("stop", "--all")
    (shell.root.parent / "worktrees" / task / "notes").write_text("half of it\n")
    assert f"are saved: 'reconcile restore {task}'" in shell.reconcile("prune", task)
    assert f"restored/{task}-1" in shell.reconcile("restore", task)
    [entry] = shell.json("status")["unmanaged"]
    assert "in progress in our name, but nothing runs" in entry["waiting"]["message"]


def test_however_often_one_spawns_there_is_one_agent(shell: Shell) -> None:
    task = shell.made("Do a")
    shell.settings(SLOW)

    several = [shell.start("spawn", task) for _ in range(4)]
    printed = [ended(each) for each in several]

    assert [each.returncode for each in several] == [0, 0, 0, 0], printed
    assert shell.attempts(task) == 1


def test_a_spawn_beside_a_watch_waits_for_no_backoff_and_nothing_is_done_twice(shell: Shell) -> None:
    fixed = shell.root.parent / "fixed"
    agent = {"argv": ["sh", "-c", f"test -e {fixed} || exit 1; {WORK}"], "backoff": {"initial": "10m", "max": "10m"}}
    manifest = shell.manifest(tasks=[{"key": "a", "title": "Do a"}], agent=agent)
    with watching(shell, "-f", str(manifest)) as watch:
        until(lambda: (shell.root / ".beads/issues.jsonl").exists() and "Do a" in shell.tasks(), by=watch)
        task = shell.tasks()["Do a"]["id"]
        until(lambda: shell.json("describe", task)["waiting"]["reason"] == "Backoff", by=watch)
        fixed.touch()

        shell.reconcile("spawn", task)

        until(lambda: closed(shell, task), by=watch)
    assert shell.subjects() == ["Do a", "Begin"] and shell.attempts(task) == 2


def test_what_is_saved_before_a_spawned_agent_starts_is_said_and_kept(shell: Shell) -> None:
    task = shell.made("Do a")
    begun = "git switch -qc other HEAD~; echo other > same; git add .; git commit -qm Other; git rebase -q $RECONCILE_BRANCH"
    shell.settings(f"echo one > same; git add .; git commit -qm One; {begun}; echo half > same; exit 1")
    shell.reconcile("spawn", task)
    shell.reconcile("logs", "-f", task)

    told = shell.reconcile("spawn", task)

    assert f"{task}  WorkSaved  saved what no branch holds, as refs/reconcile/salvage/{task}/1" in told
    assert "WorkSaved" in shell.reconcile("describe", task)
    assert shell.git("show", f"refs/reconcile/salvage/{task}/1:same") == "half\n" and shell.attempts(task) == 2


def test_a_spawn_starts_one_agent_however_fast_that_ends(shell: Shell) -> None:
    task = shell.made("Do a")
    shell.settings("exit 1")
    look = "from time import sleep; from reconciler.loop.loop import Loop; look = Loop._look"
    slow = "Loop._look = lambda *args: sleep(0.5) or look(*args)"  # it has ended by the time of the next look
    words = (sys.executable, "-c", f"{look}; {slow}; from reconciler.cli import main; main()", "spawn", task)

    done = run(words, cwd=shell.root, env=shell.env)

    assert done.returncode == 0 and shell.attempts(task) == 1, done.stderr


def test_a_spawn_leaves_alone_what_a_watch_remembers_of_its_manifests(shell: Shell) -> None:
    shell.reconcile("apply", "-f", str(shell.manifest(tasks=[{"key": "a", "title": "Do a"}], suspend=True)))
    status = shell.root / ".git/reconcile/status/work.json"
    before, task = status.read_text(), shell.made("Do b")
    shell.settings(SLOW)

    shell.reconcile("spawn", task)

    assert status.read_text() == before and [e["event"] for e in shell.json("get", "events", task)] == ["ActionDone"]


@pytest.mark.parametrize("how", ["stopped", "handed over"])
def test_a_task_that_was_given_up_begins_anew_when_it_is_spawned(shell: Shell, how: str) -> None:
    fixed = shell.root.parent / "fixed"
    script = f"test -e {fixed} || {'sleep 600' if how == 'stopped' else 'exit 1'}; {WORK}"
    task = shell.made("Do a")
    shell.settings(script)
    path = shell.root / "reconcile.yaml"
    path.write_text(path.read_text().replace("backoff:", "maxAttempts: 1\n    backoff:"))
    if how == "stopped":
        shell.reconcile("spawn", task)
        shell.reconcile("stop", task)
    else:
        shell.reconcile("run", code=3)
        assert "needs-human" in shell.task(task)["labels"]
    fixed.touch()

    said = shell.json("spawn", task)

    assert [each["action"] for each in said["actions"]] == ["RetryTask", "StartAgent"]
    shell.reconcile("run")
    assert closed(shell, task) and shell.subjects() == ["Do a", "Begin"]


@pytest.mark.parametrize(
    ("why", "code", "says"),
    [
        ("closed", 1, "is closed"),
        ("blocked", 1, "blocked by"),
        ("by hand", 1, "its status is 'blocked'"),
        ("epic", 2, "is an epic"),
        ("elsewhere", 1, "assigned to ann"),
        ("taken", 1, "reconcile release"),
        ("no slot", 1, "NoAgentSlot"),
        ("unknown", 2, "no task"),
        ("suspended", 1, "Suspended"),
        ("broken", 1, "AgentBroken"),
    ],
)
def test_a_spawn_that_can_not_be_is_refused_with_the_reason_and_changes_nothing(
    shell: Shell, why: str, code: int, says: str
) -> None:
    task = shell.made("Do a")
    script, most = SLOW, 1
    match why:
        case "closed":
            shell.reconcile("task", "close", task)
        case "blocked":
            shell.reconcile("task", "dep", "add", task, shell.made("First"))
        case "by hand":
            shell.reconcile("task", "update", task, "--status", "blocked")
        case "epic":
            shell.made("Below", parent=task)
        case "elsewhere":
            shell.reconcile("task", "update", task, "--assignee", "ann")
        case "taken":
            shell.reconcile("take", task)
        case "no slot":
            shell.settings(script, maxAgents=most)
            shell.reconcile("spawn", shell.made("Other"))
        case "unknown":
            task = "project-nothing1"
        case "suspended":
            whole = shell.manifest(tasks=[], suspend=True)
            shell.reconcile("apply", "-f", str(whole))
        case "broken":
            script, most = "exit 1", 4
            shell.reconcile("task", "update", task, "--status", "blocked")
            [shell.made(f"Other {n}") for n in range(3)]
            shell.settings(script, maxAgents=most)
            shell.reconcile("run", code=3)
            shell.reconcile("task", "update", task, "--status", "open")
    shell.settings(script, maxAgents=most)
    before = (shell.root / ".beads/issues.jsonl").read_text()

    said = shell.reconcile("spawn", task, code=code)

    assert says in said
    assert (shell.root / ".beads/issues.jsonl").read_text() == before and shell.attempts(task) == 0


# --- merge -----------------------------------------------------------------------------------------------------


def test_a_merger_beside_a_watch_that_merges_by_itself_is_turned_away(shell: Shell) -> None:
    with watching(shell, "-f", str(shell.manifest(tasks=[], epic="project-none"))):
        assert "it does this by itself" in shell.reconcile("merge", code=5)


@pytest.mark.parametrize(
    ("policy", "says"), [("block", "needs attention"), ("agent", "'reconcile watch' has it fixed")]
)
def test_a_merger_says_whether_what_it_leaves_needs_a_person(shell: Shell, policy: str, says: str) -> None:
    agent = {"argv": ["sh", "-c", "echo theirs > README; git commit -qam theirs"]}
    merge = {"mode": "manual", "onConflict": policy}
    manifest = shell.manifest(tasks=[{"key": "a", "title": "Do a"}], agent=agent, mergePolicy=merge)
    shell.reconcile("apply", "-f", str(manifest), "--wait", code=3)
    (shell.root / "README").write_text("ours\n")
    shell.git("commit", "--quiet", "-am", "Ours")

    said = shell.reconcile("merge", code=3)

    theirs = shell.git("show", "--no-patch", "--format=%h Ours").strip()
    assert f"conflicts with main in README, where main has {theirs}; {says}" in said
    assert "1 pull request is not merged" in said and "by itself" not in said


def test_beside_a_watch_a_person_has_merged_what_waits_for_that_and_nothing_else(shell: Shell) -> None:
    tasks = [{"key": key, "title": f"Do {key}"} for key in "abc"]
    agent = {"argv": ["sh", "-c", f'case "$(cat $RECONCILE_PROMPT)" in *"Do c"*) sleep 600;; esac; {WORK}']}
    manifest = shell.manifest(tasks=tasks, agent=agent, maxAgents=3, mergePolicy={"mode": "manual"})
    with watching(shell, "-f", str(manifest)) as watch:
        until(lambda: waiting(shell).count("AwaitingMerge") == 2, by=watch)
        assert shell.subjects() == ["Begin"]

        said = shell.json("merge")

        assert sorted(shell.subjects()) == ["Begin", "Do a", "Do b"]
        assert [act["action"] for act in said["actions"]] == ["Merge", "Merge"]
        assert closed(shell, *(act["task"] for act in said["actions"]))
        assert shell.tasks()["Do c"]["status"] == "in_progress"
        assert "nothing waits for a merge" in ended(shell.start("merge"))[1]


def test_a_word_to_merge_is_kept_for_the_head_that_it_was_said_of(shell: Shell) -> None:
    manifest = shell.manifest(tasks=[{"key": "a", "title": "Do a"}], mergePolicy={"mode": "manual"})
    shell.reconcile("apply", "-f", str(manifest), "--wait", code=3)
    task = shell.tasks()["Do a"]["id"]
    (shell.root / f"{task}.txt").write_text("in the way\n")
    with watching(shell) as watch:
        said = shell.reconcile("merge", code=3)
        assert "uncommitted changes to files that merging it would change" in said
        (shell.root / f"{task}.txt").unlink()
        until(lambda: closed(shell, task), by=watch)
    assert shell.subjects() == ["Do a", "Begin"]


def test_a_commit_after_the_word_to_merge_asks_again(shell: Shell) -> None:
    manifest = shell.manifest(tasks=[{"key": "a", "title": "Do a"}], mergePolicy={"mode": "manual"})
    shell.reconcile("apply", "-f", str(manifest), "--wait", code=3)
    task = shell.tasks()["Do a"]["id"]
    (shell.root / f"{task}.txt").write_text("in the way\n")
    with watching(shell) as watch:
        shell.reconcile("merge", "--no-wait")
        worktree = shell.root.parent / "worktrees" / task
        shell.git("commit", "--quiet", "--allow-empty", "--message=More", cwd=worktree)
        (shell.root / f"{task}.txt").unlink()
        until(lambda: waiting(shell) == ["AwaitingMerge"], by=watch)
        time.sleep(1)
        assert shell.subjects() == ["Begin"]


def test_an_epic_is_described_by_its_tasks(shell: Shell) -> None:
    epic, [first, second] = shell.epic("Do a", "Do b")
    shell.reconcile("task", "close", first)
    shell.reconcile("apply", "-f", str(shell.manifest(tasks=[], epic=epic, suspend=True)))

    told, said = shell.json("describe", epic), shell.reconcile("describe", epic)

    assert (told["id"], told["type"], told["status"]) == (epic, "epic", "open")
    assert [(task["id"], task["status"], task["manifest"]) for task in told["tasks"]] == [
        (first, "closed", "work"), (second, "open", "work"),
    ]  # fmt: skip
    assert "an epic, open: 1 of its 2 tasks closed" in said and f"{second}  open    work  Do b" in said
    assert "no task project-none" in shell.reconcile("describe", "project-none", code=2)


# --- what they answer ------------------------------------------------------------------------------------------


def test_what_a_person_did_is_told_to_programs_as_a_plan_is(shell: Shell) -> None:
    manifest = shell.manifest(tasks=[{"key": "a", "title": "Do a"}], maxAgents=0)
    [planned, *_] = shell.json("diff", "-f", str(manifest), code=1)["epics"][0]["actions"]
    shell.reconcile("apply", "-f", str(manifest))
    task = shell.tasks()["Do a"]["id"]

    words = (("take", task), ("release", task), ("retry", task), ("suspend", "work"), ("delete", "work"))
    told = [shell.json(*each) for each in (*words, ("init", "new.yaml"))]

    assert [each.keys() for each in told] == [{"actions", "waiting", "unknown"}] * 6
    events = [event for event in shell.json("get", "events") if event["event"] == "PersonActed"]
    assert [event["action"] for event in events] == [
        "Take",
        "Release",
        "RetryTask",
        "SuspendManifest",
        "DeleteManifest",
    ]
    assert "RetryTask: reset: attempts start again at 1" in shell.reconcile("get", "events", task)
    assert [act.keys() for each in told for act in each["actions"]] == [planned.keys()] * 6


@pytest.mark.parametrize("why", ["AgentRunning", "WorktreeInUse", "NestedRepository", "Taken"])
def test_what_is_kept_when_clearing_up_waits_as_everything_else_does(shell: Shell, why: str) -> None:
    nest = "git init --quiet inner; " if why == "NestedRepository" else ""
    agent = {"argv": ["sh", "-c", f"{nest}{WORK}" if why != "AgentRunning" else SLOW]}
    manifest = shell.manifest(tasks=[{"key": "a", "title": "Do a"}], agent=agent, mergePolicy={"mode": "manual"})
    shell.reconcile("apply", "-f", str(manifest))
    task = shell.tasks()["Do a"]["id"]
    tree = shell.root.parent / "worktrees" / task
    if why != "AgentRunning":
        shell.reconcile("logs", "-f", task)
    if why == "Taken":
        assert f"yours, in {tree}" in shell.reconcile("take", task)
    person = subprocess.Popen(("sleep", "600"), cwd=tree) if why == "WorktreeInUse" else None

    told, named = shell.json("prune", "--all"), shell.json("prune", task, code=1)

    if person:
        person.kill()
        person.wait()
    [kept] = told["waiting"]
    assert (set(kept), kept["task"], kept["reason"]) == ({"task", "reason", "message"}, task, why)
    assert named["waiting"] == told["waiting"]
    assert tree.is_dir() and str(tree) in kept["message"] and told["actions"] == []


# --- stop, retry -----------------------------------------------------------------------------------------------


def test_a_task_that_is_stopped_before_it_runs_is_said_to_wait(shell: Shell) -> None:
    task = shell.made("Do a")

    said = shell.reconcile("stop", task)

    assert "nothing ran" in said and f"reconcile retry {task}" in said
    assert "reconcile:stopped" in shell.task(task)["labels"]


@pytest.mark.parametrize("command", ["stop", "retry"])
def test_what_is_no_work_can_be_neither_stopped_nor_retried(shell: Shell, command: str) -> None:
    epic, [task] = shell.epic("Do a")
    shell.reconcile("task", "close", task)
    before = shell.tasks()

    assert "is an epic" in shell.reconcile(command, epic, code=2)
    assert "no task project-none" in shell.reconcile(command, "project-none", code=2)
    assert command == "retry" or "is closed" in shell.reconcile(command, task, code=1)
    assert shell.tasks() == before


# --- take, release, suspend, resume ----------------------------------------------------------------------------


def test_a_task_of_no_manifest_that_a_person_takes_is_shown_as_theirs(shell: Shell) -> None:
    task = shell.made("Do a")
    shell.reconcile("take", task)
    before = shell.reconcile("describe", task)
    shell.reconcile("apply", "-f", str(shell.manifest(maxAgents=0, tasks=[{"key": "z", "title": "Do z"}])))

    [entry] = shell.json("status")["unmanaged"]

    assert (entry["id"], entry["waiting"]["reason"]) == (task, "Taken") and "reconcile release" in before
    shown = shell.reconcile("status")
    assert "\n\nNot covered by any manifest (1)" in shown and "\n\n\n" not in shown
    assert "taken over by a person" in shell.reconcile("describe", task)


def test_what_a_person_takes_is_touched_by_nobody_until_it_is_released(shell: Shell) -> None:
    released = shell.root.parent / "released"
    agent = {"argv": ["sh", "-c", f"test -e {released} || sleep 600; {WORK}"]}
    manifest = shell.manifest(tasks=[{"key": "a", "title": "Do a"}], agent=agent)
    with watching(shell, "-f", str(manifest)) as watch:
        until(lambda: (shell.root / ".beads/issues.jsonl").exists() and "Do a" in shell.tasks(), by=watch)
        task = shell.tasks()["Do a"]["id"]
        until(lambda: "phase:working" in shell.task(task).get("labels", []), by=watch)

        said = shell.reconcile("take", task)
        worktree = shell.root.parent / "worktrees" / task
        (worktree / "mine").write_text("by hand\n")
        shell.git("add", "mine", cwd=worktree)
        shell.git("commit", "--quiet", "--message=By hand", cwd=worktree)
        before = shell.task(task)
        time.sleep(2)

        assert "reconcile release" in said
        assert shell.task(task) == before and shell.attempts(task) == 1
        assert shell.json("describe", task)["waiting"]["reason"] == "Taken"
        assert not [each for each in shell.leftovers() if each.startswith("/proc")]
        released.touch()
        shell.reconcile("release", task)
        until(lambda: closed(shell, task), by=watch)
    assert shell.git("show", "main:mine") == "by hand\n"
    assert shell.attempts(task) == 2


def test_what_a_person_puts_off_is_not_landed_until_it_is_set_open_again(shell: Shell) -> None:
    epic, [task, other] = shell.epic("Do a", "Do b")
    shell.reconcile(
        "apply", "--wait", "-f", str(shell.manifest(tasks=[], epic=epic, mergePolicy={"review": "human"})), code=3
    )
    for each, status in ((task, "deferred"), (other, "blocked")):
        shell.reconcile("task", "update", each, "--status", status)
        shell.reconcile("approve", each)
    before = [shell.task(task), shell.task(other)]

    shell.reconcile("watch", "--until-done", code=3)

    assert shell.subjects() == ["Begin"] and [shell.task(task), shell.task(other)] == before
    assert waiting(shell) == ["Deferred", "Blocked"]
    assert "its status is 'blocked'; set it to 'open' to continue" in shell.reconcile("status")
    for each in (task, other):
        shell.reconcile("task", "update", each, "--status", "open")
    shell.reconcile("watch", "--until-done")
    assert closed(shell, epic, task, other) and shell.attempts(task) == shell.attempts(other) == 1
    assert shell.leftovers() == []


def test_a_suspended_manifest_starts_nothing_until_it_is_resumed(shell: Shell) -> None:
    epic, [task] = shell.epic("Do a")
    manifest = shell.manifest(tasks=[], epic=epic, maxAgents=0)
    shell.reconcile("apply", "-f", str(manifest))
    shell.reconcile("suspend", "work")
    assert recorded(shell)["work"].generation == 2 and recorded(shell)["work"].suspend is True
    shell.reconcile("suspend", "work")
    assert recorded(shell)["work"].generation == 2

    with watching(shell, "-f", str(manifest)) as watch:
        # To begin a watch on a file is to say again what it says.
        until(lambda: recorded(shell)["work"].suspend is False, by=watch)
        shell.reconcile("suspend", "work")
        manifest.write_text(manifest.read_text())
        until(lambda: recorded(shell)["work"].suspend is False, by=watch)
        shell.reconcile("suspend", "work")
        time.sleep(1)
        assert recorded(shell)["work"].suspend is True and shell.attempts(task) == 0
        assert watch.poll() is None

    assert "work is resumed, because its file does not say 'suspend: true'" in "".join(watch.communicate())

    manifest.write_text(manifest.read_text().replace("maxAgents: 0", "maxAgents: 1\n  suspend: true"))
    shell.reconcile("apply", "-f", str(manifest))
    shell.reconcile("resume", "work")
    shell.reconcile("watch", "--until-done")
    assert closed(shell, task)


def test_whoever_applies_a_manifest_hears_whether_it_is_suspended(shell: Shell) -> None:
    manifest = shell.manifest(agent={"argv": ["sh", "-c", SLOW]}, tasks=[{"key": "a", "title": "Do a"}])
    shell.reconcile("apply", "-f", str(manifest))
    task = shell.tasks()["Do a"]["id"]
    suspended = shell.type("reconcile suspend work")
    waits = shell.json("describe", task)["waiting"]
    resumed = shell.type(f"reconcile apply -f {manifest}")
    again = manifest.read_text().replace("spec:", "spec:\n  suspend: true").replace("name: work", "name: other")
    manifest.write_text(again)
    new = shell.type(f"reconcile apply -f {manifest}")

    assert f"{task}: its agent keeps running; 'reconcile stop {task}' stops it" in suspended
    assert waits["reason"] == "Suspended" and waits["message"].startswith(
        "attempt 1 is running; then nothing is done until"
    )
    assert "work is resumed, because its file does not say 'suspend: true'" in resumed and "loosens" not in resumed
    assert "applied other (base main, suspended)" in new
    assert "'other' is suspended: 'reconcile resume other' carries on." in new


@pytest.mark.parametrize("command", ["suspend", "resume"])
def test_what_is_not_recorded_can_not_be_suspended(shell: Shell, command: str) -> None:
    shell.reconcile("apply", "-f", str(shell.manifest(suspend=True)))

    said = shell.reconcile(command, "wrok", code=2)

    assert "wrok" in said and "did you mean 'work'" in said


@pytest.mark.parametrize(
    "words",
    [
        ("run",),
        ("spawn", "x-1"),
        ("take", "x-1"),
        ("release", "x-1"),
        ("suspend", "work"),
        ("resume", "work"),
        ("stop", "x-1"),
        ("stop", "--all"),
    ],
    ids=" ".join,
)
def test_agents_do_not_widen_their_own_powers(shell: Shell, words: tuple[str, ...]) -> None:
    shell.settings()
    shell.env["RECONCILE_RUN"] = "work/x-1/1"

    assert "refused inside a run" in shell.reconcile(*words, code=1)


@pytest.mark.parametrize("command", ["take", "release"])
@pytest.mark.parametrize("what", ["epic", "closed", "unknown"])
def test_only_work_that_is_not_over_can_be_taken(shell: Shell, command: str, what: str) -> None:
    epic, [task] = shell.epic("Do a")
    shell.reconcile("task", "close", task)

    code = 1 if what == "closed" else 2

    said = shell.reconcile(command, {"epic": epic, "closed": task, "unknown": "x-1"}[what], code=code)

    assert what != "closed" or f"'reconcile task update {task} --status open' begins it again" in said


@pytest.mark.parametrize("command", ["take", "release", "stop", "spawn", "retry"])
def test_what_is_merged_is_begun_again_only_in_so_many_words(shell: Shell, command: str) -> None:
    shell.settings()
    task = shell.made("Do a")
    shell.reconcile("task", "update", task, "--add-label", "phase:merged")
    shell.reconcile("task", "close", task)

    said = shell.reconcile(command, task, code=1)

    assert f"'reconcile retry {task} --reopen' does it again" in said and "--status open" not in said
