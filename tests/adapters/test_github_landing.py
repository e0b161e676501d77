"""Landing by GitHub's own merge: only what was judged, once, and known whatever becomes of the answer."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import on_github
import pytest
from github import faults, merging
from on_github import Killed, Place, X, killed

from reconciler.forges.github import landing, merge_requests
from reconciler.forges.github.forge import GitHubForge
from reconciler.model.desired import MergeMethod
from reconciler.model.errors import ChangedError, PermanentError, TemporaryError, UnfitError
from reconciler.model.names import PrNumber, Sha, TaskId
from reconciler.model.observed import Landing, PullState
from reconciler.model.pull_records import Verdict
from reconciler.model.values import replace

pytestmark = pytest.mark.xdist_group("github")
MERGE = "PUT /repos/acme/app/pulls/1/merge"


@pytest.fixture
def there() -> Iterator[Place]:
    with on_github.place() as made:
        yield made


def landings(there: Place) -> list[Landing]:
    there.forge.look.stale()
    there.forge.pull_requests()
    there.forge.base("main")
    return list(there.forge.landings("main"))


# --- what lands ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", [MergeMethod.SQUASH, *(pytest.param(m, marks=pytest.mark.slow) for m in ("merge", "rebase"))]
)
def test_the_tree_that_was_judged_is_the_tree_that_lands(there: Place, method: MergeMethod) -> None:
    number, head = there.offered()
    there.hub.commit(on_github.NAME, "main", {"elsewhere": "1\n"})
    there.forge.look.stale()
    order = there.order(number, head, method=MergeMethod(method))

    commit = there.forge.land(order)

    assert there.app.bare.commit(commit).tree == order.expected.tree
    assert there.app.head("main") == commit
    assert [(found.task, found.head, found.commit) for found in landings(there)] == [(X, head, commit)]


@pytest.mark.slow
def test_the_landed_commit_names_task_and_head_and_nothing_that_commands(there: Place) -> None:
    number, head = there.offered()

    commit = there.landed(number, head, title="Fix it [skip ci]", body="Closes #9\n\nReconcile-Task: other")

    assert there.app.bare.commit(commit).message.strip() == (
        f"Fix it (skip ci) (#1)\n\nCloses issue #9\n\nwork on agent/x-1\n\nReconcile-Task: x-1\nReconcile-Head: {head}"
    )


def test_the_base_here_and_its_checkout_follow_what_landed_there(there: Place) -> None:
    commit = there.landed(*there.offered())
    assert there.forge.base("main").behind

    there.forge.follow("main")

    assert there.clone.head("main") == commit and there.clone.status() == ""
    assert not there.forge.base("main").behind


@pytest.mark.slow
def test_edits_in_the_checkout_of_the_base_hold_nothing_up(there: Place) -> None:
    there.clone.write({"of-x-1": "mine\n"})

    commit = there.landed(*there.offered())

    assert there.app.head("main") == commit
    assert not there.forge.base("main").behind  # it stays where it is, and says nothing
    assert (there.clone.path / "of-x-1").read_text() == "mine\n"


@pytest.mark.slow
def test_commits_here_that_github_lacks_are_said(there: Place) -> None:
    there.clone.commit({"mine": "1\n"})
    there.forge.pull_requests()

    assert "acme/app lacks" in (there.forge.base("main").diverged or "")


@pytest.mark.slow
def test_an_enterprise_github_is_one_too() -> None:
    with on_github.place(host="ghe.test") as there:
        commit = there.landed(*there.offered())

        assert there.app.head("main") == commit


# --- what does not -------------------------------------------------------------------------------------------


def test_a_head_that_moved_after_it_was_judged_does_not_land(there: Place) -> None:
    order = there.order(*there.offered())
    there.hub.commit(on_github.NAME, "agent/x-1", {"more": "1\n"})

    with pytest.raises(ChangedError, match=r"not \w+, which was judged"):
        there.forge.land(order)

    assert there.asked("merge") == []


@pytest.mark.slow
def test_a_head_that_moves_between_our_look_and_the_merge_is_refused_by_github(there: Place) -> None:
    order = there.order(*there.offered())
    there.hub.fault(
        faults.refused(409, "Head branch was modified. Review and try the merge again."), on=MERGE
    )  # fmt: skip

    with pytest.raises(ChangedError, match="Head branch was modified"):
        there.forge.land(order)

    assert there.forge.land(there.order(order.number, order.expected.head))


@pytest.mark.slow
def test_a_base_that_moved_after_the_checks_takes_nothing(there: Place) -> None:
    order = there.order(*there.offered())
    there.hub.commit(on_github.NAME, "main", {"elsewhere": "1\n"})

    with pytest.raises(ChangedError, match="main is not at"):
        there.forge.land(order)

    assert there.asked("merge") == []


@pytest.mark.parametrize(
    "what",
    ["draft", "closed", "retargeted", "changes requested", "red", "late", "commented", "rejected here", "another's"],
)
def test_what_people_and_checks_said_since_the_look_holds(there: Place, what: str) -> None:
    number, head = there.offered()
    order = there.order(number, head)
    match what:
        case "draft":
            there.app.pull(number).draft = True
        case "closed":
            there.app.close(number)
        case "retargeted":
            there.hub.commit(on_github.NAME, "next", {"n": "1\n"})
            there.app.retarget(number, "next")
        case "changes requested":
            there.app.review(number, "alice", "CHANGES_REQUESTED")
        case "commented":
            there.app.discuss(number, "alice", "wait")
        case "red":
            there.app.check(head, "ci", "failure", again=True)
        case "late":
            there.app.check(head, "another", None)
        case "rejected here":
            there.forge.review(number, head, Verdict.REJECTED, "no")
        case "another's":
            order = replace(order, task=TaskId("x-2"))

    with pytest.raises(ChangedError):
        there.forge.land(order)

    assert there.asked("merge") == []


@pytest.mark.parametrize(
    ("status", "said", "delay"),
    [
        (405, "Base branch was modified. Review and try the merge again.", 4),
        (405, "At least 1 approving review is required by reviewers with write access.", 60),
    ],
)
@pytest.mark.slow
def test_a_refusal_is_waited_out_and_then_asked_for_again(there: Place, status: int, said: str, delay: float) -> None:
    order = there.order(*there.offered())
    there.hub.fault(faults.refused(status, said), on=MERGE)

    with pytest.raises(TemporaryError) as caught:
        there.forge.land(order)

    assert caught.value.delay == pytest.approx(delay, abs=2)
    assert there.app.pull(1).state == "OPEN"
    assert there.again().land(there.order(order.number, order.expected.head))


def test_what_the_rules_forbid_is_not_asked_for_though_an_administrator_would_get_it(there: Place) -> None:
    order = there.order(*there.offered())
    there.app.protect("main", reviews=1)

    with pytest.raises(ChangedError, match="approving review"):
        there.forge.land(order)

    assert there.asked("merge") == []


@pytest.mark.slow
def test_a_rule_that_is_said_not_to_be_met_is_asked_about_once(there: Place) -> None:
    there.app.protect("main", other="Waiting on code owner review from acme/owners.")
    number, head = there.offered()
    assert there.pull().doubted

    with pytest.raises(TemporaryError, match="code owner review"):
        there.landed(number, head)
    pull = there.pull()

    assert not pull.doubted and "code owner review from acme/owners" in (pull.withheld or "")
    with pytest.raises(ChangedError, match="not to be merged yet"):
        there.landed(number, head)
    assert len(there.asked("/merge")) == 1


def test_a_word_of_github_that_is_stale_keeps_nothing_from_landing(there: Place) -> None:
    number, head = there.offered()
    there.app.pull(number).blocked_reads = 9
    assert there.pull().doubted and there.pull().withheld

    there.landed(number, head)

    assert there.app.pull(number).state == "MERGED"


@pytest.mark.parametrize("seen", ["conversation", "review", "bypass"])
def test_a_rule_that_is_seen_not_to_be_met_or_does_not_bind_is_no_matter_of_doubt(there: Place, seen: str) -> None:
    number, head = there.offered()
    match seen:
        case "conversation":
            there.app.protect("main", conversations=True)
            there.app.discuss(number, "mallory", "well", can_push=False)
        case "review":
            there.app.protect("main", reviews=1)
        case "bypass":
            there.app.protect("main", other="Waiting on code owner review.")
            there.app.permission = "ADMIN"

    assert there.pull().withheld and not there.pull().doubted
    with pytest.raises(ChangedError):
        there.landed(number, head)
    assert there.asked("/merge") == []


def test_of_two_programs_that_land_the_same_one_is_told_that_it_was_second(there: Place) -> None:
    order = there.order(*there.offered())
    first = there.forge
    second = there.again()
    second.pull_requests()

    commit = first.land(order)
    with pytest.raises(ChangedError, match="#1 is merged"):
        second.land(order)

    assert there.app.head("main") == commit
    assert len(there.asked("merge")) == 1


# --- answers that are lost -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [faults.lost(502), pytest.param(faults.dropped(done=True), marks=pytest.mark.slow)], ids=["502", "dropped"]
)
def test_a_merge_whose_answer_was_lost_has_landed_and_is_not_asked_for_again(there: Place, fault: faults.Fault) -> None:
    there.hub.fault(fault, on=MERGE)

    commit = there.landed(*there.offered())

    assert there.app.head("main") == commit
    assert len(there.asked("merge")) == 1


def test_a_call_that_waits_for_its_merge_is_made_again_after_a_minute_only(
    there: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.app.background = False
    order = there.order(*there.offered())
    there.hub.fault(faults.server_error(502), on=f"{MERGE}$")
    for _ in range(2):
        with pytest.raises(TemporaryError, match="not known yet"):
            there.forge.land(order)
    assert [label.rpartition("/")[2] for label in there.asked("merge")] == ["merge-async", "merge"]

    monkeypatch.setattr(merge_requests, "STILL_AT_WORK", timedelta())
    assert there.again().land(there.order(order.number, order.expected.head)) == there.app.head("main")


@pytest.mark.slow
def test_a_merge_that_shows_late_is_found_by_the_next_look(there: Place) -> None:
    number, head = there.offered()
    there.app.pull(number).says_open = 1
    there.hub.fault(faults.lost(502), on=MERGE)
    with pytest.raises(TemporaryError, match="not known yet"):
        there.landed(number, head)

    there.again().follow("main")

    assert not there.forge.base("main").behind
    assert [found.head for found in landings(there)] == [head]


@pytest.mark.parametrize("where", ["begin", "end"])
def test_a_program_that_is_killed_around_the_merge_lands_it_once(
    there: Place, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    number, head = there.offered()
    order = there.order(number, head)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(there.forge._merges._requests._gh, "change", killed) if where == "begin" else patched.setattr(
            there.forge._merges.notes, "end", killed
        )
        there.forge.land(order)

    there.again()
    there.pull()
    assert there.forge.base("main").behind
    monkeypatch.setattr(merge_requests, "STILL_AT_WORK", timedelta())
    there.forge.follow("main")
    if where == "begin":
        there.forge.land(there.order(number, head))

    assert [found.head for found in landings(there)] == [head]
    assert len(there.asked("merge")) == 1
    assert there.pull().state is PullState.MERGED


def test_a_person_who_merges_what_we_never_got_to_ask_for_stops_nothing(
    there: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, head = there.offered()
    order = there.order(number, head)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(there.forge._merges._requests._gh, "change", killed)
        there.forge.land(order)
    there.hub.commit(on_github.NAME, "main", {"elsewhere": "1\n"})
    merging.merge(there.app, number, "SQUASH", by="alice", expected=None)

    there.again().follow("main")

    assert not there.forge.base("main").frozen
    assert [found.head for found in landings(there)] == [head]


def test_a_merge_that_a_person_took_back_before_we_compared_it_is_let_go(
    there: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = there.app.head("main")
    order = there.order(*there.offered())
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(there.forge._merges.notes, "end", killed)
        there.forge.land(order)
    there.app.bare.git("update-ref", "refs/heads/main", before)
    there.again()
    with pytest.raises(TemporaryError, match="not there to be fetched yet"):
        there.forge.follow("main")

    monkeypatch.setattr(landing, "TAKEN_BACK", landing.timedelta())
    there.forge.follow("main")

    assert landings(there) == []
    assert not there.forge.base("main").behind


# --- what must not happen ------------------------------------------------------------------------------------


def wrong_tree(there: Place, monkeypatch: pytest.MonkeyPatch) -> Sha:
    """A push of somebody's comes in the moment between our look at the base and GitHub's merge."""
    order = there.order(*there.offered())
    asked = there.forge._merges._asked
    between: list[Sha] = []

    def late(*args: object) -> Sha:
        between.append(there.hub.commit(on_github.NAME, "main", {"elsewhere": "1\n"}))
        return asked(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(there.forge._merges, "_asked", late)
    with pytest.raises(PermanentError, match="nothing more lands on main"):
        there.forge.land(order)
    return between[0]


def test_another_tree_than_the_judged_one_stops_the_base_until_a_person_has_looked(
    there: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong_tree(there, monkeypatch)
    number, head = there.offered(task=TaskId("x-2"))

    frozen = there.again().base("main").frozen
    assert frozen and "1 commit(s) came to main in between" in frozen
    with pytest.raises(TemporaryError, match="nothing more lands"):
        there.landed(number, head, TaskId("x-2"))
    assert "'reconcile unfreeze'" in frozen

    assert there.forge.unfreeze("main") and not there.forge.unfreeze("main")

    assert there.landed(number, head, TaskId("x-2")) == there.app.head("main")


def test_what_a_person_lets_go_on_beside_us_is_looked_at_again_at_once(
    there: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong_tree(there, monkeypatch)
    there.pull_requests()
    there.forge.follow("main")
    watching, beside = there.forge, there.again()
    watching.pull_requests()
    assert watching.base("main").frozen

    assert beside.unfreeze("main")
    watching.pull_requests()

    assert watching.base("main").frozen is None


def said(there: Place) -> list[tuple[str, str]]:
    """What each status that was ever set says of whether anything lands: of which commit, and in which state."""
    return [(made.commit, made.state.lower()) for made in there.app.statuses if made.context == "reconcile/freeze"]


def test_a_base_that_is_stopped_is_so_for_another_clone_until_a_person_lets_it_go_on_anywhere(
    there: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wrong_tree(there, monkeypatch)
    monkeypatch.undo()
    number, head = there.offered(task=TaskId("x-2"))
    here = there.forge
    here.pull_requests()
    assert here.base("main").behind, "there is something to be said"
    here.follow("main")
    here.pull_requests()
    tip = there.app.head("main")
    assert said(there) == [(tip, "failure")] and not here.base("main").behind

    second = tmp_path / "second"
    shutil.copytree(there.clone.path, second, ignore=shutil.ignore_patterns("reconcile"))
    there.clone = dataclasses.replace(there.clone, path=second)
    elsewhere = there.again()
    elsewhere.pull_requests()
    seen = elsewhere.base("main").frozen
    assert seen and "another clone" in seen and "nothing more lands on main" in seen
    assert seen_red(elsewhere) == frozenset(), "it is no check"
    with pytest.raises(TemporaryError, match="another clone"):
        there.landed(number, head, TaskId("x-2"))

    moved = there.hub.commit(on_github.NAME, "main", {"mended": "1\n"})
    here.look.stale()
    here.pull_requests()
    here.follow("main")
    assert said(there)[-1] == (moved, "failure"), "it is said of the base as it is"

    assert elsewhere.unfreeze("main")
    assert said(there)[-1] == (moved, "success")
    here.look.stale()
    here.pull_requests()
    here.follow("main")
    here.pull_requests()
    assert here.base("main").frozen is None and said(there)[-1] == (moved, "success")


def seen_red(forge: GitHubForge) -> frozenset[str]:
    rules = forge.base("main").rules
    assert rules
    return rules.red


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_around_saying_that_a_base_is_stopped_it_is_said_once(
    there: Place, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    wrong_tree(there, monkeypatch)
    there.pull_requests()
    with monkeypatch.context() as patched, pytest.raises(Killed):
        dies_changing(there, patched, when)
        there.forge.follow("main")

    there.again().pull_requests()
    if there.forge.base("main").behind:
        there.forge.follow("main")
        there.pull_requests()
    assert there.forge.base("main").frozen and not there.forge.base("main").behind
    assert said(there) == [(there.app.head("main"), "failure")]


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_around_letting_a_base_go_on_it_does_so_or_is_stopped_as_before(
    there: Place, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    wrong_tree(there, monkeypatch)
    there.pull_requests()
    there.forge.follow("main")
    with monkeypatch.context() as patched, pytest.raises(Killed):
        dies_changing(there, patched, when)
        there.forge.unfreeze("main")

    there.again().pull_requests()
    there.forge.follow("main")
    there.pull_requests()
    assert bool(there.forge.base("main").frozen) is (when == "before")
    assert said(there)[-1] == (there.app.head("main"), "failure" if when == "before" else "success")


def dies_changing(there: Place, patched: pytest.MonkeyPatch, when: str) -> None:
    """The program dies right before, or after, the next change that it asks GitHub for."""
    change = there.forge._gh.change

    def dies(*args: object) -> None:
        if when == "after":
            change(*args)  # type: ignore[arg-type]
        raise Killed

    patched.setattr(there.forge._gh, "change", dies)


def test_a_base_that_can_not_be_said_to_be_stopped_is_stopped_here(
    there: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong_tree(there, monkeypatch)
    there.hub.fault(faults.refused(403, "Resource not accessible by integration"), on="POST /repos/acme/app/statuses")
    there.forge.pull_requests()
    there.forge.follow("main")
    there.forge.pull_requests()
    seen = there.forge.base("main")
    assert seen.frozen and not seen.behind, "it is not asked again and again"


# --- people's merges -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", ["REBASE", *(pytest.param(method, marks=pytest.mark.slow) for method in ("SQUASH", "MERGE"))]
)
def test_what_a_person_merged_has_landed_whatever_their_method(there: Place, method: str) -> None:
    number, head = there.offered({"one": "1\n"})
    there.pull()
    merging.merge(there.app, number, method, by="alice", expected=None)

    found = landings(there)

    assert [(one.task, one.head) for one in found] == [(X, head)]
    assert there.pull().state is PullState.MERGED


@pytest.mark.slow
def test_a_merge_that_the_base_no_longer_holds_is_no_landing(there: Place) -> None:
    before = there.app.head("main")
    number, head = there.offered()
    there.landed(number, head)
    there.app.bare.git("update-ref", "refs/heads/main", before)
    there.again()

    assert landings(there) == []
    assert there.pull().landed


@pytest.mark.slow
def test_github_calling_it_open_again_takes_no_landing_back(there: Place) -> None:
    number, head = there.offered()
    there.landed(number, head)
    there.app.pull(number).says_open = 3

    assert [found.head for found in landings(there)] == [head]


def joined(there: Place, files: dict[str, str]) -> tuple[PrNumber, Sha]:
    """A pull request whose branch holds a merge commit, which these files are a part of."""
    repo = there.clone
    repo.git("switch", "--quiet", "--create", f"agent/{X}")
    repo.commit({"b": "mine\n"}, message="Mine")
    repo.git("switch", "--quiet", "--create", "aside", "main")
    repo.commit({"b" if "b" in files else "c": "aside\n"}, message="Aside")
    repo.git("switch", "--quiet", f"agent/{X}")
    repo.git("merge", "--quiet", "--no-commit", "aside", ok=False)
    head = repo.commit(files)
    repo.git("switch", "--quiet", "main")
    number = there.forge.open(X, head, "Do it", "Text")
    there.app.check(head, "ci", "success")
    there.forge.look.stale()
    return number, head


def test_a_rebase_leaves_out_merge_commits_here_and_there(there: Place) -> None:
    number, head = joined(there, {})

    landed = there.landed(number, head, method=MergeMethod.REBASE)

    subjects = there.app.bare.git("log", "--format=%s", landed).splitlines()
    assert sorted(subjects[:2]) == ["Aside", "Mine"] and not there.app.bare.git("rev-list", "--merges", landed)


@pytest.mark.parametrize("files", [{"b": "both\n"}, {"more": "more\n"}], ids=["resolved", "added"])
def test_a_rebase_that_would_land_something_else_is_not_asked_for(there: Place, files: dict[str, str]) -> None:
    number, head = joined(there, files)

    with pytest.raises(UnfitError):
        there.landed(number, head, method=MergeMethod.REBASE)

    assert there.asked("/merge") == [] and there.app.pull(number).state == "OPEN"


def test_what_was_red_on_the_base_before_something_landed_is_looked_at_anew_at_once(there: Place) -> None:
    there.app.check(there.app.head("main"), "ci", "failure")
    number, head = there.offered()
    there.pull_requests()
    rules = there.forge.base("main").rules
    assert rules and rules.red == {"ci"}

    landed = there.landed(number, head)
    there.app.check(landed, "ci", "success")
    there.forge.pull_requests()

    rules = there.forge.base("main").rules
    assert rules and rules.red == frozenset()
