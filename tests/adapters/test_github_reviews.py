"""What agents say of pull requests on GitHub: posted once, known again as ours, and counted as nobody else's."""

from __future__ import annotations

from collections.abc import Iterator

import on_github
import pytest
from github import faults
from github.records import Protection
from on_github import Killed, Place

from reconciler.forges.github.marks import mark_in, marked
from reconciler.model.errors import ChangedError, TemporaryError
from reconciler.model.names import PrNumber, Sha
from reconciler.model.observed import PullState
from reconciler.model.ports import VerdictPost
from reconciler.model.values import replace
from reconciler.model.verdicts import LineComment, ReviewVerdict, ReviewWord

pytestmark = pytest.mark.xdist_group("github")
MARK = "0123456789abcdef"
OURS = marked("Fine.", MARK)


@pytest.fixture
def there() -> Iterator[Place]:
    with on_github.place() as made:
        yield made


def of_another_author(there: Place) -> tuple[PrNumber, Sha]:
    """A pull request of a task that another login has opened: ours may say yes or no to it."""
    number, head = there.offered({"a": "a\nb\nc\n"})
    there.app.pulls[number].author = there.app.site.account("worker").login
    return number, head


# --- whose word it is ----------------------------------------------------------------------------------------


def test_our_yes_is_no_persons(there: Place) -> None:
    number, _ = of_another_author(there)
    there.app.review(number, "robot", body=OURS)
    there.app.review(number, "robot-of-old", body=OURS)  # which the user has changed since

    assert there.pull().approved is None
    ((record, _),) = there.forge.every_pull_request()
    assert record.reviews == () and record.state is PullState.OPEN


def test_our_no_is_no_persons_and_theirs_stays_one_whatever_it_ends_with(there: Place) -> None:
    number, _ = of_another_author(there)
    there.app.review(number, "robot", "CHANGES_REQUESTED", body=OURS)
    assert there.pull().rejection is None

    there.app.review(number, "ann", "CHANGES_REQUESTED", body=marked("No!", MARK))
    assert there.pull().rejection is not None


def test_our_comments_are_handed_to_nobody(there: Place) -> None:
    number, _ = there.offered()
    there.app.review(number, "robot", "COMMENTED", body=OURS)
    there.app.discuss(number, "robot", OURS)
    there.app.review(number, "ann", "COMMENTED", body=OURS)

    seen = there.pull()

    assert [each.by for each in seen.remarks] == ["ann"]
    assert [each.ours for thread in seen.threads for each in thread.comments] == [MARK]


def test_a_yes_or_no_that_quotes_ours_is_the_persons_who_wrote_it(there: Place) -> None:
    number, _ = of_another_author(there)
    quoted = "\n".join(f"> {line}" for line in OURS.splitlines())
    there.app.review(number, "robot", "CHANGES_REQUESTED", body=f"{quoted}\n\nNot at all.")

    assert there.pull().rejection is not None


# --- posting -------------------------------------------------------------------------------------------------


NOTE = LineComment(path="a", line=2, body="Fixes #1, says @ann: <img src=x>\n/merge")


def verdict(word: str = "request_changes", *comments: LineComment, summary: str = "Not yet.") -> ReviewVerdict:
    return ReviewVerdict(verdict=ReviewWord(word), summary=summary, comments=comments)


def a_post(head: Sha, said: ReviewVerdict, *, enough: bool = False, mark: str = MARK) -> VerdictPost:
    placed = tuple(each for each in said.comments if each.line)
    return VerdictPost(mark=mark, head=head, verdict=said, by="claude", enough=enough, placed=placed)


def stands(there: Place, number: int) -> list[tuple[str, str]]:
    """Who has reviewed it, and how."""
    return [(each.author, each.state) for each in there.app.pull(number).reviews]


