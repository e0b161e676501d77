"""A project as people have them: tasks in Beads, a repository on GitHub, claude for an agent. Nothing leaves the machine.

`bd`, `gh`, `claude` and git are the real programs. What they talk to is ours: the tests' GitHub, and a model that says what
a script says. `python tests/real_world.py` makes such a project, lets `reconcile watch --until-done` loose on it in this
terminal, and shows how it ended; `--jsonl` and `--local` keep tasks and pull requests in the repository instead.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

try:
    import databases
    import yaml
    from agent_places import AgentPlace
    from github import GitHub
    from github.repository import Repository
    from outside import find
    from scripted import ScriptedModel, Turn
except ImportError as error:
    sys.exit(f"{error.name} is not here: install what tests need (README.md, Tests), and start this with that Python")

NAME = "acme/shop"
NEEDED = ("bd-sqlite", "claude")
WORK = 'echo done > "$RECONCILE_TASK.txt" && git add . && git commit -qm "Do $RECONCILE_TASK"'
SCRIPTS = {"work": (Turn(text="I look around.", shell=WORK), Turn(text="All is done."))}
TITLES = ("Write the lexer", "Write the parser", "Write the printer")
TEXT = "SCRIPT:work"
CHECK = "git show --check"  # not every machine has a `make`
README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
README_MANIFEST = README.partition("```yaml\n")[2].partition("```")[0]


class Project(AgentPlace):
    """A clone of a repository on GitHub, with three tasks in Beads, of which the second waits for the first."""

    def __init__(self, folder: Path, model: ScriptedModel, hub: GitHub, app: Repository) -> None:
        super().__init__(folder, model, "claude")
        self.app = app
        self.database = databases.database(folder / "database", "bd-sqlite")
        beads_path = self.database.env["PATH"].partition(os.pathsep)[0]
        path = os.pathsep.join((beads_path, str(Path(sys.executable).parent), self.env["PATH"]))
        self.env |= {**databases.QUIET, **hub.env, "PATH": path}
        config = self.home / ".gitconfig"
        # In a file: git commands of ours take no GIT_* of the caller.
        config.write_text(f'[core]\n\tsshCommand = "{self.env.pop("GIT_SSH_COMMAND")}"\n')
        self.env["GIT_CONFIG_GLOBAL"] = str(config)
        shutil.rmtree(self.root)
        self.root = folder / "project"
        self.git("clone", "--quiet", f"git@github.com:{NAME}.git", str(self.root), cwd=folder)
        self.git("config", "user.name", "Stranger")
        self.git("config", "user.email", "stranger@localhost")
        (self.database.root / ".beads").rename(self.root / ".beads")
        self.database.root, self.database.beads = self.root, self.root / ".beads"
        self.epic = self.database.make("Build the shop", "--type=epic")
        self.ids = [self.database.make(title, f"--parent={self.epic}", f"--description={TEXT}") for title in TITLES]
        self.database.bd("dep", "add", self.ids[1], self.ids[0])

    def manifest(self, *, tracker: str = "", forge: str = "") -> Path:
        """The README's, for these tasks and this repository. Without words for them, tracker and forge are found out."""
        document = yaml.safe_load(README_MANIFEST)
        spec = document["spec"]
        spec["mergePolicy"]["checks"] = [CHECK]
        spec |= {"repository": "project", "epic": self.epic} | ({"forge": forge} if forge else {})
        if tracker == "jsonl":
            keys = [title.split()[-1] for title in TITLES]
            inline = [
                {"key": key, "title": title, "description": TEXT} for key, title in zip(keys, TITLES, strict=True)
            ]
            inline[1]["dependsOn"] = keys[:1]
            del spec["epic"]
            spec |= {"tracker": tracker, "tasks": inline}
        path = self.root.parent / "shop.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        return path

    def beads(self) -> dict[str, dict]:
        """Every bead by its title."""
        return {task["title"]: task for task in json.loads(self.database.bd("list", "--all", "--limit=0", "--json"))}

    def landed(self) -> list[str]:
        """What landed on the base of GitHub, newest first, without the number that GitHub wants in a title."""
        titles = self.app.bare.git("log", "--format=%s", "main").splitlines()
        return [title.partition(" (#")[0] for title in titles[:-1]]

    def without_beads(self) -> None:
        """Move the database out of the way, as the program says that one has to."""
        (self.root / ".beads").rename(self.root.parent / "beads-before")


@contextmanager
def project() -> Iterator[Project]:
    """Such a project, gone when it was used."""
    with ExitStack() as ending:
        folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="real-"))  # a socket's path is bounded
        ending.callback(shutil.rmtree, folder, ignore_errors=True)
        hub = ending.enter_context(GitHub())
        app = hub.repository(NAME, files={"README.md": "A shop\n"}, delete_branch_on_merge=True)
        app.protect("main", required=("ci",))
        app.on_head = lambda head: app.check(head, "ci", "success")
        model = ending.enter_context(ScriptedModel(SCRIPTS))
        made = Project(folder, model, hub, app)
        ending.callback(made.reconcile, "stop", "--all", code=None)
        yield made


def main() -> int:
    """Make a project and let the program loose on it; its exit status."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--jsonl", action="store_true", help="keep tasks in the built-in store, not in Beads")
    arguments.add_argument("--local", action="store_true", help="keep pull requests in the repository, not on GitHub")
    chosen = arguments.parse_args()
    if missing := [name for name in NEEDED if find(name) is None]:
        print(
            f"not installed: {', '.join(missing)}; run 'python tests/outside.py {' '.join(missing)}'", file=sys.stderr
        )
        return 1
    with project() as made:
        if chosen.jsonl:
            made.without_beads()
        manifest = made.manifest(tracker="jsonl" if chosen.jsonl else "", forge="local" if chosen.local else "")
        print(f"{manifest.read_text()}\n$ reconcile watch --until-done -f {manifest.name}", flush=True)
        command = (sys.executable, "-m", "reconciler", "watch", "--until-done", "-f", str(manifest))
        status = subprocess.run(command, cwd=made.root, env=made.env).returncode
        shown = [("reconcile", "status"), ("git", "log", "--oneline", "main")]
        shown += [] if chosen.local else [("gh", "pr", "list", "--state=all")]
        shown += [] if chosen.jsonl else [("bd", "list", "--all")]
        for command in shown:
            print(f"\n$ {' '.join(command)}", flush=True)
            subprocess.run(command, cwd=made.root, env=made.env)
        return status


if __name__ == "__main__":
    sys.exit(main())
