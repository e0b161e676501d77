"""Recorded manifests: what was applied, complete, under `<git-common-dir>/reconcile/manifests/`.

`<name>.yaml` is the desired state, `<name>.applied.json` the declared tasks as they were last written to the tracker,
`status/<name>.json` what was last seen of it (nothing is lost with it). Each file is replaced as a whole, one writer at
a time; readers need no lock. Needs no pydantic: every command reads these.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reconciler.manifest import form, record
from reconciler.manifest.findings import did_you_mean
from reconciler.model.desired import EpicSpec, InlineTask
from reconciler.model.errors import PermanentError, TemporaryError, UsageError
from reconciler.system import file_lock

WRITER_WAIT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is recorded, by name. `problems`: manifests that are there but can't be read, and why."""

    epics: tuple[EpicSpec, ...] = ()
    problems: Mapping[str, str] = field(default_factory=dict)


class Recorded:
    """The recorded manifests of one repository; `state` is its reconcile folder."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._manifests = state / "manifests"
        self._status = state / "status"
        self._known: dict[str, tuple[tuple[bytes, bytes | None], EpicSpec]] = {}

    # --- reading -------------------------------------------------------------------------------------------

    def load(self) -> Found:
        """Every recorded manifest, with the tasks that were written for it. Raises TemporaryError when the folder
        can't be read: that is not the same as nothing recorded."""
        epics, problems = [], {}
        for name in self._names():
            try:
                if spec := self._one(name):
                    epics.append(spec)
            except ValueError as error:
                problems[name] = str(error)
        return Found(epics=tuple(epics), problems=problems)

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
        return replace(spec, generation=generation, recorded_at=datetime.now(UTC), invalid=None, applied=written)

    def status(self, name: str) -> dict[str, Any]:
        """What was last seen of a manifest: `observedGeneration` and `conditions`; empty where nothing can be read."""
        try:
            found = json.loads((self._status / f"{name}.json").read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    # --- writing -------------------------------------------------------------------------------------------

    def record(self, spec: EpicSpec) -> EpicSpec:
        """Make this manifest the recorded one; as it is recorded. Its generation goes up when it says something new.

        One that could not be read is replaced.
        """
        with self._writing():
            return self._record(spec)

    def change(self, name: str, changed: Callable[[EpicSpec], EpicSpec]) -> EpicSpec:
        """Record a manifest anew with something changed, and nobody else writing in between; as it is recorded then.

        Raises UsageError for one that is not recorded, PermanentError for a damaged one.
        """
        with self._writing():
            self._must_be_recorded(name)
            try:
                spec = self._alone(name)
            except ValueError as error:
                raise PermanentError(f"{name}: {error}", hint="apply the manifest again") from error
            assert spec is not None  # it is known, and only who is writing could have deleted it
            return self._record(changed(spec))

    def applied(self, manifest: str, task: InlineTask) -> None:
        """Remember a declared task as it was last written to the tracker. A manifest that was deleted forgets it."""
        with self._writing():
            if not self._yaml(manifest).exists():
                return
            try:
                known = self._applied(manifest)
            except ValueError as error:
                raise PermanentError(str(error), hint="apply the manifest again") from error
            said = {key: form.task_of(each) for key, each in {**known, task.key: task}.items()}
            _replace(self._applied_file(manifest), json.dumps(said, indent=2) + "\n")

    def write_status(self, name: str, observed_generation: int, conditions: Sequence[Mapping[str, Any]]) -> None:
        """Remember what was seen of a manifest. Writes nothing where nothing changed."""
        said = {"observedGeneration": observed_generation, "conditions": [dict(each) for each in conditions]}
        if said == self.status(name):
            return
        with self._writing():
            if self._yaml(name).exists():
                # Escaped: a message may name a path that is no Unicode.
                _replace(self._status / f"{name}.json", json.dumps(said, indent=2) + "\n")

    def delete(self, name: str) -> None:
        """Forget a manifest and everything remembered about it. Raises UsageError for one that is not recorded."""
        with self._writing():
            self._must_be_recorded(name)
            # The manifest last: a delete that was cut off is done again.
            for path in (self._status / f"{name}.json", self._applied_file(name), self._yaml(name)):
                path.unlink(missing_ok=True)
            _sync(self._manifests)

    def _record(self, spec: EpicSpec) -> EpicSpec:
        made = self.beside(spec)
        if replace(made, applied={}) != self._before(spec.name):
            _replace(self._yaml(spec.name), record.text(made))
        if not made.applied:
            self._applied_file(spec.name).unlink(missing_ok=True)
        return made

    # --- one manifest --------------------------------------------------------------------------------------

    def _must_be_recorded(self, name: str) -> None:
        """Raise UsageError for a manifest that is not recorded."""
        known = self._names()
        if name not in known:
            said = f"no manifest {name!r} is recorded here; known: {', '.join(known) or 'none'}"
            raise UsageError(said, hint=did_you_mean(name, known))

    def _names(self) -> list[str]:
        try:
            files = sorted(os.listdir(self._manifests))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unreadable(self._manifests, error) from error
        return [file.removesuffix(".yaml") for file in files if file.endswith(".yaml") and not file.startswith(".")]

    def _one(self, name: str) -> EpicSpec | None:
        """A manifest with what was written for it; None where there is none. Raises ValueError for a damaged one."""
        content, written = _content(self._yaml(name)), _content(self._applied_file(name))
        if content is None:
            return None
        known = self._known.get(name)
        if known and known[0] == (content, written):
            return known[1]
        found = replace(record.spec(name, content), applied=self._applied_in(name, written))
        self._known[name] = (content, written), found
        return found

    def _before(self, name: str) -> EpicSpec | None:
        """The manifest that is recorded now, alone; None also for a damaged one, which is about to be replaced."""
        try:
            return self._alone(name)
        except ValueError:
            return None

    def _written(self, name: str) -> Mapping[str, InlineTask]:
        """The tasks that were written for a manifest; none where that was damaged: they are compared anew."""
        try:
            return self._applied(name)
        except ValueError:
            return {}

    def _alone(self, name: str) -> EpicSpec | None:
        content = _content(self._yaml(name))
        return None if content is None else record.spec(name, content)

    def _applied(self, name: str) -> dict[str, InlineTask]:
        return self._applied_in(name, _content(self._applied_file(name)))

    def _applied_in(self, name: str, content: bytes | None) -> dict[str, InlineTask]:
        if content is None:
            return {}
        try:
            said = json.loads(content)
            return {key: form.task_from(task) for key, task in said.items()}
        except (ValueError, AttributeError, RecursionError) as error:
            raise ValueError(f"{self._applied_file(name)} is damaged: {error}") from error

    def _yaml(self, name: str) -> Path:
        return _yaml(self._state, name)

    def _applied_file(self, name: str) -> Path:
        return self._manifests / f"{name}.applied.json"

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One writer at a time, across processes. Raises TemporaryError when another one stays."""
        folder = self._state / "locks"
        try:
            _make(self._state, folder)
            fd = os.open(folder / "manifests", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise TemporaryError(f"{folder} can't be written: {error.strerror}") from error
        try:
            file_lock.take(fd, WRITER_WAIT_S)
            yield
        except BlockingIOError as error:
            raise TemporaryError("somebody else is writing manifests in this repository") from error
        except OSError as error:
            raise TemporaryError(f"manifests can't be written: {error.strerror or error}", delay=30.0) from error
        finally:
            os.close(fd)


def max_agents(state: Path, name: str) -> int | None:
    """The bound on a manifest's agents as it is recorded now; None where no such manifest is.

    Raises TemporaryError for one that is damaged: it may allow none.
    """
    content = _content(_yaml(state, name))
    if content is None:
        return None
    try:
        return record.bound(name, content)
    except ValueError as error:
        raise TemporaryError(f"the recorded manifest {name} can't be read: {error}", delay=30.0) from error


def _yaml(state: Path, name: str) -> Path:
    return state / "manifests" / f"{name}.yaml"


def _content(path: Path) -> bytes | None:
    """What a file holds; None where there is none. Raises TemporaryError when it can't be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> TemporaryError:
    return TemporaryError(f"{path} can't be read: {error.strerror}", delay=30.0)


def _make(*folders: Path) -> None:
    """Make private folders, outermost first: those that `mkdir` makes on the way would be open to everybody."""
    for folder in folders:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _replace(path: Path, text: str) -> None:
    """Replace a file, private and as a whole. Only while writing: the unfinished one always has the same name."""
    _make(path.parent)
    partial = path.with_name(f".{path.name}.partial")
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
