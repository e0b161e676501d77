"""How things stand, drawn to fit a terminal: a block per manifest, a row per open task, what matters most first.

Made from the document that `status -o json` prints. Nothing here reads a clock, a log or a terminal; every line that
comes out is safe to print and no wider than asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any

from msgspec import Struct
from rich.text import Text

from reconciler.model.reasons import Awaits, Reason
from reconciler.render import spend
from reconciler.render.columns import GAP, RANKS, Columns
from reconciler.render.fitting import cells, cut, noted, wrapped
from reconciler.render.safe import line
from reconciler.render.status import (
    NOTHING_RECORDED,
    Entry,
    alive,
    bar,
    base_words,
    of_the_whole,
    quiet,
    section_of,
    telling,
    trees,
    why,
)
from reconciler.render.words import counted, run_name, stamped

LastLine = Callable[[str], str]

BAR_MIN, BAR_MAX = 6, 30
NOTE_MAX = 2  # lines below the row of a task that needs a person
RULE_MIN, HEADINGS_MIN, AIR_MIN = 10, 8, 16  # rows of a picture that has room for them
SOON_S = 90


class Size(Struct, frozen=True, kw_only=True):
    """Columns, and rows where they are bounded: then nothing is taller, else nothing is left out. `hint`: what is worth
    saying beside the time, where there is room."""

    width: int
    height: int | None = None
    hint: str = ""


def picture(
    document: dict[str, Any], size: Size, now: datetime, last_line_of: LastLine = lambda task: ""
) -> list[Text]:
    """The lines of one picture."""
    return Picture(document, size).lines(now, last_line_of)


def restless(document: dict[str, Any], now: datetime) -> bool:
    """True while the picture changes with time alone: something runs, or a timer is about to run out."""
    return any(alive(entry) or _soon(entry, now) for epic in document["epics"] for entry in epic["tasks"])


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
        if counts["tasks"] is None:
            known = Text(f"{len(self.epic['tasks'])} running, tasks unknown", "yellow")
            name = Text(line(self.epic["name"]), "bold")
            name.truncate(max(width - known.cell_len - GAP, 8), overflow="ellipsis")
            return Text.assemble(name, " " * GAP, known)
        merged = f" ({counts['merged']} merged)" if counts["merged"] != counts["closed"] else ""
        used = spend.words(self.epic["spend"])
        words = [
            Text(f"{counts['closed']}/{counts['tasks']} closed"),
            Text(merged),
            Text(f" · {used}" if used else ""),
            Text(f" · {counts['working']} running" if counts["working"] else "", "cyan"),
            Text(
                f" · {counted(self.persons, 'needs attention', 'need attention')}" if self.persons else "", "bold red"
            ),
        ]
        name = Text(line(self.epic["name"]), "bold")
        # What must stay comes first and last; what the rows show as well goes where there is no room.
        while len(words) > 2 and cells(words) + GAP + min(name.cell_len, width // 2) > width:
            del words[1]
        room = width - cells(words) - 2 * GAP
        name.truncate(max(room - BAR_MIN, room // 2, 8), overflow="ellipsis")
        long = min(room - name.cell_len, BAR_MAX)
        drawn = bar(counts, long).append(" " * GAP) if long >= BAR_MIN else Text()
        return Text.assemble(name, " " * GAP, drawn, *words)

    def trouble(self, width: int, most: int | None) -> Iterator[Text]:
        """What is wrong with the whole of it, or keeps it from going on; where it has no open task, how it stands.

        Each in at most so many lines.
        """
        for word in telling(self.epic["conditions"]):
            stands = word["type"] == "Converged" and (not self.rows or of_the_whole(word))
            if stands or word["type"] in ("Degraded", "BudgetLow"):
                style = "red" if word["type"] == "Degraded" else "green" if word["status"] == "True" else "yellow"
                shown = Text.assemble((f"{word['reason']}: ", style), line(word["message"]))
                yield from noted(shown, width, GAP, most)


def _rank(section: str, entry: Entry) -> int:
    waits = section in ("ready", "blocked") and entry["waiting"] and "until" in entry["waiting"]
    return RANKS.index("timer" if waits else section)


def _soon(entry: Entry, now: datetime) -> bool:
    word = entry["waiting"]
    return bool(word and "until" in word) and (stamped(word["until"]) - now).total_seconds() < SOON_S


# --- where it is shown -----------------------------------------------------------------------------------------


class Picture:
    """A document laid out for a size, to be drawn again and again: only what moves is made again."""

    def __init__(self, document: dict[str, Any], size: Size) -> None:
        self._size, self._at = size, stamped(document["at"])
        every = [_Block(epic) for epic in document["epics"]]
        self._blocks = self._busiest(every)
        open_tasks = [entry for block in self._blocks for _, entry in block.rows]
        self._columns = Columns.fitting(open_tasks, size.width, once=size.height is None)
        self._tops = self._above_the_rows()
        self._rule = [_rule(self._at, size)] if size.height and every and self._has_room(RULE_MIN) else []
        self._air = [Text()] if self._has_room(AIR_MIN) else []
        left_out = len(every) - len(self._blocks)
        self._rest = [Text(f"… and {counted(left_out, 'more manifest')}", "dim")] if left_out else []
        if not every:
            self._rest = [Text(NOTHING_RECORDED)]
        ranks = ((rank, i, n) for i, block in enumerate(self._blocks) for n, (rank, _) in enumerate(block.rows))
        self._order = [(i, n) for _, i, n in sorted(ranks)]
        self._still: dict[tuple[int, int], list[Text]] = {}

    def lines(self, now: datetime, last_line_of: LastLine) -> list[Text]:
        """The lines as they are now. `last_line_of`: the last line that what runs for a task printed; asked for visible rows
        only."""
        rows = self._rows(_Moment(now=now, last_line_of=last_line_of))
        found = [*self._rule]
        for i, block in enumerate(self._blocks):
            found += [*(self._air if i else ()), *self._tops[i], *rows[i]]
            if self._size.height is None:
                found += self._below(block)
        return [cut(each, self._size.width) for each in [*found, *self._rest][: self._size.height]]

    def _busiest(self, blocks: Sequence[_Block]) -> Sequence[_Block]:
        """The manifests that there is room for: most of the rows are for tasks."""
        most = max((self._size.height or 0) // 3, 1)
        if self._size.height is None or len(blocks) <= most:
            return blocks
        # Chosen by what goes on in them, shown in the order they have.
        best = sorted(blocks, key=lambda block: block.rows[0][0] if block.rows else len(RANKS))[:most]
        return [block for block in blocks if block in best]

    def _above_the_rows(self) -> list[list[Text]]:
        width, most = self._size.width, NOTE_MAX if self._size.height is not None else None
        found = [[block.heading(width), *block.trouble(width, most)] for block in self._blocks]
        listing = [i for i, block in enumerate(self._blocks) if block.rows]
        # Where titles have no column, those of tasks that wait stand in that of phases.
        if listing and self._has_room(HEADINGS_MIN) and "title" in self._columns.widths:
            found[listing[0]].append(self._columns.headings())
        return found

    def _below(self, block: _Block) -> Iterator[Text]:
        """Where it is worked on, and how its base stands: not in a picture that is drawn again and again."""
        below = [Text("  ").join([*row.cells, row.note]) for row in trees(block.epic)]
        if base := base_words(block.epic["base"]):
            below.append(Text.assemble(("Base", "bold"), f"  {line(base)}"))
        for each in below:
            yield from wrapped(each, self._size.width)

    def _has_room(self, rows: int) -> bool:
        return self._size.height is None or self._size.height >= rows

    @property
    def _room(self) -> int | None:
        """How many lines the tasks may take up."""
        if self._size.height is None:
            return None
        air = len(self._air) * (len(self._blocks) - 1)
        return self._size.height - len(self._rule) - sum(map(len, self._tops)) - air - len(self._rest)

    def _rows(self, moment: _Moment) -> list[list[Text]]:
        """The lines of every block's tasks: all of them, or the most interesting ones of all blocks together."""
        room = self._room
        if room is None or len(self._order) <= room:
            found = [(i, self._row(i, n, moment)) for i, n in self._order]
            if room is None or sum(len(row) for _, row in found) <= room:
                return [[each for j, row in found if i == j for each in row] for i in range(len(self._blocks))]
        # A line of each block says how many are left out.
        budget = max(room - sum(bool(block.rows) for block in self._blocks), 0)
        drawn = [(i, self._row(i, n, moment)) for i, n in self._order[:budget]]
        ends = accumulate(len(row) for _, row in drawn)
        shown = [each for each, end in zip(drawn, ends, strict=True) if end <= budget]
        return [_with_rest(block, [row for j, row in shown if i == j]) for i, block in enumerate(self._blocks)]

    def _row(self, i: int, n: int, moment: _Moment) -> list[Text]:
        rank, entry = self._blocks[i].rows[n]
        if alive(entry) or "until" in (entry["waiting"] or ()):
            return self._drawn(entry, RANKS[rank], moment)
        if (i, n) not in self._still:
            self._still[i, n] = self._drawn(entry, RANKS[rank], moment)
        return self._still[i, n]

    def _drawn(self, entry: Entry, section: str, moment: _Moment) -> list[Text]:
        note = self._note(entry, section, moment)
        bounded = self._size.height is not None
        beside = note.cell_len <= self._columns.rest or (bounded and section != "person") or section == "progress"
        instead = self._columns.instead_of_note(entry)
        first = self._columns.row(entry, section, moment.now, note if beside else instead)
        if beside:
            return [first]
        return [first, *noted(note, self._size.width, 2 * GAP, NOTE_MAX if bounded else None)]

    def _note(self, entry: Entry, section: str, moment: _Moment) -> Text:
        """What is done for the task, what its agent says, or why it waits; nothing that its manifest has named already."""
        word = entry["waiting"]
        runs_on = word is None or of_the_whole(word) or Reason.of(word["reason"]).awaits is Awaits.RUN
        if alive(entry) and "next" not in entry and runs_on:
            # As of the look at the world: what was printed since is not known to be nothing.
            shown = Text(f"{node}  ", "cyan") if (node := _node(entry)) else Text()
            if still := quiet(entry, self._at):
                shown.append(f"quiet for {still}  ", "yellow")
            value = moment.last_line_of(entry["id"])
            if value:
                # Whose words they are: without that, those of a check read as the agent's.
                return shown.append("" if entry["run"]["kind"] == "work" else f"{entry['run']['kind']}: ").append(value)
            # A check that is content says nothing: what it is about is more than an empty cell.
            message = line(word["message"]) if word else ""
            if word and of_the_whole(word):  # that stands above the tasks
                message = f"{run_name(entry['run'])} is {entry['run']['state']}"
            doing = Text(message.replace(f" on {node}", "") if node else message, "dim")
            return shown.append_text(self._columns.instead_of_note(entry) or doing)
        if word and of_the_whole(word) and "next" not in entry:
            return self._columns.instead_of_note(entry)
        note = why(entry, moment.now, in_a_word=False)
        if section in ("blocked", "left"):
            note.stylize("dim")
        return note


