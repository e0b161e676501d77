"""A project that uses Beads: tasks made with the user's own `bd`, worked on and closed by the program."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from databases import QUIET, Database, database
from outside import outside
from strangers import AGENT, Place
from waiting import ended, until

KINDS = [
    pytest.param("bd-sqlite"),
    pytest.param("bd-0.63", marks=pytest.mark.slow),
    pytest.param("bd-1.0", marks=pytest.mark.slow),
    pytest.param("bd", marks=pytest.mark.slow),
]


class Project(Place):
    """A stranger's repository whose tasks are in a Beads database."""

    def __init__(self, folder: Path, kind: str, *, bare: bool = True) -> None:
        super().__init__(folder)
        self.kind = kind
        if bare:
            # The database alone, without the hooks and the files for agents that come with it.
            database(folder / "made", kind)
            (folder / "made" / ".beads").rename(self.root / ".beads")
        self.db = Database(self.root, kind)
        if not bare:
            self.db.bd("init", "--quiet", "--prefix=demo")
        self.env |= {name: self.db.env[name] for name in ("PATH", *QUIET)}

    def tasks(self) -> dict[str, dict]:
        # Some say something more after the answer.
        found, _ = json.JSONDecoder().raw_decode(self.db.bd("list", "--all", "--limit=0", "--json"))
        return {task["id"]: task for task in found}

    def dep(self, task: str, on: str) -> None:
        self.db.bd("dep", "add", task, on)


@pytest.fixture(params=KINDS)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    return Project(tmp_path, request.param)


@pytest.mark.parametrize("kind", KINDS)
def test_an_epic_made_with_bd_is_worked_off_and_closed(tmp_path: Path, kind: str) -> None:
    project = Project(tmp_path, kind, bare=False)
    # As the guide makes it: an epic of type task, which is one because it has children.
    epic = project.db.make("Rewrite it", "--type=task")
    first, second, mine = (project.db.make(f"Do {n}", f"--parent={epic}") for n in ("one", "two", "mine"))
    project.dep(second, first)
    project.db.bd("update", mine, "--status=in_progress", "--assignee=alice", "--json")
    manifest = project.manifest(epic=epic, tasks=[], tracker="auto")

    watcher = project.start("watch", "--until-done", "-f", str(manifest))
    until(lambda: project.git("branch", "--list", "agent/*"), by=watcher)
    watcher.kill()
    watcher.communicate()
    ended = project.reconcile("watch", "--until-done", code=None)

    tasks = project.tasks()
    for done in (first, second):
        assert tasks[done]["status"] == "closed", (ended, tasks[done])
        assert "phase:merged" in tasks[done]["labels"]
        assert "merged #" in tasks[done]["close_reason"]
    assert (tasks[mine]["status"], tasks[mine]["assignee"]) == ("in_progress", "alice")
    assert "labels" not in tasks[mine]
    assert tasks[epic]["status"] == "open"
    assert project.subjects()[:2] == ["Do two", "Do one"]  # some bd commits what its init made

    project.db.bd("--actor=alice", "close", mine, "--reason=by hand", "--json")
    project.reconcile("watch", "--until-done")

    assert project.tasks()[epic]["status"] == "closed"
    assert "labels" not in project.tasks()[epic]
    assert project.leftovers() == []


def test_a_task_costs_few_processes_of_bd_and_nothing_to_do_costs_none(project: Project) -> None:
    tasks = [project.db.make(f"Do {n}") for n in ("one", "two", "three")]
    calls, folder = project.root.parent / "calls", project.root.parent / "bin"
    folder.mkdir()
    (folder / "bd").write_text(f'#!/bin/sh\necho "$*" >> {calls}\nexec {outside(project.kind)} "$@"\n')
    (folder / "bd").chmod(0o755)
    project.env["PATH"] = f"{folder}:{project.env['PATH']}"
    manifest = project.manifest(tasks=[], maxAgents=1)  # one after the other: those at once share theirs

    watch = project.start("watch", "--interval", "1s", "-f", str(manifest))
    until(lambda: len(project.subjects()) == 1 + len(tasks) and not project.leftovers(), by=watch)
    time.sleep(2)
    counted = calls.read_text().splitlines()
    time.sleep(4)
    idle = calls.read_text().splitlines()[len(counted) :]
    watch.terminate()
    ended(watch)

    assert idle == []
    # To begin with: its version, the tasks, what ids begin with. Then six writes a task, and four looks.
    assert len(counted) <= 4 + 10 * len(tasks), "\n".join(counted)