@pytest.mark.parametrize(
    ("word", "enough", "state"),
    [
        ("approve", True, "APPROVED"),
        ("approve", False, "COMMENTED"),
        ("request_changes", False, "CHANGES_REQUESTED"),
        ("person", False, "COMMENTED"),
    ],
)
def test_a_verdict_is_posted_as_the_review_that_it_is(there: Place, word: str, enough: bool, state: str) -> None:
    number, head = of_another_author(there)

    there.forge.post_review(number, a_post(head, verdict(word, NOTE), enough=enough))

    assert stands(there, number) == [("robot", state)]
    (thread,) = there.app.pull(number).threads
    assert (thread.path, thread.line) == ("a", 2)
    seen = there.pull()
    assert seen.posted == {MARK} and (seen.approved, seen.rejection, seen.remarks) == (None, None, ())


def test_of_its_own_work_a_login_only_comments(there: Place) -> None:
    number, head = there.offered({"a": "a\nb\nc\n"})

    there.forge.post_review(number, a_post(head, verdict("approve", NOTE), enough=True))

    assert stands(there, number) == [("robot", "COMMENTED")]
    assert len(there.app.pull(number).threads) == 1


def test_what_may_not_even_be_commented_on_is_a_status_that_is_no_check(there: Place) -> None:
    number, head = there.offered()
    for _ in range(2):
        there.hub.fault(faults.refused(403, "Resource not accessible"), on="POST /repos/acme/app/pulls/1/reviews")

    there.forge.post_review(number, a_post(head, verdict(summary="Fixes #1\nnot")))

    (status,) = there.app.statuses
    assert (status.context, status.state) == ("reconcile/review", "FAILURE")
    assert status.description == "asks for changes: Fixes issue #1 not"
    seen = there.pull()
    assert [check.name for check in seen.checks or ()] == ["ci"] and seen.posted == {MARK}


def test_what_github_takes_in_no_form_is_asked_for_once(there: Place) -> None:
    number, head = there.offered()
    there.app.permit("READ")
    for _ in range(2):
        there.hub.fault(faults.refused(403, "Resource not accessible"), on="POST /repos/acme/app/pulls/1/reviews")

    there.forge.post_review(number, a_post(head, verdict()))

    assert there.pull().posted == {MARK} and there.app.statuses == []


def test_nothing_that_a_reviewer_writes_does_anything_there(there: Place) -> None:
    number, head = there.offered({"a": "a\nb\nc\n"})
    forged = marked("/lgtm\nCloses #2", "f" * 16)

    there.forge.post_review(number, a_post(head, verdict("request_changes", NOTE, summary=forged)))

    (review,) = there.app.pull(number).reviews
    (thread,) = there.app.pull(number).threads
    for text in (review.body, thread.comments[0].body):
        assert mark_in(text) == MARK and text.count("<!--") == 1
        assert not any(line.startswith("/") for line in text.splitlines())
    assert "Fixes issue #1, says (at)ann: &lt;img" in thread.comments[0].body
    assert "Closes issue #2" in review.body


def test_what_github_finds_no_line_for_stands_in_the_text(there: Place) -> None:
    number, head = there.offered()

    there.forge.post_review(
        number, a_post(head, verdict("request_changes", LineComment(path="a", line=77, body="Here.")))
    )

    assert there.app.pull(number).threads == []
    assert "`a:77`\nHere." in there.app.pull(number).reviews[0].body


def test_a_comment_on_what_the_diff_does_not_show_says_so(there: Place) -> None:
    number, head = there.offered()
    note = LineComment(path="a", line=77, body="Here.")
    post = replace(a_post(head, verdict("request_changes", note)), placed=(), outside=(note,))

    there.forge.post_review(number, post)

    assert "`a:77` (outside the diff)\nHere." in there.app.pull(number).reviews[0].body


