"""How finished runs go to the archive: copied, compared, and only then taken from their folders; their locks go with them.

A subject goes when each run of it is over, nothing of it has changed for an hour, and its task is not open. Both of its locks
are held for that, so that nothing of it starts or lives meanwhile. Killed anywhere, the next time goes on: what is in the
archive is not put there twice, and what was on its way out (`.gone-…`) is deleted as far as the archive holds it.
"""

from __future__ import annotations

import heapq
import os
import stat
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from reconciler.model.names import RunKind, TaskId, usable_subject
from reconciler.runners import _processes as processes
from reconciler.runners import _records as records
from reconciler.runners._archive import SINCE, Archive, Bundle
from reconciler.runners._archive_rows import Files, Kept
from reconciler.runners._folders import Folders, Subject
from reconciler.runners._locks import Locks
from reconciler.runners._past import PastSubject
from reconciler.system import files, format

QUIET_S = 3600.0
AGAIN_S = 600.0  # until something is tried again that could not go
MOST = 50  # subjects looked at in one turn
AT_ONCE = 4 << 20  # bytes after which nothing more goes in the same turn: nobody reads the archive while it is written
LARGEST = 64 << 20  # bytes of a subject; a larger one stays where it is
NEVER = sys.maxsize
_GONE = ".gone-"


class Archiving:
    """What is over and waits for its hour. `again` reads a subject; None where that says something else than before.

    `went` is called with each subject that went.
    """

    def __init__(
        self,
        locks: Locks,
        folders: Folders,
        archive: Archive,
        again: Callable[[Subject], PastSubject | None],
        went: Callable[[Subject], None],
    ) -> None:
        self._locks, self._folders, self._archive, self._again, self._went = locks, folders, archive, again, went
        self._due: list[tuple[int, Subject]] = []  # a heap: when it may go
        self._sweep_at, self._older = 0, True

    def note(self, over: Iterable[Subject]) -> None:
        """Every run of these is over."""
        for key in over:
            heapq.heappush(self._due, (0, key))

    def turn(self, open_tasks: Collection[TaskId], leftover: Iterable[Subject]) -> None:
        """Let go what may go by now. `leftover`: those that have locks, and no folder.

        Its cost is one of what is due, whatever else waits or is in the archive. Raises OSError where something could not
        go that should; it is tried again.
        """
        now = time.time_ns()
        again = now + int(AGAIN_S * 1e9)
        if self._sweep_at <= now:
            self._sweep_at = again  # where it fails; the others need not wait for it
            self._sweep(leftover)
            self._sweep_at = NEVER
        self._older = self._older and self._archive.renew()
        due = dict.fromkeys((key for _, key in self._ripe(now)), again)
        try:
            self._let_go(due, frozenset(map(str, open_tasks)) if due else frozenset(), now)
        except OSError:
            self._sweep_at = again  # one may be on its way out
            raise
        finally:
            for key, at in due.items():
                heapq.heappush(self._due, (at, key))

    def _ripe(self, now: int) -> Iterator[tuple[int, Subject]]:
        for _ in range(MOST):
            if self._due and self._due[0][0] <= now:
                yield heapq.heappop(self._due)

    def _rests_until(self, key: Subject) -> int | None:
        """When nothing of a subject has changed for long enough; None where it has no folder."""
        folder, changed = self._folder(key), 0
        try:
            for each in (folder, *(f"{folder}/{name}" for name in os.listdir(folder))):
                changed = max(changed, os.lstat(each).st_ctime_ns)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return changed + int(QUIET_S * 1e9)

    def _let_go(self, due: dict[Subject, int], stay: Collection[str], now: int) -> None:
        """Let these go but those of the tasks that `stay`. In `due`, those that went are missing then."""
        going = []
        for key in list(due):
            if key[0] is RunKind.WORK and key[1] in stay:
                continue
            rests = self._rests_until(key)
            if rests is None:
                del due[key]  # its folder is gone
            elif rests > now:
                due[key] = rests
            else:
                going.append(key)
        with ExitStack() as held:
            free = [key for key in going if self._hold(key, held)]
            # Only now are carriers looked for: nothing of these starts any more.
            copied, untried, errors = self._copy(free, processes.carriers().keys()) if free else ((), (), ())
            due |= dict.fromkeys(untried, now)
            for key in copied:
                if self._go(key):
                    del due[key]
                    self._went(key)
            for error in errors:
                raise error

    def _copy(
        self, keys: Iterable[Subject], carried: Collection[str]
    ) -> tuple[list[Subject], list[Subject], list[OSError]]:
        """Have these in the archive, too: those that are there, those for another turn, why others can't be read."""
        bundles, size, untried, errors = list[Bundle](), 0, list[Subject](), list[OSError]()
        for key in keys:
            if size >= AT_ONCE:
                untried.append(key)
                continue
            try:
                bundle = self._bundle(key, carried)
            except OSError as error:
                errors.append(error)  # it keeps no other one here
                continue
            if bundle:
                bundles.append(bundle)
                size += bundle.size
        if bundles:
            format.mark(self._folders.root.parent)  # an older program would take what went for what never was
            self._archive.add(bundles)
            files.sync(self._folders.root)
        return [(each.kind, each.name) for each in bundles], untried, errors

    def _hold(self, key: Subject, held: ExitStack) -> bool:
        fds = self._locks.taken(*key)
        for fd in fds or ():
            held.callback(os.close, fd)
        return fds is not None

    def _bundle(self, key: Subject, carried: Collection[str]) -> Bundle | None:
        """A subject as it stands in its folders; None where something of it lives, or is no plain file."""
        past = self._again(key)
        if past is None or any(str(self._folders.folder(run.id)) in carried for run in past.runs):
            return None
        found = _content(self._folder(key))
        if found is None or found.keys() - {0} != {run.id.n for run in past.runs}:
            return None
        return Bundle(*key, runs=past.runs, files={n: each for n, each in found.items() if n or each})

    def _go(self, key: Subject) -> bool:
        """Delete what the archive holds of a subject whose locks we hold; False where it does not hold all of it."""
        folder, gone = self._folder(key), f"{self._folders.root}/{_GONE}{key[0]}-{key[1]}"
        if os.path.lexists(gone) or not self._holds(key, folder):
            return False
        for n in _numbers(folder):
            records.clear_temporary(f"{folder}/{n}")
        os.rename(folder, gone)
        self._delete(key, gone)
        self._locks.delete(*key)
        return True

    def _holds(self, key: Subject, folder: str) -> bool:
        found = _content(folder)
        return found is not None and self._kept(key, found) == {(n, name) for n, each in found.items() for name in each}

    def _kept(self, key: Subject, found: Mapping[int, Files]) -> set[tuple[int, str]]:
        """Which of these files the archive holds as they are."""
        same = set()
        for n, each in found.items():
            kept = self._archive.files(*key, n)
            same |= {(n, name) for name in each if _same(kept.get(name), each[name])}
        return same

    def _delete(self, key: Subject, gone: str) -> None:
        """Delete a folder that nobody finds any more, without what the archive does not hold."""
        found = _content(gone)
        if found is None:
            return
        kept = self._kept(key, found)
        if SINCE in found[0] and (0, SINCE) not in kept:
            self._archive.add([Bundle(*key, runs=(), files={0: found[0]})])  # a retry came in between
            kept = self._kept(key, found)
        for n, name in sorted(kept):
            os.unlink(f"{gone}/{n}/{name}" if n else f"{gone}/{name}")
        with suppress(OSError):  # what is left in it stays
            for n in (*filter(None, found), 0):
                os.rmdir(f"{gone}/{n}" if n else gone)

    def _sweep(self, leftover: Iterable[Subject]) -> None:
        """Finish what was killed on its way."""
        names = os.listdir(self._folders.root) if self._folders.root.is_dir() else ()
        there = {_subject_of(name): name for name in names if name.startswith(_GONE)}
        for key in {*filter(None, there), *(key for key in leftover if self._archive.newest(*key))}:
            with ExitStack() as held:
                if self._hold(key, held):
                    if name := there.get(key):
                        self._delete(key, f"{self._folders.root}/{name}")
                    if not os.path.lexists(self._folder(key)):
                        self._locks.delete(*key)

    def _folder(self, key: Subject) -> str:
        return f"{self._folders.root}/{key[0]}/{key[1]}"


