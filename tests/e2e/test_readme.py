"""The README's manifest, commands and session are what a stranger gets."""

from __future__ import annotations

import re
import time
from pathlib import Path

from strangers import Place

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
MANIFEST = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)
SESSION = re.search(r"```\n(\$ reconcile diff.*?)```", README, re.DOTALL)


def test_the_manifest_and_the_session_of_the_readme_are_real(tmp_path: Path) -> None:
    assert MANIFEST and SESSION
    place = Place(tmp_path)
    (place.root / "epic.yaml").write_text(MANIFEST[1])
    place.git("add", ".")
    place.git("commit", "--quiet", "--message=Say what is wanted")

    for command, shown in re.findall(r"\$ reconcile (.*?)\n(.*?)(?=\n\n\$|\Z)", SESSION[1], re.DOTALL):
        if command == "status":
            time.sleep(0.5)
        said = place.reconcile(*command.split(), code=None)
        for line in shown.splitlines():
            # What is told at one moment may be told at another; what is told at all must be true.
            words = re.findall(
                r"project-\w+ +[A-Z]\w+|Nothing to do|actions?; run|closed$|[A-Z]\w+ \(\d\)|remove \S+/\.checks/", line
            )
            assert all(word in said for word in words), (command, line, said)
    assert place.subjects() == ["Write the parser", "Write the lexer", "Say what is wanted", "Begin"]


def test_every_command_of_the_readme_exists() -> None:
    place_holder = re.compile(r"`([a-z]+)[ `·]")
    table = README.partition("## Commands")[2].partition("## The manifest")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in place_holder.findall(row)}
    known = Path(__file__).parents[2].joinpath("reconciler/cli/__init__.py").read_text()

    assert {"apply", "diff", "watch", "status"} <= named
    assert all(f'"{name}": (' in known for name in named), named
