"""Whose fault a refused push is, by what the rules say, and never by the names beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.forges.github.notes import Notes, PendingMerge
from reconciler.landing import refusals
from reconciler.model.errors import ContentRefusedError, PermanentError
from reconciler.model.names import PrNumber, Sha

HEAD = "error: GH013: Repository rule violations found for refs/heads/agent/{}."
DECLINED = "! [remote rejected] 1234 -> agent/x (push declined due to repository rule violations)"
HOOK = "! [remote rejected] 1234 -> agent/{} (pre-receive hook declined)"


@pytest.mark.parametrize("name", ["x", "signature", "restricted", "protected-ref", "refusing-to-allow"])
@pytest.mark.parametrize(
    "said",
    [
        (
            "- GITHUB PUSH PROTECTION",
            "Resolve the following violations before pushing again",
            "- Push cannot contain secrets",
        ),
        ("- Commit message must match a given regex pattern",),
        (
            "error: File restricted/signature.bin is 120.00 MB; this exceeds GitHub's file size limit of 100.00 MB",
            "error: GH001: x",
        ),
    ],
)
def test_what_commits_hold_is_their_authors_to_mend_whatever_files_and_branches_are_called(
    name: str, said: tuple[str, ...]
) -> None:
    lines = (HEAD.format(name), *said, f"path: {name}.py:1", f"path: refusing to allow/{name}", HOOK.format(name))
    found = refusals.of(lines)
    assert isinstance(found, ContentRefusedError) and f"path: {name}.py:1" in str(found)


@pytest.mark.parametrize(
    "rule",
    [
        "- Cannot create ref due to creations being restricted.",
        "- Commits must have verified signatures.",
        "- Cannot update this protected ref.",
        "- Changes must be made through a pull request.",
        "- Required status check 'ci' is expected.",
    ],
)
def test_what_no_commit_can_meet_is_a_persons(rule: str) -> None:
    found = refusals.of((HEAD.format("x"), rule, DECLINED))
    assert type(found) is PermanentError and rule[2:] in str(found)


@pytest.mark.parametrize(
    "line",
    [
        "refusing to allow an OAuth App to create or update workflow `.github/workflows/ci.yml` without `workflow` scope",
        "! [remote rejected] a -> b (refusing to allow a GitHub App to create or update workflow `x` without `workflows` permission)",
    ],
)
def test_a_scope_that_a_login_lacks_is_named_with_how_to_get_it(line: str) -> None:
    found = refusals.of((line, HOOK.format("x")))
    assert type(found) is PermanentError and "--scopes workflow" in (found.hint or "")


@pytest.mark.parametrize(
    "said",
    [
        (),
        ("frozen: ask Ann", HOOK.format("x")),
        ("! [remote rejected] a -> b (cannot lock ref)",),
        ("- a list of a hook's own", HOOK.format("x")),
        ("path: GH013", HOOK.format("x")),
    ],
)
def test_what_no_rule_of_github_said_may_be_otherwise_next_time(said: tuple[str, ...]) -> None:
    assert refusals.of(said) is None


@pytest.mark.parametrize(
    ("said", "complaint", "lasts"),
    [
        (("frozen: ask Ann", HOOK.format("x")), "", True),
        (("! [remote rejected] a -> main (protected branch hook declined)",), "", True),
        (("! [remote rejected] a -> main (branch is currently checked out)",), "", True),
        ((), "ERROR: Permission to acme/app.git denied to bob.", True),
        ((), "fatal: unable to access 'https://github.com/acme/app/': The requested URL returned error: 403", True),
        (("! [remote rejected] a -> b (cannot lock ref 'refs/heads/b')",), "", False),
        (("! [remote rejected] a -> b (unpacker error)",), "", False),
        (("! [rejected] a -> b (stale info)",), "", False),
        ((), "fatal: unable to access 'https://github.com/acme/app/': The requested URL returned error: 502", False),
        ((), "ssh: Could not resolve hostname github.com; fatal: Could not read from remote repository.", False),
        ((), "fatal: the remote end hung up unexpectedly", False),
    ],
)
def test_what_somebody_is_against_is_told_from_what_chance_had_its_part_in(
    said: tuple[str, ...], complaint: str, lasts: bool
) -> None:
    assert refusals.lasting(said, complaint) is lasts


def test_an_answer_of_github_is_found_again_also_where_an_older_version_wrote_it_down(tmp_path: Path) -> None:
    notes, head, file = Notes(tmp_path), Sha("a" * 40), tmp_path / "asked-7.json"
    notes.refused(PrNumber(7), PendingMerge(head=head, answer="not allowed"))
    assert notes.refusal(PrNumber(7), head) == "not allowed"
    assert notes.refusal(PrNumber(7), Sha("b" * 40)) is None

    file.write_text(file.read_text().replace('"answer"', '"said"'))
    assert notes.refusal(PrNumber(7), head) == "not allowed"
