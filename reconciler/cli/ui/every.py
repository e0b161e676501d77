"""The page of every repository in which something is recorded: a list of them, and each below an address of its own."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from msgspec import Struct, field, json
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from reconciler import wiring
from reconciler.cli.ui.app import Pages, static
from reconciler.cli.ui.guard import Keys
from reconciler.model.errors import ReconcileError
from reconciler.render import safe
from reconciler.render.page import repositories
from reconciler.render.page.layout import Flat, flat, page, patch, plain
from reconciler.render.page.pieces import ROOT, Viewer
from reconciler.render.page.repositories import ADDRESS, RepositoryRow
from reconciler.system import known
from reconciler.wiring import Site

PAUSE_S = 1.0
NAV = (("/", "Repositories", "o"),)


class _Opened(Struct):
    """A repository that was opened: its pages, and what serves them."""

    pages: Pages
    app: ASGIApp


class EveryPage(Struct, kw_only=True):
    """Everything that is served of all of them. `pages` makes those of one."""

    environ: Mapping[str, str]
    keys: Keys
    viewer: Viewer
    pages: Callable[[Site], Pages]
    _opened: dict[str, _Opened] = field(default_factory=dict)
    _over: bool = False

    def app(self) -> ASGIApp:
        own = Starlette(
            routes=[
                Route("/static/{name}", static),
                Route("/live/", self._live),
                Route("/", self._page),
                Route("/{path:path}", _nowhere),
            ]
        )

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            path: str = scope["path"]
            if not path.startswith(ADDRESS):
                await own(scope, receive, send)
                return
            key, _, below = path.removeprefix(ADDRESS).partition("/")
            found = await asyncio.to_thread(self._of_key, key)
            if found is None:
                await HTMLResponse(plain("Not here", "There is no such repository."), 404)(scope, receive, send)
                return
            ROOT.set(f"{ADDRESS}{key}")  # for this request: each has a context of its own
            await found.app({**scope, "path": f"/{below}", "raw_path": f"/{below}".encode()}, receive, send)

        return serve

    def end(self) -> None:
        """Nobody hears anything any more."""
        self._over = True
        for each in self._opened.values():
            each.pages.feed.end()

    def rows(self) -> list[RepositoryRow]:
        """How each of them stands, as far as that was seen. Dead ones are left out."""
        return [self._row(key, path) for key, path in self._alive().items()]

    def _alive(self) -> dict[str, Path]:
        return {key_of(path): path for path in known.listed(self.environ) if known.alive(path)}

    def _row(self, key: str, path: Path) -> RepositoryRow:
        row = partial(RepositoryRow, key=key, path=os.fspath(path))
        try:
            feed = self._open(key, path).pages.feed
        except (ReconcileError, OSError) as error:
            return row(trouble=str(error))
        look = feed.look
        if look is None:
            return row(trouble=feed.trouble)
        unmanaged = look.rest["unmanaged"] or ()
        return row(manifests=look.manifests, unmanaged=unmanaged, at=look.at, trouble=feed.trouble)

    def _of_key(self, key: str) -> _Opened | None:
        path = self._alive().get(key)
        try:
            return self._open(key, path) if path else None
        except (ReconcileError, OSError):
            return None  # the list says why

    def _open(self, key: str, path: Path) -> _Opened:
        if key not in self._opened:
            pages = self.pages(wiring.open_site(path, self.environ))
            return self._opened.setdefault(key, _Opened(pages, pages.app()))  # several threads may have opened it
        return self._opened[key]

    async def _page(self, request: Request) -> Response:
        rows = await self._seen()
        text = page(
            repositories.view(rows),
            where="/",
            query="",
            csrf=self.keys.of_a_page(request.scope["session"]),
            viewer=self.viewer,
            at=_oldest(rows),
            held="",
            repository="",
            nav=NAV,
        )
        return HTMLResponse(text)

    async def _live(self, request: Request) -> Response:
        return StreamingResponse(self._events(), media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    async def _events(self) -> AsyncIterator[bytes]:
        held = Flat()
        while not self._over:
            rows = await self._seen()
            shown = repositories.view(rows)
            change, held = patch(held, flat(shown)), flat(shown)
            if change:
                change["title"] = f"{safe.line(shown.title)} · reconcile"
            if at := _oldest(rows):
                change["at"] = at
            yield b"data: " + json.encode(change) + b"\n\n" if change else b"event: alive\ndata: \n\n"
            await asyncio.sleep(PAUSE_S)

    async def _seen(self) -> list[RepositoryRow]:
        rows = await asyncio.to_thread(self.rows)
        for each in self._opened.values():
            each.pages.feed.want()
        return rows


def _oldest(rows: Sequence[RepositoryRow]) -> str:
    """Since when what stands there is known at least; empty before anything is."""
    return min((row.at for row in rows if row.at), default="")


async def _nowhere(request: Request) -> Response:  # noqa: ARG001 - as every address is called
    return HTMLResponse(plain("Not here", "There is no such page."), 404)


def key_of(path: Path) -> str:
    """What a repository is called in an address: the same for as long as it stays where it is.

    >>> key_of(Path("/srv/öl & co"))
    'l-co-67dd27'
    """
    name = re.sub(r"[^A-Za-z0-9_.]+", "-", path.name).strip("-.")
    return f"{name or 'repository'}-{hashlib.blake2b(os.fsencode(path), digest_size=3).hexdigest()}"
