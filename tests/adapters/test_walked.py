"""What is written down of landings. Nobody may be able to tell whether it was there: only by the time that a look takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import gitrepo
import pytest
from gitrepo import GitRepo

from reconciler.git.commands import Git
from reconciler.landing import message, walked
from reconciler.landing.history import History
from reconciler.model.names import TaskId
from reconciler.model.observed import Landing

MANY = 6


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GitRepo:
    """A base on which some tasks have landed, and between them somebody's commits."""
    monkeypatch.setattr(walked, "FEWEST", 2)
    made = gitrepo.make(tmp_path, files={"a": "a\n"})
    made.seam().repository.state.mkdir(parents=True)
    for n in range(MANY):
        lands(made, f"t-{n}")
        made.git("commit", "--quiet", "--allow-empty", "-m", f"Somebody's {n}")
    return made


def lands(repo: GitRepo, task: str) -> None:
    text = message.of_landing(f"Do {task}", "", TaskId(task), repo.head())
    repo.git("commit", "--quiet", "--allow-empty", "-m", text)


def seen(repo: GitRepo) -> Sequence[Landing]:
    """What a process sees that begins now."""
    return History(repo.seam()).landings("main", repo.head("main"))


def truth(repo: GitRepo) -> Sequence[Landing]:
    """What who knows no such file sees."""
    history = History(repo.seam())
    history._walked._path = "/nowhere/landings"
    return history.landings("main", repo.head("main"))


def kept(repo: GitRepo) -> Path:
    seen(repo)
    return repo.seam().repository.state / "landings"


def asked(monkeypatch: pytest.MonkeyPatch, look: Callable[[], object]) -> list[str]:
    """The git commands that a look takes."""
    found: list[str] = []
    real = Git.objects
    with monkeypatch.context() as patched:
        patched.setattr(Git, "objects", lambda git, *args, **more: found.append(args[0]) or real(git, *args, **more))
        look()
    return found


def test_what_has_landed_is_not_looked_for_again_by_who_begins_later(
    repo: GitRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asked(monkeypatch, lambda: kept(repo)) == ["rev-list"]
    lands(repo, "t-new")

    assert asked(monkeypatch, lambda: seen(repo)) == []
    assert seen(repo) == truth(repo) and [each.task for each in seen(repo)][-1] == "t-new"
    assert len(seen(repo)) == MANY + 1


def test_a_few_are_not_worth_a_file(repo: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walked, "FEWEST", MANY + 1)

    assert not kept(repo).exists()


def _goes_back(repo: GitRepo) -> None:
    repo.git("reset", "--quiet", "--hard", "HEAD~3")


def _is_written_anew(repo: GitRepo) -> None:
    repo.git("checkout", "--quiet", "--orphan", "new")
    repo.git("commit", "--quiet", "--allow-empty", "-m", "Begin anew")
    lands(repo, "u-1")
    repo.git("branch", "--force", "main")
    repo.git("checkout", "--quiet", "main")


def _is_written_anew_and_the_old_one_collected(repo: GitRepo) -> None:
    _is_written_anew(repo)
    repo.git("branch", "-D", "new")
    repo.git("reflog", "expire", "--expire=now", "--all")
    repo.git("gc", "--quiet", "--prune=now")


def _is_merged_into_another_line(repo: GitRepo) -> None:
    """What had landed is still below it, and not on its first-parent line."""
    repo.git("checkout", "--quiet", "-b", "other", "HEAD~4")
    lands(repo, "u-1")
    repo.git("merge", "--quiet", "--no-ff", "-m", "Merge main", "main")
    repo.git("branch", "--force", "main")
    repo.git("checkout", "--quiet", "main")


def _goes_on_in_many_steps(repo: GitRepo) -> None:
    for n in range(70):
        lands(repo, f"u-{n}")


def _is_cut_off(repo: GitRepo) -> None:
    """A clone that was made whole, and is shallow by now."""
    (repo.common / "shallow").write_text(f"{repo.git('rev-parse', 'HEAD~4')}\n")


CHANGES = [
    _goes_back,
    _is_written_anew,
    _is_written_anew_and_the_old_one_collected,
    _is_merged_into_another_line,
    _goes_on_in_many_steps,
    _is_cut_off,
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_the_base_says_counts(repo: GitRepo, change: Callable[[GitRepo], None]) -> None:
    path = kept(repo)
    before, date = path.read_bytes(), os.stat(path)

    change(repo)

    assert seen(repo) == truth(repo)
    path.write_bytes(before)  # as if nobody had looked since
    os.utime(path, ns=(date.st_atime_ns, date.st_mtime_ns))
    assert seen(repo) == truth(repo)


def test_a_line_that_was_cut_off_is_not_written_down(repo: GitRepo) -> None:
    _is_cut_off(repo)
    path = kept(repo)
    assert not path.exists()

    (repo.common / "shallow").unlink()

    assert len(seen(repo)) == MANY


@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"landings 1 00000000\n\x80", None])
def test_what_is_cut_off_or_no_such_file_is_not_believed(repo: GitRepo, content: bytes | None) -> None:
    path = kept(repo)
    path.write_bytes(path.read_bytes()[:-9] if content is None else content)
    assert seen(repo) == truth(repo)

    path.unlink(missing_ok=True)
    path.mkdir()
    assert seen(repo) == truth(repo)


def test_a_file_in_its_place_of_the_same_size_and_date_is_not_believed(repo: GitRepo) -> None:
    path = kept(repo)
    date, content = os.stat(path), path.read_bytes()
    path.write_bytes(content.replace(b"t-1", b"t-9"))
    os.utime(path, ns=(date.st_atime_ns, date.st_mtime_ns))

    assert path.read_bytes() != content and seen(repo) == truth(repo)


def test_each_base_has_its_own(repo: GitRepo) -> None:
    repo.git("branch", "release", "HEAD~4")
    History(repo.seam()).landings("release", repo.head("release"))
    kept(repo)

    found = History(repo.seam())

    assert len(found.landings("release", repo.head("release"))) == MANY - 2
    assert found.landings("main", repo.head("main")) == truth(repo)
