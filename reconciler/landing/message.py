"""The message of a landed commit, and the trailers by which it is known again. Pure.

Only trailers in the last paragraph count, and nothing that comes from a task or an agent can bring one there.
"""

from __future__ import annotations

import re

from reconciler.model.names import Sha, TaskId, is_sha, usable
from reconciler.planning.messages import clean

TITLE_MAX = 200
HEAD = "Reconcile-Head"
TASK = "Reconcile-Task"
# It would close issues, in whatever repository it names, once it is on the default branch.
_CLOSES = re.compile(
    r"\b(close[sd]?|fix(?:e[sd])?|resolve[sd]?)(\s*:?\s+)(?=\S*(?:#\d|/issues/\d|GH-\d))", re.IGNORECASE
)
_MENTION = re.compile(r"(?<![\w`.+-])@(?=[A-Za-z0-9])")
_SKIPS_CI = re.compile(r"\[(\s*)(skip[ -]ci|ci[ -]skip|no[ -]ci|skip[ -]actions|actions[ -]skip)(\s*)\]", re.IGNORECASE)
_SKIP_TRAILER = re.compile(r"^(\s*)skip-checks\s*:", re.IGNORECASE | re.MULTILINE)
_OURS = re.compile(r"\s*reconcile-[\w-]*\s*:", re.IGNORECASE)
_TRAILER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*: \S.*")
_LINE_ENDS = re.compile("\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]")


def inert(text: str) -> str:
    """Text in which no forge finds a command: no issue is closed, nobody called, no check skipped.

    >>> inert("Fixes #1 for @ann [skip ci], says <ann@example.org>")
    'Fixes issue #1 for (at)ann (skip ci), says <ann@example.org>'
    """
    text = _CLOSES.sub(lambda found: f"{found[1]} issue ", clean(text))
    text = _MENTION.sub("(at)", text)
    text = _SKIPS_CI.sub(lambda found: f"({found[2]})", text)
    return _SKIP_TRAILER.sub(r"\1skip checks:", text)


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
    line = " ".join(clean(_LINE_ENDS.sub(" ", text)).split())
    if _OURS.match(line):
        return ""
    return line if len(line) <= TITLE_MAX else f"{line[: TITLE_MAX - 1]}…"


def without_ours(text: str) -> str:
    """Text without lines that look like trailers of ours, every line end as git has it."""
    lines = clean(_LINE_ENDS.sub("\n", text)).split("\n")
    return "\n".join(line for line in lines if not _OURS.match(line))


def _ends_in_trailers(text: str) -> bool:
    last = re.split(r"\n[ \t]*\n", text)[-1]
    return bool(text) and all(_TRAILER.fullmatch(line) for line in last.split("\n"))