def test_tasks_of_a_manifest_are_made_in_the_database_once(project: Project) -> None:
    manifest = project.manifest(
        tasks=[{"key": "b", "title": "Do b", "dependsOn": ["a"]}, {"key": "a", "title": "Do a"}]
    )
    planned = project.json("diff", "-f", str(manifest), code=1)
    assert [a["action"] for a in planned["epics"][0]["actions"]] == ["CreateTask"] * 3

    project.reconcile("watch", "--until-done", "-f", str(manifest))

    titles = {task["title"]: task for task in project.tasks().values()}
    assert set(titles) == {"work", "Do a", "Do b"}
    assert {task["status"] for task in titles.values()} == {"closed"}
    assert project.subjects() == ["Do b", "Do a", "Begin"]
    assert project.json("diff")["epics"][0]["converged"] is True


def test_what_is_deferred_or_blocked_with_bd_is_left_as_it_is_until_it_is_set_open(project: Project) -> None:
    deferred, blocked = project.db.make("Do it"), project.db.make("Do that")
    manifest = project.manifest(tasks=[], mergePolicy={"review": "human"})
    project.reconcile("apply", "--wait", "-f", str(manifest), code=3)
    project.db.bd("update", deferred, "--status=deferred")
    project.db.bd("update", blocked, "--status=blocked")
    for task in (deferred, blocked):
        project.reconcile("approve", task)

    project.reconcile("watch", "--until-done", code=3)

    assert project.subjects() == ["Begin"]
    tasks = project.tasks()
    assert [tasks[task]["status"] for task in (deferred, blocked)] == ["deferred", "blocked"]
    assert not [task for task in tasks.values() if "needs-human" in task["labels"] or task.get("notes")]
    for task in (deferred, blocked):
        project.db.bd("update", task, "--status=open")
    project.reconcile("watch", "--until-done")
    assert sorted(project.subjects()) == ["Begin", "Do it", "Do that"]


@pytest.mark.parametrize("when", ["after its commit", "before its commit"])
def test_a_task_that_its_own_agent_closed_still_lands(project: Project, when: str) -> None:
    task = project.db.make("Do it")
    close = 'bd close "$RECONCILE_TASK" --reason=done'
    agent = f"{AGENT} && {close}" if when == "after its commit" else f"{close} && sleep 3 && {AGENT}"
    manifest = project.manifest(tasks=[], agent={"argv": ["sh", "-c", agent]})

    said = project.reconcile("watch", "--until-done", "-f", str(manifest), code=None)

    assert project.subjects() == ["Do it", "Begin"], said + project.reconcile("logs", task, "--attempt", "1")
    assert "phase:merged" in project.tasks()[task]["labels"]


def test_a_task_that_was_stopped_and_one_that_was_merged_can_be_worked_on_again(project: Project) -> None:
    task, go = project.db.make("Do it"), project.root.parent / "go"
    work = f"test -e {go} || sleep 600; date +%N > file && git add . && git commit -qm 'Do it'"
    project.reconcile("apply", "-f", str(project.manifest(tasks=[], agent={"argv": ["sh", "-c", work]})), code=None)

    project.reconcile("stop", task)
    go.touch()
    project.reconcile("retry", task)
    said = project.reconcile("watch", "--until-done", code=None)

    assert project.subjects() == ["Do it", "Begin"], said
    project.db.bd("reopen", task)
    said = project.reconcile("watch", "--until-done", code=None)
    assert project.subjects() == ["Do it", "Do it", "Begin"], said


@pytest.mark.parametrize("how", ["bd", "reconcile task"])
def test_a_task_that_a_person_closes_under_its_agent_ends_it_and_lands_nothing(project: Project, how: str) -> None:
    task = project.db.make("Do it")
    agent = f"{AGENT} && touch {project.root}/../committed && sleep 600"
    watch = project.start("watch", "-f", str(project.manifest(tasks=[], agent={"argv": ["sh", "-c", agent]})))
    until((project.root.parent / "committed").exists)

    if how == "bd":
        project.db.bd("close", task, "--reason=not needed", *(["--force"] if project.kind == "bd" else []))
    else:
        project.reconcile("task", "close", task)

    until(lambda: not any(run["state"] == "running" for run in project.json("get", "runs")))
    until(lambda: project.json("status")["epics"][0]["tasks"][0]["waiting"])
    watch.terminate()
    ended(watch)
    assert project.subjects() == ["Begin"]
    assert project.json("status")["epics"][0]["tasks"][0]["waiting"]["reason"] == "Unlanded"


