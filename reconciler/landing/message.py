"""The message of a landed commit, and the trailers by which it is known again. Pure.

Only trailers in the last paragraph count, and nothing that comes from a task or an agent can bring one there.
"""

from __future__ import annotations

import re

from reconciler.model.names import Sha, TaskId, is_sha, usable
from reconciler.planning.messages import clean, one_line

TITLE_MAX = 200
HEAD = "Reconcile-Head"
TASK = "Reconcile-Task"
# It would close issues, in whatever repository it names, once it is on the default branch.
_CLOSES = r"(?i)\b(close[sd]?|fix(?:e[sd])?|resolve[sd]?)(\s*:?\s+)(?=\S*(?:#\d|/issues/\d|GH-\d))"
_MENTION = r"(?<![\w`.+-])@(?=[A-Za-z0-9])"
_SKIPS_CI = r"(?i)\[(\s*)(skip[ -]ci|ci[ -]skip|no[ -]ci|skip[ -]actions|actions[ -]skip)(\s*)\]"
_SKIP_TRAILER = r"(?im)^(\s*)skip-checks\s*:"
_OURS = r"(?i)\s*reconcile-[\w-]*\s*:"
_TRAILER = r"[A-Za-z0-9][A-Za-z0-9-]*: \S.*"
_LINE_ENDS = "\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]"


def inert(text: str) -> str:
    """Text in which no forge finds a command: no issue is closed, nobody called, no check skipped.

    >>> inert("Fixes #1 for @ann [skip ci], says <ann@example.org>")
    'Fixes issue #1 for (at)ann (skip ci), says <ann@example.org>'
    """
    text = re.sub(_CLOSES, lambda found: f"{found[1]} issue ", clean(text))
    text = re.sub(_MENTION, "(at)", text)
    text = re.sub(_SKIPS_CI, lambda found: f"({found[2]})", text)
    return re.sub(_SKIP_TRAILER, r"\1skip checks:", text)


def of_landing(title: str, body: str, task: TaskId, head: Sha) -> str:
    """The message of a commit that carries `head` of `task`.

    >>> print(of_landing("Write it", "Do.", TaskId("x-1"), Sha("a" * 8)))
    Write it
    <BLANKLINE>
    Do.
    <BLANKLINE>
    Reconcile-Task: x-1
    Reconcile-Head: aaaaaaaa
    <BLANKLINE>
    """
    line = _one_line(title) or task
    text = without_ours(body).strip()
    # A block of trailers that is there already is continued: other programs read the last one only.
    gap = "\n" if _ends_in_trailers(text) else "\n\n"
    trailers = f"{TASK}: {task}\n{HEAD}: {head}\n"
    return f"{line}\n\n{text}{gap}{trailers}" if text else f"{line}\n\n{trailers}"


def of_rebased(original: str, task: TaskId, head: Sha) -> str:
    """The message of one commit of a branch that is put on the base by itself."""
    subject, _, body = without_ours(original).strip().partition("\n")
    return of_landing(subject, body, task, head)


def landed(message: str) -> tuple[TaskId, Sha] | None:
    """The task and the head that a commit on the base carries; None where its last paragraph does not name both once."""
    last = re.split(r"\n[ \t]*\n", message.rstrip())[-1].split("\n")
    tasks = [line.removeprefix(f"{TASK}: ") for line in last if line.startswith(f"{TASK}: ")]
    heads = [line.removeprefix(f"{HEAD}: ") for line in last if line.startswith(f"{HEAD}: ")]
    match tasks, heads:
        case [task], [head] if usable(task) and is_sha(head):
            return TaskId(task), Sha(head)
        case _:
            return None


def _one_line(text: str) -> str:
    line = one_line(re.sub(_LINE_ENDS, " ", text), TITLE_MAX)
    return "" if re.match(_OURS, line) else line


def without_ours(text: str) -> str:
    """Text without lines that look like trailers of ours, every line end as git has it."""
    lines = clean(re.sub(_LINE_ENDS, "\n", text)).split("\n")
    return "\n".join(line for line in lines if not re.match(_OURS, line))


def _ends_in_trailers(text: str) -> bool:
    last = re.split(r"\n[ \t]*\n", text)[-1]
    return bool(text) and all(re.fullmatch(_TRAILER, line) for line in last.split("\n"))
