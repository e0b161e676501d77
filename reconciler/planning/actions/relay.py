"""Tell the tracker what an agent on another machine says of its task: there it has none, and writes a file instead.

The same words as an agent here may write by itself, and no more: it is blocked, it is done, labels, a note.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from reconciler.model.names import RunId
from reconciler.model.observed import Says, Task
from reconciler.model.ports import Change, Ports
from reconciler.model.reasons import Reason
from reconciler.planning.actions.base import Action, Decision
from reconciler.planning.job import Job
from reconciler.planning.labels import COMMITTED, OURS, STOPPED, TAKEN
from reconciler.planning.messages import one_line


class Relay(Action, frozen=True, kw_only=True):
    """Once for everything that a run says: what stands in the notes was passed on already."""

    by_merge: ClassVar[bool] = False
    subject: Task
    us: str
    run: RunId
    says: Says

    @classmethod
    def due(cls, job: Job) -> Decision:
        run, task = job.attempts.live or job.attempts.last, job.task
        if run is None or run.says is None or task.closed or {TAKEN, STOPPED} & task.labels:
            return None
        if task.assignee not in ("", job.us) or f"\n{_line(run.id, run.says)}\n" in f"\n{task.notes}\n":
            return None
        return cls(
            manifest=job.spec.name,
            task=task.id,
            reason=Reason.SEEN,
            message=f"note what its agent says: {_line(run.id, run.says)}",
            subject=task,
            us=job.us,
            run=run.id,
            says=run.says,
        )

    def perform(self, ports: Ports) -> Iterator[Change]:
        labels = {label for label in self.says.labels if label not in OURS and not label.startswith(("phase:", "pr:"))}
        blocked = self.says.status == "blocked"
        yield Change(
            task=self.subject.id,
            expect_status=frozenset({self.subject.status}),
            expect_assignee=frozenset({"", self.us}),
            status="blocked" if blocked else None,
            add_labels=frozenset(labels | ({COMMITTED} if self.says.status == "done" else set())),
            note=_line(self.run, self.says),
        )


def _line(run: RunId, says: Says) -> str:
    """What is kept of it in the notes, in one line.

    >>> from reconciler.model.names import RunKind
    >>> _line(RunId(RunKind.WORK, "x-1", 2), Says(status="blocked", note="no\\naccess"))
    'work/x-1/2 says: blocked: no access'
    """
    words = one_line(says.note)
    words_of_it = ": ".join(part for part in (says.status, words) if part)
    return f"{run} says: {words_of_it or ', '.join(says.labels)}"
