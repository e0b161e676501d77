"""From where the runs and landings of tasks count that were retried or reopened."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from reconciler.model.names import RunKind, TaskId
from reconciler.model.observed import RetryPoint
from reconciler.runners._census import Census
from reconciler.runners._folders import Folders, Subject, SubjectFolder


class RetryPoints:
    """Those of one repository. What has not changed since the last look is not read again."""

    def __init__(self, folders: Folders, census: Census) -> None:
        self._folders, self._census = folders, census
        self._since: dict[TaskId, tuple[int, RetryPoint]] = {}
        self._marked: tuple[Mapping[Subject, SubjectFolder], tuple[SubjectFolder, ...]] = ({}, ())
        self._points: Mapping[TaskId, RetryPoint] = {}
        # Those in the archive, those in folders, both.
        self._together: tuple[Mapping[TaskId, RetryPoint], ...] = ({}, {}, {})

    def all(self, open_tasks: Collection[TaskId] | None) -> Mapping[TaskId, RetryPoint]:
        """The point of every task that has one."""
        subjects = self._census.subjects(open_tasks)
        if subjects is not self._marked[0] or any(not each.changed for each in self._marked[1]):
            self._marked = subjects, tuple(s for s in subjects.values() if s.since and s.kind is RunKind.WORK)
            self._points = {TaskId(s.name): since for s in self._marked[1] if (since := self._since_of(s))}
        kept = self._folders.archive.since() if self._folders.archive else {}
        if self._together[0] is not kept or self._together[1] is not self._points:
            self._together = kept, self._points, {**kept, **self._points}
        return self._together[2]

    def _since_of(self, subject: SubjectFolder) -> RetryPoint | None:
        task = TaskId(subject.name)
        known = self._since.get(task)
        if known and known[0] == subject.changed != 0:
            return known[1]
        since = self._folders.since(task)
        if since:
            self._since[task] = (subject.changed, since)
        return since
