"""The short way to the task of a line gives what the careful one does, or nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.trackers import _lines as lines
from reconciler.trackers._plain_rows import plain_task
from reconciler.trackers._records import task_of

EDGE = {"issue_id": "x-1", "depends_on_id": "x-0", "type": "blocks", "created_at": "2026-01-02T03:04:05Z"}
USUAL: dict[str, Any] = {
    "id": "x-1",
    "title": "A title — with a dash",
    "description": "What is to be done",
    "status": "closed",
    "priority": 1,
    "issue_type": "task",
    "assignee": "somebody",
    "created_at": "2026-01-02T03:04:05.123456Z",
    "updated_at": "2026-01-02T05:04:05+02:00",
    "closed_at": "2026-01-02T03:04:05Z",
    "close_reason": "done",
    "labels": ["b", "a", ""],
    "dependencies": [EDGE, {**EDGE, "type": "parent-child", "metadata": "{}"}, {**EDGE, "type": "waits-for"}],
}
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 6),
    st.floats(allow_nan=False),
    st.text(max_size=3),
    st.sampled_from(["", "open", "P1", "gate", "2026-01-02", "\0", "é", "blocks", "x-1"]),
    st.lists(
        st.one_of(st.text(max_size=2), st.just(EDGE), st.just({**EDGE, "type": ""}), st.just({"depends_on_id": "x-2"})),
        max_size=2,
    ),
)
KEYS = st.sampled_from(
    [
        *USUAL,
        "notes",
        "defer_until",
        "pinned",
        "ephemeral",
        "_type",
        "_schema",
        "metadata",
        "comments",
        "closed_by_session",
        "other",
    ]
)


def line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def carefully(raw: bytes) -> object:
    """What the careful way makes of a line: a task, or why it is none."""
    try:
        record = lines._decoded(raw)
        assert isinstance(record, dict)
        foreign = "_schema" in record or record.get("_type") not in (None, "issue") or record.get("id") in (None, "")
        return None if foreign else task_of(record)
    except ValueError as error:
        return str(error)


@given(st.dictionaries(KEYS, VALUES, max_size=4), st.sets(st.sampled_from([*USUAL])))
@example({}, set())
@example({"title": "\ud800"}, set())
@example({"dependencies": [{**EDGE, "type": ""}]}, set())
@example({"created_at": "2026-01-02"}, set())
def test_what_it_says_of_a_line_is_what_care_says(changed: dict[str, Any], left_out: set[str]) -> None:
    raw = line({key: value for key, value in {**USUAL, **changed}.items() if key not in left_out})

    if found := plain_task(raw):
        assert found == carefully(raw)


@pytest.mark.parametrize("left_out", [(), ("dependencies", "labels"), ("closed_at", "close_reason")])
def test_a_usual_line_is_plain(left_out: tuple[str, ...]) -> None:
    raw = line({key: value for key, value in USUAL.items() if key not in left_out})

    assert plain_task(raw) == carefully(raw) is not None


@pytest.mark.parametrize(
    "odd",
    [
        line(USUAL).replace(b'"status":"closed"', b'"status":"open","status":"closed"'),
        line(USUAL).replace(b'"depends_on_id":"x-0"', b'"depends_on_id":"x-9","depends_on_id":"x-0"', 1),
        line(USUAL).replace(b'"priority":1', b'"priority": 1'),
        line(USUAL).replace(b'"priority":1', b'"priority":1.0'),
        line(USUAL).replace(b'"title":"A', b'"title":"\\u0000A'),
        line({**USUAL, "defer_until": "2030-01-01T00:00:00Z"}),
        line({**USUAL, "metadata": {"key": "value"}}),
        line({"_type": "memory", **USUAL}),
        line({**USUAL, "id": ""}),
    ],
    ids=[
        "a key twice",
        "a key of an edge twice",
        "a space",
        "a fraction",
        "NUL",
        "put off",
        "unknown",
        "foreign",
        "no id",
    ],
)
def test_a_line_of_which_something_would_be_lost_is_not_plain(odd: bytes) -> None:
    assert plain_task(odd) is None
