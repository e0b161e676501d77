"""What pydantic says about a document -> findings with a position, what is allowed instead, and what was probably meant."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from reconciler.manifest.fields import INLINE, NAMED, WrongBelowError
from reconciler.manifest.findings import FieldPath, Finding, did_you_mean, shown
from reconciler.manifest.model import KINDS
from reconciler.manifest.scalars import plain, quoted
from reconciler.manifest.schema import DURATIONS, every, explain, schema
from reconciler.manifest.wording import allowed, alternatives, node_at, resolved
from reconciler.manifest.yaml_text import Document
from reconciler.model.errors import UsageError
from reconciler.model.values import replace


def complaints(document: Document, kind: str, error: ValidationError) -> Iterator[Finding]:
    """A finding for each of pydantic's. What is indented too far, or misspelt, is not missed where it belongs, too."""
    listed = error.errors(include_url=False, include_input=False)
    unknown = [each["loc"] for each in listed if each["type"] == "extra_forbidden"]
    for each in listed:
        if each["type"] != "missing" or not any(_stands_for(loc, each["loc"]) for loc in unknown):
            yield _finding(document, kind, each)


def _stands_for(unknown: tuple[int | str, ...], missing: tuple[int | str, ...]) -> bool:
    """True where an unknown field is the missing one, indented too far or misspelt."""
    if len(missing) == 1 and len(unknown) > 1 and unknown[-1] == missing[0]:
        return True
    return unknown[:-1] == missing[:-1] and did_you_mean(str(unknown[-1]), [str(missing[-1])]) is not None


def with_hint_for_field(finding: Finding) -> Finding:
    """What to write instead of an unquoted word, or of a mapping, by what the field takes."""
    named = [part for part in finding.path[-2:] if isinstance(part, str)]
    if len(named) == 2 and (_type(finding.path[:-1]) or "").startswith("list"):
        return replace(finding, hint=_ITEMS)
    if finding.unquoted is None or not (type_ := _type(finding.path)):
        return finding
    word, hint = finding.unquoted, finding.hint
    whole = word.lstrip("+").lstrip("0")
    if not word and type_.startswith(("mapping", "list")):
        hint = "indent what belongs to it, or leave the line out"
    elif not word:
        hint = "write a value, or leave the line out"
    elif type_ == "boolean" and word.lower() in _BOOLEANS:
        hint = f"write {_spelt(_BOOLEANS[word.lower()])}; {quoted(word)} is a string"
    elif type_ == "integer" and isinstance(plain(whole), int):
        hint = f"write {whole}; {quoted(word)} is a string"
    elif type_ == "duration":
        hint = f"write a duration such as 90s, 15m or 1h30m; {quoted(word[:60])} is a string"
    elif "text" in type_:
        hint = f"write {quoted(word[:60])}"
    return replace(finding, hint=hint)


_BOOLEANS = {"y": True, "yes": True, "on": True, "n": False, "no": False, "off": False}


def _type(path: FieldPath) -> str | None:
    """What the field takes, in the first kind that has it."""
    named = ".".join(str(part) for part in path if not isinstance(part, int))
    for kind in KINDS:
        with suppress(UsageError):
            return explain(named, kind).type
    return None


def _finding(document: Document, kind: str, error: Any) -> Finding:
    path = tuple(part for part in error["loc"] if part not in (INLINE, NAMED, "[key]"))
    match error["type"]:
        case "missing":
            words = _allowed(kind, path)
            hint = "write 'agent: claude', or another of 'reconcile explain agents'" if path[-1] == "agent" else None
            return _at(document, path[:-1], path, f"is missing; expected {words}", hint)
        case "extra_forbidden":
            return _unknown_field(document, kind, path)
        case "value_error":
            wrong = error["ctx"]["error"]
            whole = path + wrong.below if isinstance(wrong, WrongBelowError) else path
            return _at(document, whole, whole, str(wrong))
        case _ if error["loc"][-1] == "[key]":
            return _bad_key(document, path)
        case _:
            return _bad_value(document, kind, path)


def _unknown_field(document: Document, kind: str, path: FieldPath) -> Finding:
    node = node_at(schema(kind), path[:-1]) or {}
    known = [name for form in alternatives(schema(kind), node) for name in form.get("properties", {})]
    what = f"unknown field; allowed: {', '.join(known)}"
    place = document.keys.get(path, document.place(path))
    top = schema(kind).get("properties", {})
    misplaced = len(path) > 1 and path[-1] in top
    hint = f"indent it less: {path[-1]} belongs at the top" if misplaced else did_you_mean(str(path[-1]), known)
    hint = _NOT_OF_REVIEWS.get(path) or hint or _elsewhere(kind, path)
    return Finding(file=document.file, place=place, path=path, what=what, hint=hint)


def _elsewhere(kind: str, path: FieldPath) -> str | None:
    """Where a field stands that is called so: the one that is in fewest others. Of an agent and its reviewer, the agent."""
    named = (field.path for field in every(explain(kind=kind)) if field.path.rpartition(".")[2] == path[-1])
    paths = [found for found in named if not found.startswith("spec.reviewer.")]
    least = min((found.count(".") for found in paths), default=0)
    nearest = [found for found in paths if found.count(".") == least]
    return f"did you mean {nearest[0]}?" if len(nearest) == 1 else None


