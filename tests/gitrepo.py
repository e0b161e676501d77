"""A real git repository for a test, with an identity and settings of its own: nothing of whoever runs the test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reconciler.git.commands import Git
from reconciler.git.repository import Repository, find
from reconciler.model.names import Sha

CONFIG = """\
[user]
	name = Somebody
	email = somebody@example.org
[init]
	defaultBranch = main
[commit]
	gpgSign = false
[core]
	editor = false
"""


@dataclass(frozen=True)
class GitRepo:
    """A checkout with its environment. `home` holds the global config that every git command of the test sees."""

    path: Path
    home: Path

    @property
    def environ(self) -> dict[str, str]:
        """The environment in which both the test and the program run git here."""
        kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "LANG") if name in os.environ}
        return {**kept, "HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home), "GIT_CONFIG_NOSYSTEM": "1"}

    @property
    def common(self) -> Path:
        """The common git dir."""
        return self.path / ".git" if (self.path / ".git").exists() else self.path

    def git(self, *args: str, cwd: Path | None = None, ok: bool = True, env: Mapping[str, str] | None = None) -> str:
        """What plain git prints, without the last newline. With `ok`, a failure of git fails the test."""
        ran = subprocess.run(
            ["git", *args],
            cwd=cwd or self.path,
            env={**self.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
        )
        assert not ok or ran.returncode == 0, f"git {' '.join(args)}: {ran.stderr}"
        return ran.stdout.removesuffix("\n")

    def complaint(self, *args: str) -> str:
        """What git says about it on standard error."""
        ran = subprocess.run(["git", *args], cwd=self.path, env=self.environ, capture_output=True, text=True)
        return ran.stderr

    def write(self, files: Mapping[str, str | bytes], *, where: Path | None = None) -> None:
        """Write files below the checkout, or below `where`."""
        for name, content in files.items():
            path = (where or self.path) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def commit(
        self, files: Mapping[str, str | bytes] | None = None, message: str = "work", *, where: Path | None = None
    ) -> Sha:
        """Write files, commit everything that is changed in that checkout; the new head."""
        self.write(files or {}, where=where)
        self.git("add", "--all", cwd=where)
        self.git("commit", "--quiet", "--allow-empty", "--message", message, cwd=where)
        return self.head("HEAD", cwd=where)

    def head(self, name: str = "HEAD", *, cwd: Path | None = None) -> Sha:
        """The commit that `name` names."""
        return Sha(self.git("rev-parse", "--verify", f"{name}^{{commit}}", cwd=cwd))

    def branch(
        self,
        name: str,
        files: Mapping[str, str | bytes] | None = None,
        *,
        start: str = "main",
        gone: tuple[str, ...] = (),
    ) -> Sha:
        """Make a branch with one commit on top of `start`, without touching the checkout; its head."""
        index = {"GIT_INDEX_FILE": str(self.common / f"index-of-{name.replace('/', '-')}")}
        self.git("read-tree", start, env=index)
        for path, content in (files or {}).items():
            blob = self.home / "blob"
            blob.write_bytes(content if isinstance(content, bytes) else content.encode())
            sha = self.git("hash-object", "-w", "--no-filters", "--", str(blob))
            self.git("update-index", "--add", "--cacheinfo", f"100644,{sha},{path}", env=index)
        if gone:
            self.git("update-index", "--force-remove", "--", *gone, env=index)
        tree = self.git("write-tree", env=index)
        commit = Sha(self.git("commit-tree", tree, "-p", start, "-m", f"work on {name}"))
        self.git("update-ref", f"refs/heads/{name}", commit)
        return commit

    def refs(self, prefix: str = "refs/") -> dict[str, str]:
        """Every ref below `prefix` and the object it names."""
        lines = self.git("for-each-ref", "--format=%(refname) %(objectname)", prefix).splitlines()
        return dict(line.split(" ") for line in lines)

    def files(self, commit: str) -> dict[str, bytes]:
        """Every file of a commit with its content."""
        names = self.git("ls-tree", "-r", "-z", "--name-only", commit).split("\0")
        return {name: self.content(f"{commit}:{name}") for name in names if name}

    def content(self, name: str) -> bytes:
        """The bytes of one object."""
        ran = subprocess.run(
            ["git", "cat-file", "blob", name], cwd=self.path, env=self.environ, capture_output=True, check=True
        )
        return ran.stdout

    def status(self, where: Path | None = None) -> str:
        """What the user's own git says about a checkout: empty when it is clean."""
        return self.git("status", "--porcelain", cwd=where)

    def repository(self) -> Repository:
        """Where it stands, as the program finds it."""
        return find(self.path, self.environ)

    def seam(self) -> Git:
        """The program's own way to run git here."""
        return Git(self.repository(), self.environ)


def make(
    folder: Path, *, name: str = "repo", files: Mapping[str, str | bytes] | None = None, format: str = "sha1"
) -> GitRepo:
    """A new repository `<folder>/<name>` on `main` with one commit, and a home folder beside it."""
    home = folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    if not (home / ".gitconfig").exists():
        (home / ".gitconfig").write_text(CONFIG)
    path = folder / name
    path.mkdir(parents=True)
    repo = GitRepo(path, home)
    repo.git("init", "--quiet", f"--object-format={format}")
    repo.commit({"README": "hello\n"} if files is None else files, "first")
    return repo
