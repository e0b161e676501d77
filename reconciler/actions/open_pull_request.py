"""Offer finished work: what its agent left uncommitted is saved, its commits become a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reconciler import messages
from reconciler.actions.base import Action, Word
from reconciler.job import Job
from reconciler.names import Sha
from reconciler.observed import Branch, Task
from reconciler.ports import Change, Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPullRequest(Action):
    subject: Task
    root: str
    head: Sha

    @property
    def evidence(self) -> Mapping[str, object]:
        return {"head": self.head}

    @classmethod
    def due(cls, job: Job) -> Word:
        if job.open_pull or not job.last or not isinstance(job.branch, Branch):
            return None
        if job.ending is None or job.ending.reason is not None:
            return None
        return cls(
            manifest=job.spec.name,
            task=job.task.id,
            reason="AgentDone",
            message=f"offer {job.branch.ahead} commit{'s' if job.branch.ahead != 1 else ''} of {job.branch.name}",
            subject=job.task,
            root=job.tree_root,
            head=job.branch.head,
        )

    def perform(self, ports: Ports) -> Iterator[Change]:
        task = self.subject.id
        ports.workspaces.salvage(task, self.root)
        number = ports.forge.open(task, self.head, messages.title(self.subject), messages.body(self.subject))
        yield Change(
            task=task,
            add_labels=frozenset({"phase:pr_created", f"pr:{number}"}),
            remove_labels=frozenset(
                label
                for label in self.subject.labels
                if label.startswith(("phase:", "pr:")) and label not in ("phase:pr_created", f"pr:{number}")
            ),
        )
