"""The lines around the columns of `top`: what stands above them, which keys mean something, a diff in colours. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from rich.text import Text

from reconciler.cli.look import LatestLook
from reconciler.render import safe
from reconciler.render.acts import ACTS, of_task
from reconciler.render.status import Entry
from reconciler.render.words import seconds_since, span

KEYS = {
    "Enter": "describe the task: state, text, runs, history",
    "l": "its log, as it is printed",
    "d": "the diff of its branch",
    "/": "filter by words of title, id or reason; Esc ends it",
    "↑ ↓ j k": "move; ← → to the next column",
    "q": "leave; so does Ctrl-C. Nothing else ends with it",
}
SHORT = {"request changes": "changes", "start an agent": "start"}  # below the columns: 80 are all there may be
_PATCH_STYLES = {"+": "green", "-": "red", "@": "cyan", "d": "bold"}


def heading(
    name: str,
    wrong: Sequence[str],
    counts: Mapping[str, int],
    look: LatestLook | None,
    wanted: str,
    trouble: str,
    now: datetime,
) -> Text:
    """Whose columns these are, what is in them, and how old it is. `wrong`: manifests that are degraded."""
    needs, working = counts["needs"], counts["working"]
    found = Text.assemble((safe.line(name), "bold"), no_wrap=True)
    if look and not look.manifests:
        found.append("  no manifest is applied: 'reconcile apply -f FILE'", "yellow")
    if wrong:
        found.append(f"  {' '.join(map(safe.line, wrong))} degraded", "bold red")
    found.append(f"  {needs} need{'s' if needs == 1 else ''} you", "bold red" if needs else "dim")
    found.append(f" · {working} working · {counts['done']} of {sum(counts.values())} done")
    if wanted:
        found.append(f"  filter: {safe.line(wanted)}", "yellow")
    if trouble:
        return found.append(f"  {safe.line(trouble)}", "red")
    if look is None:
        return found.append("  looking…", "dim")
    age_s = seconds_since(look.at, now)
    acts = "a watch acts" if look.by else "a watch is amid its first look" if look.amid else "no watch acts"
    return found.append(f"  as of {span(age_s)} ago, {acts}", "dim")


def hint(entry: Entry | None) -> Text:
    """The keys that mean something for this task."""
    labels = {click.act.key: click.act.label.lower() for click in of_task(entry)} if entry else {}
    acts = {key: SHORT.get(label, label) for key, label in labels.items()}
    words = {"?": "help", "Enter": "describe", "l": "log", "d": "diff", **acts, "/": "filter", "q": "leave"}
    found = Text()
    for key, word in words.items():
        found.append(key, "bold").append(f" {word}  ")
    return found


def keys() -> list[tuple[str, str]]:
    """Every key, and what it does."""
    acts: dict[str, list[str]] = {}
    for act in ACTS.values():
        if act.key and not act.of_a_manifest:
            acts.setdefault(act.key, []).append(act.label.lower() + (" (asks first)" if act.asks else ""))
    return [*KEYS.items(), *((key, " or ".join(labels)) for key, labels in acts.items())]


def patch(text: str, most: int) -> Text:
    """A diff in the colours of one."""
    found = Text()
    for each in safe.block(text, most).split("\n"):
        found.append(f"{each}\n", _PATCH_STYLES.get(each[:1], ""))
    return found
