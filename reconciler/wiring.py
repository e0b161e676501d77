"""The composition root: the only file that names adapters and reads the environment."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import cache, cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from reconciler import manifest
from reconciler.agents import AGENTS
from reconciler.forges.chosen import ChosenForge
from reconciler.git import identity
from reconciler.git import repository as repositories
from reconciler.git.commands import Git
from reconciler.git.repository import Repository
from reconciler.landing.remotes import default_base, remote_of
from reconciler.loop.teller import Teller
from reconciler.manifest import Recorded
from reconciler.manifest.anchoring import anchored
from reconciler.manifest.recorded import RecordedManifests
from reconciler.manifest.templates import Templates
from reconciler.model.desired import Desired, EpicSpec
from reconciler.model.errors import PermanentError, ReconcileError
from reconciler.model.ports import Forge, Ports, Runner, Tracker, Workspaces
from reconciler.model.values import replace
from reconciler.runners import _processes as processes
from reconciler.runners import supervisor
from reconciler.runners._peers import Peer
from reconciler.runners.anywhere import AnyRunner
from reconciler.system import environment, format, known, lock, refused
from reconciler.system.journal import Journal
from reconciler.system.late import late
from reconciler.system.notified import Notified
from reconciler.system.service_notice import VARIABLES
from reconciler.trackers.chosen import ChosenTracker, other_tracker
from reconciler.trackers.jsonl import JsonlTracker, holds_database
from reconciler.workspaces.elsewhere import AnyWorkspaces

if TYPE_CHECKING:  # imported where it is used: most repositories need none, and commands start often
    from reconciler.trackers.beads import BeadsTracker

RUN_MARKER = "RECONCILE_RUN"
_ASIDE: ContextVar[ExitStack | None] = ContextVar("aside", default=None)


def environ() -> dict[str, str]:
    """The environment of this process."""
    return dict(os.environ)


class Site(Struct, frozen=True, kw_only=True, dict=True):
    """One repository with everything that works on it."""

    repository: Repository
    git: Git
    recorded: Recorded
    tracker: Tracker
    workspaces: Workspaces
    runner: Runner
    journal: Journal
    host: str
    environ: Mapping[str, str]
    given: Sequence[EpicSpec] = ()  # manifests that are not recorded yet

    @property
    def state(self) -> Path:
        return self.repository.state

    @property
    def beads(self) -> Path:
        return self.repository.main / ".beads"

    @cached_property
    def chosen(self) -> ChosenForge:
        return ChosenForge(self.git, self.environ, self.specs)

    @property
    def forge(self) -> Forge:
        return self.chosen.forge

    def specs(self) -> tuple[EpicSpec, ...]:
        """Every manifest that can be read, recorded or given."""
        names = {spec.name for spec in self.given}
        return (*self.given, *(spec for spec in self._recorded().epics if spec.name not in names))

    def _recorded(self) -> RecordedManifests:
        """What is recorded, as it is meant where the repository stands now."""
        found = self.recorded.load()
        return replace(found, epics=tuple(anchored(spec, self.repository.main) for spec in found.epics))

    def quiet(self) -> bool:
        """True while no run is alive."""
        return not any(run.alive for run in self.runner.runs().values())

    @cached_property
    def _templates(self) -> Templates:
        return Templates(self.git)

    @property
    def ports(self) -> Ports:
        return Ports(
            tracker=self.tracker,
            workspaces=self.workspaces,
            runner=self.runner,
            forge=self.forge,
            records=self.recorded,
            agents=AGENTS,
            prompts=self._templates,
        )

    def desired(self, most: int | None = None, acting: frozenset[str] | None = None) -> Desired:
        """Every recorded manifest. Raises PermanentError when one can't be read: it may own any task."""
        found = self._recorded()
        if found.problems:
            name, problem = next(iter(sorted(found.problems.items())))
            raise PermanentError(
                f"the recorded manifest {name} can't be read: {problem}",
                hint=f"apply it again, or forget it with 'reconcile delete {name}'",
            )
        return self.placed(Desired(epics=found.epics, max_agents=most, acting=acting))

    def placed(self, desired: Desired) -> Desired:
        """The same, with checks that run where the one who acts here has them run, or did last: who looks on sees what that one
        sees. Once we act, that is we."""
        holder = lock.holder(self.state)
        theirs = holder.surroundings if holder and holder.pid != os.getpid() else ""
        where = theirs or self.surroundings
        return replace(desired, epics=tuple(replace(spec, surroundings=where) for spec in desired.epics))

    @cached_property
    def surroundings(self) -> str:
        """What may make a check of ours end otherwise than one of the same tree elsewhere, as people read it."""
        git = ".".join(map(str, repositories.version(self.environ)))
        python = ".".join(map(str, sys.version_info[:3]))
        given = environment.fingerprint(self.environ)
        return f"{self.host}, git {git}, python {python}, environment {given}"

    def catch_up(self) -> tuple[str, ...]:
        """Finish what a killed landing left undone in the checkouts of the bases; what can't be finished now, and why.

        That is tried again by the loop. One base keeps nobody from starting.
        """
        self.git.sweep()
        left = []
        for at in dict.fromkeys(spec.checks_venue for spec in self.desired().epics if not spec.invalid):
            try:
                self.workspaces.fix(at)
            except (ReconcileError, OSError) as error:
                left.append(f"a worktree in {at.root} that was moved can't be fixed yet: {error}")
        for base in dict.fromkeys(spec.base for spec in self.desired().epics):
            try:
                self.forge.catch_up(base)
            except (ReconcileError, OSError) as error:
                left.append(f"what was begun on {base} can't be finished yet: {error}")
        return tuple(left)

    def trackers(self, desired: Desired) -> Mapping[str, str]:
        """For each manifest that asks for another tracker than the one that keeps the tasks here: what to write."""
        try:
            database = self.database()
        except ReconcileError:
            return {}  # the tracker says so itself
        return {spec.name: why for spec in desired.epics if (why := other_tracker(spec.tracker, database))}

    def unwritable(self, desired: Desired) -> Mapping[str, str]:
        """For each manifest that has to write to a folder that takes nothing: which, and why not."""
        everywhere = refused.unwritable(self.written)
        roots = {spec.name: Path(spec.worktrees.root) for spec in desired.epics if spec.venue.local}
        found = {spec.name: everywhere or self._no_root(roots.get(spec.name)) for spec in desired.epics}
        return {name: why for name, why in found.items() if why}

    @staticmethod
    def _no_root(root: Path | None) -> str | None:
        return refused.unwritable((root,)) if root else None

    @property
    def written(self) -> tuple[Path, ...]:
        """The folders of the repository that every manifest has to write to."""
        common = self.repository.common
        return (self.state, common / "objects", common / "refs", self.beads)

    def holds(self, holder: lock.Holder) -> bool:
        """True while the reconciler that wrote its name into the lock file has it open."""
        return processes.has_open(holder.pid, lock.file_of(self.state))

    @property
    def notified(self) -> Notified:
        """What was sent to whom."""
        return Notified(self.state)

    @property
    def teller(self) -> Teller:
        """Who tells people that are elsewhere."""
        environ = {name: value for name, value in self.environ.items() if name not in VARIABLES}
        return Teller(state=self.state, environ=environ, record=self.notified)

    @property
    def acting(self) -> bool:
        """True while a reconciler works here, be it us."""
        holder = lock.holder(self.state)
        return holder is not None and self.holds(holder)

    def wake(self) -> None:
        """Have the one who waits here look again soon. Only a hint."""
        supervisor.wake(str(self.state / "runs"))

    def noted(self) -> None:
        """Have this repository be among those that `ui --all` shows."""
        known.note(self.repository.main, self.environ)

    def statuses(self) -> dict[str, dict[str, Any]]:
        """What was last seen of every recorded manifest, by the one who acted on it."""
        return {name: self.recorded.status(name) for name in self.recorded.names()}

    def replaced(self) -> str | None:
        """What is wrong with the reconciler running here where its program was replaced since it started, be it us."""
        holder = lock.holder(self.state)
        if holder is None or not self.holds(holder) or not holder.replaced:
            return None
        return (
            f"the {holder.command} running here (pid {holder.pid}) was started from files that have been replaced; "
            "it starts nothing more: end it and start it again, its agents run on"
        )

    @property
    def default_base(self) -> str | None:
        """The base of a manifest that names none."""
        return default_base(self.git)

    def database(self) -> str | None:
        """What says that a real Beads keeps the tasks; None where the built-in store does."""
        return holds_database(self.beads)

    @property
    def store(self) -> Path | None:
        """The folder of the built-in store; None where a database may be there, which nobody is to listen to."""
        try:
            return None if self.database() else self.beads
        except ReconcileError:
            return None


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
    host = socket.gethostname()
    workspaces = AnyWorkspaces(tool)
    return Site(
        repository=repository,
        git=tool,
        recorded=recorded,
        tracker=ChosenTracker(
            beads,
            JsonlTracker(beads),
            lambda: _beads(repository, environ, f"reconcile@{host}"),
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


def refuse_agents(environ: Mapping[str, str], what: str) -> None:
    """Raise PermanentError where an agent, or anything that an agent started, asks for what only people decide."""
    if RUN_MARKER in environ or processes.descends_from_a_carrier(RUN_MARKER):
        raise PermanentError(f"'{what}' is refused inside a run: agents do not decide this for themselves")


def refuse_peer(peers: Collection[Peer], what: str) -> None:
    """Raise PermanentError where one at the other end of a connection may be an agent, or is not there to be asked."""
    if not peers or not all(peer.alive for peer in peers):
        raise PermanentError(f"'{what}' is refused: which process asks for it can't be known")
    if any(processes.descends_from_a_carrier(RUN_MARKER, peer.pid) for peer in peers):
        raise PermanentError(f"'{what}' is refused inside a run: agents do not decide this for themselves")
    if not all(peer.alive for peer in peers):  # it ended while it was looked at: another one may have got its number
        raise PermanentError(f"'{what}' is refused: the process that asked for it has ended")


def locate(path: Path, environ: Mapping[str, str]) -> manifest.Located:
    repository = repositories.find(path, environ)
    bases = {spec.name: spec.base for spec in Recorded(repository.state).load().epics}
    tool = _git(repository, environ)
    return manifest.Located(
        main=repository.main, default_base=default_base(tool), bases=bases, remote=partial(remote_of, tool)
    )
