"""The two sides of a comparison: a commit and the working tree, each in a folder of its own, run as its own program.

Both are copies, so that neither file system nor leftovers tell them apart, and who edits meanwhile changes nothing.
Nothing of a side is imported here: between two commits everything may have moved.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
ENDS_S = 10.0
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ROWS = "import json; from tests.bench.__main__ import ROWS; print(json.dumps(list(ROWS)))"
# `python -m tests.bench`, which tells at its end what it was: modules of ours, and with which path others were started.
_WITNESSED = """
import json, os, runpy, subprocess, sys
said, sys.argv = sys.argv[1], sys.argv[1:]
started, begin = [], subprocess.Popen.__init__
def noted(self, argv, *rest, **more):
    if not isinstance(argv, str) and (argv[0] == sys.executable or os.path.basename(argv[0]) == "reconcile"):
        started.append((list(map(str, argv)), (more.get("env") or os.environ).get("PYTHONPATH", "")))
    begin(self, argv, *rest, **more)
subprocess.Popen.__init__ = noted
try:
    runpy.run_module("tests.bench", run_name="__main__", alter_sys=True)
finally:
    ours = [m for name, m in list(sys.modules.items()) if name.partition(".")[0] in ("reconciler", "tests")]
    with open(said, "w") as file:
        json.dump({"modules": [m.__file__ for m in ours if getattr(m, "__file__", None)], "started": started}, file)
"""


class Refused(Exception):
    """There is nothing to compare; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one run of a row gave: the value of each (what, unit). `why` there is none, or not all; `broken`: it failed."""

    figures: Mapping[tuple[str, str], float] = field(default_factory=dict)
    why: str = ""
    broken: bool = False


@dataclass(frozen=True, kw_only=True)
class Side:
    """One tree and the rows of its bench. `title` is for people: the revision that was asked for, and its commit."""

    name: str
    title: str
    root: Path
    rows: tuple[str, ...]

    def run(self, row: str, *, quick: bool) -> Run:
        """Run one row. Figures that another program than this tree's had a part in are none."""
        said = self.root.parent / "said.json"
        said.unlink(missing_ok=True)
        argv = ("-c", _WITNESSED, str(said), row, "--json", *(["--quick"] if quick else []))
        document, complaint = _ended(self.root, self.root, *argv)
        witnessed = _json(said)
        if witnessed and (others := foreign(witnessed, self.root)):
            return Run(why=f"measured {others[0]}, which is not of {self.title}", broken=True)
        if not witnessed or not document:
            return Run(why=complaint, broken=True)
        figures = {(figure["what"], figure["unit"]): figure["value"] for figure in document["rows"]}
        if why := document["broken"].get(row):
            return Run(figures=figures, why=why, broken=True)
        return Run(figures=figures, why="" if figures else f"nothing was measured: {complaint}")


@contextmanager
def sides(revision: str) -> Iterator[tuple[Side, Side]]:
    """The old and the new side. Afterwards both are gone, with every process of theirs, however this ends.

    Raises Refused for a revision that nobody knows or that has no bench.
    """
    with _folder() as folder:
        yield _old(revision, folder / "old"), _new(folder / "new")


@contextmanager
def working_tree() -> Iterator[Side]:
    """The new side alone; afterwards it is gone as both would be."""
    with _folder() as folder:
        yield _new(folder / "new")


@contextmanager
def _folder() -> Iterator[Path]:
    for number in _STOPS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="reconcile-compare-", ignore_cleanup_errors=True) as name:
        folder = Path(os.path.realpath(name))
        try:
            (folder / "tmp").mkdir()
            yield folder
        finally:
            for number in _STOPS:
                signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C would leave the rest behind
            _end_all(folder)


