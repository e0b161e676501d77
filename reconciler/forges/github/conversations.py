"""What people and bots wrote about pull requests, read again only where something new may have been written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from reconciler.forges.github import query
from reconciler.forges.github.answers import legible
from reconciler.forges.github.gh import Reply, asked_in_parts
from reconciler.forges.github.pull import Pull
from reconciler.forges.github.pull_nodes import comments, threads
from reconciler.model.errors import TemporaryError
from reconciler.model.names import PrNumber
from reconciler.model.observed import Comment, Thread
from reconciler.model.values import replace

PAGES_MAX = 50


class _Talk(Struct, frozen=True, kw_only=True):
    """What was written about a pull request: where nobody has called it settled, and under the whole of it."""

    threads: tuple[Thread, ...]
    comments: tuple[Comment, ...]


class Conversations:
    """Those of one repository. `ask` answers a query; `size` says how many threads are asked for at once."""

    def __init__(self, ask: Callable[[str], Reply], size: Callable[[], int]) -> None:
        self._ask, self._size = ask, size
        self._known: dict[PrNumber, tuple[object, _Talk]] = {}  # as they were read, and of what

    def added_to(self, pulls: Sequence[tuple[Pull, str]]) -> dict[PrNumber, Pull]:
        """Those of the pull requests, each with its node, that people or bots write about, with what they wrote.

        Where it is not known, only that pull request has to wait.
        """
        talked = [(pull, node) for pull, node in pulls if pull.open and (pull.talked or pull.changed[1])]
        new = [(pull, node) for pull, node in talked if self._known.get(pull.number, (None,))[0] != _mark(pull)]
        trouble = asked_in_parts(new, self._learn)
        known = {pull.number: self._known.get(pull.number) for pull, _ in talked}
        return {
            pull.number: replace(pull, threads=kept[1].threads, comments=kept[1].comments)
            if (kept := known[pull.number]) and kept[0] == _mark(pull)
            else replace(pull, unread=trouble)
            for pull, _ in talked
        }

    def _learn(self, some: Sequence[tuple[Pull, str]]) -> None:
        read = self._read(
            [node for pull, node in some if pull.talked], [node for pull, node in some if pull.changed[1]]
        )
        for pull, node in some:
            self._known[pull.number] = _mark(pull), read[node]

    def _read(self, in_threads: Sequence[str], under: Sequence[str]) -> dict[str, _Talk]:
        """What was written about some pull requests: in open threads, all pages of them, and under the whole."""
        found: dict[str, list[Mapping[str, Any]]] = {node: [] for node in in_threads}
        left: dict[str, str | None] = dict.fromkeys(in_threads)
        talk: dict[str, tuple[Comment, ...]] = {}
        for _ in range(PAGES_MAX):
            asked = [node for node in under if node not in talk]
            if not left and not asked:
                with legible("what was written about a pull request"):
                    return {
                        node: _Talk(threads=threads(found.get(node, ())), comments=talk.get(node, ()))
                        for node in {*in_threads, *under}
                    }
            value = self._ask(query.conversations(left, asked, self._size())).data
            with legible("what was written about a pull request"):
                talk |= {node: comments(value[f"c{n}"]["comments"]["nodes"]) for n, node in enumerate(asked)}
                pages = {node: value[f"t{n}"]["reviewThreads"] for n, node in enumerate(left)}
                for node, page in pages.items():
                    found[node] += page["nodes"]
                left = {n: p["pageInfo"]["endCursor"] for n, p in pages.items() if p["pageInfo"]["hasNextPage"]}
        raise TemporaryError("a pull request has too many review threads to be read", delay=300.0)


def _mark(pull: Pull) -> object:
    """What changes when somebody writes on a pull request."""
    return pull.unresolved, pull.more_threads, pull.changed
