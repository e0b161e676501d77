"""Which processes of this machine are at the other end of a connection. Nothing here decides what they may do.

On Linux a unix socket names the process that connected, and /proc/net/tcp the inode of the other socket, whose holders are
looked for; elsewhere psutil looks among the processes of this user.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Iterator

from msgspec import Struct

from reconciler.runners import supervisor

if not supervisor.PROC:
    import psutil  # only there: every command would wait for its import

_CREDENTIALS = struct.Struct("3i")
_MACOS_LEVEL, _MACOS_PEER = 0, 2  # SOL_LOCAL, LOCAL_PEERPID

Address = tuple[str, int]


class Peer(Struct, frozen=True, kw_only=True):
    """A process, and when it started by the kernel's clock: a number alone may be another's by now."""

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        return self.pid > 0 and _started(self.pid) == self.started != 0


def on_socket(connection: socket.socket) -> frozenset[Peer]:
    """The process that connected to a unix socket; nothing where it can't be known."""
    try:
        if supervisor.PROC:
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            pid = _CREDENTIALS.unpack(credentials)[0]
        else:
            pid = connection.getsockopt(_MACOS_LEVEL, _MACOS_PEER)
    except (OSError, AttributeError):
        return frozenset()
    return _alive([pid])


def on_loopback(client: Address, server: Address) -> frozenset[Peer]:
    """Every process that holds the client's end of a TCP connection of this machine; nothing where none can be seen."""
    if "%" in client[0] or not ipaddress.ip_address(client[0]).is_loopback:
        return frozenset()
    if not supervisor.PROC:
        return _alive(pid for pid in psutil.pids() if _holds(pid, client, server))
    inodes = {inode for table in ("tcp", "tcp6") for inode in _inodes(table, client, server)}
    return _alive(pid for pid in supervisor.parent_pids() if _has_open(pid, inodes)) if inodes else frozenset()


def _alive(pids: Iterator[int] | list[int]) -> frozenset[Peer]:
    return frozenset(Peer(pid=pid, started=started) for pid in pids if pid > 0 and (started := _started(pid)))


def _started(pid: int) -> int:
    if supervisor.PROC:
        # One that has ended and was not waited for yet is still listed, and its environment is empty.
        return supervisor.start_ticks(pid) if pid in supervisor.parent_pids() else 0
    try:
        return int(psutil.Process(pid).create_time() * 1000)
    except psutil.Error:
        return 0


def _inodes(table: str, client: Address, server: Address) -> Iterator[str]:
    """The inodes of the sockets whose own end is `client` and whose other end is `server`."""
    wanted = _as_seen(client), _as_seen(server)
    try:
        with open(f"/proc/net/{table}", encoding="ascii") as file:
            rows = file.readlines()[1:]
    except OSError:
        return
    for row in rows:
        cells = row.split()
        if (_address(cells[1]), _address(cells[2])) == wanted and cells[9] != "0":
            yield cells[9]


def _as_seen(address: Address) -> tuple[str, int]:
    return str(_plain(ipaddress.ip_address(address[0]))), address[1]


def _address(cell: str) -> tuple[str, int]:
    """An address as the kernel prints it: words of the machine's own byte order, in hex.

    >>> _address("0100007F:1F90"), _address("0000000000000000FFFF00000100007F:0050"), _address(f"{'0' * 24}01000000:0050")
    (('127.0.0.1', 8080), ('127.0.0.1', 80), ('::1', 80))
    """
    host, port = cell.split(":")
    words = struct.pack(f"={len(host) // 8}I", *(int(host[n : n + 8], 16) for n in range(0, len(host), 8)))
    return str(_plain(ipaddress.ip_address(words))), int(port, 16)


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """IPv4 where it was wrapped into IPv6."""
    return getattr(address, "ipv4_mapped", None) or address


def _has_open(pid: int, inodes: set[str]) -> bool:
    wanted = {f"socket:[{inode}]" for inode in inodes}
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    return any(_link(f"/proc/{pid}/fd/{name}") in wanted for name in names)


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _holds(pid: int, client: Address, server: Address) -> bool:
    try:
        found = psutil.Process(pid).net_connections(kind="tcp")
    except psutil.Error:
        return False
    return any((tuple(each.laddr), tuple(each.raddr)) == (client, server) for each in found)
