"""Questions about the pull requests of a repository, each asked until its answer is whole; by smaller ones where GitHub takes long."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reconciler.forges.github import query, staged_commits
from reconciler.forges.github.answers import SlowError, legible
from reconciler.forges.github.conversations import Conversations
from reconciler.forges.github.dismissals import Dismissals
from reconciler.forges.github.gh import Gh, Reply
from reconciler.forges.github.pull import Pull
from reconciler.forges.github.pull_nodes import WITHHELD, decoded
from reconciler.forges.github.query import Page, QuerySize, Question
from reconciler.forges.github.slug import Slug
from reconciler.forges.github.staged_commits import StagedCommit
from reconciler.model.errors import PermanentError, TemporaryError
from reconciler.model.names import PrNumber, Sha
from reconciler.model.values import replace

SMALLER_S = 600.0  # how long less is asked for at once, after GitHub took too long
PART_MAX = 64
PAGES_MAX = 50


class QueryPages:
    """What GitHub answers about one repository. For one thread at a time.

    `asks`: the name that it is asked for by. `slug`: as GitHub calls it, where it was renamed or transferred.
    """

    def __init__(self, gh: Gh, slug: Slug, clock: Callable[[], float]) -> None:
        self._gh, self.asks, self.slug, self._clock = gh, slug, slug, clock
        self.part, self._part_until = 1, 0.0  # how small a part of a question is asked at once, and until when
        self._identity: str | None = None  # of the repository, whatever it is called
        self.queues = False  # a base has a merge queue
        self._conversations = Conversations(self._asked_for, lambda: self.size.talks)
        self._dismissals = Dismissals(self._asked_for)

    @property
    def size(self) -> QuerySize:
        """How much is asked for at once: less for a while where GitHub took too long."""
        if self.part > 1 and self._clock() > self._part_until:
            self.part, self._part_until = self.part // 2, self._clock() + SMALLER_S
        return QuerySize().divided(self.part)

    def whole(self, numbers: Sequence[PrNumber]) -> dict[PrNumber, Pull]:
        """Pull requests with their checks and what was written about them."""
        found: dict[PrNumber, Pull] = {}
        size = self.size
        for start in range(0, len(numbers), size.whole):
            some = numbers[start : start + size.whole]
            question = Question(slug=self.asks, numbers=some, size=size, queues=self.queues)
            found |= {p.number: p for p in self.page(question).pulls}
        return found

    def further(self, page: Page, bases: Sequence[str]) -> dict[PrNumber, Pull]:
        """The open pull requests of the pages after the first."""
        found: dict[PrNumber, Pull] = {}
        for _ in range(PAGES_MAX):
            if not page.more:
                return found
            left = tuple(base for base in bases if base in page.more)
            page = self.page(Question(slug=self.asks, bases=left, after=page.more, size=self.size))
            found |= {pull.number: pull for pull in page.pulls}
        raise TemporaryError(f"{self.slug} has too many open pull requests to look at", delay=300.0)

    def older(self, page: Page) -> dict[PrNumber, Pull]:
        """What branches have beside the newest of forks, which anybody may call like ours."""
        found: dict[PrNumber, Pull] = {}
        for _ in range(PAGES_MAX):
            if not page.crowded:
                return found
            page = self.read(Question(slug=self.asks, branches=tuple(page.crowded), older=page.crowded))
            found |= {pull.number: pull for pull in page.pulls}
        raise TemporaryError(f"{self.slug} has too many pull requests of forks to look at", delay=300.0)

    def page(self, question: Question) -> Page:
        """The answer to a question, with the checks of all pages, and with what was written about them."""
        found = self.read(question)
        rest = {base: self._rest(found.tips[base], at) for base, at in found.tips_truncated.items()}
        red = {base: query.red(found.tips[base], further) for base, further in rest.items()}
        freezes = {base: freeze for base, more in rest.items() if (freeze := query.freeze(found.tips[base], more))}
        pulls = [self._checked(pull, found) if pull.number in found.whole else pull for pull in found.pulls]
        whole = [(pull, found.nodes[pull.number]["id"]) for pull in pulls if pull.number in found.whole]
        talked = self._conversations.added_to(whole)
        judged = self._dismissals.added_to([(talked.get(pull.number, pull), node) for pull, node in whole])
        return replace(
            found,
            pulls=tuple(judged.get(p.number, talked.get(p.number, p)) for p in pulls),
            red={**found.red, **red},
            freezes={**found.freezes, **freezes},
        )

    def read(self, question: Question) -> Page:
        """The answer to a question as it comes. Raises PermanentError where another repository has this name by now."""
        value = self._asked_for(question.text)
        with legible("its answer"):
            found = query.page(question, value)
            slug, identity = self.slug.called(found.about["nameWithOwner"]), str(found.about["id"])
        if self._identity not in (None, identity):
            raise PermanentError(
                f"{slug} is another repository now than when this program began to look at it",
                hint="see whose it is and where its remote leads, then start reconcile again",
            )
        self.slug, self._identity = slug, identity
        self.queues |= bool(found.queues)
        return found

    def staged(self, page: Page) -> dict[Sha, StagedCommit]:
        """The commits on staging branches, with the checks of all pages."""
        found = {}
        for commit, (at, node) in page.staged.items():
            further = self._rest(node, cursor) if (cursor := query.cut_off(node)) else []
            found[commit] = staged_commits.decoded(at, node, [*query.listed(node), *further])
        return found

    def _checked(self, pull: Pull, page: Page) -> Pull:
        cursor = page.truncated.get(pull.number)
        node = page.nodes[pull.number]
        return (decoded(node, self._rest(node, cursor)) or pull) if cursor else pull

    def _asked_for(self, text: str) -> Reply:
        try:
            return self._gh.graphql(text, spare=query.SPARE)
        except SlowError:
            # Asked again as it was, it would be answered as little, and count against the limit all the same.
            self.part, self._part_until = min(self.part * 2, PART_MAX), self._clock() + SMALLER_S
            raise

    def _rest(self, node: dict[str, Any], cursor: str | None) -> list[Mapping[str, Any]]:
        """The checks of a pull request or a commit that are on the pages after the first; what is withheld of them is noted."""
        contexts: list[Mapping[str, Any]] = []
        head = node.get("headRefOid") or node["oid"]
        for _ in range(PAGES_MAX):
            if cursor is None:
                return contexts
            reply = self._asked_for(query.checks_after(node["id"], cursor, self.size))
            rollup = (reply.data.get("node") or {}).get("statusCheckRollup") or {}
            if reply.withheld:
                node[WITHHELD] = reply.withheld[0][1]
                if not rollup:
                    return contexts
            if (rollup.get("commit") or {}).get("oid") != head:
                break
            contexts += filter(None, rollup["contexts"]["nodes"])
            info = rollup["contexts"]["pageInfo"]
            cursor = info["endCursor"] if info["hasNextPage"] else None
        raise TemporaryError(f"the checks of {node.get('url') or head} changed while they were read", delay=5.0)
