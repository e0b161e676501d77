"""The rows of a database of SQLite that is somebody else's: they are only read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

DATABASE = "beads.db"
_PATIENCE_S = 1.0


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A database that is there. Raises sqlite3.Error where it is not, or somebody has it for long."""
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=_PATIENCE_S)) as database:
        yield database
