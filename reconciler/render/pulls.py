"""Pull requests: each as a plain dictionary, one in full for people, and a diff for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.text import Text

from reconciler.model.names import PrNumber
from reconciler.model.observed import PullRequest, PullState, Run
from reconciler.model.verdicts import ReviewWord
from reconciler.render import reviews
from reconciler.render.safe import block, line
from reconciler.render.table import Row, Rows, facts
from reconciler.render.task_views import ended_checks, tested_with
from reconciler.render.words import counted, stamp, wall

Document = dict[str, Any]

FILES_MAX = 200
SHA_MAX = 12
_KINDS = {"A": "added", "D": "deleted", "M": "changed", "T": "another kind"}
_ANSWERS = {
    "none": "its reviewer gave no verdict",
    ReviewWord.APPROVE: "its reviewer approved",
    ReviewWord.REQUEST_CHANGES: "its reviewer asks for changes",
    ReviewWord.PERSON: "its reviewer leaves it to others",
}
_COLOURS = {"+": "green", "-": "red", "@": "cyan"}
_HEADINGS = ("diff ", "index ", "--- ", "+++ ", "new file ", "deleted file ", "rename ", "similarity ", "old ", "new ")


def row(
    pull: PullRequest,
    title: str,
    entry: Mapping[str, Any] | None,
    *,
    checks: Sequence[Run],
    beneath: PrNumber | None,
    known: bool,
) -> Document:
    """A pull request as it stands in JSON. `entry` is its task's, where a manifest holds it and this is its newest.

    `checks`: all that ran for its task, oldest first; `beneath`: the pull request below which it has passed. `known` False: a source was silent, so that there may be an entry,
    and checks, all the same.
    """
    came_to = None if pull.state is PullState.OPEN else ended_checks(pull, checks)
    if top := tested_with(pull, checks, beneath):
        came_to = "passed"
    unjudged = came_to if came_to not in (None, "none") else "none" if known else None
    judged = entry["pullRequest"] if entry else {"checks": unjudged, "checkedWith": top, "review": _review(pull)}
    return {
        "number": pull.number,
        "task": pull.task,
        "title": title,
        "manifest": entry["manifest"] if entry else None,
        "state": str(pull.state),
        "head": pull.head,
        "checks": judged["checks"],
        "checkedWith": judged["checkedWith"],
        "review": judged["review"],
        "risk": judged.get("risk"),
        "url": pull.url,
        "openedAt": stamp(pull.opened_at) if pull.opened_at else None,
        "closedAt": stamp(pull.closed_at) if pull.closed_at else None,
        "declined": pull.declined,
        "waiting": entry["waiting"] if entry else None,
        "next": entry.get("next") if entry else None,
    }


def show(document: Document) -> RenderableType:
    """Everything about one pull request."""
    heading = Text.assemble((f"#{document['number']}", "bold"), f"  {line(document['title'])}")
    known = facts((name, value) for name, value in _facts(document) if value)
    return Group(heading, known, *reviews.rows(document), *_commits(document), *_files(document))


def coloured(patch: str) -> Iterator[str]:
    """The lines of a diff with the colours of a terminal, and nothing else in them that could move it."""
    inside = False
    for text in block(patch, len(patch)).split("\n"):
        inside = (inside or text.startswith("@@")) and not text.startswith("diff ")
        if not inside and text.startswith(_HEADINGS):
            yield click.style(text, bold=True)
        else:
            yield click.style(text, fg=_COLOURS.get(text[:1])) if inside else text


def _review(pull: PullRequest) -> str:
    if pull.declined or (pull.rejection and pull.rejection.head == pull.head):
        return "rejected"
    return "approved" if pull.approved == pull.head else "none"


def _facts(document: Document) -> Iterator[tuple[str, str]]:
    yield "task", line(document["task"])
    yield "manifest", line(document["manifest"] or "")
    yield "state", document["state"] + (", declined" if document["declined"] else "")
    yield "landed" if document["state"] == PullState.MERGED else "not merged", _why(document)
    yield "checks", tested(document) or "not known"
    yield "review", document["review"]
    yield "risk", risk(document)
    yield "base", line(document["base"] or "")
    yield "head", f"{document['head']}  ({line(document['branch'])})"
    yield "opened", _time(document["openedAt"])
    yield "closed", _time(document["closedAt"])


def tested(document: Document) -> str:
    """What its checks came to, and with which other pull request; empty where that is not known."""
    top = document.get("checkedWith")
    return f"{document['checks']} (with #{top})" if top else document["checks"] or ""


def risk(document: Document) -> str:
    """How much could go wrong with a pull request, why, and who must say yes to it; empty where nobody asked."""
    found = document.get("risk")
    if not found:
        return ""
    who = {"none": "nobody is asked", "agent": "its reviewer is asked", "human": "a person is asked"}[found["review"]]
    answer = _ANSWERS.get(found.get("reviewer"))
    # A yes that was not enough raised the risk: the reasons say so.
    if answer and (found["review"], found.get("reviewer")) != ("human", "approve"):
        who = f"{answer}, {who}" if found["review"] == "human" else answer
    return line(f"{found['level']} ({'; '.join(found['reasons'])}); {who}")


def _why(document: Document) -> str:
    """Why it is not merged, or how it was."""
    action, word = document["next"], document["waiting"]
    match document["state"]:
        case PullState.MERGED if document["landed"]:
            return f"as {document['landed'][:SHA_MAX]}, by {line(document['method'] or 'hand')}"
        case PullState.MERGED:
            return "by a person"
        case PullState.CLOSED:
            return "it was declined" if document["declined"] else "it was closed"
    if action:
        return f"next: {line(action['message'])}  ({action['action']})"
    if word:
        return f"{line(word['message'])}  ({word['reason']})"
    if document["unknown"]:
        return f"not known: {', '.join(silent['source'] for silent in document['unknown'])} did not answer"
    return "no applied manifest has its task" if document["manifest"] is None else "nothing keeps it from being merged"


def _time(at: str | None) -> str:
    return wall(at) if at else ""


def _commits(document: Document) -> Iterator[RenderableType]:
    yield Text(f"\n{counted(len(document['commits']), 'commit').capitalize()}", "bold")
    rows = [
        Row(cells=(Text(each["sha"][:SHA_MAX], "yellow"), Text(line(each["subject"])))) for each in document["commits"]
    ]
    if rows:
        yield Rows(rows=rows, yields=1)


def _files(document: Document) -> Iterator[RenderableType]:
    files: Sequence[Document] = document["files"]
    yield Text(f"\n{counted(len(files), 'file')}", "bold")
    if files:
        yield Rows(rows=[_file(each) for each in files[:FILES_MAX]], yields=0)
    if len(files) > FILES_MAX:
        yield Text(f"  … and {len(files) - FILES_MAX} more", "dim")


def _file(file: Document) -> Row:
    added, deleted = (f"{sign}{file[name]}" if file[name] else "" for sign, name in (("+", "added"), ("-", "deleted")))
    kind = _KINDS.get(file["status"], str(file["status"])) + ("" if file["added"] is not None else ", binary")
    return Row(cells=(Text(line(file["path"])), Text(kind), Text(added, "green"), Text(deleted, "red")))
