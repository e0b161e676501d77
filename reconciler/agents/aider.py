"""Aider: prompt in a file, commits of its own, plain text. It has no sessions, and ends with 0 whatever went wrong.

What it prints was read off 0.86.2. Its words and the model's stand in one text; what it says of a failed request counts
only where no answer has come after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime

from reconciler.agents._faults import meant
from reconciler.agents._lines import total
from reconciler.model.agent_kinds import AgentKind
from reconciler.model.agent_spec import AgentSpec
from reconciler.model.ports import Assignment, Invocation
from reconciler.model.report import Fault, Report, count, dollars, last_words

_NUMBER = r"([\d.,]+)([kM]?)"
_ANSWERED = re.compile(rf"^Tokens: {_NUMBER} sent.*? {_NUMBER} received\.", re.MULTILINE)
_COST = re.compile(r"Cost: \$[\d.,]+ message, \$([\d.,]+) session\.")
# It breaks its lines at eighty columns: the cause often stands on the second one.
_MORE = r"(?:\n(?!Retrying in |litellm\.|Tokens: )[^\n]*\S[^\n]*){0,20}"
_FAILED = re.compile(rf"^(litellm\.\w+[^\n]*{_MORE}|Model \S+ has hit a token limit!)$", re.MULTILINE)
# It keeps a map of the code in the worktree, and no option says where; this keeps it out of git's sight, and of salvage.
_HIDE_THE_MAP = "mkdir -p .aider.tags.cache.v4 && echo '*' > .aider.tags.cache.v4/.gitignore"
_UNIT = {"": 1, "k": 1_000, "M": 1_000_000}


class Aider:
    """The `aider` program, without anything that asks, looks for news, or leaves its history in the worktree."""

    program = "aider"

    def unfit(self, env: Mapping[str, str], *, root: bool) -> str | None:
        return None

    def invocation(self, spec: AgentSpec, given: Assignment) -> Invocation:
        chosen = (f"--model={given.model}",) if given.model else ()
        return Invocation(
            argv=(
                *("aider", "--yes-always", "--no-stream", "--no-pretty", "--no-fancy-input", "--no-detect-urls"),
                *("--no-check-update", "--no-show-release-notes", "--no-gitignore", "--no-suggest-shell-commands"),
                *("--input-history-file=/dev/null", "--chat-history-file=/dev/null"),
                f"--message-file={given.values.get('prompt_file', '')}",
                *chosen,
            ),
            before=(("/bin/sh", "-c", _HIDE_THE_MAP),),
            env={"AIDER_ANALYTICS": "false"},
            pass_env=AgentKind.AIDER.row.keys,
        )

    def report(self, log: str, ended: datetime | None = None) -> Report:
        """What was used, and the last request where it failed. Its exit status tells whether it came to its end."""
        answers = list(_ANSWERED.finditer(log))
        after = answers[-1].end() if answers else 0
        failures = [" ".join(failure.split()) for failure in _FAILED.findall(log, after)]
        costs = _COST.findall(log)
        lines = [line.strip() for line in log.splitlines() if line.strip()]
        return Report(
            fault=_fault(failures[-1]) if failures else None,
            message=last_words(failures[-1] if failures else lines[-1] if lines else ""),
            usd=dollars(_float(costs[-1])) if costs else None,
            tokens=total(
                count(_whole(n, unit)) for each in answers for n, unit in (each.group(1, 2), each.group(3, 4))
            ),
        )

    def cost(self, piece: str, before: float) -> float:
        """After each answer it says what all of them have cost."""
        costs = (dollars(_float(cost)) for cost in _COST.findall(piece))
        return max((cost for cost in costs if cost is not None), default=before)

    def idle(self, line: str) -> bool:
        return False

    def answer(self, line: str) -> bytes:
        return b""

    def shown(self, log: str) -> Iterator[str]:
        return iter(log.splitlines())


def _fault(line: str) -> Fault:
    return Fault.CONTEXT if "token limit" in line else meant(line)


def _whole(number: str, unit: str) -> int | None:
    found = _float(number)
    return None if found is None else round(found * _UNIT[unit])


def _float(number: str) -> float | None:
    try:
        return float(number.replace(",", "").rstrip("."))
    except ValueError:
        return None


agent = Aider()
