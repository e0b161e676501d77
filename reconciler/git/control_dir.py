"""The control git dir: ours, beside the repository's, with nothing in it that an agent may have written and git would run."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from reconciler.git import logins

Config = tuple[tuple[str, str | None], ...]
_SCRATCH = "scratch"
_SCRATCH_MOST_S = 3600.0

# What may be taken over from the repository's own config: none of it names a program.
_HARMLESS = re.compile(
    r"extensions\.(?!refstorage).*"
    r"|core\.(autocrlf|eol|filemode|ignorecase|symlinks|sparsecheckout|sparsecheckoutcone|repositoryformatversion)"
    r"|user\.(name|email)"
    r"|remote\..*\.(lfs(push)?)?url"
    r"|lfs\.(push)?url"
    r"|url\..*\.(push)?insteadof"
)


class ControlDir:
    """The one of a repository whose git dir is `common`. `own`: what it takes over of that one's config, passwords and all."""

    def __init__(self, path: Path, common: Path) -> None:
        self.path, self._common = path, common
        self.own: Config = ()
        self._seen: tuple[tuple[int, int, int] | None, ...] | None = None

    def home(self) -> Path:
        """A folder that holds nothing, for a git that takes its working directory for its working tree."""
        home = self.path / "empty"
        if not home.is_dir():
            for folder in (self.path.parent, self.path, home):
                folder.mkdir(mode=0o700, exist_ok=True)
        return home

    def refresh(self, config: Callable[[], Config]) -> None:
        """Bring it up to date with the repository; `config`: what that one's own config holds."""
        source = self._common / "config"
        exclude = self._common / "info" / "exclude"
        seen = (stamp(source), stamp(exclude))
        if seen == self._seen and (self.path / "HEAD").exists():
            return
        self.home()
        for folder in ("refs", "objects", "info"):
            (self.path / folder).mkdir(mode=0o700, exist_ok=True)
        self.own = tuple((key, value) for key, value in config() if _HARMLESS.fullmatch(key))
        lines = [_setting(*map(logins.without, (key, "true" if value is None else value))) for key, value in self.own]
        _replace(self.path / "config", "".join(lines))
        _replace(self.path / "info" / "exclude", exclude.read_text("utf-8", "replace") if exclude.is_file() else "")
        _replace(self.path / "HEAD", "ref: refs/heads/none\n")
        self._seen = seen

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for as long as it is used. One whose user is killed is taken away by `sweep`."""
        folder = self.path.parent / _SCRATCH
        self.home()
        folder.mkdir(mode=0o700, exist_ok=True)
        with TemporaryDirectory(dir=folder) as made:
            yield Path(made)

    def sweep(self) -> None:
        """Take away what killed programs left: nobody uses such a folder for more than minutes."""
        for left in (self.path.parent / _SCRATCH).glob("*"):
            with suppress(FileNotFoundError):  # another program sweeps as well
                if time.time() - left.lstat().st_mtime > _SCRATCH_MOST_S:
                    shutil.rmtree(left)


def stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file does; None where there is none."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _setting(key: str, value: str) -> str:
    section, _, name = key.rpartition(".")
    first, _, rest = section.partition(".")
    quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    subsection = ' "' + rest.replace("\\", "\\\\").replace('"', '\\"') + '"' if rest else ""
    return f'[{first}{subsection}]\n\t{name} = "{quoted}"\n'


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    temporary.write_text(text, "utf-8")
    os.replace(temporary, path)
