"""A throw-away Slurm of pretend nodes: child processes in one folder, no service, no root. Each can be killed or stopped.

Needs Debian's slurmctld, slurmd, slurm-client and munge. All sockets are on 127.0.0.1.
"""

from __future__ import annotations

import getpass
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from waiting import until

from reconciler.runners import courier, supervisor

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "scancel", "munged")
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
GUIDE = Path(__file__).parents[1] / "docs/machines.md"


def conf(folder: Path, ports: list[int], **settings: object) -> str:
    """The `slurm.conf` of the guide, in another folder and on these ports: the controller's, and one for each node."""
    text = GUIDE.read_text("utf-8").partition("cat > slurm.conf <<END\n")[2].partition("END\n")[0]
    text = text.replace("$PWD", str(folder)).replace("$(id -un)", getpass.getuser())
    rows = [row for row in text.splitlines() if not row.startswith("NodeName=")]
    node = next(row for row in text.splitlines() if row.startswith("NodeName=n1 "))
    for name, value in {"SlurmctldPort": ports[0], **settings}.items():
        rows = [f"{name}={value}", *(row for row in rows if not row.startswith(f"{name}="))]
    made = (
        re.sub(r"NodeName=n1 (.*) Port=\d+", rf"NodeName=n{n} \1 Port={port}", node)
        for n, port in enumerate(ports[1:], 1)
    )
    return "\n".join([*rows[:-1], *made, rows[-1], ""])


def missing() -> str:
    """Which program of it is not here; empty where all are."""
    return next((name for name in PROGRAMS if shutil.which(name, path=PATH) is None), "")


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Cluster:
    """`with Cluster(folder) as cluster`: up and idle; `environ` is what its commands need."""

    def __init__(self, folder: Path, nodes: int = 3, *, node_timeout: int = 20, min_job_age: int = 300) -> None:
        self.folder, self.names = folder.resolve(), [f"n{n + 1}" for n in range(nodes)]
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._asked = {"SlurmdTimeout": node_timeout, "MinJobAge": min_job_age}
        self.environ = {"PATH": PATH, "HOME": os.environ["HOME"], "SLURM_CONF": str(self.folder / "slurm.conf")}

    def __enter__(self) -> Cluster:
        try:
            self._up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _up(self) -> None:
        (self.folder / "state").mkdir(parents=True)
        self.folder.chmod(0o755)
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        (self.folder / "slurm.conf").write_text(conf(self.folder, free_ports(1 + len(self.names)), **self._asked))
        own = [f"--{name}={self.folder}/munged.{name}" for name in ("pid-file", "log-file", "seed-file")]
        self._go("munged", "munged", "-F", "-f", f"--socket={self.folder}/munge.sock", f"--key-file={key}", *own)
        until(lambda: (self.folder / "munge.sock").exists())
        self.start_controller()
        for node in self.names:
            self.start_node(node)
        until(lambda: self.run("sinfo", "-h", "-N", "-o", "%T").split().count("idle") == len(self.names), "idle nodes")

    def start_controller(self) -> None:
        self._go("slurmctld", "slurmctld", "-D")

    def start_node(self, node: str) -> None:
        self._go(node, "slurmd", "-D", "-N", node)

    def kill(self, name: str, signum: int = signal.SIGKILL) -> None:
        self.running[name].send_signal(signum)
        if signum == signal.SIGKILL:
            self.running[name].wait()

    def run(self, *argv: str) -> str:
        return subprocess.run(argv, env=self.environ, capture_output=True, text=True).stdout

    def _go(self, name: str, *argv: str) -> None:
        with open(self.folder / f"{name}.out", "ab") as log:
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            self.running[name] = subprocess.Popen(argv, env=self.environ, start_new_session=True, **streams)

    def __exit__(self, *_: object) -> None:
        self.run("scancel", "--me", "--full")
        until(lambda: not self.run("squeue", "-h", "-t", "R,CG").strip(), "its jobs to be over")
        for process in self.running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.running.values():
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        # What watches a job of a controller that was killed waits for its next one for ever.
        end(self.environ["SLURM_CONF"])


def end(conf: str) -> None:
    """Kill every process that has this `slurm.conf` in its environment."""
    mine = f"SLURM_CONF={conf}".encode()
    courier.kill([pid for pid in supervisor.parent_pids() if mine in courier.read(f"/proc/{pid}/environ").split(b"\0")])
