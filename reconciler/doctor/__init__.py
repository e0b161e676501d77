"""What `doctor` looks at, and what it makes of it. Nothing is changed, no lock is taken, and it always ends.

`scene` is what is looked at; `machine`, `programs`, `nothing`, `repository`, `forge`, `worktrees` and `records` hold the probes, `findings`
lets them look side by side. What to say about a thing stands beside the look at it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from reconciler import wiring
from reconciler.doctor import machine, nothing, programs, records, repository, worktrees
from reconciler.doctor.findings import Diagnosis, Probe, State, examine
from reconciler.doctor.scene import Scene
from reconciler.model.desired import EpicSpec
from reconciler.model.errors import PermanentError, ReconcileError
from reconciler.model.values import replace
from reconciler.system.late import late
from reconciler.wiring import Site

__all__ = ["Diagnosis", "State", "look"]

_SKIPPED = "the checks of a repository were skipped"


def look(cwd: Path, environ: Mapping[str, str], now: datetime, *, nodes: bool = False) -> list[Diagnosis]:
    """Everything that is found in this folder and on this machine, and with `nodes` on those where agents run. Raises
    PermanentError without a temporary folder."""
    try:
        aside = tempfile.TemporaryDirectory(prefix="reconcile-look-", ignore_cleanup_errors=True)
    except OSError as error:
        message = f"no folder can be made in {tempfile.gettempdir()}: {error.strerror}"
        raise PermanentError(message, hint="make room there, or set TMPDIR") from error
    with aside:
        return _look(cwd, environ, now, Path(aside.name), nodes)


def _look(cwd: Path, environ: Mapping[str, str], now: datetime, aside: Path, nodes: bool) -> list[Diagnosis]:
    empty = aside / "empty"
    empty.mkdir()
    scene = Scene(environ=environ, aside=empty, now=now)
    opened: list[Scene] = []
    # Before all others, because they need it; and limited like them, because git may hang.
    found = examine([Probe(name="repository", look=lambda: _open(cwd, scene, aside / "control", opened))])
    return [*examine(list(_probes(scene if found else opened[0], nodes))), *found]


def _probes(scene: Scene, nodes: bool) -> Iterator[Probe]:
    yield from machine.probes(scene)
    yield from programs.probes(scene)
    yield from nothing.probes(scene)
    if scene.site:
        for part in (repository, records, worktrees):
            yield from part.probes(scene, scene.site)
        if not all(at.local for spec in scene.epics for at in (*spec.venues, spec.tests_venue)):
            yield from late("reconciler.doctor.machines").probes(scene, scene.site, nodes=nodes)


def _open(cwd: Path, scene: Scene, control: Path, opened: list[Scene]) -> Iterator[Diagnosis]:
    """Add the repository to the scene, or say why there is none to look at."""
    try:
        site = wiring.open_site(cwd, scene.environ, control=control)
        opened.append(replace(scene, site=site, epics=_epics(site)))
    except ReconcileError as error:
        if _in_a_repository(cwd):
            # Git itself refuses: somebody else owns it, or it is damaged.
            message, hint = f"{error}; {_SKIPPED}", error.hint or ""
            yield Diagnosis(name="repository", state=State.PROBLEM, found=str(cwd), message=message, hint=hint)
        else:
            message = f"not in a git repository: {_SKIPPED}"
            yield Diagnosis(
                name="repository", state=State.WARNING, found=str(cwd), message=message, hint="run it in one"
            )


def _epics(site: Site) -> tuple[EpicSpec, ...]:
    try:
        return site.recorded.load().epics
    except ReconcileError:
        return ()  # shown with the manifests themselves


def _in_a_repository(cwd: Path) -> bool:
    bare = ("HEAD", "objects", "refs")
    return any(
        os.path.lexists(folder / ".git") or all((folder / name).exists() for name in bare)
        for folder in (cwd, *cwd.parents)
    )
