"""Who may read the metrics without a session: a scraper that holds the token of a file, which only its owner can read."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from reconciler.model.errors import UsageError
from reconciler.system import files

TOKEN_MIN, FILE_MAX = 16, 4096


def token_of(path: Path) -> str:
    """The token in a file, which is made where there is none. Raises UsageError where others could know it."""
    if not path.exists():
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UsageError(f"{path} can't be written: {error.strerror}") from error
        with open(fd, "w", encoding="ascii") as file:
            file.write(f"{secrets.token_urlsafe(32)}\n")
    try:
        with files.regular(path) as found:
            mode, token = stat.S_IMODE(os.fstat(found.fileno()).st_mode), found.read(FILE_MAX).decode("ascii").strip()
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} holds no token: {error}", hint="delete it, and it is made again") from error
    if mode & 0o077:
        raise UsageError(f"others than you may read {path}", hint=f"chmod 600 {path}")
    if len(token) < TOKEN_MIN or not token.isprintable() or " " in token:
        raise UsageError(
            f"{path} holds no token of at least {TOKEN_MIN} characters", hint="delete it, and it is made again"
        )
    return token
