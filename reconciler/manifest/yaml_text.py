"""YAML text -> plain values and where each of them stands. What could mean two things is an error, never a guess.

Read event by event, so that a bomb of aliases or brackets is refused before anything is built from it: a list nested
deeply enough takes the whole process down inside pydantic, where no exception can be caught.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml
from msgspec import Struct, field

from reconciler.manifest.findings import FieldPath, Finding, Position
from reconciler.manifest.scalars import Odd, plain, quoted, unwanted

_BEGINS = re.compile(r"(- +)* *[A-Za-z0-9_-]+:")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Limits(Struct, frozen=True, kw_only=True):
    """How much a text may hold. `empty`: whether null is a value; `unbounded`: fields for which `null` says that they
    have no bound. `names`: keys that may stand without quotes, as (the list whose items have it, the key)."""

    bytes: int = 256 * 1024
    depth: int = 32
    nodes: int = 10_000
    empty: bool = False
    unbounded: frozenset[FieldPath] = frozenset()
    names: frozenset[tuple[str, str]] = frozenset()


class Document(Struct, frozen=True, kw_only=True):
    """One document: mappings, lists, text, numbers, switches. `values` and `keys` say where each of them stands."""

    file: str
    data: dict[str, Any]
    values: dict[FieldPath, Position]
    keys: dict[FieldPath, Position]

    def place(self, path: FieldPath) -> Position:
        """Where the value at `path` stands, or the nearest thing around it that does."""
        while path not in self.values:
            path = path[:-1]
        return self.values[path]


class Parsed(Struct, frozen=True, kw_only=True):
    """What a text holds. With findings, the documents are not to be used."""

    documents: list[Document]
    findings: list[Finding]


def documents(file: str, content: bytes, limits: Limits | None = None) -> Parsed:
    """The documents of one text, those left out in which nothing stands, and all that is wrong with it.

    >>> [document.data for document in documents("-", b"a: [1, x]").documents]
    [{'a': [1, 'x']}]
    """
    reader = _Reader(file, limits or Limits())
    try:
        return Parsed(documents=reader.read(content), findings=reader.findings)
    except _RefusedError as refused:
        last = refused.finding
    except yaml.MarkedYAMLError as error:
        last = _syntax(file, content, error)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        # PyYAML's own scanner lets some of these through, for an escape such as \UFFFFFFFF.
        last = Finding(file=file, what=f"is not valid YAML: {str(error).partition(chr(10))[0] or type(error).__name__}")
    return Parsed(documents=[], findings=[*reader.findings, last])


class _RefusedError(Exception):
    """Nothing after this can be read."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.what)
        self.finding = finding


class _Open(Struct):
    """A mapping or list that is being read. `key`: what the next value of a mapping belongs to."""

    value: dict[str, Any] | list[Any]
    path: FieldPath
    key: str | None = None
    repeated: bool = False


