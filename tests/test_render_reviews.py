"""What reviewers answered, as `pr show` and `describe` list it."""

from __future__ import annotations

from typing import Any

import pytest
import worlds
from worlds import ago

from reconciler.model.changes import Diff, File
from reconciler.model.names import PrNumber, RunId, RunKind, TaskId
from reconciler.model.observed import PullState, Run
from reconciler.model.pull_records import PullRecord
from reconciler.model.values import replace
from reconciler.model.verdicts import LineComment, ReviewVerdict, ReviewWord
from reconciler.render import reviews

DIFF = Diff(
    start=worlds.BASE,
    head=worlds.HEAD,
    tree=worlds.TREE,
    files=(File(path="a.py", kind="M", added=1, deleted=1),),
    lines={"a.py": ((1, 9),)},
)


def a_record(**fields: Any) -> PullRecord:
    known = {"number": PrNumber(7), "task": TaskId("x-1"), "title": "Do x", "body": "", "head": worlds.HEAD}
    return PullRecord(**{**known, "opened_head": worlds.HEAD, "opened_at": ago(600), **fields})


def a_review(n: int = 1, *comments: LineComment, word: str = "approve", **fields: Any) -> Run:
    said = ReviewVerdict(verdict=ReviewWord(word), summary="fine", comments=comments)
    run = worlds.a_run("x-1", n, **{"baseline": worlds.HEAD, "verdict": said, **fields})
    return replace(run, id=RunId(RunKind.REVIEW, "x-1@c1c1c1c1c1c1", n))


def answers(record: PullRecord, runs: tuple[Run, ...], diffs: reviews.Diffs) -> list[dict[str, Any]]:
    return reviews.listed(record, runs, diffs, worlds.a_pull(), None)


def test_a_review_whose_supervisor_was_killed_is_listed_with_why_it_has_no_verdict() -> None:
    killed = a_review(state="lost", verdict=None, last_progress_at=ago(90))

    found = answers(a_record(), (killed, a_review(2)), {})

    assert [(each["verdict"], each["because"], each["at"]) for each in found] == [
        (None, "it ended before its time (killed, or the machine went down)", "2026-01-01T11:58:30Z"),
        ("approved", None, "2026-01-01T11:59:00Z"),
    ]


@pytest.mark.parametrize(
    ("run", "record", "listed"),
    [
        ({}, {}, True),
        ({"state": "running"}, {}, False),
        ({"started_at": None}, {}, False),
        ({"baseline": worlds.OTHER}, {}, True),
        ({"baseline": worlds.OTHER}, {"opened_at": ago(30)}, False),
        ({}, {"opened_at": ago(30)}, True),
        ({}, {"state": PullState.CLOSED, "closed_at": ago(300)}, False),
    ],
    ids=["while open", "still reads", "never began", "older head", "before it", "same head", "after it"],
)
def test_a_review_is_of_the_pull_request_that_was_open_or_that_offers_its_very_head_again(
    run: dict[str, Any], record: dict[str, Any], listed: bool
) -> None:
    assert bool(answers(a_record(**record), (a_review(**run),), {})) is listed


@pytest.mark.parametrize(
    ("path", "line", "diff", "said"),
    [
        ("a.py", 3, DIFF, "a.py:3"),
        ("a.py", None, DIFF, "a.py"),
        ("a.py", 99, DIFF, "a.py:99 (outside the diff)"),
        ("../x\x1b[2J", 1, DIFF, "../x\\x1b[2J:1 (outside the diff)"),
        ("a.py", 3, replace(DIFF, lines=None), "a.py:3 (not looked up in the diff)"),
        ("a.py", None, replace(DIFF, lines=None), "a.py"),
        ("b.py", 3, replace(DIFF, lines=None), "b.py:3 (outside the diff)"),
        ("a.py", 3, None, "a.py:3 (not looked up in the diff)"),
    ],
)
def test_a_place_that_the_diff_does_not_show_is_said_to_be_outside_of_it(
    path: str, line: int | None, diff: Diff | None, said: str
) -> None:
    run = a_review(1, LineComment(path=path, line=line, body="why"))

    (found,) = answers(a_record(), (run,), {run.id: diff} if diff else {})

    assert reviews.place(found["comments"][0]) == said


@pytest.mark.parametrize(("counts", "said"), [(True, ", and still counts"), (False, ""), (None, "")])
def test_a_review_of_an_older_head_that_still_counts_says_so(counts: bool | None, said: str) -> None:
    (found,) = answers(a_record(), (a_review(baseline=worlds.OTHER),), {})

    rows = list(reviews.rows({"head": worlds.HEAD, "reviews": [{**found, "counts": counts}]}))[1].rows

    assert rows[0].cells[3].plain == f"approved an older head, {worlds.OTHER[:12]}{said}"
