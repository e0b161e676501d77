"""Prints the table, or with `--compare` that of two commits. How it ends is said by `--help`."""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import traceback
from collections.abc import Callable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reconciler.cli import COLLECT_AFTER
from tests.bench.checking import checked, tree
from tests.bench.compare import FEWEST, compare
from tests.bench.crowds import history, one_change, starting_many, turnover
from tests.bench.databases import real_beads
from tests.bench.elsewhere import on_github
from tests.bench.figures import Figure, amount
from tests.bench.landing import landing
from tests.bench.leaving import left_behind
from tests.bench.machines import machines
from tests.bench.overlapping import overlapping
from tests.bench.planning import planning
from tests.bench.programs import differing, many, memory, starting, supervisors
from tests.bench.queueing import queueing
from tests.bench.ticks import large_repository, quiet_tick, resting
from tests.bench.working import end_to_end, handover, spawning

CORES = 2
ROWS: dict[str, Callable[..., list[Figure]]] = {
    "handover": handover,
    "tick": quiet_tick,
    "rest": resting,
    "beads": real_beads,
    "plan": planning,
    "work": end_to_end,
    "checked": checked,
    "tree": tree,
    "spawn": spawning,
    "crowd": starting_many,
    "turn": turnover,
    "history": history,
    "past": left_behind,
    "change": one_change,
    "start": starting,
    "diff": differing,
    "memory": memory,
    "supervisor": supervisors,
    "many": many,
    "large": large_repository,
    "github": on_github,
    "machines": machines,
    "queue": queueing,
    "landing": landing,
    "overlap": overlapping,
}


def main() -> int:
    asked = _asked()
    if asked.compare is not None:
        return compare(asked.compare, asked.names, pairs=asked.pairs, quick=asked.quick, as_json=asked.json)
    # The same on every machine: what runs side by side has two cores, and no more, to do so.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    gc.set_threshold(COLLECT_AFTER)  # as the program does: some rows run its loop in here
    found: list[Figure] = []
    broken: dict[str, str] = {}
    for name in asked.names or ROWS:
        print(f"{name} …", file=sys.stderr, flush=True)
        try:
            found += ROWS[name](quick=asked.quick)
        except Exception as error:  # noqa: BLE001 - what breaks one row says nothing about the others
            broken[name] = f"{type(error).__name__}: {error}"
            traceback.print_exc()
    if asked.json:
        print(json.dumps({"rows": [each.document for each in found], "broken": broken, "quick": asked.quick}, indent=2))
    else:
        Console(width=None if sys.stdout.isatty() else 180).print(_table(found, broken))
        load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
        print(f"on {len(os.sched_getaffinity(0))} of {os.cpu_count()} cores; load: {load}")
    return int(bool(broken) or not all(figure.ok for figure in found))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Measure what the program costs.",
        epilog="Exit status: 0; 1 where a limit was missed or a row is broken, with --compare only where one is broken; "
        "2 for a row or a revision that nobody knows.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ROWS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="smaller worlds: shows that it works, not how fast it is")
    parser.add_argument("--json", action="store_true", help="print a document instead of a table")
    parser.add_argument(
        "--compare",
        metavar="REV|FILE",
        help="run each row on REV and on the working tree, in turn; or show it beside what --json printed into FILE, once or several times",
    )
    parser.add_argument("--pairs", type=int, default=FEWEST, metavar="N", help="how often (default: %(default)s)")
    asked = parser.parse_args()
    if asked.pairs < 1:
        parser.error("--pairs must be at least 1")
    if asked.compare is not None:
        return asked  # which rows there are depends on the revision
    if unknown := set(asked.names) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    return asked


def _table(found: list[Figure], broken: dict[str, str]) -> Table:
    table = Table("what", "measured", "beside", "that", "ratio", "at most", "")
    for column in (1, 3, 4, 5):
        table.columns[column].justify = "right"
    for figure in found:
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f} x"
        most = f"{figure.limit:g} x" if figure.times else amount(figure.limit, figure.unit)
        table.add_row(
            f"{figure.what}\n  [dim]{figure.note}[/dim]" if figure.note else figure.what,
            amount(figure.value, figure.unit),
            figure.beside,
            amount(figure.other, figure.unit),
            ratio,
            most,
            "[green]ok[/green]" if figure.ok else "[red]missed[/red]",
        )
    for name, why in broken.items():
        # A row that is only absent would read as one that nobody asked for.
        table.add_row(f"{name}: {escape(why)}", "", "", "", "", "", "[red]broken[/red]")
    return table


if __name__ == "__main__":
    sys.exit(main())
