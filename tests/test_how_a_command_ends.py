"""A command ends its process without taking its memory apart, but not before all that was to be done at its end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

COMMAND = """
import sys, tempfile, threading, time
from reconciler import cli

def called(argv):
    kept.append(tempfile.TemporaryDirectory(dir=argv[0]))
    threading.Thread(target=lambda: (time.sleep(0.2), open(argv[1], "w").close())).start()
    print("said")
    print("complained", file=sys.stderr, end="")
    return 4

kept = []
cli.called = called
cli.main()
"""


def test_what_is_to_be_done_at_the_end_is_done(tmp_path: Path) -> None:
    folder, written = tmp_path / "folder", tmp_path / "written"
    folder.mkdir()

    ended = subprocess.run((sys.executable, "-c", COMMAND, folder, written), capture_output=True, text=True)

    assert (ended.returncode, ended.stdout, ended.stderr) == (4, "said\n", "complained")
    assert written.exists() and not any(folder.iterdir())


def test_a_command_that_goes_wrong_ends_as_python_does() -> None:
    wrong = "from reconciler import cli; cli.called = lambda argv: [][0]; cli.main()"

    ended = subprocess.run((sys.executable, "-c", wrong), capture_output=True, text=True)

    assert ended.returncode == 1 and "IndexError" in ended.stderr
