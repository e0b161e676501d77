"""What the archive holds of a run is that run, and no more than it has to be."""

from __future__ import annotations

from typing import Any

import pytest
from worlds import a_run, ago

from reconciler.model.names import RunId, RunKind
from reconciler.model.observed import Cause, Exit, Run, StopWhy
from reconciler.model.report import Report
from reconciler.model.values import replace
from reconciler.runners import _archive_rows as rows

ENDED = a_run(state="ended")
SAID: dict[str, dict[str, Any]] = {
    "nothing but that it ended": {},
    "no exit": {"exit": None},
    "an exit with all that it may say": {
        "exit": Exit(
            cause=Cause.STOPPED,
            at=ago(3),
            code=0,
            signal=9,
            stop=StopWhy.BUDGET,
            step=0,
            memory=0,
            limit_s=0.0,
            flaky=(0, 2),
        )
    },
    "a report": {"report": Report(usd=1.5, tokens=7), "agent": "claude"},
    "another reason, heads and labels": {"why": "Conflict", "heads": ("a" * 40,), "left_out": (0,), "judged": "x"},
    "a check": {"id": RunId(RunKind.CHECK, "0123abcd0123-0123abcd", 2), "task": ""},
}


@pytest.mark.parametrize("said", SAID)
def test_a_run_comes_back_as_it_went_in(said: str) -> None:
    run: Run = replace(ENDED, **SAID[said])

    assert rows.decoded(rows.encoded(run)) == run


def test_what_is_as_by_default_is_not_written_and_the_form_is_short() -> None:
    plain = replace(ENDED, exit=Exit(cause=Cause.EXITED, at=ago(3), code=0))

    written = rows.encoded(plain)

    assert not any(word in written for word in (b"null", b"[]", b"false", b'""'))
    assert len(rows.FORM) <= 16


def test_what_every_run_of_a_task_says_is_in_memory_once() -> None:
    one, other = (rows.decoded(rows.encoded(replace(ENDED, manifest="shop", why="Conflict"))) for _ in range(2))

    assert one and other and one.id.subject is one.task is other.task
    assert one.manifest is other.manifest and one.why is other.why
