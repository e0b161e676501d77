"""GitHub's own merge queue: a head is put there once, it is followed by what every look shows, and what came of it is compared.

The queue merges what it tested, together with others that nobody here knew. So a landed commit is compared with what git here
makes of the head and of what that commit stands on: a queue has been seen to merge what undid the work of others.
"""

from __future__ import annotations

import json

from reconciler.forges.github.gh import Gh
from reconciler.forges.github.landing import Merges
from reconciler.forges.github.look import Look
from reconciler.forges.github.notes import Queued
from reconciler.forges.github.pull import Pull
from reconciler.git.ancestry import contains
from reconciler.git.commands import Git
from reconciler.landing.candidates import Candidates
from reconciler.landing.remotes import Remotes
from reconciler.model.errors import ChangedError, ReconcileError, TemporaryError
from reconciler.model.names import PrNumber, Sha
from reconciler.model.observed import Candidate, PullRequest
from reconciler.model.values import replace


class MergeQueue:
    """The merge queues of the bases of one repository. `merges`: whose notes are shared."""

    def __init__(self, git: Git, gh: Gh, look: Look, remotes: Remotes, candidates: Candidates, merges: Merges) -> None:
        self._git, self._gh, self._look, self._remotes, self._candidates = git, gh, look, remotes, candidates
        self._notes, self._freezes = merges.notes, merges.freezes

    def enter(self, number: PrNumber, head: Sha) -> None:
        """Put a pull request there whose head still is `head`; no matter who has put it there, it is there once."""
        with self._git.writing("github-landing"):
            pull = self._look.one(number)
            if pull is None or not pull.open or pull.head != head:
                raise ChangedError(f"#{number} is not open at {head[:12]} any more", hint="it is judged again")
            if frozen := self._freezes.why(pull.base):
                raise TemporaryError(frozen, delay=300.0)
            if pull.queued:
                return
            self._notes.enqueue(number, self._once_more(pull))
            try:
                self._gh.graphql(_enqueue(pull.node, head))
            except ReconcileError:
                # Only a look tells: the answer may have been lost, or somebody was first.
                now = self._look.one(number)
                if now and (now.queued or now.landed):
                    return
                raise
            self._look.stale()

    def seen(self, pull: Pull, seen: PullRequest) -> PullRequest:
        """What is shown of a pull request, with what is known here of its way through the queue."""
        kept = self._notes.queued(pull.number)
        if kept is None or kept.head != pull.head:
            return replace(seen, removed=None)
        return replace(seen, queued_times=kept.times, removed=pull.removed if _taken_out(pull, kept) else None)

    def pending(self, base: str) -> bool:
        """True while something that the queue has merged is to be compared."""
        return any(pull.base == base for pull in self._merged())

    def settle(self, base: str) -> None:
        """Compare what the queue has merged since the last time."""
        if not self.pending(base):
            return
        with self._git.writing("github-landing"):
            for pull in self._merged():
                if pull.base == base and pull.landed:
                    self._compare(pull, pull.landed)
                    self._notes.left_the_queue(pull.number)

    def _once_more(self, pull: Pull) -> Queued:
        before = self._notes.queued(pull.number)
        times = before.times if before and before.head == pull.head else 0
        # Noted, and never asked for: a program that was killed in between has not used up anything.
        if before and times and not _taken_out(pull, before):
            times -= 1
        return Queued(base=pull.base, head=pull.head, times=times + 1, after=_last_out(pull))

    def _merged(self) -> list[Pull]:
        pulls = self._look.last.pulls
        known = (pulls.get(number) for number in self._notes.every_queued())
        return [pull for pull in known if pull and pull.landed]

    def _compare(self, pull: Pull, commit: Sha) -> None:
        kept = self._notes.queued(pull.number)
        tip = self._remotes.head(pull.base, near=commit, fresh=True)
        if kept is None or kept.head != pull.head or tip is None or not contains(self._git, tip, commit, absent=True):
            return  # a person has moved the base, or put another head there: not ours to judge
        tree = self._one("rev-parse", "--verify", f"{commit}^{{tree}}")
        if any(self._makes(below, pull.head) == tree for below in self._below(commit, pull.head)):
            return
        why = f"nothing more lands on {pull.base}: the merge queue merged #{pull.number} as {commit[:12]}, which is not what it"
        why += " makes of what was there before"
        self._freezes.stop(pull.base, why)

    def _below(self, commit: Sha, head: Sha) -> list[Sha]:
        """What it may stand on: its parent, or, where its own commits were put there one by one, what is below these."""
        line = self._one("rev-list", "--first-parent", "--max-count=2", commit).split()
        own = int(self._one("rev-list", "--count", "--no-merges", head, f"^{commit}"))
        found = line[1:]
        if own > 1:
            found += self._one("rev-list", "--first-parent", f"--skip={own}", "--max-count=1", commit).split()
        return [Sha(sha) for sha in found]

    def _makes(self, below: Sha, head: Sha) -> str | None:
        made = self._candidates.judge(below, head)
        return made.tree if isinstance(made, Candidate) else None

    def _one(self, *args: str) -> str:
        return self._git.objects(*args).text.strip()


def _taken_out(pull: Pull, kept: Queued) -> bool:
    """True where it was taken out since it was put there."""
    last = pull.removed
    # By its time, as notes of earlier versions have it.
    return not pull.queued and kept.after not in ((last.event, last.at.isoformat()) if last else ("",))


def _last_out(pull: Pull) -> str:
    return pull.removed.event if pull.removed else ""


def _enqueue(node: str, head: Sha) -> str:
    """The mutation that puts a pull request into the queue of its base."""
    asked = f"pullRequestId: {json.dumps(node)}, expectedHeadOid: {json.dumps(head)}"
    return f"mutation {{ enqueuePullRequest(input: {{ {asked} }}) {{ mergeQueueEntry {{ position }} }} }}"
