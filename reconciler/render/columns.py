"""A task on one line of a live view: which columns there is room for, and what stands in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from rich.cells import cell_len, set_cell_size
from rich.text import Span, Text

from reconciler.model.values import replace
from reconciler.render.safe import line
from reconciler.render.status import Entry, alive, pull_request
from reconciler.render.words import seconds_since, span

GAP = 2
_NARROW, _WIDE = 72, 100
NOTE_MIN = 24
_WIDTHS = {"age": 6, "phase": 10, "pull": 12, "attempt": 3}
_TITLE_MIN, _TITLE_MAX = 16, 36
_FEW = 4

RANKS = ("progress", "person", "pulls", "timer", "ready", "blocked", "left")
_LOOKS = {
    "progress": ("●", "cyan"),
    "person": ("!", "bold red"),
    "pulls": ("◆", "magenta"),
    "timer": ("…", "yellow"),
    "ready": ("○", "green"),
    "blocked": ("·", "dim"),
    "left": ("·", "dim"),
}
_HEADINGS = {"task": "TASK", "title": "TITLE", "phase": "PHASE", "attempt": "TRY", "age": "AGE", "pull": "PULL REQUEST"}

_IN_USE: Mapping[str, Callable[[Entry], Any]] = {
    "age": alive,
    "phase": lambda entry: entry["phase"],
    "pull": lambda entry: entry["pullRequest"] and entry["pullRequest"]["state"] == "open",
    "attempt": lambda entry: entry["run"] and entry["run"]["kind"] == "work",
}


class Columns(Struct, frozen=True, kw_only=True):
    """Which columns there is room for, how wide each is, and what is left for the last one.

    Widths follow from all open tasks and never from what an agent prints: nothing jumps from one look to the next.
    """

    widths: Mapping[str, int]
    rest: int

    @classmethod
    def fitting(cls, entries: Sequence[Entry], width: int, *, once: bool = False) -> Columns:
        """`once`: it is not drawn again, so a column that is empty for now leaves its room to the others."""
        longest = max((cell_len(line(entry["id"])) for entry in entries), default=0)
        task = min(max(longest, len(_HEADINGS["task"])), max(width // 3, 8))
        found, left = {"task": task}, width - GAP - task - GAP
        # On a terminal of 80 columns what a task is about comes before its phase, which the mark tells.
        narrow = _NARROW <= width < _WIDE
        if narrow:
            found["title"], left = _TITLE_MIN, left - _TITLE_MIN - GAP
        for name in ("age", "pull", "attempt", "phase") if narrow else ("age", "phase", "pull", "attempt"):
            if once and (not any(map(_IN_USE[name], entries)) or (narrow and name == "phase")):
                continue
            if left - _WIDTHS[name] - GAP < _note_min(width):
                break
            found[name], left = _WIDTHS[name], left - _WIDTHS[name] - GAP
        title = min((left - GAP) * 2 // 5, _TITLE_MAX)
        if narrow:
            longest = max((cell_len(line(entry["title"] or "")) for entry in entries), default=0)
            whole = max(longest - _TITLE_MIN, 0)
            most = max((left - NOTE_MIN) // 2, left - _note_min(width) if once else 0, 0)
            # A few cells more, where with them every title is whole.
            few = whole if whole <= min(_FEW, left - _note_min(width)) else 0
            more = min(max(most, few), whole, _TITLE_MAX - _TITLE_MIN)
            found["title"], left = _TITLE_MIN + more, left - more
        elif title >= _TITLE_MIN and width >= _WIDE:
            found["title"], left = title, left - title - GAP
        return cls(widths={name: found[name] for name in _HEADINGS if name in found}, rest=max(left, 0))

    def headings(self) -> Text:
        return Text(self._line(" ", _HEADINGS).plain, "dim")

    def row(self, entry: Entry, section: str, now: datetime, note: Text) -> Text:
        mark, style = _LOOKS[section]
        run, pull = entry["run"], entry["pullRequest"]
        started = run["startedAt"] if run and alive(entry) else None
        cells = {
            "task": line(entry["id"]),
            "title": line(entry["title"] or ""),
            "phase": entry["phase"] or "",
            "attempt": ""
            if run is None or run["kind"] != "work"
            else f"{run['attempt']:>{self.widths.get('attempt', 0)}}",
            "age": span(seconds_since(started, now)) if started else "",
            "pull": pull_request(pull, short=True) if pull and pull["state"] == "open" else "",
        }
        empty = not (run or pull or entry["phase"] or "title" in self.widths)
        shown = self._titled(mark, cells) if empty else self._line(mark, cells, style)
        if section in ("blocked", "left"):
            shown.stylize("dim")
        shown.stylize(style, 0, 1)
        note = note.copy()
        note.truncate(self.rest, overflow="ellipsis")
        return shown.append_text(note)

    def instead_of_note(self, entry: Entry) -> Text:
        """Its title, where that has no column of its own."""
        return Text() if "title" in self.widths else Text(line(entry["title"] or ""), "dim")

    def _titled(self, mark: str, cells: Mapping[str, str]) -> Text:
        """A line for a task of which there is nothing but its title: that has the room of all columns."""
        task = self.widths["task"]
        wide = sum(self.widths.values()) - task + GAP * max(len(self.widths) - 2, 0)
        if wide < _TITLE_MIN:
            return self._line(mark, cells)
        return replace(self, widths={"task": task, "title": wide})._line(mark, cells)

    def _line(self, mark: str, cells: Mapping[str, str], phase_style: str = "") -> Text:
        # Made of plain strings: rich's own ways take ten times as long, and this is done every second.
        found, spans = mark + " ", []
        for name, wide in self.widths.items():
            if name == "phase":
                spans.append(Span(len(found), len(found) + len(cells[name]), phase_style))
            found += _fitted(cells[name], wide) + " " * GAP
        return Text(found, spans=spans)


def _note_min(width: int) -> int:
    """What must be left for the last column, however many others there are."""
    if width >= _WIDE:
        return 32
    return 18 if width >= _NARROW else 24 if width >= 60 else 14


def _fitted(cell: str, wide: int) -> str:
    """The cell in exactly so many cells."""
    return set_cell_size(cell, wide) if cell_len(cell) <= wide else f"{set_cell_size(cell, wide - 1)}…"
