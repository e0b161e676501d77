"""Agents that are known, before any of them works: which are here, what a first manifest says, what they are told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from strangers import AGENT, Place
from waiting import ended, until

KINDS = ("claude", "codex", "gemini", "opencode", "aider")
USUAL = "/usr/local/bin:/usr/bin:/bin"  # without what the machine of whoever runs the tests has beside that


EPIC = "apiVersion: reconcile/v1\nkind: Epic\nmetadata: {{name: x}}\nspec: {{agent: {agent}}}\n"


class Machine(Place):
    """A machine with these agents' programs on the PATH; none of them does anything."""

    def __init__(self, folder: Path, *agents: str) -> None:
        super().__init__(folder)
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.env = {**self.env, "PATH": f"{self.bin}:{USUAL}", "HOME": str(folder)}
        self.env = {name: value for name, value in self.env.items() if not name.endswith("_API_KEY")}
        for agent in agents:
            self.program(agent, 'test "$1" = --version && echo 9.8.7')

    def program(self, name: str, script: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.bin / name).chmod(0o755)

    def begun(self, *args: str) -> dict:
        """The spec of the manifest that `init` writes."""
        self.reconcile("init", *args)
        name = "reconcile.yaml" if args else "epic.yaml"
        return yaml.safe_load((self.root / name).read_text())["spec"]

    def degraded(self) -> dict:
        """The condition of that type, as `status` has it."""
        (epic,) = self.json("status")["epics"]
        return {each["type"]: each for each in epic["conditions"]}["Degraded"]

    def checked(self, name: str) -> dict:
        (found,) = (each for each in self.json("doctor", code=None)["checks"] if each["name"] == name)
        return found


