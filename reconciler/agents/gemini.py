"""Google's Gemini CLI: prompt on standard input, one JSON object a line, sessions that can be gone on with.

What it prints was read off 0.61.0. It says how many tokens a run has used, never what they cost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from reconciler.agents._faults import meant
from reconciler.agents._lines import mapping, objects, plain, read, text
from reconciler.model.agent_kinds import AgentKind
from reconciler.model.agent_spec import AgentSpec
from reconciler.model.ports import Assignment, Invocation
from reconciler.model.report import Fault, Report, count, last_words, session

_GONE = "Error resuming session"
_KEYLESS = re.compile(r"you must specify the \w+|set an Auth method|Please set an Auth")
_RETRIED = re.compile(r"^Attempt \d+ failed(.*)", re.MULTILINE)


# It takes its settings from the first of these that it finds in its own folder, in one above that, or at home. A folder above the
# worktree of a review is where agents can write: so the first is made to be that at home, or nothing.
_OWN_SETTINGS = """\
test -e .gemini/.env || test -e .env && exit 0
mkdir -p .gemini || exit
for file in "$HOME/.gemini/.env" "$HOME/.env"; do
  test -e "$file" && exec ln -s -- "$file" .gemini/.env
done
: > .gemini/.env
"""


class Gemini:
    """The `gemini` program. It may do everything without asking, and believes the worktree that it is started in."""

    program = "gemini"

    def unfit(self, env: Mapping[str, str], *, root: bool) -> str | None:
        return None

    def invocation(self, spec: AgentSpec, given: Assignment) -> Invocation:
        chosen = (f"--model={given.model}",) if given.model else ()
        resumed = (f"--resume={given.session}",) if given.session else ()
        return Invocation(
            before=(("/bin/sh", "-c", _OWN_SETTINGS),) if getattr(given, "apart", False) else (),
            argv=("gemini", "--output-format=stream-json", "--approval-mode=yolo", "--skip-trust", *chosen, *resumed),
            pass_env=(*AgentKind.GEMINI.row.keys, "GOOGLE_APPLICATION_CREDENTIALS"),
            prompt_on_stdin=True,
        )

    def report(self, log: str, ended: datetime | None = None) -> Report:
        lines = list(objects(log))
        result = next((line for line in reversed(lines) if line.get("type") == "result"), None)
        done = result is not None and result.get("status") == "success"
        error = "" if done else _error(result, log)
        return Report(
            done=done,
            fault=_fault(error) if error else None,
            message=last_words(error or _spoken(lines)),
            session=next((id for line in lines if (id := session(line.get("session_id")))), None),
            tokens=_tokens(mapping(result.get("stats"))) if result else None,
        )

    def cost(self, piece: str, before: float) -> float:
        return before

    def idle(self, line: str) -> bool:
        return False

    def answer(self, line: str) -> bytes:
        return b""

    def shown(self, log: str) -> Iterator[str]:
        for line in log.splitlines():
            found = read(line)
            yield from [line] if found is None else _shown(found)


def _fault(error: str) -> Fault:
    if _GONE in error:
        return Fault.SESSION
    return Fault.UNAVAILABLE if _KEYLESS.search(error) else meant(error)


def _error(result: Mapping[str, Any] | None, log: str) -> str:
    if result:
        return text(mapping(result.get("error")).get("message")) or "it failed"
    value = next((line for line in plain(log) if _GONE in line or _KEYLESS.search(line)), "")
    retried = _RETRIED.findall(log)
    return value or (retried[-1] if retried else "")


def _spoken(lines: list[Mapping[str, Any]]) -> str:
    """Its last words. They come in pieces; what a tool does ends them."""
    words = ""
    for line in lines:
        if line.get("type") == "message" and line.get("role") == "assistant":
            words += text(line.get("content"))
        elif line.get("type") == "tool_result":
            words = ""
    return words


def _tokens(stats: Mapping[str, Any]) -> int | None:
    read_, written = count(stats.get("input", stats.get("input_tokens"))), count(stats.get("output_tokens"))
    return None if read_ is None and written is None else (read_ or 0) + (written or 0)


def _shown(line: Mapping[str, Any]) -> Iterator[str]:
    match line.get("type"):
        case "message" if line.get("role") == "assistant":
            yield text(line.get("content"))
        case "tool_use":
            given = mapping(line.get("parameters"))
            what = next((words for name in ("command", "file_path", "path") if (words := text(given.get(name)))), "")
            yield f"> {text(line.get('tool_name'))} {what}".rstrip()
        case "tool_result":
            yield from (f"  {each}" for each in text(line.get("output")).strip().splitlines()[:3])
        case "result":
            error = text(mapping(line.get("error")).get("message"))
            yield f"= {text(line.get('status'))}" + (f": {error}" if error else "")


agent = Gemini()
