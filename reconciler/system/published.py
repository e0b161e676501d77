"""What the one who acts here saw and decided last, for who looks on: a page, other terminals. No decision reads it.

A file for each part (a manifest, and the rest), replaced as a whole where it has changed, and an index that counts: it says
with which number each part was written last. Written only while somebody reads: a reader holds a kernel lock, which dies
with it, and a tick that nobody looks at costs three system calls.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from reconciler.system import files

# No manifest is called so: their names begin with a letter or a digit.
REST, INDEX, READERS = "_rest", "_index.json", "_readers"


class LookIndex(Struct, frozen=True, kw_only=True):
    """What is there. `at`: when the world was last looked at, which may have been found as it was; `pid`: by whom.

    `begun`: the same as `at`, as seconds since 1970 with what is left of them.
    """

    number: int
    at: str
    pid: int
    parts: Mapping[str, int]
    begun: float = 0.0


class Published:
    """The newest look at one repository; `state` is its reconcile folder."""

    def __init__(self, state: Path) -> None:
        self._folder = state / "status" / "look"
        self._written: dict[str, bytes] = {}
        self._index: LookIndex | None = None

    # --- writing -------------------------------------------------------------------------------------------

    @property
    def read(self) -> bool:
        """True while somebody reads."""
        try:
            fd = os.open(self._folder / READERS, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(fd)
        return False

    def write(self, at: str, parts: Mapping[str, Any], *, begun: float = 0.0) -> None:
        """Publish a look that began then: the parts that are not as they were, then the index. For the one who reconciles here alone."""
        last = self.index()
        if last is None or last != self._index:
            self._written.clear()  # it is another's, or somebody removed the folder
        number = last.number + 1 if last else 1
        texts = {name: _encoded(part) for name, part in parts.items()}
        changed = {name: number for name, text in texts.items() if self._written.get(name) != text}
        for name in changed:
            files.put(self._folder / f"{name}.json", texts[name])
        for gone in self._written.keys() - texts.keys():
            (self._folder / f"{gone}.json").unlink(missing_ok=True)
        known = {name: then for name, then in (last.parts if last else {}).items() if name in texts}
        self._written = texts
        self._conclude(LookIndex(number=number, at=at, pid=os.getpid(), parts={**known, **changed}, begun=begun))

    def confirm(self, at: str, *, begun: float = 0.0) -> None:
        """Say that all is as it was published, seen again."""
        if self._index and (self._index.at, self._index.begun) != (at, begun):
            self._conclude(msgspec.structs.replace(self._index, at=at, begun=begun))

    def _conclude(self, index: LookIndex) -> None:
        files.put(self._folder / INDEX, msgspec.json.encode(index))
        self._index = index

    # --- reading -------------------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Have looks published while the block runs."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self._folder / READERS, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH)  # who writes tries it for an instant only
            yield
        finally:
            os.close(fd)

    def index(self) -> LookIndex | None:
        """What there is; None where nothing was published, or nothing that can be read."""
        try:
            return msgspec.json.decode((self._folder / INDEX).read_bytes(), type=LookIndex)
        except (OSError, ValueError):
            return None

    def part(self, name: str) -> dict[str, Any]:
        """A part as it stands now. Raises OSError or ValueError where it is gone or damaged: read the index again."""
        found = msgspec.json.decode((self._folder / f"{name}.json").read_bytes())
        if not isinstance(found, dict):
            raise ValueError(f"{name} is no part of a look")
        return found


def _encoded(part: object) -> bytes:
    try:
        return msgspec.json.encode(part)
    except UnicodeEncodeError:  # a message may name a path that is no Unicode
        return json.dumps(part, ensure_ascii=False).encode("utf-8", "replace")
