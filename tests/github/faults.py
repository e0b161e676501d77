"""What can go wrong between a program and GitHub, each for the next so many requests that match.

A fault answers in place of the server (`done` False), or lets the server do the work and then spoils the answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SECONDARY = (
    "You have exceeded a secondary rate limit. Please wait a few minutes before you try again. If you reach out to "
    "GitHub Support for help, please include the request ID."
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What goes over the wire. `body` None: the connection is dropped without a word."""

    status: int
    body: bytes | None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """`answer` is what the client gets; None with `spoil`: the server's own answer, with that done to its `data`."""

    answer: Answer | None = None
    done: bool = False
    hang_s: float = 0.0
    spoil: tuple[str, ...] = ()  # the path of a value in `data` that becomes null
    error: Mapping[str, Any] | None = None  # what is added to `errors` for it


@dataclass(kw_only=True)
class Planned:
    """A fault with the requests that it waits for: `on` is searched for in a request's label."""

    fault: Fault
    on: str
    times: int

    def matches(self, label: str) -> bool:
        """True when it is for this request."""
        return self.times > 0 and re.search(self.on, label) is not None


def refused(status: int, message: str, *, done: bool = False, headers: Mapping[str, str] | None = None) -> Fault:
    """An error in GitHub's JSON, e.g. `refused(405, "Base branch was modified. Review and try the merge again.")`."""
    documentation = "https://docs.github.com/rest"
    body = {"message": message, "documentation_url": documentation, "status": str(status)}
    return Fault(answer=Answer(status=status, body=json.dumps(body).encode(), headers=headers or {}), done=done)


def unauthorized() -> Fault:
    """401: the token is no longer good."""
    return refused(401, "Bad credentials")


def secondary_limit(retry_after_s: int | None = 60, *, status: int = 403) -> Fault:
    """Too much at once, with or without `Retry-After`; GitHub says 403 or 429."""
    return refused(status, SECONDARY, headers={} if retry_after_s is None else {"Retry-After": str(retry_after_s)})


def primary_limit(number: int = 1) -> Fault:
    """The hour's points are used up: HTTP 200 with an error, as GraphQL says it."""
    message = f"API rate limit exceeded for user ID {number}."
    return Fault(
        answer=Answer(status=200, body=json.dumps({"errors": [{"type": "RATE_LIMITED", "message": message}]}).encode())
    )


def server_error(status: int = 502, *, done: bool = False) -> Fault:
    """A page from the load balancer. `done`: what was asked for has happened all the same."""
    html = b"<html><body><h1>502 Bad Gateway</h1>The server returned an invalid response.</body></html>"
    return Fault(answer=Answer(status=status, body=html, headers={"Content-Type": "text/html"}), done=done)


def lost(status: int = 502) -> Fault:
    """Done, and the answer says it failed."""
    return server_error(status, done=True)


def dropped(*, done: bool = False) -> Fault:
    """The connection ends without an answer."""
    return Fault(answer=Answer(status=0, body=None), done=done)


def hang(seconds: float, *, done: bool = False) -> Fault:
    """No answer for so long, then the connection ends."""
    return Fault(answer=Answer(status=0, body=None), done=done, hang_s=seconds)


def garbage() -> Fault:
    """An answer that is no JSON."""
    return Fault(answer=Answer(status=200, body=b"garbage"))


def empty() -> Fault:
    """An answer without a body."""
    return Fault(answer=Answer(status=200, body=b""))


def partial(
    *path: str, type: str = "INTERNAL", message: str = "Something went wrong while executing your query."
) -> Fault:
    """`data` with a null at `path`, and an error that says so."""
    steps = [int(step) if step.isdecimal() else step for step in path]
    return Fault(done=True, spoil=path, error={"type": type, "path": steps, "message": message})


def nothing(*path: str) -> Fault:
    """`data` with a null at `path`, and no error."""
    return Fault(done=True, spoil=path)


def spoil(body: bytes, fault: Fault) -> bytes:
    """The server's answer after the fault."""
    told = json.loads(body)
    at = told["data"]
    for name in fault.spoil[:-1]:
        at = at[int(name) if isinstance(at, list) else name]
    at[int(fault.spoil[-1]) if isinstance(at, list) else fault.spoil[-1]] = None
    if fault.error is not None:
        told.setdefault("errors", []).append(fault.error)
    return json.dumps(told).encode()
