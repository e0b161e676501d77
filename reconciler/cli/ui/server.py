"""Serves the page: on a port of this machine, on a unix socket, or elsewhere by TLS; and knows who is at the other end."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from msgspec import Struct
from uvicorn.protocols.http.h11_impl import H11Protocol

from reconciler import wiring
from reconciler.cli.facts import LocalFacts
from reconciler.cli.look import Looks
from reconciler.cli.output import Output
from reconciler.cli.session import LoopSession
from reconciler.cli.ui.app import Pages
from reconciler.cli.ui.every import EveryPage
from reconciler.cli.ui.feed import Feed
from reconciler.cli.ui.guard import ENTER, Guard, Keys
from reconciler.model.errors import UsageError
from reconciler.model.values import replace
from reconciler.render.page.pieces import Viewer
from reconciler.runners import _peers as peers
from reconciler.wiring import Site


class Where(Struct, frozen=True, kw_only=True):
    """Where the page is served: `path` of a unix socket, or `host` and `port`; `tls`: certificate and key."""

    host: str = "127.0.0.1"
    port: int = 0
    path: Path | None = None
    tls: tuple[Path, Path] | None = None

    @property
    def address(self) -> str:
        if self.path:
            return "http://localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    @property
    def hosts(self) -> list[str]:
        """How a browser may call it. No other name: it could be made to lead here."""
        if self.path:
            return ["localhost"]
        names = [self.host, *(["localhost"] if self.host in ("127.0.0.1", "::1") else [])]
        return [f"[{name}]:{self.port}" if ":" in name else f"{name}:{self.port}" for name in names]


def serve(site: Site | None, place: Where, out: Output, *, read_only: bool, scraper: str = "") -> int:
    """Serve the page of a repository (None: of all that are known) until a signal comes; the exit code."""
    with _socket(place) as listening:
        if place.path is None:
            place = replace(place, port=listening.getsockname()[1])
        keys = Keys(used=lambda token: _announce(out, place, token, "opened; for another browser:"))
        viewer = Viewer(read_only=read_only)
        pages = _pages(site, out, keys, viewer) if site else _every(out, keys, viewer)
        scheme = "https" if place.tls else "http"
        guard = Guard(
            app=pages.app(),
            keys=keys,
            hosts=place.hosts,
            origins=[f"{scheme}://{host}" for host in place.hosts],
            cookie=f"reconcile-{place.port}",
            secure=bool(place.tls),
            scraper=scraper,
        )
        config = uvicorn.Config(
            guard,
            interface="asgi3",
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # nobody but the kernel says who asks
            timeout_graceful_shutdown=1,
            ssl_certfile=str(place.tls[0]) if place.tls else None,
            ssl_keyfile=str(place.tls[1]) if place.tls else None,
        )
        _announce(
            out, place, keys.token, "the page is served; open" if not place.path else "the page is served on a socket;"
        )
        _Server(config, pages.end).run(sockets=[listening])
    return 0


class _Server(uvicorn.Server):
    """Ends as soon as it is asked to: an open page listens for as long as it is served."""

    def __init__(self, config: uvicorn.Config, end: Callable[[], None]) -> None:
        super().__init__(config)
        self._end = end

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._end()
        logging.getLogger("uvicorn.error").disabled = True  # what is cut off now is no error
        await super().shutdown(sockets)


def _pages(site: Site, out: Output, keys: Keys, viewer: Viewer) -> Pages:
    looks = Looks(site=site, loop=LoopSession(site=site, out=out).loop())
    return Pages(site=site, feed=Feed(looks=looks, facts=LocalFacts(site=site)), keys=keys, viewer=viewer)


def _every(out: Output, keys: Keys, viewer: Viewer) -> EveryPage:
    return EveryPage(
        environ=wiring.environ(), keys=keys, viewer=viewer, pages=lambda site: _pages(site, out, keys, viewer)
    )


def _announce(out: Output, place: Where, token: str, words: str) -> None:
    url = f"{place.address}{ENTER}?token={token}"
    if place.path:
        url = f"curl --unix-socket {place.path} '{url}'"
    if out.for_people:
        out.line(f"{words} {url}")
    else:
        out.next({"url": url})


@contextmanager
def _socket(place: Where) -> Iterator[socket.socket]:
    if place.path is None:
        family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
        with socket.socket(family) as found:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                found.bind((place.host, place.port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                raise UsageError(f"port {place.port} is in use", hint="leave out --port for a free one") from error
            found.listen(128)
            yield found
        return
    if place.path.exists():
        if not stat.S_ISSOCK(place.path.lstat().st_mode) or _answers(place.path):
            raise UsageError(f"{place.path} is there already")
        place.path.unlink()
    with socket.socket(socket.AF_UNIX) as found:
        before = os.umask(0o177)  # from the first moment nobody else may connect
        try:
            found.bind(str(place.path))
        finally:
            os.umask(before)
        found.listen(128)
        try:
            yield found
        finally:
            place.path.unlink(missing_ok=True)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


class _Protocol(H11Protocol):
    """Notes with each connection who made it: only here the socket itself is at hand."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        found = transport.get_extra_info("socket")
        self.app_state = {**self.app_state, "peers": _asks(found)}


def _asks(connection: Any) -> Any:
    """What tells who is at the other end now. Of a unix socket it is who connected, as long as that one lives."""
    if connection.family == socket.AF_UNIX:
        once: Collection[peers.Peer] = peers.on_socket(connection)
        return lambda: once
    client, server = connection.getpeername()[:2], connection.getsockname()[:2]
    return partial(peers.on_loopback, client, server)
