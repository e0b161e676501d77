"""Files of what can be found out again, kept for who begins later: they may be lost, damaged, old or of another version, and are
believed only whole."""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from typing import TypeVar

import msgspec

from reconciler.system import files

T = TypeVar("T")
_SIZE_MAX = 256 << 20


def read(path: str, form: str) -> bytes | None:
    """What was written there in that very form; None for anything else."""
    try:
        with files.regular(path) as file:
            # Not at most so much: room for all of that would be made first.
            whole = file.read() if os.fstat(file.fileno()).st_size <= _SIZE_MAX else b""
    except OSError:
        return None
    head, _, body = whole.partition(b"\n")
    return body if head == _head(form, body) else None


def write(path: str, form: str, body: bytes) -> None:
    """Have that stand there, where it can be written. `form`: one line that says what `body` is, for those who read it."""
    partial = f"{path}.partial"
    # Not synced, and nobody is kept out: what is cut off or mixed up is not believed.
    with suppress(OSError):
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
            file.write(_head(form, body) + b"\n" + body)
        os.replace(partial, path)


def load(path: str, form: str, of: type[T]) -> T | None:
    """The value of this type that was stored there in that very form; None for anything else."""
    body = read(path, form)
    try:
        return None if body is None else msgspec.msgpack.decode(body, type=of)
    except msgspec.DecodeError:
        return None


def store(path: str, form: str, value: object) -> None:
    """Have a value stand there, where it can be written."""
    write(path, form, msgspec.msgpack.encode(value))


def _head(form: str, body: bytes) -> bytes:
    return f"{form} {zlib.crc32(body):08x}".encode()
