"""Recorded manifests: what was applied, complete, with the tasks as they were last written to the tracker.

Needs no pydantic: every command reads these.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from reconciler.manifest import form, record, record_files
from reconciler.manifest.findings import not_applied
from reconciler.manifest.record_files import RecordFiles
from reconciler.model.desired import STRANGER, EpicSpec, InlineTask, Loosening
from reconciler.model.errors import PermanentError, TemporaryError
from reconciler.model.values import replace


class RecordedManifests(Struct, frozen=True, kw_only=True):
    """What is recorded, by name. `problems`: manifests that are there but can't be read, and why."""

    epics: tuple[EpicSpec, ...] = ()
    problems: Mapping[str, str] = field(default_factory=dict)


class Recorded:
    """The recorded manifests of one repository; `state` is its reconcile folder."""

    def __init__(self, state: Path) -> None:
        self._files = RecordFiles(state)
        self._known: dict[str, tuple[tuple[bytes | None, ...], EpicSpec]] = {}

    # --- reading -------------------------------------------------------------------------------------------

    def load(self) -> RecordedManifests:
        """Every recorded manifest, with the tasks that were written for it. Raises TemporaryError when the folder
        can't be read: that is not the same as nothing recorded."""
        epics, problems = [], {}
        names = self._files.names()
        for name in names:
            try:
                if spec := self._one(name):
                    epics.append(_without(names, spec) if spec.withheld else spec)
            except ValueError as error:
                problems[name] = str(error)
        return RecordedManifests(epics=tuple(epics), problems=problems)

    def names(self) -> list[str]:
        """The names of what is recorded, readable or not. Raises TemporaryError when the folder can't be read."""
        return self._files.names()

    def beside(self, spec: EpicSpec) -> EpicSpec:
        """What `record` would make of this manifest, without writing anything."""
        before, written = self._before(spec.name), self._written(spec.name)
        if before is None:
            # Of a damaged one: what was last seen, so that nobody takes the new one for seen already.
            seen = self.status(spec.name).get("observedGeneration")
            generation = seen + 1 if isinstance(seen, int) else 1
        elif form.spec_of(before) == form.spec_of(spec):
            return replace(before, source=spec.source, applied=written)
        else:
            generation = before.generation + 1
        at = datetime.now(UTC)
        return replace(spec, generation=generation, recorded_at=at, invalid=None, applied=written, also=())

    def status(self, name: str) -> dict[str, Any]:
        """What was last seen of a manifest, as `write_status` was given it; empty where nothing can be read."""
        try:
            found = json.loads(self._files.status(name).read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    # --- writing -------------------------------------------------------------------------------------------

    def record(self, spec: EpicSpec) -> EpicSpec:
        """Make this manifest the recorded one; as it is recorded. Its generation goes up when it says something new.

        One that could not be read is replaced.
        """
        with self._files.writing():
            return self._record(spec)

    def follow(
        self, specs: Sequence[EpicSpec], quiet: Callable[[], bool], named: Collection[str] | None = None
    ) -> Mapping[str, str]:
        """Record manifests as they stand in files that are read again by themselves; for what nobody recorded: why.

        An agent can write to these files. What loosens a manifest is withheld, the recorded value goes on, unless no run
        has existed since a person applied it; so is a manifest that is new beside others. `quiet`: no run is alive.
        `named`: the files that a person has just named one by one, or in folders; None: nobody named any again.
        """
        with self._files.writing():
            recorded = self.load().epics
            doubted = [each for each in recorded if not self._files.trusted(each.name).exists()]
            refused = {spec.name: why for spec in specs if (why := self._unexpected(spec, doubted, named))}
            known = [spec for spec in specs if spec.name not in refused]
            fresh = [spec.name for spec in known if self._before(spec.name) is None]
            strangers = tuple(_stranger(spec) for spec in specs if spec.name in refused)
            for spec in known:
                before = self._before(spec.name)
                free = before is None or self._files.trusted(spec.name).exists()
                wanted = spec if before is None or free else form.tightened(before, spec)
                loosened = (replace(each, also=spec.also) for each in form.loosened(wanted, spec))
                self._record(wanted, (*loosened, *strangers))
            sources = {spec.source for spec in specs if spec.name in refused}
            for other in recorded:
                if other.source in sources and other.name not in {spec.name for spec in specs}:
                    self._record(other, strangers)  # it stands in its file no more, under this name
        if fresh:
            self.trust(fresh, quiet)
        return refused

    def trust(self, names: Sequence[str], quiet: Callable[[], bool]) -> None:
        """Remember that a person has just applied these, and that no run has existed since; `quiet`: no run is alive."""
        with self._files.writing():
            for name in names if quiet() else ():
                record_files.replace(self._files.trusted(name), "")
        if not quiet():
            self.distrust()

    def distrust(self) -> None:
        """A run exists: from now on what loosens a manifest has to be applied by a person."""
        self._files.distrust()

    def change(self, name: str, changed: Callable[[EpicSpec], EpicSpec]) -> EpicSpec:
        """Record a manifest again with something changed, and nobody else writing in between; as it is recorded then.

        Raises UsageError for one that is not recorded, PermanentError for a damaged one.
        """
        with self._files.writing():
            self.must_be_recorded(name)
            try:
                spec = self._alone(name)
            except ValueError as error:
                raise PermanentError(f"{name}: {error}", hint="apply the manifest again") from error
            assert spec is not None  # it is known, and only who is writing could have deleted it
            made = changed(spec)
            withheld = record_files.withheld(record_files.content(self._files.withheld(name)))
            return self._record(made, [each for each in withheld if form.value_of(made, each.field) != each.new])

    def unfreeze(self, name: str, at: datetime) -> None:
        """Remember that the line of a manifest goes on from here. Raises UsageError for one that is not recorded."""
        with self._files.writing():
            self.must_be_recorded(name)
            record_files.replace(self._files.unfrozen(name), at.isoformat() + "\n")

    def applied(self, manifest: str, tasks: Sequence[InlineTask]) -> None:
        """Remember declared tasks as they were last written to the tracker. A manifest that was deleted forgets them."""
        with self._files.writing():
            try:
                spec = self._one(manifest)
            except ValueError as error:
                raise PermanentError(f"{manifest}: {error}", hint="apply the manifest again") from error
            if spec is None:
                return
            known = {**spec.applied, **{task.key: task for task in tasks}}
            fields = {key: form.task_of(each) for key, each in known.items()}
            record_files.replace(self._files.applied(manifest), json.dumps(fields, indent=2) + "\n")

    def write_status(self, name: str, fields: Mapping[str, Any]) -> None:
        """Remember what was seen of a manifest, `observedGeneration` and `conditions` among it. Writes nothing where
        nothing changed."""
        if fields == self.status(name):
            return
        with self._files.writing():
            if self._files.yaml(name).exists():
                # Escaped: a message may name a path that is no Unicode.
                record_files.replace(self._files.status(name), json.dumps(fields, indent=2) + "\n")

    def delete(self, name: str) -> None:
        """Forget a manifest and everything remembered about it. Raises UsageError for one that is not recorded."""
        with self._files.writing():
            self.must_be_recorded(name)
            self._files.remove(name)

    def _record(self, spec: EpicSpec, withheld: Sequence[Loosening] = ()) -> EpicSpec:
        made = self.beside(spec)
        if replace(made, applied={}) != self._before(spec.name):
            record_files.replace(self._files.yaml(spec.name), record.text(made))
        if not made.applied:
            self._files.applied(spec.name).unlink(missing_ok=True)
        if withheld:
            found = [msgspec.structs.asdict(each) for each in withheld]
            record_files.replace(self._files.withheld(spec.name), json.dumps(found, indent=2) + "\n")
        else:
            self._files.withheld(spec.name).unlink(missing_ok=True)
        return made

    def _unexpected(self, spec: EpicSpec, doubted: Sequence[EpicSpec], named: Collection[str] | None) -> str | None:
        """Why a manifest that nobody applied is none: beside others, of whose files it is not known who wrote them."""
        if self._files.yaml(spec.name).exists():
            damaged = self._before(spec.name) is None and not self._files.trusted(spec.name).exists()
            return f"what was recorded of {spec.name} is damaged" if damaged else None
        if any(each.source == spec.source for each in doubted):
            return f"{spec.name} is new in {spec.source}, and agents have run since that was applied"
        folder = os.path.dirname(spec.source)
        beside = [each for each in doubted if named is None or os.path.dirname(each.source) == folder]
        if beside and not (named and spec.source in named):
            return f"{spec.source} is new, and agents have run since what stands beside it was applied"
        return None

    # --- one manifest --------------------------------------------------------------------------------------

    def must_be_recorded(self, name: str) -> None:
        """Raise UsageError for a manifest that is not recorded."""
        known = self._files.names()
        if name not in known:
            raise not_applied(name, known)

    def _one(self, name: str) -> EpicSpec | None:
        """A manifest with what was written for it; None where there is none. Raises ValueError for a damaged one."""
        beside = (self._files.applied(name), self._files.withheld(name), self._files.unfrozen(name))
        texts = tuple(record_files.content(path) for path in (self._files.yaml(name), *beside))
        content, written, withheld, unfrozen = texts
        if content is None:
            return None
        known = self._known.get(name)
        if known and known[0] == texts:
            return known[1]
        spec = record.spec(name, content)
        applied = _applied(written)
        if applied is None:
            # Nothing else holds what was written. Taken as declared, it undoes nobody's edits.
            applied = {task.key: task for task in spec.tasks}
        found = replace(
            spec, applied=applied, withheld=record_files.withheld(withheld), unfrozen_at=record_files.moment(unfrozen)
        )
        self._known[name] = texts, found
        return found

    def _before(self, name: str) -> EpicSpec | None:
        """The manifest that is recorded now, alone; None also for a damaged one, which is about to be replaced."""
        try:
            return self._alone(name)
        except ValueError:
            return None

    def _written(self, name: str) -> Mapping[str, InlineTask]:
        """The tasks that were written for a manifest; none where that was damaged: they are compared again."""
        return _applied(record_files.content(self._files.applied(name))) or {}

    def _alone(self, name: str) -> EpicSpec | None:
        content = record_files.content(self._files.yaml(name))
        return None if content is None else record.spec(name, content)


def max_agents(state: Path, name: str) -> int | None:
    """The bound on a manifest's agents as it is recorded now; None where no such manifest is.

    Raises TemporaryError for one that is damaged: it may allow none.
    """
    content = record_files.content(RecordFiles(state).yaml(name))
    if content is None:
        return None
    try:
        return record.bound(name, content)
    except ValueError as error:
        raise TemporaryError(f"the recorded manifest {name} can't be read: {error}", delay=30.0) from error


def _applied(content: bytes | None) -> dict[str, InlineTask] | None:
    """The tasks that were written for a manifest; None where what was remembered of them is damaged."""
    if content is None:
        return {}
    try:
        return {key: form.task_from(task) for key, task in json.loads(content).items()}
    except (ValueError, AttributeError, RecursionError):
        return None


def _stranger(spec: EpicSpec) -> Loosening:
    return Loosening(field=STRANGER + spec.name, old=None, new=spec.source)


def _without(recorded: Collection[str], spec: EpicSpec) -> EpicSpec:
    """A manifest without what was noted of others that are recorded by now."""
    known = {STRANGER + name for name in recorded}
    return replace(spec, withheld=tuple(each for each in spec.withheld if each.field not in known))
