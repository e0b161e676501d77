"""Pretend hosts that are reached by ssh: one sshd each, on loopback, with keys of their own. No root, nothing outside a folder."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import subprocess
from pathlib import Path

from slurm_cluster import free_ports
from waiting import until

SSHD = "/usr/sbin/sshd"


def missing() -> str:
    """Which program is not here; empty where all are."""
    return next((name for name in (SSHD, "ssh", "ssh-keygen") if shutil.which(name) is None), "")


class SshHosts:
    """`options` is what ssh needs to reach them."""

    def __init__(self, folder: Path, count: int = 3) -> None:
        self.folder, self.names = folder.resolve(), tuple(f"h{n + 1}" for n in range(count))
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.options = (f"-F{self.folder}/config",)

    def __enter__(self) -> SshHosts:
        self.folder.mkdir(mode=0o700)
        for key in ("host", "user"):
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / key)]
            subprocess.run(words, check=True)
        shutil.copy(self.folder / "user.pub", self.folder / "authorized")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        lines = []
        for name, port in zip(self.names, free_ports(len(self.names)), strict=True):
            (self.folder / f"{name}.conf").write_text(
                f"Port {port}\nListenAddress 127.0.0.1\nHostKey {self.folder}/host\nPidFile none\nStrictModes no\n"
                f"AuthorizedKeysFile {self.folder}/authorized\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n"
                "MaxStartups 100\nMaxSessions 100\n"
            )
            lines.append(
                f"Host {name}\n HostName 127.0.0.1\n Port {port}\n User {getpass.getuser()}\n LogLevel ERROR\n"
                f" IdentityFile {self.folder}/user\n IdentitiesOnly yes\n StrictHostKeyChecking no\n"
                f" UserKnownHostsFile {self.folder}/known\n"
            )
        (self.folder / "config").write_text("".join(lines))
        for name in self.names:
            self.start(name)
        return self

    def start(self, name: str) -> None:
        with open(self.folder / f"{name}.log", "ab") as log:
            words = [SSHD, "-D", "-e", "-f", str(self.folder / f"{name}.conf")]
            self.running[name] = subprocess.Popen(words, stderr=log, start_new_session=True)
        asked = ["ssh", *self.options, "-oBatchMode=yes", name, "true"]
        until(lambda: subprocess.run(asked, capture_output=True).returncode == 0, f"{name} to answer")

    def kill(self, name: str) -> None:
        self.running[name].send_signal(signal.SIGKILL)
        self.running[name].wait()

    def __exit__(self, *_: object) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()
