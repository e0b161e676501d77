"""A `bd` that is a script: it lists what a test lays down, notes every call, and does what it is told."""

from __future__ import annotations

import json
from pathlib import Path

from reconciler.model.names import TaskId
from reconciler.model.ports import Change
from reconciler.trackers.beads import BeadsTracker

# Notes every call, then does what the test says for its first word. `$store` is what it would list.
FAKE = """\
#!/bin/sh
here={here}
store="$here/store"
first="$1"
echo "$*" >> "$here/calls"
once() {{ mkdir "$here/once.$1" 2>/dev/null; }}
echo "hint: upgrade today" >&2
case "$first" in
    version) echo "bd version {version} (dev)"; exit;;
esac
{script}
case "$first" in
    list) cat "$store";;
    *) echo "[]";;
esac
"""


def record(id: str = "x-1", **fields: object) -> dict[str, object]:
    times = {"created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"}
    return {"id": id, "title": id, "status": "open", "priority": 2, "issue_type": "task", **times, **fields}


class Fake:
    """A folder with a `bd` that is told what to do."""

    def __init__(self, folder: Path) -> None:
        self.here = folder
        self.main = folder / "main"
        (self.main / ".beads").mkdir(parents=True)
        (folder / "bin").mkdir()
        self.env = {"PATH": f"{folder}/bin:/usr/bin:/bin", "HOME": str(folder), "CLAUDE_SESSION_ID": "mine"}
        self.holds(record())
        self.does()

    def does(self, script: str = "", version: str = "1.0.5") -> None:
        path = self.here / "bin" / "bd"
        path.write_text(FAKE.format(here=self.here, version=version, script=script))
        path.chmod(0o755)

    def holds(self, *records: dict[str, object]) -> None:
        (self.here / "store").write_text(json.dumps(list(records)))

    def tracker(self) -> BeadsTracker:
        return BeadsTracker(self.main, self.main / ".beads", self.here / "locks", self.env, "reconcile@test")

    def calls(self, verb: str = "") -> list[str]:
        path = self.here / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.startswith(verb)]


def change(task: str = "x-1", **fields: object) -> Change:
    return Change(task=TaskId(task), **fields)  # type: ignore[arg-type]
