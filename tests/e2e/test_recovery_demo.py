"""`reconcile demo --recovery`: the promises about kills, kept in front of whoever asks, and a broken one is called so."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from strangers import Place

from reconciler.cli.demo import demo_command
from reconciler.demo import recovery
from reconciler.demo.bench import Bench, Unmet
from reconciler.demo.recovery import Scenario
from reconciler.runners import supervisor

pytestmark = pytest.mark.skipif(not supervisor.PROC, reason="needs /proc")


def test_every_recovery_is_shown_as_promised_and_nothing_is_left(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.env["TMPDIR"] = str(tmp_path)

    said = place.reconcile("demo", "--recovery").splitlines()

    assert [line[:6] for line in said[:-1]] == [f"{number}  ok " for number in range(1, 8)]
    assert said[-1] == "7 of 7 recoveries as promised"
    assert list(tmp_path.glob("reconcile-demo-*")) == []


def _breaks(bench: Bench) -> None:
    raise Unmet("starts: 2, not 1")


def test_a_promise_that_is_not_kept_is_named_and_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "SCENARIOS", (Scenario("nothing", "nothing happens", _breaks),))

    ended = CliRunner().invoke(demo_command, ["--recovery"], standalone_mode=False)

    assert "1  FAILED  killed: nothing; nothing happens: starts: 2, not 1" in ended.output
    assert ended.return_value == 1


def test_work_that_is_not_merged_is_no_recovery(tmp_path: Path) -> None:
    for name in ("env", "bench"):
        (tmp_path / name).mkdir()
    bench = Bench.make(tmp_path / "bench", Place(tmp_path / "env").env)
    bench.wants("commit done")

    with pytest.raises(Unmet, match="not merged"):
        bench.converged()
