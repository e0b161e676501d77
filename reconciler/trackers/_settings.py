"""What else stands in a `.beads/` folder: its `config.yaml`, its `.gitignore`, and whether a real database is there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from reconciler.model.errors import PermanentError
from reconciler.system.late import late
from reconciler.trackers import _files as files

_PREFIX = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,38}[A-Za-z0-9_])?")
_PREFIX_MAX = 40
# Comments and a prefix, as `prepare` and `bd init` write them: to import the reader of all else takes a tenth of a `status`.
_PLAIN = re.compile(rb'(?:#[ -~]*\n|\n)*(?:issue-prefix: "([A-Za-z0-9._-]+)"\n(?:#[ -~]*\n|\n)*)?')
_DOLT = ("dolt", "embeddeddolt")
_SQLITE = ("*.db", "*.sqlite", "*.sqlite3")


def prefix(beads: Path) -> str:
    """What new ids begin with: `issue-prefix` of config.yaml, else the name of the folder that holds `.beads/`.

    Raises PermanentError for a config.yaml that can't be read, or a prefix that can't begin an id.
    """
    path = beads / "config.yaml"
    settings = _settings(path)
    value = settings.get("issue-prefix") or settings.get("issue_prefix")
    if value is None or value == "":
        return _prefix_of(Path(os.path.abspath(beads)).parent.name)
    found = str(value).removesuffix("-")
    if not _PREFIX.fullmatch(found) or ".." in found:
        raise PermanentError(f"{path}: issue-prefix: {value!r} can't begin an id", hint="use letters, digits and '-'")
    return found


def holds_database(beads: Path) -> str | None:
    """What in `.beads/` says that a real Beads keeps the tasks, so that issues.jsonl is only its export; or None.

    Such a file may be stale, and what is written behind the database is lost or undoes newer work. `no-db: true` in
    config.yaml says that a SQLite file is not in use; later generations know no such setting.
    """
    with files.telling(f"cannot read {beads}"):
        try:
            names = sorted(os.listdir(beads))
        except FileNotFoundError:
            return None
    for name in names:
        if name in (*_DOLT, "redirect"):
            return name
    if "metadata.json" in names and (backend := _backend(beads / "metadata.json")):
        return backend
    sqlite = next((name for name in names if any(fnmatchcase(name, pattern) for pattern in _SQLITE)), None)
    return sqlite if sqlite and _settings(beads / "config.yaml").get("no-db") is not True else None


def made_by_br(beads: Path) -> str | None:
    """The file that says that `br` (beads_rust) has made the database in use, or has made it over for itself; or None.

    Its engine keeps files of its own beside a database, and each time looks whether they are there.
    """
    database = holds_database(beads)
    beside = (f"{database}.fsqlite-migration-state", f"{database}-fsqlite-ns-gate")
    return next((name for name in beside if database and (beads / name).exists()), None)


_OURS = (files.LOCK, files.TEMPORARY, "orchestrator/")


def prepare(beads: Path) -> None:
    """Keep our own files out of git, and write down the prefix where there is no config.yaml. Only under the lock."""
    ignored = beads / ".gitignore"
    found = files.read(ignored)
    data = found.data if found else b""
    missing = [name for name in _OURS if name.encode() not in data.split()]
    if missing and not ignored.is_symlink():  # the one who made it a link keeps the names somewhere else
        end = b"\n" if data and not data.endswith(b"\n") else b""
        files.replace(ignored, data + end + "".join(f"{name}\n" for name in missing).encode(), files.stamp(ignored))
    config = beads / "config.yaml"
    if files.stamp(config) is None:
        files.replace(config, f'issue-prefix: "{prefix(beads)}"\n'.encode(), None)


def _backend(path: Path) -> str | None:
    """The database that metadata.json speaks of. A file that can't be read may speak of one."""
    found = files.read(path)
    try:
        data = json.loads(found.data) if found else {}
    except (ValueError, RecursionError):
        return f"{path.name}, which can't be read"
    if not isinstance(data, dict):
        return f"{path.name}, which can't be read"
    if data.get("backend") in (None, "", "sqlite", "jsonl") and data.get("database") != "dolt":
        return None  # a SQLite database shows by its file
    return f"metadata.json with backend {data.get('backend') or 'dolt'}"


def _settings(path: Path) -> Mapping[str, Any]:
    if (found := files.read(path)) is None:
        return {}
    if plain := _PLAIN.fullmatch(found.data):
        return {"issue-prefix": plain[1].decode()} if plain[1] else {}
    yaml = late("yaml")
    try:
        data = yaml.safe_load(found.data)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise PermanentError(f"{path} is not YAML: {_problem(error)}", hint="fix it, or move it away") from error
    if data is not None and not isinstance(data, dict):
        raise PermanentError(f"{path} holds no settings", hint='it should look like: issue-prefix: "demo"')
    return data or {}


def _problem(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark else ""
    return where + str(getattr(error, "problem", None) or error)


def _prefix_of(folder: str) -> str:
    """A folder's name as ids can begin with it.

    >>> _prefix_of("My Project_2"), _prefix_of("2026")
    ('my-project-2', 'task')
    """
    name = re.sub(r"[^a-z0-9]+", "-", folder.lower())
    return re.sub(r"\A[^a-z]+", "", name)[:_PREFIX_MAX].rstrip("-") or "task"
