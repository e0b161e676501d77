"""`reconcile service`, with a stand-in for systemctl, and a watch that a manager's socket of the test listens to."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from strangers import Place
from waiting import ended

SYSTEMCTL = """\
#!/bin/sh
echo "$*" >> "$CALLS"
case "$*" in *" show --property"*) printf 'ActiveState=active\\nMainPID=42\\nActiveEnterTimestamp=Sun\\n';; esac
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    place.env |= {"HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": "", "CALLS": str(tmp_path / "calls")}
    (tmp_path / "home").mkdir()
    yield place


def with_systemctl(place: Place, folder: Path) -> None:
    (folder / "bin").mkdir()
    (folder / "bin/systemctl").write_text(SYSTEMCTL)
    (folder / "bin/systemctl").chmod(0o755)
    (folder / "bin/loginctl").write_text("#!/bin/sh\necho no\n")
    (folder / "bin/loginctl").chmod(0o755)
    place.env["PATH"] = f"{folder / 'bin'}:{place.env['PATH']}"


def test_a_service_is_installed_shown_and_removed(place: Place, tmp_path: Path) -> None:
    with_systemctl(place, tmp_path)
    assert "no manifest is applied here" in place.reconcile("service", "install", code=2)
    place.reconcile("apply", "-f", str(place.manifest(suspend=True)))

    place.reconcile("service", "install")
    (unit,) = (tmp_path / "home/.config/systemd/user").iterdir()
    told = place.json("service", "status")
    place.reconcile("service", "uninstall")

    assert (told["state"], told["pid"], told["lingers"], told["scopes"]) == ("active", 42, False, False)
    assert told["file"] == str(unit) and not unit.exists()
    calls = Path(place.env["CALLS"]).read_text()
    assert f"--user enable {unit.name}" in calls and f"--user disable --now {unit.name}" in calls
    assert "no service is installed" in place.reconcile("service", "uninstall", code=2)


def test_status_says_what_it_means_for_agents_and_for_logging_out(place: Place, tmp_path: Path) -> None:
    with_systemctl(place, tmp_path)
    place.reconcile("apply", "-f", str(place.manifest(suspend=True)))
    place.reconcile("service", "install")

    shown = place.reconcile("service", "status")

    assert "service: active, pid 42" in shown and "loginctl enable-linger" in shown
    assert "KillMode=process and OOMPolicy=continue" in shown


def test_where_no_systemd_runs_that_is_said_and_the_unit_can_be_printed(place: Place) -> None:
    place.env |= {"XDG_RUNTIME_DIR": "/nowhere", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere"}
    place.reconcile("apply", "-f", str(place.manifest(suspend=True)))

    assert "systemd can't be used" in place.reconcile("service", "install", code=1)
    shown = place.reconcile("service", "status", code=1)
    assert "service: not installed" in shown and "would share" in shown and "in tmux" in shown
    assert "Type=notify" in place.reconcile("service", "install", "--print")
    assert not (Path(place.env["HOME"]) / ".config").exists()


def test_no_agent_installs_or_removes_a_service(place: Place) -> None:
    place.env["RECONCILE_RUN"] = "work/x/1"

    assert "refused inside a run" in place.reconcile("service", "install", code=1)
    assert "refused inside a run" in place.reconcile("service", "uninstall", code=1)


def test_a_watch_says_ready_and_lives_to_its_manager_however_long_its_interval(place: Place, tmp_path: Path) -> None:
    place.reconcile("apply", "-f", str(place.manifest(suspend=True)))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(120)
        place.env |= {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3000000"}
        watch = place.start("watch", "--interval", "1h")
        heard = [manager.recv(999) for _ in range(3)]
        watch.terminate()
        ended(watch)
        while heard[-1] != b"STOPPING=1":
            heard.append(manager.recv(999))

    assert heard[0].startswith(b"READY=1\nWATCHDOG=1\nSTATUS=0 agents running")
    assert all(word.startswith(b"WATCHDOG=1") for word in heard[1:-1]) and watch.returncode == 143
