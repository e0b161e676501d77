"""A watch that is to end amid what takes long: it says so, and a second signal ends it at once, as a kill may."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest
from strangers import Place
from waiting import ended, until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_amid_a_push_that_hangs_a_second_signal_ends_it_at_once_and_nothing_is_lost(
    tmp_path: Path, number: signal.Signals
) -> None:
    place, origin, gate = Place(tmp_path), tmp_path / "origin.git", tmp_path / "gate"
    place.git("init", "--quiet", "--bare", str(origin))
    place.git("remote", "add", "origin", str(origin))
    place.git("push", "--quiet", "--set-upstream", "origin", "main")
    hook = origin / "hooks/pre-receive"
    hook.write_text(f"#!/bin/sh\ntouch {gate}.reached\nuntil test -e {gate}; do sleep 0.1; done\n")
    hook.chmod(0o755)
    manifest = place.manifest(tasks=[{"key": "a", "title": "Do a"}], mergePolicy={"push": True, "checks": ["true"]})
    watch = place.start("watch", "-f", str(manifest))
    lines: list[str] = []
    assert watch.stderr
    stream = watch.stderr
    reader = threading.Thread(target=lambda: lines.extend(stream), daemon=True)
    reader.start()
    try:
        until(lambda: Path(f"{gate}.reached").exists(), "the push", by=watch)
        watch.send_signal(number)
        time.sleep(0.2)  # so that both of them come through
        watch.send_signal(number)  # as `timeout` does: one of them is for the group
        until(lambda: any("once more ends it at once" in line for line in lines), "why it takes so long", by=watch)
        watch.send_signal(number)
        assert watch.wait() == 128 + number
    finally:
        gate.touch()
        watch.kill()
        reader.join()
        stream.close()
        watch.stderr = None
        ended(watch)

    place.reconcile("watch", "--until-done")
    assert place.subjects() == ["Do a", "Begin"]
    assert place.git("ls-remote", "origin", "refs/heads/main").split()[0] == place.git("rev-parse", "main").strip()
