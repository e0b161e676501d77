"""Make the tasks that a manifest declares, once, and write what changed in the manifest since; the rest is people's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from reconciler.model.desired import EpicSpec, InlineTask
from reconciler.model.names import TaskId, split_key, with_key
from reconciler.model.observed import Task
from reconciler.model.ports import AppliedTask, Change, NewTask, Ports
from reconciler.model.reasons import Reason
from reconciler.planning.actions.base import Action


class CreateTask(Action, frozen=True, kw_only=True):
    """Make a declared task, or (key None) the epic made for the declared tasks."""

    by_merge: ClassVar[bool] = False
    subject: TaskId
    key: str | None
    new: NewTask
    inline: InlineTask | None = None

    @property
    def evidence(self) -> Mapping[str, object]:
        return {"key": self.key, "title": self.new.title}

    @classmethod
    def of(cls, spec: EpicSpec, ids: Mapping[str | None, TaskId], inline: InlineTask | None) -> CreateTask:
        """The creation of one declared task; `ids` gives the id of every key of the manifest, and of its epic."""
        key = inline.key if inline else None
        return cls(
            manifest=spec.name,
            task=ids[key],
            reason=Reason.DECLARED,
            message=f"create task {inline.title!r}" if inline else f"create epic for {spec.name}",
            subject=ids[key],
            key=key,
            new=_new(spec, ids, inline)
            if inline
            else NewTask(title=spec.name, type="epic", description=with_key("", spec.name, None)),
            inline=inline,
        )

    def perform(self, ports: Ports) -> Iterator[Change | AppliedTask]:
        yield Change(task=self.subject, create=self.new)
        if self.inline:
            yield AppliedTask(self.manifest, self.inline)


class UpdateTask(Action, frozen=True, kw_only=True):
    """Write the fields that changed in the manifest since they were last written."""

    by_merge: ClassVar[bool] = False
    change: Change
    inline: InlineTask

    @classmethod
    def of(cls, spec: EpicSpec, ids: Mapping[str | None, TaskId], task: Task, inline: InlineTask) -> UpdateTask | None:
        """The update that brings `task` in line with what the manifest says again; None when nothing changed there."""
        before = spec.applied.get(inline.key)
        if before is None:
            # Killed between the write and its record. What nobody has touched since is ours to write again.
            before = inline if task.updated_at > task.created_at else _as_it_stands(task, inline, ids)
        changed = {name for name in InlineTask.__struct_fields__ if getattr(before, name) != getattr(inline, name)}
        if not changed and inline.key in spec.applied:
            return None
        return cls(
            manifest=spec.name,
            task=task.id,
            reason=Reason.MANIFEST_CHANGED,
            message=f"update {', '.join(sorted(map(_in_yaml, changed)))} from the manifest"
            if changed
            else "link task to the manifest",
            change=_change(spec, ids, task, before, inline),
            inline=inline,
        )

    @classmethod
    def reopening(cls, spec: EpicSpec, task: Task, inline: InlineTask) -> UpdateTask:
        """Open a task again that was closed because the manifest no longer declared it: it does so again."""
        return cls(
            manifest=spec.name,
            task=task.id,
            reason=Reason.MANIFEST_CHANGED,
            message="reopen task: the manifest declares it again",
            change=Change(task=task.id, expect_status=frozenset({task.status}), status="open"),
            inline=spec.applied.get(inline.key, inline),
        )

    def perform(self, ports: Ports) -> Iterator[Change | AppliedTask]:
        yield self.change
        yield AppliedTask(self.manifest, self.inline)


def _new(spec: EpicSpec, ids: Mapping[str | None, TaskId], inline: InlineTask) -> NewTask:
    return NewTask(
        title=inline.title,
        description=with_key(inline.description, spec.name, inline.key),
        acceptance=inline.acceptance,
        priority=inline.priority,
        labels=frozenset(inline.labels),
        parent=ids[None],
        blockers=tuple(ids.get(name, TaskId(name)) for name in inline.depends_on),
    )


def _as_it_stands(task: Task, inline: InlineTask, ids: Mapping[str | None, TaskId]) -> InlineTask:
    """What was written of a declared task, as the tracker shows it; of labels and dependencies only the declared ones."""
    return InlineTask(
        key=inline.key,
        title=task.title,
        description=split_key(task.description)[0],
        acceptance=task.acceptance,
        priority=task.priority,
        labels=tuple(label for label in inline.labels if label in task.labels),
        depends_on=tuple(name for name in inline.depends_on if ids.get(name, name) in task.blockers),
    )


def _in_yaml(field: str) -> str:
    """A field as the manifest spells it.

    >>> _in_yaml("depends_on")
    'dependsOn'
    """
    first, *others = field.split("_")
    return first + "".join(word.capitalize() for word in others)


def _change(
    spec: EpicSpec, ids: Mapping[str | None, TaskId], task: Task, before: InlineTask, after: InlineTask
) -> Change:
    def changed(name: str) -> bool:
        return bool(getattr(before, name) != getattr(after, name))

    def blockers(inline: InlineTask) -> frozenset[TaskId]:
        return frozenset(ids.get(name, TaskId(name)) for name in inline.depends_on)

    description = with_key(after.description, spec.name, after.key)
    return Change(
        task=task.id,
        title=after.title if changed("title") else None,
        description=description
        if changed("description") and split_key(task.description)[0] != after.description
        else None,
        acceptance=after.acceptance if changed("acceptance") else None,
        priority=after.priority if changed("priority") else None,
        add_labels=frozenset(after.labels) - frozenset(before.labels),
        remove_labels=frozenset(before.labels) - frozenset(after.labels),
        add_blockers=blockers(after) - blockers(before),
        remove_blockers=blockers(before) - blockers(after),
    )
