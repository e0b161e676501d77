"""What is wrong with a manifest, and where: one line per finding, and a hint where there is one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable

from msgspec import Struct

from reconciler.model.errors import ManifestError, UsageError

FieldPath = tuple[str | int, ...]  # keys and indices, from the top of a document

SHOWN_MAX = 50
_WIDEST = 60
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}")


class Position(Struct, frozen=True, order=True):
    """A position in a text, both counted from 1."""

    line: int = 1
    column: int = 1


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that is wrong. `file` is the name that the user gave; `what` is a clause without a full stop."""

    file: str
    place: Position | None = None  # None: it is about the file as a whole
    path: FieldPath = ()
    what: str
    hint: str | None = None
    # The word, where it is wrong for not being in quotes: what to write depends on the field.
    unquoted: str | None = None

    def __str__(self) -> str:
        field = f" {dotted(self.path)}:" if self.path else ""
        file = self.file if self.file.isprintable() else repr(self.file)
        where = f"{file}:{self.place.line}:{self.place.column}" if self.place else file
        return f"{where}:{field} {self.what}"


def refusal(findings: Iterable[Finding]) -> ManifestError:
    """The error that says all of these, in the order of the text; a single one keeps its hint apart."""
    ordered = sorted(findings, key=lambda finding: (finding.file, finding.place or Position()))
    if len(ordered) == 1:
        return ManifestError(str(ordered[0]), hint=ordered[0].hint)
    lines = [f"{found}\n  hint: {found.hint}" if found.hint else str(found) for found in ordered[:SHOWN_MAX]]
    if more := len(ordered) - SHOWN_MAX:
        lines += [f"and {more} more"] if more > 0 else []
    return ManifestError("\n".join(lines))


def dotted(path: FieldPath) -> str:
    """A path as people write it.

    >>> dotted(("spec", "tasks", 0, "title")), dotted(("spec", "env", "a b"))
    ('spec.tasks[0].title', "spec.env.'a b'")
    """
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part if _BARE_KEY.fullmatch(part) else shown(part)}"
    return text.removeprefix(".")


def shown(value: str | int | float) -> str:
    """A value as it is quoted in a message: printable and short, whatever it holds.

    >>> shown("a\\x1b[31m"), len(shown("a" * 500))
    ("'a\\\\x1b[31m'", 61)
    """
    text = repr(value[: _WIDEST * 2] if isinstance(value, str) else value)
    return text if len(text) <= _WIDEST else f"{text[:_WIDEST]}…"


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The hint for a misspelt word; None where no known one is near.

    >>> did_you_mean("maxAgnets", ["maxAgents", "base"])
    "did you mean 'maxAgents'?"
    """
    near = difflib.get_close_matches(word[:100], sorted(known), n=1)
    return f"did you mean '{near[0]}'?" if near else None


def not_applied(name: str, applied: Collection[str]) -> UsageError:
    """What is raised for a name that none of the applied manifests has."""
    message = f"no manifest {shown(name)} is applied here; applied: {', '.join(applied) or 'none'}"
    return UsageError(message, hint=did_you_mean(name, applied))
