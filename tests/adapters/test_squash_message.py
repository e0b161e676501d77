"""What a squash says: nobody's words and nobody's part in it are lost, and what an agent wrote commands no forge."""

from __future__ import annotations

from pathlib import Path

import gitrepo
import on_github
import pytest
from gitrepo import GitRepo
from hypothesis import given
from hypothesis import strategies as st

from reconciler.forges.local import LocalForge
from reconciler.git.objects import Commit
from reconciler.landing import message, squash
from reconciler.model.desired import MergeMethod, SquashMessage
from reconciler.model.names import PrNumber, Sha, TaskId
from reconciler.model.observed import Candidate
from reconciler.model.ports import LandOrder
from reconciler.model.values import replace

TASK = TaskId("x-1")
BASE, HEAD = Sha("b0" * 20), Sha("c1" * 20)
FIRST = "One\n\nWhy: because.\n\nCo-authored-by: Ann <ann@example.org>"
THIRD = "Three\n\nSigned-off-by: Cy <cy@example.org>"
TRAILERS = "Reconcile-Task: x-1\nReconcile-Head: {head}"


def order(**fields: object) -> LandOrder:
    given = {"title": "Do it", "body": "As was asked.", "method": MergeMethod.SQUASH, **fields}
    expected = Candidate(base=BASE, head=HEAD, tree=BASE)
    return LandOrder(task=TASK, number=PrNumber(1), expected=expected, base="main", **given)


def commit(text: str, author: str = "Me <me@example.org>") -> Commit:
    return Commit(sha=HEAD, tree=HEAD, parents=(BASE,), author=f"{author} 1 +0000", committer="", text=text)


def landed(*texts: str | Commit, **fields: object) -> str:
    own = [text if isinstance(text, Commit) else commit(text) for text in texts]
    title, body = squash.words(order(**fields), own, "me@example.org")
    return message.of_landing(title, body, TASK, HEAD).removesuffix(f"{TRAILERS.format(head=HEAD)}\n").strip()


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ("task", "Do it\n\nAs was asked."),
        ("commits", "Do it\n\n* One\n\nWhy: because.\n\n* Three"),
        ("both", "Do it\n\nAs was asked.\n\n* One\n\nWhy: because.\n\n* Three"),
    ],
)
def test_co_authors_and_sign_offs_are_kept_whatever_else_is_said(says: str, words: str) -> None:
    said = landed(FIRST, commit(THIRD, "Bob <bob@example.org>"), says=SquashMessage(says))
    assert said == (
        f"{words}\n\nCo-authored-by: Bob <bob@example.org>\nCo-authored-by: Ann <ann@example.org>\n"
        "Signed-off-by: Cy <cy@example.org>"
    )


def test_a_commit_alone_says_its_own_words_where_only_those_are_asked_for() -> None:
    assert (
        landed("Fix the lexer\n\nIt read too far.", says=SquashMessage.COMMITS) == "Fix the lexer\n\nIt read too far."
    )
    assert landed("Do it", body="") == "Do it"


def test_whoever_lands_it_is_no_co_author_of_theirs_and_nobody_is_named_twice() -> None:
    said = landed(
        commit("One", "Me Too <ME@example.org>"), commit("Two\n\nCo-authored-by: A <a@b>\nCo-authored-by: A <A@b>")
    )
    assert said.count("Co-authored-by") == 1


def test_what_an_agent_wrote_commands_no_forge() -> None:
    said = landed("Fixes #1 [skip ci]\n\nskip-checks: true\ncc @ann\nReconcile-Head: 1\n\nCo-authored-by: @x <x@y.org>")
    assert "Fixes issue #1 (skip ci)" in said and "(at)ann" in said and "skip checks: true" in said
    assert "Co-authored-by: (at)x <x@y.org>" in said and "Reconcile-Head" not in said


@given(st.lists(st.text(), min_size=1, max_size=3), st.sampled_from(SquashMessage), st.text())
def test_whatever_commits_say_the_landed_one_names_task_and_head(
    texts: list[str], says: SquashMessage, body: str
) -> None:
    title, text = squash.words(order(says=says, body=body), [commit(each) for each in texts], "me@example.org")
    assert message.landed(message.of_landing(title, text, TASK, HEAD)) == (TASK, HEAD)


def work(repo: GitRepo, where: Path) -> None:
    repo.git("worktree", "add", "--quiet", "-b", "agent/x-1", str(where))
    for n, (text, who) in enumerate([(FIRST, "Me"), ("Two", "Bob"), (THIRD, "Me")]):
        repo.write({f"{n}": "new\n"}, where=where)
        repo.git("add", ".", cwd=where)
        me = (f"user.name={who}", f"user.email={who.lower()}@example.org")
        repo.git("-c", me[0], "-c", me[1], "commit", "--quiet", "-m", text, cwd=where)


@pytest.mark.parametrize("packed", [False, True])
def test_a_squash_on_the_local_forge_says_it(tmp_path: Path, packed: bool) -> None:
    repo = gitrepo.make(tmp_path)
    work(repo, tmp_path / "tree")
    if packed:
        repo.git("gc", "--quiet", "--prune=now")
    forge = LocalForge(repo.seam())
    head = repo.head("agent/x-1")
    number = forge.open(TASK, head, "Do it", "")
    expected = forge.candidate(repo.head("main"), head)
    assert isinstance(expected, Candidate)

    forge.land(replace(order(), number=number, expected=expected))

    assert repo.git("log", "-1", "--format=%an|%B", "main").strip() == (
        "Me|Do it\n\nAs was asked.\n\n* One\n\nWhy: because.\n\n* Two\n\n* Three\n\n"
        "Co-authored-by: Bob <bob@example.org>\nCo-authored-by: Ann <ann@example.org>\n"
        f"Signed-off-by: Cy <cy@example.org>\n{TRAILERS.format(head=head)}"
    )


@pytest.mark.xdist_group("github")
def test_a_squash_on_github_says_it_and_keeps_addresses_whole() -> None:
    with on_github.place() as there:
        work(there.clone, there.clone.path.parent / "tree")
        head = there.clone.head("agent/x-1")
        number = there.forge.open(TASK, head, "Do it", "Text")
        there.app.check(head, "ci", "success")
        there.forge.look.stale()

        commit = there.landed(number, head, title="Do it", body="Asked by <ann@example.org>.")

        said = there.app.bare.commit(commit).message
        assert said.startswith(
            "Do it (#1)\n\nAsked by <ann@example.org>.\n\n* One\n\nWhy: because.\n\n* Two\n\n* Three\n\n"
        )
        assert "Co-authored-by: Bob <bob@example.org>\n" in said and said.strip().endswith(TRAILERS.format(head=head))
