"""How long saved work has been there, counted over ticks and not read off a clock that may have been wrong.

Each tick adds the time since the last one: never less than nothing, and a day at most. A clock that is set to any year
for a tick makes what is kept a day older.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from reconciler.model.names import Sha

MOST_AT_ONCE = timedelta(days=1)
COUNTED_EVERY = timedelta(hours=1)


class Ages(Struct):
    """The ages of what some refs name, in a file that is replaced as a whole. Lost, everything is young again."""

    file: Path
    _read: tuple[tuple[int, int], Mapping[str, Any]] | None = None
    _last: datetime | None = field(default=None)

    def of(self, ref: str, commit: Sha) -> timedelta:
        """How old it is, by the ticks that have passed; nothing for what is seen for the first time."""
        named, seconds = self._known().get(ref, (None, 0.0))
        return timedelta(seconds=seconds if named == commit else 0.0)

    def time_passes(self, now: datetime, kept: Mapping[str, Sha]) -> None:
        """Count the time since it was counted last, here or by a program beside this one, for everything that is kept now."""
        last = max(filter(None, (self._last, self._counted_at())), default=now)
        passed = min(max(now - last, timedelta()), MOST_AT_ONCE)
        known = self._known()
        if kept.keys() == known.keys() and timedelta() <= now - last < COUNTED_EVERY:
            self._last = last
            return
        self._last = now
        ages = {ref: (sha, (self.of(ref, sha) + passed).total_seconds()) for ref, sha in sorted(kept.items())}
        if ages or known:
            self._write({"at": now.isoformat(), "ages": ages})

    def _counted_at(self) -> datetime | None:
        try:
            at = datetime.fromisoformat(self._content()["at"])
            return at.astimezone(UTC) if at.tzinfo else None
        except (KeyError, ValueError, TypeError):
            return None

    def _known(self) -> dict[str, tuple[str, float]]:
        try:
            return {str(ref): (str(sha), max(float(s), 0.0)) for ref, (sha, s) in self._content()["ages"].items()}
        except (KeyError, ValueError, TypeError, AttributeError):
            return {}

    def _content(self) -> Mapping[str, Any]:
        """What the file says, read again when it has changed; nothing where it can't be read."""
        try:
            found = os.stat(self.file)
            mark = found.st_ino, found.st_mtime_ns
            if self._read is None or self._read[0] != mark:
                data = json.loads(self.file.read_bytes())
                self._read = mark, data if isinstance(data, dict) else {}
            return self._read[1]
        except (OSError, ValueError, RecursionError):
            return {}

    def _write(self, fields: Mapping[str, Any]) -> None:
        partial = self.file.with_name(f".{self.file.name}.{os.getpid()}")
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8") as stream:
            json.dump(fields, stream)
        os.replace(partial, self.file)