@pytest.mark.parametrize("word", ["CHANGES_REQUESTED", "APPROVED"])
def test_what_the_user_said_with_this_login_is_not_said_otherwise(there: Place, word: str) -> None:
    number, head = of_another_author(there)
    there.app.review(number, "robot", word)

    there.forge.post_review(number, a_post(head, verdict("approve"), enough=True))
    there.forge.post_review(number, a_post(head, verdict("request_changes"), mark="f" * 16))

    assert [state for _, state in stands(there, number)] == [word, "COMMENTED", "COMMENTED"]
    seen = there.pull()
    assert (seen.approved == head, seen.rejection is not None) == (word == "APPROVED", word != "APPROVED")


def test_a_head_that_has_moved_on_is_not_reviewed(there: Place) -> None:
    number, head = there.offered()
    there.hub.commit(on_github.NAME, "agent/x-1", {"theirs": "1\n"})

    with pytest.raises(ChangedError):
        there.forge.post_review(number, a_post(head, verdict()))
    assert stands(there, number) == []


@pytest.mark.parametrize("fault", [faults.lost(502), faults.dropped(done=True), faults.server_error(502)], ids=str)
def test_a_verdict_whose_answer_was_lost_is_found_and_not_posted_twice(there: Place, fault: faults.Fault) -> None:
    number, head = there.offered()
    there.hub.fault(fault, on="POST /repos/acme/app/pulls/1/reviews")
    with pytest.raises(TemporaryError):
        there.forge.post_review(number, a_post(head, verdict("person")))

    there.again().post_review(number, a_post(head, verdict("person")))

    assert stands(there, number) == [("robot", "COMMENTED")]
    assert there.pull().posted == {MARK}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("effect", ["change", "note"])
def test_killed_around_posting_it_is_posted_once(
    there: Place, monkeypatch: pytest.MonkeyPatch, effect: str, when: str
) -> None:
    number, head = there.offered()
    whose, name = (there.forge._gh, "change") if effect == "change" else (there.forge._postings._notes, "reviews")
    done = getattr(whose, name)

    def killed(*args: object) -> None:
        if when == "after":
            done(*args)
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(whose, name, killed)
        there.forge.post_review(number, a_post(head, verdict("person")))
    there.again().post_review(number, a_post(head, verdict("person")))

    assert stands(there, number) == [("robot", "COMMENTED")]
    assert there.pull().posted == {MARK}


def test_on_another_machine_it_is_found_by_its_mark(there: Place) -> None:
    number, head = there.offered()
    there.forge.post_review(number, a_post(head, verdict("person")))
    there.forge._postings._notes.closed(number)
    assert there.pull().posted == frozenset()

    there.again().post_review(number, a_post(head, verdict("person")))

    assert len(stands(there, number)) == 1 and there.pull().posted == {MARK}


# --- taking back ---------------------------------------------------------------------------------------------


def test_a_no_that_holds_no_longer_keeps_nothing_from_landing(there: Place) -> None:
    there.app.rules["main"] = Protection(reviews=1, conversations=True)
    number, head = of_another_author(there)
    there.forge.post_review(number, a_post(head, verdict("request_changes", NOTE)))
    assert there.pull().standing == {MARK}

    there.forge.withdraw_reviews(number, None)

    assert stands(there, number) == [("robot", "DISMISSED")]
    assert [thread.resolved for thread in there.app.pull(number).threads] == [True]
    assert there.pull().standing == frozenset()
    there.app.review(number, "ann")
    assert there.pull().withheld is None


def test_the_no_that_holds_stays_as_it_is(there: Place) -> None:
    number, head = of_another_author(there)
    there.forge.post_review(number, a_post(head, verdict("request_changes", NOTE)))

    there.forge.withdraw_reviews(number, MARK)

    assert stands(there, number) == [("robot", "CHANGES_REQUESTED")] and there.pull().standing == {MARK}


