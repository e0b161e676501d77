"""One repository, opened: its parts, and what only several of them know together."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from msgspec import Struct

from reconciler.agents import AGENTS
from reconciler.forges.chosen import ChosenForge
from reconciler.git import repository as repositories
from reconciler.git.commands import Git
from reconciler.git.repository import Repository
from reconciler.landing.remotes import default_base
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
from reconciler.system import environment, known, lock, refused, unanswered
from reconciler.system.journal import Journal
from reconciler.system.notified import Notified
from reconciler.system.service_notice import VARIABLES
from reconciler.system.unanswered import LongCall
from reconciler.trackers.chosen import other_tracker
from reconciler.trackers.jsonl import holds_database


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
        self.git.control.sweep()
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
        roots = {spec.name: Path(spec.worktrees.root) for spec in desired.epics if any(at.local for at in spec.venues)}
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

    @property
    def unanswered(self) -> tuple[LongCall, ...]:
        """The programs that the one who acts here has waited for long."""
        holder = lock.holder(self.state)
        return unanswered.known(self.state, holder.pid) if holder and self.holds(holder) else ()

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