def _same(kept: Kept | None, found: Kept) -> bool:
    return kept is not None and kept.content == found.content


def _content(folder: str) -> dict[int, Files] | None:
    """The files of a subject's runs by number, and under 0 those beside them; None where anything else is there."""
    found: dict[int, Files] = {0: {}}
    size = 0
    for here, n in [(folder, 0), *((f"{folder}/{name}", int(name)) for name in _numbers(folder))]:
        held: dict[str, Kept] = {}
        for entry in _entries(here):
            if not n and entry.name.isdecimal() and entry.is_dir(follow_symlinks=False):
                continue
            if not entry.is_file(follow_symlinks=False):
                return None
            kept = _read(entry.path)
            size += len(kept.content) if kept else 0
            if kept is None or size > LARGEST:
                return None
            held[entry.name] = kept
        found[n] = held
    return found


def _numbers(folder: str) -> list[str]:
    named = (entry for entry in _entries(folder) if entry.name.isdecimal() and entry.is_dir(follow_symlinks=False))
    return sorted(entry.name for entry in named)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return list(entries)


def _read(path: str) -> Kept | None:
    """A plain file whole; None where it is none, or too large."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode) or about.st_size > LARGEST:
            return None
        return Kept(file.read(LARGEST + 1), about.st_mtime_ns)


def _subject_of(name: str) -> Subject | None:
    kind, _, subject = name.removeprefix(_GONE).partition("-")
    return (RunKind(kind), subject) if kind in list(RunKind) and usable_subject(subject) else None


def archive_of(runs: Path) -> str:
    """Where the archive of the runs in a folder is."""
    return str(runs / "archive.sqlite")
