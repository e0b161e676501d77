"""What a squash says: the task's words, those of its commits, and everybody who had a part in them. Pure.

Agents write commits, and what they write is hostile: on a forge words close issues, call people and skip checks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from reconciler.git.objects import Commit
from reconciler.landing import message, signature
from reconciler.model.desired import SquashMessage
from reconciler.model.ports import LandOrder

WORDS_MAX = 20_000
_KEPT = r"(?i)(co-authored-by|signed-off-by)\s*:\s*(.+?)\s*<([^<>\s]+)>"
_AS_GIT_WRITES = {"co-authored-by": "Co-authored-by", "signed-off-by": "Signed-off-by"}


def words(order: LandOrder, commits: Sequence[Commit], author: str) -> tuple[str, str]:
    """Title and text of the commit that carries these, the oldest first. `author`: the address of whom it is put down to.

    Who else wrote or signed them is named in trailers at its end, whatever else it says.
    """
    found = [_of(commit) for commit in commits]
    title, parts = order.title, list[str]()
    if order.says is not SquashMessage.COMMITS:
        parts.append(_without_names(message.without_ours(order.body)))
    if order.says is SquashMessage.COMMITS and len(found) == 1:
        title = found[0][0] or order.title
        parts.append(found[0][1])
    elif order.says is not SquashMessage.TASK:
        parts += _listed(title, found)
    text = "\n\n".join(part for part in parts if part)
    if len(text) > WORDS_MAX:
        text = f"{text[:WORDS_MAX]}…"
    return title, "\n\n".join(filter(None, (text, "\n".join(_trailers(order, commits, author)))))


def _of(commit: Commit) -> tuple[str, str]:
    """Subject and text of a commit, harmless, without the trailers that are kept anyway."""
    lines = message.inert(message.without_ours(commit.text)).strip().split("\n")
    return lines[0].strip(), _without_names("\n".join(lines[1:]))


def _without_names(text: str) -> str:
    return "\n".join(line for line in text.split("\n") if not re.fullmatch(_KEPT, line.strip())).strip()


def _listed(title: str, commits: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Every commit as a paragraph or more; the only one without a subject that says nothing beside the title."""
    several = len(commits) > 1
    for subject, text in commits:
        if several or subject != title:
            yield f"* {subject}" if several else subject
        if text:
            yield text


def _trailers(order: LandOrder, commits: Sequence[Commit], author: str) -> list[str]:
    """Everybody but the author who wrote one, or is named in one or in the task, each once; then who signed them off."""
    authors = (("co-authored-by", each.name, each.email) for each in (signature.parse(c.author) for c in commits))
    texts = (*(commit.text for commit in commits), order.body)
    lines = (line for text in texts for line in message.without_ours(text).split("\n"))
    named = ((kept[1].lower(), kept[2], kept[3]) for line in lines if (kept := re.fullmatch(_KEPT, line.strip())))
    found: dict[tuple[str, str], str] = {}
    for kind, name, email in (*authors, *named):
        if kind == "signed-off-by" or email.lower() != author.lower():
            found.setdefault((kind, email.lower()), f"{_AS_GIT_WRITES[kind]}: {message.inert(name)} <{email}>")
    return sorted(found.values(), key=lambda line: line.startswith("Signed"))