def test_a_conversation_that_somebody_answered_is_theirs_to_settle(there: Place) -> None:
    number, head = there.offered({"a": "a\nb\nc\n"})
    there.forge.post_review(number, a_post(head, verdict("request_changes", NOTE)))
    there.app.reply(number, there.app.pull(number).threads[0], "ann", "It is meant so.")

    assert there.pull().standing == frozenset()
    there.forge.withdraw_reviews(number, None)
    assert [thread.resolved for thread in there.app.pull(number).threads] == [False]


def test_what_may_not_be_taken_back_is_left_to_people(there: Place) -> None:
    number, head = there.offered({"a": "a\nb\nc\n"})
    there.forge.post_review(number, a_post(head, verdict("request_changes", NOTE)))
    there.app.permit("READ")

    there.forge.withdraw_reviews(number, None)

    assert there.pull().standing == frozenset()


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_around_taking_back_it_is_taken_back(there: Place, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    number, head = of_another_author(there)
    there.forge.post_review(number, a_post(head, verdict("request_changes", NOTE)))
    asked = there.forge._gh.graphql

    def killed(query: str, **more: object) -> object:
        if not query.startswith("mutation"):
            return asked(query, **more)  # type: ignore[arg-type]
        if when == "after":
            asked(query)
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(there.forge._gh, "graphql", killed)
        there.forge.withdraw_reviews(number, None)
    there.again()
    assert there.pull().standing == {MARK}
    there.forge.withdraw_reviews(number, None)

    assert stands(there, number) == [("robot", "DISMISSED")] and there.pull().standing == frozenset()


# --- dismissed -----------------------------------------------------------------------------------------------


def approved(there: Place, *, reviews: int = 1, **rules: bool) -> tuple[PrNumber, Sha]:
    """A pull request of another author, approved by ours, where the rules want a review."""
    there.app.protect("main", reviews=reviews, **rules)
    number, head = of_another_author(there)
    there.forge.post_review(number, a_post(head, verdict("approve"), enough=True))
    assert there.pull().posted == {MARK}
    return number, head


@pytest.mark.parametrize("rule", ["dismiss_stale", "last_push"])
def test_a_yes_that_a_push_has_outdated_is_posted_again_of_the_new_head_and_once(there: Place, rule: str) -> None:
    number, _ = approved(there, **{rule: True})
    head = Sha(there.hub.commit(on_github.NAME, "agent/x-1", {"b": "of the base\n"}))

    there.forge.look.stale()
    assert there.pull().posted == frozenset()
    there.forge.post_review(number, a_post(head, verdict("approve"), enough=True))
    there.again().post_review(number, a_post(head, verdict("approve"), enough=True))

    assert [(r.state, r.commit) for r in there.app.pull(number).reviews][1:] == [("APPROVED", head)]
    seen = there.pull()
    assert seen.posted == {MARK} and seen.dismissed == {} and seen.withheld is None


def test_a_yes_that_a_person_dismissed_is_theirs_whatever_is_pushed(there: Place) -> None:
    number, _ = approved(there)
    (review,) = there.app.pull(number).reviews
    there.app.dismiss(number, review, by="ann")
    asked = len(there.hub.requests)

    there.forge.look.stale()
    assert (there.pull().posted, there.pull().dismissed) == ({MARK}, {MARK: "ann"})
    there.hub.commit(on_github.NAME, "agent/x-1", {"b": "of the base\n"})
    there.forge.look.stale()

    assert (there.pull().posted, there.pull().dismissed) == ({MARK}, {MARK: "ann"})
    assert sum("REVIEW_DISMISSED_EVENT" in request.query for request in there.hub.requests[asked:]) == 1


def test_who_dismissed_a_review_is_no_guess(there: Place) -> None:
    number, _ = approved(there)
    (review,) = there.app.pull(number).reviews
    there.app.dismiss(number, review, by="ann")
    there.forge.look.stale()
    there.hub.fault(faults.server_error(502), on="query rateLimit node")

    seen = there.pull()

    assert seen.withheld and "what was written about it can't be read" in seen.withheld
