"""A watch that tells people: once, in time for those who come back hours later."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from strangers import Place
from waiting import ended, until

NOTIFY = ["sh", "-c", 'printf "%s\\n" "$1" >> "$INBOX"', "sh", "{message}"]
EVERYTHING = ["NeedsHuman", "EpicComplete", "Degraded", "BudgetLow"]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    place.env["INBOX"] = str(tmp_path / "inbox")
    (tmp_path / "inbox").touch()
    yield place
    place.reconcile("stop", "--all", code=None)


def got(place: Place) -> list[str]:
    return Path(place.env["INBOX"]).read_text().splitlines()


def test_a_person_is_told_once_that_a_task_needs_them_and_once_that_all_is_done(place: Place) -> None:
    one = [{"key": "a", "title": "Do a"}]
    rule = {"on": EVERYTHING, "run": NOTIFY, "every": "0s"}
    file = place.manifest(tasks=one, agent={"argv": ["true"], "maxAttempts": 1}, notify=[rule])

    place.reconcile("watch", "-f", str(file), "--until-done", code=3)
    until(lambda: got(place))
    place.reconcile("watch", "--until-done", code=3)
    (task,) = (each for title, each in place.tasks().items() if title == "Do a")
    assert got(place)[0].startswith(f"work: {task['id']} Do a: ") and len(got(place)) == 1

    place.reconcile("apply", "-f", str(place.manifest(tasks=one, notify=[rule])))
    place.reconcile("retry", task["id"])
    place.reconcile("watch", "--until-done")
    until(lambda: len(got(place)) > 1)
    place.reconcile("watch", "--until-done")
    assert got(place)[1:] == ["work: all 1 tasks are closed"]


def test_who_can_not_be_told_is_said_by_status_and_by_a_test(place: Place) -> None:
    rule = {"on": EVERYTHING, "run": ["sh", "-c", "echo no route >&2; exit 1", "sh", "${PASSWORD}"]}
    place.env["PASSWORD"] = "geheim"
    place.reconcile("apply", "-f", str(place.manifest(agent={"argv": ["false"], "maxAttempts": 1}, notify=[rule])))

    place.reconcile("watch", "--until-done", code=3)
    until(lambda: place.json("status")["notify"])

    (missed,) = place.json("status")["notify"]
    assert (missed["to"], missed["message"]) == ("sh", "no route") and missed["tries"] >= 1
    assert "sh: no route" in place.reconcile("notify", "test", code=1)
    assert place.json("notify", "test", "work", code=1) == [
        {"to": "sh", "manifest": "work", "error": "no route", "quiet": None}
    ]
    place.env["RECONCILE_RUN"] = "work/x/1"
    assert "refused inside a run" in place.reconcile("notify", "test", code=1)


def test_who_could_not_be_told_or_asked_is_foreseen(place: Place) -> None:
    rules = [
        {"on": ["NeedsHuman"], "run": ["no-such-teller", "{message}"]},
        {"on": ["NeedsHuman"], "run": ["sh", "-c", "true", "sh", "${NOT_SET}"]},
        {"on": ["NeedsHuman"], "run": NOTIFY},
    ]
    reviewer = {"kind": "command", "argv": ["no-such-reviewer"]}
    spec = {"notify": rules, "reviewer": reviewer, "mergePolicy": {"review": "agent"}}
    file = place.manifest(agent={"argv": ["true"]}, **spec)

    process = place.start("diff", "-f", str(file))
    _, said = ended(process)

    assert process.returncode == 1
    assert "no-such-teller could not be notified from here: no-such-teller is not on the PATH" in said
    assert "sh could not be notified from here: NOT_SET is not set" in said
    assert said.count("could not be notified") == 2
    assert "work: its reviewer could not start" in said and "no-such-reviewer" in said


def test_a_test_in_quiet_hours_says_that_the_watch_would_not_send(place: Place) -> None:
    rule = {
        "on": ["NeedsHuman"],
        "run": NOTIFY,
        "quiet": f"{time.localtime().tm_hour:02}:00-{(time.localtime().tm_hour + 2) % 24:02}:00",
    }
    place.reconcile(
        "apply", "-f", str(place.manifest(agent={"argv": ["true"]}, suspend=True, notify=[rule])), code=None
    )

    assert "sent; these are quiet hours (" in place.reconcile("notify", "test")
    assert place.json("notify", "test")[0]["quiet"] == rule["quiet"]


def test_what_an_agent_writes_into_the_manifest_is_not_run(place: Place) -> None:
    trap = place.root.parent / "trap"
    file = place.manifest(agent={"argv": ["true"], "maxAttempts": 1})
    place.reconcile("apply", "-f", str(file))
    watch = place.start("watch", "-f", str(file))
    until(lambda: any("needs-human" in task.get("labels", ()) for task in place.tasks().values()), by=watch)

    spec = yaml.safe_load(file.read_text())
    spec["spec"] |= {"notify": [{"on": EVERYTHING, "run": ["touch", str(trap)]}], "maxAgents": 1}
    file.write_text(yaml.safe_dump(spec))
    until(lambda: place.json("get", "manifests")[0]["maxAgents"] == 1, by=watch)
    time.sleep(1)
    watch.terminate()
    ended(watch)

    assert not trap.exists()
    assert "notify" in str(place.json("status")["epics"][0]["withheld"])
