"""OpenAI's Codex, `codex exec`: prompt on standard input, one JSON object a line, threads that can be gone on with.

What it prints was read off 0.169.0. It says how many tokens were used, never what they cost; and of a thread that was
gone on with it says those of the whole thread. While the network is down it waits for it, as long as it takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from reconciler.agents._faults import meant
from reconciler.agents._lines import mapping, objects, plain, read, text
from reconciler.model.agent_kinds import AgentKind
from reconciler.model.agent_spec import AgentSpec
from reconciler.model.ports import Assignment, Invocation
from reconciler.model.report import Fault, Report, count, last_words, session

_GONE = "no rollout found for thread id"
# In the time zone of this machine; without a date the next time that the clock shows it.
_AGAIN = re.compile(r"try again at (?:([A-Z][a-z]{2}) (\d{1,2})(?:st|nd|rd|th), (\d{4}) )?(\d{1,2}:\d{2} [AP]M)")


class Codex:
    """The `codex` program, without its own sandbox: that would keep it from git's folder, which is outside the worktree."""

    program = "codex"

    def unfit(self, env: Mapping[str, str], *, root: bool) -> str | None:
        return None

    def invocation(self, spec: AgentSpec, given: Assignment) -> Invocation:
        chosen = (f"--model={given.model}",) if given.model else ()
        flags = ("--json", "--dangerously-bypass-approvals-and-sandbox", *chosen)
        command = ("exec", "resume", *flags, given.session) if given.session else ("exec", *flags)
        return Invocation(argv=("codex", *command, "-"), pass_env=AgentKind.CODEX.row.keys, prompt_on_stdin=True)

    def report(self, log: str, ended: datetime | None = None) -> Report:
        """How the run went, by its last turn."""
        lines = list(objects(log))
        last = next((line for line in reversed(lines) if _type(line) in ("turn.completed", "turn.failed")), None)
        done = last is not None and _type(last) == "turn.completed"
        error = "" if done else _error(lines, log)
        fault = _fault(error) if error else None
        again = _again(error, ended) if ended and fault is Fault.USAGE_LIMIT else None
        return Report(
            done=done,
            fault=fault,
            message=last_words(error or next(_spoken(reversed(lines)), "")),
            session=next((id for line in lines if (id := session(line.get("thread_id")))), None),
            tokens=_tokens(mapping(last.get("usage"))) if last else None,
            retry_at=again,
            worded=again is not None,
            of_session=True,
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


def _type(line: Mapping[str, Any]) -> str:
    return text(line.get("type"))


def _fault(error: str) -> Fault:
    return Fault.SESSION if _GONE in error else meant(error)


def _again(error: str, ended: datetime) -> datetime | None:
    """When a limit is lifted by the words of its message."""
    if (found := _AGAIN.search(error)) is None:
        return None
    month, day, year, clock = found.groups()
    today = f"{ended.astimezone():%b %d %Y}"
    try:
        day_of_it = f"{month} {day} {year}" if month else today
        local = datetime.strptime(f"{day_of_it} {clock}", "%b %d %Y %I:%M %p").astimezone()
    except ValueError:
        return None
    at = local + timedelta(minutes=1)  # the minute that it names has to be over
    return (at if month or at > ended else at + timedelta(days=1)).astimezone(UTC)


def _error(lines: list[Mapping[str, Any]], log: str) -> str:
    """Its last words, where that was an error."""
    last: Mapping[str, Any] = lines[-1] if lines else {}
    if _type(last) in ("turn.failed", "error"):
        return text(mapping(last.get("error")).get("message")) or text(last.get("message")) or "it failed"
    return next((line for line in plain(log) if _GONE in line), "") if not lines else ""


def _spoken(lines: Iterator[Mapping[str, Any]]) -> Iterator[str]:
    items = (mapping(line.get("item")) for line in lines if _type(line) == "item.completed")
    return (words for item in items if item.get("type") == "agent_message" and (words := text(item.get("text"))))


def _tokens(usage: Mapping[str, Any]) -> int | None:
    read_, cached, written = (count(usage.get(f"{name}_tokens")) for name in ("input", "cached_input", "output"))
    if read_ is None and written is None:
        return None
    return max((read_ or 0) - (cached or 0), 0) + (written or 0)


def _shown(line: Mapping[str, Any]) -> Iterator[str]:
    item = mapping(line.get("item"))
    match _type(line), item.get("type"):
        case "item.completed", "agent_message":
            yield text(item.get("text"))
        case "item.started", "command_execution":
            yield f"> {text(item.get('command'))}"
        case "item.completed", "command_execution":
            yield from (f"  {each}" for each in text(item.get("aggregated_output")).strip().splitlines()[:3])
        case "item.completed", "file_change":
            changes = item.get("changes")
            paths = [text(mapping(each).get("path")) for each in changes] if isinstance(changes, list) else []
            yield f"> changes {', '.join(paths)}".rstrip()
        case "error", _:
            yield f"! {text(line.get('message'))}"
        case "turn.completed", _:
            yield f"= completed, {_tokens(mapping(line.get('usage'))) or 0} tokens"
        case "turn.failed", _:
            yield f"= failed: {text(mapping(line.get('error')).get('message'))}"


agent = Codex()
