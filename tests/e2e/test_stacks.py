"""Tasks that begin on the branch of another one, which has yet to land."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from strangers import Place
from waiting import until

from tests.e2e import test_on_github

AGENT = """
name=$(sed -n 's/^- Title: Write //p' "$RECONCILE_PROMPT" | head -n 1)
cp "$RECONCILE_PROMPT" "../../prompt-$name"
test "$name" != child || test -e parent || exit 3
echo "$name" > "$name" && git add . && git commit -qm "Write $name"
"""
TASKS = [
    {"key": "parent", "title": "Write parent"},
    {"key": "child", "title": "Write child", "dependsOn": ["parent"]},
]


def stacked(place: Place, **policy: object) -> str:
    agent = {"argv": ["sh", "-c", AGENT]}
    return str(place.manifest(tasks=TASKS, agent=agent, stack=True, mergePolicy={"mode": "manual", **policy}))


def shown(place: Place) -> dict[str, dict]:
    return {task["title"].removeprefix("Write "): task for task in place.json("status")["epics"][0]["tasks"]}


def ids(place: Place) -> tuple[str, str]:
    tasks = place.tasks()
    return tasks["Write parent"]["id"], tasks["Write child"]["id"]


def test_a_child_begins_on_its_parents_branch_and_lands_after_it_with_its_own_work_alone(tmp_path: Path) -> None:
    place = Place(tmp_path)
    manifest = stacked(place)

    place.reconcile("apply", "-f", manifest, "--wait", code=3)

    parent, child = ids(place)
    tasks = shown(place)
    assert tasks["parent"]["waiting"]["reason"] == "AwaitingMerge"
    said = f"#2 is on top of agent/{parent}, and goes on once {parent} has landed"
    assert tasks["child"]["waiting"] == {"reason": "Stacked", "message": said}
    assert place.git("merge-base", f"agent/{parent}", f"agent/{child}") == place.git("rev-parse", f"agent/{parent}")
    assert f"begins on that of {parent}" in (tmp_path / "prompt-child").read_text()
    assert [run["kind"] for run in place.json("get", "runs")].count("check") == 1

    place.reconcile("merge")
    place.reconcile("apply", "-f", manifest, "--wait")
    assert place.subjects() == ["Write child", "Write parent", "Begin"]
    assert place.git("show", "--stat", "--format=", "main").split()[0] == "child"
    assert place.leftovers() == [] and place.git("for-each-ref", "refs/reconcile/upon") == ""


def test_a_child_waits_for_a_parent_that_is_sent_back_and_brings_nothing_of_one_that_is_closed(tmp_path: Path) -> None:
    place = Place(tmp_path)
    manifest = stacked(place)
    place.reconcile("apply", "-f", manifest, "--wait", code=3)
    parent, child = ids(place)

    place.reconcile("reject", parent, "--close", "-m", "not at all")
    place.reconcile("apply", "-f", manifest, "--wait", code=3)
    assert shown(place)["child"]["waiting"]["reason"] == "Stacked"
    place.reconcile("task", "close", parent)
    place.reconcile("apply", "-f", manifest, "--wait", code=3)

    assert place.git("log", "--format=%s", f"main..agent/{child}") == "Write child\n"
    place.reconcile("merge")
    assert place.git("ls-tree", "--name-only", "main").split() == ["README", "child"]


CHAIN = [*TASKS, {"key": "grandchild", "title": "Write grandchild", "dependsOn": ["child"]}]


@pytest.mark.parametrize("child", ["mended", "closed"])
def test_of_a_chain_of_three_the_last_begins_on_the_second_once_the_first_has_landed(
    tmp_path: Path, child: str
) -> None:
    place = Place(tmp_path)
    agent = AGENT.replace('echo "$name" >', 'echo "$name" >>')
    manifest = str(
        place.manifest(tasks=CHAIN, agent={"argv": ["sh", "-c", agent]}, stack=True, mergePolicy={"mode": "manual"})
    )
    place.reconcile("apply", "-f", manifest, "--wait", code=3)
    ids = {task["title"].removeprefix("Write "): task["id"] for task in place.tasks().values()}
    waits = (
        f"blocked by {ids['child']}, which is on top of agent/{ids['parent']} itself; it may begin once that has landed"
    )
    assert shown(place)["grandchild"]["waiting"] == {"reason": "Blocked", "message": waits}

    # Not as it was offered: the child's own commit has to be put onto what a person made of its parent.
    place.git("merge", "--quiet", "--squash", f"agent/{ids['parent']}")
    place.git("commit", "--quiet", "-m", "By hand")
    place.reconcile("apply", "-f", manifest, "--wait", code=3)
    tasks, fork = shown(place), place.git("rev-parse", f"agent/{ids['child']}")
    assert [tasks[name]["waiting"]["reason"] for name in ("child", "grandchild")] == ["AwaitingMerge", "Stacked"]
    assert place.git("log", "--format=%s", f"main..agent/{ids['grandchild']}") == "Write grandchild\nWrite child\n"

    place.reconcile("reject", ids["child"], "-m", "again")
    place.reconcile("apply", "-f", manifest, "--wait", code=3)
    assert place.git("rev-parse", f"agent/{ids['child']}") != fork
    assert shown(place)["grandchild"]["waiting"]["reason"] == "Stacked"
    if child == "closed":
        place.reconcile("reject", ids["child"], "--close", "-m", "not at all")
        place.reconcile("apply", "-f", manifest, "--wait", code=3)
        place.reconcile("task", "close", ids["child"])
        place.reconcile("apply", "-f", manifest, "--wait", code=3)
    place.reconcile("merge")

    mended = [("Write child", "child")] if child == "mended" else []
    assert place.subjects() == ["Write grandchild", *(subject for subject, _ in mended), "By hand", "Begin"]
    for commit, path in zip(("main", "main~"), ("grandchild", *(path for _, path in mended)), strict=False):
        assert place.git("show", "--format=", "--name-only", commit) == f"{path}\n"


# --- on GitHub -----------------------------------------------------------------------------------------------


@pytest.fixture
def there() -> Iterator[test_on_github.Place]:
    with test_on_github.cloned() as made:
        yield made


@pytest.mark.xdist_group("github")
@pytest.mark.parametrize("deleted", [True, False])
def test_on_github_its_pull_request_goes_onto_its_parents_branch_until_that_has_landed(
    there: test_on_github.Place, deleted: bool
) -> None:
    manifest = stacked(there, requiredChecks=["ci"], deleteBranch=deleted)
    watch = there.start("watch", "-f", manifest)
    until(lambda: 2 in there.app.pulls and there.app.pull(2).head, by=watch)
    parent, child = ids(there)
    pull = there.app.pull(2)
    assert (pull.into, pull.branch) == (f"agent/{parent}", f"agent/{child}")
    until(lambda: (shown(there)["child"]["waiting"] or {}).get("reason") == "Stacked", by=watch)

    there.reconcile("merge", code=None)

    until(lambda: there.app.pull(2).into == "main", by=watch)
    until(lambda: (shown(there)["child"]["waiting"] or {}).get("reason") == "AwaitingMerge", by=watch)
    bare = there.app.bare
    assert bare.git("log", "--format=%s", f"main..{there.app.pull(2).head}").split("\\n")[0] == "Write child"
    assert {path for path, _, _ in bare.changes("main", there.app.pull(2).head)} == {"child"}
    there.reconcile("merge", code=None)
    until(lambda: all(task["status"] == "closed" for task in there.tasks().values()), by=watch)
    watch.terminate()
    watch.communicate()
    assert [there.app.pull(n).state for n in (1, 2)] == ["MERGED", "MERGED"]
    assert bare.git("log", "--first-parent", "--format=%s", "main").splitlines()[:2] == [
        "Write child (#2)",
        "Write parent (#1)",
    ]


@pytest.mark.xdist_group("github")
def test_what_github_closes_with_its_parents_branch_goes_onto_the_base_all_the_same(
    there: test_on_github.Place,
) -> None:
    manifest = stacked(there, requiredChecks=["ci"])
    there.reconcile("apply", "-f", manifest, "--wait", code=3)
    merge = ("gh", "pr", "merge", "1", "--squash", "--delete-branch", "--repo", "acme/app")
    subprocess.run(merge, cwd=there.root, env=there.env, check=True)
    assert (there.app.pull(2).state, there.app.pull(2).into) == ("CLOSED", there.app.pull(1).branch)

    there.reconcile("apply", "-f", manifest, "--wait", code=3)
    there.reconcile("merge")
    there.reconcile("apply", "-f", manifest, "--wait", code=0)

    assert [there.app.pull(n).state for n in (1, 2, 3)] == ["MERGED", "CLOSED", "MERGED"]
    assert {path for path, _, _ in there.app.bare.changes("main~", "main")} == {"child"}


@pytest.mark.xdist_group("github")
@pytest.mark.parametrize("closed", [True, False])
def test_what_a_person_merges_into_its_parents_branch_is_on_the_base_with_that_or_is_asked_about(
    there: test_on_github.Place, closed: bool
) -> None:
    manifest = stacked(there, requiredChecks=["ci"])
    there.reconcile("apply", "-f", manifest, "--wait", code=3)
    parent, child = ids(there)
    acts = [("close", "1")] * closed + [("merge", "2", "--squash")]
    for act in acts:
        subprocess.run(("gh", "pr", *act, "--repo", "acme/app"), cwd=there.root, env=there.env, check=True)

    there.reconcile("apply", "-f", manifest, "--wait", code=3)
    said = shown(there)["child"]["waiting"]
    if closed:
        assert (
            said["reason"] == "SetAside"
            and f"none of it is on main; open that one again and it comes along, or close {parent}" in said["message"]
        )
        there.reconcile("task", "close", parent)
        there.reconcile("apply", "-f", manifest, "--wait", code=3)
        assert there.app.pull(3).into == "main"
    else:
        assert said == {
            "reason": "Stacked",
            "message": f"#2 was merged into agent/{parent}, and goes on once {parent} has landed",
        }
    there.reconcile("merge")
    there.reconcile("apply", "-f", manifest, "--wait", code=0)

    new = {"child"} if closed else {"child", "parent"}
    assert {path for path, _, _ in there.app.bare.changes("main~", "main")} == new
    assert (shown(there)["child"]["status"], shown(there)["child"]["waiting"]) == ("closed", None)
    assert [run["attempt"] for run in there.json("get", "runs") if run["task"] == child and run["attempt"]] == [1]
