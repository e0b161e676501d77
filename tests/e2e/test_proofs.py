"""Where a check passed is part of what it proves: under another environment it is run again, in another terminal it is not."""

from __future__ import annotations

from pathlib import Path

from strangers import Place

from reconciler.model.names import Sha, check_subject

TASK = [{"key": "a", "title": "Do a"}]


def waiting(place: Place, ran: Path) -> str:
    """A manifest of which one change has passed its check, that says so in `ran`, and waits for a person."""
    policy = {"checks": [f"echo x >> {ran}"], "review": "human"}
    manifest = str(place.manifest(tasks=TASK, mergePolicy=policy))
    place.reconcile("apply", "-f", manifest, "--wait", code=3)
    assert ran.read_text() == "x\n"
    return manifest


def test_what_passed_is_not_run_again_from_another_terminal(tmp_path: Path) -> None:
    place, ran = Place(tmp_path), tmp_path / "ran"
    manifest = waiting(place, ran)
    place.env |= {
        "TERM": "xterm",
        "SHLVL": "7",
        "XDG_SESSION_ID": "9",
        "DISPLAY": ":3",
        "COLUMNS": "99",
        "SSH_TTY": "/x",
    }
    place.reconcile("apply", "-f", manifest, "--wait", code=3)
    assert ran.read_text() == "x\n"


def test_what_passed_under_another_environment_is_run_again(tmp_path: Path) -> None:
    place, ran = Place(tmp_path), tmp_path / "ran"
    manifest, before = waiting(place, ran), dict(place.env)
    place.env["LC_NUMERIC"] = "de_DE.UTF-8"
    assert place.json("get", "prs")[0]["checks"] == "passed", "who looks on sees what the one who acts sees"
    place.reconcile("apply", "-f", manifest, "--wait", code=3)
    assert ran.read_text() == "x\nx\n"
    place.env = before
    place.reconcile("apply", "-f", manifest, "--wait", code=3)
    assert ran.read_text() == "x\nx\n", "what passed here before still is a proof here"


def test_what_passed_before_that_was_written_down_is_run_again(tmp_path: Path) -> None:
    place, ran = Place(tmp_path), tmp_path / "ran"
    manifest = waiting(place, ran)
    # As it was recorded then: under the tree, the commands and what the agent is given alone.
    (run,) = (place.root / ".git/reconcile/runs/check").iterdir()
    tree = Sha(place.git("rev-parse", "agent/" + place.tasks()["Do a"]["id"] + "^{tree}").strip())
    run.rename(run.with_name(check_subject(tree, (f"echo x >> {ran}",))))
    place.reconcile("apply", "-f", manifest, "--wait", code=3)
    assert ran.read_text() == "x\nx\n"
