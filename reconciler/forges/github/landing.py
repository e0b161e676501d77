"""Landing on GitHub: by its own merge, asked for once, with the head that was judged, and read back whatever the answer was; or
by a push of what was tested.

GitHub compares the head, but no one can tell it which base was judged. So what became of the base is looked at as soon
as the merge is known: the tree that landed must be the tree that passed. Where it is not, nothing more lands on that base
until a person has looked. A push names the base that was judged, and takes several at once.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

from reconciler.forges.github import words
from reconciler.forges.github.answers import NOT_YET_S
from reconciler.forges.github.freezes import Freezes
from reconciler.forges.github.gh import Gh
from reconciler.forges.github.look import Look
from reconciler.forges.github.merge_requests import AGAIN_S, MergeRequests, at_work
from reconciler.forges.github.notes import Attempt, Notes
from reconciler.forges.github.pull import Pull
from reconciler.git.ancestry import contains
from reconciler.git.commands import Git
from reconciler.git.identity import identity
from reconciler.landing import commits, message, squash
from reconciler.landing.commits import Commits
from reconciler.landing.message import inert
from reconciler.landing.remotes import Remotes
from reconciler.model.desired import LandingMode, MergeMethod
from reconciler.model.errors import ChangedError, PermanentError, ReconcileError, TemporaryError
from reconciler.model.names import Sha
from reconciler.model.observed import CheckResult, PullState
from reconciler.model.ports import LandOrder
from reconciler.model.values import replace

_REJECTED = "[remote rejected]"
# What it says that it merged is on the base at once; what is not there so long after was taken back.
TAKEN_BACK = timedelta(minutes=10)


class Merges:
    """Has GitHub merge, or pushes what was merged here: one landing at a time per repository."""

    def __init__(self, git: Git, gh: Gh, look: Look, remotes: Remotes, made: Commits) -> None:
        self._git, self._look, self._remotes, self._made = git, look, remotes, made
        self.notes = Notes(git.repository.state / "github")
        self.freezes = Freezes(gh, look, self.notes)
        self._requests = MergeRequests(gh, look, self.notes)
        # By base: why a push to it was refused, though its rules say nothing against it.
        self.refused: dict[str, str] = {}

    def land(self, order: LandOrder) -> Sha:
        """Land what was judged, and what is beneath it; the landed commit. Raises PermanentError where it is not the judged tree."""
        with self._git.writing("github-landing") as lock:
            if (unheard := self._unheard(order)) is None:
                self._settle(order.base)
            if frozen := self.freezes.why(order.base):
                raise TemporaryError(frozen, delay=300.0)
            self._judged(order)
            self._judged_base(order)
            if unheard:
                return self._landed(unheard, self._asked(order, unheard, again=True))
            pushed = self._made.or_tested(self.commit(order), order.tested) if order.how is LandingMode.CAS else None
            attempt = Attempt.of(order, datetime.now(UTC), pushed)
            self.notes.begin(attempt)
            if attempt.pushed:
                return self._push(attempt, attempt.pushed, lock)
            return self._landed(attempt, self._asked(order, attempt))

    def _unheard(self, order: LandOrder) -> Attempt | None:
        """The note of this very merge, where GitHub may have been asked for it just now and nobody has heard its answer."""
        noted = self.notes.attempt(order.base)
        if noted is None or noted.uuid or order.how is LandingMode.CAS or not at_work(noted):
            return None
        return noted if Attempt.of(order, noted.asked_at) == noted else None

    def settle(self, base: str) -> None:
        """Learn what became of a merge whose answer nobody has heard."""
        if self.pending(base):
            with self._git.writing("github-landing"):
                self._settle(base)
                for attempt in self._late(base):
                    self._compare_late(attempt)

    def pending(self, base: str) -> bool:
        """True while the answer to a merge on this base is not known, or one that nobody waited for any more is to be compared."""
        return self.notes.attempt(base) is not None or bool(self._late(base))

    def _late(self, base: str) -> list[Attempt]:
        """The merges whose answers were lost, and that GitHub has come to since, or never will."""
        pulls = self._look.last.pulls
        known = ((attempt, pulls.get(attempt.number)) for attempt in self.notes.every_unanswered(base))
        return [attempt for attempt, pull in known if pull and not (pull.open and pull.head == attempt.head)]

    def _compare_late(self, attempt: Attempt) -> None:
        """Compare what landed after all, whatever the base was by then; one that never will is forgotten."""
        pull = self._look.last.pulls[attempt.number]
        if pull.landed and pull.head == attempt.head and not self._taken_back(attempt, pull.landed):
            with suppress(PermanentError):  # the base is stopped by that, and says why
                self._landed(attempt, pull.landed)
        self.notes.compared(attempt.number)

    def _settle(self, base: str) -> None:
        attempt = self.notes.attempt(base)
        if attempt is None:
            return
        if attempt.pushed:
            self._settle_push(attempt, attempt.pushed)
            return
        pull = self._look.one(attempt.number)
        if pull and pull.landed and pull.head == attempt.head:
            if self._taken_back(attempt, pull.landed):
                self.notes.end(attempt.base)
            else:
                self._landed(attempt, pull.landed)
            return
        if pull and pull.open and attempt.uuid:
            if commit := self._result(attempt):
                self._landed(attempt, commit)
            elif self.notes.attempt(base):
                self.notes.end(base)
            return
        if pull and pull.open and pull.head == attempt.head and (left := at_work(attempt)):
            raise TemporaryError(f"whether #{attempt.number} was merged is not known yet", delay=min(left, AGAIN_S))
        if pull and pull.open and pull.head == attempt.head:
            self.notes.unanswered(attempt)  # it may be at work on it still, in the background
        self.notes.end(base)

    def _result(self, attempt: Attempt) -> Sha | None:
        """What became of a merge in the background. Raises TemporaryError while it is at work; refused, nothing did."""
        try:
            return self._requests.result(attempt)
        except ReconcileError:
            if self.notes.attempt(attempt.base):
                raise
            return None

    def _judged(self, order: LandOrder) -> None:
        """Look once more at all that lands, its heads and what was written about it: at once, however many they are."""
        before = self._look.last.pulls
        now = self._look.these([each.number for each in order.whole])
        for each in order.whole:
            pull = now.get(each.number)
            if pull is None or pull.task != each.task:
                raise ChangedError(f"{each.task}: #{each.number} is not its pull request")
            if why := _worse(before.get(each.number), pull, each, doubted=self.doubted(pull)):
                self._look.stale()
                raise ChangedError(f"{each.task}: {why}", hint="it is judged again")

    def _judged_base(self, order: LandOrder) -> None:
        base = self._remotes.head(order.base, near=order.expected.base, fresh=True)
        if base != order.expected.base:
            self._look.stale()
            raise ChangedError(f"{order.task}: {order.base} is not at {order.expected.base[:12]} any more")

    def doubted(self, pull: Pull) -> bool:
        """True where GitHub says that a rule is not met, none is seen that is not, and nobody has asked it to merge yet."""
        return pull.doubted and self.notes.refusal(pull.number, pull.head) is None

    # --- by a push -----------------------------------------------------------------------------------------

    def commit(self, order: LandOrder) -> Sha:
        """The commit that is pushed, made of all that lands: each says what GitHub's own would."""
        named = [
            replace(each, title=f"{inert(each.title)} (#{each.number})", body=inert(each.body)) for each in order.whole
        ]
        return self._made.make(replace(named[-1], beneath=tuple(named[:-1])))[-1]

    def _push(self, attempt: Attempt, new: Sha, lock: int) -> Sha:
        """Move the base there. Git inherits the lock: no later landing begins while a push of ours may still be on its way."""
        try:
            self._remotes.push(attempt.base, attempt.old, new, lock)
        except ReconcileError as error:
            refused = isinstance(error, PermanentError) or _REJECTED in str(error)
            if refused or isinstance(error, ChangedError):
                self.notes.end(attempt.base)
                self._look.stale(rules_too=True)
            if refused:
                self.refused[attempt.base] = str(error)
                raise TemporaryError(str(error), delay=NOT_YET_S, hint=error.hint) from error
            raise
        self._arrived(attempt, new)
        return new

    def _settle_push(self, attempt: Attempt, new: Sha) -> None:
        tip = self._remotes.head(attempt.base, near=attempt.old, fresh=True)
        if tip and self._here(new) and contains(self._git, tip, new, absent=True):
            self._arrived(attempt, new)
        else:
            # Should it be on its way there after all: the next one names the base that it expects, and only one arrives.
            self.notes.end(attempt.base)

    def _arrived(self, attempt: Attempt, new: Sha) -> None:
        tip = self._remotes.head(attempt.base, near=attempt.old, fresh=True)
        if tip:
            self._look.moved(attempt.base, tip)
        self._look.stale()  # GitHub calls merged by itself what is on the base now
        tree = self._one("rev-parse", "--verify", f"{new}^{{tree}}")
        if tree != attempt.tree:
            raise self._stopped(attempt, new, tree)
        self.notes.end(attempt.base)

    # --- by GitHub's merge ---------------------------------------------------------------------------------

    def _asked(self, order: LandOrder, attempt: Attempt, *, again: bool = False) -> Sha:
        """The commit that GitHub says it made; the note is taken back where it says that it made none."""
        title, body = order.title, order.body
        if order.method is MergeMethod.SQUASH:
            # It is put down to the one who opened the pull request: us.
            own = commits.own(self._git, attempt.old, attempt.head)
            title, body = squash.words(order, own, identity(self._git)[1])
        text = words.message(title, body, order.task, attempt.head, order.number)
        return self._requests.merged(attempt, *text, again=again)

    def _landed(self, attempt: Attempt, commit: Sha) -> Sha:
        """Compare what landed with what was judged, at once; and remember that it landed."""
        tip = self._remotes.head(attempt.base, near=attempt.old, fresh=True)
        self._note(attempt, commit)
        if tip:
            self._look.moved(attempt.base, tip)
        if tip is None or not contains(self._git, tip, commit, absent=True):
            raise TemporaryError(
                f"#{attempt.number} is merged as {commit[:12]}, but not there to be fetched yet", delay=5.0
            )
        tree = self._one("rev-parse", "--verify", f"{commit}^{{tree}}")
        if tree != attempt.tree and not self._somebody_elses(attempt, commit):
            raise self._stopped(attempt, commit, tree)
        self.notes.end(attempt.base)
        return commit

    def _taken_back(self, attempt: Attempt, commit: Sha) -> bool:
        """True where a person has moved the base to where it was before, or away: nothing is there to be compared."""
        if datetime.now(UTC) - attempt.asked_at < TAKEN_BACK:
            return False
        tip = self._remotes.head(attempt.base, near=attempt.old, fresh=True)
        return tip is None or not contains(self._git, tip, commit, absent=True)

    def _somebody_elses(self, attempt: Attempt, commit: Sha) -> bool:
        """True where not we had it merged: then they decided that it may land as it did. A rebase bears no mark of ours."""
        marked = f"{message.HEAD}: {attempt.head}" in self._one("log", "-1", "--format=%B", commit)
        return attempt.method != "rebase" and not marked

    def _stopped(self, attempt: Attempt, commit: Sha, tree: str) -> PermanentError:
        why = (
            f"nothing more lands on {attempt.base}: #{attempt.number} landed there as {commit[:12]} with the tree "
            f"{tree[:12]}, but {attempt.tree[:12]} is what was judged"
        )
        between = int(self._one("rev-list", "--count", "--first-parent", commit, f"^{attempt.old}")) - 1
        if between and attempt.method != "rebase":
            # The usual way to get there: somebody pushed in the moment between our look and the merge.
            why += f" ({between} commit(s) came to {attempt.base} in between, and were never tested together with it)"
        stopped = self.freezes.stop(attempt.base, why)
        self.notes.end(attempt.base)
        return stopped

    def _note(self, attempt: Attempt, commit: Sha) -> None:
        from_before = self._look.last.pulls.get(attempt.number)
        if from_before:
            self._look.note(_merged(from_before, commit))

    def _here(self, commit: Sha) -> bool:
        return self._git.objects("cat-file", "-e", commit, ok=(0, 1, 128)).code == 0

    def _one(self, *args: str) -> str:
        return self._git.objects(*args).text.strip()