@pytest.mark.parametrize("arguments", [(), ("--justfile",)])
def test_a_first_manifest_names_the_first_agent_that_is_here(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    place = Machine(tmp_path, "aider", "codex")

    spec = place.begun(*arguments)

    assert spec["agent"] == {"kind": "codex", "timeout": "2h"}
    assert place.reconcile("diff", "-f", "reconcile.yaml" if arguments else "epic.yaml", code=None)


def test_without_an_agent_a_first_manifest_has_a_place_for_one(tmp_path: Path) -> None:
    place = Machine(tmp_path)

    assert place.begun()["agent"]["kind"] == "command"

    place.reconcile("apply", "-f", "epic.yaml")
    assert "the program 'put-your-agent-here' is not on the agent's PATH" in place.degraded()["message"]
    assert place.json("get", "runs") == [], "nothing is started that is no agent"


def test_where_no_forge_can_be_found_out_a_first_manifest_says_which(tmp_path: Path) -> None:
    place = Machine(tmp_path)
    place.git("remote", "add", "origin", "git@gitlab.com:acme/app.git")

    assert place.begun()["forge"] == "local"

    planned = place.json("diff", "-f", "epic.yaml", code=1)["epics"][0]
    assert planned["actions"] and not planned["unknown"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused")
def test_that_claude_works_as_root_is_for_a_person_to_allow(tmp_path: Path) -> None:
    place = Machine(tmp_path, "claude")
    place.env.pop("IS_SANDBOX", None)

    assert "env" not in place.begun()["agent"]

    decided = place.json("diff", "-f", "epic.yaml", code=None)["epics"][0]
    assert decided["degraded"]["reason"] == "AgentUnavailable"
    assert "IS_SANDBOX=1" in decided["degraded"]["message"]
    text = (place.root / "epic.yaml").read_text()
    (place.root / "epic.yaml").write_text(text.replace("# env:", "env:"))
    assert "degraded" not in place.json("diff", "-f", "epic.yaml", code=None)["epics"][0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_profile_that_ships_is_enough_and_a_program_that_is_not_there_starts_nothing(
    tmp_path: Path, kind: str
) -> None:
    place = Machine(tmp_path)
    (place.root / "epic.yaml").write_text(EPIC.format(agent=kind))

    decided = place.json("diff", "-f", "epic.yaml", code=None)["epics"][0]

    assert decided["degraded"] == {
        "reason": "AgentUnavailable",
        "message": f"the program '{kind}' is not on the agent's PATH: see 'reconcile doctor'",
    }


def test_the_doctor_says_what_of_a_login_can_be_seen(tmp_path: Path) -> None:
    place = Machine(tmp_path, "gemini", "opencode")
    assert "no sign of a login" in place.checked("gemini")["message"]

    place.env["GEMINI_API_KEY"] = "secret-of-mine"
    (tmp_path / ".local" / "share" / "opencode").mkdir(parents=True)
    (tmp_path / ".local" / "share" / "opencode" / "auth.json").write_text("{}")

    assert place.checked("gemini")["message"] == "$GEMINI_API_KEY is set"
    assert place.checked("opencode")["message"] == "configured in ~/.local/share/opencode/auth.json"


def test_the_doctor_tells_of_a_login_that_failed_until_a_run_has_gone_well(tmp_path: Path) -> None:
    place = Machine(tmp_path, "claude")
    refused = '{"type": "result", "is_error": true, "api_error_status": 401, "result": "Invalid API key"}'
    place.program("claude", f"test \"$1\" = --version && echo 9.8.7 && exit; echo '{refused}'; exit 1")
    agent = {"kind": "claude", "argv": [], "env": {"IS_SANDBOX": "1"}}
    manifest = str(place.manifest(agent=agent, tasks=[{"key": "a", "title": "Do a"}]))
    place.reconcile("apply", "-f", manifest)
    until(lambda: place.checked("agents")["state"] == "problem")

    found, task = place.checked("agents"), place.tasks()["Do a"]["id"]

    assert "claude can't work: Invalid API key" in found["message"]
    assert found["hint"].startswith("run 'claude auth login'"), found

    work = 'git commit -q --allow-empty -m x; echo \'{"type": "result", "subtype": "success"}\''
    place.program("claude", work)
    place.reconcile("retry", task)
    place.reconcile("apply", "-f", manifest)
    until(lambda: place.checked("agents")["state"] == "ok")


def test_what_agents_can_not_work_for_is_said_once_and_its_end_once_however_often_it_is_tried(tmp_path: Path) -> None:
    place = Machine(tmp_path, "claude")
    refused = '{"type": "result", "is_error": true, "api_error_status": 401, "result": "Invalid API key"}'
    work = 'git commit -q --allow-empty -m x; echo \'{"type": "result", "subtype": "success"}\''
    tries = f"echo x >> {tmp_path}/tries; test $(wc -l < {tmp_path}/tries) -gt 4 && {{ {work}; exit; }}"
    place.program(
        "claude", f"test \"$1\" = --version && echo 9.8.7 && exit; sleep 1; {tries}; echo '{refused}'; exit 1"
    )
    agent = {"kind": "claude", "argv": [], "env": {"IS_SANDBOX": "1"}, "backoff": {"initial": "1s", "max": "1s"}}
    told = {"on": ["Degraded"], "run": ["sh", "-c", f"cat >> {tmp_path}/told"]}
    tasks = [{"key": "a", "title": "Do a"}]
    manifest = place.manifest(agent=agent, notify=[told], tasks=tasks)

    watch = place.start("watch", "-f", str(manifest), "--until-done")
    until(lambda: (tmp_path / "tries").exists() and len((tmp_path / "tries").read_text()) > 4)
    first = place.degraded()
    until(lambda: len((tmp_path / "tries").read_text()) > 6)
    again = place.degraded()
    out = "".join(watch.communicate(timeout=60))

    assert first["reason"] == "AgentUnavailable" and again == first
    assert (out.count("AgentUnavailable: claude can't work"), out.count("no longer blocked")) == (1, 1), out
    assert (tmp_path / "told").read_text().count("AgentUnavailable") == 1
    assert place.tasks()["Do a"]["status"] == "closed"


def test_the_doctor_looks_for_the_program_of_a_known_agent_where_a_manifest_needs_it(tmp_path: Path) -> None:
    place = Machine(tmp_path)
    (place.root / "epic.yaml").write_text(EPIC.format(agent="gemini"))
    place.reconcile("apply", "-f", "epic.yaml", code=None)

    found = place.checked("gemini")

    assert (found["state"], "the agents of x are this program" in found["message"]) == ("problem", True)


def test_a_program_that_is_called_claude_and_never_says_how_it_ended_has_failed(tmp_path: Path) -> None:
    place = Machine(tmp_path, "claude")
    place.program("claude", "echo hello")
    agent = {"kind": "claude", "argv": [], "maxAttempts": 1, "env": {"IS_SANDBOX": "1"}}
    tasks = [{"key": "a", "title": "Do a"}]

    place.reconcile("apply", "-f", str(place.manifest(agent=agent, tasks=tasks)), "--wait", code=3)

    waiting = place.json("describe", place.tasks()["Do a"]["id"])["waiting"]
    assert (waiting["reason"], "really claude?" in waiting["message"]) == ("AgentFailed", True)


FINAL = {
    "claude": '{"type": "result", "subtype": "success", "is_error": false, "result": "All is done."}',
    "codex": '{"type": "turn.completed", "usage": {"input_tokens": 1, "output_tokens": 1}}',
    "gemini": '{"type": "result", "status": "success"}',
    "opencode": '{"type": "step_finish", "part": {"reason": "stop"}}',
}


@pytest.mark.parametrize("kind", FINAL)
def test_an_agent_that_prints_its_final_result_and_stays_has_ended_well(tmp_path: Path, kind: str) -> None:
    place = Machine(tmp_path, kind)
    place.program(kind, f"{AGENT}; echo begun; echo '{FINAL[kind]}'; echo warning: late; exec sleep 613")
    agent = {"kind": kind, "argv": [], "env": {"IS_SANDBOX": "1"}}
    manifest = place.manifest(agent=agent, tasks=[{"key": "a", "title": "Do a"}])

    place.reconcile("watch", "-f", str(manifest), "--interval", "1s", "--until-done")

    task = place.json("describe", place.tasks()["Do a"]["id"])
    assert (task["status"], task["phase"], len([run for run in task["runs"] if run["attempt"]])) == (
        "closed",
        "merged",
        1,
    )


@pytest.mark.parametrize(
    "line", ["GET /health 200", '{"type":"system","subtype":"hook_response"}'], ids=["a server", "a hook"]
)
def test_what_stands_below_the_final_result_does_not_keep_an_agent_from_having_ended(tmp_path: Path, line: str) -> None:
    place = Machine(tmp_path, "claude")
    serves = f"while :; do echo '{line}'; sleep 0.3; done"
    place.program("claude", f"{AGENT}; echo '{FINAL['claude']}'; {serves}")
    agent = {"kind": "claude", "argv": [], "env": {"IS_SANDBOX": "1"}, "timeout": "40s", "maxAttempts": 1}
    manifest = place.manifest(agent=agent, tasks=[{"key": "a", "title": "Do a"}])

    place.reconcile("watch", "-f", str(manifest), "--interval", "1s", "--until-done")

    task = place.json("describe", place.tasks()["Do a"]["id"])
    assert (task["status"], len([run for run in task["runs"] if run["attempt"]])) == ("closed", 1)


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ("---\nname: worker\n---\nOurs: do $TASK_ID.\n", "Ours: do"),
        ("---\nname: worker\n---\nYou review colours.\n", "You do one task, alone"),
        (None, "You do one task, alone"),
    ],
    ids=["speaks of the task", "is about something else", "is not there"],
)
def test_a_repositorys_own_worker_wins_where_it_speaks_of_the_task(tmp_path: Path, own: str | None, told: str) -> None:
    place = Place(tmp_path)
    if own:
        (place.root / ".claude" / "agents").mkdir(parents=True)
        (place.root / ".claude" / "agents" / "worker.md").write_text(own)
    heard = tmp_path / "heard"
    agent = {"argv": ["sh", "-c", f'head -n 1 "$RECONCILE_PROMPT" > {heard}; {AGENT}']}
    tasks = [{"key": "a", "title": "Do a"}]

    place.reconcile("apply", "-f", str(place.manifest(agent=agent, tasks=tasks)), "--wait", "--timeout", "1h")

    assert heard.read_text().startswith(told)


def test_an_agent_that_says_what_it_costs_is_ended_where_a_run_may_cost_no_more_and_its_work_is_gone_on_with(
    tmp_path: Path,
) -> None:
    place = Machine(tmp_path)
    step = '{"type": "step_finish", "sessionID": "ses_0123456789", "part": {"reason": "%s", "cost": 0.6}}'
    place.program(
        "opencode",
        f"""case "$*" in
        *--session=ses_0123456789*) test -e half && git add . && git commit -qm Work; printf '{step}\\n' stop;;
        *) touch half; for n in 1 2 3 4; do printf '{step}\\n' tool-calls; done; sleep 600;;
        esac""",
    )
    manifest = place.manifest(
        agent={"kind": "opencode", "argv": []}, tasks=[{"key": "a", "title": "Do a"}], budget={"usdPerRun": 1.5}
    )

    place.reconcile("apply", "-f", str(manifest), "--wait")

    task = place.tasks()["Do a"]["id"]
    assert place.git("show", "--stat", "--format=", "main").split()[0] == "half"
    runs = [run for run in place.json("get", "runs") if run["kind"] == "work"]
    assert [run["attempt"] for run in runs] == [1, 2]
    said = " ".join(place.reconcile("get", "events", task).split())
    assert f"stop work/{task}/1: it has cost $2.40 of the $1.50 that it may" in said
    assert "start agent (attempt 2): agent has spent what it may" in said


def test_a_limit_of_a_run_that_nobody_keeps_is_said_as_it_is_applied_and_by_doctor_as_long_as_it_is_in_force(
    tmp_path: Path,
) -> None:
    place = Machine(tmp_path)
    place.program(
        "codex", """echo x > made && git add . && git commit -qm Work; echo '{"type": "turn.completed", "usage": {}}'"""
    )
    says = "budget.usdPerRun ($1.50) does not hold for its agents: one of kind codex can't be given a limit"

    def applied(*args: str, **spec: object) -> str:
        manifest = place.manifest(agent={"kind": "codex", "argv": []}, tasks=[{"key": "a", "title": "Do a"}], **spec)
        _, said = ended(place.start("apply", "-f", str(manifest), *args))
        return " ".join(said.split())

    assert f"warning: work: {says}" in applied("--dry-run", budget={"usdPerRun": 1.5})
    assert f"warning: work: {says}" in applied("--wait", budget={"usdPerRun": 1.5})
    assert place.git("show", "--stat", "--format=", "main").split()[0] == "made", "it is said, and holds nothing up"

    def found() -> list[tuple[str, str]]:
        return [
            (each["state"], each["message"])
            for each in place.json("doctor", code=None)["checks"]
            if each["name"] == "budget"
        ]

    ((state, message),) = found()
    assert (state, message.startswith(says)) == ("warning", True)
    assert "does not hold" not in applied()
    assert not found()


@pytest.mark.parametrize("lists", ["--print --json-schema", "--print", ""])
def test_a_reviewer_that_is_too_old_to_be_given_a_schema_answers_in_its_file(tmp_path: Path, lists: str) -> None:
    place = Machine(tmp_path)
    place.program(
        "claude",
        f"""case "$*" in
        --help) echo help >> "{tmp_path}/asked"; echo "{lists}"; exit;;
        *--json-schema=*) case "{lists}" in --print) echo "error: unknown option" >&2; exit 1;; esac;;
        esac
        if test -z "$RECONCILE_VERDICT"; then echo x > made && git add . && git commit -qm Work; fi
        verdict='{{"verdict": "approve", "risk": "normal", "summary": "Good."}}'
        case "$*" in
        *--json-schema=*) answer=$verdict;;
        *) answer=null; test -z "$RECONCILE_VERDICT" || {{ grep -q "into the file whose path" - && echo "$verdict" > "$RECONCILE_VERDICT"; }};;
        esac
        printf '{{"type": "result", "subtype": "success", "structured_output": %s}}\\n' "$answer" """,
    )
    agent = {"kind": "claude", "argv": [], "env": {"IS_SANDBOX": "1"}}
    manifest = place.manifest(agent=agent, tasks=[{"key": "a", "title": "Do a"}], mergePolicy={"review": "agent"})

    place.reconcile("apply", "-f", str(manifest), "--wait", "--timeout", "60s")

    runs = [run for run in place.json("get", "runs") if run["kind"] == "review"]
    assert len(runs) == 1, "it is not found out by a review that comes to nothing"
    assert (tmp_path / "asked").read_text() == "help\n"
