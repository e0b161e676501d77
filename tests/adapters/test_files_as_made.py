"""Of a new worktree it is kept how git wrote each file; what may not be so any more is read, whatever else is as it was."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import gitrepo
import pytest
from gitrepo import GitRepo

from reconciler.model.desired import EpicSpec, WorktreeSpec
from reconciler.model.names import TaskId
from reconciler.model.venue import Venue
from reconciler.workspaces import GitWorkspaces

TASK = TaskId("x-1")
LAX = {
    "trustctime": "false",
    "checkStat": "minimal",
    "ignoreStat": "true",
    "untrackedCache": "true",
    "fsmonitor": "true",
}


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    return gitrepo.make(tmp_path, files={"file": "as it was\n", "other": "o\n", "folder/deep": "d\n"})


def made(repo: GitRepo, root: Path, **worktrees: object) -> tuple[GitWorkspaces, Path]:
    """A worktree in which nothing was done yet."""
    spaces = GitWorkspaces(repo.seam())
    spec = EpicSpec(name="demo", repository=str(repo.path), worktrees=WorktreeSpec(root=str(root), **worktrees))
    return spaces, Path(spaces.create(TASK, spec, repo.head("main")).path)


def kept(repo: GitRepo) -> Path:
    return repo.common / "worktrees/x-1/reconcile-index"


def as_if_made_slowly(repo: GitRepo) -> None:
    """As if each file had been written seconds before the index was: git reads what is as young as that."""
    held = kept(repo).read_bytes()
    later_ns = int.from_bytes(held[:8], "big") + 2_000_000_000
    kept(repo).write_bytes(later_ns.to_bytes(8, "big") + held[8:])


def written_in_place(file: Path) -> None:
    before = file.stat()
    file.write_text("otherwise\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(file: Path) -> None:
    before = file.stat()
    (file.parent / "new").write_text("otherwise\n")
    os.utime(file.parent / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(file.parent / "new", file)


@pytest.mark.parametrize("config", [{}, LAX], ids=["", "lax"])
@pytest.mark.parametrize("change", [written_in_place, replaced])
@pytest.mark.parametrize("when", ["changed at once", "changed later", "looked at later"])
def test_a_file_of_the_same_size_and_date_is_read(
    repo: GitRepo, tmp_path: Path, config: dict[str, str], change: Callable[[Path], None], when: str
) -> None:
    for name, value in config.items():
        repo.git("config", "--global", f"core.{name}", value)
    spaces, work = made(repo, tmp_path / "trees")
    if when == "changed later":
        as_if_made_slowly(repo)
        time.sleep(1.1)

    change(work / "file")

    if when == "looked at later":
        time.sleep(1.1)
    saved = spaces.remove(TASK, Venue(root=str(tmp_path / "trees")))
    assert saved and repo.git("show", f"{saved.commit}:file") == "otherwise"


def test_what_was_committed_and_then_changed_is_read(repo: GitRepo, tmp_path: Path) -> None:
    spaces, work = made(repo, tmp_path / "trees")
    repo.commit({"file": "committed\n", "new": "n\n"}, where=work)
    assert spaces.salvage(TASK, Venue(root=str(tmp_path / "trees"))) is None

    (work / "new").write_text("m\n")
    (work / "other").unlink()

    saved = spaces.remove(TASK, Venue(root=str(tmp_path / "trees")))
    assert saved and repo.files(saved.commit) == {"file": b"committed\n", "new": b"m\n", "folder/deep": b"d\n"}


def test_what_nobody_has_touched_is_not_read_again(repo: GitRepo, tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = tmp_path / "clean"
    program.write_text(f'#!/bin/sh\necho "$1" >> "{log}"\nexec cat\n')
    program.chmod(0o755)
    repo.git("config", "--global", "filter.log.clean", f"{program} %f")
    repo.commit({".gitattributes": "* filter=log\n"})
    spaces, work = made(repo, tmp_path / "trees")
    as_if_made_slowly(repo)
    log.unlink(missing_ok=True)

    (work / "other").write_text("changed\n")
    spaces.salvage(TASK, Venue(root=str(tmp_path / "trees")))

    assert set(log.read_text().split()) == {"other"}


def garbage(file: Path) -> None:
    file.write_bytes(b"garbage")


def cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-30])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def gone(file: Path) -> None:
    file.unlink()


def a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize("harm", [garbage, cut_off, empty, gone, a_pipe])
def test_where_it_is_not_known_every_file_is_read(repo: GitRepo, tmp_path: Path, harm: Callable[[Path], None]) -> None:
    spaces, work = made(repo, tmp_path / "trees")
    harm(kept(repo))
    assert spaces.salvage(TASK, Venue(root=str(tmp_path / "trees"))) is None

    (work / "file").write_text("otherwise\n")

    saved = spaces.remove(TASK, Venue(root=str(tmp_path / "trees")))
    assert saved and repo.git("show", f"{saved.commit}:file") == "otherwise" and not work.exists()


def test_of_a_narrow_worktree_nothing_is_kept(repo: GitRepo, tmp_path: Path) -> None:
    made(repo, tmp_path / "trees", sparse=("folder",))

    assert not kept(repo).exists()


def test_a_copy_of_the_repository_knows_as_well_which_files_are_as_young_as_the_index(
    repo: GitRepo, tmp_path: Path
) -> None:
    _, work = made(repo, tmp_path / "trees")
    written_in_place(work / "file")
    time.sleep(1.1)
    shutil.copytree(repo.path, tmp_path / "copy", symlinks=True, copy_function=shutil.copyfile)
    shutil.rmtree(repo.path)
    (tmp_path / "copy").rename(repo.path)

    saved = GitWorkspaces(repo.seam()).remove(TASK, Venue(root=str(tmp_path / "trees")))

    assert saved and repo.git("show", f"{saved.commit}:file") == "otherwise"
