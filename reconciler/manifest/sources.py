"""What a user names on the command line -> the texts in it: a file, the YAML files of a folder, or standard input."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from reconciler.manifest.findings import Finding, refusal
from reconciler.manifest.scalars import unwanted
from reconciler.manifest.yaml_text import Limits
from reconciler.model.errors import ManifestError

STDIN = "-"
SUFFIXES = (".yaml", ".yml")


class Source(Struct, frozen=True, kw_only=True):
    """One text. `name` is what messages call it, `path` where it stands ("" for standard input), `folder` what paths
    in it are relative to."""

    name: str
    path: str
    folder: Path
    content: bytes


def read(named: str, stdin: str, cwd: Path) -> list[Source]:
    """The texts of one source; a folder's in the order of their names. Raises ManifestError for what can't be read."""
    if named == STDIN:
        # What is no UTF-8 comes as surrogates; as bytes it is refused with its position like any other text.
        return [Source(name=shown(named), path="", folder=cwd, content=stdin.encode("utf-8", "surrogatepass"))]
    try:
        folder = stat.S_ISDIR(os.stat(cwd / named).st_mode)
        files = list(_files(named, cwd)) if folder else [named]
    except (OSError, ValueError) as error:
        raise _unreadable(named, error) from error
    if not files:
        raise refusal([Finding(file=named, what=f"the folder holds no manifest ({' or '.join(SUFFIXES)})")])
    return [_source(file, cwd) for file in files]


def shown(named: str) -> str:
    """What messages call a source."""
    return "<stdin>" if named == STDIN else named


def _files(named: str, cwd: Path) -> Iterator[str]:
    for name in sorted(os.listdir(cwd / named)):
        # Editors keep unfinished copies under hidden names.
        if name.endswith(SUFFIXES) and not name.startswith(".") and not (cwd / named / name).is_dir():
            yield os.path.join(named, name)


def _source(named: str, cwd: Path) -> Source:
    path = Path(os.path.abspath(cwd / named))
    if unwanted(str(path)):
        raise refusal([Finding(file=named, what="its path holds characters that can't be recorded")])
    try:
        # Opening a pipe would wait for its writer.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise refusal([Finding(file=named, what="is not a file", hint="'-f -' reads standard input")])
            content = file.read(Limits().bytes + 1)
    except (OSError, ValueError) as error:
        raise _unreadable(named, error) from error
    return Source(name=named, path=str(path), folder=path.parent, content=content)


def _unreadable(named: str, error: OSError | ValueError) -> ManifestError:
    why = error.strerror if isinstance(error, OSError) else error
    return refusal([Finding(file=named, what=f"can't be read: {why}")])
