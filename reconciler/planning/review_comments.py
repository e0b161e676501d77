"""What was written about an offered change without a yes or a no, and who is to answer it. Pure.

A conversation that nobody has resolved goes to the change's agent once for each newest comment in it; after that it is for
the one who began it to say whether the answer will do. Which comments an agent was given stands with its run; they count as
heard once a run that was given them has ended well, so that none is lost with an attempt that failed. Whatever is taken for
an agent's own answer starts no attempt, and holds the landing all the same. What we posted for a reviewer is no conversation
until somebody answers it: the verdict itself says what becomes of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta

from msgspec import Struct

from reconciler.model.desired import Comments, MergePolicy
from reconciler.model.observed import Comment, PullRequest, Run, Thread
from reconciler.model.values import replace
from reconciler.planning.messages import clean

COMMENT_MAX = 2000
TEXT_MAX = 12_000
NAMED_MAX = 3
SKEW = timedelta(minutes=2)  # between the forge's clock and ours

Item = Thread | Comment


class Discussion(Struct, frozen=True, kw_only=True):
    """What was written about one pull request, as far as it counts. `open`: the conversations that somebody still has to
    resolve; `due`: what asks for another attempt; `beside`: what only joins the next one.
    """

    open: tuple[Thread, ...] = ()
    due: tuple[Item, ...] = ()
    beside: tuple[Comment, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """The comments that `text` holds."""
        found = (each.comments if isinstance(each, Thread) else (each,) for each in self._fitting)
        return tuple(comment.id for comments in found for comment in comments)

    @property
    def text(self) -> str:
        """As much of it for an agent as a prompt bears; the rest is for its next attempt. Empty where nobody wrote any."""
        return "\n\n".join(map(_quoted, self._fitting))

    @property
    def summary(self) -> str:
        """What asks for another attempt, in a few words."""
        return listed(self.due)

    @property
    def awaited(self) -> str:
        """Whose word is awaited about what, in a few words."""
        return listed(self.open)

    @property
    def _fitting(self) -> tuple[Item, ...]:
        items: list[Item] = []
        left = TEXT_MAX
        for each in (*self.due, *self.beside):
            left -= len(_quoted(each))
            if left < 0 and items:
                break
            items.append(each)
        return tuple(items)


def discussion_of(pull: PullRequest, policy: MergePolicy, runs: Iterable[Run]) -> Discussion:
    """What was written about a pull request, and not yet heard by one of these runs of its task."""
    if policy.comments is Comments.IGNORE:
        return Discussion()
    runs = tuple(runs)
    bots = {login.lower() for login in policy.review_bots}
    threads = tuple(thread for each in pull.threads if (thread := _counting(each, bots)))
    if policy.comments is Comments.WAIT or pull.aside:  # what a person keeps from landing gets no agent
        return Discussion(open=threads)
    heard = {id for run in runs if _heard(run) for id in run.heard}
    fresh = [
        each
        for each in pull.remarks
        if _counts(each, bots) and each.id not in heard and not _by_its_agent(each, pull, runs)
    ]
    # A person's yes to exactly this head is worth more than what any bot has against it.
    asking = [each for each in fresh if each.by.lower() in bots and pull.approved != pull.head]
    return Discussion(
        open=threads,
        due=(
            *(thread for thread in threads if _asks(_newest(thread, pull, runs), heard)),
            *asking,
        ),
        beside=tuple(each for each in fresh if each not in asking),
    )


def _counting(thread: Thread, bots: Collection[str]) -> Thread | None:
    """The thread with the comments that count; None where nobody but us has one."""
    comments = tuple(each for each in thread.comments if _counts(each, bots))
    if all(each.ours for each in comments):
        return None
    return replace(thread, comments=comments)


def _asks(newest: Comment, heard: Collection[str]) -> bool:
    return not newest.ours and newest.id not in heard


def _counts(comment: Comment, bots: Collection[str]) -> bool:
    return not comment.bot or comment.by.lower() in bots


def _newest(thread: Thread, pull: PullRequest, runs: Sequence[Run]) -> Comment:
    """The newest comment that is no answer of the agent's own. What began a thread never is."""
    first, *replies = thread.comments
    return next((each for each in reversed(replies) if not _by_its_agent(each, pull, runs)), first)


def _by_its_agent(comment: Comment, pull: PullRequest, runs: Sequence[Run]) -> bool:
    """True for what the login that opened the pull request wrote while a run lived: agents that answer use it."""
    return comment.by == pull.author and any(_lived(run, comment) for run in runs)


def _lived(run: Run, reply: Comment) -> bool:
    if run.started_at is None:
        return False
    ended = run.exit.at if run.exit else None if run.alive else run.last_progress_at or run.started_at
    return run.started_at - SKEW <= reply.at and (ended is None or reply.at <= ended + SKEW)


def _heard(run: Run) -> bool:
    """True for a run that is running on what it was given, or ended well."""
    return run.alive or (run.exit is not None and run.exit.well and not (run.report and run.report.fault))


def listed(items: Sequence[Item]) -> str:
    """Conversations by their places and who began them, and reviews by whose they are, in a few words."""
    return "; ".join(map(_named, items[:NAMED_MAX])) + (" …" if len(items) > NAMED_MAX else "")


def _named(item: Item) -> str:
    if isinstance(item, Comment):
        return f"a {'review' if item.review else 'comment'} by {clean(item.by)}"
    return f"{_place(item)} ({clean(item.comments[0].by)})"


def _place(thread: Thread) -> str:
    return clean(thread.path) + (f":{thread.line}" if thread.line else "")


def _quoted(item: Item) -> str:
    if isinstance(item, Comment):
        return f"{clean(item.by)}:\n{_body(item)}"
    return "\n".join((f"At {_place(item)}", *(f"{clean(each.by)}: {_body(each)}" for each in item.comments)))


def _body(comment: Comment) -> str:
    text = clean(comment.text).strip()
    return text if len(text) <= COMMENT_MAX else f"{text[:COMMENT_MAX]} …"