@pytest.mark.parametrize("kind", ["bd-sqlite"])
def test_a_daemon_of_another_version_beside_the_database_is_named(tmp_path: Path, kind: str) -> None:
    project = Project(tmp_path, kind)
    (tmp_path / "other").mkdir()
    shutil.copy("/bin/sleep", tmp_path / "other" / "bd")
    daemon = subprocess.Popen([tmp_path / "other" / "bd", "600"])
    lock = project.root / ".beads" / "daemon.lock"
    try:
        for version, named in (("0.43.0", True), ("0.47.1", False)):
            lock.write_text(json.dumps({"pid": daemon.pid, "version": version}))
            said = project.reconcile("doctor", code=None)
            assert (f"a daemon of bd 0.43.0 (process {daemon.pid})" in said) is named
    finally:
        daemon.kill()
        daemon.wait()
    lock.write_text(json.dumps({"pid": daemon.pid, "version": "0.43.0"}))
    assert "a daemon of bd" not in project.reconcile("doctor", code=None)


def test_agents_say_the_same_words_whoever_keeps_the_tasks(project: Project) -> None:
    task = project.db.make("Do it")

    project.reconcile("task", "update", task, "--status", "blocked", "--notes", "no key", "--add-label", "a")

    assert project.tasks()[task]["status"] == "blocked"
    assert project.tasks()[task]["notes"] == "no key"
    assert project.json("task", "show", task)["labels"] == ["a"]
    assert "bd create" in project.reconcile("task", "create", "Another", code=1)


@pytest.mark.parametrize("kind", ["bd-sqlite"])
def test_init_writes_a_manifest_for_the_epic_that_is_there(tmp_path: Path, kind: str) -> None:
    project = Project(tmp_path, kind)
    epic = project.db.make("Rewrite it: all", "--type=epic")
    task = project.db.make("Do it", f"--parent={epic}")

    project.reconcile("init")

    assert f"epic: {epic}" in (project.root / "epic.yaml").read_text()
    planned = project.json("diff", "-f", "epic.yaml")["epics"][0]
    assert [(each["task"], each["reason"]) for each in planned["waiting"]] == [(task, "AgentUnavailable")]


@pytest.mark.parametrize("kind", ["bd-sqlite"])
def test_a_database_without_its_program_is_never_written_behind(tmp_path: Path, kind: str) -> None:
    project = Project(tmp_path, kind)
    before = {path: path.read_bytes() for path in (project.root / ".beads").glob("*.jsonl")}
    project.env["PATH"] = "/usr/bin:/bin"

    said = project.reconcile("apply", "-f", str(project.manifest()), code=None)

    held = project.json("diff", code=3)["epics"][0]
    assert held["actions"] == []
    assert "no 'bd' on the PATH" in held["unknown"][0]["message"], said
    assert {path: path.read_bytes() for path in (project.root / ".beads").glob("*.jsonl")} == before
    assert "bd" in project.reconcile("doctor", code=1)


@pytest.mark.parametrize("kind", ["bd-sqlite"])
def test_a_manifest_that_asks_for_the_other_tracker_is_held_and_told_why(tmp_path: Path, kind: str) -> None:
    with_database = Project(tmp_path, kind)
    (tmp_path / "other").mkdir()
    without = Place(tmp_path / "other")

    with_database.reconcile("apply", "-f", str(with_database.manifest(tracker="jsonl")), code=None)
    without.reconcile("apply", "-f", str(without.manifest(tracker="beads")), code=None)

    for place, word in ((with_database, "bd export"), (without, "bd init")):
        (epic,) = place.json("status")["epics"]
        degraded = [c for c in epic["conditions"] if c["reason"] == "TrackerUnavailable"]
        assert degraded
        assert word in degraded[0]["message"]
    assert with_database.tasks() == {}


