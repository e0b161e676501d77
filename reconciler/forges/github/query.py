"""The one query: every open pull request of our bases with its checks and reviews, and what the rules are. Pure.

Beside the open ones only those are asked for that nobody has heard of yet: by the name of their branch, which finds what
was closed or merged while we were away, or by the number of one that was open the last time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reconciler.forges.github import check_results
from reconciler.forges.github.pull import Pull, decoded
from reconciler.forges.github.slug import Slug
from reconciler.model.names import PrNumber, Sha, TaskId, branch_of
from reconciler.model.observed import CheckResult

PAGE = 100
BRANCHES_MOST = 100
_LIGHT = """
fragment light on PullRequest { number id url state title body isDraft isCrossRepository headRefName headRefOid
  headRef { target { oid } } baseRefName createdAt closedAt mergeCommit { oid } author { login } mergeStateStatus
  reviewDecision isInMergeQueue autoMergeRequest { enabledAt } }
"""
_CONTEXTS = """pageInfo { hasNextPage endCursor } nodes { __typename
  ... on CheckRun { databaseId name status conclusion detailsUrl completedAt title summary
    checkSuite { app { databaseId } workflowRun { databaseId event workflow { name } } } }
  ... on StatusContext { context state targetUrl description createdAt } }"""
_WHOLE = f"""
fragment whole on PullRequest {{ ...light
  reviews: latestOpinionatedReviews(first: {PAGE}, writersOnly: true) {{
    nodes {{ author {{ __typename login }} authorCanPushToRepository state submittedAt body commit {{ oid }} }} }}
  statusCheckRollup {{ commit {{ oid }} contexts(first: {PAGE}) {{ {_CONTEXTS} }} }} }}
"""
_CHECKED = f"... on Commit {{ statusCheckRollup {{ contexts(first: {PAGE}) {{ {_CONTEXTS} }} }} }}"
_RATE = "rateLimit { cost limit remaining used resetAt }"
_ABOUT = "nameWithOwner viewerPermission isArchived mergeCommitAllowed squashMergeAllowed rebaseMergeAllowed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is to be asked. `after`: cursors of the pages of open pull requests that come next, by base; `older`: of those
    of the branches.
    """

    slug: Slug
    bases: Sequence[str] = ()
    branches: Sequence[TaskId] = ()
    numbers: Sequence[PrNumber] = ()
    after: Mapping[str, str] = field(default_factory=dict)
    older: Mapping[TaskId, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The query as it is sent."""
        asked = [_open(n, base, self.after.get(base)) for n, base in enumerate(self.bases)]
        asked += [_branch(n, task, self.older.get(task)) for n, task in enumerate(self.branches)]
        asked += [f"n{number}: pullRequest(number: {number}) {{ ...whole }}" for number in self.numbers]
        asked += [
            f"base{n}: ref(qualifiedName: {json.dumps(f'refs/heads/{base}')}) {{ target {{ oid {_CHECKED} }} }} "
            f"queue{n}: mergeQueue(branch: {json.dumps(base)}) {{ id }}"
            for n, base in enumerate(self.bases)
        ]
        inner = "\n  ".join(asked)
        fragments = _LIGHT if self.bases or self.branches or self.numbers else ""
        fragments += _WHOLE if self.bases or self.numbers else ""
        return f"query {{ {_RATE} {_repository(self.slug)} {{ {_ABOUT}\n  {inner} }} }}{fragments}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What was answered. `more`: where the open ones of a base go on; `truncated`: pulls whose checks do, with cursor;
    `crowded`: branches of which so far only those of forks were shown, and where their older ones go on.
    """

    pulls: tuple[Pull, ...]
    nodes: Mapping[PrNumber, Mapping[str, Any]]
    about: Mapping[str, Any]
    heads: Mapping[str, Sha]
    queues: frozenset[str]
    red: Mapping[str, frozenset[str]]  # by base: the checks that fail on it
    more: Mapping[str, str]
    truncated: Mapping[PrNumber, str]
    crowded: Mapping[TaskId, str]


def page(question: Question, data: Mapping[str, Any]) -> Page:
    """The answer to a question, taken apart."""
    about = data["repository"]
    if about is None:
        raise TypeError("it names no repository, and says nothing against it")
    lists = [about.get(f"open{n}") for n in range(len(question.bases))]
    lists += [about.get(f"branch{n}") for n in range(len(question.branches))]
    nodes = [node for listed in lists if listed for node in listed["nodes"] or () if node]
    nodes += [node for number in question.numbers if (node := about.get(f"n{number}"))]
    # One that is asked for in two ways is in the answer twice; the fuller one comes first.
    by_number = {PrNumber(node["number"]): node for node in reversed(nodes)}
    pulls = tuple(pull for node in by_number.values() if (pull := decoded(node)))
    refs = {base: about.get(f"base{n}") for n, base in enumerate(question.bases)}
    opened = {base: about[f"open{n}"]["pageInfo"] for n, base in enumerate(question.bases)}
    return Page(
        pulls=pulls,
        nodes=by_number,
        about=about,
        heads={base: Sha(ref["target"]["oid"]) for base, ref in refs.items() if ref and ref.get("target")},
        red={base: _red(ref) for base, ref in refs.items() if ref and ref.get("target")},
        queues=frozenset(base for n, base in enumerate(question.bases) if about.get(f"queue{n}")),
        more={base: info["endCursor"] for base, info in opened.items() if info["hasNextPage"]},
        truncated={number: cursor for number, node in by_number.items() if (cursor := _cut_off(node))},
        crowded=_crowded(question, about, {pull.number for pull in pulls}),
    )


def checks_after(pull: str, cursor: str) -> str:
    """The query for the checks of a pull request, named by its node's id, that one page was too small for."""
    contexts = f"contexts(first: {PAGE}, after: {json.dumps(cursor)}) {{ {_CONTEXTS} }}"
    return (
        f"query {{ {_RATE} node(id: {json.dumps(pull)}) {{ ... on PullRequest {{ headRefOid "
        f"statusCheckRollup {{ commit {{ oid }} {contexts} }} }} }} }}"
    )


def _repository(slug: Slug) -> str:
    return f"repository(owner: {json.dumps(slug.owner)}, name: {json.dumps(slug.name)})"


def _open(n: int, base: str, after: str | None) -> str:
    where = f"states: OPEN, baseRefName: {json.dumps(base)}, first: {PAGE}"
    where += f", after: {json.dumps(after)}" if after else ""
    return f"open{n}: pullRequests({where}) {{ pageInfo {{ hasNextPage endCursor }} nodes {{ ...whole }} }}"


def _branch(n: int, task: TaskId, after: str | None) -> str:
    newest = "orderBy: { field: CREATED_AT, direction: DESC }, "
    newest += f"first: {PAGE}, after: {json.dumps(after)}" if after else "first: 2"
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


def _red(ref: Mapping[str, Any]) -> frozenset[str]:
    rollup = ref["target"].get("statusCheckRollup") or {}
    checks = check_results.results((rollup.get("contexts") or {}).get("nodes") or ())
    return frozenset(check.name for check in checks if check.result is CheckResult.FAILED)


def _cut_off(node: Mapping[str, Any]) -> str | None:
    info = ((node.get("statusCheckRollup") or {}).get("contexts") or {}).get("pageInfo") or {}
    return info["endCursor"] if info.get("hasNextPage") else None
