"""`/metrics` of the page: for a scraper that holds the token of a file, and for nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import Ui
from prometheus_client.parser import text_string_to_metric_families
from strangers import Place
from waiting import until


@pytest.fixture
def token(tmp_path: Path) -> Path:
    return tmp_path / "token"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    place.reconcile("apply", "-f", str(place.manifest(agent={"argv": ["sh", "-c", "sleep 600"]})))
    yield place
    place.reconcile("stop", "--all", code=None)


def samples(text: str) -> dict[str, float]:
    families = text_string_to_metric_families(text)
    return {f"{s.name}{''.join(sorted(s.labels.values()))}": s.value for family in families for s in family.samples}


def bearer(token: Path) -> str:
    return f"Bearer {token.read_text().strip()}"


def test_a_scraper_reads_the_metrics_with_the_token_of_a_file_that_only_its_owner_can_read(
    place: Place, token: Path
) -> None:
    with Ui(place, ("--metrics-token", str(token))) as ui:
        answer = ui.ask("GET", "/metrics", authorization=bearer(token))

        assert (answer.code, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        found = samples(answer.text)
        assert found["reconcile_running_runsworkwork"] == 1
        assert token.stat().st_mode & 0o777 == 0o600
        assert token.read_text().strip() not in " ".join(ui.printed)

        place.reconcile("stop", "a")
        until(
            lambda: (
                samples(ui.ask("GET", "/metrics", authorization=bearer(token)).text)["reconcile_running_runsworkwork"]
                == 0
            ),
            "the next scrape to see it",
            by=ui.process,
        )


def test_beside_a_watch_a_scrape_is_what_the_watch_sees(place: Place, token: Path) -> None:
    watch = place.start("watch")
    try:
        with Ui(place, ("--metrics-token", str(token))) as ui:
            for n in range(2):
                place.reconcile("task", "create", f"More {n}", "--parent", str(place.tasks()["work"]["id"]))
                found = samples(ui.ask("GET", "/metrics", authorization=bearer(token)).text)
                assert sum(v for name, v in found.items() if name.startswith("reconcile_tasks")) == 3 + n
    finally:
        watch.terminate()
        watch.communicate()


def test_nobody_reads_them_with_another_token_or_none_and_nothing_else_is_read_with_it(
    place: Place, token: Path
) -> None:
    with Ui(place, ("--metrics-token", str(token))) as ui:
        good = bearer(token)
        for sent in ("", "Bearer", "Bearer x", good[:-1], f"Basic {good.split()[1]}", f"{good} x"):
            assert ui.ask("GET", "/metrics", **({"authorization": sent} if sent else {})).code == 401, sent
        for path in ("/", "/task/x", "/live/", "/metrics/", "/x/metrics", "/next"):
            assert ui.ask("GET", path, authorization=good).code == 401, path
        assert ui.ask("POST", "/act", "do=stop", authorization=good).code == 401
        assert ui.ask("POST", "/metrics", "x=1", authorization=good).code in (401, 405)
        assert ui.ask("GET", "/metrics", authorization=good, Host="evil.example").code == 421
        assert ui.ask("GET", "/metrics", authorization=good, sec_fetch_site="cross-site").code == 403

        ui.enter()
        assert ui.ask("GET", "/metrics").code == 200, "who is let in sees them"


def test_without_a_token_file_they_are_for_sessions_alone(place: Place) -> None:
    with Ui(place) as ui:
        assert ui.ask("GET", "/metrics", authorization="Bearer ").code == 401
        assert ui.ask("GET", "/metrics", authorization="Bearer").code == 401


@pytest.mark.parametrize(
    ("text", "mode", "why"), [("x" * 40, 0o644, "others than you"), ("short", 0o600, "at least 16")]
)
def test_a_token_that_others_know_or_can_guess_is_refused(
    place: Place, token: Path, text: str, mode: int, why: str
) -> None:
    token.write_text(text)
    token.chmod(mode)
    assert why in place.reconcile("ui", "--metrics-token", str(token), code=2)
