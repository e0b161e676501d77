"""REST: who asks, which repository it is about, and which route answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from github import rest_shapes
from github.queries import Hub
from github.records import NOT_YOURS, Moved, Problem
from github.repository import Repository


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request, decoded. `me` is None for somebody without a token."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    me: str | None = None
    accept: str = ""

    def who(self) -> str:
        """Who asks. Raises Problem for somebody without a token."""
        if self.me is None:
            raise Problem("Requires authentication", status=401)
        return self.me

    def page(self, items: list[Any]) -> list[Any]:
        """The part of a list that was asked for."""
        size, number = min(100, int(self.query.get("per_page", "30"))), int(self.query.get("page", "1"))
        return items[(number - 1) * size : number * size]


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A call on one repository; `at` holds the parts of its path."""

    hub: Hub
    call: Call
    repository: Repository
    at: Mapping[str, str]

    def writer(self) -> str:
        """Who asks, if they may write. Raises Problem."""
        if self.repository.permission in ("READ", "TRIAGE"):
            raise Problem(NOT_YOURS, status=403)
        return self.call.who()


Reply = tuple[int, Any]  # a status, and JSON; None for no body, a string to be sent as it is
Answer = Callable[[Visit], Reply]


class Routes:
    """Paths below `/repos/{owner}/{name}`: `{x}` takes one part, `{x+}` all that follow."""

    def __init__(self) -> None:
        self._known: list[tuple[str, re.Pattern[str], Answer]] = []

    def __call__(self, method: str, path: str) -> Callable[[Answer], Answer]:
        """Decorates what answers it."""
        pattern = re.sub(r"\{(\w+)\+\}", r"(?P<\1>.+)", path)
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)

        def register(answer: Answer) -> Answer:
            self._known.append((method, re.compile(pattern), answer))
            return answer

        return register

    def find(self, method: str, path: str) -> tuple[Answer, dict[str, str]] | None:
        """Who answers, and the parts of the path. A slash in a branch's name may have come as %2F."""
        for known, pattern, answer in self._known:
            if known == method and (match := pattern.fullmatch(path)):
                return answer, {name: unquote(part) for name, part in match.groupdict().items()}
        return None


class Rest:
    """All routes over one server."""

    def __init__(self, hub: Hub, routes: Sequence[Routes]) -> None:
        self.hub, self.routes = hub, routes

    def answer(self, call: Call) -> Reply:
        """Raises Problem."""
        if call.path == "/user":
            return 200, rest_shapes.account(self.hub.url, self.hub.account(call.who()))
        if call.path == "/rate_limit":
            me = call.me or ""
            return 200, rest_shapes.limits(core=self.hub.budget_of(me, "core"), graphql=self.hub.budget_of(me))
        if call.path == "/":
            return 200, {"current_user_url": "/user"}  # `gh auth status` reads the headers
        found = re.fullmatch(r"/repos/([^/]+)/([^/]+)(/.*)?", call.path)
        repository = self.hub.find(f"{found[1]}/{found[2]}") if found else None
        if found is None or repository is None or (repository.private and call.me is None):
            raise not_found()
        if repository.full_name.lower() != f"{found[1]}/{found[2]}".lower():
            raise Moved(f"/repos/{repository.full_name}{found[3] or ''}", changes=call.method != "GET")
        repository.look()
        if call.method != "GET":
            call.who()
            if repository.archived:
                raise Problem("Repository was archived so is read-only.", status=403)
        for routes in self.routes:
            if known := routes.find(call.method, found[3] or ""):
                answer, at = known
                return answer(Visit(hub=self.hub, call=call, repository=repository, at=at))
        raise not_found()


def not_found() -> Problem:
    """What is not there, or not to be seen."""
    return Problem("Not Found", status=404)