def _node(entry: Entry) -> str:
    """Where its run is, if that is not this machine: it stands first, as what its agent prints takes all the room there is."""
    return line(str((entry["run"] or {}).get("where", "")).partition(":")[2])


class _Moment(Struct, frozen=True, kw_only=True):
    """What moves."""

    now: datetime
    last_line_of: LastLine


def _with_rest(block: _Block, rows: Sequence[Sequence[Text]]) -> list[Text]:
    """The lines of these rows, and how many of the block's tasks they leave out, by what those wait for."""
    left = block.rows[len(rows) :]
    found = [each for row in rows for each in row]
    if left:
        words = {"progress": "running", "person": "needing attention", "pulls": "offered", "timer": "waiting"}
        ranks = [RANKS[rank] for rank, _ in left]
        kinds = ", ".join(f"{ranks.count(name)} {words.get(name, name)}" for name in dict.fromkeys(ranks))
        found.append(Text(f"  … and {len(left)} more: {kinds}", "dim"))
    return found


def _rule(at: datetime, size: Size) -> Text:
    message = f"── as of {at.astimezone():%H:%M:%S} "
    if size.hint and len(f"{message}· {size.hint} ") <= size.width:
        message = f"{message}· {size.hint} "
    return Text(message + "─" * (size.width - len(message)), "dim")
