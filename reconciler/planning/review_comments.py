"""What was said about an offered change without a yes or a no, and who is to answer it. Pure.

A conversation that nobody has resolved goes to the change's agent once for each newest comment in it; after that it is for
whoever began it to say whether the answer will do. Which comments an agent was given stands with its run, so that nothing
is handed over twice, and nothing is lost with a run that never got to it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from reconciler.model.desired import Comments, MergePolicy
from reconciler.model.observed import Comment, PullRequest, Run, Thread
from reconciler.planning.messages import clean

COMMENT_MOST = 2000
TEXT_MOST = 12_000
NAMED_MOST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What was said about one pull request, as far as it counts. `due`: what asks for another attempt; `aside`: what only
    joins the next one; `open`: the conversations that somebody still has to resolve.
    """

    open: tuple[Thread, ...] = ()
    due: tuple[Thread | Comment, ...] = ()
    aside: tuple[Comment, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """The comments that a prompt with `text` in it holds."""
        found = (each.comments if isinstance(each, Thread) else (each,) for each in (*self.due, *self.aside))
        return tuple(comment.id for comments in found for comment in comments)

    @property
    def text(self) -> str:
        """All of it for an agent; empty where nothing was said."""
        parts = [_told(each) for each in (*self.due, *self.aside)]
        whole = "\n\n".join(parts)
        return whole if len(whole) <= TEXT_MOST else f"{whole[:TEXT_MOST]}\n… (more stands at the pull request)"

    @property
    def summary(self) -> str:
        """What asks for another attempt, in a few words."""
        return "; ".join(map(_named, self.due[:NAMED_MOST])) + (" …" if len(self.due) > NAMED_MOST else "")

    @property
    def awaited(self) -> str:
        """Whose word is awaited about what, in a few words."""
        return "; ".join(map(_named, self.open[:NAMED_MOST])) + (" …" if len(self.open) > NAMED_MOST else "")


def said(pull: PullRequest, policy: MergePolicy, runs: Iterable[Run]) -> Said:
    """What was said about a pull request, and not yet handed to one of these runs of its task."""
    if policy.comments is Comments.IGNORE:
        return Said()
    runs = tuple(runs)
    bots = {login.lower() for login in policy.review_bots}
    threads = tuple(thread for each in pull.threads if (thread := _counting(each, bots, pull, runs)))
    remarks = [each for each in pull.remarks if _counts(each, bots) and not _by_its_agent(each, pull, runs)]
    if policy.comments is Comments.WAIT:
        return Said(open=threads)
    heard = {id for run in runs if _got_to_it(run) for id in run.heard}
    fresh = [each for each in remarks if each.id not in heard]
    return Said(
        open=threads,
        due=(*(t for t in threads if t.comments[-1].id not in heard), *(each for each in fresh if each.bot)),
        aside=tuple(each for each in fresh if not each.bot),
    )


def _counting(thread: Thread, bots: Collection[str], pull: PullRequest, runs: Sequence[Run]) -> Thread | None:
    """The thread with the comments that count; None where none does."""
    comments = tuple(each for each in thread.comments if _counts(each, bots) and not _by_its_agent(each, pull, runs))
    return Thread(path=thread.path, line=thread.line, comments=comments) if comments else None


def _counts(comment: Comment, bots: Collection[str]) -> bool:
    return not comment.bot or comment.by.lower() in bots


def _by_its_agent(comment: Comment, pull: PullRequest, runs: Sequence[Run]) -> bool:
    """True for what the author of the pull request wrote while a run lived: an agent that answers uses that login."""
    if comment.by != pull.author:
        return False
    return any(
        run.started_at and run.started_at <= comment.at and (run.exit is None or comment.at <= run.exit.at)
        for run in runs
    )


def _got_to_it(run: Run) -> bool:
    """True for a run that was given its prompt and was not kept from working by what is no fault of the work."""
    if run.alive:
        return True
    return run.exit is not None and not run.unavailable and not (run.report and run.report.blameless)


def _named(said: Thread | Comment) -> str:
    if isinstance(said, Comment):
        return f"a review by {clean(said.by)}"
    return f"{_place(said)} ({clean(said.comments[0].by)})"


def _place(thread: Thread) -> str:
    return clean(thread.path) + (f":{thread.line}" if thread.line else "")


def _told(said: Thread | Comment) -> str:
    if isinstance(said, Comment):
        return f"{clean(said.by)}:\n{_body(said)}"
    return "\n".join((f"At {_place(said)}", *(f"{clean(each.by)}: {_body(each)}" for each in said.comments)))


def _body(comment: Comment) -> str:
    text = clean(comment.text).strip()
    return text if len(text) <= COMMENT_MOST else f"{text[:COMMENT_MOST]} …"
