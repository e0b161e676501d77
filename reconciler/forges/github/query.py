"""The one query: the open pull requests of our bases, ours of them with checks and reviews, and what the rules are. Pure.

What takes GitHub long, checks and reviews, is asked for by number, of those that were open the last time; of the others
just enough to tell ours from those of people; and by branch what was closed or merged while we were away.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from reconciler.forges.github import check_results, staged_commits
from reconciler.forges.github.gh import Reply
from reconciler.forges.github.pull import Pull
from reconciler.forges.github.pull_nodes import WITHHELD, decoded
from reconciler.forges.github.slug import Slug
from reconciler.model.names import PrNumber, Sha, TaskId, branch_of
from reconciler.model.observed import CheckResult
from reconciler.planning.messages import clean

BRANCHES_MAX = 100
REVIEWS = 100
OLDER = 100
REMARKS = 50  # each reply to a line is one of them, without a word of its own
THREADS = 100
THREAD = 10  # the newest comments of one
SPARE = ("statusCheckRollup",)
_LIGHT = """
fragment light on PullRequest { number id url state title body isDraft isCrossRepository headRefName headRefOid
  headRef { target { oid } } baseRefName createdAt closedAt mergeCommit { oid } author { login } mergeStateStatus
  reviewDecision isInMergeQueue autoMergeRequest { enabledAt } }
"""
_CONTEXTS = """pageInfo { hasNextPage endCursor } nodes { __typename
  ... on CheckRun { databaseId name status conclusion detailsUrl completedAt title summary
    checkSuite { app { databaseId } workflowRun { databaseId event workflow { name } } } }
  ... on StatusContext { context state targetUrl description createdAt } }"""

_RATE = "rateLimit { cost limit remaining used resetAt }"
_ABOUT = (
    "id nameWithOwner viewerPermission isArchived mergeCommitAllowed squashMergeAllowed rebaseMergeAllowed "
    "defaultBranchRef { name }"
)


class QuerySize(Struct, frozen=True):
    """How much is asked for at once. GitHub gives a question ten seconds, and says nothing of one that takes longer."""

    pulls: int = 100  # of a page, as far as it takes to know whose they are
    whole: int = 50  # with their checks and reviews
    checks: int = 100  # of one commit
    talks: int = 50  # review threads of one, with their comments

    def divided(self, by: int) -> QuerySize:
        """A part of it."""
        return QuerySize(
            max(self.pulls // by, 10), max(self.whole // by, 1), max(self.checks // by, 10), max(self.talks // by, 5)
        )


class Question(Struct, frozen=True, kw_only=True):
    """What is to be asked. `after`: cursors of the pages of open pull requests that come next, by base; `older`: of those
    of the branches.
    """

    slug: Slug
    size: QuerySize = QuerySize()
    bases: Sequence[str] = ()
    branches: Sequence[TaskId] = ()
    numbers: Sequence[PrNumber] = ()
    queues: bool = False  # a base has a merge queue: how its pull requests fare there is asked too
    staged: Mapping[Sha, str] = field(
        default_factory=dict
    )  # commits that were pushed to staging branches, and to which
    after: Mapping[str, str] = field(default_factory=dict)
    older: Mapping[TaskId, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The query as it is sent."""
        asked = [_open(n, base, self.size.pulls, self.after.get(base)) for n, base in enumerate(self.bases)]
        asked += [_branch(n, task, self.older.get(task)) for n, task in enumerate(self.branches)]
        asked += [f"n{number}: pullRequest(number: {number}) {{ ...whole }}" for number in self.numbers]
        asked += [
            f"base{n}: ref(qualifiedName: {json.dumps(f'refs/heads/{base}')}) {{ target {{ id oid "
            f"... on Commit {{ statusCheckRollup {{ {_contexts(self.size.checks)} }} }} }} }} "
            f"queue{n}: mergeQueue(branch: {json.dumps(base)}) {{ id }}"
            for n, base in enumerate(self.bases)
        ]
        asked += staged_commits.asked(self.staged, _contexts(self.size.checks))
        inner = "\n  ".join(asked)
        fragments = _LIGHT if self.bases or self.branches or self.numbers else ""
        fragments += _whole(self.size.checks, queues=self.queues) if self.numbers else ""
        return f"query {{ {_RATE} {_repository(self.slug)} {{ {_ABOUT}\n  {inner} }} }}{fragments}"


class SaidFreeze(Struct, frozen=True, kw_only=True):
    """What the tip of a base says of itself. `stands`: nothing lands on it; else that was lifted there."""

    tip: Sha
    stands: bool
    why: str


