"""The composition root: the only place that names adapters and reads the environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from reconciler import manifest
from reconciler.agents import AGENTS
from reconciler.git import identity
from reconciler.git import repository as repositories
from reconciler.git.commands import Git
from reconciler.git.repository import Repository
from reconciler.landing.remotes import default_base, remote_of
from reconciler.manifest import Recorded
from reconciler.model.desired import EpicSpec
from reconciler.model.errors import PermanentError, ReconcileError
from reconciler.model.names import us_at
from reconciler.runners.anywhere import AnyRunner
from reconciler.system import format
from reconciler.system.journal import Journal
from reconciler.system.late import late
from reconciler.trackers.chosen import ChosenTracker
from reconciler.trackers.jsonl import JsonlTracker
from reconciler.wiring.askers import RUN_MARKER, refuse_agents, refuse_peer
from reconciler.wiring.site import Site
from reconciler.workspaces.elsewhere import AnyWorkspaces

if TYPE_CHECKING:  # imported where it is used: most repositories need none, and commands start often
    from reconciler.trackers.beads import BeadsTracker

__all__ = [
    "RUN_MARKER",
    "Site",
    "environ",
    "leaving_nothing",
    "locate",
    "open_site",
    "read",
    "refuse_agents",
    "refuse_peer",
]

_ASIDE: ContextVar[ExitStack | None] = ContextVar("aside", default=None)


def environ() -> dict[str, str]:
    """The environment of this process."""
    return dict(os.environ)


@contextmanager
def leaving_nothing() -> Iterator[None]:
    """While it lasts, looking leaves no trace in a repository that has no state folder yet.

    Where there is one, git's control dir is kept in it as always: made again, it costs every command a process more.
    """
    with ExitStack() as aside:
        token = _ASIDE.set(aside)
        try:
            yield
        finally:
            _ASIDE.reset(token)


def _git(repository: Repository, environ: Mapping[str, str], control: Path | None = None) -> Git:
    if control is None and (aside := _ASIDE.get()) and not repository.state.exists():
        folder = TemporaryDirectory(prefix="reconcile-look-", ignore_cleanup_errors=True)
        control = Path(aside.enter_context(folder)) / "control"
    return Git(repository, environ, control)


def open_site(
    path: Path, environ: Mapping[str, str], *, control: Path | None = None, given: Sequence[EpicSpec] = ()
) -> Site:
    """Everything that works on the repository that contains `path`. Raises PermanentError where there is none.

    With `control`, git's control dir is kept there, and looking leaves no trace in the repository. `given`: manifests
    that are not recorded yet.
    """
    repository = repositories.find(path, environ)
    format.check(repository.state)
    repositories.remember(repository)
    tool = _git(repository, environ, control)
    recorded = Recorded(repository.state)
    beads = repository.main / ".beads"
    host = os.uname().nodename
    workspaces = AnyWorkspaces(tool)
    return Site(
        repository=repository,
        git=tool,
        recorded=recorded,
        tracker=ChosenTracker(
            beads,
            JsonlTracker(beads),
            lambda: _beads(repository, environ, us_at(host)),
        ),
        workspaces=workspaces,
        runner=AnyRunner(
            repository.state,
            environ,
            Path(sys.executable).parent,
            lambda name: manifest.max_agents(repository.state, name),
            cache(partial(identity.lent, tool)),
            AGENTS,
            keep=control is None,
            begins=recorded.distrust,
            work=workspaces.elsewhere,
        ),
        journal=Journal(beads, repository.main),
        host=host,
        environ=environ,
        given=given,
    )


def _beads(repository: Repository, environ: Mapping[str, str], us: str) -> BeadsTracker:
    module = late("reconciler.trackers.beads")
    made: BeadsTracker = module.BeadsTracker(
        repository.main, repository.main / ".beads", repository.state / "locks", environ, us
    )
    return made


def read(
    sources: Sequence[str], stdin: str, environ: Mapping[str, str], *, to_act: bool = True
) -> tuple[EpicSpec, ...]:
    """The manifests in these files, folders and `-`. Raises ManifestError.

    With `to_act` they depend on tasks that there are; PermanentError where these can't be read.
    """
    held = _held if to_act else None
    return manifest.load(sources, stdin=stdin, cwd=Path.cwd(), locate=lambda path: locate(path, environ), held=held)


def _held(main: Path) -> Collection[str]:
    try:
        return JsonlTracker(main / ".beads").tasks().keys()
    except (ReconcileError, OSError) as error:
        raise PermanentError(f"what the manifest depends on can't be looked up: {error}") from error


def locate(path: Path, environ: Mapping[str, str]) -> manifest.Located:
    repository = repositories.find(path, environ)
    bases = {spec.name: spec.base for spec in Recorded(repository.state).load().epics}
    tool = _git(repository, environ)
    return manifest.Located(
        main=repository.main, default_base=default_base(tool), bases=bases, remote=partial(remote_of, tool)
    )
