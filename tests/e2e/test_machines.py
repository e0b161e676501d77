"""Agents on other machines, as a stranger has them: pretend nodes on this machine, the program as it is typed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import slurm_cluster
from strangers import Place
from waiting import until

from reconciler.runners import courier, supervisor

pytestmark = pytest.mark.skipif(not supervisor.PROC, reason="needs /proc")
TASKS = [
    {"key": "a1", "title": "Do a"},
    {"key": "b1", "title": "Do b"},
    {"key": "c1", "title": "Do c", "dependsOn": ["a1"]},
    {"key": "d1", "title": "Do d"},
    {"key": "e1", "title": "Do e", "dependsOn": ["c1", "d1"]},
]
WORK = (
    'echo "$RECONCILE_TASK $RECONCILE_ATTEMPT" >> {ledger}; until test -e {go}; do sleep 0.1; done; '
    'echo "$RECONCILE_TASK" > "$RECONCILE_TASK.txt"; git add "$RECONCILE_TASK.txt"; git commit -qm "Do $RECONCILE_TASK"'
)


class Far(Place):
    """A stranger's repository with a remote, and three nodes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder, self.ledger, self.go = folder, folder / "ledger", folder / "go"
        self.git("init", "--quiet", "--bare", str(folder / "remote.git"))
        self.git("remote", "add", "origin", str(folder / "remote.git"))
        self.runner = {"kind": "here", "hosts": ["n1", "n2", "n3"], "scratch": f"{folder}/scratch"}
        self.runner |= {"sync": "1s", "lease": "6s"}

    def epic(self, script: str = WORK, **spec: object) -> str:
        agent = {"argv": ["sh", "-c", script.format(ledger=self.ledger, go=self.go)]}
        return str(self.manifest(tasks=TASKS, agent=agent, runner=self.runner, maxAgents=3, **spec))

    def attempts(self) -> list[str]:
        return sorted(self.ledger.read_text().splitlines()) if self.ledger.exists() else []

    def entry(self, title: str) -> dict:
        return self.json("describe", self.tasks()[title]["id"])

    def clear(self) -> None:
        mine = str(self.folder / "scratch").encode()
        for pid in supervisor.parent_pids():
            if pid != os.getpid() and (
                mine in courier.read(f"/proc/{pid}/cmdline") or mine in courier.read(f"/proc/{pid}/environ")
            ):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    made = Far(tmp_path)
    yield made
    made.clear()


def test_five_tasks_land_once_although_a_node_and_the_watch_die_and_nothing_is_left_on_the_nodes(far: Far):
    epic = far.epic()
    far.reconcile("apply", "-f", epic)
    watch = far.start("watch")
    until(lambda: len(far.attempts()) >= 3, "three agents to work", by=watch)
    lost = far.tasks()["Do b"]["id"]
    until(lambda: "is running on n" in far.reconcile("status"), "the nodes to be told", by=watch)
    (folder,) = (far.folder / "scratch").glob(f"*/runs/work/{lost}/1")
    watch.kill()
    watch.communicate()
    # Its node dies: all of it is gone, and its engine knows nothing of the job.
    (job,) = (far.folder / "scratch").glob(f"*/jobs/rc.*.{lost}.1.*")
    pid = int((job / "pid").read_text())
    courier.kill([pid, *courier.descendants(pid)])
    for path in sorted(job.iterdir()):
        path.unlink()
    job.rmdir()
    far.go.touch()
    far.reconcile("apply", "-f", epic, "--wait")
    tasks = far.tasks()
    assert all(tasks[each["title"]]["status"] == "closed" for each in TASKS)
    assert sorted(far.subjects()) == sorted(["Begin", *(each["title"] for each in TASKS)])
    assert far.attempts() == sorted([*(f"{tasks[each['title']]['id']} 1" for each in TASKS), f"{lost} 2"])
    until(lambda: not folder.exists(), "the next courier on that node to clear what was left")
    refs = far.git("for-each-ref", "--format=%(refname)", cwd=far.folder / "remote.git").split()
    assert not [ref for ref in refs if ref.startswith("refs/reconcile/run/")]
    assert far.leftovers() == []