def foreign(witnessed: Mapping[str, Any], root: Path) -> list[str]:
    """What had a part in a run although it is not of this tree. `witnessed` is what the run said of itself.

    The editable install of another checkout is on the path of every interpreter: what is not told where to look finds it.
    """
    ours = f"{root}/"
    found = [file for file in witnessed["modules"] if not file.startswith(ours)]
    for argv, path in witnessed["started"]:
        files = (word for word in argv if "/reconciler/" in word and word.endswith(".py"))
        found += [file for file in files if not file.startswith(ours)]
        if ("reconciler" in argv or Path(argv[0]).name == "reconcile") and path.split(":")[0] != str(root):
            found.append(f"{' '.join(argv)} (PYTHONPATH={path})")
    return found


def _old(revision: str, root: Path) -> Side:
    try:
        commit = _git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    except subprocess.CalledProcessError as error:
        raise Refused(f"there is no revision {revision!r} here") from error
    short = commit[:7]
    if not _git("ls-tree", "--name-only", commit, "tests/bench/__main__.py"):
        raise Refused(f"{revision} ({short}) has no tests/bench")
    _begun(root)
    archive = root.with_suffix(".tar")
    _git("archive", "--format=tar", f"--output={archive}", commit)
    subprocess.run(("tar", "-xf", archive, "-C", root), check=True)
    title = short if commit.startswith(revision) else f"{revision} ({short})"
    return Side(name="old", title=title, root=root, rows=_rows(root, title))


def _new(root: Path) -> Side:
    _begun(root)
    for name in _git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
        source, target = ROOT / name, root / name
        if not os.path.lexists(target) and (source.is_symlink() or source.is_file()):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    title = f"working tree ({_git('describe', '--always', '--exclude=*', '--abbrev=7', '--dirty=, changed')})"
    return Side(name="new", title=title, root=root, rows=_rows(root, title))


def _begun(root: Path) -> None:
    root.mkdir()
    if (outside := ROOT / ".outside").exists():  # the programs of others, which no commit holds
        (root / ".outside").symlink_to(outside.resolve())


def _rows(root: Path, title: str) -> tuple[str, ...]:
    rows, complaint = _ended(root, root.parent, "-c", _ROWS)
    if rows is None:
        raise Refused(f"the bench of {title} can't be loaded: {complaint}")
    return tuple(rows)


def _ended(root: Path, cwd: Path, *args: str) -> tuple[Any, str]:
    """The document that an interpreter printed, and its last words; it, and all that it starts, has the program of `root`."""
    folder = root.parent
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
    environ = {**os.environ, "PYTHONPATH": str(root), "PATH": path, "TMPDIR": str(folder / "tmp")}
    out, err = folder / "out", folder / "err"
    # Into files: what is left over of a bench that was killed would hold a pipe open.
    with out.open("wb") as to_out, err.open("wb") as to_err:
        process = subprocess.Popen(
            (sys.executable, *args),
            cwd=cwd,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=to_out,
            stderr=to_err,
            start_new_session=True,
        )
        try:
            process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)  # it knows best what it made in other places
            with suppress(subprocess.TimeoutExpired):
                process.wait(ENDS_S)
            raise
        finally:
            _end_all(folder)
            process.wait()
    printed, said = _json(out), err.read_text("utf-8", "replace").strip()
    if process.returncode and "Traceback" in said:
        print(said, file=sys.stderr)
    return printed, said.rpartition("\n")[2] or f"exit status {process.returncode}"


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _end_all(folder: Path) -> None:
    """End every process that has its temporary files there: a bench, and all that was started by it, detached or not."""
    while carriers := [process for process in psutil.process_iter() if _carries(process, str(folder / "tmp"))]:
        for process in carriers:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(0.05)


def _carries(process: psutil.Process, folder: str) -> bool:
    try:
        return process.environ().get("TMPDIR") == folder
    except (psutil.Error, OSError):
        return False


def _git(*args: str) -> str:
    # Hooks export GIT_DIR, and git would read another repository. Even the index is left as it is.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environ["GIT_OPTIONAL_LOCKS"] = "0"
    done = subprocess.run(("git", *args), cwd=ROOT, env=environ, capture_output=True, check=True)
    return os.fsdecode(done.stdout).strip()
