"""Hints to tick sooner: file events turned into one flag. They carry no data, and may all be lost without harm."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

# A folder made while its parent is being listed is watched twice; the library says so at length, and goes on.
warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning, r"watchdog\.")

_Kinds = tuple[type[FileSystemEvent], ...]
_MADE: _Kinds = (FileCreatedEvent, FileMovedEvent, DirCreatedEvent)
_RENAMED: _Kinds = (DirCreatedEvent, FileMovedEvent, FileDeletedEvent)  # all that git does to a ref
_CHANGED: _Kinds = (FileCreatedEvent, FileMovedEvent, FileDeletedEvent, FileModifiedEvent)


@dataclass(frozen=True)
class Spot:
    """A folder worth listening to. `names`: only these files in it; `kinds` of events keep logs from waking us."""

    folder: Path
    recursive: bool = False
    names: frozenset[str] = frozenset()
    kinds: _Kinds = _CHANGED


def spots(state: Path, common: Path, beads: Path | None, sources: list[Path]) -> list[Spot]:
    """Where what we observe announces that it changed. `beads`: the folder of the built-in store; a database is never
    listened to, because reading it would wake us again."""
    return [
        Spot(state / "manifests"),
        # Never the logs beside it: what agents print would wake us for ever.
        Spot(state / "runs", recursive=True, names=frozenset({"exit.json", "run.json", "since.json"}), kinds=_MADE),
        Spot(common / "refs" / "heads", recursive=True, kinds=_RENAMED),
        Spot(common / "refs" / "reconcile", recursive=True, kinds=_RENAMED),
        *([] if beads is None else [Spot(beads, names=frozenset({"issues.jsonl"}))]),
        *(
            Spot(path if path.is_dir() else path.parent, names=frozenset() if path.is_dir() else frozenset({path.name}))
            for path in sources
        ),
    ]


class Wakes:
    """Listens while it is used as a context; sets `wake` at every event that may matter."""

    def __init__(self, places: list[Spot], wake: threading.Event) -> None:
        self._observer = Observer()
        for place in places:
            place.folder.mkdir(parents=True, exist_ok=True)
            listener, kinds = _Listener(place, wake.set), list(place.kinds)
            self._observer.schedule(listener, str(place.folder), recursive=place.recursive, event_filter=kinds)

    def __enter__(self) -> Wakes:
        self._observer.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._observer.stop()
        self._observer.join(2.0)

    @property
    def deaf(self) -> bool:
        """True when no event will come any more: the slow resync goes on without."""
        return not self._observer.is_alive()


class _Listener(FileSystemEventHandler):
    def __init__(self, place: Spot, wake: Callable[[], None]) -> None:
        self._place = place
        self._wake = wake

    def on_any_event(self, event: FileSystemEvent) -> None:
        # An os.replace is announced under the old name; the new one is the destination.
        paths = [Path(str(path)) for path in (event.src_path, event.dest_path) if path]
        if any(path.name.endswith(".lock") for path in paths) and not event.dest_path:
            return
        if not self._place.names or any(path.name in self._place.names for path in paths):
            self._wake()
