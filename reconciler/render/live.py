"""How things stand, drawn to fit a terminal: a block per manifest, a row per open task, what matters most first.

Made from the document that `status -o json` prints. Nothing here reads a clock, a log or a terminal; every line that
comes out is safe to print and no wider than asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import accumulate, takewhile
from typing import Any

from rich.console import Console
from rich.text import Text

from reconciler.names import RunId
from reconciler.observed import Observed
from reconciler.planner import Plan
from reconciler.reasons import Reason
from reconciler.render.entry import subjects
from reconciler.render.safe import line
from reconciler.render.status import (
    NOTHING_RECORDED,
    OF_THE_WHOLE,
    Entry,
    alive,
    bar,
    pull_request,
    quiet,
    section_of,
    telling,
    trees,
    why,
)
from reconciler.render.words import counted, span, stamped

Said = Callable[[str], str]

GAP = 2
BAR_LEAST, BAR_MOST = 6, 30
NOTE_MOST = 2  # lines below the row of a task that needs a person
RULE_LEAST, HEADINGS_LEAST, AIR_LEAST = 10, 8, 16  # rows of a picture that has room for them
SOON_S = 90
_WIDE = 100
_TITLE_LEAST, _TITLE_MOST = 16, 36

_RANKS = ("progress", "person", "pulls", "timer", "ready", "blocked", "left")
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
# Colours, cursor movements, titles: what programs print that is meant for a terminal and says nothing.
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[PX^_][^\x1b]*(?:\x1b\\)?|\x1b[ -/]*[0-~]"
)
_ANY = Console(color_system=None)  # wrapping wants one, and asks nothing of it
_AT_WORK = frozenset({Reason.AGENT_RUNNING, Reason.CHECKS_RUNNING})


@dataclass(frozen=True, kw_only=True)
class Size:
    """Columns, and rows where they are bounded: then nothing is taller, else nothing is left out. `hint`: what is worth
    saying beside the time, where there is room."""

    width: int
    height: int | None = None
    hint: str = ""


def picture(document: dict[str, Any], size: Size, now: datetime, said: Said = lambda task: "") -> list[Text]:
    """The lines of the picture. `said`: the last line that what runs for a task printed; asked for visible rows only."""
    if not document["epics"]:
        found = [Text(NOTHING_RECORDED)]
    else:
        blocks = [_Block(epic) for epic in document["epics"]]
        found = _Page(blocks=blocks, size=size, at=stamped(document["at"]), now=now, said=said).lines()
    return [_cut(each, size.width) for each in found[: size.height]]


def live_runs(decided: Plan, observed: Observed) -> dict[str, RunId]:
    """What runs at this moment for each task: its agent, or a check of its work."""
    found = (subject for epic in decided.epics for subject in subjects(epic, observed))
    return {subject.task.id: subject.run.id for subject in found if subject.run and subject.run.alive}


def restless(document: dict[str, Any], now: datetime) -> bool:
    """True while the picture changes with time alone: something runs, or a timer is about to run out."""
    return any(alive(entry) or _soon(entry, now) for epic in document["epics"] for entry in epic["tasks"])


def last_line(printed: str) -> str:
    """The last line with something on it in what a program printed, without colours; what has no end yet is no line.

    >>> last_line("one\\n\\x1b[32mtwo\\x1b[0m\\n  \\nthr")
    'two'
    >>> last_line("10 %\\r20 %\\r")
    '20 %'
    """
    ended = printed[: max(printed.rfind("\n"), printed.rfind("\r")) + 1]
    shown = (line(_SEQUENCE.sub("", each)) for each in reversed(ended.replace("\r", "\n").split("\n")))
    return next((each for each in shown if each), "")


# --- what is shown ---------------------------------------------------------------------------------------------


class _Block:
    """A manifest: its heading, what is wrong with it, and its open tasks with their ranks."""

    def __init__(self, epic: dict[str, Any]) -> None:
        self.epic = epic
        sections = [(section_of(entry), entry) for entry in epic["tasks"]]
        ranked = [(_rank(section, entry), entry) for section, entry in sections if section]
        self.rows = sorted(ranked, key=lambda row: row[0])  # the most urgent first within a rank, as they came
        self.persons = sum(section == "person" for section, _ in sections)

    def heading(self, width: int) -> Text:
        counts = self.epic["counts"]
        merged = f" ({counts['merged']} merged)" if counts["merged"] != counts["closed"] else ""
        words = [
            Text(f"{counts['closed']}/{counts['tasks']} closed"),
            Text(merged),
            Text(f" · {counts['working']} at work" if counts["working"] else "", "cyan"),
            Text(f" · {counted(self.persons, 'needs a person', 'need a person')}" if self.persons else "", "bold red"),
        ]
        name = Text(line(self.epic["name"]), "bold")
        # What must stay comes first and last; what is said by the rows too goes where there is no room.
        while len(words) > 2 and _cells(words) + GAP + min(name.cell_len, width // 2) > width:
            del words[1]
        room = width - _cells(words) - 2 * GAP
        name.truncate(max(room - BAR_LEAST, room // 2, 8), overflow="ellipsis")
        cells = min(room - name.cell_len, BAR_MOST)
        drawn = bar(counts, cells).append(" " * GAP) if cells >= BAR_LEAST else Text()
        return Text.assemble(name, " " * GAP, drawn, *words)

    def trouble(self, width: int) -> Iterator[Text]:
        """What is wrong with the whole of it; where it has no open task, how it stands."""
        for word in telling(self.epic["conditions"]):
            if word["type"] == "Degraded" or (word["type"] == "Converged" and not self.rows):
                style = "red" if word["type"] == "Degraded" else "green" if word["status"] == "True" else "yellow"
                said = Text.assemble((f"{word['reason']}: ", style), line(word["message"]))
                yield from _noted(said, width, GAP, NOTE_MOST)


def _rank(section: str, entry: Entry) -> int:
    waits = section in ("ready", "blocked") and entry["waiting"] and "until" in entry["waiting"]
    return _RANKS.index("timer" if waits else section)


def _soon(entry: Entry, now: datetime) -> bool:
    word = entry["waiting"]
    return bool(word and "until" in word) and (stamped(word["until"]) - now).total_seconds() < SOON_S


# --- where it is shown -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Page:
    """Blocks under each other, as many rows of each as there is room for."""

    blocks: Sequence[_Block]
    size: Size
    at: datetime  # of the look at the world; ages go on since
    now: datetime
    said: Said

    def lines(self) -> list[Text]:
        columns = _Columns.fitting(self.blocks, self.size.width)
        blocks, left_out = self._blocks()
        tops = [[block.heading(self.size.width), *block.trouble(self.size.width)] for block in blocks]
        if self._has_room(HEADINGS_LEAST) and (listing := [i for i, block in enumerate(blocks) if block.rows]):
            tops[listing[0]].append(columns.headings())
        rule = [_rule(self.at, self.size)] if self.size.height and self._has_room(RULE_LEAST) else []
        air = [Text()] if self._has_room(AIR_LEAST) else []
        others = [Text(f"… and {counted(left_out, 'more manifest')}", "dim")] if left_out else []
        spent = len(rule) + sum(map(len, tops)) + len(air) * (len(blocks) - 1) + len(others)
        rows = self._rows(blocks, columns, self.size.height and self.size.height - spent)
        below = [[*top, *shown] for top, shown in zip(tops, rows, strict=True)]
        if self.size.height is None:
            below = [[*each, *self._trees(block)] for each, block in zip(below, blocks, strict=True)]
        apart = (each if i == 0 else [*air, *each] for i, each in enumerate(below))
        return [*rule, *(one for each in apart for one in each), *others]

    def _trees(self, block: _Block) -> Iterator[Text]:
        for row in trees(block.epic):
            yield from _wrapped(Text("  ").join([*row.cells, row.note]), self.size.width)

    def _has_room(self, rows: int) -> bool:
        return self.size.height is None or self.size.height >= rows

    def _blocks(self) -> tuple[Sequence[_Block], int]:
        """The manifests that there is room for, and how many there are beside: half of the rows are for tasks."""
        most = max((self.size.height or 0) // 3, 1)
        if self.size.height is None or len(self.blocks) <= most:
            return self.blocks, 0
        # Chosen by what goes on in them, shown in the order they have.
        best = sorted(self.blocks, key=lambda block: block.rows[0][0] if block.rows else len(_RANKS))[:most]
        return [block for block in self.blocks if block in best], len(self.blocks) - most

    def _rows(self, blocks: Sequence[_Block], columns: _Columns, room: int | None) -> list[list[Text]]:
        """The lines of every block's tasks: all of them, or the most interesting ones of all blocks together."""
        total = sum(len(block.rows) for block in blocks)
        if room is None or total <= room:
            found = [[self._row(columns, *row) for row in block.rows] for block in blocks]
            if room is None or sum(len(row) for rows in found for row in rows) <= room:
                return [[each for row in rows for each in row] for rows in found]
        # A line of each block says how many are left out.
        budget = max(room - sum(bool(block.rows) for block in blocks), 0)
        order = sorted(((rank, i, n) for i, block in enumerate(blocks) for n, (rank, _) in enumerate(block.rows)))
        drawn = [(i, self._row(columns, *blocks[i].rows[n])) for _, i, n in order[:budget]]
        ends = accumulate(len(row) for _, row in drawn)
        shown = [each for each, _ in takewhile(lambda pair: pair[1] <= budget, zip(drawn, ends, strict=True))]
        return [_with_rest(block, [row for j, row in shown if i == j]) for i, block in enumerate(blocks)]

    def _row(self, columns: _Columns, rank: int, entry: Entry) -> list[Text]:
        section = _RANKS[rank]
        note = self._note(entry, section, columns)
        bounded = self.size.height is not None
        beside = note.cell_len <= columns.rest or (bounded and section != "person") or section == "progress"
        first = columns.row(entry, section, self.now, note if beside else columns.instead_of_note(entry))
        if beside:
            return [first]
        return [first, *_noted(note, self.size.width, 2 * GAP, NOTE_MOST if bounded else None)]

    def _note(self, entry: Entry, section: str, columns: _Columns) -> Text:
        """What is done for the task, what its agent says, or why it waits; nothing that its manifest has said already."""
        word = entry["waiting"]
        if alive(entry) and "next" not in entry and (word is None or word["reason"] in _AT_WORK):
            shown = Text(f"quiet for {still}  ", "yellow") if (still := quiet(entry, self.at)) else Text()
            said = self.said(entry["id"])
            return shown.append(said) if said else shown.append_text(columns.instead_of_note(entry))
        if word and word["reason"] in OF_THE_WHOLE and "next" not in entry:
            return columns.instead_of_note(entry)
        note = why(entry, self.now, in_a_word=False)
        if section in ("blocked", "left"):
            note.stylize("dim")
        return note


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """Which columns there is room for, how wide each is, and what is left for the last one.

    Widths follow from all open tasks and never from what an agent prints: nothing jumps from one look to the next.
    """

    widths: Mapping[str, int]
    rest: int

    @classmethod
    def fitting(cls, blocks: Sequence[_Block], width: int) -> _Columns:
        entries = [entry for block in blocks for _, entry in block.rows]
        longest = max((Text(line(entry["id"])).cell_len for entry in entries), default=0)
        task = min(max(longest, len(_HEADINGS["task"])), max(width // 3, 8))
        found, left = {"task": task}, width - GAP - task - GAP
        least = 32 if width >= _WIDE else 24 if width >= 60 else 14
        for name, wide in (("age", 6), ("phase", 10), ("pull", 12), ("attempt", 3)):
            if left - wide - GAP < least:
                break
            found[name], left = wide, left - wide - GAP
        title = min((left - GAP) * 2 // 5, _TITLE_MOST)
        if title >= _TITLE_LEAST and width >= _WIDE:
            found["title"], left = title, left - title - GAP
        return cls(widths={name: found[name] for name in _HEADINGS if name in found}, rest=max(left, 0))

    def headings(self) -> Text:
        return self._line(" ", {name: Text(word) for name, word in _HEADINGS.items()}, "dim")

    def row(self, entry: Entry, section: str, now: datetime, note: Text) -> Text:
        mark, style = _LOOKS[section]
        run, pull = entry["run"], entry["pullRequest"]
        started = run["startedAt"] if run and alive(entry) else None
        cells = {
            "task": Text(line(entry["id"])),
            "title": Text(line(entry["title"])),
            "phase": Text(entry["phase"] or "", style),
            "attempt": Text("" if run is None or run["kind"] == "check" else str(run["attempt"]), justify="right"),
            "age": Text(span((now - stamped(started)).total_seconds()) if started else ""),
            "pull": Text(pull_request(pull, short=True) if pull and pull["state"] == "open" else ""),
        }
        empty = not (run or pull or entry["phase"] or "title" in self.widths)
        dim = "dim" if section in ("blocked", "left") else ""
        shown = self._titled(mark, cells, dim) if empty else self._line(mark, cells, dim)
        shown.stylize(style, 0, 1)
        note = note.copy()
        note.truncate(self.rest, overflow="ellipsis")
        return shown.append_text(note)

    def instead_of_note(self, entry: Entry) -> Text:
        """Its title, where that has no column of its own."""
        return Text() if "title" in self.widths else Text(line(entry["title"]), "dim")

    def _titled(self, mark: str, cells: Mapping[str, Text], style: str) -> Text:
        """A line for a task of which there is nothing but its title: that has the room of all columns."""
        task = self.widths["task"]
        wide = sum(self.widths.values()) - task + GAP * max(len(self.widths) - 2, 0)
        widths = {"task": task, **({"title": wide} if wide >= _TITLE_LEAST else {})}
        found = replace(self, widths=widths)._line(mark, cells, style)
        return found if len(widths) > 1 else self._line(mark, cells, style)

    def _line(self, mark: str, cells: Mapping[str, Text], style: str) -> Text:
        found = Text(mark + " ")
        for name, wide in self.widths.items():
            cell = cells[name].copy()
            cell.truncate(wide, overflow="ellipsis")
            blank = " " * (wide - cell.cell_len)
            found.append_text(Text.assemble(blank, cell) if cell.justify == "right" else Text.assemble(cell, blank))
            found.append(" " * GAP)
        found.stylize(style)
        return found


def _with_rest(block: _Block, rows: Sequence[Sequence[Text]]) -> list[Text]:
    """The lines of these rows, and how many of the block's tasks they leave out, by what those wait for."""
    left = block.rows[len(rows) :]
    found = [each for row in rows for each in row]
    if left:
        words = {"progress": "at work", "person": "needing a person", "pulls": "offered", "timer": "waiting"}
        ranks = [_RANKS[rank] for rank, _ in left]
        kinds = ", ".join(f"{ranks.count(name)} {words.get(name, name)}" for name in dict.fromkeys(ranks))
        found.append(Text(f"  … and {len(left)} more: {kinds}", "dim"))
    return found


def _rule(at: datetime, size: Size) -> Text:
    said = f"── as of {at.astimezone():%H:%M:%S} "
    if size.hint and len(f"{said}· {size.hint} ") <= size.width:
        said = f"{said}· {size.hint} "
    return Text(said + "─" * (size.width - len(said)), "dim")


def _wrapped(note: Text, width: int) -> Iterable[Text]:
    """The note in lines of at most `width` cells."""
    return note.wrap(_ANY, width)


def _noted(note: Text, width: int, indent: int, most: int | None) -> list[Text]:
    """The note on lines of its own, at most so many."""
    found = [Text(" " * indent).append_text(part) for part in _wrapped(note, max(width - indent, 1))]
    return found if most is None or len(found) <= most else [*found[: most - 1], found[most - 1].append(" …")]


def _cells(words: Iterable[Text]) -> int:
    return sum(word.cell_len for word in words)


def _cut(shown: Text, width: int) -> Text:
    shown.truncate(width, overflow="ellipsis")
    return shown
