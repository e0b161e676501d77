"""How everything stands, in the text format of Prometheus: for a file that node_exporter collects, and for a page that is scraped.

Written by hand: all of it is made again from one document, so a registry of counters, which prometheus-client is, would hold
nothing; and it takes a watch longer to import than this takes to write. The tests read it with that library.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from reconciler import __version__
from reconciler.model.observed.runs import ALIVE
from reconciler.render.entry import GROUPS
from reconciler.render.status import section_of

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_STATES = {name: "needs_human" if name == "needsHuman" else name for name in GROUPS}
Document = Mapping[str, Any]
_Sample = tuple[Mapping[str, str], float]


class Family(Struct, frozen=True):
    """A metric: its name, with the unit that Prometheus asks for, its type, and what it means."""

    name: str
    kind: str
    help: str


BUILD = Family("reconcile_build_info", "gauge", "The version that runs; always 1.")
LOOKED = Family("reconcile_last_look_timestamp_seconds", "gauge", "When everything was looked at last, as Unix time.")
TASKS = Family("reconcile_tasks", "gauge", "Tasks by what becomes of them; each is counted once.")
ATTENTION = Family("reconcile_attention_tasks", "gauge", "Tasks that need a person's attention, as status lists them.")
MERGED = Family("reconcile_merged_tasks", "gauge", "Closed tasks whose work was merged.")
WAITING = Family("reconcile_waiting_tasks", "gauge", "Tasks that wait, by the reason.")
RUNS = Family("reconcile_running_runs", "gauge", "Runs that are alive, by their kind: work, review or check.")
CONDITION = Family(
    "reconcile_condition", "gauge", "1 for the status that a condition of a manifest has, 0 for the others."
)
FAILING = Family("reconcile_failing_tasks", "gauge", "Tasks of which an action went wrong at every try.")
SPENT = Family("reconcile_spent_dollars_total", "counter", "US dollars that runs reported, at least.")
TOKENS = Family("reconcile_spent_tokens_total", "counter", "Tokens that runs reported, at least.")
UNTOLD = Family("reconcile_runs_without_cost_total", "counter", "Runs that could not report what they cost.")
QUEUED = Family("reconcile_queued_pull_requests", "gauge", "Pull requests in the line of a base, by their state.")
POINTS = Family("reconcile_github_points_left", "gauge", "Points that are left of GitHub's limit for this login.")


def exposition(status: Document, queue: Iterable[Document] = ()) -> str:
    """The metrics of what `status -o json` prints, with what `get queue -o json` does. What can't be known is left out.

    Of a task nothing is in it but its state: labels are the names of manifests and words of ours.
    """
    looked = datetime.fromisoformat(status["at"]).timestamp()
    families: dict[Family, list[_Sample]] = {
        BUILD: [({"version": __version__}, 1)],
        LOOKED: [({}, looked)],
        **{
            family: []
            for family in (
                TASKS,
                ATTENTION,
                MERGED,
                WAITING,
                RUNS,
                CONDITION,
                FAILING,
                SPENT,
                TOKENS,
                UNTOLD,
                QUEUED,
                POINTS,
            )
        },
    }
    for epic in status["epics"]:
        for family, labels, value in _of_epic(epic):
            families[family].append(({"manifest": epic["name"], **labels}, value))
    places = Counter((row["base"], row["state"]) for row in queue)
    families[QUEUED] = [({"base": base, "state": state}, n) for (base, state), n in sorted(places.items())]
    left = (status.get("forge") or {}).get("pointsLeft")
    families[POINTS] = [] if left is None else [({}, left)]
    return "".join(_family(family, samples) for family, samples in families.items() if samples)


def _of_epic(epic: Document) -> Iterator[tuple[Family, Mapping[str, str], float]]:
    counts = epic["counts"]
    if counts["tasks"] is not None:
        yield from ((TASKS, {"state": word}, counts[name]) for name, word in _STATES.items())
        yield MERGED, {}, counts["merged"]
    yield ATTENTION, {}, sum(section_of(task) == "person" for task in epic["tasks"])
    waiting = Counter(task["waiting"]["reason"] for task in epic["tasks"] if task["waiting"])
    yield from ((WAITING, {"reason": reason}, n) for reason, n in sorted(waiting.items()))
    alive = [task["run"]["kind"] for task in epic["tasks"] if task["run"] and task["run"]["state"] in ALIVE]
    yield from ((RUNS, {"kind": kind}, alive.count(kind)) for kind in ("work", "review", "check"))
    for each in epic["conditions"]:
        for status in ("True", "False", "Unknown"):
            yield CONDITION, {"type": each["type"], "status": status}, float(each["status"] == status)
    yield FAILING, {}, sum(bool(task["failing"]) for task in epic["tasks"])
    spent = epic["spend"]
    yield from ((SPENT, {}, spent["usd"]), (TOKENS, {}, spent["tokens"]), (UNTOLD, {}, spent["untold"]))


def _family(family: Family, samples: Iterable[_Sample]) -> str:
    lines = [f"{family.name}{_labels(labels)} {_number(value)}" for labels, value in samples]
    return "\n".join((f"# HELP {family.name} {family.help}", f"# TYPE {family.name} {family.kind}", *lines, ""))


def _labels(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
