"""Every run of a repository: those on this machine, and those that are elsewhere. Where one is stands in its folder."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.model.desired import EpicSpec
from reconciler.model.errors import PermanentError, TemporaryError
from reconciler.model.names import RunId, TaskId, remote_key
from reconciler.model.observed import Run, StopWhy
from reconciler.model.ports import RunSpec
from reconciler.model.values import replace
from reconciler.model.venue import Venue
from reconciler.runners.local import LocalRunner
from reconciler.system import refused
from reconciler.system.late import late

if TYPE_CHECKING:  # imported where it is used: most repositories have no run elsewhere
    from reconciler.runners._work import WorkKeeper
    from reconciler.runners.remote import RemoteRuns


class AnyRunner(LocalRunner):
    """The `Runner` of one repository. `work`: what becomes of the work of runs that are elsewhere.

    They share folders, reports, numbers and the bound on agents with those that are here.
    """

    def __init__(self, *given: Any, work: WorkKeeper, **more: Any) -> None:
        super().__init__(*given, **more)
        self._work = work
        self._ever: bool | None = None  # whether anything was elsewhere, as far as it was asked

    @cached_property
    def remote(self) -> RemoteRuns:
        """Those that are elsewhere."""
        made: RemoteRuns = late("reconciler.runners.remote").RemoteRuns(
            self._locks, self._folders, self._work, self._environ
        )
        return made

    def runs(self, open_tasks: Collection[TaskId] | None = None) -> Mapping[RunId, Run]:
        """Every run that left a folder or is alive. Runs that are over are not looked at again."""
        found = super().runs(open_tasks)
        if not self._ever:  # asked of all runs once: most repositories have none elsewhere
            self._ever = bool(self._census.elsewhere) or (
                self._ever is None and any(run.where for run in found.values())
            )
        left = self.remote.left_on(found) if self._ever else ()
        if not self._census.elsewhere and not left:
            return found
        with refused.temporarily("the runs elsewhere can't be written down"), self._turn:
            self.remote.look(self._census.elsewhere, left)
        found, now = super().runs(open_tasks), datetime.now(UTC)
        notes = {run: note for run, note in self.remote.notes.items() if run in found and found[run].alive}
        return {**found, **{run: note.on(found[run], now) for run, note in notes.items()}}

    def prompt_path(self, run: RunId, at: Venue) -> str:
        """The file that holds a run's prompt, once it is started; elsewhere it is on its node."""
        if at.local:
            return super().prompt_path(run, at)
        return f"{self._work.run_folder(at, remote_key(run, self._work.us), run.n)}/prompt"

    def missing(self, spec: EpicSpec) -> str | None:
        """Why this manifest's agent can't be started here; what a node has is known there alone."""
        return super().missing(spec) if any(at.local for at in spec.venues) else None

    def start(self, spec: RunSpec) -> None:
        """Start a run, detached. Raises ChangedError when its task or its slot is held or its number is used."""
        if spec.at.local:
            return super().start(spec)
        try:
            with ExitStack() as ours:
                lock, _, _ = self._take(replace(spec, slot=None), ours)
                self._begins()
                self.remote.start(spec, lock, lambda: self._reserve(spec))
            self._begins()
        except OSError as error:
            raise TemporaryError(f"{spec.id} can't be started: {refused.short(error)}", delay=30.0) from error
        except ValueError as error:
            raise PermanentError(f"{spec.id} can't be started: {error}") from error

    def stop(self, run: RunId, why: StopWhy) -> None:
        """End a run and everything it started. Returns once it has been asked to; look again, and ask again."""
        if self._here(run):
            return super().stop(run, why)
        with refused.temporarily(f"{run} can't be stopped"), self._turn:
            self.remote.stop(run, why)

    def give_up(self, run: RunId) -> None:
        """Wait no longer for a run that is elsewhere."""
        if self._here(run):
            return super().give_up(run)
        with self._turn:
            self.remote.give_up(run)

    def _here(self, run: RunId) -> bool:
        return self.venue(run).local

    def _reserve(self, spec: RunSpec) -> Path:
        """The folder of a run, where there is room for one more of its manifest. Queued ones count."""
        if spec.slot is None:
            return self._folders.reserve(spec)
        with self._slots.one_elsewhere(spec.slot, spec.id):
            return self._folders.reserve(spec)
