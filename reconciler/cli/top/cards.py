"""A task in a column of `top`: what it is, how it stands, and why it waits. Pure; whatever it is called stays text."""

from __future__ import annotations

from datetime import datetime

from rich.text import Text

from reconciler.render.safe import line
from reconciler.render.status import Entry, alive, pull_request, why
from reconciler.render.words import run_name, seconds_since, span

STYLES = {
    "needs": "bold red",
    "working": "cyan",
    "checking": "magenta",
    "landing": "blue",
    "waiting": "yellow",
    "done": "green",
}
_MARKS = {"needs": "!", "working": "●", "checking": "◆", "landing": "▲", "waiting": "…", "done": "✓"}
TITLE_MAX = 200


def card(column: str, manifest: str, entry: Entry, now: datetime) -> Text:
    """Two lines, of what is done one."""
    found = Text.assemble(
        (_MARKS[column], STYLES[column]), " ", (line(entry["title"] or entry["id"], TITLE_MAX), "bold")
    )
    if column == "done":
        return found.append(f"  {line(entry['id'])}", "dim")
    run, pull = entry["run"], entry["pullRequest"]
    facts = [line(entry["id"])]
    if not manifest:
        facts.append("no manifest")
    if run and alive(entry) and run["startedAt"]:
        facts.append(f"{run_name(run)} {span(seconds_since(run['startedAt'], now))}")
    if pull and pull["state"] == "open":
        facts.append(pull_request(pull, short=True))
    found.append(f"\n  {' · '.join(facts)}", "dim")
    note = why(entry, now, in_a_word=False)
    return found.append("  ").append_text(note) if note else found
