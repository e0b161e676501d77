"""Who dismissed what we posted of reviewers: a push that made it stale, or a person. Asked once for each such review."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reconciler.forges.github import query
from reconciler.forges.github.answers import legible
from reconciler.forges.github.gh import Reply, asked_in_parts
from reconciler.forges.github.pull import Opinion, Pull
from reconciler.forges.github.pull_nodes import login
from reconciler.model.names import PrNumber
from reconciler.model.values import replace


class Dismissals:
    """Those of one repository. `ask` answers a query."""

    def __init__(self, ask: Callable[[str], Reply]) -> None:
        self._ask = ask
        self._known: dict[str, str] = {}  # by the node of a review: the person who dismissed it; empty for a push

    def added_to(self, pulls: Sequence[tuple[Pull, str]]) -> dict[PrNumber, Pull]:
        """Those of the pull requests, each with its node, of which something of ours was dismissed, with who did that.

        Where it is not known, only that pull request has to wait.
        """
        dismissed = [(pull, node) for pull, node in pulls if pull.open and any(map(_dismissed, pull.posted))]
        new = [(pull, node) for pull, node in dismissed if any(self._unknown(each) for each in pull.posted)]
        trouble = asked_in_parts([node for _, node in new], self._read)
        return {
            pull.number: replace(pull, posted=tuple(map(self._named, pull.posted)))
            if not any(self._unknown(each) for each in pull.posted)
            else replace(pull, unread=pull.unread or trouble or "who dismissed a review of it can't be known")
            for pull, _ in dismissed
        }

    def _unknown(self, opinion: Opinion) -> bool:
        return _dismissed(opinion) and opinion.node not in self._known

    def _named(self, opinion: Opinion) -> Opinion:
        return replace(opinion, dismissed_by=self._known.get(opinion.node, ""))

    def _read(self, nodes: Sequence[str]) -> None:
        value = self._ask(query.dismissals(nodes)).data
        with legible("who dismissed a review"):
            for n in range(len(nodes)):
                for event in value[f"d{n}"]["timelineItems"]["nodes"]:
                    if event and event.get("review"):
                        by_push = event["pullRequestCommit"] is not None
                        self._known[event["review"]["id"]] = "" if by_push else login(event["actor"])


def _dismissed(opinion: Opinion) -> bool:
    return opinion.mine and opinion.dismissed
