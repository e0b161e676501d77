"""What four generations of `bd` answered to one story: recorded from the real programs, played again in every test run.

    python tests/recorded_beads.py            records anew, with those of `outside.py` that are installed

A recording holds every command that the story made our adapter run, in order, with what it was answered. Played again, a
command that is another one fails the story: then it is to be recorded anew, and looked at.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import databases  # noqa: E402 - found on the path that is set above
from outside import PROGRAMS, find  # noqa: E402

from reconciler.model.errors import ReconcileError  # noqa: E402
from reconciler.model.names import TaskId  # noqa: E402
from reconciler.model.ports import Change, NewTask  # noqa: E402
from reconciler.trackers.beads import BeadsTracker  # noqa: E402

FOLDER = HERE / "beads"
NAMES = ("bd-sqlite", "bd-0.63", "bd-1.0", "bd")
US = "reconcile@test"

# Runs the real one and keeps what it said.
RECORDER = """\
#!{python}
import json, subprocess, sys
done = subprocess.run([{real!r}, *sys.argv[1:]], stdin=subprocess.DEVNULL, capture_output=True)
said = dict(argv=sys.argv[1:], code=done.returncode, out=done.stdout.decode(), err=done.stderr.decode())
with open({calls!r}, "a") as file:
    file.write(json.dumps(said) + chr(10))
sys.stdout.write(said["out"]); sys.stderr.write(said["err"]); sys.exit(done.returncode)
"""
# Says again what was recorded, command by command.
PLAYER = """\
#!{python}
import json, os, sys
calls = json.load(open({recording!r}))["calls"]
count = {count!r}
n = os.path.getsize(count) if os.path.exists(count) else 0
with open(count, "a") as file:
    file.write("x")
call = calls[n] if n < len(calls) else dict(argv="nothing more")
if call["argv"] != sys.argv[1:]:
    sys.exit("recorded: %s; asked: %s" % (call["argv"], sys.argv[1:]))
sys.stdout.write(call["out"]); sys.stderr.write(call["err"]); sys.exit(call["code"])
"""


def change(task: str, **fields: Any) -> Change:
    return Change(task=TaskId(task), **fields)


def new(task: str, title: str, **fields: Any) -> Change:
    made = {"type": "task", "description": 'Ünïcode; with "quotes"\nand lines', "acceptance": "it works", **fields}
    return change(task, create=NewTask(title=title, **made))


def story(tracker: BeadsTracker) -> list[Any]:
    """What happens to a few tasks, and what is seen and answered: the same whichever `bd` keeps them."""
    told: list[Any] = []

    def does(*changes: Change) -> None:
        told.append([type(answer).__name__ if answer else None for answer in tracker.write(changes)])

    def looks() -> None:
        told.append({id: shown(task) for id, task in sorted(tracker.tasks().items())})

    told.append(tracker.prefix())
    looks()
    does(new("x-e", "Rewrite it", type="epic"))
    epic = TaskId("x-e")
    does(
        new("x-1", "Do one", parent=epic, labels=frozenset({"a", "b, c"}), priority=0),
        new("x-2", "Do two", parent=epic, blockers=(TaskId("x-1"),)),
        new("x-3", "Do three"),
    )
    looks()
    free = {"expect_status": frozenset({"open"}), "expect_assignee": frozenset({"", US})}
    does(change("x-1", status="in_progress", assignee=US, add_labels=frozenset({"phase:spawned"}), **free))
    does(
        change("x-1", add_labels=frozenset({"phase:working"}), remove_labels=frozenset({"phase:spawned"})),
        change("x-3", note="first"),
    )
    does(change("x-3", note="second", status="blocked"), change("x-9", status="closed"))
    looks()
    merged = frozenset({"phase:merged", "pr:7"})
    does(
        change(
            "x-1",
            status="closed",
            close_reason="merged #7",
            add_labels=merged,
            remove_labels=frozenset({"phase:working"}),
        )
    )
    does(change("x-2", add_blockers=frozenset({TaskId("x-3")})), change("x-3", status="open", priority=4))
    looks()
    return told


def shown(task: Any) -> dict[str, Any]:
    """What there is to be known of a task, without what is another in each run."""
    return {
        "title": task.title, "status": task.status, "type": task.type, "priority": task.priority,
        "assignee": task.assignee, "labels": sorted(task.labels), "parents": list(task.parents),
        "blockers": list(task.blockers), "notes": task.notes, "reason": task.close_reason,
        "texts": [task.description, task.acceptance], "closed": task.closed_at is not None,
    }  # fmt: skip


def tracker_with(folder: Path, script: str) -> BeadsTracker:
    """Our adapter over a `bd` that is this script."""
    program = folder / "bin" / "bd"
    program.parent.mkdir()
    program.write_text(script)
    program.chmod(0o755)
    environ = {**os.environ, **databases.QUIET, "PATH": f"{program.parent}:/usr/bin:/bin"}
    return BeadsTracker(folder, folder / ".beads", folder / "locks", environ, US)


def played(name: str, folder: Path) -> list[Any]:
    """The story, told by what was recorded."""
    (folder / ".beads" / "dolt").mkdir(parents=True)
    script = PLAYER.format(python=sys.executable, recording=str(recording(name)), count=str(folder / "count"))
    told = story(tracker_with(folder, script))
    calls = json.loads(recording(name).read_text())["calls"]
    assert (folder / "count").stat().st_size == len(calls), "fewer commands than were recorded"
    return told


def recording(name: str) -> Path:
    return FOLDER / f"{name}-{PROGRAMS[name].version}.json"


def record(name: str) -> Sequence[dict[str, Any]]:
    """Live through the story with the real program, and write down all that it said."""
    with tempfile.TemporaryDirectory(prefix="reconcile-record-") as there:
        folder = Path(there)
        databases.database(folder, name)
        calls = folder / "calls"
        script = RECORDER.format(python=sys.executable, real=str(find(name)), calls=str(calls))
        story(tracker_with(folder, script))
        said = [json.loads(line) for line in calls.read_text().splitlines()]
        # Where it was recorded is nobody's business, and another one each time.
        text = json.dumps({"recorded": f"{datetime.now(UTC):%F}", "calls": said}, indent=1, ensure_ascii=False)
        recording(name).write_text(text.replace(there, "/project") + "\n")
    return said


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    for name in NAMES:
        if find(name) is None:
            print(f"{name} is not there: python tests/outside.py {name}")
            continue
        try:
            print(f"{name}: {len(record(name))} commands in {recording(name).relative_to(HERE.parent)}")
        except ReconcileError as error:
            print(f"{name}: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
