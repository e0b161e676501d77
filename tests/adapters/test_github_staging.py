"""Staging branches on GitHub: what is pushed to them, whose they are, and what is believed of their commits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import on_github
import pytest
from github import faults
from github.workflows import Workflow
from on_github import Killed, Place, both, killed

from reconciler.forges.github import staging as staging_module
from reconciler.model.desired import MergeMethod
from reconciler.model.errors import ChangedError, ReconcileError
from reconciler.model.names import RunId, RunKind, Sha
from reconciler.model.observed import Cause, CheckResult, Exit, Run, RunState, StagedCheck
from reconciler.model.ports import LandOrder
from reconciler.model.values import replace

pytestmark = pytest.mark.xdist_group("github")
FIRST, SECOND = "reconcile/staging/1", "reconcile/staging/2"
END = Exit(cause=Cause.EXITED, at=datetime(2026, 1, 1, tzinfo=UTC), code=0)


@pytest.fixture
def there() -> Iterator[Place]:
    with on_github.place() as made:
        yield made


def a_run(order: LandOrder, n: int = 1, *, of_the_base: bool = False) -> Run:
    return Run(
        id=RunId(RunKind.CHECK, f"{order.expected.tree[:12]}-00000000", n),
        task=order.task,
        manifest="all",
        state=RunState.STARTING,
        baseline=order.expected.head,
        base_tip=order.expected.base,
        tree=order.expected.tree,
        heads=() if of_the_base else tuple(each.expected.head for each in order.whole),
    )


def staged(there: Place, run: Run) -> StagedCheck:
    """It, looked at anew."""
    there.forge.look.stale()
    [found] = [each for each in there.forge.staged() if each.run.id == run.id]
    return found


def branches(there: Place) -> dict[str, str]:
    heads = there.app.bare.heads()
    return {name: head for name, head in heads.items() if name.startswith("reconcile/")}


def test_what_would_land_is_pushed_and_exactly_that_commit_lands(there: Place) -> None:
    order, workflow = both(there), Workflow(branches="reconcile/staging/*")
    there.app.workflows.append(workflow)

    there.forge.stage(order, a_run(order))

    commit = there.app.head(FIRST)
    assert there.app.bare.commit(commit).tree == order.expected.tree
    found = staged(there, a_run(order))
    found = staged(there, a_run(order))
    assert (found.run.commit, found.there) == (commit, True)
    assert [(check.name, check.result) for check in found.checks] == [("ci", CheckResult.PASSED)]
    assert workflow.pushes == [(FIRST, commit)]
    assert there.forge.land(replace(order, tested=Sha(commit))) == commit == there.app.head("main")


def test_what_was_tested_lands_also_where_it_was_tested_twice(there: Place) -> None:
    order = both(there)
    for n in (1, 2):
        there.forge.stage(order, a_run(order, n))
    first, second = there.app.head(FIRST), there.app.head(SECOND)

    assert first != second and there.app.bare.commit(second).tree == there.app.bare.commit(first).tree
    assert there.forge.land(replace(order, tested=Sha(second))) == second == there.app.head("main")


def test_a_commit_that_was_made_of_something_else_does_not_land_for_its_tree(there: Place) -> None:
    order = both(there)
    tree, base = order.expected.tree, order.expected.base
    there.forge.stage(order, a_run(order))
    there.clone.git("fetch", "--quiet", "origin", FIRST)
    other = there.clone.git("commit-tree", tree, "-p", base, "-m", "of somebody").strip()

    commit = there.forge.land(replace(order, tested=Sha(other)))

    assert commit != other and there.app.bare.commit(commit).tree == tree


@pytest.mark.parametrize("where", ["record", "push", "pushed"])
def test_a_program_that_is_killed_around_the_push_has_pushed_one_commit_once(
    there: Place, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    order, workflow = both(there), Workflow(branches="reconcile/staging/*")
    there.app.workflows.append(workflow)
    staging = there.forge._staging
    with monkeypatch.context() as patched, pytest.raises(Killed):
        match where:
            case "record":
                patched.setattr(staging._records, "write", killed)
            case "push":
                patched.setattr(staging._remotes, "push_branch", killed)
            case _:
                patched.setattr(there.forge.look, "pushed", killed)
        there.forge.stage(order, a_run(order))
    before = branches(there)

    there.again()
    seen = [each for each in there.forge.staged() if each.there]
    assert [each.run.commit for each in seen] == [*before.values()] == (["", there.app.head(FIRST)][1:] if seen else [])
    assert bool(seen) is (where == "pushed")
    there.forge.stage(order, a_run(order))
    there.pull_requests()

    assert branches(there) == {FIRST: there.app.head(FIRST)}
    assert len({commit for _, commit in workflow.pushes}) == len(workflow.pushes) == 1


@pytest.mark.parametrize("where", ["record", "delete", "deleted"])
def test_a_program_that_is_killed_around_the_deletion_keeps_the_verdict_and_no_branch(
    there: Place, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    order = both(there)
    run = a_run(order)
    there.forge.stage(order, run)
    staging = there.forge._staging
    with monkeypatch.context() as patched, pytest.raises(Killed):
        if where == "record":
            patched.setattr(staging._records, "write", killed)
        elif where == "delete":
            patched.setattr(staging._remotes, "delete_branch", killed)
        else:
            delete = staging._remotes.delete_branch
            patched.setattr(staging._remotes, "delete_branch", lambda *args: (delete(*args), killed()))
        there.forge.clear_staging(run.id, END, "fine")

    there.again()
    found = staged(there, run)
    assert (found.run.exit is None) is (where == "record")
    assert found.there
    there.forge.clear_staging(run.id, END, "fine")
    there.forge.clear_staging(run.id, END, "fine")

    found = staged(there, run)
    assert (found.run.exit, found.run.remark, found.there) == (END, "fine", False)
    assert branches(there) == {}


def test_a_branch_that_was_not_made_here_is_never_touched_and_named(there: Place) -> None:
    order = both(there)
    theirs = there.hub.commit(on_github.NAME, FIRST, {"theirs": "1\n"})

    there.forge.stage(order, a_run(order))

    assert branches(there) == {FIRST: theirs, SECOND: there.app.head(SECOND)}
    assert there.forge.strange_staging("main") == [FIRST]
    there.forge.clear_staging(a_run(order).id, END, "")
    assert branches(there) == {FIRST: theirs}


def test_where_no_name_is_free_that_is_said_and_nothing_pushed(there: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging_module, "NAMES_MAX", 1)
    order = both(there)
    theirs = there.hub.commit(on_github.NAME, FIRST, {"theirs": "1\n"})

    with pytest.raises(ReconcileError, match=r"no staging branch is free: reconcile/staging/1 were not made here"):
        there.forge.stage(order, a_run(order))

    assert branches(there) == {FIRST: theirs}


def test_a_branch_that_somebody_makes_amid_our_push_keeps_what_they_pushed(
    there: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = both(there)
    push = there.forge._remotes.push_branch
    monkeypatch.setattr(
        there.forge._remotes, "push_branch",
        lambda *args: (there.hub.commit(on_github.NAME, FIRST, {"theirs": "1\n"}), push(*args)),
    )  # fmt: skip

    with pytest.raises(ChangedError):
        there.forge.stage(order, a_run(order))

    assert "theirs" in there.app.bare.git("ls-tree", "--name-only", FIRST)


def test_what_another_commit_on_the_branch_came_to_says_nothing_about_ours(there: Place) -> None:
    order = both(there)
    there.forge.stage(order, a_run(order))
    other = there.hub.commit(on_github.NAME, FIRST, {"theirs": "1\n"})
    there.app.check(other, "ci", "success")
    there.again()

    found = staged(there, a_run(order))
    assert found.checks == ()
    there.forge.clear_staging(a_run(order).id, END, "")
    assert branches(there) == {FIRST: other}


def test_what_one_commit_came_to_says_nothing_about_the_next(there: Place) -> None:
    order = both(there)
    for n in (1, 2):
        there.forge.stage(order, a_run(order, n))
    there.app.check(there.app.head(FIRST), "ci", "success")

    assert staged(there, a_run(order)).checks and not staged(there, a_run(order, 2)).checks


def test_what_is_asked_anew_of_the_same_tree_is_another_commit(there: Place) -> None:
    order = both(there)
    run = a_run(order)
    there.forge.stage(order, run)
    other = replace(run, id=RunId(RunKind.CHECK, f"{order.expected.tree[:12]}-11111111", 1))
    there.forge.stage(order, other)

    assert there.app.head(FIRST) != there.app.head(SECOND)
    there.forge.stage(order, other)
    assert set(branches(there)) == {FIRST, SECOND}


def test_the_verdict_stays_where_somebody_deletes_the_branch(there: Place) -> None:
    order = both(there)
    there.forge.stage(order, a_run(order))
    there.app.check(there.app.head(FIRST), "ci", "failure")
    there.app.delete_branch(FIRST)

    assert [check.result for check in staged(there, a_run(order)).checks] == [CheckResult.FAILED]


def test_the_base_and_what_was_rebased_are_tested_as_commits_of_their_own(there: Place) -> None:
    order = both(there)
    there.forge.stage(order, a_run(order, of_the_base=True))

    commit = there.app.bare.commit(there.app.head(FIRST))
    assert commit.parents == (order.expected.base,)
    assert commit.tree == there.app.bare.commit(order.expected.base).tree

    alone = replace(order.beneath[0], method=MergeMethod.REBASE)
    there.forge.stage(alone, a_run(alone))
    assert there.app.bare.commit(there.app.head(SECOND)).tree == alone.expected.tree


def test_what_is_staged_is_asked_for_with_everything_else_and_only_until_it_is_over(there: Place) -> None:
    order = both(there)
    there.forge.stage(order, a_run(order))
    for n in range(120):
        there.app.check(there.app.head(FIRST), f"ci-{n}", "success")
    there.forge.look.stale()
    before = len(there.hub.requests)
    there.forge.pull_requests()
    found = there.forge.staged()[0]
    asked = [request for request in there.hub.requests[before:] if "staged0" in request.query]
    assert len(asked) == 1 and "open0" in asked[0].query
    assert len(found.checks) == 120

    there.forge.clear_staging(a_run(order).id, END, "")
    there.forge.look.stale()
    before = len(there.hub.requests)
    there.forge.pull_requests()
    assert not any("staged0" in request.query for request in there.hub.requests[before:])


def test_while_github_is_silent_nothing_is_known_of_what_is_staged(there: Place) -> None:
    order = both(there)
    there.forge.stage(order, a_run(order))
    there.forge.look.stale()
    there.hub.fault(faults.server_error(), times=50)

    with pytest.raises(ReconcileError):
        there.forge.staged()


@pytest.mark.parametrize(("text", "named"), [("branches: ['reconcile/staging/**']", True), ("branches: [main]", False)])
def test_whether_a_workflow_runs_there_is_read_off_the_base(there: Place, text: str, *, named: bool) -> None:
    there.hub.commit(on_github.NAME, "main", {".github/workflows/ci.yml": f"on: {{push: {{{text}}}}}\n"})
    there.pull_requests()

    assert there.forge.runs_when_staged(there.forge.base("main").head) is named
