"""Standard output and error, whose failures are ours to tell: click and rich each end the process in a way of their own."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from typing import Any, TextIO

from reconciler.model.errors import PermanentError


class _Out(io.FileIO):
    """A standard stream. `lenient`: what can't be written is dropped."""

    lenient = False

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if self.lenient:
                return memoryview(data).nbytes
            if isinstance(error, BrokenPipeError):
                # The one who listened has heard enough. No loop that goes on after an error may swallow this.
                raise SystemExit(0) from error
            raise PermanentError(f"standard output can't be written: {error.strerror}") from error


@contextmanager
def standard() -> Iterator[None]:
    """Print through streams that tell what goes wrong, and that show what they can where they are not UTF-8."""
    sys.stdout, out = _stream(1, sys.stdout)
    sys.stderr, err = _stream(2, sys.stderr)
    err.lenient = True
    try:
        yield
    finally:
        out.lenient = True  # what is left of a failed try is tried once more when the interpreter ends


def _stream(number: int, like: TextIO | None) -> tuple[TextIO, _Out]:
    if like is None:  # it is closed: another file would get its number, and what is printed
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    raw = _Out(number, "w", closefd=False)
    buffering = isinstance(like, io.TextIOWrapper) and like.line_buffering
    encoding = like.encoding if like else "utf-8"
    text = io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors="backslashreplace", line_buffering=buffering)
    return text, raw


@contextmanager
def redirected(say: Callable[[str], None]) -> Iterator[None]:
    """Have every line that is printed go there instead: nothing is printed into a picture."""
    fd, err = sys.stdout.fileno(), sys.stderr.isatty()
    with redirect_stdout(_LinesTo(say, fd)), redirect_stderr(_LinesTo(say, fd)) if err else nullcontext():
        yield


class _LinesTo(io.TextIOBase):
    """Takes what is printed, line by line. What print and click ask of a stream, it has."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, say: Callable[[str], None], fd: int) -> None:
        self._say, self._fd = say, fd
        self._rest = ""

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._say(line)
        return len(text)