def test_a_silent_node_is_given_up_by_a_person_and_its_task_starts_elsewhere(far: Far):
    far.runner["lease"] = "10m"
    epic = far.epic()
    far.reconcile("apply", "-f", epic)
    until(lambda: len(far.attempts()) == 3, "three agents to work")
    task = far.tasks()["Do a"]["id"]
    until(lambda: far.entry("Do a")["run"]["state"] == "running", "it to be seen at work")
    assert far.entry("Do a")["run"]["where"].startswith("here:n")
    assert "running on n" in far.reconcile("describe", task) and "here:n" in far.reconcile("get", "runs")
    assert [row["task"] for row in far.json("get", "worktrees")].count(task) == 1
    refused = far.reconcile("stop", far.tasks()["Do e"]["id"], "--give-up", code=1)
    assert "has no agent, and no check, on another machine" in refused
    assert "given up" in far.reconcile("stop", task, "--give-up")
    far.go.touch()
    far.reconcile("apply", "-f", epic, "--wait")
    assert "a person gave it up" in far.reconcile("describe", task)
    assert f"{task} 2" in far.attempts() and far.tasks()["Do a"]["status"] == "closed"


def test_a_label_or_a_profile_may_have_tasks_worked_on_by_another_kind_of_runner(far: Far):
    tasks = [{**each, "labels": ["gpu"]} if each["key"] in ("a1", "c1") else each for each in TASKS]
    script = 'test -f "$1" && grep -q "$RECONCILE_TASK" "$1" && pwd >> {ledger}; ' + WORK
    agent = {
        "argv": ["sh", "-c", script.format(ledger=far.ledger, go=far.go), "sh", "{prompt_file}"],
        "overrides": [{"match": {"labels": ["gpu"]}, "runner": far.runner}],
    }
    epic = far.manifest(tasks=tasks, agent=agent)
    far.reconcile("apply", "-f", epic)
    until(
        lambda: len(far.attempts()) == 6, "three agents to work, and each to find its prompt where that was said to be"
    )
    until(lambda: far.entry("Do a")["run"]["where"].startswith("here:n"), "its node to be told")
    assert {"where" in far.entry(title)["run"] for title in ("Do b", "Do d")} == {False}
    there = f"{far.folder}/scratch/"
    assert sum(line.startswith(there) for line in far.attempts()) == 1
    found = {each["name"] for each in far.json("doctor", "--nodes", code=None)["checks"]}
    assert {"runner here", "runner remote", "node n1", "node n3"} <= found
    # What runs goes on where it is; what starts from now on is on this machine.
    far.manifest(tasks=tasks, agent={**agent, "overrides": []})
    far.reconcile("apply", "-f", epic)
    assert far.entry("Do a")["run"]["where"].startswith("here:n")
    far.go.touch()
    far.reconcile("apply", "-f", epic, "--wait")
    assert sorted(far.subjects()) == sorted(["Begin", *(each["title"] for each in TASKS)])
    assert len(far.attempts()) == 10 and sum(line.startswith(there) for line in far.attempts()) == 1
    assert far.git("for-each-ref", cwd=far.folder / "remote.git") == "" and far.leftovers() == []


def test_a_task_that_goes_on_here_takes_what_it_left_elsewhere_along_as_saved_work(far: Far):
    work = 'if [ "$RECONCILE_ATTEMPT" = 1 ]; then echo half > half; sleep 2; exit 3; fi; until test -e {go}; do sleep 0.1; done'
    agent = {"argv": ["sh", "-c", f"{work}; touch whole; git add whole; git commit -qm W".format(go=far.go)]}
    agent |= {"backoff": {"initial": "1s", "max": "1s"}}
    tasks = [{"key": "a", "title": "Do a"}]
    epic = str(far.manifest(tasks=tasks, agent={**agent, "runner": far.runner}))
    far.reconcile("apply", "-f", epic)
    until(lambda: far.json("describe", far.tasks()["Do a"]["id"])["runs"][-1]["state"] == "ended", "it to have failed")
    task = far.tasks()["Do a"]["id"]
    remote = far.folder / "remote.git"
    assert far.git("for-each-ref", "--format=%(refname)", cwd=remote).split() == [f"refs/reconcile/run/{task}"]
    remote.rename(far.folder / "away.git")
    assert "nothing is saved here; what it may have on" in far.reconcile("restore", task, code=1)
    (far.folder / "away.git").rename(remote)
    far.go.touch()
    far.manifest(tasks=tasks, agent=agent)
    far.reconcile("apply", "-f", epic, "--wait")
    assert far.subjects() == ["Do a", "Begin"] and far.git("for-each-ref", cwd=remote) == ""
    far.reconcile("restore", task)
    assert far.git("show", f"agent/{task}:half").strip() == "half"


