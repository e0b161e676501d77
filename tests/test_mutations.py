"""The places that are broken on purpose are still where the script looks for them, and told in the tests' docs."""

from __future__ import annotations

import pytest
from mutations import BREAKS, ROOT, Break


@pytest.mark.parametrize("each", BREAKS, ids=lambda each: each.what)
def test_what_is_broken_on_purpose_is_still_there_to_break(each: Break) -> None:
    assert each.old in (ROOT / each.file).read_text("utf-8")
    assert all((ROOT / path).exists() for path in each.noticed.split())
    assert f"| {each.what} |" in (ROOT / "tests/README.md").read_text("utf-8")
