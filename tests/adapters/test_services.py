"""The watch as a service: what systemd and launchd are told, tried where neither runs."""

from __future__ import annotations

import plistlib
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.model.errors import PermanentError
from reconciler.system.environment import scrubbed
from reconciler.system.service_notice import ServiceNotice
from reconciler.system.services import Launchd, Service, Systemd

verifies = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")


def a_service(folder: Path, *, scopes: bool = True) -> Service:
    argv = [sys.executable, "-P", "-m", "reconciler", "watch", "--metrics", '/srv/100% "of" $HOME/m.prom']
    return Service(folder=folder, argv=argv, path='/usr/bin:/opt/a "b" 5%', scopes=scopes)


def verified(unit: Path) -> str:
    argv = ["systemd-analyze", "--user", "verify", "--man=no", str(unit)]
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "HOME": "/root", "XDG_RUNTIME_DIR": str(unit.parent)},
    )
    return done.stdout + done.stderr


@verifies
@pytest.mark.parametrize("scopes", [True, False])
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path, scopes: bool) -> None:
    folder = tmp_path / "my 50% repository"
    folder.mkdir()
    service = a_service(folder, scopes=scopes)
    unit = tmp_path / f"{service.name}.service"
    unit.write_text(Systemd({}).text(service))

    assert verified(unit) == ""
    unit.write_text(unit.read_text().replace("WatchdogSec", "WatchdogSeconds"))
    assert "WatchdogSeconds" in verified(unit)  # what it says of a key that it does not know; its exit status is 0


@pytest.mark.parametrize(("scopes", "kill"), [(True, "mixed"), (False, "process")])
def test_agents_are_out_of_reach_of_what_ends_the_service(tmp_path: Path, scopes: bool, kill: str) -> None:
    text = Systemd({}).text(a_service(tmp_path, scopes=scopes))

    assert f"KillMode={kill}\n" in text and ("OOMPolicy=continue\n" in text) is not scopes
    assert f"RECONCILE_SCOPES={'always' if scopes else 'never'}\n" in text
    assert all(f"\n{line}" in text for line in ("Type=notify\n", "WatchdogSec=10min\n", "Restart=always\n"))


def test_each_repository_has_a_service_of_its_own(tmp_path: Path) -> None:
    one, two = (a_service(tmp_path / place / "shop").name for place in "ab")

    assert one != two and one.startswith("reconcile-shop-")


def test_a_path_that_no_unit_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PermanentError):
        Systemd({}).text(a_service(tmp_path / "a\nExecStart=evil"))


def test_launchd_leaves_agents_alone_and_starts_again_what_failed(tmp_path: Path) -> None:
    service = a_service(tmp_path)
    fields = plistlib.loads(Launchd({"HOME": "/Users/ann"}).text(service).encode())

    assert fields["ProgramArguments"] == list(service.argv)
    assert fields["AbandonProcessGroup"] and fields["KeepAlive"] == {"SuccessfulExit": False}
    assert fields["WorkingDirectory"] == str(tmp_path)


# --- what a manager is told ----------------------------------------------------------------------------------


@pytest.fixture
def manager(tmp_path: Path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(5)
        yield heard


def test_the_first_look_means_ready_and_every_look_feeds_the_watchdog(manager: socket.socket) -> None:
    notice = ServiceNotice.of({"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "600000000"}, 7)

    notice.alive("2 agents\nrunning")
    notice.alive()
    notice.ending()

    assert notice.watchdog_s == 600
    assert manager.recv(999) == b"READY=1\nWATCHDOG=1\nSTATUS=2 agents running"
    assert [manager.recv(999), manager.recv(999)] == [b"WATCHDOG=1", b"STOPPING=1"]


def test_a_name_outside_the_file_system_is_found() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind("\0reconcile-test")
        heard.settimeout(5)
        ServiceNotice.of({"NOTIFY_SOCKET": "@reconcile-test"}, 7).alive()
        assert heard.recv(999) == b"READY=1\nWATCHDOG=1"


def test_who_does_not_listen_is_not_waited_for_and_a_watchdog_of_others_is_none(tmp_path: Path) -> None:
    ServiceNotice.of({"NOTIFY_SOCKET": str(tmp_path / "nobody")}, 7).alive()

    assert ServiceNotice.of({"WATCHDOG_USEC": "1", "WATCHDOG_PID": "8"}, 7).watchdog_s is None
    assert ServiceNotice.of({"WATCHDOG_USEC": "x"}, 7).watchdog_s is None


def test_no_agent_can_speak_for_the_service() -> None:
    variables = {
        "NOTIFY_SOCKET": "/x",
        "WATCHDOG_USEC": "1",
        "WATCHDOG_PID": "1",
        "INVOCATION_ID": "a",
        "RECONCILE_SCOPES": "always",
    }

    assert scrubbed({**variables, "HOME": "/root"}) == {"HOME": "/root"}