class Page(Struct, frozen=True, kw_only=True):
    """What was answered. `more`: where the open ones of a base go on; `truncated`: pulls whose checks do, with cursor;
    `crowded`: branches of which so far only those of forks were shown, and where their older ones go on.
    """

    pulls: tuple[Pull, ...]
    whole: frozenset[PrNumber]  # of which also checks and reviews were asked for
    nodes: Mapping[PrNumber, dict[str, Any]]
    tips: Mapping[str, dict[str, Any]]  # of the bases
    tips_truncated: Mapping[str, str]  # bases whose checks go on, with cursor
    withheld: str  # what the login may not read of checks; empty where nothing is missing
    legible: frozenset[str]  # bases of whose tip a check, at the least, can be read
    about: Mapping[str, Any]
    heads: Mapping[str, Sha]
    queues: frozenset[str]
    red: Mapping[str, frozenset[str]]  # by base: the checks that fail on it
    freezes: Mapping[str, SaidFreeze]  # by base: whether anything lands on it
    staged: Mapping[Sha, tuple[Sha | None, dict[str, Any]]]  # where the branch of each stands, and its node
    more: Mapping[str, str]
    truncated: Mapping[PrNumber, str]
    crowded: Mapping[TaskId, str]


def page(question: Question, value: Reply) -> Page:
    """The answer to a question, taken apart."""
    about = value.data["repository"]
    if about is None:
        raise TypeError("it names no repository, and says nothing against it")
    _mark(value)
    lists = [about.get(f"open{n}") for n in range(len(question.bases))]
    lists += [about.get(f"branch{n}") for n in range(len(question.branches))]
    nodes = [node for listed in lists if listed for node in listed["nodes"] or () if node]
    nodes += [node for number in question.numbers if (node := about.get(f"n{number}"))]
    # One that is asked for in two ways is in the answer twice; the fuller one comes last.
    by_number = {PrNumber(node["number"]): node for node in nodes}
    pulls = tuple(pull for node in by_number.values() if (pull := decoded(node)))
    refs = {base: about.get(f"base{n}") for n, base in enumerate(question.bases)}
    tips = {base: ref["target"] for base, ref in refs.items() if ref and ref.get("target")}
    opened = {base: about[f"open{n}"]["pageInfo"] for n, base in enumerate(question.bases)}
    return Page(
        pulls=pulls,
        whole=frozenset(question.numbers),
        nodes=by_number,
        about=about,
        tips=tips,
        tips_truncated={base: cursor for base, tip in tips.items() if (cursor := cut_off(tip))},
        withheld=next((why for _, why in value.withheld), ""),
        legible=frozenset(base for base, tip in tips.items() if any(listed(tip))),
        heads={base: Sha(tip["oid"]) for base, tip in tips.items()},
        red={base: red(tip) for base, tip in tips.items()},
        freezes={base: found for base, tip in tips.items() if (found := freeze(tip))},
        queues=frozenset(base for n, base in enumerate(question.bases) if about.get(f"queue{n}")),
        staged=staged_commits.answered(question.staged, about),
        more={base: info["endCursor"] for base, info in opened.items() if info["hasNextPage"]},
        truncated={number: cursor for number, node in by_number.items() if (cursor := cut_off(node))},
        crowded=_crowded(question, about, {pull.number for pull in pulls}),
    )


def checks_after(node: str, cursor: str, size: QuerySize) -> str:
    """The query for the checks of a pull request or a commit, named by its node's id, that one page was too small for."""
    rollup = f"statusCheckRollup {{ commit {{ oid }} {_contexts(size.checks, cursor)} }}"
    return (
        f"query {{ {_RATE} node(id: {json.dumps(node)}) {{ "
        f"... on PullRequest {{ headRefOid {rollup} }} ... on Commit {{ oid {rollup} }} }} }}"
    )


def conversations(threads: Mapping[str, str | None], comments: Sequence[str], first: int) -> str:
    """The query for what was written about pull requests, by the ids of their nodes: in review threads, each with the cursor
    of the page that comes next, answered as `t0`, `t1` and so on; and under the whole of it, answered as `c0`, `c1`.
    """
    asked = [_node(f"t{n}", id, _threads(first, cursor)) for n, (id, cursor) in enumerate(threads.items())]
    asked += [_node(f"c{n}", id, _comments(2 * first)) for n, id in enumerate(comments)]
    return f"query {{ {_RATE} {' '.join(asked)} }}"


def dismissals(nodes: Sequence[str]) -> str:
    """The query for what became of reviews that count no longer, by the ids of their pull requests: `d0`, `d1` and so on."""
    fields = (
        f"timelineItems(last: {REVIEWS}, itemTypes: [REVIEW_DISMISSED_EVENT]) {{ nodes {{ ... on ReviewDismissedEvent {{ "
        "actor { __typename login } pullRequestCommit { id } review { id } } } }"
    )
    return f"query {{ {_RATE} {' '.join(_node(f'd{n}', id, fields) for n, id in enumerate(nodes))} }}"


def _node(name: str, id: str, fields: str) -> str:
    return f"{name}: node(id: {json.dumps(id)}) {{ ... on PullRequest {{ {fields} }} }}"


def _threads(first: int, after: str | None) -> str:
    where = f"first: {first}" + (f", after: {json.dumps(after)}" if after else "")
    return (
        f"reviewThreads({where}) {{ pageInfo {{ hasNextPage endCursor }} "
        f"nodes {{ id isResolved path line originalLine comments(last: {THREAD}) {{ nodes {{ id body createdAt state "
        f"viewerDidAuthor author {{ __typename login }} pullRequestReview {{ authorCanPushToRepository }} }} }} }} }}"
    )


