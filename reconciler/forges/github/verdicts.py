"""Verdicts given here, by `reconcile approve`, `reject` and `merge`, about heads of pull requests that live on GitHub.

`refs/reconcile/review/<number>` names a commit whose message is one line of JSON and whose parent is the head that was
spoken of last. Every change is a compare-and-swap on that ref.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from msgspec import ValidationError, convert, to_builtins

from reconciler.git import objects, refs, update_ref
from reconciler.git.commands import Git
from reconciler.git.identity import identity
from reconciler.git.objects import GitObject
from reconciler.git.ref_cache import RefCache
from reconciler.git.update_ref import Move
from reconciler.landing.signature import Signature
from reconciler.model.errors import ChangedError, PermanentError
from reconciler.model.names import REVIEW_REFS, PrNumber, Sha
from reconciler.model.observed import Rejection
from reconciler.model.ports import LandOrder
from reconciler.model.pull_records import PersonReview, Verdict, standing

VERSION = 1
_NAMED = re.compile(re.escape(REVIEW_REFS) + r"[1-9][0-9]{0,17}")

Reviews = tuple[PersonReview, ...]
"""Oldest first."""


class Verdicts:
    """The reviews of one repository. Safe to share between threads."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self._said = RefCache(git, _reviews)
        self.damaged: Mapping[PrNumber, PermanentError] = {}  # of which it is not known what was written

    def all(self) -> Mapping[PrNumber, Reviews]:
        """Every verdict and order, by pull request."""
        named = [(ref, sha) for ref, (sha, _) in refs.plain(self._git, REVIEW_REFS).items() if _NAMED.fullmatch(ref)]
        reviews, damaged = self._said.by(named)
        self.damaged = {PrNumber(int(ref.removeprefix(REVIEW_REFS))): error for ref, error in damaged.items()}
        return {PrNumber(int(ref.removeprefix(REVIEW_REFS))): what for ref, what in reviews.items()}

    def heed(self, order: LandOrder) -> None:
        """Raise for an order that holds what a person said 'no' to, or of which the record can't be read."""
        reviews = self.all()
        for each in order.whole:
            if unread := self.damaged.get(each.number):
                raise unread
            if rejection(reviews.get(each.number, ()), each.expected.head):
                raise ChangedError(f"{each.task}: {each.expected.head[:12]} was rejected")

    def add(self, number: PrNumber, head: Sha, verdict: Verdict, text: str = "") -> None:
        """Record a person's verdict on a head."""
        ref = f"{REVIEW_REFS}{number}"
        with self._git.writing() as lock:
            before = refs.head_of(self._git, ref)
            known = self.all().get(number, ())
            last = next((review for review in reversed(known) if review.head == head), None)
            if last and (last.verdict, last.text) == (verdict, text):
                return
            by = "{} <{}>".format(*identity(self._git))
            review = PersonReview(verdict=verdict, head=head, by=by, at=datetime.now(UTC), text=text)
            update_ref.move(
                self._git, (Move(ref, before, self._write((*known, review), head)),), f"review #{number}", lock
            )

    def _write(self, reviews: Reviews, head: Sha) -> Sha:
        by = Signature(*identity(self._git), f"@{int(datetime.now(UTC).timestamp())} +0000").line
        (spoken_of,) = objects.commits(self._git, head)
        text = json.dumps({"version": VERSION, "reviews": to_builtins(reviews)})
        return objects.write_commit(self._git, spoken_of.tree, (head,), author=by, committer=by, text=text)


def rejection(reviews: Reviews, head: Sha) -> Rejection | None:
    """The 'no' to this head, where it stands."""
    if Verdict.REJECTED not in standing(reviews, head):
        return None
    given = (each for each in reversed(reviews) if each.head == head and each.verdict is Verdict.REJECTED)
    return Rejection(head=head, text=next(given).text)


def _reviews(ref: str, name: Sha, stored: GitObject) -> Reviews:
    try:
        kept = json.loads(objects.commit(name, stored).text)
        if kept["version"] != VERSION:
            raise ValueError("written by another version of this program")
        return convert(kept["reviews"], Reviews)
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        # A 'no' that can't be read must not be taken for none.
        raise PermanentError(
            f"what was written about a pull request is damaged ({error})",
            hint=f"look at it with 'git show {ref}', then remove it with 'git update-ref -d {ref}'",
        ) from error