def test_what_an_attempt_elsewhere_had_not_committed_can_be_restored_while_it_waits_for_the_next_one(far: Far):
    agent = {"argv": ["sh", "-c", "echo half > half; sleep 2; exit 3"], "maxAttempts": 1}
    epic = str(far.manifest(tasks=[{"key": "a", "title": "Do a"}], agent=agent, runner=far.runner))
    far.reconcile("apply", "-f", epic, "--wait", code=3)
    task = far.tasks()["Do a"]["id"]
    assert f"restored/{task}-1" in far.reconcile("restore", task)
    assert far.git("show", f"restored/{task}-1:half").strip() == "half"


def test_doctor_looks_at_what_agents_elsewhere_need(far: Far):
    far.reconcile("apply", "-f", far.epic(), "--dry-run", code=None)
    far.reconcile("apply", "-f", far.epic(suspend=True), code=None)
    found = {each["name"]: each for each in far.json("doctor", "--nodes", code=None)["checks"]}
    assert found["runner here"]["found"] == "3 of 3 hosts answer"
    assert found["runner remote"]["state"] == "ok" and "GiB free" in found["node n2"]["found"]
    assert far.git("for-each-ref", cwd=far.folder / "remote.git") == ""
    (far.folder / "remote.git").rename(far.folder / "gone.git")
    found = {each["name"]: each for each in far.json("doctor", "--nodes", code=1)["checks"]}
    assert found["runner remote"]["state"] == "problem" and found["node n1"]["message"] == "the remote can't be reached"


def test_a_remote_that_is_away_keeps_nobody_from_working_on_this_machine(far: Far):
    far.git("init", "--quiet", "--bare", str(far.folder / "nodes.git"))
    far.runner["remote"] = str(far.folder / "nodes.git")
    far.reconcile("apply", "-f", far.epic())
    until(lambda: len(far.attempts()) == 3, "three agents to work")
    (far.folder / "nodes.git").rename(far.folder / "away.git")
    here = far.manifest("here.yaml", tasks=[{"key": "h1", "title": "Do h"}])
    here.write_text(here.read_text().replace("name: work", "name: here"))
    far.reconcile("apply", "-f", str(here), "--wait", "--timeout", "60s")
    assert "Do h" in far.subjects() and far.tasks()["Do h"]["status"] == "closed"
    assert "worktrees: git ls-remote failed" in far.reconcile("status", "work")
    assert f"worktrees of {far.folder}/nodes.git: no answer" in far.reconcile("get", "worktrees", code=3)


def test_who_stops_an_agent_whose_remote_is_away_is_told_what_is_recorded_and_what_becomes_of_it(far: Far):
    far.runner["lease"] = "10m"
    far.reconcile("apply", "-f", far.epic())
    until(lambda: len(far.attempts()) == 3, "three agents to work")
    one, other = (far.tasks()[title]["id"] for title in ("Do a", "Do b"))
    remote = far.folder / "remote.git"
    remote.rename(far.folder / "away.git")
    said = far.reconcile("stop", one, code=1)
    assert (
        f"{one}  is to end" in said
        and f"work/{one}/1 is to end, and that is recorded; its remote does not answer" in said
    )
    assert "what it has comes once the remote is back" in said and f"still ending: work/{one}/1" in said
    said = far.reconcile("take", other, code=1)
    assert "its agent is to end" in said and "can't be seen" in said and f"still ending: work/{other}/1" in said
    (far.folder / "away.git").rename(remote)
    until(lambda: far.entry("Do a")["runs"][-1]["state"] == "ended", "its end to be heard of")
    assert (
        far.entry("Do a")["runs"][-1]["exit"]["cause"] == "stopped"
        and "reconcile:stopped" in far.tasks()["Do a"]["labels"]
    )
    until(lambda: far.entry("Do b")["runs"][-1]["state"] == "ended", "the other's end to be heard of")


