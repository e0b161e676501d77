"""That nothing is to be saved is seen by one look at all files, which misses nothing that storing them would have shown."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import gitrepo
import pytest
from gitrepo import GitRepo

from reconciler.git import commands
from reconciler.model.desired import EpicSpec, WorktreeSpec
from reconciler.model.names import TaskId
from reconciler.model.venue import Venue
from reconciler.workspaces import GitWorkspaces, snapshot

TASK = TaskId("x-1")
FILES: dict[str, str | bytes] = {
    "README": "hello\n",
    "src/a.c": "abc\n",
    "empty": "",
    "with spaces in it": "1\n",
    ".gitattributes": "*.txt text eol=crlf\n",
    "lines.txt": "one\ntwo\n",
    ".gitignore": "*.o\n",
    ".beads/issues.jsonl": "{}\n",
}
# Settings of a person by which git looks less closely, or lists something else.
LAX = """
[core]
	checkStat = minimal
	trustctime = false
	untrackedCache = true
[status]
	showUntrackedFiles = no
	branch = true
	showStash = true
	renames = copies
	submoduleSummary = true
"""
CHANGES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda work: None,
    "a file that is ignored": lambda work: (work / "x.o").write_text("o\n"),
    "what is the tracker's": lambda work: (work / ".beads/issues.jsonl").write_text("{1}\n"),
    "a date": lambda work: os.utime(work / "README", (5, 5)),
    "content of the same size": lambda work: (work / "src/a.c").write_text("xyz\n"),
    "content of what was empty": lambda work: (work / "empty").write_text("1\n"),
    "no content": lambda work: (work / "src/a.c").write_text(""),
    "a mode": lambda work: (work / "README").chmod(0o755),
    "a link": lambda work: ((work / "README").unlink(), (work / "README").symlink_to("hello\n")),
    "a folder": lambda work: ((work / "README").unlink(), (work / "README").mkdir(), (work / "README/x").touch()),
    "a deletion": lambda work: (work / "with spaces in it").unlink(),
    "a new file": lambda work: (work / "new/one").parent.mkdir() or (work / "new/one").write_text("1\n"),
    "a name that looks like an entry": lambda work: (work / "1 A. N... 000000").write_text("1\n"),
    "other line ends": lambda work: (work / "lines.txt").write_bytes(b"one\ntwo\n"),
    "other lines": lambda work: (work / "lines.txt").write_bytes(b"one\r\nTWO\r\n"),
    "a repository inside": lambda work: subprocess.run(("git", "init", "-q", work / "inside"), check=True),
}
NOTHING = {"nothing", "a file that is ignored", "what is the tracker's", "a date", "other line ends"}


@pytest.fixture(params=["", LAX], ids=["plainly", "by lax settings"])
def repo(tmp_path: Path, request: pytest.FixtureRequest) -> GitRepo:
    made = gitrepo.make(tmp_path, files=FILES)
    with (made.home / ".gitconfig").open("a") as file:
        file.write(request.param)
    return made


@pytest.fixture
def work(repo: GitRepo, tmp_path: Path) -> Path:
    root = str(tmp_path / "worktrees")
    spec = EpicSpec(name="demo", repository=str(repo.path), worktrees=WorktreeSpec(root=root))
    return Path(GitWorkspaces(repo.seam()).create(TASK, spec, repo.head("main")).path)


@pytest.mark.parametrize("change", CHANGES)
def test_a_look_and_storing_every_file_come_to_the_same(
    repo: GitRepo, work: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    CHANGES[change](work)
    for path in work.rglob("*"):
        if not path.is_symlink() and ".git" not in path.parts:
            os.utime(path, (0, 0))  # as in an index that knows of no file yet
    seen = snapshot.Work(task=TASK, place=work, start=repo.head("main"))
    looked = snapshot.take(repo.seam(), seen, 0)
    monkeypatch.setattr(snapshot._Index, "compared", snapshot._Index.listing)
    stored = snapshot.take(repo.seam(), seen, 0)

    assert looked == stored
    assert (looked.tree == looked.start) == (change in NOTHING | {"a repository inside"})


def test_that_nothing_is_to_be_saved_takes_two_processes(
    repo: GitRepo, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spaces, at = GitWorkspaces(repo.seam()), Venue(root=str(work.parent))
    spaces.salvage(TASK, at)
    repo.commit({"README": "work\n", "src/new": "new\n"}, where=work)
    started: list[str] = []
    real = commands.shell.run

    def run(argv, **more):
        started.append(" ".join(argv))
        return real(argv, **more)

    monkeypatch.setattr(commands.shell, "run", run)
    assert spaces.salvage(TASK, at) is None
    steps = ("read-tree", "ls-files", "status", "update-index", "write-tree")
    assert [step for words in started for step in steps if step in words.split()] == ["read-tree", "status"]
