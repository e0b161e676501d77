"""The commands that only look: tables and arrays of what there is, pull requests, fields, schemas, and the TAB key."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
import yaml
from strangers import Place
from waiting import ended, run, until

from reconciler import cli

AGENT = r"""
case "$(cat "$RECONCILE_PROMPT")" in
    *to-fail*) exit 3 ;;
    *to-sleep*) echo new > untracked; exec sleep 600 ;;
esac
printf 'one\ntwo\n' > work.txt; printf 'a\0b' > bin; git add .; git commit -qm "Begin $(printf '\033[31m')red"
printf 'one\nthree \033]0;owned\007\n' > work.txt; git commit -qam "Go on"
"""
TASKS = [
    {"key": "good", "title": "Write it", "description": "to-write"},
    {"key": "bad", "title": "Try it", "description": "to-fail"},
    {"key": "slow", "title": "Sleep on it", "description": "to-sleep"},
    {"key": "later", "title": "End it", "dependsOn": ["good"]},
]


class Inside(Place):
    """The program called within this process: what it says is the same, and a hundred calls are over in seconds."""

    def reconcile(self, *args: str, code: int | None = 0) -> str:
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        with (
            contextlib.chdir(self.root),
            mock.patch.dict(os.environ, self.env, clear=True),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            ended = cli.called(args)
        said, complaint = (stream.buffer.getvalue().decode() for stream in (out, err))
        assert code is None or ended == code, (args, ended, said, complaint)
        return said if code in (0, None) else said + complaint


def elsewhere(root: Path, env: dict[str, str]) -> Inside:
    """The program in a folder that is no new repository."""
    place = Inside.__new__(Inside)
    place.root, place.env = root, env
    return place


def watched(place: Place, *args: str, enough: Callable[[], object]) -> None:
    """Watch until something can be seen, then stop watching; agents run on."""
    watcher = place.start("watch", *args)
    try:
        until(enough, by=watcher)
    finally:
        watcher.send_signal(signal.SIGINT)
        ended(watcher)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """One task offered, one that failed, one running, one that waits."""
    place = Inside(tmp_path_factory.mktemp("busy"))
    path = place.manifest(
        tasks=TASKS,
        maxAgents=3,
        agent={"argv": ["sh", "-c", AGENT], "maxAttempts": 1},
        mergePolicy={"review": "human", "checks": []},
    )
    store, pull = place.root / ".beads/issues.jsonl", place.root / ".git/refs/reconcile/pr/1"
    slow = place.root.parent / "worktrees"
    try:
        watched(
            place,
            "-f",
            str(path),
            enough=lambda: pull.exists() and "needs-human" in store.read_text() and list(slow.glob("*/untracked")),
        )
        yield place
    finally:
        place.reconcile("stop", "--all")


@pytest.fixture
def damaged(busy: Inside, tmp_path: Path) -> Inside:
    """A copy of the busy repository that a test may break."""
    copy = elsewhere(tmp_path / "project", busy.env)
    shutil.copytree(busy.root, copy.root, symlinks=True)
    recorded = copy.root / ".git/reconcile/manifests/work.yaml"
    recorded.write_text(recorded.read_text().replace(str(busy.root.parent), str(tmp_path)))
    return copy


def id_of(place: Place, title: str) -> str:
    return place.tasks()[title]["id"]


def rows(place: Place, *args: str) -> dict[str, dict]:
    """What an array holds, by task."""
    return {row["task"] if "task" in row else row["id"]: row for row in place.json(*args)}


# --- get -----------------------------------------------------------------------------------------------------


def test_tasks_say_where_each_of_them_stands(busy: Inside) -> None:
    found = {row["title"]: row for row in busy.json("get", "tasks")}

    assert {title: row["group"] for title, row in found.items()} == {
        "Write it": "review",
        "Try it": "needsHuman",
        "Sleep on it": "working",
        "End it": "blocked",
    }
    assert {row["manifest"] for row in found.values()} == {"work"}
    assert found["Write it"]["waiting"]["reason"] == "AwaitingApproval"
    status = busy.json("status")["epics"][0]["tasks"]
    assert [set(row) - {"manifest"} for row in found.values()] == [set(task) for task in status]


def test_a_task_of_two_manifests_is_listed_once_as_its_owner_sees_it(tmp_path: Path) -> None:
    place = Inside(tmp_path)
    made = place.json("task", "create", "Do it")["id"]
    for name in ("beta", "alpha"):
        path = place.manifest(tasks=[], suspend=True)
        path.write_text(path.read_text().replace("name: work", f"name: {name}"))
        place.reconcile("apply", "-f", str(path), code=None)

    [found] = place.json("get", "tasks")

    assert (found["id"], found["manifest"], found["waiting"]["reason"]) == (made, "alpha", "Suspended")
    assert [row["name"] for row in place.json("get", "manifests")] == ["alpha", "beta"]


def test_runs_say_how_they_ended(busy: Inside) -> None:
    found = rows(busy, "get", "runs")

    good, bad, slow = (found[id_of(busy, title)] for title in ("Write it", "Try it", "Sleep on it"))
    assert (good["exit"]["code"], bad["exit"]["code"], slow["exit"]) == (0, 3, None)
    assert (good["pid"], slow["state"]) == (None, "running")
    assert Path(f"/proc/{slow['pid']}").exists()
    assert good["id"] == f"work/{good['task']}/1" and (good["kind"], good["n"], good["attempt"]) == ("work", 1, 1)
    assert good["startedAt"] <= good["endedAt"] and slow["endedAt"] is None


def test_worktrees_say_what_is_in_no_commit_and_who_works_there(busy: Inside) -> None:
    found = rows(busy, "get", "worktrees")

    good, slow = (found[id_of(busy, title)] for title in ("Write it", "Sleep on it"))
    assert (good["changed"], good["run"], good["fault"]) == (0, None, None)
    assert (slow["changed"], slow["run"]["state"]) == (1, "running")
    assert good["branch"] == f"agent/{good['task']}"
    assert good["head"] == busy.git("rev-parse", good["branch"]).strip()
    assert (busy.root / good["worktree"]).resolve() == Path(good["path"]).resolve()


def test_looking_into_a_worktree_runs_nothing_that_its_agent_configured(busy: Inside, tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    busy.git("config", "core.fsmonitor", f"touch {proof}; true")
    busy.git("config", "filter.evil.clean", f"touch {proof}; cat")
    tree = Path(rows(busy, "get", "worktrees")[id_of(busy, "Write it")]["path"])
    (tree / ".gitattributes").write_text("* filter=evil diff=evil\n")
    (tree / "work.txt").write_text("changed\n")
    try:
        assert rows(busy, "get", "worktrees")[tree.name]["changed"] == 2
        assert not proof.exists()
    finally:
        (tree / ".gitattributes").unlink()
        busy.git("config", "--unset", "core.fsmonitor")
        busy.git("config", "--remove-section", "filter.evil")
        busy.git("checkout", "--quiet", "work.txt", cwd=tree)


def test_worktrees_of_a_forgotten_manifest_are_still_found(damaged: Inside) -> None:
    damaged.reconcile("delete", "work")
    damaged.git("worktree", "add", "--quiet", "-b", "agent/x-1", str(damaged.root.parent / "elsewhere" / "x-1"))

    assert "x-1" in rows(damaged, "get", "worktrees")


def test_pull_requests_say_what_is_known_about_them(busy: Inside) -> None:
    [pull] = busy.json("get", "prs")

    assert pull["task"] == id_of(busy, "Write it")
    assert (pull["number"], pull["state"], pull["review"], pull["url"]) == (1, "open", "required", None)
    assert pull["head"] == busy.git("rev-parse", f"agent/{pull['task']}").strip()


def test_events_are_the_history_newest_last(busy: Inside) -> None:
    everything = busy.json("get", "events")
    task = id_of(busy, "Write it")

    assert [event["at"] for event in everything] == sorted(event["at"] for event in everything)
    assert busy.json("get", "events", "-n", "2") == everything[-2:]
    assert busy.json("get", "events", "-n", "0") == []
    assert busy.json("get", "events", "--since", "1h") == everything
    mine = busy.json("get", "events", "--task", task)
    assert mine == busy.json("get", "events", task) and {event["task"] for event in mine} == {task}
    assert "OpenPullRequest" in [event.get("action") for event in mine]


def test_old_events_are_left_out_where_only_new_ones_are_asked_for(damaged: Inside) -> None:
    history = damaged.root / ".beads/orchestrator/events.jsonl"
    history.write_text('{"at": "2020-01-01T00:00:00.000000Z", "event": "Old"}\n{"event": "Undated"}\n')

    assert [event["event"] for event in damaged.json("get", "events")] == ["Old", "Undated"]
    assert damaged.json("get", "events", "--since", "30m") == []


def test_manifests_say_how_they_stand(busy: Inside) -> None:
    [found] = busy.json("get", "manifests")

    assert (found["name"], found["generation"], found["observedGeneration"]) == ("work", 1, 1)
    assert found["source"] == str(busy.root.parent / "epic.yaml") and found["suspended"] is False
    conditions = {each["type"]: each["status"] for each in found["conditions"]}
    assert (conditions["Converged"], conditions["Degraded"]) == ("False", "False")


@pytest.mark.parametrize("kind", ["tasks", "runs", "worktrees", "prs", "events"])
def test_a_task_narrows_every_kind_and_the_singular_will_do(busy: Inside, kind: str) -> None:
    task = id_of(busy, "Write it")

    found = busy.json("get", kind.removesuffix("s"), task)

    assert {row.get("task", row.get("id")) for row in found} == {task}


@pytest.mark.parametrize("kind", ["tasks", "runs", "worktrees", "prs", "manifests"])
def test_a_name_that_nothing_has_is_an_error_with_the_one_that_was_meant(busy: Inside, kind: str) -> None:
    name = "wrok" if kind == "manifests" else id_of(busy, "Write it") + "x"

    said = busy.reconcile("get", kind, name, code=2)

    assert name in said and "did you mean" in said


@pytest.mark.parametrize("kind", ["tasks", "runs", "worktrees", "prs", "manifests", "events"])
def test_people_get_a_table_with_headings_and_programs_an_array(busy: Inside, kind: str) -> None:
    table = busy.reconcile("get", kind).splitlines()
    array = busy.json("get", kind)

    assert re.fullmatch(r"([A-Z]+ *)+", table[0])
    assert len(table) == len(array) + 1
    assert yaml.safe_load(busy.reconcile("get", kind, "-o", "yaml")) == array


@pytest.mark.parametrize("kind", ["tasks", "runs", "worktrees", "prs", "manifests", "events"])
def test_where_there_is_nothing_nothing_is_said_to_programs(tmp_path: Path, kind: str) -> None:
    empty = Inside(tmp_path)

    assert empty.json("get", kind) == []
    assert empty.reconcile("get", kind) == ""


def test_where_no_manifest_is_applied_nothing_is_said_of_one(tmp_path: Path) -> None:
    place = Inside(tmp_path)
    before = place.reconcile("status")
    made = place.json("task", "create", "Do a")["id"]
    place.reconcile("take", made)

    (row,) = place.json("get", "tasks")
    shown, refused = place.reconcile("status"), place.reconcile("status", "nope", code=2)
    place.reconcile("task", "close", made)

    assert "No manifest is applied" in before and "run-all" not in before
    assert (row["id"], row["manifest"], row["waiting"]["reason"]) == (made, None, "Taken")
    assert made in shown and "applied: none" in refused and "run-all" not in refused
    assert "1/1 closed" in (after := place.reconcile("status")) and "the manifest" not in after


def broken(place: Place, what: str) -> None:
    match what:
        case "tracker":
            _in_the_way(place.root / ".beads/issues.jsonl")
        case "runs":
            shutil.rmtree(place.root / ".git/reconcile/runs")
            (place.root / ".git/reconcile/runs").symlink_to("runs")
        case "forge":
            (place.root / ".git/refs/reconcile/pr/odd").symlink_to("1")  # only git can say what that is, and it can't
            (place.root / ".git/packed-refs").write_text("garbage\n")
        case "history":
            _in_the_way(place.root / ".beads/orchestrator/events.jsonl")
        case "manifest other":
            (place.root / ".git/reconcile/manifests/other.yaml").write_text("spec: [")


def _in_the_way(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("tasks", "tracker"),
        ("tasks", "forge"),
        ("tasks", "runs"),
        ("runs", "runs"),
        ("worktrees", "runs"),
        ("worktrees", "tracker"),
        ("prs", "forge"),
        ("prs", "tracker"),
        ("events", "history"),
        ("manifests", "manifest other"),
        ("manifests", "tracker"),
    ],
)
def test_a_source_that_does_not_answer_is_named_and_the_exit_status_says_so(
    damaged: Inside, kind: str, source: str
) -> None:
    broken(damaged, source)

    said = damaged.reconcile("get", kind, "-o", "json", code=3)
    array, _, complaint = said.partition(f"{source}: no answer: ")

    assert complaint and isinstance(json.loads(array[: array.rindex("]") + 1]), list)
    # With one named, what is not seen is not said to be absent.
    assert "no answer" in damaged.reconcile("get", kind, *([] if kind == "events" else ["x-9"]), code=3)


def test_a_task_that_a_silent_tracker_may_hold_is_not_said_to_be_in_no_manifest(damaged: Inside) -> None:
    task = id_of(damaged, "Write it")
    broken(damaged, "tracker")

    said = damaged.reconcile("describe", task, code=3)

    assert "tracker: no answer: " in said and "no applied manifest" not in said


# --- pr ------------------------------------------------------------------------------------------------------


def test_a_pull_request_is_shown_with_why_it_is_not_merged(busy: Inside) -> None:
    task = id_of(busy, "Write it")
    shown = busy.json("pr", "show", task)

    assert shown == busy.json("pr", "show", "1") == busy.json("pr", "show", "#1")
    assert shown["waiting"]["reason"] == "AwaitingApproval" and shown["base"] == "main"
    assert [commit["subject"] for commit in shown["commits"]] == ["Go on", "Begin \x1b[31mred"]
    assert [commit["sha"] for commit in shown["commits"]] == busy.git("rev-list", f"main..agent/{task}").split()
    assert shown["files"] == [
        {"path": "bin", "status": "A", "added": None, "deleted": None},
        {"path": "work.txt", "status": "A", "added": 2, "deleted": 0},
    ]
    text = busy.reconcile("pr", "show", task)
    assert "waiting for approval of" in text and "Go on" in text and "\x1b" not in text


def test_a_rejection_is_shown_with_its_words(damaged: Inside) -> None:
    task = id_of(damaged, "Write it")
    damaged.reconcile("reject", task, "-m", "Say \x1b[5mmore\nabout it")

    [review] = damaged.json("pr", "show", task)["reviews"]
    text = damaged.reconcile("pr", "show", task)

    assert (review["verdict"], review["text"]) == ("rejected", "Say \x1b[5mmore\nabout it")
    assert "rejected" in text and "about it" in text and "\x1b" not in text


def test_a_diff_in_a_pipe_is_the_bytes_that_git_can_apply(busy: Inside, tmp_path: Path) -> None:
    task = id_of(busy, "Write it")
    done = subprocess.run(
        (sys.executable, "-m", "reconciler", "pr", "diff", task), cwd=busy.root, env=busy.env, capture_output=True
    )
    patch, clone = tmp_path / "patch", tmp_path / "clone"
    patch.write_bytes(done.stdout)

    busy.git("clone", "--quiet", str(busy.root), str(clone))
    busy.git("apply", "--index", str(patch), cwd=clone)

    assert busy.git("write-tree", cwd=clone) == busy.git("rev-parse", f"agent/{task}^{{tree}}")
    assert b"\x1b]0;owned\x07" in done.stdout
    assert "owned" in busy.json("pr", "diff", task)["diff"]


def test_a_diff_runs_nothing_of_the_repository(damaged: Inside, tmp_path: Path) -> None:
    task, proof = id_of(damaged, "Write it"), tmp_path / "ran"
    evil = f"touch {proof}; cat"
    for name in ("diff.external", "diff.evil.command", "diff.evil.textconv", "core.pager", "pager.diff-tree"):
        damaged.git("config", name, evil)
    (damaged.root / ".git/info/attributes").write_text("* diff=evil\n")
    (damaged.root / ".gitattributes").write_text("* diff=evil\n")
    damaged.env = damaged.env | {"GIT_EXTERNAL_DIFF": evil, "GIT_PAGER": evil, "PAGER": evil}

    said = damaged.reconcile("pr", "diff", task)
    damaged.reconcile("pr", "show", task)

    assert "+++ b/work.txt" in said
    assert not proof.exists()


def test_a_diff_on_a_terminal_has_our_colours_and_no_escape_of_an_agent(busy: Inside) -> None:
    said = on_a_terminal(busy, "pr", "diff", "1")

    assert "\\x1b]0;owned\\x07" in said and "\x1b[32m+one" in said
    assert set(re.findall(r"\x1b\[?[0-9;]*m?", said)) <= {"\x1b[0m", "\x1b[1m", "\x1b[32m", "\x1b[36m", "\x1b[31m"}
    assert "Binary files" in said and "GIT binary patch" not in said
    assert "\x1b" not in on_a_terminal(busy, "pr", "diff", "1", "--no-color")


def on_a_terminal(place: Place, *args: str) -> str:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        (sys.executable, "-m", "reconciler", *args),
        cwd=place.root,
        env=place.env | {"TERM": "xterm"},
        stdout=theirs,
        stdin=subprocess.DEVNULL,
    )
    os.close(theirs)
    said = b""
    try:
        while got := os.read(ours, 65536):
            said += got
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert process.wait() == 0
    return said.decode()


@pytest.mark.parametrize("method", ["squash", "merge", "rebase"])
def test_what_a_merged_pull_request_brought_can_still_be_seen(tmp_path: Path, method: str) -> None:
    place = Inside(tmp_path)
    agent = {"argv": ["sh", "-c", AGENT]}
    path = place.manifest(tasks=TASKS[:1], agent=agent, mergePolicy={"method": method, "checks": []})
    place.reconcile("apply", "-f", str(path), "--wait")
    (place.root / "more").write_text("later\n")
    place.git("add", "more")
    place.git("commit", "--quiet", "--message=Later")

    assert place.json("pr", "list") == [] and len(place.json("pr", "list", "--all")) == 1
    shown = place.json("pr", "show", "1")

    assert (shown["state"], shown["method"]) == ("merged", method)
    assert shown["landed"] in place.git("rev-list", "main").split()
    assert [commit["subject"] for commit in shown["commits"]] == ["Go on", "Begin \x1b[31mred"]
    assert [file["path"] for file in shown["files"]] == ["bin", "work.txt"]
    assert "+one" in place.reconcile("pr", "diff", "1")
    assert f"by {method}" in place.reconcile("pr", "show", "1")


def test_each_pull_request_of_a_task_has_the_checks_that_ran_for_it(tmp_path: Path) -> None:
    place = Inside(tmp_path)
    script = 'date +%N >> work.txt; git add .; git commit -qm "Go on"'
    path = place.manifest(
        tasks=TASKS[:1], agent={"argv": ["sh", "-c", script]}, mergePolicy={"review": "human", "checks": ["true"]}
    )
    place.reconcile("apply", "-f", str(path), "--wait", code=3)
    task = id_of(place, "Write it")

    def checks() -> dict[int, tuple[str, str]]:
        return {row["number"]: (row["state"], row["checks"]) for row in place.json("get", "prs")}

    place.reconcile("approve", task)
    place.reconcile("watch", "--until-done")
    assert checks() == {1: ("merged", "passed")}
    place.reconcile("retry", task, "--reopen")
    place.reconcile("watch", "--until-done", code=3)
    assert checks() == {1: ("merged", "passed"), 2: ("open", "passed")}
    place.reconcile("reject", task, "-m", "no", "--close")
    assert checks() == {1: ("merged", "passed"), 2: ("closed", "passed")}


def test_only_pull_requests_that_there_are_can_be_shown(busy: Inside) -> None:
    for name in ("x-9", "7", "#7", "-x", "../x"):
        assert "has no pull request" in busy.reconcile("pr", "show", "--", name, code=2)


def test_a_pull_request_of_no_manifest_says_so(damaged: Inside) -> None:
    damaged.reconcile("delete", "work")

    shown = damaged.json("pr", "show", "1")

    assert shown["manifest"] is None and len(shown["commits"]) == 2
    assert "no applied manifest has its task" in damaged.reconcile("pr", "show", "1")


def test_what_a_silent_source_would_say_about_a_pull_request_is_not_made_up(damaged: Inside) -> None:
    broken(damaged, "tracker")

    said = damaged.reconcile("pr", "show", "1", code=3)

    assert "checks      not known" in said
    assert "tracker: no answer" in said and "no applied manifest" not in said


# --- explain, schema -------------------------------------------------------------------------------------------


def test_fields_and_schemas_need_no_repository(tmp_path: Path) -> None:
    place = elsewhere(tmp_path, dict(os.environ))

    assert "Epic.spec.agent.timeout  duration" in place.reconcile("explain", "spec.agent.timeout")
    assert "maxAgents" in place.reconcile("explain") and "AgentProfile" in place.reconcile("explain")
    assert [kind["kind"] for kind in place.json("explain")] == ["Epic", "AgentProfile", "MergePolicy"]
    assert "did you mean 'spec.maxAgents'?" in place.reconcile("explain", "spec.maxAgnets", code=2)
    shipped = Path(__file__).parents[2] / "manifests"
    epic = json.loads((shipped / "epic.schema.json").read_text())
    assert place.json("schema") == json.loads(place.reconcile("schema", "epic")) == epic
    assert set(place.json("schema", "--all")) == {"Epic", "AgentProfile", "MergePolicy"}
    assert "'nope'" in place.reconcile("schema", "nope", code=2)


# --- completion ------------------------------------------------------------------------------------------------


def tab(place: Inside, *words: str) -> list[str]:
    """What bash would offer for the last word, by the script that we print."""
    function = """
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
        $(complete -p reconcile | sed 's/.*-F \\([^ ]*\\).*/\\1/') reconcile
        [ ${#COMPREPLY[@]} = 0 ] || printf '%s\\n' "${COMPREPLY[@]}"
    """
    folder = place.root.parent / "bin"
    folder.mkdir(exist_ok=True)
    (folder / "reconcile").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m reconciler "$@"\n')
    (folder / "reconcile").chmod(0o755)
    here = {"PATH": f"{folder}:{place.env['PATH']}", "PYTHONPATH": str(Path(__file__).parents[2])}
    script = place.reconcile("completion", "bash") + function
    argv = ("bash", "--norc", "-c", script, "bash", "reconcile", *words)
    done = run(argv, cwd=place.root, env=place.env | here)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_bash_completes_commands_options_tasks_and_manifests(busy: Inside) -> None:
    good, every = id_of(busy, "Write it"), {task["id"] for task in busy.tasks().values()}

    assert tab(busy, "des") == ["describe"]
    assert tab(busy, "describe", good[:-1]) == [good]
    assert set(tab(busy, "approve", "")) == set(tab(busy, "task", "dep", "add", good, "")) == every
    assert tab(busy, "get", "events", "--task", good) == [good]
    assert tab(busy, "status", "w") == ["work"]
    assert tab(busy, "get", "w") == ["worktrees"]
    assert "--since" in tab(busy, "get", "events", "--")
    assert tab(busy, "get", "runs", "-o", "y") == ["yaml"]
    assert "spec.agent.argv" in tab(busy, "explain", "spec.agent")
    assert tab(busy, "explain", "m") == ["metadata", "metadata.name"]


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_what_cannot_be_completed_is_passed_over_in_silence(tmp_path: Path, damaged: Inside) -> None:
    nowhere = elsewhere(tmp_path / "nowhere", damaged.env)
    nowhere.root.mkdir()
    hostile = '{"id": "$(touch owned)", "title": "x", "status": "open"}\n{"id": "x-1", "title": "\\u001b[31m"}\n'
    (damaged.root / ".beads/issues.jsonl").write_text(hostile)

    assert tab(nowhere, "describe", "") == tab(nowhere, "status", "") == []
    assert "$(touch owned)" not in tab(damaged, "describe", "")
    assert not list(tmp_path.rglob("owned"))
    broken(damaged, "tracker")
    assert id_of_seen(damaged) <= set(tab(damaged, "describe", ""))


def id_of_seen(place: Place) -> set[str]:
    return set(json.loads((place.root / ".beads/orchestrator/state.json").read_text()))


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_zsh_and_fish_take_the_script_where_they_are_installed(busy: Inside, shell: str) -> None:
    script = busy.reconcile("completion", shell)
    answer = busy.env | {"_RECONCILE_COMPLETE": f"{shell}_complete", "COMP_WORDS": "reconcile des"}
    done = subprocess.run(
        (sys.executable, "-m", "reconciler"),
        cwd=busy.root,
        env=answer | {"COMP_CWORD": "des" if shell == "fish" else "1"},
        capture_output=True,
        text=True,
    )

    assert "_RECONCILE_COMPLETE" in script
    assert "describe" in done.stdout and "Show everything about one task" in done.stdout
    if shutil.which(shell):
        subprocess.run((shell, "-n"), input=script, text=True, check=True)


@pytest.mark.skipif(not shutil.which("fish"), reason="there is no fish")
def test_fish_shows_what_is_said_of_a_choice_to_its_end(busy: Inside) -> None:
    assert "manifest" in "".join(tab(busy, "get", "m"))  # makes the program that fish calls
    path = f"{busy.root.parent / 'bin'}:{busy.env['PATH']}"
    env = busy.env | {"PATH": path, "PYTHONPATH": str(Path(__file__).parents[2])}
    script = busy.reconcile("completion", "fish") + "\ncomplete -C 'reconcile di'\n"

    done = subprocess.run(("fish", "--no-config"), input=script, cwd=busy.root, env=env, capture_output=True, text=True)

    assert done.stdout == "diff\tShow what apply would do, and why\n"


@pytest.mark.parametrize("words", ["status", "diff", "get tasks"])
def test_what_a_command_does_not_use_costs_no_start(busy: Inside, words: str) -> None:
    assert (busy.root / ".beads" / "config.yaml").is_file()  # what is in it is read, and costs no start either
    program = """
import sys
from reconciler import cli
code = cli.called(sys.argv[1:])
print(*sys.modules, sep="\\n", file=sys.stderr)
sys.exit(code)
"""
    command = (sys.executable, "-c", program, *words.split())

    done = subprocess.run(command, cwd=busy.root, env=busy.env, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    loaded = set(done.stderr.split())
    assert "reconciler.wiring" in loaded
    assert loaded & {"reconciler.forges.github.forge", "reconciler.trackers.beads", "reconciler.agents.claude"} == set()
    assert loaded & {"yaml", "pydantic", "rich.live", "reconciler.cli.live", "watchdog", "psutil", "socket"} == set()


def test_asking_for_help_or_for_commands_reads_no_command(tmp_path: Path) -> None:
    program = """
import sys
from reconciler import cli
try:
    cli.called(sys.argv[1:])
except SystemExit:
    pass
sys.exit(bool({"msgspec", "pydantic", "rich", "yaml", "psutil", "reconciler.wiring"} & set(sys.modules)))
"""
    asked = {"_RECONCILE_COMPLETE": "bash_complete", "COMP_WORDS": "reconcile ", "COMP_CWORD": "1"}
    for args, env in ((["--help"], {}), ([], asked)):
        done = subprocess.run(
            (sys.executable, "-c", program, *args),
            cwd=Path(__file__).parents[2],
            env=dict(os.environ) | env,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert "describe" in done.stdout


# --- what looking leaves behind ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("diff", "-f", "{manifest}"), ("apply", "-f", "{manifest}", "--dry-run"), ("run", "--dry-run"),
        ("merge", "--dry-run"), ("prune", "--dry-run"), ("status",), ("describe", "x-1"), ("logs", "x-1"),
        ("pr", "list"), ("pr", "show", "1"),
        *(("get", kind) for kind in ("tasks", "runs", "worktrees", "prs", "events", "manifests")),
    ],
    ids=" ".join,
)  # fmt: skip
def test_looking_leaves_nothing_in_a_repository_where_nothing_was(tmp_path: Path, words: tuple[str, ...]) -> None:
    place = Place(tmp_path)
    manifest = str(place.manifest())
    (place.root / "reconcile.yaml").write_text(
        Path(manifest).read_text().replace("repository: project", "repository: .")
    )
    before = sorted(tmp_path.rglob("*"))

    place.reconcile(*(word.format(manifest=manifest) for word in words), code=None)

    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("command", ["logs", "restore", "prune", "describe", "stop", "retry", "take"])
def test_a_task_that_there_is_not_is_said_to_be_none(busy: Inside, command: str) -> None:
    said = busy.reconcile(command, "nosuch", code=2)

    assert "no task nosuch" in said


def test_a_hint_leads_to_what_was_meant(busy: Inside, tmp_path: Path) -> None:
    near, later = id_of(busy, "Write it")[:-1] + "_", id_of(busy, "End it")
    place = Inside(tmp_path)
    (place.root / "epic.yaml").write_text(place.manifest().read_text().replace("repository: project", "repository: ."))
    (place.root / "other.yaml").write_text("a: b")

    for command in ("describe", "logs", "approve", "reject -m No", "restore", "take"):
        said = busy.reconcile(*command.split(), near, code=2)
        assert f"no task {near}" in said and "did you mean" in said and said.count(near) == 1, said
    assert f"no agent has run for {later}" in (said := busy.reconcile("logs", later, code=2))
    assert f"'reconcile spawn {later}'" in said
    assert f"reconcile describe {later}" in busy.reconcile("restore", later, code=1)
    assert "pr list" in busy.reconcile("approve", later, code=2)
    assert "known: tasks, runs" in busy.reconcile("get", "nosuch", code=2)
    assert "did you mean 'events'?" in busy.reconcile("get", "evnts", code=2)
    for command in ("apply", "diff", "watch"):
        assert f"reconcile {command} -f epic.yaml" in place.reconcile(command, code=2)
        assert f"reconcile {command} -f FILE" in place.reconcile(command, "epic.yaml", code=2)


def test_an_agent_that_printed_nothing_is_said_to_have(busy: Inside) -> None:
    process = busy.start("logs", id_of(busy, "Try it"))
    _, err = process.communicate()
    assert "has printed nothing" in err
