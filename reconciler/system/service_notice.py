"""What a service manager hears: that we are ready, that we live, that we end. systemd's protocol, which needs no library."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from reconciler.system.late import late

# What is meant for the process that a manager started, and for nobody that this one starts.
VARIABLES = frozenset({"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "INVOCATION_ID"})


class ServiceNotice(Struct):
    """The manager's socket. Without one nothing is sent; who does not listen is not waited for."""

    address: str = ""
    watchdog_s: float | None = None  # it ends us where it hears nothing for so long
    _ready: bool = False

    @classmethod
    def of(cls, environ: Mapping[str, str], pid: int) -> ServiceNotice:
        """As the environment names it, where that means this process."""
        address, text = environ.get("NOTIFY_SOCKET", ""), environ.get("WATCHDOG_USEC", "")
        mine = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
        watchdog_s = int(text) / 1e6 if mine and text.isdecimal() and int(text) else None
        return cls(address=address if address[:1] in ("/", "@") else "", watchdog_s=watchdog_s)

    def alive(self, status: str = "") -> None:
        """Everything was looked at; the first time that means: ready."""
        first, self._ready = not self._ready, True
        self._say(*(["READY=1"] if first else []), "WATCHDOG=1", *([f"STATUS={_line(status)}"] if status else []))

    def ending(self) -> None:
        """The end has begun, as it was asked for."""
        self._say("STOPPING=1")

    def _say(self, *lines: str) -> None:
        if not self.address:
            return
        # A name that begins with @ is none in the file system.
        name = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        socket = late("socket")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.setblocking(False)
                out.sendto("\n".join(lines).encode(), name)
        except OSError:
            return  # the watchdog will tell


def _line(text: str) -> str:
    return " ".join(text.split())
