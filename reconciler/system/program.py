"""The files that this program is made of, and what says whether they still are those that it was started from."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent


def fingerprint(package: Path = PACKAGE) -> str:
    """What stays the same while nobody writes the modules of a package; where it does not, `content` says more.

    By path, inode, size and date: an installer writes every file again, and so does git where a file differs.
    """
    found = hashlib.blake2b(digest_size=16)
    for path in sorted(_modules(os.fspath(package))):
        try:
            stat = os.stat(path)
        except OSError:
            continue  # it is being replaced at this moment: what is left differs as well
        found.update(f"{path}\0{stat.st_ino}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode(errors="surrogateescape"))
    return found.hexdigest()


def content(package: Path = PACKAGE) -> str:
    """What tells the modules of a package from any other: they may be written again, and be the same."""
    found = hashlib.blake2b(digest_size=16)
    for path in sorted(_modules(os.fspath(package))):
        try:
            with open(path, "rb") as file:
                text = file.read()
        except OSError:
            continue
        found.update(f"{os.path.relpath(path, package)}\0{len(text)}\0".encode(errors="surrogateescape") + text)
    return found.hexdigest()


def runnable(source: str) -> str:
    """What an interpreter is to run for this file: its bytecode if that is at hand and of the file as it is, else itself.

    To compile a program takes longer than to run it, and some of the memory for that is never given back.
    """
    try:
        compiled = importlib.util.cache_from_source(source)
        stat = os.stat(source)
        with open(compiled, "rb") as file:
            header = file.read(16)
    except (OSError, NotImplementedError):
        return source
    # As Python itself judges it: compiled by this version, from a file of this date and size.
    made_of = b"".join((int(value) & 0xFFFFFFFF).to_bytes(4, "little") for value in (0, stat.st_mtime, stat.st_size))
    return compiled if header == importlib.util.MAGIC_NUMBER + made_of else source


def _modules(folder: str) -> list[str]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return []
    below = [
        path for entry in entries if entry.is_dir() and entry.name != "__pycache__" for path in _modules(entry.path)
    ]
    return [entry.path for entry in entries if entry.name.endswith(".py")] + below
