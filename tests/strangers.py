"""A stranger's repository, and the program in it: real commands, a shell one-liner for an agent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from waiting import ended

AGENT = 'echo "$RECONCILE_TASK" > "$RECONCILE_TASK.txt" && git add . && git commit -qm "Do $RECONCILE_TASK"'
EXAMPLES = Path(__file__).parents[1] / "examples"


class Place:
    """A repository of a stranger's, and `reconcile` in it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "project"
        self.root.mkdir()
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "RECONCILE_"))} | {
            "GIT_CONFIG_GLOBAL": os.devnull,
        }
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "user.name", "Stranger")
        self.git("config", "user.email", "stranger@localhost")
        (self.root / "README").write_text("hello\n")
        self.git("add", ".")
        self.git("commit", "--quiet", "--message=Begin")

    def git(self, *args: str, cwd: Path | None = None) -> str:
        done = subprocess.run(("git", *args), cwd=cwd or self.root, env=self.env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def manifest(self, name: str = "epic.yaml", **spec: object) -> Path:
        path = self.root.parent / name
        agent = {"kind": "command", "argv": ["sh", "-c", AGENT], "backoff": {"initial": "1s", "max": "1s"}}
        document = {
            "apiVersion": "reconcile/v1",
            "kind": "Epic",
            "metadata": {"name": spec.pop("name", "work")},
            "spec": {
                "repository": "project",
                "tasks": [{"key": "a", "title": "Do a"}, {"key": "b", "title": "Do b", "dependsOn": ["a"]}],
                "agent": agent | dict(spec.pop("agent", {})),
                "mergePolicy": {"checks": ["test -e README"]} | dict(spec.pop("mergePolicy", {})),
                **spec,
            },
        }
        path.write_text(yaml.safe_dump(document))
        return path

    def start(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            (sys.executable, "-m", "reconciler", *args),
            cwd=self.root,
            env=self.env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )

    def reconcile(self, *args: str, code: int | None = 0) -> str:
        process = self.start(*args)
        out, err = ended(process)
        assert code is None or process.returncode == code, (args, process.returncode, out, err)
        return out if code in (0, None) else out + err

    def json(self, *args: str, code: int | None = 0) -> dict:
        process = self.start(*args, "-o", "json")
        out, err = ended(process)
        assert code is None or process.returncode == code, (args, process.returncode, out, err)
        return json.loads(out)

    def tasks(self) -> dict[str, dict]:
        lines = (self.root / ".beads" / "issues.jsonl").read_text().splitlines()
        return {task["title"]: task for task in map(json.loads, lines)}

    def subjects(self) -> list[str]:
        return self.git("log", "--format=%s", "main").splitlines()

    def leftovers(self) -> list[str]:
        worktrees = self.git("worktree", "list", "--porcelain").count("worktree ") - 1
        branches = self.git("branch", "--list", "agent/*").split()
        runs = [p for p in Path("/proc").glob("[0-9]*/environ") if _mentions(p, str(self.root))]
        return [*(["worktrees"] if worktrees else []), *branches, *(str(p) for p in runs)]


def _mentions(environ: Path, root: str) -> bool:
    try:
        found = environ.read_bytes()
    except OSError:
        return False
    return b"RECONCILE_RUN=" in found and root.encode() in found


def merged(place: Place, *titles: str) -> None:
    tasks = place.tasks()
    for title in titles:
        assert tasks[title]["status"] == "closed", tasks[title]
        assert "phase:merged" in tasks[title]["labels"]
    assert tasks["work"]["status"] == "closed"
    assert sorted(place.subjects()) == sorted(["Begin", *titles])
    assert place.leftovers() == []
    # `.beads` is the only thing that a stranger's checkout gained beside the work.
    assert [line for line in place.git("status", "--porcelain").splitlines() if ".beads/" not in line] == []


@contextmanager
def coloured(folder: Path) -> Iterator[Place]:
    """Such a place for who looks at it on a terminal with colours; nothing of it runs on."""
    place = Place(folder)
    place.env["TERM"] = "xterm-256color"
    place.env.pop("NO_COLOR", None)
    yield place
    place.reconcile("stop", "--all", code=None)
