"""Pull requests as refs: `refs/reconcile/pr/<n>` names a commit whose message is the record and whose parent is the head.

The parent keeps the work from being collected. Every change is a compare-and-swap on that ref.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from reconciler.forges.local.closed import ClosedPulls
from reconciler.git import objects, refs, update_ref
from reconciler.git.commands import Git, Refs
from reconciler.git.identity import identity
from reconciler.git.ref_cache import RefCache
from reconciler.git.refs import HEADS
from reconciler.git.update_ref import Move
from reconciler.landing.signature import Signature
from reconciler.model import pull_records as records
from reconciler.model.errors import ChangedError, PermanentError
from reconciler.model.names import BRANCH_PREFIX, PULL_REQUEST_REFS, PrNumber, Sha, TaskId, branch_of, pull_request_ref
from reconciler.model.observed import PullRequest
from reconciler.model.pull_records import PersonReview, PullRecord, StoredPull, Verdict
from reconciler.model.values import replace

_TRIES = 20
_NOTHING = Sha("0" * 40)
_MOST = 10**9  # numbers from there on somebody made up
_NUMBERED = re.compile(re.escape(PULL_REQUEST_REFS) + r"[1-9][0-9]{0,17}")


class Pulls:
    """The pull requests of one repository."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self._copies = git.repository.state / "records"
        self._stored = RefCache(git, _stored, self._copies)
        self.damaged: Mapping[PrNumber, PermanentError] = {}  # records that can't be read
        self._newest: tuple[object, Mapping[TaskId, PullRequest]] | None = None
        self._closed = ClosedPulls(f"{git.repository.state}/closed-pulls")

    def newest(self) -> Mapping[TaskId, PullRequest]:
        """The newest pull request of every task that has one."""
        rows = self._rows()
        if self._newest is None or self._newest[0] != rows:
            self._newest = rows, {pull.task: pull for pull in self._seen(rows)}
        return self._newest[1]

    def every(self) -> tuple[tuple[PullRecord, PullRequest], ...]:
        """Every pull request, oldest first: what is kept about it, and what that and its branch make together."""
        return self._every(self._rows())

    def show(self, number: PrNumber) -> StoredPull:
        """One pull request. Raises PermanentError when there is none, or when its record is damaged."""
        found = self._read(ref := pull_request_ref(number))
        if not found and (unread := self._read_of(refs.plain(self._git, ref))[1].get(ref)):
            raise unread
        if not found:
            raise PermanentError(f"there is no pull request #{number}", hint="'reconcile pr list' names them all")
        return found[0]

    def open(self, task: TaskId, head: Sha, title: str, body: str) -> PrNumber:
        """Open the pull request of `task`, or find the open one."""
        for _ in range(_TRIES):
            with self._git.writing() as lock:
                self._expect_branch(task, head)
                closed, others = self._closed.among(self._named(PULL_REQUEST_REFS))
                every = self._whole(others)
                found = next((kept for kept in every if kept.record.task == task and kept.record.open), None)
                if found:
                    return found.record.number
                used = (*closed, *(kept.record.number for kept in every))
                number = PrNumber(max((n for n in (*used, *self.damaged) if n < _MOST), default=0) + 1)
                record = PullRecord(
                    number=number,
                    task=task,
                    title=title,
                    body=body,
                    head=head,
                    opened_head=head,
                    opened_at=datetime.now(UTC),
                )
                if self._create(record, lock):
                    return number
        raise ChangedError(f"{task}: pull requests are being opened faster than this one can be")

    def close(self, number: PrNumber, *, declined: bool, merged: bool) -> None:
        """Close a pull request; one that is closed already stays as it is."""
        with self._git.writing() as lock:
            kept = self.show(number)
            closed = kept.record.closed(datetime.now(UTC), declined=declined, merged=merged)
            self._put(kept, self._with_head(closed), lock)

    def review(self, number: PrNumber, head: Sha, verdict: Verdict, text: str = "") -> None:
        """Record a person's verdict on `head`, which must still be the head of the branch."""
        with self._git.writing() as lock:
            kept = self.show(number)
            if not kept.record.open:
                raise PermanentError(f"#{number} is {kept.record.state}", hint="only an open pull request is reviewed")
            self._expect_branch(kept.record.task, head)
            by = "{} <{}>".format(*identity(self._git))
            review = PersonReview(verdict=verdict, head=head, by=by, at=datetime.now(UTC), text=text)
            self._put(kept, replace(kept.record.reviewed(review), head=head), lock, pinned=True)

    def landing(self, kept: StoredPull, head: Sha, commit: Sha, method: str) -> Move:
        """The move that records, in the transaction that moves the base, that `commit` carries `head` to it."""
        merged = kept.record.closed(datetime.now(UTC), declined=False, merged=True)
        record = replace(merged, head=head, landed=commit, method=method)
        return Move(kept.ref, kept.commit, self._write(record))

    def _with_head(self, record: PullRecord) -> PullRecord:
        head = refs.head_of(self._git, HEADS + record.branch)
        return replace(record, head=head) if head and not record.landed else record

    def _expect_branch(self, task: TaskId, head: Sha) -> None:
        branch = branch_of(task)
        now = refs.head_of(self._git, HEADS + branch)
        if now != head:
            at = now[:12] if now else "gone"
            raise ChangedError(f"{task}: the head of {branch} is {at}, not {head[:12]}", hint="look at it again")

    def _create(self, record: PullRecord, lock: int) -> bool:
        ref = pull_request_ref(record.number)
        pin = Move(HEADS + record.branch, record.head)
        try:
            update_ref.move(self._git, (pin, Move(ref, None, self._write(record))), f"open #{record.number}", lock)
        except ChangedError:
            if refs.head_of(self._git, ref) is None:
                raise
            return False
        return True

    def _put(self, kept: StoredPull, record: PullRecord, lock: int, *, pinned: bool = False) -> None:
        if replace(record, head=kept.record.head) == kept.record:
            return
        pin = (Move(HEADS + record.branch, record.head),) if pinned else ()
        moves = (*pin, Move(kept.ref, kept.commit, self._write(record)))
        update_ref.move(self._git, moves, f"change #{record.number}", lock)

    def _write(self, record: PullRecord) -> Sha:
        by = Signature(*identity(self._git), f"@{int(datetime.now(UTC).timestamp())} +0000")
        (head,) = objects.commits(self._git, record.head)
        text = records.encode(record)
        parents = (record.head,)
        return objects.write_commit(
            self._git, head.tree, parents, author=by.line, committer=by.line, text=text, copies=self._copies
        )

    def _rows(self) -> tuple[Refs, Refs]:
        return self._named(PULL_REQUEST_REFS), self._named(HEADS + BRANCH_PREFIX)

    def _every(self, rows: tuple[Refs, Refs]) -> tuple[tuple[PullRecord, PullRequest], ...]:
        kept = {stored.record.number: stored for stored in self._whole(rows[0])}
        return tuple((stored.record, pull) for stored, pull in self._standing(kept, rows[1]))

    def _seen(self, rows: tuple[Refs, Refs]) -> list[PullRequest]:
        """Every pull request, oldest first. Its cost is one of what is open, but for a few steps for each of the others."""
        closed, others = self._closed.among(rows[0])
        kept = {stored.record.number: stored for stored in self._whole(others)}
        found = [(stored, pull) for stored, pull in self._standing(kept, rows[1])]
        # What is closed does not follow its branch: it is the same at every look.
        done = {stored.ref: (stored.commit, pull) for stored, pull in found if not stored.record.open}
        if done:
            self._closed.note(done, rows[0])
            self._stored.forget((ref, commit) for ref, (commit, _) in done.items())
        return [pull for _, pull in sorted({**closed, **{pull.number: pull for _, pull in found}}.items())]

    def _standing(self, kept: dict[PrNumber, StoredPull], branches: Refs) -> Iterator[tuple[StoredPull, PullRequest]]:
        heads = {TaskId(ref.removeprefix(HEADS + BRANCH_PREFIX)): sha for ref, (sha, _) in branches.items()}
        gone = [number for number, each in kept.items() if each.record.open and each.record.task not in heads]
        # One that landed between the two looks lost its branch too: only a record that still is open was declined.
        again = (self._read(pull_request_ref(number)) for number in gone)
        kept = {**kept, **{stored.record.number: stored for found in again for stored in found}}
        for _, stored in sorted(kept.items()):
            record = stored.record
            # Where a branch can't be read it is not known how its open pull request stands: it is not listed at all.
            if not (record.open and heads.get(record.task) == _NOTHING):
                yield stored, record.seen(heads.get(record.task) if record.open else None)

    def _read(self, pattern: str) -> list[StoredPull]:
        return self._decoded(refs.plain(self._git, pattern))

    def _decoded(self, rows: Refs) -> list[StoredPull]:
        # A name that is no number of a pull request is none of ours.
        return list(self._read_of(rows)[0].values())

    def _read_of(self, rows: Refs) -> tuple[dict[str, StoredPull], dict[str, PermanentError]]:
        named = {ref: sha for ref, (sha, _) in rows.items() if _NUMBERED.fullmatch(ref)}
        found, damaged = self._stored.by((ref, sha) for ref, sha in named.items() if sha != _NOTHING)
        for ref in (ref for ref, sha in named.items() if sha == _NOTHING):
            file = self._git.repository.common / ref  # git itself takes no such ref away
            damaged[ref] = PermanentError(f"git calls {ref} broken", hint=f"rm {shlex.quote(str(file))}")
        return found, damaged

    def _named(self, prefix: str) -> Refs:
        """Every ref that is called so; one that git can't read names no object."""
        rows, broken = refs.readable(self._git, prefix)
        return {**rows, **dict.fromkeys(broken, (_NOTHING, False))} if broken else rows

    def _whole(self, rows: Refs) -> list[StoredPull]:
        """Every record that can be read; the others are in `damaged`."""
        found, damaged = self._read_of(rows)
        self.damaged = {PrNumber(int(ref.removeprefix(PULL_REQUEST_REFS))): error for ref, error in damaged.items()}
        return list(found.values())


def _stored(ref: str, commit: Sha, found: objects.GitObject) -> StoredPull:
    number = PrNumber(int(ref.removeprefix(PULL_REQUEST_REFS)))
    try:
        if found.kind != "commit":
            raise ValueError(f"it names a {found.kind}")
        return StoredPull(
            records.decode(found.content.partition(b"\n\n")[2].decode("utf-8", "replace"), number), commit
        )
    except ValueError as error:
        raise PermanentError(
            f"the record of pull request #{number} is damaged: {error}",
            hint=f"look at it with 'git show {ref}', then remove it with 'git update-ref -d {ref}'",
        ) from error
