"""Words put on commits, pull requests and tasks. Pure. Text that comes from a task is cleaned before it is put anywhere."""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Sequence

from reconciler.model.names import PrNumber, Sha, split_key
from reconciler.model.observed import Task
from reconciler.model.reasons import Reason

TITLE_MAX, LISTED_MAX = 120, 6
_LOOK = "Look at 'reconcile logs {task}', change the task or the branch, then run 'reconcile retry {task}'."


def title(task: Task) -> str:
    """One line that names the task on a commit and a pull request."""
    return one_line(task.title, TITLE_MAX) or "Untitled task"


def body(task: Task, checks: tuple[str, ...] = ()) -> str:
    """A pull request's text: what was asked for, and what is checked before it lands."""
    parts = [clean(split_key(task.description)[0]).strip()]
    if task.acceptance.strip():
        parts.append(f"Acceptance:\n{clean(task.acceptance).strip()}")
    if checks:
        parts.append(
            "Before it lands, these must pass on the merged tree:\n" + "\n".join(f"    {line}" for line in checks)
        )
    parts.append(f"Task: {task.id}")
    return "\n\n".join(part for part in parts if part)


def listed(names: Sequence[str]) -> str:
    """`main, #1 and #2`; of many, the first and how many more."""
    *most, last = (
        names if len(names) <= LISTED_MAX else [*names[: LISTED_MAX - 1], f"{len(names) - LISTED_MAX + 1} more"]
    )
    return f"{', '.join(most)} and {last}" if most else last


def no_slot(manifest: str, most: int) -> str:
    """Why no agent of a manifest may start that has as many as it may.

    >>> no_slot("all", 0), no_slot("all", 1), no_slot("all", 4)
    ('no agent slot: maxAgents of all is 0', 'the only agent slot of all is in use', 'all 4 agent slots of all are in use')
    """
    if most == 0:
        return f"no agent slot: maxAgents of {manifest} is 0"
    return (
        f"the only agent slot of {manifest} is in use"
        if most == 1
        else f"all {most} agent slots of {manifest} are in use"
    )


def landed_body(task: Task) -> str:
    """A landed commit's text, above its trailers."""
    return clean(split_key(task.description)[0]).strip()


def close_reason(number: PrNumber | None, commit: Sha | None) -> str:
    """Why a task was closed. Neutral on purpose: Beads takes words such as 'failed' in it for a failure."""
    what = f"merged #{number}" if number else "merged"
    return f"{what} ({commit[:12]})" if commit else what


def needs_human(task: str, reason: Reason, message: str) -> str:
    """The note on a task that is handed to a person: why, and what to do."""
    return f"reconcile: {reason}: {clean(message)}. {_todo(task, reason)}"


def handed_over(task: str, reason: Reason, note: str) -> str:
    """The message in such a note, given what comes after its reason.

    >>> handed_over("x-1", Reason.CONFLICT, needs_human("x-1", Reason.CONFLICT, "it conflicts").partition("Conflict: ")[2])
    'it conflicts'
    """
    return note.removesuffix(_todo(task, reason)).rstrip(" .")


def _todo(task: str, reason: Reason) -> str:
    return (reason.row.todo or _LOOK).replace("{task}", task)


def relative(path: str, repository: str) -> str:
    """A path as people see it from the repository; as it is where that is not known.

    >>> relative("/home/ann/worktrees/x-1", "/home/ann/project")
    '../worktrees/x-1'
    """
    return posixpath.relpath(path, repository) if repository else path


def clean(text: str) -> str:
    """Text without control, bidi and other invisible characters; line ends and tabs stay.

    >>> clean("a\\x1b[31mb\\u202ec")
    'a[31mbc'
    """
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text  # nearly always, and a letter at a time is slow
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn"))


def one_line(text: str, most: int | None = None) -> str:
    """The same on one line, of at most so many characters.

    >>> one_line("a\\n  b\\x07"), one_line("abcd", 3)
    ('a b', 'ab…')
    """
    line = " ".join(clean(text).split())
    return line if most is None or len(line) <= most else f"{line[: most - 1]}…"