def test_an_agent_that_comes_with_the_checkout_is_looked_for_in_the_base_and_not_on_the_nodes(far: Far):
    far.reconcile(
        "apply", "-f", far.manifest(tasks=TASKS, agent={"argv": ["./agent.sh"]}, runner=far.runner, suspend=True)
    )

    def found() -> dict[str, dict]:
        return {each["name"]: each for each in far.json("doctor", "--nodes", code=None)["checks"]}

    assert found()["node agent"]["message"] == "is not in main, so no node has it"
    (far.root / "agent.sh").write_text("#!/bin/sh\ntrue\n")
    far.git("add", "agent.sh")
    far.git("commit", "-qm", "An agent")
    assert found()["node agent"]["message"] == "can't be executed as main holds it"
    far.git("add", "--chmod=+x", "agent.sh")
    far.git("commit", "-qm", "An agent that can be executed")
    seen = found()
    assert [seen[name]["state"] for name in ("node agent", "node n1", "node n2")] == ["ok", "ok", "ok"]


def blocks(after: str) -> list[str]:
    """The commands of a section of the guide."""
    section = slurm_cluster.GUIDE.read_text("utf-8").partition(f"## {after}")[2].partition("\n## ")[0]
    return [block.partition("```")[0] for block in section.split("```sh\n")[1:]]


@pytest.mark.slow
@pytest.mark.skipif(bool(slurm_cluster.missing()), reason=f"{slurm_cluster.missing()} is not installed")
def test_the_slurm_of_the_guide_loses_a_node_its_controller_and_the_watch_and_everything_lands_once(far: Far):
    home = far.folder
    _packages, conf, start, example, kills, again = blocks("A Slurm of three pretend nodes on one machine")
    for port, free in zip(("6817", "6821", "6822", "6823"), slurm_cluster.free_ports(4), strict=True):
        conf = conf.replace(f"={port}", f"={free}")
    far.env = {**far.env, "HOME": str(home), "SLURM_CONF": f"{home}/slurm/slurm.conf"}
    for who in ("AUTHOR", "COMMITTER"):
        far.env |= {f"GIT_{who}_NAME": "Stranger", f"GIT_{who}_EMAIL": "stranger@localhost"}
    far.env["PATH"] = f"{Path(sys.executable).parent}:{slurm_cluster.PATH}"

    def typed(block: str, where: Path) -> str:
        with open(home / "typed", "w+") as said:  # what goes on in the background would keep a pipe open
            done = subprocess.run(["bash", "-ec", block], cwd=where, env=far.env, stdout=said, stderr=said, timeout=280)
            text = (home / "typed").read_text()
            assert done.returncode == 0, text
            return text

    try:
        typed(conf, home)
        typed(start, home)
        until(lambda: "3   idle" in typed("sinfo", home), "three idle nodes")
        quick = (
            'sed -i \'s/PACE: "60"/PACE: "30"/; s,sync: 5s,sync: 5s\\n    scratch: '
            + f"{home}/scratch,"
            + "' epic.yaml"
        )
        typed(
            example.replace("git init --quiet --initial", f"{quick}\ngit init --quiet --initial", 1),
            slurm_cluster.GUIDE.parents[1],
        )
        site = far.root = home / "site"
        until(lambda: all(f"is running on n{n}" in typed("reconcile status", site) for n in (1, 2, 3)), "three agents")
        until(lambda: "here:" not in typed("reconcile get runs", site) and list(home.glob("scratch/*/work/*/*.draft")))
        typed(kills, site)
        typed(again, site)
        assert len(far.subjects()) == len(set(far.subjects())) == 6
        pages = [path.read_text() for path in site.glob("*.html")]
        assert sorted(page.count("<p>attempt") for page in pages) == [1, 1, 1, 1, 2]
        assert any(page.startswith("<p>attempt 1 on n1</p>\n<p>attempt 2 on n") for page in pages)
        left = [path for path in (home / "scratch").rglob("*") if path.is_file() and "mirrors" not in path.parts]
        until(lambda: not [path for path in left if path.exists()], "the nodes to be cleared")
    finally:
        slurm_cluster.end(far.env["SLURM_CONF"])


