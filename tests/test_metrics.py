"""What Prometheus reads: every metric by its rules, and nothing in it that is not known."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import worlds
from prometheus_client.parser import text_string_to_metric_families
from worlds import Unknown, a_run, a_task, an_epic, seen, wanted

from reconciler.cli.metrics_file import MetricsFile, metrics_path
from reconciler.loop.loop import Tick
from reconciler.model.desired import Budget
from reconciler.model.errors import UsageError
from reconciler.model.names import RunId, RunKind, TaskId, review_subject
from reconciler.model.observed import Run
from reconciler.model.report import Report
from reconciler.model.values import replace
from reconciler.planning.planner import plan
from reconciler.render import document, metrics

ROOT = Path(__file__).parent.parent
SPENT = a_run(agent="claude", report=Report(usd=1.5, tokens=10))


def a_review() -> Run:
    return replace(a_run(state="running"), id=RunId(RunKind.REVIEW, review_subject(TaskId("x-1"), worlds.HEAD), 1))


def tick(observed: Any = None) -> Tick:
    observed = observed or seen(
        a_task(status="in_progress", assignee=worlds.US),
        a_task("x-2", blockers=("x-1",)),
        a_task("x-3", status="blocked", labels=("needs-human",)),
        runs={"x-1": (SPENT, a_run(n=2, state="running"))},
    )
    return Tick(observed=observed, plan=plan(wanted(an_epic(budget=Budget(usd=1.6))), observed))


def text(observed: Any = None, queue: Any = ()) -> str:
    one = tick(observed)
    return metrics.exposition(document.status(one.plan, one.observed), queue)


def samples(exposed: str) -> dict[tuple[str, str], float]:
    """The value of each sample by its name and the values of its labels."""
    return {
        (sample.name, " ".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(exposed)
        for sample in family.samples
    }


def test_what_stands_in_status_is_counted() -> None:
    found = samples(text(queue=[{"base": "main", "state": "testing"}, {"base": "main", "state": "testing"}]))

    assert found["reconcile_tasks", "all working"] == found["reconcile_tasks", "all needs_human"] == 1
    assert found["reconcile_running_runs", "all work"] == 1
    assert found["reconcile_waiting_tasks", "all AgentRunning"] == 1
    assert found["reconcile_spent_dollars_total", "all"] == 1.5
    assert found["reconcile_condition", "all BudgetLow True"] == 1
    assert found["reconcile_queued_pull_requests", "main testing"] == 2
    assert found["reconcile_last_look_timestamp_seconds", ""] == worlds.NOW.timestamp()


def test_whatever_waits_for_a_person_is_counted_as_that() -> None:
    protected = seen(
        a_task(status="in_progress", assignee=worlds.US),
        runs={"x-1": (a_run(state="ended", exit={"code": 0}),)},
    )
    shown = document.status(tick(protected).plan, protected)
    for entry in shown["epics"][0]["tasks"]:
        entry["waiting"] = {"reason": "AwaitingApproval", "message": "waiting for approval"}
        entry["group"] = "review"

    assert samples(metrics.exposition(shown))["reconcile_attention_tasks", "all"] == 1


def test_reviews_that_run_are_counted_as_such() -> None:
    found = samples(text(seen(a_task(status="in_progress"), reviews={"x-1": (a_review(),)})))

    assert [found["reconcile_running_runs", f"all {kind}"] for kind in ("work", "review", "check")] == [0, 1, 0]


def test_what_is_not_known_is_left_out_and_not_zero() -> None:
    found = samples(text(seen(a_task(), tasks=Unknown("no answer"))))

    assert not any(name == "reconcile_tasks" for name, _ in found)
    assert ("reconcile_condition", "all Degraded True") in found


def test_names_and_units_are_as_prometheus_asks() -> None:
    families = list(text_string_to_metric_families(text()))

    for family in families:
        assert re.fullmatch(r"reconcile(_[a-z]+)+", family.name) and family.documentation.endswith(".")
        total = all(sample.name.endswith("_total") for sample in family.samples)
        assert (family.type == "counter") is total, family.name
    assert len({family.name for family in families}) == len(families)


def test_a_label_can_not_end_its_own_quotes() -> None:
    hostile = [{"base": 'a"} 1\nreconcile_tasks{x="\\', "state": "queued"}]

    assert samples(text(queue=hostile))["reconcile_queued_pull_requests", hostile[0]["base"] + " queued"] == 1


def test_the_dashboard_asks_for_metrics_and_labels_that_there_are() -> None:
    dashboard = json.loads((ROOT / "examples/grafana/reconcile.json").read_text())
    families = [value for value in vars(metrics).values() if isinstance(value, metrics.Family)]
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    names = {name for expr in asked for name in re.findall(r"\breconcile_\w+", expr)}

    assert names <= {family.name for family in families}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"]) == 13


# --- the file ------------------------------------------------------------------------------------------------


def a_file(path: Path, said: list[str]) -> MetricsFile:
    class NoStatuses:
        @staticmethod
        def statuses() -> dict[str, Any]:
            return {}

    return MetricsFile(path=path, site=NoStatuses(), say=said.append)  # type: ignore[arg-type]


def test_the_file_is_whole_at_every_moment_and_readable_to_others(tmp_path: Path) -> None:
    write = a_file(tmp_path / "reconcile.prom", [])
    write(tick())
    before = (tmp_path / "reconcile.prom").stat()
    write(tick())

    assert before.st_mode & 0o777 == 0o644
    assert (tmp_path / "reconcile.prom").stat().st_ino != before.st_ino  # replaced, and never written into
    assert [path.name for path in tmp_path.iterdir()] == ["reconcile.prom"]


def test_a_file_that_can_not_be_written_is_said_once_and_stops_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / ".m.prom.partial").mkdir()
    write = a_file(tmp_path / "m.prom", said)
    write(tick())
    write(tick())

    assert len(said) == 1 and "can't be written" in said[0]


@pytest.mark.parametrize("name", ["m.txt", "nowhere/m.prom"])
def test_a_file_that_nobody_would_read_is_refused_at_the_start(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        metrics_path(str(tmp_path / name))
