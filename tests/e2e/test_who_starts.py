"""Who is given a slot first, where some would change what others are changing."""

from __future__ import annotations

from pathlib import Path

from strangers import Place
from waiting import until

AGENT = """
case "$RECONCILE_ATTEMPT$(cat "$RECONCILE_PROMPT")" in *"Do first"*) echo changed > README; touch ../../changed;; esac
until test -e ../../go-on; do sleep 0.1; done
echo done > "$RECONCILE_TASK.txt" && git add . && git commit -qm Work
"""
TASKS = [
    {"key": "first", "title": "Do first", "priority": 0},
    {"key": "meets", "title": "Do what meets it", "labels": ["paths:READ*"]},
    {"key": "apart", "title": "Do what keeps apart"},
    {"key": "too", "title": "Do that as well"},
]


def test_what_an_agent_has_changed_and_not_committed_keeps_others_from_starting_there_first(tmp_path: Path) -> None:
    place = Place(tmp_path)
    agent = {"argv": ["sh", "-c", AGENT]}

    place.reconcile("apply", "-f", str(place.manifest(tasks=TASKS, agent=agent, maxAgents=1)))
    until((place.root.parent / "changed").exists)
    more = str(place.manifest(tasks=TASKS, agent=agent, maxAgents=2))
    (epic,) = place.json("diff", "-f", more, code=1)["epics"]
    # Its label may still say that it is about to begin.
    due = [action for action in epic["actions"] if action["action"] != "SetPhase"]
    assert [action["message"] for action in due] == ["start agent (attempt 1)"]
    place.reconcile("apply", "-f", more)

    tasks = {task["title"]: task for task in place.json("status")["epics"][0]["tasks"]}
    assert tasks["Do what keeps apart"]["run"]
    word = tasks["Do what meets it"]["waiting"]
    assert word["reason"] == "Overlaps"
    said = f"others start first: it is likely to change README, and so is {tasks['Do first']['id']}, which is in hand"
    assert word["message"] == said
    assert said in " ".join(place.reconcile("describe", tasks["Do what meets it"]["id"]).split())

    (place.root.parent / "go-on").touch()
    place.reconcile("apply", "-f", more, "--wait")
    assert place.leftovers() == []
