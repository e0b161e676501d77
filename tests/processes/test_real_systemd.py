"""The service under a real systemd: a user's own, started in a mount namespace of the test and in cgroups of its own.

Needs root, a cgroup2 and the program; elsewhere it is skipped. What the machine runs itself is not touched.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from strangers import Place
from waiting import run, until

SYSTEMD = "/lib/systemd/systemd"
UNIFIED = next(
    (p for p in map(Path, ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")) if (p / "cgroup.procs").exists()), None
)
BUSY = ["sh", "-c", "while :; do sleep 0.2; done"]
# Systemd looks whether the machine was booted with it, and wants the cgroups where they usually are.
BEGIN = """\
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/cgroups
mount --bind "$UNIFIED" /run/cgroups
umount -l /sys/fs/cgroup
mount --bind /run/cgroups /sys/fs/cgroup
echo $$ > "/sys/fs/cgroup/$GROUP/user/cgroup.procs"
exec /lib/systemd/systemd --user
"""


def _can() -> bool:
    if os.geteuid() or UNIFIED is None or not Path(SYSTEMD).exists() or not shutil.which("nsenter"):
        return False
    return subprocess.run(("unshare", "-m", "true"), capture_output=True).returncode == 0


pytestmark = [pytest.mark.slow, pytest.mark.skipif(not _can(), reason="no systemd can be started here")]


class Managed(Place):
    """A repository whose commands find a systemd of their user."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.group = f"reconcile-systemd-{os.getpid()}"
        (folder / "run").mkdir(mode=0o700)
        (folder / "home").mkdir()
        self.env |= {
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "HOME": str(folder / "home"),
            "GROUP": self.group,
            "UNIFIED": str(UNIFIED),
        }
        for name in ("DBUS_SESSION_BUS_ADDRESS", "XDG_CONFIG_HOME"):
            self.env.pop(name, None)
        assert UNIFIED
        (UNIFIED / self.group / "user").mkdir(parents=True)
        self.systemd = subprocess.Popen(
            ("unshare", "-m", "sh", "-c", BEGIN), env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(lambda: self.inside("systemctl", "--user", "show-environment").returncode == 0)

    def inside(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return run(("nsenter", "-t", str(self.systemd.pid), "-m", f"--wd={self.root}", *argv), env=self.env)

    def told(self, *args: str) -> str:
        """What `reconcile` prints there."""
        done = self.inside(sys.executable, "-P", "-m", "reconciler", *args)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ctl(self, *args: str) -> str:
        return self.inside("systemctl", "--user", *args).stdout.strip()

    def agents(self) -> list[int]:
        return sorted(run["pid"] for run in self.json("get", "runs") if run["pid"])

    def leave(self) -> None:
        assert UNIFIED
        top = UNIFIED / self.group
        (top / "cgroup.kill").write_text("1")
        self.systemd.wait()
        folders = sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True)
        for folder in (*folders, top):
            until(lambda folder=folder: _removed(folder))


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return not folder.exists()
    return True


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Managed]:
    made = Managed(tmp_path)
    yield made
    made.leave()


def test_whatever_becomes_of_the_service_its_agents_run_on(place: Managed) -> None:
    tasks = [{"key": key, "title": f"Do {key}"} for key in "ab"]
    place.reconcile("apply", "-f", str(place.manifest(tasks=tasks, suspend=True, agent={"argv": BUSY})))
    place.reconcile("resume", "work")
    assert (
        "each run has a cgroup of its own"
        in place.inside(sys.executable, "-P", "-m", "reconciler", "service", "install").stderr
    )
    units = Path(place.env["HOME"]) / ".config/systemd/user"
    (unit,) = (file.name for file in units.glob("*.service"))
    until(lambda: place.ctl("is-active", unit) == "active" and len(place.agents()) == 2)
    before = place.agents()
    assert all("reconcile-run-" in Path(f"/proc/{pid}/cgroup").read_text() for pid in before)
    assert 'Status: "2 agents running"' in place.ctl("status", unit)

    (units / f"{unit}.d").mkdir()
    (units / f"{unit}.d/soon.conf").write_text("[Service]\nWatchdogSec=10s\nTimeoutAbortSec=1s\n")
    place.ctl("daemon-reload")
    place.ctl("restart", unit)
    assert place.agents() == before
    for end in (lambda pid: place.ctl("kill", "--signal=KILL", unit), lambda pid: os.kill(pid, signal.SIGSTOP)):
        old = int(place.ctl("show", "--property=MainPID", "--value", unit))
        end(old)  # the second is found by the watchdog
        until(lambda old=old: place.ctl("show", "--property=MainPID", "--value", unit) not in ("0", str(old)))
        until(lambda: place.ctl("is-active", unit) == "active")
        assert place.agents() == before

    one, other = before  # and one agent is killed, as for memory: its supervisor lives to say so
    os.kill(int(Path(f"/proc/{one}/task/{one}/children").read_text().split()[0]), signal.SIGKILL)
    until(lambda: any(run["exit"] and run["exit"]["signal"] == 9 for run in place.json("get", "runs")))
    assert other in place.agents()

    place.ctl("stop", unit)
    assert place.ctl("is-active", unit) == "inactive" and other in place.agents()
    place.told("service", "uninstall")
    assert other in place.agents()
    place.reconcile("stop", "--all")
