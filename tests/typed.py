"""A stranger at a shell: whole lines, typed as a guide shows them, with `just` and `reconcile` on the PATH."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from strangers import Place
from waiting import run

from reconciler.model.names import TaskId
from reconciler.model.ports import NewTask
from reconciler.trackers.jsonl import JsonlTracker

BIN = Path(sys.executable).parent
WORK = 'echo "$RECONCILE_TASK" > "$RECONCILE_TASK.txt"; git add .; git commit -qm "Do $RECONCILE_TASK"'


class Shell(Place):
    """A stranger's repository, and a shell in it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.env["PATH"] = f"{BIN}:{self.env['PATH']}"
        self.env.pop("PYTHONDONTWRITEBYTECODE", None)  # the program is started often, and would be compiled each time

    def type(self, line: str, code: int | None = 0, cwd: Path | None = None) -> str:
        """Type a line; what it printed, both streams together."""
        argv = ("bash", "-o", "pipefail", "-c", line)
        done = run(argv, cwd=cwd or self.root, env=self.env, stderr=subprocess.STDOUT)
        assert code is None or done.returncode == code, (line, done.returncode, done.stdout)
        return done.stdout

    def epic(self, *titles: str) -> tuple[TaskId, list[TaskId]]:
        """An epic with tasks below it."""
        epic = self.made("Epic: Feature X", type="epic")
        return epic, [self.made(title, parent=epic) for title in titles]

    def made(self, title: str, **fields: Any) -> TaskId:
        """A task that somebody made."""
        return JsonlTracker(self.root / ".beads").create(NewTask(title=title, **fields))

    def task(self, id: str) -> dict:
        """A task as it stands in the store."""
        return next(task for task in self.tasks().values() if task["id"] == id)

    def attempts(self, task: str) -> int:
        """How many agents were started for a task."""
        return len(list((self.root / f".git/reconcile/runs/work/{task}").glob("*/run.json")))

    def settings(self, script: str = WORK, **spec: object) -> Path:
        """`reconcile.yaml`, as 'reconcile init --justfile' begins it and a person goes on."""
        path = self.manifest("made.yaml", tasks=[], repository=".", agent={"argv": ["sh", "-c", script]}, **spec)
        return path.rename(self.root / "reconcile.yaml")
