"""Waiting for what happens, not for a clock: whoever works beside the tests makes everything slow and nothing wrong.

A wait is over when what it waits for is there, or when the process that should bring it about has ended; pytest's limit for
a whole test bounds the rest. Whatever ends a wait in vain carries a note of what the process had printed by then.
"""

from __future__ import annotations

import errno
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# As long as pytest gives a whole test (pyproject.toml), so it is reached in clearing up after a test that pytest cut off.
MOST_S = 300.0
PAUSE_S = 0.02
HELD_S = 5.0


def until(condition: Callable[[], object], what: str = "", *, by: subprocess.Popen[str] | None = None) -> None:
    """Wait until something holds. Fails as soon as the process that should bring it about has ended."""
    what = what or "what was waited for"
    with noting(lambda: f"waited for: {what}\n{_last_words(by) if by else ''}"):
        end, over = time.monotonic() + MOST_S, False
        while not condition():
            assert not over, f"it ended before {what}"
            assert time.monotonic() < end, f"waited in vain for {what}"
            over = by is not None and by.poll() is not None  # what it did last is still looked at
            time.sleep(PAUSE_S)


def removed(folder: Path) -> None:
    """Remove a folder that a live program goes on writing to: what it adds between two looks is removed too."""

    def gone() -> bool:
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            return False  # a file in it went by itself between two looks; the next try says whether the folder did
        except OSError as refused:
            if refused.errno != errno.ENOTEMPTY:
                raise
            return False
        return True

    until(lambda: not folder.exists() or gone(), f"{folder} is removed")


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a process has printed, on each of its streams, once it has ended by itself."""
    with noting(lambda: _last_words(process)):
        return process.communicate(timeout=MOST_S)


def run(argv: Sequence[str | Path], **how: Any) -> subprocess.CompletedProcess[str]:
    """Run a program to its end. `how` are arguments of Popen."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(argv, text=True, **streams | how)
    out, err = ended(process)
    return subprocess.CompletedProcess(argv, process.returncode, out, err)


@contextmanager
def noting(say: Callable[[], str]) -> Iterator[None]:
    """Add what there was to see by then to whatever ends this block before its time, pytest's limit too."""
    try:
        yield
    except BaseException as cut:
        cut.add_note(say())
        raise


def _last_words(process: subprocess.Popen[str]) -> str:
    """How a process was found and what it has printed; it is killed for that."""
    code = process.poll()
    process.kill()
    try:
        printed = process.communicate(timeout=HELD_S)
    except subprocess.TimeoutExpired as held:  # what it has started still has its streams
        printed = (held.stdout, held.stderr)
    found = "still ran" if code is None else f"had ended with {code}"
    return "\n".join((f"{process.args} {found}; it printed:", *(str(part).rstrip() for part in printed if part)))