def _worse(before: Pull | None, now: Pull, order: LandOrder, *, doubted: bool) -> str | None:
    """What has changed for the worse since it was judged; None where nothing has."""
    number, head = f"#{now.number}", order.expected.head
    if now.state is not PullState.OPEN:
        return f"{number} is {now.state}"
    if now.head != head:
        return f"the head of {number} is {now.head[:12]}, not {head[:12]}, which was judged"
    if now.base != order.base:
        return f"{number} is on its way to {now.base}"
    if now.merge_state == "BEHIND":
        return f"{number} lacks what landed on {order.base} since"
    # Somebody with the rights of an administrator would be let through where the rules say no.
    if not doubted and (why := now.withheld()):
        return f"{number} is not to be merged yet: {why}"
    if before is None or before.head != head:
        return None
    # Also of what was written about an older head: it may hold for this one.
    if _standing(now) != _standing(before):
        return f"what people say about {number} has changed"
    # What was not green then was no reason against it, as long as it was there to be judged.
    judged = {check.name for check in before.checks if check.result is not CheckResult.PASSED}
    new = sorted({check.name for check in now.checks if check.result is not CheckResult.PASSED} - judged)
    return f"{', '.join(new)} does not pass on {number}, or not yet" if new else None


def _standing(pull: Pull) -> tuple[object, ...]:
    return pull.draft, pull.queued, pull.automatic, pull.opinions, pull.decision, pull.threads


def _merged(pull: Pull, commit: Sha) -> Pull:
    closed_at = pull.closed_at or datetime.now(UTC)
    return replace(pull, state=PullState.MERGED, landed=commit, closed_at=closed_at, left=pull.head)
