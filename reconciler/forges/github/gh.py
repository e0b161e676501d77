"""Runs `gh api`: the user's login, hosts and proxies; never another command of gh, which decide things by themselves."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

from msgspec import Struct

from reconciler.forges.github import answers
from reconciler.forges.github.answers import Answer, LimitError, SlowError
from reconciler.forges.github.spending import Spending
from reconciler.model.errors import PermanentError, ReconcileError, TemporaryError
from reconciler.system import shell
from reconciler.system.shell import Finished

READ_S = 30.0
WRITE_S = 60.0
PAGE = 100
PAGES_MAX = 50
AT_ONCE = 10  # pull requests that are asked about at once
APART_S = 1.0  # GitHub asks for so much between two changes
_QUIET = {
    "GH_TELEMETRY": "false",
    "GH_PROMPT_DISABLED": "1",
    "GH_NO_UPDATE_NOTIFIER": "1",
    "GH_NO_EXTENSION_UPDATE_NOTIFIER": "1",
    "GH_SPINNER_DISABLED": "1",
    "NO_COLOR": "1",
}
_T = TypeVar("_T")
_NUMBERED = re.compile(r"n\d+")  # what a pull request that is asked for by its number is called in a question
_LOUD = ("GH_DEBUG", "DEBUG", "GH_FORCE_TTY", "CLICOLOR_FORCE", "GH_REPO", "GH_PAGER", "PAGER")


class Reply(Struct, frozen=True):
    """The answer to a query. `withheld`: where in it something is missing because the login may not read it, and why."""

    data: Mapping[str, Any]
    withheld: tuple[tuple[tuple[str | int, ...], str], ...] = ()


class Gh:
    """The API of one GitHub. Safe to share between threads.

    Every call raises TemporaryError (rate limits too, with the time that GitHub gives), LostError where no answer came,
    PermanentError where only a person can help.
    """

    def __init__(self, host: str, environ: Mapping[str, str], *, apart_s: float = APART_S) -> None:
        self.host = host
        self.spending = Spending()
        self._env = {**{name: value for name, value in environ.items() if name not in _LOUD}, **_QUIET}
        self._apart_s = apart_s
        self._turn = threading.Lock()
        self._changed = 0.0  # when the last change was asked for, by the monotonic clock
        self._limited: tuple[float, str] = (0.0, "")  # until when nothing is asked, and what was written
        self.logged_out = False  # as the last answer has it

    def graphql(self, query: str, *, spare: Collection[str] = ()) -> Reply:
        """What a query gives. An answer with errors is none, whatever else it holds, unless all that is wrong with it is
        that the login may not read what stands below a field named in `spare`.

        Raises SlowError where GitHub took too long: a smaller question may be answered.
        """
        answer = self._ask("graphql", method="POST", fields={"query": query}, timeout_s=READ_S)
        body = answer.body if isinstance(answer.body, dict) else {}
        errors, data = body.get("errors"), body.get("data")
        withheld = _withheld(errors, spare)
        if withheld is None or not isinstance(data, dict):
            raise self._refused(errors, answer)
        self.spending.spent(data.get("rateLimit"))
        return Reply(data, withheld)

    def pages(self, path: str, *, missing: tuple[int, ...] = ()) -> list[Any] | None:
        """What all pages of a list hold; None for a status that is in `missing`."""
        found: list[Any] = []
        for number in range(1, PAGES_MAX + 1):
            page = self.get(f"{path}?per_page={PAGE}&page={number}", missing=missing)
            if not isinstance(page, list):
                return None
            found += page
            if len(page) < PAGE:
                return found
        raise TemporaryError(f"{path} has more than {PAGES_MAX} pages", delay=300.0)

    def get(self, path: str, *, missing: tuple[int, ...] = ()) -> Any:
        """What a path of the REST API holds; None for a status that is in `missing`."""
        answer = self._answered(path, method="GET", fields=None, timeout_s=READ_S)
        # With 403, GitHub also says that too much was asked: that tells nothing of what is there.
        if answer.status in missing and answers.limited(answer, time.time()) is None:
            return None
        if not answer.ok:
            raise self._noted(answer, f"GET {path}")
        return answer.body

    def denied(self, path: str) -> str | None:
        """Why the login may not read what a path of the REST API holds; None where it may, or where nobody says so."""
        answer = self._answered(path, method="GET", fields=None, timeout_s=READ_S)
        if answers.limited(answer, time.time()) is not None:
            raise self._noted(answer, f"GET {path}")
        return answer.message or "403" if answer.status == 403 else None

    def change(self, method: str, path: str, fields: Mapping[str, Any] | None = None) -> Answer:
        """Ask for a change, some time after the one before; whatever the answer is but a limit, a lost one, no login."""
        with self._turn:
            time.sleep(max(0.0, self._changed + self._apart_s - time.monotonic()))
            try:
                answer = self._answered(path, method=method, fields=fields, timeout_s=WRITE_S)
            finally:
                self._changed = time.monotonic()
        if answer.status in (401, 408, 429) or answer.status >= 500 or answers.limited(answer, time.time()) is not None:
            raise self._noted(answer, f"{method} {path}")
        return answer

    def _ask(self, path: str, **how: Any) -> Answer:
        answer = self._answered(path, **how)
        if not answer.ok:
            raise self._noted(answer, path)
        return answer

    def _answered(self, path: str, *, method: str, fields: Mapping[str, Any] | None, timeout_s: float) -> Answer:
        until, why = self._limited
        if (left := until - time.monotonic()) > 0:
            raise LimitError(why, delay=left)
        # The path is relative on purpose: one that begins with a slash is a file to some shells.
        argv: tuple[str, ...] = ("gh", "api", "--include", "--hostname", self.host, "--method", method)
        argv += ("--input", "-", path) if fields is not None else (path,)
        try:
            finished = self._started(argv, None if fields is None else json.dumps(fields).encode(), timeout_s)
        except TemporaryError as error:
            raise SlowError(f"GitHub did not answer: {error}", delay=error.delay, hint=answers.CHECK) from error
        try:
            answer = answers.read(finished)
        except PermanentError:
            self.logged_out = True
            raise
        self.logged_out = answer.status == 401
        return answer

    def _refused(self, errors: object, answer: Answer) -> Exception:
        message = answer.message or "an answer without data"
        kinds = (
            {error.get("type") for error in errors if isinstance(error, dict)} if isinstance(errors, list) else set()
        )
        if "RATE_LIMITED" in kinds or answers.limited(answer, time.time()) is not None:
            return self._noted(answer, message)
        if "NOT_FOUND" in kinds and "repository" in message.lower():
            return PermanentError(f"{self.host}: {message}", hint="gh auth status")
        if "doesn't exist on type" in message.lower():
            return PermanentError(f"{self.host} is too old a GitHub: {message[:300]}", hint="write 'forge: local'")
        if "INSUFFICIENT_SCOPES" in kinds or "FORBIDDEN" in kinds:
            return PermanentError(
                f"this login may not ask that of {self.host}: {message}", hint=answers.LOG_IN_OTHERWISE
            )
        if answers.took_too_long(message):
            return SlowError(f"GitHub took too long: {message[:300]}", delay=answers.NOT_YET_S)
        return TemporaryError(f"GitHub answered in part only: {message[:300]}", delay=answers.NOT_YET_S)

    def _noted(self, answer: Answer, what: str) -> Exception:
        """The refusal as an error; a limit is remembered, so that nothing is asked for nothing."""
        now = time.time()
        error = answers.refusal(answer, what, now)
        if (delay := answers.limited(answer, now)) is not None:
            until = time.strftime("%H:%M:%S", time.localtime(now + delay))
            message = f"GitHub's rate limit is used up until {until}: {answer.message[:200] or what}"
            self._limited = time.monotonic() + delay, message
            return LimitError(message, delay=delay)
        return error

    def _started(self, argv: tuple[str, ...], stdin: bytes | None, timeout_s: float) -> Finished:
        # Away from every checkout: gh would look at the remotes of the one that it stands in.
        return shell.run(argv, env=self._env, cwd="/", stdin=stdin, timeout_s=timeout_s)


def asked_in_parts(about: Sequence[_T], ask: Callable[[Sequence[_T]], None]) -> str:
    """Ask about pull requests, some at once; what went wrong, after which no more are asked about, or nothing. Raises LimitError."""
    for start in range(0, len(about), AT_ONCE):
        try:
            ask(about[start : start + AT_ONCE])
        except LimitError:
            raise
        except ReconcileError as error:
            return str(error)
    return ""


def _withheld(errors: object, spare: Collection[str]) -> tuple[tuple[tuple[str | int, ...], str], ...] | None:
    """Where something is withheld from the login; None where an error says anything else, or is about anything else."""
    if not errors:
        return ()
    if not isinstance(errors, list):
        return None
    found = []
    for error in errors:
        path = error.get("path") if isinstance(error, dict) else None
        if not isinstance(path, list):
            return None
        if error.get("type") == "NOT_FOUND" and len(path) == 2 and _NUMBERED.fullmatch(str(path[1])):
            continue  # that one pull request is gone: its place in the answer is empty
        if error.get("type") != "FORBIDDEN" or not set(spare) & {step for step in path if isinstance(step, str)}:
            return None
        found.append((tuple(path), str(error.get("message") or "")))
    return tuple(found)


def quoted(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="")
