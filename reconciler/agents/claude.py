"""Claude Code, `claude -p`: prompt on standard input, one JSON object a line, sessions that can be gone on with.

What it prints was read off 2.1.330. Its exit status and its `subtype` say little: a dead key ends as `success` with
`is_error`, refused tools as success without anything done, SIGINT with 0, SIGTERM without a result.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from reconciler.agents._lines import items, mapping, objects, plain, read, text, total
from reconciler.model.agent_kinds import AgentKind
from reconciler.model.agent_spec import AgentSpec
from reconciler.model.ports import Assignment, Invocation
from reconciler.model.report import Fault, Report, count, dollars, last_words, session

# What its own words for a failed request mean to us.
_WORDS = {
    "rate_limit": Fault.USAGE_LIMIT,
    "usage_limit_reached": Fault.USAGE_LIMIT,
    "authentication_failed": Fault.UNAVAILABLE,
    "billing_error": Fault.UNPAID,
    "model_not_found": Fault.MODEL,
    "connection_failed": Fault.NETWORK,
    "budget_exhausted": Fault.BUDGET,
    "error_max_budget_usd": Fault.BUDGET,
    "prompt_too_long": Fault.CONTEXT,
}
_STATUS = {
    429: Fault.USAGE_LIMIT,
    401: Fault.UNAVAILABLE,
    402: Fault.UNPAID,
    403: Fault.UNAVAILABLE,
    404: Fault.MODEL,
    **dict.fromkeys((500, 502, 503, 504, 529), Fault.NETWORK),
}
_TEXTS = (
    (re.compile(r"No conversation found with session ID|Session ID \S+ is already in use"), Fault.SESSION),
    (re.compile(r"Credit balance is too low"), Fault.UNPAID),
    (re.compile(r"There's an issue with the selected model"), Fault.MODEL),
    (re.compile(r"Not logged in|Invalid API key|root/sudo privileges|Please run /login"), Fault.UNAVAILABLE),
)
# All of what the result of a failed run says, and only there: an answer or a file that is shown may hold the same words.
_LIMIT = re.compile(r"(?:Claude AI )?usage limit reached\|(\d{10})|You've hit your .*limit")
_GLOB = re.compile(r"[\\*?\[\]{}()!+@|]")
_OF_A_TURN = ("assistant", "user", "result", "stream_event")
_COUNTED = ("input_tokens", "output_tokens", "cache_creation_input_tokens")
_COUNTED_BY_MODEL = ("inputTokens", "outputTokens", "cacheCreationInputTokens")


class Claude:
    """The `claude` program. It may do everything in its worktree without asking: nobody is there to be asked."""

    program = "claude"

    def unfit(self, env: Mapping[str, str], *, root: bool) -> str | None:
        """Why it would refuse to work in this environment."""
        if root and env.get("IS_SANDBOX") != "1":
            return (
                "claude does not work unattended as root, unless IS_SANDBOX=1 (spec.agent.env) says that it is in one"
            )
        return None

    def invocation(self, spec: AgentSpec, given: Assignment) -> Invocation:
        chosen = (f"--model={given.model}",) if given.model else ()
        resumed = (f"--resume={given.session}",) if given.session else ()
        limit = (f"--max-budget-usd={given.usd:.4f}",) if given.usd is not None else ()
        # An older watch, under which this file was put by an upgrade, says nothing of these.
        apart = _apart(given.values["worktree"]) if getattr(given, "apart", False) else ()
        answer = (f"--json-schema={schema}",) if (schema := getattr(given, "schema", "")) else ()
        return Invocation(
            argv=(
                *("claude", "--print", "--output-format=stream-json", "--verbose", "--dangerously-skip-permissions"),
                *(*chosen, *resumed, *limit, *apart, *answer),
            ),
            env={"DISABLE_AUTOUPDATER": "1"},  # a program that changes under a running agent is nobody's wish
            pass_env=AgentKind.CLAUDE.row.keys,
            prompt_on_stdin=True,
        )

    def report(self, log: str, ended: datetime | None = None) -> Report:
        """How the run went. Without a result line it was ended from outside: then what it used is a lower bound."""
        lines = list(objects(log))
        result = next((line for line in reversed(lines) if line.get("type") == "result"), None)
        fault = _fault(lines, result, log)
        ended_well = result is not None and fault in (None, Fault.REFUSED)
        at, worded = _reset(lines, result) if fault is Fault.USAGE_LIMIT else (None, False)
        return Report(
            done=ended_well,
            fault=fault,
            message=_final_message(lines, result, log),
            session=next((id for line in lines if (id := session(line.get("session_id")))), None),
            usd=None if result is None else _cost(result),
            tokens=_spoken(lines) if result is None else _tokens(result),
            retry_at=at,
            worded=worded,
        )

    def cost(self, piece: str, before: float) -> float:
        return before

    def idle(self, line: str) -> bool:
        """A turn begins with what the system says of itself, `init`, or with words; all else it may print between two."""
        found = read(line) or {}
        begins = found.get("type") == "system" and found.get("subtype") == "init"
        return bool(found) and not begins and found.get("type") not in _OF_A_TURN

    def answer(self, line: str) -> bytes:
        """What it gave to its tool StructuredOutput last; it prints that once more where it ends."""
        found = read(line) or {}
        given = found.get("structured_output") if found.get("type") == "result" else None
        return json.dumps(given).encode() if isinstance(given, dict) else b""

    def shown(self, log: str) -> Iterator[str]:
        """The log for people: what was written, which tools were used, what they answered in short."""
        for line in log.splitlines():
            found = read(line)
            yield from [line] if found is None else _shown(found)


def _apart(worktree: str) -> tuple[str, ...]:
    """It reads the words for agents in every folder above its own, and starts the servers that are named there."""
    above = list(map(str, PurePosixPath(worktree).parents))
    words = [posixpath.join(folder, name) for folder in above for name in ("CLAUDE.md", "CLAUDE.local.md", "AGENTS.md")]
    # What is further up may be the user's own settings.
    words += [posixpath.join(folder, ".claude/**") for folder in above[:2]]
    plain = [_GLOB.sub(r"\\\g<0>", word.removesuffix("**")) + "**" * word.endswith("**") for word in words]
    return "--strict-mcp-config", f"--settings={json.dumps({'claudeMdExcludes': plain})}"


def _fault(lines: list[Mapping[str, Any]], result: Mapping[str, Any] | None, log: str) -> Fault | None:
    if result and result.get("is_error") is not True and text(result.get("subtype")) == "success":
        return Fault.REFUSED if result.get("permission_denials") else None
    speaking = (line for line in reversed(lines) if line.get("type") in ("assistant", "system"))
    last: Mapping[str, Any] = next(speaking, {})
    found = _by_word(result or {}, last)
    if found:
        return found
    if result and _LIMIT.match(text(result.get("result"))):
        return Fault.USAGE_LIMIT
    ours = (text(result.get("result")), *map(text, _errors(result))) if result else tuple(plain(log))[-3:]
    printed = "\n".join(ours)
    found = next((fault for pattern, fault in _TEXTS if pattern.search(printed)), None)
    return found or (Fault.FAILED if result else None)


def _by_word(result: Mapping[str, Any], last: Mapping[str, Any]) -> Fault | None:
    """What the result, or the last thing before it, says of a request that failed."""
    names = (("terminal_reason", result), ("subtype", result), ("api_error", result), ("error", last))
    words = (found for name, each in names if (found := _WORDS.get(text(each.get(name)))))
    status = result.get("api_error_status") or last.get("api_error_status") or last.get("error_status")
    return next(words, None) or (_STATUS.get(status) if isinstance(status, int) else None)


def _errors(result: Mapping[str, Any]) -> list[object]:
    found = result.get("errors")
    return found if isinstance(found, list) else []


def _final_message(lines: list[Mapping[str, Any]], result: Mapping[str, Any] | None, log: str) -> str:
    spoken = [block for line in lines for block in _texts(line)]
    last = spoken[-1] if spoken else ""
    if result is None:
        return last_words(last or next(iter(reversed(list(plain(log)))), ""))
    words = text(result.get("result")) or "; ".join(map(text, _errors(result))) or last or text(result.get("subtype"))
    refused = dict.fromkeys(text(each.get("tool_name")) for each in items(result.get("permission_denials")))
    return last_words(f"{words} (it was refused: {', '.join(refused)})" if refused else words)


def _texts(line: Mapping[str, Any]) -> Iterator[str]:
    for block in items(mapping(line.get("message")).get("content")) if line.get("type") == "assistant" else ():
        if words := text(block.get("text")).strip():
            yield words


def _cost(result: Mapping[str, Any]) -> float | None:
    """What this run cost. `total_cost_usd` is of the whole session, also of the part before it was resumed."""
    own = mapping(result.get("model_usage_since_last_result"))
    costs = [cost for each in own.values() if (cost := dollars(mapping(each).get("costUSD"))) is not None]
    return sum(costs) if costs else dollars(result.get("total_cost_usd"))


def _tokens(result: Mapping[str, Any]) -> int | None:
    own = mapping(result.get("model_usage_since_last_result"))
    if own:
        return total(count(mapping(each).get(name)) for each in own.values() for name in _COUNTED_BY_MODEL)
    return total(count(mapping(result.get("usage")).get(name)) for name in _COUNTED)


def _spoken(lines: list[Mapping[str, Any]]) -> int | None:
    """The tokens of a run that says no total. A message stands on as many lines as it has parts."""
    messages = {
        text(message.get("id")): mapping(message.get("usage"))
        for line in lines
        if line.get("type") == "assistant" and (message := mapping(line.get("message")))
    }
    return total(count(usage.get(name)) for usage in messages.values() for name in _COUNTED)


def _reset(lines: list[Mapping[str, Any]], result: Mapping[str, Any] | None) -> tuple[datetime | None, bool]:
    """When the limit is lifted, and whether only a sentence says so."""
    for line in reversed(lines):
        value = line if line.get("type") == "rate_limit_event" else mapping(line.get("api_error_params"))
        info = mapping(value.get("rate_limit_info"))
        if info.get("status") == "rejected" and (at := _time(info.get("resetsAt"))):
            return at, False
    found = _LIMIT.match(text(result.get("result"))) if result else None
    return (_time(int(found[1])), True) if found and found[1] else (None, False)


def _time(seconds: object) -> datetime | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < 2**32:
        return None
    return datetime.fromtimestamp(seconds, UTC)


# --- for people ----------------------------------------------------------------------------------------------


def _shown(line: Mapping[str, Any]) -> Iterator[str]:
    match line.get("type"):
        case "assistant":
            for block in items(mapping(line.get("message")).get("content")):
                yield from _block(block)
        case "user":
            for block in items(mapping(line.get("message")).get("content")):
                yield from _answer(block)
        case "system" if line.get("subtype") == "api_retry":
            yield f"! {text(line.get('error')) or 'request failed'}, trying again"
        case "result":
            cost = _cost(line)
            yield f"= {text(line.get('terminal_reason')) or text(line.get('subtype'))}" + (
                f", ${cost:.2f}" if cost is not None else ""
            )


def _block(block: Mapping[str, Any]) -> Iterator[str]:
    if words := text(block.get("text")).strip():
        yield words
    if block.get("type") == "tool_use":
        given = mapping(block.get("input"))
        telling = ("command", "file_path", "path", "pattern", "url", "description", "prompt")
        what = next((words for name in telling if (words := text(given.get(name)))), "")
        yield f"> {text(block.get('name'))} {what}".rstrip()


def _answer(block: Mapping[str, Any]) -> Iterator[str]:
    content = block.get("content")
    words = text(content) or "\n".join(text(each.get("text")) for each in items(content))
    first = words.strip().splitlines()[:3]
    yield from (f"  {line}" for line in first)
    if len(words.strip().splitlines()) > len(first):
        yield "  …"


agent = Claude()
