"""What becomes of a pull request whose place on another task's branch is gone: that one was merged there, or closed. Pure."""

from __future__ import annotations

from reconciler.model.observed import Observed, PullRequest, PullState, Unknown, Upon


def swept(observed: Observed, pull: PullRequest | Unknown | None) -> bool:
    """True for one that went onto the branch of another task and was closed no sooner than that one's, whose branch is gone:
    nobody has said anything of it."""
    pulls = observed.pull_requests
    if not isinstance(pull, PullRequest) or isinstance(pulls, Unknown) or pull.onto is None:
        return False
    parent = pulls.get(pull.onto)
    if parent is None or pull.state is not PullState.CLOSED or parent.state is PullState.OPEN or parent.left:
        return False
    return None not in (pull.closed_at, parent.closed_at) and pull.closed_at >= parent.closed_at  # type: ignore[operator]


def abandoned(observed: Observed, upon: Upon | Unknown | None) -> bool:
    """True where the pull request of what a task began on was closed without landing, and nobody has taken it up since."""
    pulls = observed.pull_requests
    if not isinstance(upon, Upon) or isinstance(pulls, Unknown):
        return False
    parent, retried = pulls.get(upon.parent), observed.since.get(upon.parent)
    if parent is None or parent.state is not PullState.CLOSED or parent.closed_at is None:
        return False
    return retried is None or retried.at < parent.closed_at


def adrift(observed: Observed, upon: Upon | Unknown | None) -> bool:
    """True where nothing more can be offered onto the branch that a task began on: it is open no more, and may be gone."""
    pulls = observed.pull_requests
    if not isinstance(upon, Upon) or isinstance(pulls, Unknown):
        return False
    parent = pulls.get(upon.parent)
    return parent is not None and parent.state is not PullState.OPEN
