"""Hints to tick sooner: file events turned into one flag. They carry no data, and may all be lost without harm.

A machine gives out so many listeners and no more, and editors use them up. Without any, the one who waits looks more often.
"""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct
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
from watchdog.observers.api import BaseObserver, ObservedWatch

from reconciler.model.names import PULL_REQUEST_REFS, REVIEW_REFS

# What is still read as it is stopped is of no use to anybody; the library says so on standard error.
logging.getLogger("watchdog").setLevel(logging.CRITICAL)
# A folder made while its parent is being listed is watched twice; the library says so at length, and goes on.
warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning, r"watchdog\.")

GLANCE_S = 2.0  # how often is asked after what no event tells of

_Kinds = tuple[type[FileSystemEvent], ...]
_RENAMED: _Kinds = (DirCreatedEvent, FileMovedEvent, FileDeletedEvent)  # all that git does to a ref
_CHANGED: _Kinds = (FileCreatedEvent, FileMovedEvent, FileDeletedEvent, FileModifiedEvent)


class Spot(Struct, frozen=True):
    """A folder worth listening to. `names`: only these files in it; `kinds` of events keep logs from waking us."""

    folder: Path
    recursive: bool = False
    names: frozenset[str] = frozenset()
    kinds: _Kinds = _CHANGED


def spots(state: Path, common: Path, beads: Path | None, sources: Sequence[Path]) -> list[Spot]:
    """Where what we observe announces that it changed. `beads`: the folder of the built-in store; a database is never
    listened to, because reading it would wake us again."""
    return [
        Spot(state / "manifests"),
        # Not the folders of the runs: there would be one more to listen to with each, for ever.
        Spot(state / "runs", names=frozenset({"wake"})),
        Spot(common / "refs" / "heads", recursive=True, kinds=_RENAMED),
        # Not the folders of what was saved: there is one for each task.
        *(Spot(common / refs, kinds=_RENAMED) for refs in (PULL_REQUEST_REFS, REVIEW_REFS)),
        *([] if beads is None else [Spot(beads, names=frozenset({"issues.jsonl"}))]),
        *(
            Spot(path if path.is_dir() else path.parent, names=frozenset() if path.is_dir() else frozenset({path.name}))
            for path in sources
        ),
    ]


class Wakes:
    """Listens while it is used as a context; sets `wake` at every event that may matter."""

    def __init__(self, places: list[Spot], wake: threading.Event) -> None:
        self._places, self._wake = places, wake
        self._observer: BaseObserver | None = None
        self._watches: dict[ObservedWatch, Spot] = {}
        self._deaf: str | None = None

    def __enter__(self) -> Wakes:
        try:
            self._observer = Observer()
            for place in self._places:
                self._listen(self._observer, place)
            self._observer.start()
        except (OSError, RuntimeError) as error:  # no listener is left, or no thread
            self._deaf = (error.strerror if isinstance(error, OSError) else None) or str(error)
        return self

    def __exit__(self, *error: object) -> None:
        if self._observer is None:
            return
        try:
            self._observer.stop()
            if self._observer.is_alive():
                self._observer.join(2.0)
        except (OSError, RuntimeError):
            if not self._deaf:
                raise

    @property
    def deaf(self) -> str | None:
        """Why some events will not come, or not any more; None while all of them do.

        A folder that was deleted, as git does with one whose refs it has packed, is made and listened to again.
        """
        if self._deaf is None and self._observer:
            try:
                self._listen_again(self._observer)
            except (OSError, RuntimeError) as error:
                self._deaf = str(error)
            else:
                self._deaf = None if self._observer.is_alive() else "what listens has ended"
        return self._deaf

    def _listen(self, observer: BaseObserver, place: Spot) -> None:
        place.folder.mkdir(parents=True, exist_ok=True)
        listener, kinds = _Listener(place, self._wake.set), list(place.kinds)
        watch = observer.schedule(listener, str(place.folder), recursive=place.recursive, event_filter=kinds)
        self._watches[watch] = place

    def _listen_again(self, observer: BaseObserver) -> None:
        for emitter in [each for each in observer.emitters if not each.is_alive()]:
            observer.unschedule(emitter.watch)
            self._listen(observer, self._watches.pop(emitter.watch))
            self._wake.set()  # for what came while nobody listened


def rest(stirred: Callable[[], bool], wake: threading.Event, timeout_s: float) -> None:
    """Wait until woken, for so long at most, or until something has `stirred` of which no event tells."""
    end = time.monotonic() + timeout_s
    while (left_s := end - time.monotonic()) > 0:
        if wake.wait(min(left_s, GLANCE_S)) or stirred():
            return


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
