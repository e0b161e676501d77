"""Every reason is a row, complete, and the same wherever it is listed."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner

from reconciler.cli.explain import explain_command
from reconciler.model.reasons import Awaits, Reason, ReasonRow
from reconciler.render import reasons


@pytest.mark.parametrize("reason", Reason, ids=str)
def test_a_reason_is_a_word_with_a_sentence(reason: Reason) -> None:
    assert re.fullmatch(r"[A-Z][A-Za-z]+", reason)
    assert len(reason.row.meaning.split()) >= 2 and not reason.row.meaning.endswith(".")
    assert Reason.of(str(reason)) is reason
    assert set(re.findall(r"\{(\w+)\}", reason.row.todo)) <= {"task"}
    assert set(re.findall(r"\{(\w+)\}", reason.row.prompt)) <= {"base"}


def test_a_reason_without_a_row_is_none() -> None:
    with pytest.raises(TypeError, match="'Half' of Reason has no row"):
        Reason.__new_member__(Reason, "Half")  # type: ignore[attr-defined]  # what making the class calls
    with pytest.raises(TypeError, match="awaits"):
        ReasonRow("a meaning alone")  # type: ignore[call-arg]


def test_what_a_person_decides_about_what_would_land_waits_for_a_person() -> None:
    assert all(each.awaits is Awaits.PERSON for each in Reason if each.row.judged)


def test_the_page_of_the_docs_is_the_table() -> None:
    assert reasons.DOCS.read_text() == reasons.markdown(), "python -m reconciler.render.reasons"


def test_explain_lists_all_of_them() -> None:
    shown = CliRunner().invoke(explain_command, ["reasons"])
    told = CliRunner().invoke(explain_command, ["reasons", "-o", "json"])
    assert all(str(each) in shown.output for each in Reason), shown.output
    assert [each["reason"] for each in json.loads(told.output)] == [str(each) for each in Reason]
