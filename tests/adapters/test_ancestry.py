"""What a head is ahead of its base is what git counts, or left to git; whatever becomes of the base meanwhile."""

from __future__ import annotations

import random
from pathlib import Path

import gitrepo
import pytest
from gitrepo import GitRepo

from reconciler.git import ancestry as ancestry_module
from reconciler.git.ancestry import Ancestry
from reconciler.model.names import Sha


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    return gitrepo.make(tmp_path)


def commit(repo: GitRepo, *parents: Sha, text: str) -> Sha:
    onto = [part for parent in parents for part in ("-p", parent)]
    return Sha(repo.git("commit-tree", f"{parents[0]}^{{tree}}", *onto, "-m", text))


def as_git_counts(repo: GitRepo, base: Sha, head: Sha) -> int:
    return int(repo.git("rev-list", "--count", head, f"^{base}"))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("steps", [2, 64], ids=["few steps", "many steps"])
def test_in_any_history_it_says_what_git_says_or_nothing(
    repo: GitRepo, seed: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ancestry_module, "_STEPS", steps)
    chance, known = random.Random(seed), [repo.head()]
    for n in range(14):
        parents = dict.fromkeys(chance.choices(known[-5:], k=chance.choice((1, 1, 1, 2))))
        known.append(commit(repo, *parents, text=f"{seed} {n}"))
    ancestry, bases = Ancestry(repo.seam()), [chance.choice(known) for _ in range(10)]
    found = [(ancestry.ahead(base, head), as_git_counts(repo, base, head)) for base in bases for head in known]
    assert all(said in (None, counted) for said, counted in found)
    assert any(said is not None for said, _ in found)


def test_a_base_that_moves_on_is_followed(repo: GitRepo) -> None:
    ancestry, base = Ancestry(repo.seam()), repo.head()
    heads = [commit(repo, base, text=f"work {n}") for n in range(3)]
    heads.append(commit(repo, heads[0], text="more"))
    assert [ancestry.ahead(base, head) for head in heads] == [1, 1, 1, 2]
    landed = commit(repo, base, text="landed")
    assert [ancestry.ahead(landed, head) for head in heads] == [1, 1, 1, 2]
    # A person moves the base to one of the heads: what comes before it is on the base now.
    assert [ancestry.ahead(heads[0], head) for head in heads] == [0, 1, 1, 1]
    on_top = commit(repo, heads[3], text="on top")
    assert [ancestry.ahead(on_top, head) for head in heads] == [0, 1, 1, 0]


def test_what_is_merged_or_packed_is_left_to_git(repo: GitRepo) -> None:
    base = repo.head()
    one, other = commit(repo, base, text="one"), commit(repo, base, text="other")
    both = commit(repo, one, other, text="both")
    assert Ancestry(repo.seam()).ahead(base, both) is None
    assert Ancestry(repo.seam()).ahead(both, other) is None
    repo.git("update-ref", "refs/heads/kept", one)
    repo.git("repack", "-adq")
    assert Ancestry(repo.seam()).ahead(base, one) is None