class _Reader(Struct):
    """Reads one text. Findings that leave the rest readable are collected, others end it."""

    file: str
    limits: Limits
    findings: list[Finding] = field(default_factory=list)
    open: list[_Open] = field(default_factory=list)
    values: dict[FieldPath, Position] = field(default_factory=dict)
    keys: dict[FieldPath, Position] = field(default_factory=dict)
    nodes: int = 0

    def read(self, content: bytes) -> list[Document]:
        return list(self._documents(self._decoded(content)))

    def _decoded(self, content: bytes) -> str:
        if len(content) > self.limits.bytes:
            raise self._refused(Position(), f"is larger than {self.limits.bytes // 1024} KiB")
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise self._refused(Position(), "is UTF-16, not UTF-8", "save it as UTF-8")
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = content[: error.start].decode("utf-8", "replace")
            raise self._refused(_end_of(before), "is not valid UTF-8 from this byte on", "save it as UTF-8") from error
        if found := unwanted(text):
            raise self._refused(_end_of(text[: text.index(found)]), _holds(found))
        return text

    def _documents(self, text: str) -> Iterator[Document]:
        for event in yaml.parse(text, Loader=_LOADER):
            mark = event.start_mark
            place = Position(mark.line + 1, mark.column + 1) if mark else Position()
            match event:
                case yaml.DocumentStartEvent():
                    self.values, self.keys, self.open = {}, {}, []
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    closed = self.open.pop()
                    if not self.open and isinstance(closed.value, dict):
                        yield Document(file=self.file, data=closed.value, values=self.values, keys=self.keys)
                case yaml.NodeEvent():
                    self._node(event, place)
                case _:
                    pass  # begin and end of the stream, end of a document

    def _node(self, event: yaml.NodeEvent, place: Position) -> None:
        self._check(event, place)
        match event:
            case yaml.MappingStartEvent():
                self._begin({}, place)
            case yaml.SequenceStartEvent() if not self.open:
                raise self._refused(place, "a document is a mapping such as 'kind: Epic', not a list")
            case yaml.SequenceStartEvent():
                self._begin([], place)
            case yaml.ScalarEvent(style=None | "", value="") if not self.open:
                pass  # nothing between two '---'
            case yaml.ScalarEvent() if not self.open:
                raise self._refused(place, "a document is a mapping such as 'kind: Epic', not text")
            case yaml.ScalarEvent() if isinstance(self.open[-1].value, dict) and self.open[-1].key is None:
                self._key(event, place)
            case yaml.ScalarEvent():
                self._add(self._scalar(event, place), place)

    def _check(self, event: Any, place: Position) -> None:
        """What no manifest may hold at any place."""
        self.nodes += 1
        if isinstance(event, yaml.AliasEvent):
            raise self._refused(
                place, f"aliases such as *{(event.anchor or '')[:40]} are not allowed", "write the value out"
            )
        if event.anchor:
            raise self._refused(place, f"anchors such as &{event.anchor[:40]} are not allowed", "write the value out")
        if getattr(event, "tag", None):
            raise self._refused(place, "tags such as !!str are not allowed", "quote what is meant to be text")
        if len(self.open) >= self.limits.depth and isinstance(event, yaml.CollectionStartEvent):
            raise self._refused(place, f"is nested deeper than {self.limits.depth} levels")
        if self.nodes > self.limits.nodes:
            raise self._refused(place, f"holds more than {self.limits.nodes} values")

    def _begin(self, value: dict[str, Any] | list[Any], place: Position) -> None:
        if self.open and isinstance(self.open[-1].value, dict) and self.open[-1].key is None:
            raise self._refused(place, "a key must be text, not a mapping or a list", "quote text that holds { or [")
        self.open.append(_Open(value, self._add(value, place)))

    def _key(self, event: yaml.ScalarEvent, place: Position) -> None:
        within = self.open[-1]
        assert isinstance(within.value, dict)
        within.key = event.value
        meaning = event.value if event.style else plain(event.value)
        if isinstance(meaning, Odd) and (*within.path[-2:-1], event.value) in self.limits.names:
            pass  # a field is called so, and no field is called true
        elif isinstance(meaning, Odd):
            hint = "write the fields out" if event.value == "<<" else f"write {quoted(event.value)}"
            self._find(place, within.path, f"the key {event.value} {meaning.what}", hint)
        elif not isinstance(meaning, str):
            what = f"a key must be text, not {event.value}" if event.value else "a key is empty"
            self._find(place, within.path, what, f"write {quoted(event.value)}")
        path = (*within.path, event.value)
        within.repeated = event.value in within.value
        if within.repeated:
            self._find(place, path, f"duplicate key, first defined on line {self.keys[path].line}")
        self._check_text(event.value, place, within.path)
        self.keys.setdefault(path, place)

    def _scalar(self, event: yaml.ScalarEvent, place: Position) -> str | int | float | bool | None:
        path, text = self._next(), event.value
        if event.style:
            self._check_text(text, place, path)
            return str(text)
        meaning = plain(text)
        if isinstance(meaning, Odd):
            switch = ", or true or false for a boolean" if meaning.switch else ""
            hint = f"write {quoted(text[:60])} for a string{switch}"
            self._find(place, path, f"{text[:60]} {meaning.what}", hint, text)
            return str(text)
        unbounded = text == "null" and path in self.limits.unbounded
        if meaning is None and not self.limits.empty and not unbounded:
            what = f"has no value ({text})" if text else "has no value"
            self._find(place, path, what, f"leave the line out, or write {quoted(text)} for a string", text)
        return meaning

    def _add(self, value: Any, place: Position) -> FieldPath:
        """Put a value where it belongs; its path."""
        path = self._next()
        self.values.setdefault(path, place)
        if not self.open:
            return path
        within = self.open[-1]
        if isinstance(within.value, list):
            within.value.append(value)
        elif within.key is not None:
            if not within.repeated:
                within.value[within.key] = value
            within.key = None
        return path

    def _next(self) -> FieldPath:
        """The path of the value that comes next."""
        if not self.open:
            return ()
        within = self.open[-1]
        return (*within.path, len(within.value) if isinstance(within.value, list) else str(within.key))

    def _check_text(self, text: str, place: Position, path: FieldPath) -> None:
        # An escape in double quotes can spell what the text itself may not hold.
        if found := unwanted(text) or ("\r" if "\r" in text else None):
            self._find(place, path, _holds(found))

    def _find(
        self, place: Position, path: FieldPath, what: str, hint: str | None = None, unquoted: str | None = None
    ) -> None:
        found = Finding(file=self.file, place=place, path=path, what=what, hint=hint, unquoted=unquoted)
        self.findings.append(found)

    def _refused(self, place: Position, what: str, hint: str | None = None) -> _RefusedError:
        path = self._next() if self.open and self.open[-1].key is not None else ()
        return _RefusedError(Finding(file=self.file, place=place, path=path, what=what, hint=hint))


