"""What a landing on GitHub is about to do, and what stopped one: small files that outlive us, one per base."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from msgspec.structs import asdict

from reconciler.model.errors import PermanentError
from reconciler.model.names import PrNumber, Sha, TaskId
from reconciler.model.ports import LandOrder
from reconciler.system import files

VERSION = 1


class Attempt(Struct, frozen=True, kw_only=True):
    """A merge that GitHub was asked for: until its answer is known, nothing else is asked for on that base."""

    base: str
    old: Sha  # the base as it was judged
    head: Sha
    tree: Sha  # what must land
    number: PrNumber
    task: TaskId
    method: str
    at: str  # ISO 8601, UTC
    pushed: Sha | None = None  # what is pushed to the base instead, with all that is beneath it
    uuid: str = ""  # by which GitHub tells how far it is, where it merges in the background

    @classmethod
    def of(cls, order: LandOrder, at: datetime, pushed: Sha | None = None) -> Attempt:
        """What is noted of a landing before anything is asked for."""
        expected = order.expected
        return cls(
            base=order.base,
            old=expected.base,
            head=expected.head,
            tree=expected.tree,
            number=order.number,
            task=order.task,
            method=str(order.method),
            at=at.isoformat(),
            pushed=pushed,
        )

    @property
    def asked_at(self) -> datetime:
        return datetime.fromisoformat(self.at)


class Freeze(Struct, frozen=True, kw_only=True):
    """Why nothing lands on a base any more, until a person has looked and taken the note away."""

    base: str
    why: str
    at: str


class SecondRun(Struct, frozen=True, kw_only=True):
    """Checks of a pull request's head that were asked to run again. `after`: the numbers of the runs before."""

    head: Sha
    at: str  # ISO 8601, UTC
    after: list[int]
    names: list[str]
    times: int


class PendingMerge(Struct, frozen=True, kw_only=True):
    """A merge that was asked for although GitHub showed that a rule is not met, and its answer."""

    head: Sha
    answer: str


class Queued(Struct, frozen=True, kw_only=True):
    """A head that we put into the merge queue, and how often. `after`: by which event it was last taken out before."""

    base: str
    head: Sha
    times: int
    after: str


class PostedReviews(Struct, frozen=True, kw_only=True):
    """Verdicts of reviewers by their marks: those that were posted, in whatever form, and those that were taken back."""

    marks: list[str] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)


class Notes:
    """The notes of one repository, in a folder of ours."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def attempt(self, base: str) -> Attempt | None:
        """The merge on this base whose answer is not known."""
        kept = self._read(self._path("landing", base))
        return Attempt(**kept) if kept else None

    def begin(self, attempt: Attempt) -> None:
        """Note a merge before it is asked for: on the disk, not only on its way there, before this returns."""
        self._write(self._path("landing", attempt.base), asdict(attempt))
        self.compared(attempt.number)

    def end(self, base: str) -> None:
        """The answer is known."""
        self._path("landing", base).unlink(missing_ok=True)

    def unanswered(self, attempt: Attempt) -> None:
        """Note that GitHub may still merge what it was asked to, though nobody waits for that any more."""
        self._write(self._of("late", attempt.number), asdict(attempt))

    def every_unanswered(self, base: str) -> list[Attempt]:
        """What GitHub may still merge, or has merged since."""
        kept = (self._read(path) for path in sorted(self._folder.glob("late-*.json")))
        return [attempt for attempt in (Attempt(**each) for each in kept if each) if attempt.base == base]

    def compared(self, number: PrNumber) -> None:
        """It is known what became of it, or it was asked for once more."""
        self._of("late", number).unlink(missing_ok=True)

    def freeze(self, freeze: Freeze) -> None:
        """Stop a base for good. What stopped it first stays."""
        path = self._path("frozen", freeze.base)
        if not path.exists():
            self._write(path, asdict(freeze))

    def frozen(self, base: str) -> str | None:
        """Why a base is stopped."""
        kept = self._read(self._path("frozen", base))
        return str(kept["why"]) if kept else None

    def thaw(self, base: str) -> None:
        """A person has looked."""
        self._path("frozen", base).unlink(missing_ok=True)

    def asked_again(self, number: PrNumber, run: SecondRun) -> None:
        """Note that checks are to run again, before that is asked for."""
        self._write(self._of("rerun", number), asdict(run))

    def second_run(self, number: PrNumber) -> SecondRun | None:
        """What was asked to run again last, of any head. Raises PermanentError."""
        kept = self._read(self._of("rerun", number))
        return SecondRun(**kept) if kept else None

    def refused(self, number: PrNumber, asked: PendingMerge) -> None:
        """Note what GitHub answered to a merge that it need not be asked for again."""
        self._write(self._of("asked", number), asdict(asked))

    def refusal(self, number: PrNumber, head: Sha) -> str | None:
        """What GitHub answered when it was asked to merge this head all the same; None where it was not."""
        try:
            kept = self._read(self._of("asked", number))
        except PermanentError:
            return "it was asked to merge it before"  # its answer is not known: so it is not asked again
        # An older version wrote the answer under another name.
        return str(kept.get("answer", kept.get("said"))) if kept and kept.get("head") == head else None

    def enqueue(self, number: PrNumber, queued: Queued) -> None:
        """Note that a head is put into the merge queue, before that is asked for."""
        self._write(self._of("queued", number), asdict(queued))

    def queued(self, number: PrNumber) -> Queued | None:
        """The head that we put into the merge queue last. Raises PermanentError."""
        kept = self._read(self._of("queued", number))
        return Queued(**kept) if kept else None

    def every_queued(self) -> list[PrNumber]:
        """The pull requests of which a head was put there, and nobody has looked yet what became of it."""
        found = self._folder.glob("queued-*.json")
        return sorted(PrNumber(int(number)) for path in found if (number := path.stem.partition("-")[2]).isdecimal())

    def left_the_queue(self, number: PrNumber) -> None:
        """It was looked at what became of it."""
        self._of("queued", number).unlink(missing_ok=True)

    def reviews(self, number: PrNumber, posted: PostedReviews) -> None:
        """Note what was posted of reviews, and taken back."""
        self._write(self._of("review", number), asdict(posted))

    def posted_reviews(self, number: PrNumber) -> PostedReviews:
        """What was posted of reviews. A note that can't be read is none: what stands there is found again."""
        try:
            return PostedReviews(**(self._read(self._of("review", number)) or {}))
        except PermanentError:
            return PostedReviews()

    def closed(self, number: PrNumber) -> None:
        """Forget what only matters while a pull request is open."""
        for what in ("rerun", "asked", "review"):
            self._of(what, number).unlink(missing_ok=True)

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            return files.versioned(path, (VERSION,))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PermanentError(
                f"{path} is damaged ({error}): what was asked of GitHub last is not known",
                hint="see what was merged there last, and that it is in order; then remove the file",
            ) from error

    def _write(self, path: Path, kept: dict[str, object]) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.replace(path, json.dumps({"version": VERSION, **kept}))

    def _of(self, what: str, number: PrNumber) -> Path:
        return self._folder / f"{what}-{number}.json"

    def _path(self, what: str, base: str) -> Path:
        slot = hashlib.sha256(base.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return self._folder / f"{what}-{slot}.json"
