"""Manifests that name as their epic what is work of another one. Pure. The work stays work, and nobody takes it over.

A task that has children, or is called an epic, is the epic of the manifest that names it. What a manifest declares as a task, or an agent
has begun under it, is not: with it taken away, its manifest would be done without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from reconciler.model.desired import EpicSpec
from reconciler.model.names import TaskId, split_key, task_for_key
from reconciler.model.observed import Graph
from reconciler.planning.graph import Index, is_work
from reconciler.planning.labels import PHASES

Keys = Mapping[tuple[str, str | None], TaskId]


class EpicClash(Struct, frozen=True, kw_only=True):
    """A manifest, and the task of another (or of its own) that it names as its epic. `key`: under which that declares it."""

    manifest: str
    task: TaskId
    owner: str
    key: str | None
    epic: TaskId | None = None  # of the owner

    @property
    def message(self) -> str:
        """What is wrong, and what may be done about it."""
        return f"its epic {self.what}; {self.hint}"

    @property
    def what(self) -> str:
        """What is wrong, beginning with the task."""
        whose = "it" if self.owner == self.manifest else f"the manifest {self.owner}"
        what = f"is the task {self.key!r} that {whose} declares" if self.key else f"is work that {whose} has begun"
        return f"{self.task} {what}"

    @property
    def hint(self) -> str:
        """What may be done about it."""
        other = f" ({self.epic} is that of {self.owner})" if self.epic and self.epic != self.task else ""
        return f"name a task that others are children of{other}"


def keys_of(graph: Graph) -> Keys:
    """The tasks that manifests have declared, by manifest and key; under None its epic."""
    found: dict[tuple[str, str | None], TaskId] = {}
    for task in graph.values():
        if "reconcile-key:" in task.description and (key := split_key(task.description)[1]):
            found.setdefault(key, task.id)
    return found


def clashes(specs: Iterable[EpicSpec], prefix: str, index: Index, keys: Keys | None = None) -> Mapping[str, EpicClash]:
    """By manifest: where its epic is work of another one."""
    every = tuple(specs)
    named = [spec for spec in every if spec.epic]
    known = (keys if keys is not None else keys_of(index.graph)) if named else {}
    found = ((spec, next(_with(spec, every, prefix, index, known), None)) for spec in named)
    return {spec.name: clash for spec, clash in found if clash}


def _with(spec: EpicSpec, every: tuple[EpicSpec, ...], prefix: str, index: Index, keys: Keys) -> Iterator[EpicClash]:
    epic = spec.epic
    task = index.graph.get(epic) if epic else None
    if epic is None or (task is not None and not is_work(task, index)):
        return
    for other in every:
        above = other.epic or keys.get((other.name, None)) or task_for_key(prefix, other.name, None)
        declared = (each.key for each in other.tasks if _id(other, each.key, prefix, keys) == epic)
        key, whole = next(declared, None), not other.epic and not other.tasks
        begun = task is not None and bool(task.labels.intersection(PHASES)) and other is not spec
        if key is not None or (begun and (whole or epic in index.descendants(above))):
            yield EpicClash(manifest=spec.name, task=epic, owner=other.name, key=key, epic=None if whole else above)


def _id(spec: EpicSpec, key: str, prefix: str, keys: Keys) -> TaskId:
    return keys.get((spec.name, key)) or task_for_key(prefix, spec.name, key)
