"""Two commits side by side, or a tree and what was measured before: rows run on both in turn, and what of their difference the spread of the runs explains."""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.bench.earlier import Earlier, earlier
from tests.bench.figures import amount
from tests.bench.sides import Refused, Run, Side, sides, working_tree

FEWEST = 3  # runs of a side, without which nothing is said of the difference
_TIMES = ("s", "ms", "µs")
_COLORS = {"slower": "red", "more": "red", "faster": "green", "less": "green"}


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A figure with the values of every run on each side; none where that side has no such figure."""

    row: str
    what: str
    unit: str
    old: tuple[float, ...]
    new: tuple[float, ...]

    @property
    def ratio(self) -> float | None:
        if not self.old or not self.new or not statistics.median(self.old):
            return None
        return statistics.median(self.new) / statistics.median(self.old)

    @property
    def verdict(self) -> str:
        """What can be said of the difference.

        Three runs: it counts where the medians are further apart than both ranges together, which chance alone does once
        in seventy. A range grows with the runs although they tell more, so that of more runs less of it is asked.
        """
        if not self.old or not self.new:
            return "only new" if self.new else "only old"
        runs = min(len(self.old), len(self.new))
        if runs < FEWEST:
            return "too few runs"
        apart = statistics.median(self.new) - statistics.median(self.old)
        if abs(apart) <= FEWEST / runs * (_range(self.old) + _range(self.new)):
            return "within noise"
        less, more = ("faster", "slower") if self.unit in _TIMES else ("less", "more")
        return more if apart > 0 else less

    @property
    def document(self) -> dict[str, Any]:
        """The pair for programs."""
        return {
            "row": self.row,
            "what": self.what,
            "unit": self.unit,
            "old": _values(self.old),
            "new": _values(self.new),
            "ratio": self.ratio,
            "verdict": self.verdict,
        }


@dataclass(frozen=True, kw_only=True)
class Remark:
    """Why a side gave no figures, or not all, of a row."""

    row: str
    side: str
    why: str
    broken: bool


def compare(revision: str, names: Sequence[str], *, pairs: int, quick: bool, as_json: bool) -> int:
    """Print the rows of a revision beside those of the working tree; the exit status."""
    if (file := Path(revision)).is_file():
        return _compare_with(file, names, pairs=pairs, quick=quick, as_json=as_json)
    try:
        with sides(revision) as both:
            asked = dict.fromkeys(names or [row for side in reversed(both) for row in side.rows])
            if unknown := set(asked).difference(*(side.rows for side in both)):
                raise Refused(f"no such row on either side: {', '.join(sorted(unknown))}")
            ran = {row: in_turn(row, both, pairs, quick=quick) for row in asked}
    except Refused as refused:
        print(f"python -m tests.bench: error: {refused}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing is left of it", file=sys.stderr)
        return 130
    found = [pair for row, (old, new) in ran.items() for pair in paired(row, old, new)]
    remarks = [remark for row, runs in ran.items() for remark in remarked(row, both, runs)]
    return _told(both, found, remarks, f"runs on each side: {pairs}, in turn", as_json=as_json)


def _compare_with(file: Path, names: Sequence[str], *, pairs: int, quick: bool, as_json: bool) -> int:
    """Print the rows of the working tree beside those that stand in a file; the exit status."""
    try:
        old = earlier(file, quick=quick)
        with working_tree() as new:
            if unknown := set(names).difference(new.rows):
                raise Refused(f"no such row: {', '.join(sorted(unknown))}")
            ran = {row: in_turn(row, (new,), pairs, quick=quick)[0] for row in names or new.rows}
    except Refused as refused:
        print(f"python -m tests.bench: error: {refused}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing is left of it", file=sys.stderr)
        return 130
    found = [pair for row, runs in ran.items() for pair in paired(row, old.runs, runs) if pair.new]
    if not names:  # else what is not listed was not asked for
        known = {(pair.what, pair.unit) for pair in found}
        found += [pair for pair in paired("", old.runs, ()) if (pair.what, pair.unit) not in known]
    remarks = [remark for row, runs in ran.items() for remark in remarked(row, (new,), (runs,))]
    how = f"runs: {len(old.runs)} in the file, at another time, and {pairs} now"
    return _told((old, new), found, remarks, how, as_json=as_json)


def _told(
    both: Sequence[Side | Earlier], found: Sequence[Pair], remarks: Sequence[Remark], how: str, *, as_json: bool
) -> int:
    if as_json:
        print(json.dumps(_document(both, found, remarks), indent=2))
    else:
        _show(_table(both, found, remarks), found, how)
    return int(any(remark.broken for remark in remarks))


def in_turn(row: str, both: Sequence[Side], pairs: int, *, quick: bool) -> tuple[list[Run], ...]:
    """The runs of a row on each side: old, new, new, old, and so on, so that a machine that gets slower hits both alike.

    What is broken is not run again: that may take minutes, and is as broken then.
    """
    runs: dict[str, list[Run]] = {side.name: [] for side in both}
    for n in range(pairs):
        for side in both if n % 2 == 0 else reversed(both):
            mine = runs[side.name]
            if row not in side.rows:
                mine[:] = [Run(why="its bench has no such row")]
            elif not any(run.broken for run in mine):
                print(f"{row}, {n + 1} of {pairs}: {side.name} …", file=sys.stderr, flush=True)
                mine.append(side.run(row, quick=quick))
    return tuple(runs.values())


def paired(row: str, old: Sequence[Run], new: Sequence[Run]) -> list[Pair]:
    """The figures of both sides by what they say, as the new side lists them; then those that only the old one has."""
    keys = dict.fromkeys(key for run in (*new, *old) for key in run.figures)
    return [
        Pair(row=row, what=what, unit=unit, old=_of(old, what, unit), new=_of(new, what, unit)) for what, unit in keys
    ]


def remarked(row: str, both: Sequence[Side], runs: Sequence[Sequence[Run]]) -> list[Remark]:
    """Why a side has no figures of a row, or not all: what its last run said of it."""
    last = [(side.name, mine[-1]) for side, mine in zip(both, runs, strict=True)]
    return [Remark(row=row, side=name, why=run.why, broken=run.broken) for name, run in last if run.why]


def _of(runs: Sequence[Run], what: str, unit: str) -> tuple[float, ...]:
    return tuple(run.figures[what, unit] for run in runs if (what, unit) in run.figures)


def _range(values: Sequence[float]) -> float:
    return max(values) - min(values)


def _spread(values: Sequence[float]) -> float | None:
    """The range as a part of the median; None where that is 0, or the only value."""
    median = statistics.median(values)
    return _range(values) / median if median and len(values) > 1 else None


def _values(values: Sequence[float]) -> dict[str, Any] | None:
    if not values:
        return None
    return {"values": list(values), "median": statistics.median(values), "spread": _spread(values)}


def _document(both: Sequence[Side | Earlier], found: Sequence[Pair], remarks: Sequence[Remark]) -> dict[str, Any]:
    titles = {side.name: side.title for side in both}
    return {**titles, "rows": [pair.document for pair in found], "remarks": [vars(remark) for remark in remarks]}


def _show(table: Table, found: Sequence[Pair], how: str) -> None:
    Console(width=None if sys.stdout.isatty() else 180).print(table)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{how}; shown: their median, and their range as a part of it; load: {load}")
    runs = min((min(len(pair.old), len(pair.new)) for pair in found if pair.old and pair.new), default=0)
    if runs >= FEWEST:
        print(f"within noise: the medians are no further apart than {FEWEST / runs:.0%} of both ranges together")


def _table(both: Sequence[Side | Earlier], found: Sequence[Pair], remarks: Sequence[Remark]) -> Table:
    old, new = both
    table = Table("what", escape(old.title), "spread", escape(new.title), "spread", "new / old", "")
    for column in range(1, 6):
        table.columns[column].justify = "right"
    for pair in found:
        values = (*_cells(pair.old, pair.unit), *_cells(pair.new, pair.unit))
        ratio = "" if pair.ratio is None else f"{pair.ratio:.2f} x"
        table.add_row(escape(pair.what), *values, ratio, _colored(pair.verdict))
    for remark in remarks:
        # A row that is only absent would read as one that nobody asked for.
        state = "[red]broken[/red]" if remark.broken else "left out"
        table.add_row(f"{remark.row}, {remark.side}: {escape(remark.why)}", "", "", "", "", "", state)
    return table


def _cells(values: Sequence[float], unit: str) -> tuple[str, str]:
    if not values:
        return "", ""
    spread = _spread(values)
    return amount(statistics.median(values), unit), "" if spread is None else f"{100 * spread:.0f} %"


def _colored(verdict: str) -> str:
    color = _COLORS.get(verdict)
    return f"[{color}]{verdict}[/{color}]" if color else verdict
