"""`mergePolicy.method: rebase` beside agents that merge: the real program on real git."""

from __future__ import annotations

from pathlib import Path

import pytest
from strangers import Place

JOINS = (
    "git commit -q --allow-empty -m base; git switch -qc side; echo {side} > {file}; git add .; git commit -qm Side; "
    "git switch -q $RECONCILE_BRANCH; echo own > own; git add .; git commit -qm Own; "
    "git merge -q --no-ff --no-edit side || {{ echo both > own; git add .; git commit -qm Both; }}"
)
DECIDES = JOINS.format(file="own", side="side") + "; echo more > more; git add .; git commit -q --amend --no-edit"
OBEYS = 'if grep -q "leave no merge commit" "$RECONCILE_PROMPT"; then git reset -q --soft main; git commit -qm Anew; exit; fi; '


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def watched(place: Place, agent: str, code: int) -> str:
    manifest = place.manifest(
        tasks=[{"key": "a", "title": "Do a"}],
        agent={"argv": ["sh", "-c", agent]},
        mergePolicy={"method": "rebase"},
    )
    return place.reconcile("watch", "-f", str(manifest), "--until-done", code=code)


def whys(place: Place) -> list[str]:
    return [event["reason"] for event in place.json("get", "events") if event.get("action") == "RestartAgent"]


def test_a_branch_with_merge_commits_lands_without_them_where_that_gives_the_same(place: Place) -> None:
    watched(place, JOINS.format(file="other", side="side"), 0)

    assert sorted(place.subjects()[:2]) == ["Own", "Side"]
    assert not place.git("rev-list", "--merges", "main") and whys(place) == []


def test_a_branch_whose_merge_commit_solved_a_conflict_lands_without_it_solved_the_same_way(place: Place) -> None:
    watched(place, JOINS.format(file="own", side="side"), 0)

    assert sorted(place.subjects()[:2]) == ["Own", "Side"] and (place.root / "own").read_text() == "both\n"
    assert not place.git("rev-list", "--merges", "main") and whys(place) == []


def test_an_agent_whose_merge_holds_a_decision_is_told_once_to_rebase_and_lands(place: Place) -> None:
    watched(place, OBEYS + DECIDES, 0)

    assert place.subjects()[0] == "Anew" and whys(place) == ["Conflict"]
    (prompt,) = place.root.glob(".git/reconcile/runs/work/*/2/prompt*")
    text = prompt.read_text()
    assert "git rebase main" in text and "git merge" not in text and "Merge main" not in text and "squash" not in text
    assert [run["attempt"] for run in place.json("get", "runs") if run["kind"] == "work"] == [1, 1]


def test_one_that_merges_again_is_handed_to_a_person_who_is_told_what_else_there_is(place: Place) -> None:
    watched(place, DECIDES, 3)

    (task,) = place.json("status")["epics"][0]["tasks"]
    assert (task["status"], task["waiting"]["reason"]) == ("blocked", "Conflict")
    said = place.reconcile("describe", task["id"])
    assert "can't be rebased" in said and "mergePolicy.method squash" in said, said
    assert whys(place) == ["Conflict"]