def test_the_example_of_the_guide_works_as_it_stands(far: Far):
    guide = (Path(__file__).parents[2] / "docs/machines.md").read_text("utf-8")
    (text,) = [block.partition("```")[0] for block in guide.split("```yaml\n") if block.startswith("# epic.yaml")]
    (far.root / "epic.yaml").write_text(text.replace("kind: here,", f"kind: here, scratch: {far.folder}/scratch,"))
    far.reconcile("apply", "-f", "epic.yaml", "--wait")
    assert sorted(far.subjects()) == ["Begin", "Say one", "Say two"] and far.leftovers() == []


def test_checks_run_where_the_policy_says_and_one_survives_the_watch_that_began_it(far: Far):
    log = f"echo check >> {far.ledger}; until test -e {far.go}; do sleep 0.05; done; test ! -e one || test -e half || exit 3"
    policy = {"checks": [log], "runner": far.runner, "queue": {"retries": 0}}
    work = 'if [ "$RECONCILE_ATTEMPT" = 2 ]; then grep -q "exit status 3" "$RECONCILE_PROMPT" && touch half; fi'
    agent = {"argv": ["sh", "-c", f"{work}; touch one; git add .; git commit -qm One"]}
    epic = str(far.manifest(tasks=[{"key": "a", "title": "Do a"}], agent=agent, mergePolicy=policy))
    far.reconcile("apply", "-f", epic)
    watch = far.start("watch")
    until(far.attempts, "a check to run", by=watch)
    until(lambda: " on n" in far.entry("Do a")["waiting"]["message"], "its node to be told", by=watch)
    watch.kill()
    watch.communicate()
    far.go.touch()

    far.reconcile("apply", "-f", epic, "--wait")

    assert far.tasks()["Do a"]["status"] == "closed" and far.subjects() == ["Do a", "Begin"]
    runs = [run for run in far.json("get", "runs") if run["id"].startswith("check")]
    assert [run["where"].startswith("here:n") for run in runs] == [True] * len(runs)
    # The head, the base that was not at fault, and what the second attempt made of it.
    assert len(far.attempts()) == len(runs) == 3, runs
    until(lambda: not list(far.folder.glob("scratch/*/work/*")), "the nodes to be cleared")
    refs = far.git("for-each-ref", "--format=%(refname)", cwd=far.folder / "remote.git").split()
    assert refs == []


def test_a_check_on_a_node_that_is_silent_is_told_and_given_up_by_a_person_and_its_change_lands(far: Far):
    far.runner["lease"] = "10m"
    check = f"echo check >> {far.ledger}; test -e {far.go} || sleep 600"
    agent = {"argv": ["sh", "-c", "touch one; git add .; git commit -qm One"]}
    policy = {"checks": [check], "runner": far.runner}
    far.reconcile(
        "apply", "-f", str(far.manifest(tasks=[{"key": "a", "title": "Do a"}], agent=agent, mergePolicy=policy))
    )
    watch = far.start("watch")
    until(far.attempts, "a check to run", by=watch)
    until(lambda: " on n1" in far.entry("Do a")["waiting"]["message"], "its node to be told", by=watch)
    (job,) = far.folder.glob("scratch/n1/jobs/rc.*")
    pid = int((job / "pid").read_text())
    frozen = [pid, *courier.descendants(pid)]
    courier.send(frozen, signal.SIGSTOP)
    task = far.tasks()["Do a"]["id"]
    said = f"given up in 20 min; 'reconcile stop {task} --give-up' does it now"
    until(lambda: said in far.reconcile("status"), "its silence to be told", by=watch)
    far.go.touch()
    assert "it is run again, on whatever node" in far.reconcile("stop", task, "--give-up")
    until(lambda: far.tasks()["Do a"]["status"] == "closed", "it to land", by=watch)
    watch.terminate()
    watch.communicate()
    courier.send(frozen, signal.SIGCONT)
    assert far.subjects() == ["Do a", "Begin"] and far.attempts() == ["check", "check"]
    until(lambda: not list(far.folder.glob("scratch/*/work/*")), "the node that woke to clear what it had")
    assert far.git("for-each-ref", cwd=far.folder / "remote.git") == ""
