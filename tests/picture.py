"""The README's picture: `reconcile watch` at its work on the example of the demo, as it stood on a real terminal.

`python tests/picture.py` runs it and writes `docs/watch.svg`.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from contextlib import closing
from itertools import groupby
from pathlib import Path

import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text
from terminals import Terminal
from waiting import until

from reconciler.demo import Demo

ROOT = Path(__file__).parent.parent
COLUMNS, ROWS = 110, 20
# What stands there once one task is merged, one is being checked and others are worked on.
WORTH_A_PICTURE = (r"[1-3]/6 closed", r"● .* working", r"◆ .* pr_created", r"blocked by")
_NAMES = {"brown": "yellow", "default": None}


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="reconcile-picture-") as folder:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "RECONCILE_"))}
        demo = Demo(Path(folder), {**env, "HOME": folder, "GIT_CONFIG_NOSYSTEM": "1", "TERM": "xterm-256color"})
        demo.make(ROOT / "examples" / "demo")
        watch = ("watch", "-f", "epic.yaml", "--until-done")
        with closing(Terminal(demo.repository, demo.env, *watch, columns=COLUMNS, rows=ROWS)) as terminal:
            found: list[pyte.Screen] = []
            until(lambda: found.append(drawn(terminal)) or worth_it(found[-1]), "a picture", by=terminal.process)
            terminal.wait()
    (ROOT / "docs" / "watch.svg").write_text(svg(found[-1]), "utf-8")


def worth_it(screen: pyte.Screen) -> bool:
    return all(re.search(each, "\n".join(screen.display)) for each in WORTH_A_PICTURE)


def drawn(terminal: Terminal) -> pyte.Screen:
    """The screen as it stands."""
    screen = pyte.Screen(COLUMNS, ROWS)
    pyte.ByteStream(screen).feed(terminal.read())
    return screen


def svg(screen: pyte.Screen) -> str:
    """The screen as a picture, with its colours and without the lines at its end that hold nothing."""
    last = max(number for number, line in enumerate(screen.display) if line.strip())
    lines = [_line(screen, number) for number in range(last + 1)]
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115
    console.print(*lines, sep="\n", soft_wrap=True)
    picture = console.export_svg(title="reconcile watch -f epic.yaml")
    return re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)  # it asks no server for a font


def _line(screen: pyte.Screen, number: int) -> Text:
    cells = [screen.buffer[number][column] for column in range(COLUMNS)]
    line = Text()
    for style, found in groupby(cells, key=_style):
        line.append("".join(cell.data for cell in found), style)
    line.rstrip()
    return line


def _style(cell: pyte.screens.Char) -> Style:
    return Style(color=_NAMES.get(cell.fg, cell.fg), bold=cell.bold, italic=cell.italics)


if __name__ == "__main__":
    assert shutil.which("git")
    main()
