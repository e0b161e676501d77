"""The refs of our checks on remotes: nothing of one is of use but how it ended, and once that is here it goes.

What was cleared is written down with the run, so that a program that starts finds what one that was killed has left.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from contextlib import suppress

from reconciler.git.run_reports import Reported
from reconciler.git.task_refs import TaskRefs
from reconciler.model.errors import ReconcileError
from reconciler.model.names import RUN_REFS, RunId, RunKind, TaskId, check_of, remote_key
from reconciler.model.observed import Run
from reconciler.runners._folders import Folders
from reconciler.runners._work import WorkKeeper


class ChecksElsewhere:
    """Those of one repository."""

    def __init__(self, folders: Folders, work: WorkKeeper) -> None:
        self._folders, self._work = folders, work
        # By remote, the checks that are over whose refs may stand.
        self._left: defaultdict[str, set[RunId]] | None = None

    def left_on(self, runs: Mapping[RunId, Run]) -> Collection[str]:
        """The remotes that may hold refs of checks that are over. `runs`: all; read where this is asked for first."""
        if self._left is None:
            self._left = defaultdict(set)
            for run in runs.values():
                if run.id.kind is RunKind.CHECK and run.where and not run.alive and self._stands(run.id):
                    self._left[self._folders.record(run.id).start.at.remote].add(run.id)
        return [url for url, those in self._left.items() if those]

    def clear(self, url: str, refs: TaskRefs, seen: Mapping[TaskId, Reported]) -> None:
        """Delete the refs of checks that are over, once their endings are here; `seen`: all there are on this remote."""
        if self._left is None:
            self._left = defaultdict(set)
        left = self._left[url]
        for key, each in seen.items():
            run = check_of(key, self._work.us, each.n) if each.over else None
            # Asked now, and not of what was alive when this look began: another program of ours may have started it since.
            if run is None:
                continue
            if self._folders.claim(run).get("nonce") == each.nonce and not self._folders.record(run).settled:
                continue
            left.add(run)
            with suppress(ReconcileError):  # the next look does it
                refs.swap(RUN_REFS + key, each.at, None)
                self._cleared(run)
                left.discard(run)
        for run in [run for run in left if remote_key(run, self._work.us) not in seen]:
            self._cleared(run)
            left.discard(run)

    def _stands(self, run: RunId) -> bool:
        claim = self._folders.claim(run)
        return claim.get("reserved") is True and claim.get("cleared") is not True

    def _cleared(self, run: RunId) -> None:
        if self._stands(run):
            with suppress(FileNotFoundError):  # it went to the archive in between
                self._folders.write_claim(run, {**self._folders.claim(run), "cleared": True})
