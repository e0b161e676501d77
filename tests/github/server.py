"""The server: a world behind a socket, with faults, a log, and one lock around all of it."""

from __future__ import annotations

import json
import tempfile
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from waiting import removed

from github import background, faults, graphql_api, merging, rest_pulls, rest_repository, ssh
from github.faults import Answer, Fault, Planned
from github.graphql_api import Request
from github.mutations import Mutations
from github.queries import Queries
from github.records import Moved, Problem
from github.rest_api import Call, Rest
from github.wire import Asked, Listener
from github.world import World


@dataclass(frozen=True, kw_only=True)
class Logged:
    """A request and its fate. `points` is what it cost, `changes` whether it may change something."""

    label: str
    by: str | None
    changes: bool
    status: int
    points: int
    fault: Fault | None
    body: Mapping[str, Any]
    query: str = ""


class GitHub(World):
    """A GitHub of one's own on a unix socket. Used in a `with`; everything it writes is in one short temporary folder.

    `env` is what `gh` and `git` need to reach it as `me`. Tests change its state directly, under `lock` while programs
    run beside them.
    """

    def __init__(self, *, host: str = "github.com", me: str = "robot") -> None:
        folder = Path(tempfile.mkdtemp(prefix="hub-", dir="/tmp"))  # a socket's path has at most 107 bytes
        super().__init__(folder, url=f"https://{host}", me=me)
        self.host = host
        self.lock = threading.RLock()
        self.requests: list[Logged] = []
        self._faults: list[Planned] = []
        self._broken: list[str] = []  # mistakes of this server, which no test may pass over
        self._closing = threading.Event()
        self._socket = folder / "s"
        self._ssh = ssh.write(folder / "ssh", folder / "git")
        self._routes = Rest(self, [rest_pulls.routes, rest_repository.routes])
        config = folder / "config"
        config.mkdir()
        (config / "config.yml").write_text(f'version: "1"\nhttp_unix_socket: {self._socket}\n')

    def __enter__(self) -> GitHub:
        self._listener = Listener(self._socket, self.answer)
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._listener.close()
        removed(self.folder)
        if self._broken:
            raise AssertionError("the local GitHub broke:\n" + "\n".join(self._broken))

    def rename(self, name: str, to: str) -> None:
        """The same, while nothing is asked: its folder moves."""
        with self.lock:
            super().rename(name, to)

    def remove(self, name: str) -> None:
        """The same, while nothing is asked: its folder goes."""
        with self.lock:
            super().remove(name)

    @property
    def env(self) -> dict[str, str]:
        """What to add to an environment, for `gh` and for `git`."""
        return self.env_of(self.me)

    def env_of(self, login: str | None) -> dict[str, str]:
        """The same for another account; None is somebody who is not logged in."""
        enterprise = self.host != "github.com"
        token = {"GH_ENTERPRISE_TOKEN" if enterprise else "GH_TOKEN": self.token(login)} if login else {}
        return {
            **token,
            **({"GH_HOST": self.host} if enterprise else {}),
            "GH_CONFIG_DIR": str(self.folder / "config"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "GH_TELEMETRY": "false",
            "GH_NO_UPDATE_NOTIFIER": "1",
            "GH_NO_EXTENSION_UPDATE_NOTIFIER": "1",
            "GH_PROMPT_DISABLED": "1",
            "NO_COLOR": "1",
            "GIT_SSH_COMMAND": str(self._ssh),
            "GIT_SSH_VARIANT": "ssh",
        }

    def fault(self, fault: Fault, *, on: str = "", times: int = 1) -> Planned:
        """Have the next so many requests go wrong whose label `on` (a regular expression) is found in.

        Labels: `PUT /repos/acme/app/pulls/1/merge`, `POST /graphql query PullRequestList repository`.
        """
        planned = Planned(fault=fault, on=on, times=times)
        self._faults.append(planned)
        return planned

    def lose_push(self, name: str) -> None:
        """Have the next push to a repository taken, and the answer to it lost."""
        repository = self.find(name)
        assert repository is not None
        repository.bare.note("lose-push", "")

    def changes(self) -> list[str]:
        """The labels of all requests that may have changed something, in order."""
        return [each.label for each in self.requests if each.changes]

    def questions(self) -> list[str]:
        """The queries of GraphQL that were asked, in order."""
        return [each.query for each in self.requests if each.query]

    # --- answering -----------------------------------------------------------------------------------------

    def answer(self, asked: Asked) -> Answer:
        """What one request gets; never raises."""
        path = self._local_path(asked.target)
        request = self._graphql(asked) if path == "/graphql" else None
        label = f"{asked.method} {path}" + (f" {request.label()}" if request else "")
        changes = "mutation" in label.split() if request else asked.method != "GET"
        with self.lock:
            fault = self._next_fault(label)
            points, done = 0, None
            if fault is None or fault.done:
                done, points = self._work(asked, path, request)
            answer = self._spoiled(fault, done)
            self.requests.append(
                Logged(
                    label=label,
                    by=self._who(asked),
                    changes=changes,
                    status=answer.status,
                    points=points,
                    fault=fault,
                    body=request.variables if request else _json(asked.body),
                    query=request.query if request else "",
                )
            )
        if fault is not None and fault.hang_s:
            self._closing.wait(fault.hang_s)
        return answer

    def _next_fault(self, label: str) -> Fault | None:
        for planned in self._faults:
            if planned.matches(label):
                planned.times -= 1
                return planned.fault
        return None

    def _spoiled(self, fault: Fault | None, done: Answer | None) -> Answer:
        if fault is not None and fault.answer is not None:
            return fault.answer
        assert done is not None
        if fault is None or done.body is None:
            return done
        return Answer(status=done.status, headers=done.headers, body=faults.spoil(done.body, fault))

    def _work(self, asked: Asked, path: str, request: Request | None) -> tuple[Answer, int]:
        me = self._who(asked)
        status, told, points = 200, None, 0
        elsewhere: dict[str, str] = {}
        try:
            if asked.headers.get("authorization") and me is None:
                raise Problem("Bad credentials", status=401)
            if request is not None:
                if me is None:
                    raise Problem("This endpoint requires you to be authenticated.", status=401)
                root = (Mutations if "mutation" in request.label().split()[0] else Queries)(self, me)
                self._settle()
                told, points = graphql_api.answer(request, root, self.budget_of(me))
            else:
                status, told = self._rest(asked, path, me)
                points = 1
        except Problem as problem:
            status, told = problem.status, _problem(problem)
            if isinstance(problem, Moved):
                elsewhere = {"Location": self._address(asked, problem.path)}
        except Exception:  # noqa: BLE001 - told at the end; a thread that dies would tell nobody
            self._broken.append(traceback.format_exc())
            status, told = 500, {"message": "the local GitHub broke"}
        body = b"" if told is None else told.encode() if isinstance(told, str) else json.dumps(told).encode()
        headers = self._headers(me or "", "core" if request is None else "graphql")
        return Answer(status=status, body=body, headers={**headers, **elsewhere}), points

    def _rest(self, asked: Asked, path: str, me: str | None) -> tuple[int, Any]:
        query = dict(parse_qsl(urlsplit(asked.target).query))
        call = Call(
            method=asked.method, path=path, query=query, body=_json(asked.body), me=me,
            accept=asked.headers.get("accept", ""),
        )  # fmt: skip
        budget = self.budget_of(me or "", "core")
        if not budget.remaining and path != "/rate_limit":
            raise Problem(f"API rate limit exceeded for user ID {self.account(me or 'nobody').number}.", status=403)
        budget.used += path != "/rate_limit"
        self._settle()
        return self._routes.answer(call)

    def _settle(self) -> None:
        """What GitHub does by itself: take in pushes, merge what was to be merged once it may be."""
        for repository in self.repositories():
            repository.late_pushes = max(0, repository.late_pushes - 1)
            repository.look()
            repository.tell_git()
            background.work(repository)
            for pull in repository.opened():
                if pull.auto_merge and merging.merge_state(repository, pull, repository.mergeable(pull)) == "CLEAN":
                    auto = pull.auto_merge
                    merging.merge(
                        repository,
                        pull.number,
                        auto.method,
                        by=auto.by,
                        expected=None,
                        title=auto.title,
                        body=auto.body,
                    )

    def _who(self, asked: Asked) -> str | None:
        return self.tokens.get(asked.headers.get("authorization", "").rpartition(" ")[2])

    def _headers(self, me: str, resource: str) -> dict[str, str]:
        budget = self.budget_of(me, resource)
        return {
            "X-RateLimit-Limit": str(budget.limit),
            "X-RateLimit-Remaining": str(budget.remaining),
            "X-RateLimit-Used": str(budget.used),
            "X-RateLimit-Reset": str(int(budget.reset_at.timestamp())),
            "X-RateLimit-Resource": resource,
            "X-GitHub-Request-Id": f"{self.number():04X}",
            "X-OAuth-Scopes": "read:org, repo, workflow",
        }

    def _local_path(self, target: str) -> str:
        """Without what an enterprise server puts before it."""
        path = urlsplit(target).path
        return path.removeprefix("/api/v3") if path.startswith("/api/v3/") else path.replace("/api/graphql", "/graphql")

    def _address(self, asked: Asked, path: str) -> str:
        """The whole address of a path of the REST API."""
        before = "/api/v3" if asked.target.startswith("/api/v3/") else ""
        return f"https://{asked.headers['host']}{before}{path}"

    def _graphql(self, asked: Asked) -> Request:
        body = _json(asked.body)
        return Request(str(body.get("query", "")), body.get("variables") or {}, body.get("operationName") or None)


def _json(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body or b"{}")
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _problem(problem: Problem) -> dict[str, Any]:
    told = {"message": problem.title, "errors": problem.errors} if problem.errors else {"message": problem.message}
    return {**told, "documentation_url": "https://docs.github.com/rest", "status": str(problem.status)}
