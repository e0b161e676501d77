"""GitHub's own checks test what lands, several changes together: real commands, real `gh`, real git, a GitHub of our own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from github.workflows import Workflow
from strangers import AGENT

from tests.e2e.test_on_github import Place, cloned, killed_again_and_again

pytestmark = pytest.mark.xdist_group("github")
TITLES = tuple(f"Do {letter}" for letter in "abcdef")
NAMES = "on: {push: {branches: ['reconcile/staging/**']}}\n"
# The fourth breaks it at first.
ONCE_BAD = f"case $(cat $RECONCILE_PROMPT) in *'Do d'*) [ $RECONCILE_ATTEMPT = 1 ] && echo x > broken || rm broken;; esac; {AGENT}"


@pytest.fixture
def place() -> Iterator[Place]:
    with cloned() as made:
        made.app.on_head = None
        made.hub.commit("acme/app", "main", {".github/workflows/ci.yml": NAMES})
        made.git("fetch", "--quiet", "origin")
        made.git("reset", "--quiet", "--hard", "origin/main")
        yield made


def files(place: Place, commit: str) -> set[str]:
    return set(place.app.bare.git("ls-tree", "--name-only", commit).split())


def a_workflow(place: Place, **fields: object) -> Workflow:
    made = Workflow(
        branches="reconcile/staging/*",
        result=lambda commit: "failure" if "broken" in files(place, commit) else "success",
        lasts_s=2.0,
        **fields,  # type: ignore[arg-type]
    )
    place.app.workflows.append(made)
    return made


def a_manifest(place: Place, *titles: str, argv: str = AGENT, **policy: object) -> str:
    tasks = [{"key": title[-1], "title": title} for title in titles]
    queue = {"staging": True, "parallel": 4, "retries": 0}
    merge = {"checks": [], "method": "merge", "requiredChecks": ["ci"], "queue": queue, **policy}
    agent = {"argv": ["sh", "-c", argv]}
    return str(place.manifest(tasks=tasks, maxAgents=6, agent=agent, mergePolicy=merge))


def landed(place: Place) -> list[str]:
    """The commits that are on the base since it began, newest first."""
    return place.app.bare.git("log", "--first-parent", "--format=%H", "main").split()[:-2]


@pytest.mark.slow
def test_six_changes_one_of_them_bad_land_after_fewer_rounds_than_there_are_changes(place: Place) -> None:
    workflow = a_workflow(place, ready=lambda: len(place.app.pulls) == len(TITLES))

    place.reconcile("watch", "-f", a_manifest(place, *TITLES, argv=ONCE_BAD), "--until-done")

    tasks = place.tasks()
    assert {title: tasks[title]["status"] for title in TITLES} == dict.fromkeys(TITLES, "closed")
    assert "broken" not in files(place, "main")
    assert [pull.state for pull in place.app.pulls.values()] == ["MERGED"] * len(TITLES)
    assert max(workflow.rounds.values()) < len(TITLES), workflow.rounds
    # Wherever the base came to stand, that very commit had been tested.
    tips = {new for ref, new in _moves(place) if ref == "refs/heads/main"}
    tested = {commit for _, commit in workflow.pushes}
    assert tips and tips <= tested
    assert set(place.app.bare.heads()) == {"main"}
    assert place.leftovers() == []
    assert place.json("diff")["epics"][0]["converged"] is True


def _moves(place: Place) -> list[tuple[str, str]]:
    rows = (line.split(" ", 2) for line in (place.app.bare.path / "pushed").read_text().splitlines())
    return [(ref, new) for _, new, ref in rows]


@pytest.mark.slow
def test_a_watcher_that_is_killed_again_and_again_has_each_commit_tested_once(place: Place) -> None:
    workflow = a_workflow(place)
    path = a_manifest(place, "Do a", "Do b", "Do c")
    place.reconcile("apply", "-f", path)

    killed_again_and_again(place)
    place.reconcile("watch", "--until-done")

    tasks = place.tasks()
    assert [tasks[title]["status"] for title in ("Do a", "Do b", "Do c")] == ["closed"] * 3
    assert len(set(workflow.pushes)) == len(workflow.pushes)
    assert set(place.app.bare.heads()) == {"main"}
    assert place.leftovers() == []


@pytest.mark.slow
def test_where_github_merges_every_tip_of_the_base_was_tested_as_such(place: Place) -> None:
    workflow = a_workflow(place)
    place.app.on_head = lambda head: place.app.check(head, "ci", "success")
    place.app.protect("main", required=("ci",))

    place.reconcile("watch", "-f", a_manifest(place, "Do a", "Do b", "Do c", method="squash"), "--until-done")

    trees = {place.app.bare.commit(commit).tree for commit in landed(place)}
    assert len(trees) == 3
    assert trees <= {place.app.bare.commit(commit).tree for _, commit in workflow.pushes}
    assert set(place.app.bare.heads()) == {"main"}


def test_where_no_workflow_would_run_nobody_works_and_that_is_said(place: Place) -> None:
    place.hub.commit("acme/app", "main", {".github/workflows/ci.yml": "on: push\n"})
    path = a_manifest(place, "Do a")
    assert "no workflow of main names that" in place.reconcile("apply", "-f", path, code=3)

    planned = place.json("diff", code=None)
    said = place.reconcile("doctor", code=None)

    held = planned["epics"][0]["held"]
    assert held["reason"] == "ForgeUnavailable" and "no workflow of main names that" in held["message"]
    assert "no workflow of main names that" in said
    assert place.app.pulls == {}


def test_a_branch_of_such_a_name_that_was_not_made_here_is_named_by_doctor(place: Place) -> None:
    theirs = place.hub.commit("acme/app", "reconcile/staging/1", {"theirs": "1\n"})
    place.reconcile("apply", "-f", a_manifest(place, "Do a"))

    said = place.reconcile("doctor", code=None)

    assert "reconcile/staging/1" in said and "were not made here, and are left alone" in said
    assert place.app.head("reconcile/staging/1") == theirs


@pytest.mark.parametrize(
    ("spec", "said"),
    [({"forge": "local"}, "'forge: local' has none"), ({"mergePolicy": {"landing": "queue"}}, "tests nothing with")],
)
def test_where_it_can_have_no_effect_it_is_refused(place: Place, spec: dict[str, object], said: str) -> None:
    policy = {"queue": {"staging": True}, **dict(spec.pop("mergePolicy", {}))}  # type: ignore[call-overload]
    path = place.manifest(mergePolicy=policy, **spec)

    assert said in place.reconcile("apply", "-f", str(path), code=2)
