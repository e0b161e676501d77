"""Tells people what a plan has to tell: what is due goes to a program of its own, and nobody waits for it.

One program a recipient at a time, known by a kernel lock that it holds: killed at any instant, what it did not record is sent
by the next one. So each message comes once, and once more where its sender was killed between sending and recording. Where
nobody looks again, another program waits for the sender of this moment in our place: `reconciler.loop.last_word`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from msgspec import Struct, field, to_builtins

from reconciler.model.desired import EpicSpec
from reconciler.planning.notices import Letter, Told, due, notices, recipient, told_of
from reconciler.planning.plan import Plan
from reconciler.system import file_lock, shell
from reconciler.system.messenger import Message, hindrance
from reconciler.system.notified import Line, Notified

SENDER, WAITING = "reconciler.system.messenger", "reconciler.loop.last_word"
UNRECORDED = timedelta(minutes=5)

Conditions = Mapping[str, Sequence[Mapping[str, str]]]
"""The conditions of each manifest, by its name."""


class Teller(Struct, kw_only=True):
    """Who tells the people of one repository. `environ`: where secrets come from."""

    state: Path
    environ: Mapping[str, str]
    record: Notified
    _known: tuple[list[Line] | None, Told] = (None, Told())
    _begun: dict[str, tuple[datetime, Letter]] = field(default_factory=dict)

    def tell(self, decided: Plan, conditions: Conditions, now: datetime, *, closing: bool = False) -> None:
        """Send what is due. `now`: local time; `closing`: nobody looks again soon.

        Raises OSError, ReconcileError where nothing can be sent from here.
        """
        specs = [epic.spec for epic in decided.epics if epic.spec.notify]
        if not specs:
            return
        found = {e.name: tuple(notices(e, conditions.get(e.name, ()), now)) for e in decided.epics if e.spec.notify}
        current = {notice.key for each in found.values() for notice in each}
        self.record.shorten(lambda line: not current.isdisjoint(line.get("keys") or ()))
        for letter in due(specs, found, self.known(), now, closing=closing):
            with self._lock(letter.to) as (lock, free):
                # What its last sender recorded since is known only once that has let go of the lock.
                again = [each for each in due(specs, found, self.known(), now, closing=closing) if each.to == letter.to]
                if not again or self._unrecorded(again[0], now):
                    continue
                if free:
                    self._begun[letter.to] = now, again[0]
                    self._start(SENDER, to_builtins(message_of(again[0])), lock)
                elif closing:
                    self._start(WAITING, to_builtins(again[0]), lock)

    def known(self) -> Told:
        """What is recorded; read again only where that changed."""
        lines = self.record.lines()
        if lines is not self._known[0]:
            self._known = lines, told_of(lines)
        return self._known[1]

    def _unrecorded(self, letter: Letter, now: datetime) -> bool:
        """True where a sender of this very letter has ended and recorded nothing: as on a full disk, it would each time."""
        at, before = self._begun.get(letter.to, (now, None))
        return before == letter and timedelta() <= now - at < UNRECORDED

    def _start(self, program: str, message: object, lock: int) -> None:
        with tempfile.TemporaryFile(dir=self.state) as job:
            fields = {"state": str(self.state), "message": message}
            job.write(json.dumps(fields).encode())
            job.flush()
            job.seek(0)
            argv = [sys.executable, "-P", "-m", program, str(job.fileno()), str(lock)]
            shell.start_detached(argv, env=self.environ, cwd="/", pass_fds=[job.fileno(), lock])

    @contextmanager
    def _lock(self, to: str) -> Iterator[tuple[int, bool]]:
        """The recipient's lock, which passes on to whom it is given, and whether it is ours: not while a message is on its way."""
        folder = self.state / "locks"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(folder / f"notify-{to}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            file_lock.take(fd, 0.0)
            free = True
        except BlockingIOError:
            free = False
        try:
            yield fd, free
        finally:
            os.close(fd)


def hindrances(epics: Iterable[EpicSpec], environ: Mapping[str, str]) -> dict[str, str]:
    """Which recipients of these manifests could not be reached from here, and why; by what they are called."""
    rules = {recipient(rule): rule for spec in epics for rule in spec.notify}
    found = (
        (rule.shown, hindrance(message_of(Letter(to=to, rule=rule, notices=())), environ)) for to, rule in rules.items()
    )
    return {shown: why for shown, why in found if why}


def message_of(letter: Letter) -> Message:
    """A letter as it is sent."""
    rule = letter.rule
    return Message(
        to=letter.to,
        keys=list(letter.keys),
        subject=letter.subject,
        message=letter.message,
        run=list(rule.run),
        url=rule.url,
        tries=letter.tries,
    )