@pytest.mark.parametrize("kind", KINDS)
def test_a_watch_notices_what_people_do_in_the_database_whatever_its_interval(tmp_path: Path, kind: str) -> None:
    project = Project(tmp_path, kind)
    watcher = project.start("watch", "--interval", "10m", "-f", str(project.manifest(tasks=[])))
    told = project.root / ".git" / "reconcile" / "status"

    try:
        until(lambda: list(told.glob("*.json")), by=watcher)
        time.sleep(2)  # nothing is left to be done, and it rests
        project.db.make("Do it later")
        until(lambda: "Do it later" in project.subjects(), by=watcher)
    finally:
        watcher.send_signal(signal.SIGTERM)
        ended(watcher)


@pytest.mark.parametrize("first", ["br", "bd-sqlite"])
def test_tasks_that_br_keeps_are_left_alone_and_the_way_out_that_is_said_is_one(tmp_path: Path, first: str) -> None:
    place = Place(tmp_path)
    br, bd = outside("br"), outside("bd-sqlite")
    place.env["PATH"] = f"{bd.parent}:{place.env['PATH']}"

    def run(program: Path, *args: str) -> str:
        quiet = place.env | dict.fromkeys(QUIET, "1")
        return subprocess.run(
            (program, *args), cwd=place.root, env=quiet, check=True, capture_output=True, text=True
        ).stdout

    maker, options = (br, ()) if first == "br" else (bd, ("--skip-hooks",))
    run(maker, "init", "--prefix=demo", *options)
    task = json.loads(run(maker, "create", "Do it", "--description=d", "--json"))["id"]
    run(br, "list")  # from then on the database is one of br, whoever made it
    before = run(br, "list", "--json")
    manifest = place.manifest(tasks=[])

    place.reconcile("apply", "-f", str(manifest), code=None)
    said = place.reconcile("status") + place.reconcile("doctor", code=1)

    assert "br (beads_rust) keeps the tasks" in said and "br sync --flush-only" in said
    assert run(br, "list", "--json") == before
    run(br, "sync", "--flush-only")
    for file in (place.root / ".beads").glob("beads.db*"):
        file.rename(tmp_path / file.name)
    place.reconcile("apply", "--wait", "-f", str(manifest))
    assert place.subjects() == ["Do it", "Begin"] and place.tasks()["Do it"]["id"] == task


@pytest.mark.slow
@pytest.mark.parametrize("words", ["echo '<html>502'", "echo '[]'", "exit 0", "sleep 40"])
def test_while_bd_says_nothing_of_use_nothing_is_lost_and_nothing_done_twice(tmp_path: Path, words: str) -> None:
    project = Project(tmp_path, "bd-sqlite")
    epic = project.db.make("Rewrite it", "--type=epic")
    for n in ("one", "two", "three"):
        project.db.make(f"Do {n}", f"--parent={epic}")
    starts, odd, go, folder = (tmp_path / name for name in ("starts", "odd", "go", "bin"))
    folder.mkdir()
    (folder / "bd").write_text(f'#!/bin/sh\ntest -e {odd} && {{ {words}; exit; }}\nexec {outside("bd-sqlite")} "$@"\n')
    (folder / "bd").chmod(0o755)
    project.env["PATH"] = f"{folder}:{project.env['PATH']}"
    work = f'echo "$RECONCILE_TASK" >> {starts}; until test -e {go}; do sleep 0.1; done; {AGENT}'
    agent = {"argv": ["sh", "-c", work]}
    manifest = project.manifest(epic=epic, tasks=[], maxAgents=2, agent=agent)

    watch = project.start("watch", "-f", str(manifest), "--interval", "3s")
    until(lambda: starts.exists() and len(starts.read_text().split()) == 2, by=watch)
    odd.touch()
    go.touch()
    said = project.reconcile("status")
    time.sleep(10)
    watch.kill()
    watch.communicate()
    tasks = {run.parent.name for run in (project.root / ".git/reconcile/runs/work").glob("*/*")}
    odd.unlink()
    ended = project.reconcile("watch", "--until-done")

    assert "tasks unknown" in said and len(tasks) == 2
    assert sorted(project.subjects()) == ["Begin", "Do one", "Do three", "Do two"], ended
    assert len(starts.read_text().split()) == 3
    assert {task["status"] for task in project.tasks().values()} == {"closed"}
    assert project.leftovers() == []