_REVIEWER = ("spec", "reviewer")
_NOT_OF_REVIEWS: dict[FieldPath, str] = {
    (*_REVIEWER, "maxAttempts"): "leave it out: a review that came to nothing is asked for once more, then a person is",
    (*_REVIEWER, "opensPullRequest"): "leave it out: a reviewer opens none",
    (*_REVIEWER, "runner"): "leave it out: reviews are on this machine",
    (*_REVIEWER, "resources"): "leave it out: what agent.resources says holds for reviews, too",
}


def _bad_key(document: Document, path: FieldPath) -> Finding:
    what = f"{shown(str(path[-1]))} is not a valid name; use letters, digits and '_', with no digit first"
    return Finding(file=document.file, place=document.keys.get(path, document.place(path)), path=path, what=what)


def _bad_value(document: Document, kind: str, path: FieldPath) -> Finding:
    value, node = _value(document.data, path), _node(kind, path)
    words = allowed(schema(kind), node)
    what = f"expected {words}, got {_described(value)}"
    forms = alternatives(schema(kind), node)
    choices = [str(choice) for form in forms for choice in form.get("enum", ())]
    hint = did_you_mean(value, choices) if isinstance(value, str) else None
    if path[-1] == "priority":
        hint = _URGENCY
    mappings = any(resolved(schema(kind), form.get("items", {})).get("type") == "object" for form in forms)
    quotes = next((hint for form in forms if (hint := _quotes(value, form, mappings=mappings))), hint)
    words_wanted = path[-1] in ("argv", "run") and isinstance(value, str)
    return _at(document, path, path, what, _as_words(value) if words_wanted else quotes)


def _as_words(command: str) -> str | None:
    """The hint for a command line where its words are wanted."""
    try:
        return f"did you mean [{', '.join(map(quoted, shlex.split(command)))}]?"
    except ValueError:
        return None


def _quotes(value: Any, form: dict[str, Any], *, mappings: bool = False) -> str | None:
    """The hint where only the quotes are wrong: text that was meant to be a number, or the other way round.

    `mappings`: a list has those, so that text by itself is none of its items.
    """
    choices = form.get("enum") or ([form["const"]] if "const" in form else None)
    if choices and _spelt(value) not in choices:
        return None  # quoted, it would be as wrong
    match form.get("type"), value:
        case "string", int() if not isinstance(value, bool) and form.get("pattern") in DURATIONS:
            return f"write {value}s for {value} seconds"
        case "string", bool() | int() | float() if re.search(form.get("pattern", ""), _spelt(value)):
            return f"write {quoted(_spelt(value))} for a string"
        case "array", dict():
            return _ITEMS
        case "array", str() | int() | float() if not isinstance(value, bool) and not mappings:
            return f"did you mean [{quoted(value) if isinstance(value, str) else _spelt(value)}]?"
        case "string", str() if form.get("pattern") in DURATIONS and (span := _SPAN.fullmatch(value.strip().lower())):
            count, unit = int(span[1]), span[2][0]
            return f"write {count * 24}h" if unit == "d" else f"write {count}{unit}"
        case "string", str() if not choices and (pattern := form.get("pattern")):
            # What nobody sees in the file: a blank at an end, or a letter that is a capital.
            meant = (value.strip(), value.lower(), value.strip().lower())
            fits = next((text for text in meant if text != value and re.search(pattern, text)), None)
            return f"write {quoted(fits)}" if fits and len(fits) <= form.get("maxLength", len(fits)) else None
        case ("integer" | "boolean" | "number") as wanted, str():
            number = plain(value)
            return f"write {_spelt(number)} without quotes" if type(number) in _PLAIN[wanted] else None
        case _:
            return None


_PLAIN: dict[str, tuple[type, ...]] = {"integer": (int,), "boolean": (bool,), "number": (int, float)}
# As people write them who have not read how.
_SPAN = re.compile(r"([1-9][0-9]{0,4}) ?(s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)")
_ITEMS = "begin each item of the list with '- '"
_URGENCY = "0 goes first, 2 is the default, 4 goes last"


def _at(document: Document, where: FieldPath, path: FieldPath, what: str, hint: str | None = None) -> Finding:
    return Finding(file=document.file, place=document.place(where), path=path, what=what, hint=hint)


def _allowed(kind: str, path: FieldPath) -> str:
    return allowed(schema(kind), _node(kind, path))


def _node(kind: str, path: FieldPath) -> dict[str, Any]:
    return node_at(schema(kind), path) or {}


def _value(data: Any, path: FieldPath) -> Any:
    for part in path:
        data = data[part]
    return data


def _described(value: Any) -> str:
    match value:
        case bool():
            return _spelt(value)
        case int() | float():
            return str(value)
        case str():
            return shown(value)
        case list():
            return "a list" if value else "an empty list"
        case _:
            return "a mapping"


def _spelt(value: object) -> str:
    return str(value).lower()