def _holds(character: str) -> str:
    return f"holds the character U+{ord(character):04X}, which no manifest needs"


def _end_of(text: str) -> Position:
    return Position(text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1)


def _syntax(file: str, content: bytes, error: yaml.MarkedYAMLError) -> Finding:
    mark = error.problem_mark or error.context_mark
    about = f"{error.problem} {error.context or ''}".rstrip()
    if "quoted scalar" in about and "end of stream" in about:
        mark, about = error.context_mark or mark, "the quote that begins here is never closed"
    place = Position(mark.line + 1, mark.column + 1) if mark else Position()
    hint = None
    if "cannot start any token" in about:
        hint = "indent with spaces, not tabs, and quote text that begins with a special character"
    elif "mapping values" in about:
        # The ':' of what begins its line can only be in the way by standing too far to the right.
        line = content.decode("utf-8-sig").splitlines()[place.line - 1]
        begins = _BEGINS.match(line)
        aligned = begins is not None and begins.end() == place.column
        hint = "indent this line as the one above it" if aligned else "quote text that holds ': '"
    elif "block mapping" in about and _after_a_quote(content, place):
        hint = "put the whole value in quotes: what follows the closing quote belongs to nothing"
    elif "block" in about:
        hint = "indent what belongs together by the same number of spaces"
    elif "flow" in about and error.context_mark:
        hint = f"close the bracket that is opened in line {error.context_mark.line + 1}, or quote text that holds , : [ ] {{ }}"
    return Finding(file=file, place=place, what=f"is not valid YAML: {about}", hint=hint)


def _after_a_quote(content: bytes, place: Position) -> bool:
    line = content.decode("utf-8-sig").splitlines()[place.line - 1 : place.line]
    return bool(line) and line[0][: place.column - 1].rstrip().endswith(('"', "'"))
