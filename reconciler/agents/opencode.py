"""OpenCode, `opencode run`: prompt on standard input, one JSON object a line, sessions that can be gone on with.

What it prints was read off 1.18.33. Each step says what it used and cost; there is no line that says so of the whole run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from reconciler.agents._faults import meant
from reconciler.agents._lines import mapping, objects, plain, read, text, total
from reconciler.model.agent_kinds import AgentKind
from reconciler.model.agent_spec import AgentSpec
from reconciler.model.ports import Assignment, Invocation
from reconciler.model.report import Fault, Report, count, dollars, last_words, session

_GONE = "Session not found"


class OpenCode:
    """The `opencode` program. It may do whatever its own configuration does not deny."""

    program = "opencode"

    def unfit(self, env: Mapping[str, str], *, root: bool) -> str | None:
        return None

    def invocation(self, spec: AgentSpec, given: Assignment) -> Invocation:
        chosen = (f"--model={given.model}",) if given.model else ()
        resumed = (f"--session={given.session}",) if given.session else ()
        return Invocation(
            argv=("opencode", "run", "--format=json", "--auto", *chosen, *resumed),
            env={"OPENCODE_DISABLE_AUTOUPDATE": "1"},
            pass_env=AgentKind.OPENCODE.row.keys,
            prompt_on_stdin=True,
        )

    def report(self, log: str, ended: datetime | None = None) -> Report:
        lines = list(objects(log))
        steps = [mapping(line.get("part")) for line in lines if line.get("type") == "step_finish"]
        last: Mapping[str, Any] = lines[-1] if lines else {}
        done = last.get("type") == "step_finish" and mapping(last.get("part")).get("reason") == "stop"
        error = _error(last, log)
        costs = [cost for step in steps if (cost := dollars(step.get("cost"))) is not None]
        return Report(
            done=done,
            fault=_fault(error) if error else None,
            message=last_words(error or next(_spoken(reversed(lines)), "")),
            session=next((id for line in lines if (id := session(line.get("sessionID")))), None),
            usd=sum(costs) if costs else None,
            tokens=total(_tokens(mapping(step.get("tokens"))) for step in steps),
        )

    def cost(self, piece: str, before: float) -> float:
        """Each step says what it has cost by itself."""
        steps = (mapping(line.get("part")) for line in objects(piece) if line.get("type") == "step_finish")
        return before + sum(dollars(step.get("cost")) or 0.0 for step in steps)

    def idle(self, line: str) -> bool:
        return False

    def answer(self, line: str) -> bytes:
        return b""

    def shown(self, log: str) -> Iterator[str]:
        for line in log.splitlines():
            found = read(line)
            yield from [line] if found is None else _shown(found)


def _fault(error: str) -> Fault:
    return Fault.SESSION if _GONE in error else meant(error)


def _error(last: Mapping[str, Any], log: str) -> str:
    if last.get("type") == "error":
        return _message_of(mapping(last.get("error")))
    return _GONE if not last and any(_GONE in line for line in plain(log)) else ""


def _message_of(error: Mapping[str, Any]) -> str:
    value = mapping(error.get("data"))
    status = value.get("statusCode")
    words = (text(error.get("name")), text(value.get("message")), f"({status})" if isinstance(status, int) else "")
    return " ".join(filter(None, words)) or "it failed"


def _spoken(lines: Iterator[Mapping[str, Any]]) -> Iterator[str]:
    found = (text(mapping(line.get("part")).get("text")) for line in lines if line.get("type") == "text")
    return (words for words in found if words.strip())


def _tokens(used: Mapping[str, Any]) -> int | None:
    cache = mapping(used.get("cache"))
    return total(map(count, (used.get("input"), used.get("output"), used.get("reasoning"), cache.get("write"))))


def _shown(line: Mapping[str, Any]) -> Iterator[str]:
    part = mapping(line.get("part"))
    match line.get("type"):
        case "text":
            yield text(part.get("text"))
        case "tool_use":
            state = mapping(part.get("state"))
            given = mapping(state.get("input"))
            what = next((words for name in ("command", "filePath", "pattern") if (words := text(given.get(name)))), "")
            yield f"> {text(part.get('tool'))} {what}".rstrip()
            yield from (f"  {each}" for each in text(state.get("output")).strip().splitlines()[:3])
        case "error":
            yield f"! {_message_of(mapping(line.get('error')))}"


agent = OpenCode()