def _comments(last: int) -> str:
    return (
        f"comments(last: {last}) {{ nodes {{ id body createdAt isMinimized authorAssociation "
        "author { __typename login } } }"
    )


def red(tip: Mapping[str, Any], further: Sequence[Mapping[str, Any]] = ()) -> frozenset[str]:
    """The names of the checks that fail on a commit. `further`: those of the pages that follow."""
    checks = check_results.results([*listed(tip), *further])
    return frozenset(check.name for check in checks if check.result is CheckResult.FAILED)


def freeze(tip: Mapping[str, Any], further: Sequence[Mapping[str, Any]] = ()) -> SaidFreeze | None:
    """What a commit says of whether anything lands on it. `further`: its checks of the pages that follow."""
    status = next(filter(check_results.is_freeze, [*listed(tip), *further]), None)
    if status is None:
        return None
    return SaidFreeze(
        tip=Sha(tip["oid"]), stands=status["state"] != "SUCCESS", why=clean(status.get("description") or "")
    )


def listed(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The checks of a commit or a pull request that can be read, of the first page."""
    rollup = node.get("statusCheckRollup") or {}
    return [*filter(None, (rollup.get("contexts") or {}).get("nodes") or ())]


def _mark(cursor: Reply) -> None:
    """Note at each pull request and commit what of it was withheld: what can't be read is not nothing."""
    for path, why in cursor.withheld:
        at: Any = cursor.data
        for step in path:
            at = at[step] if isinstance(at, list) or step in (at or ()) else None
            if isinstance(at, dict) and at.keys() & {"headRefOid", "oid"}:
                at[WITHHELD] = why


_IN_QUEUE = """
  mergeQueueEntry { position state }
  removals: timelineItems(last: 1, itemTypes: [REMOVED_FROM_MERGE_QUEUE_EVENT]) {
    nodes { ... on RemovedFromMergeQueueEvent { id createdAt reason actor { __typename login } } } }"""


def _whole(checks: int, *, queues: bool) -> str:
    return f"""
fragment whole on PullRequest {{ ...light
  reviews: latestOpinionatedReviews(first: {REVIEWS}, writersOnly: true) {{
    nodes {{ id author {{ __typename login }} authorCanPushToRepository viewerDidAuthor state submittedAt body
      commit {{ oid }} }} }}
  remarks: reviews(last: {REMARKS}, states: [COMMENTED]) {{
    nodes {{ id author {{ __typename login }} authorCanPushToRepository viewerDidAuthor submittedAt body }} }}
  reviewThreads(first: {THREADS}) {{ pageInfo {{ hasNextPage endCursor }} nodes {{ id isResolved }} }}
  updatedAt totalCommentsCount viewerCanMergeAsAdmin{_IN_QUEUE if queues else ""}
  statusCheckRollup {{ commit {{ oid }} {_contexts(checks)} }} }}
"""


def _contexts(first: int, after: str | None = None) -> str:
    where = f"first: {first}" + (f", after: {json.dumps(after)}" if after else "")
    return f"contexts({where}) {{ {_CONTEXTS} }}"


def _repository(slug: Slug) -> str:
    return f"repository(owner: {json.dumps(slug.owner)}, name: {json.dumps(slug.name)})"


def _open(n: int, base: str, first: int, after: str | None) -> str:
    where = f"states: OPEN, baseRefName: {json.dumps(base)}, first: {first}"
    where += f", after: {json.dumps(after)}" if after else ""
    return f"open{n}: pullRequests({where}) {{ pageInfo {{ hasNextPage endCursor }} nodes {{ ...light }} }}"


def _branch(n: int, task: TaskId, after: str | None) -> str:
    newest = "orderBy: { field: CREATED_AT, direction: DESC }, "
    newest += f"first: {OLDER}, after: {json.dumps(after)}" if after else "first: 2"
    which = f"headRefName: {json.dumps(branch_of(task))}, {newest}"
    return f"branch{n}: pullRequests({which}) {{ pageInfo {{ hasNextPage endCursor }} nodes {{ ...light }} }}"


def _crowded(question: Question, about: Mapping[str, Any], ours: set[PrNumber]) -> dict[TaskId, str]:
    found = {task: about.get(f"branch{n}") or {} for n, task in enumerate(question.branches)}
    return {
        task: listed["pageInfo"]["endCursor"]
        for task, listed in found.items()
        if listed and listed["pageInfo"]["hasNextPage"]
        if not any(node and node["number"] in ours for node in listed["nodes"] or ())
    }


def cut_off(node: Mapping[str, Any]) -> str | None:
    """The cursor of the page of its checks that comes next."""
    info = ((node.get("statusCheckRollup") or {}).get("contexts") or {}).get("pageInfo") or {}
    return info["endCursor"] if info.get("hasNextPage") else None
