"""The ways onto a base on GitHub: several pushed at once, merged in the background, and through GitHub's own merge queue."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import on_github
import pytest
from github import faults, merging
from on_github import Killed, Place, X, Y, both, killed

from reconciler.forges.github import landing, merge_requests
from reconciler.model.desired import MergeMethod
from reconciler.model.errors import ChangedError, ReconcileError, TemporaryError
from reconciler.model.names import PrNumber, Sha, TaskId
from reconciler.model.observed import PullState
from reconciler.model.ports import LandOrder
from reconciler.model.pull_records import Verdict

pytestmark = pytest.mark.xdist_group("github")
PUT = "PUT /repos/acme/app/pulls/1/merge"


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(merge_requests, "APART_S", 0.0)
    with on_github.place() as made:
        yield made


def restarted(there: Place) -> Place:
    """As a program that was just started has it, after a look."""
    there.again()
    there.pull_requests()
    there.forge.base("main")
    return there


# --- a push of what was tested -------------------------------------------------------------------------------


def landed(there: Place) -> list[TaskId]:
    there.pull_requests()
    there.forge.base("main")
    return [found.task for found in there.forge.landings("main")]


def test_what_was_tested_together_is_pushed_in_one_move_and_github_calls_it_merged(there: Place) -> None:
    order = both(there)
    before = there.app.head("main")

    commit = there.forge.land(order)

    assert there.app.head("main") == commit
    assert there.app.bare.commit(commit).tree == order.expected.tree
    assert there.app.bare.git("log", "--first-parent", "--format=%s", f"{before}..main").splitlines() == [
        "Do x-2 (#2)", "Do x-1 (#1)",
    ]  # fmt: skip
    assert landed(there) == [X, Y]
    assert [there.app.pull(n).state for n in (1, 2)] == ["MERGED", "MERGED"]
    assert there.asked("merge") == []
    there.forge.close(PrNumber(1), declined=False, merged=True)
    assert there.app.pull(1).comments == []


def test_what_was_pushed_squashed_is_closed_with_a_word_and_counts_as_merged(there: Place) -> None:
    order = both(there, MergeMethod.SQUASH)

    there.forge.land(order)
    for number in (PrNumber(1), PrNumber(2)):
        there.forge.close(number, declined=False, merged=True)
        there.forge.close(number, declined=False, merged=True)

    assert landed(there) == [X, Y]
    assert [there.app.pull(n).state for n in (1, 2)] == ["CLOSED", "CLOSED"]
    assert [len(there.app.pull(n).comments) for n in (1, 2)] == [1, 1]
    assert there.app.head("main") in there.app.pull(2).comments[0].body
    seen = there.pull(Y)
    assert (seen.state, seen.landed, seen.declined) == (PullState.MERGED, there.app.head("main"), False)


def test_all_that_lands_together_is_looked_at_once_more_by_one_question(there: Place) -> None:
    order = both(there)
    asked = len(there.hub.questions())

    there.forge.land(order)

    (question,) = [asked for asked in there.hub.questions()[asked:] if "pullRequest(number:" in asked]
    assert question.count("pullRequest(number:") == 2


@pytest.mark.parametrize("what", ["base", "head of one beneath", "no to one beneath"])
def test_nothing_is_pushed_of_what_is_not_as_it_was_tested(there: Place, what: str) -> None:
    order = both(there)
    match what:
        case "base":
            there.hub.commit(on_github.NAME, "main", {"elsewhere": "1\n"})
        case "head of one beneath":
            there.hub.commit(on_github.NAME, "agent/x-1", {"more": "1\n"})
        case _:
            there.forge.review(order.beneath[0].number, order.beneath[0].expected.head, Verdict.REJECTED, "no")
    before = there.app.head("main")

    with pytest.raises(ChangedError):
        there.forge.land(order)

    assert there.app.head("main") == before


def test_a_base_that_moves_between_our_look_and_the_push_keeps_what_came_to_it(
    there: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = both(there)
    begin = there.forge._merges.notes.begin
    monkeypatch.setattr(
        there.forge._merges.notes, "begin",
        lambda attempt: (begin(attempt), there.hub.commit(on_github.NAME, "main", {"late": "1\n"})),
    )  # fmt: skip

    with pytest.raises(ChangedError):
        there.forge.land(order)

    assert "late" in there.app.bare.git("ls-tree", "--name-only", "main")
    assert landed(there) == []
    assert not there.forge._merges.pending("main")


def test_a_push_whose_answer_is_lost_has_landed_once(there: Place) -> None:
    order = both(there)
    (there.app.bare.path / "lose-push").touch()

    commit = there.forge.land(order)

    assert there.app.head("main") == commit
    assert landed(there) == [X, Y]


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_program_that_is_killed_around_the_push_lands_it_once(
    there: Place, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    order = both(there)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        if where == "before":
            patched.setattr(there.forge._remotes, "push", killed)
        else:
            patched.setattr(there.forge._merges.notes, "end", killed)
        there.forge.land(order)

    forge = restarted(there).forge
    assert forge.base("main").behind
    forge.follow("main")
    assert landed(there) == ([] if where == "before" else [X, Y])
    if where == "before":
        forge.land(order)

    assert landed(there) == [X, Y]
    assert not forge._merges.pending("main")
    assert there.app.bare.git("rev-list", "--count", "--first-parent", "main") == "3"


@pytest.mark.parametrize("classic", [True, False])
def test_a_push_that_is_refused_is_said_and_github_merges_from_then_on(there: Place, *, classic: bool) -> None:
    order = both(there)
    assert there.forge.base("main").rules.unpushable is None  # type: ignore[union-attr]
    there.app.protect("main", reviews=1, classic=classic)

    with pytest.raises(ReconcileError) as said:
        there.forge._merges._push(_an_attempt(there, order), there.forge._merges.commit(order), 0)

    assert "through a pull request" in str(said.value)
    assert "through a pull request" in (there.forge.base("main").rules.unpushable or "")  # type: ignore[union-attr]


def _an_attempt(there: Place, order: LandOrder) -> landing.Attempt:
    return landing.Attempt(
        base="main", old=order.expected.base, head=order.expected.head, tree=order.expected.tree, number=order.number,
        task=order.task, method="merge", at="2026-01-01T00:00:00+00:00",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rules", "pushed"),
    [({}, True), ({"linear": True}, True), ({"required": ("ci",)}, False), ({"reviews": 1}, False), ({"queue": True}, False),
     ({"signed": True}, False), ({"classic": True}, False)],
)  # fmt: skip
def test_whether_a_base_may_be_pushed_is_read_from_its_rules(
    there: Place, rules: dict[str, object], *, pushed: bool
) -> None:
    there.app.protect("main", **rules)
    there.pull_requests()

    found = there.forge.base("main").rules
    assert found and (found.unpushable is None) is pushed


# --- in the background ---------------------------------------------------------------------------------------


def test_a_merge_in_the_background_is_followed_by_its_id(there: Place) -> None:
    there.app.background_reads = 2

    commit = there.landed(*there.offered())

    assert there.app.head("main") == commit
    assert [label.rpartition("/")[2] for label in there.asked("merge")] == ["merge-async"]


def test_one_that_takes_long_is_found_by_a_later_look_and_not_asked_for_again(there: Place) -> None:
    there.app.background_reads = merge_requests.POLLS + 2
    number, head = there.offered()
    with pytest.raises(TemporaryError, match="GitHub is merging #1"):
        there.landed(number, head)

    forge = restarted(there).forge
    assert forge.base("main").behind
    forge.follow("main")

    assert landed(there) == [X]
    assert len(there.asked("merge")) == 1


def test_where_github_has_no_background_it_is_asked_and_waited_for(there: Place) -> None:
    there.app.background = False

    there.landed(*there.offered())
    there.landed(*there.offered(task=Y), Y)

    assert [label.rpartition("/")[2] for label in there.asked("merge")] == ["merge-async", "merge", "merge"]
    assert landed(there) == [X, Y]


def lost(there: Place, monkeypatch: pytest.MonkeyPatch) -> tuple[PrNumber, Sha]:
    """What was ordered, where the answer was lost and nobody waits for it any more."""
    there.app.background_reads = 1
    there.hub.fault(faults.lost(502), on=PUT)
    number, head = there.offered()
    with pytest.raises(TemporaryError, match="not known yet"):
        there.landed(number, head)
    monkeypatch.setattr(merge_requests, "STILL_AT_WORK", timedelta())
    return number, head


def test_an_order_whose_answer_was_lost_is_taken_up_by_its_id(there: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    number, head = lost(there, monkeypatch)

    forge = restarted(there).forge
    forge.follow("main")
    forge.land(there.order(number, head))

    assert landed(there) == [X]
    assert len(there.app.orders) == 1


@pytest.mark.parametrize("arrived", [False, True])
def test_one_whose_answer_was_lost_is_asked_for_again_at_once_as_github_tells_its_id(
    there: Place, arrived: bool
) -> None:
    there.app.background_reads = 1
    there.hub.fault(faults.lost(502) if arrived else faults.server_error(502), on=PUT)
    order = there.order(*there.offered())
    with pytest.raises(TemporaryError, match="not known yet") as raised:
        there.forge.land(order)
    assert raised.value.delay == merge_requests.AGAIN_S

    assert restarted(there).forge.land(order) == there.app.head("main")

    assert len(there.app.orders) == 1
    assert landed(there) == [X]


@pytest.mark.parametrize("what", ["base", "head", "no"])
def test_what_is_not_as_it_was_judged_is_not_asked_for_again(there: Place, what: str) -> None:
    there.hub.fault(faults.server_error(502), on=PUT)
    order = there.order(*there.offered())
    with pytest.raises(TemporaryError, match="not known yet"):
        there.forge.land(order)
    restarted(there)
    match what:
        case "base":
            there.hub.commit(on_github.NAME, "main", {"elsewhere": "1\n"})
        case "head":
            there.hub.commit(on_github.NAME, "agent/x-1", {"more": "1\n"})
        case _:
            there.forge.review(order.number, order.expected.head, Verdict.REJECTED, "no")

    with pytest.raises(ChangedError):
        there.forge.land(order)

    assert len(there.asked("merge")) == 1


@pytest.mark.parametrize("moved", [False, True])
def test_an_order_that_github_comes_to_when_nobody_waits_any_more_is_compared(
    there: Place, monkeypatch: pytest.MonkeyPatch, moved: bool
) -> None:
    """Its answer was lost, and the base has moved since: what it made then, nobody has tested."""
    lost(there, monkeypatch)
    forge = restarted(there).forge
    forge.follow("main")
    assert not forge._merges.pending("main"), "nothing is waited for"

    if moved:
        there.hub.commit(on_github.NAME, "main", {"elsewhere": "1\n"})
    (order,) = there.app.orders
    order.reads = 0
    there.pull_requests()  # now GitHub comes to it
    forge = restarted(there).forge
    assert forge.base("main").behind
    forge.follow("main")
    there.pull_requests()

    frozen = forge.base("main").frozen
    assert bool(frozen) is moved and not forge._merges.pending("main")
    assert not frozen or ("#1 landed there" in frozen and "1 commit(s) came to main in between" in frozen)
    assert landed(there) == [X] and len(there.app.orders) == 1


@pytest.mark.parametrize("where", ["asked", "known", "done"])
def test_a_program_that_is_killed_around_a_merge_in_the_background_lands_it_once(
    there: Place, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    number, head = there.offered()
    order = there.order(number, head)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        merges = there.forge._merges
        match where:
            case "asked":
                patched.setattr(merge_requests, "_uuid", killed)
            case "known":
                patched.setattr(merges._requests, "result", killed)
            case _:
                patched.setattr(merges.notes, "end", killed)
        there.forge.land(order)

    monkeypatch.setattr(merge_requests, "STILL_AT_WORK", timedelta())
    forge = restarted(there).forge
    forge.follow("main")

    assert landed(there) == [X]
    assert len(there.app.orders) == 1
    assert there.pull().state is PullState.MERGED


def test_what_the_background_refuses_is_said_in_its_words(there: Place) -> None:
    number, head = there.offered()
    order = there.order(number, head)
    there.app.protect("main", other="Waiting on code owner review.")
    there.app.pull(number).blocked_reads = 0
    worse = landing._worse
    landing._worse = lambda *args, **more: None  # type: ignore[assignment]
    try:
        with pytest.raises(TemporaryError, match="code owner"):
            there.forge.land(order)
    finally:
        landing._worse = worse

    assert there.app.pull(1).state == "OPEN"
    assert not there.forge._merges.pending("main")


# --- GitHub's own queue --------------------------------------------------------------------------------------


@pytest.fixture
def queued(there: Place) -> Place:
    there.app.protect("main", queue=True)
    there.pull_requests()
    return there


def test_a_head_is_put_into_the_queue_once_and_its_place_is_seen(queued: Place) -> None:
    number, head = queued.offered()
    queued.forge.enqueue(*queued.offered(task=Y))
    queued.pull_requests()

    for _ in range(2):
        queued.forge.enqueue(number, head)

    seen = queued.pull()
    assert seen.queue and seen.queue.position == 2 and seen.queued_times == 1
    assert queued.pull(Y).queue and seen.aside is None


def test_a_head_that_moved_is_not_put_there(queued: Place) -> None:
    number, head = queued.offered()
    queued.hub.commit(on_github.NAME, "agent/x-1", {"more": "1\n"})

    with pytest.raises(ChangedError):
        queued.forge.enqueue(number, head)

    assert queued.app.pull(number).queue is None


def test_an_entry_whose_answer_was_lost_is_found_again(queued: Place) -> None:
    number, head = queued.offered()
    queued.pull_requests()
    queued.hub.fault(faults.lost(502), on="enqueue|mutation")

    queued.forge.enqueue(number, head)

    assert queued.pull().queue and queued.pull().queued_times == 1


def test_a_program_that_is_killed_before_it_asks_has_used_up_nothing(
    queued: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, head = queued.offered()
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr("reconciler.forges.github.queue._enqueue", killed)
        queued.forge.enqueue(number, head)

    restarted(queued).forge.enqueue(number, head)

    assert queued.pull().queued_times == 1


def test_what_the_queue_takes_out_is_seen_with_its_reason_and_a_person_as_such(queued: Place) -> None:
    number, head = queued.offered()
    queued.forge.enqueue(number, head)
    merging.take_out(queued.app, number, "failed checks")
    seen = queued.pull()
    assert seen.queue is None and seen.removed
    assert (seen.removed.reason, seen.removed.by_person, seen.queued_times) == ("failed checks", False, 1)

    queued.forge.enqueue(number, head)
    assert queued.pull().removed is None and queued.pull().queued_times == 2
    merging.take_out(queued.app, number, "manual", by="alice")
    assert (removed := queued.pull().removed) and removed.by_person


def test_what_the_queue_merged_has_landed_and_was_compared(queued: Place) -> None:
    for task in (X, Y):
        queued.forge.enqueue(*queued.offered(task=task))
    for number in (2, 1):
        merging.merge_from_queue(queued.app, number)

    queued.pull_requests()
    assert queued.forge.base("main").behind
    queued.forge.follow("main")

    assert sorted(landed(queued)) == [X, Y]
    assert not queued.forge.base("main").frozen and not queued.forge.base("main").behind


def test_what_the_queue_merged_has_landed_also_for_who_begins_once_its_branch_is_gone(queued: Place) -> None:
    number, head = queued.offered()
    queued.forge.enqueue(number, head)
    merging.merge_from_queue(queued.app, number)
    assert landed(queued) == [X]
    queued.forge.follow("main")
    before = queued.app.bare.git("rev-parse", "main~1").strip()

    queued.forge.drop_branch(X, head)
    queued.clone.git("update-ref", "-d", f"refs/heads/agent/{X}")
    queued.again()
    queued.pull_requests()

    assert X not in queued.seen() and landed(queued) == [X]
    queued.app.bare.git("update-ref", "refs/heads/main", before)
    queued.again()
    assert landed(queued) == [], "what was taken back has not landed"


def test_a_queue_that_merges_something_else_stops_the_base(queued: Place) -> None:
    number, head = queued.offered()
    queued.forge.enqueue(number, head)
    before, bare = queued.app.bare.commit(queued.app.head("main")), queued.app.bare
    # What it merges undoes a file of somebody's, as on a bad day in April.
    tree = bare.git("mktree", stdin=bare.git("ls-tree", head).partition("\n")[2] + "\n")
    wrong = bare.write(tree, (before.sha, head), "Merge", before.author, before.author, "")
    queued.app.protect("main")
    bare.update("refs/heads/main", wrong)
    queued.app.look()

    restarted(queued).forge.follow("main")

    assert "is not what it makes of" in (queued.forge.base("main").frozen or "")
