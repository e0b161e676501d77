"""The program as a stranger uses it: real commands in a real repository, with a shell one-liner for an agent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from strangers import AGENT, EXAMPLES, Place, merged
from waiting import ended, until


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_manifest_goes_in_and_merged_work_comes_out(place: Place) -> None:
    manifest = place.manifest()

    planned = place.json("diff", "-f", str(manifest), code=1)
    assert [a["action"] for a in planned["epics"][0]["actions"]] == ["CreateTask"] * 3
    assert not (place.root / ".beads").exists()

    applied = place.json("apply", "-f", str(manifest))
    assert [a["action"] for a in applied["actions"]][:3] == ["CreateTask"] * 3
    place.reconcile("watch", "--until-done")

    merged(place, "Do a", "Do b")
    assert place.json("diff")["epics"][0]["converged"] is True


def test_what_diff_shows_is_what_apply_does_first(place: Place) -> None:
    manifest = place.manifest()

    shown = place.json("diff", "-f", str(manifest), code=1)["epics"][0]["actions"]
    done = place.json("apply", "-f", str(manifest))["actions"]

    assert [(a["action"], a["task"]) for a in shown] == [(a["action"], a["task"]) for a in done[: len(shown)]]


def test_apply_can_wait_for_the_end(place: Place) -> None:
    place.reconcile("apply", "-f", str(place.manifest()), "--wait")

    merged(place, "Do a", "Do b")


def test_the_watcher_may_be_killed_at_any_time(place: Place) -> None:
    manifest = place.manifest(tasks=[{"key": k, "title": f"Do {k}"} for k in "abcd"])
    place.reconcile("apply", "-f", str(manifest))
    for delay in (0.3, 0.5, 0.7, 0.4, 0.6, 0.8):
        watcher = place.start("watch", "--until-done")
        time.sleep(delay)
        watcher.kill()
        watcher.communicate()

    place.reconcile("watch", "--until-done")

    merged(place, "Do a", "Do b", "Do c", "Do d")
    runs = list((place.root / ".git/reconcile/runs/work").glob("*/*/run.json"))
    assert len(runs) == 4


def test_a_second_watcher_is_turned_away_and_named_the_first(place: Place) -> None:
    place.reconcile("apply", "-f", str(place.manifest(agent={"argv": ["sleep", "600"]})))
    first = place.start("watch")
    until(lambda: f"{first.pid}" in (place.root / ".git/reconcile/locks/reconciler").read_text(), by=first)

    said = place.reconcile("watch", code=5)
    first.send_signal(signal.SIGINT)
    ended(first)

    assert f"pid {first.pid}" in said
    assert first.returncode == 130
    place.reconcile("stop", "--all")
    assert place.leftovers() != []  # the worktree stays; the agent does not
    assert not [each for each in place.leftovers() if each.startswith("/proc")]


def test_a_bad_manifest_is_refused_with_its_place_and_nothing_is_changed(place: Place) -> None:
    manifest = place.manifest()
    manifest.write_text(manifest.read_text().replace("maxAgents", "maxAgents").replace("kind: command", "kind: comand"))

    said = place.reconcile("apply", "-f", str(manifest), code=2)

    assert "epic.yaml:" in said and "spec.agent.kind" in said and "command" in said
    assert not (place.root / ".git/reconcile/manifests").exists()


def test_a_manifest_that_depends_on_what_nobody_has_is_refused_with_its_place_and_can_still_be_forgotten(
    place: Place,
) -> None:
    made = place.json("task", "create", "By hand")["id"]
    manifest = place.manifest(tasks=[{"key": "a", "title": "Do a", "dependsOn": [made]}])
    place.reconcile("diff", "-f", str(manifest), code=1)
    manifest.write_text(manifest.read_text().replace(made, "no-such-task"))

    for command in ("diff", "apply", "watch"):
        said = place.reconcile(command, "-f", str(manifest), code=2)
        assert "epic.yaml:" in said and "spec.tasks[0].dependsOn[0]: 'no-such-task' is neither a key" in said
    assert "no manifest 'work'" in place.reconcile("delete", "-f", str(manifest), code=2)


def named(place: Place, name: str, **spec: object) -> Path:
    """A manifest of another name; without `tasks` in it where it has an epic."""
    path = place.manifest(f"{name}.yaml", **spec)
    document = yaml.safe_load(path.read_text())
    document["metadata"]["name"] = name
    if "epic" in spec:
        document["spec"].pop("tasks")
    path.write_text(yaml.safe_dump(document))
    return path


def test_nobody_names_as_an_epic_what_another_manifest_works_on(place: Place, tmp_path: Path) -> None:
    until_told = f"until [ -e {tmp_path / 'go'} ]; do sleep 0.1; done; {AGENT}"
    e = named(place, "e", tasks=[{"key": "a", "title": "Do a"}], agent={"argv": ["sh", "-c", until_told]})
    place.reconcile("apply", "-f", str(e))
    work, epic = place.tasks()["Do a"]["id"], place.tasks()["e"]["id"]
    b = named(place, "b", epic=work)
    clash = f"{work} is the task 'a' that the manifest e declares"
    hint = f"name a task that others are children of ({epic} is that of e)"

    for command in ("diff", "apply", "watch"):
        said = place.reconcile(command, "-f", str(b), code=2)
        assert f"b: spec.epic: {clash}" in said and hint in said
    assert [epic["name"] for epic in place.json("status")["epics"]] == ["e"]
    assert "All is well" in place.reconcile("doctor", code=None)

    # As an older program has recorded it, which refused nothing.
    recorded = place.root / ".git" / "reconcile" / "manifests"
    document = yaml.safe_load((recorded / "e.yaml").read_text())
    document = {**document, "source": str(b), "spec": {**document["spec"], "epic": work, "tasks": []}}
    (recorded / "b.yaml").write_text(json.dumps(document))
    said = f"EpicIsWork: its epic {clash}; {hint}"
    assert said in place.reconcile("diff", code=None) and clash in place.reconcile("doctor", code=1)
    shown = {epic["name"]: epic for epic in place.json("status")["epics"]}
    degraded = {each["type"]: each["reason"] for each in shown["b"]["conditions"] if each["status"] == "True"}
    assert degraded["Degraded"] == "EpicIsWork" and [task["id"] for task in shown["e"]["tasks"]] == [work]
    (tmp_path / "go").touch()
    place.reconcile("apply", "-f", str(e), "--wait")
    assert place.subjects() == ["Do a", "Begin"]


def test_a_rebase_that_its_agent_left_unfinished_is_saved_and_said_so(place: Place) -> None:
    manifest = place.manifest(
        tasks=[{"key": "a", "title": "Do a"}],
        mergePolicy={"review": "human"},
        agent={"argv": ["sh", "-c", 'echo theirs > same; git add .; git commit -qm "Try $(date +%s%N)"']},
    )
    place.reconcile("apply", "-f", str(manifest), "--wait", code=3)
    [task] = [t["id"] for t in place.json("status")["epics"][0]["tasks"]]
    place.reconcile("task", "update", task, "--status", "blocked")
    (place.root / "same").write_text("ours\n")
    place.git("add", "same")
    place.git("commit", "-m", "The same")
    worktree = place.root.parent / "worktrees" / task
    subprocess.run(["git", "-C", str(worktree), "rebase", "main"], capture_output=True, check=False)
    (worktree / "same").write_text("both, by hand\n")
    [run] = [each for each in place.json("get", "runs") if each["kind"] == "work"]
    began = datetime.fromisoformat(run["startedAt"]).timestamp()  # whose a rebase is, its date says
    os.utime(place.root / ".git/worktrees" / task / "rebase-merge/head-name", (began, began))

    place.reconcile("task", "update", task, "--status", "open")
    told = place.reconcile("apply", "-f", str(manifest), "--wait", code=3)

    assert f"{task}  WorkSaved  saved what no branch holds, as refs/reconcile/salvage/{task}/1" in told
    assert place.git("show", f"refs/reconcile/salvage/{task}/1:same").strip() == "both, by hand"
    assert "WorkSaved" in place.reconcile("describe", task)


def test_a_rejected_change_goes_back_and_an_approved_one_lands(place: Place) -> None:
    agent = 'date +%s%N > "$RECONCILE_TASK.txt"; cat "$RECONCILE_PROMPT" > prompt.txt; git add .; git commit -qm "Try"'
    manifest = place.manifest(
        tasks=[{"key": "a", "title": "Do a"}],
        mergePolicy={"review": "human"},
        agent={"argv": ["sh", "-c", agent]},
    )
    place.reconcile("apply", "-f", str(manifest), "--wait", code=3)
    [task] = [t["id"] for t in place.json("status")["epics"][0]["tasks"]]
    assert place.json("status")["epics"][0]["tasks"][0]["waiting"]["reason"] == "AwaitingApproval"

    place.reconcile("reject", task, "-m", "name it better")
    place.reconcile("watch", "--until-done", code=3)
    assert "name it better" in place.git("show", f"agent/{task}:prompt.txt")
    place.reconcile("approve", task)
    place.reconcile("watch", "--until-done")

    assert place.subjects() == ["Do a", "Begin"]


def test_a_hopeless_task_is_handed_to_a_person_and_retried_at_their_word(place: Place) -> None:
    manifest = place.manifest(
        tasks=[{"key": "a", "title": "Do a"}],
        agent={"argv": ["sh", "-c", f"test -e {place.root.parent}/fixed && {AGENT}"], "maxAttempts": 2},
    )
    place.reconcile("apply", "-f", str(manifest), "--wait", code=3)
    [task] = [t["id"] for t in place.json("status")["epics"][0]["tasks"]]
    found = place.tasks()["Do a"]
    assert found["status"] == "blocked" and "needs-human" in found["labels"] and "reconcile retry" in found["notes"]

    (place.root.parent / "fixed").touch()
    place.reconcile("retry", task)
    place.reconcile("watch", "--until-done")

    merged(place, "Do a")


def test_unrelated_edits_and_a_tracked_store_in_the_checkout_do_no_harm(place: Place) -> None:
    (place.root / ".beads").mkdir()
    (place.root / ".beads/issues.jsonl").write_text("")
    place.git("add", "--force", ".beads/issues.jsonl")
    place.git("commit", "--quiet", "--message=Track the store")
    (place.root / "README").write_text("hello, edited\n")
    (place.root / "scratch").write_text("mine\n")
    manifest = place.manifest(mergePolicy={"checks": ["test -e README"]})

    place.reconcile("apply", "-f", str(manifest), "--wait")

    assert (place.root / "README").read_text() == "hello, edited\n"
    assert (place.root / "scratch").read_text() == "mine\n"
    assert place.subjects()[:2] == ["Do b", "Do a"]
    changed = [line for line in place.git("status", "--porcelain").splitlines() if ".beads" not in line]
    assert changed == [" M README", "?? scratch"]


def test_an_edit_in_the_way_holds_only_what_touches_it(place: Place) -> None:
    agent = 'echo changed > README; git commit -qam "Change the readme"'
    manifest = place.manifest(tasks=[{"key": "a", "title": "Do a"}], agent={"argv": ["sh", "-c", agent]})
    (place.root / "README").write_text("mine\n")

    place.reconcile("apply", "-f", str(manifest), "--wait", code=3)

    waiting = place.json("status")["epics"][0]["tasks"][0]["waiting"]
    assert waiting["reason"] == "CheckoutInTheWay" and "README" in waiting["message"]
    assert (place.root / "README").read_text() == "mine\n"
    place.git("checkout", "README")
    place.reconcile("watch", "--until-done")
    assert (place.root / "README").read_text() == "changed\n"


def test_a_manifest_that_breaks_while_watched_holds_its_epic_and_says_why(place: Place) -> None:
    manifest = place.manifest(agent={"argv": ["sleep", "600"]})
    watcher = place.start("watch", "-f", str(manifest))
    until(lambda: [epic for epic in place.json("status")["epics"] if epic["counts"]["working"] == 1], by=watcher)

    good = manifest.read_text()
    manifest.write_text(good + "  nonsense: 1\n")
    held = place.root / ".git/reconcile/status/work.json"
    until(lambda: "ManifestInvalid" in held.read_text(), by=watcher)
    assert place.json("status")["epics"][0]["counts"]["working"] == 1
    manifest.write_text(good)
    until(lambda: "ManifestInvalid" not in held.read_text(), by=watcher)

    watcher.send_signal(signal.SIGTERM)
    ended(watcher)
    assert watcher.returncode == 143
    place.reconcile("stop", "--all")


def test_a_watch_in_a_pipe_says_what_stands_in_its_way_and_when_nothing_does_any_more(place: Place) -> None:
    store = place.root / ".beads" / "issues.jsonl"
    place.reconcile("apply", "-f", str(place.manifest(agent={"argv": ["sleep", "600"]})))
    tasks = store.read_text()
    store.write_text("<<<<<<< no task\n")

    watcher = place.start("watch")
    held = place.root / ".git/reconcile/status/work.json"
    until(lambda: "TrackerUnavailable" in held.read_text(), by=watcher)
    whole = store.with_suffix(".whole")
    whole.write_text(tasks)
    whole.replace(store)
    until(lambda: "TrackerUnavailable" not in held.read_text(), by=watcher)

    watcher.send_signal(signal.SIGTERM)
    said, then, *_ = [line.partition("  ")[2] for line in ended(watcher)[1].splitlines()]
    assert said.startswith("work: TrackerUnavailable: its tasks can't be read: ") and "issues.jsonl" in said
    assert then == "work: no longer blocked"
    place.reconcile("stop", "--all")


def test_an_agent_cannot_approve_itself(place: Place) -> None:
    agent = f'{AGENT}; {sys.executable} -m reconciler approve "$RECONCILE_TASK"; echo said $? > said; git add .; git commit -qm said'
    manifest = place.manifest(tasks=[{"key": "a", "title": "Do a"}], agent={"argv": ["sh", "-c", agent]})

    place.reconcile("apply", "-f", str(manifest), "--wait")

    assert place.git("show", "main:said") == "said 1\n"


def test_an_agent_that_rewrites_the_watched_manifest_lands_nothing_unchecked(place: Place) -> None:
    checks = {"checks": ["test ! -e RED"], "protectedPaths": []}
    agent = f"""touch RED; {AGENT}; sed -i 's/test ! -e RED/exit 0/; s/maxAgents: 1/maxAgents: 9/' ../../epic.yaml"""
    manifest = place.manifest(
        tasks=[{"key": "a", "title": "Do a"}],
        agent={"argv": ["sh", "-c", agent], "maxAttempts": 1},
        mergePolicy=checks,
        maxAgents=1,
    )

    place.reconcile("watch", "-f", str(manifest), "--until-done", code=3)
    place.reconcile("watch", "-f", str(manifest), "--until-done", code=3)

    assert place.git("ls-tree", "--name-only", "main").split() == ["README"]
    said = place.reconcile("status")
    assert "mergePolicy.checks" in said and "test ! -e RED" in said and "maxAgents: 1 -> 9" in said
    assert f"reconcile apply -f {manifest}" in said
    place.reconcile("apply", "-f", str(manifest), code=None)
    assert "LooseningWithheld" not in place.reconcile("status")


def test_the_five_task_example_works_as_its_readme_says(place: Place) -> None:
    site = place.root.parent / "site"
    subprocess.run(("cp", "-R", f"{EXAMPLES}/five-tasks/.", site), check=True)
    place.root = site
    place.git("init", "--quiet", "--initial-branch=main")
    place.git("config", "user.name", "Stranger")
    place.git("config", "user.email", "stranger@localhost")
    place.git("add", ".")
    place.git("commit", "--quiet", "--message=Begin")

    place.reconcile("diff", "-f", "epic.yaml", code=1)
    place.reconcile("watch", "-f", "epic.yaml", "--until-done")

    assert len(place.subjects()) == 6
    assert (site / "index.txt").read_text().splitlines() == [
        "./about.html", "./contact.html", "./home.html", "./layout.html",
    ]  # fmt: skip
    assert place.leftovers() == []


def test_the_demo_ends_green_and_says_what_it_mended(place: Place) -> None:
    said = place.reconcile("demo")

    assert "parser: its checks failed" in said
    assert "command: its agent was killed" in said
    assert "conflicted with what had landed before" in said
    assert "Write the release notes" in said


@pytest.mark.parametrize(
    ("limit", "reason", "how"),
    [
        ("stuckAfter", "Stuck", "kill -STOP $PPID"),
        ("timeout", "TimedOut", "kill -STOP $PPID"),
        pytest.param(
            "timeout", "TimedOut", "(while :; do kill -STOP $PPID; done) & trap '' TERM", marks=pytest.mark.slow
        ),
    ],
    ids=["stuck", "timeout", "again and again"],
)
def test_an_agent_that_stops_its_supervisor_is_ended_at_its_time_all_the_same(
    place: Place, limit: str, reason: str, how: str
) -> None:
    agent = {"argv": ["sh", "-c", f"{how}; exec sleep 613"], "maxAttempts": 1, limit: "3s"}
    manifest = str(place.manifest(tasks=[{"key": "a", "title": "Do a"}], agent=agent))
    begun = time.monotonic()

    # Nothing but the limit itself wakes it: it looks by itself only every ten minutes.
    place.reconcile("watch", "-f", manifest, "--interval", "10m", "--until-done", code=3)

    assert time.monotonic() - begun < 300
    assert place.json("status")["epics"][0]["tasks"][0]["waiting"]["reason"] == reason
    place.reconcile("watch", "--until-done", code=3)
    assert not [each for each in place.leftovers() if "environ" in each]
