"""The README's two commands word for word, in a fresh clone and on a terminal, where people type them.

`python tests/readme_on_a_terminal.py`; needs the package index, as they do. The tests of the second one are cut down to one file.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from terminals import SIZES, Terminal, the_demo_was_seen

ROOT = Path(__file__).parent.parent
ONE_FILE = {"PYTEST_ADDOPTS": "tests/test_graph.py"}


def main() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    see_it_work, run_the_tests = re.findall(r"```sh\n(python3 -m venv .*?)\n```", readme, re.DOTALL)
    with tempfile.TemporaryDirectory(prefix="reconcile-readme-") as folder:
        clone = Path(folder) / "reconcile"
        subprocess.run(("git", "clone", "--quiet", "--no-hardlinks", ROOT, clone), check=True)

        with typed(see_it_work, clone, {}, SIZES[0]) as terminal:
            the_demo_was_seen(terminal)
        with typed(run_the_tests, clone, ONE_FILE, SIZES[1]) as terminal:
            assert re.search(r"\d+ passed", terminal.text) and terminal.as_it_was_found(), terminal.text


@contextmanager
def typed(command: str, cwd: Path, more: dict[str, str], size: tuple[int, int]) -> Iterator[Terminal]:
    """A terminal on which a command has come to a good end."""
    columns, rows = size
    print(f"on {columns}x{rows}: {command}", flush=True)
    terminal = Terminal(cwd, {**os.environ, **more}, command, columns=columns, rows=rows, program=("bash", "-c"))
    with closing(terminal):
        while terminal.process.poll() is None:  # for as long as the package index takes
            terminal.read()
            time.sleep(0.1)
        code = terminal.wait()
        if code:
            sys.exit(f"it ended with {code}:\n{terminal.text}")
        print("\n".join(line for line in terminal.lines if line), flush=True)
        yield terminal


if __name__ == "__main__":
    main()
