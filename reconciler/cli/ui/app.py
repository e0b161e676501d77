"""The page's addresses: what is shown under each, and what a click does."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from msgspec import Struct
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from reconciler import wiring
from reconciler.cli.acting import acted
from reconciler.cli.facts import LocalFacts
from reconciler.cli.look import LatestLook, seen_by_another
from reconciler.cli.ui.feed import Feed
from reconciler.cli.ui.guard import BODY_MAX, Keys
from reconciler.model.errors import PermanentError, ReconcileError
from reconciler.render import metrics, safe
from reconciler.render.acts import MESSAGE_MAX, Click, asked
from reconciler.render.page import coming, task, timeline, tree
from reconciler.render.page.layout import View, flat, page, plain
from reconciler.render.page.overview import Overview
from reconciler.render.page.pieces import Viewer
from reconciler.wiring import Site

TYPES = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}


class Pages(Struct, kw_only=True):
    """Everything that is served of one repository."""

    site: Site
    feed: Feed
    keys: Keys
    viewer: Viewer
    _overview: Overview | None = None

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/static/{name}", static),
                Route("/act", self._act, methods=["POST"]),
                Route("/live{path:path}", self._live),
                Route("/metrics", self._metrics),
                Route("/{path:path}", self._page),
            ]
        )

    def end(self) -> None:
        """Nobody hears anything any more."""
        self.feed.end()

    def view(self, path: str, query: Mapping[str, str], look: LatestLook | None) -> View | None:
        """What an address shows; None for one that nothing has. Called in the thread that reads."""
        manifests = look.manifests if look else {}
        rest = look.rest if look else {"unmanaged": [], "queue": [], "bases": {}, "forge": None, "done": []}
        where, _, name = path.strip("/").partition("/")
        facts, wanted = self.feed.facts, query.get("q", "")
        match where, name:
            case "", "":
                self._overview = self._overview or Overview(viewer=self.viewer)
                return self._overview.view(manifests, rest, query)
            case "timeline", "":
                titles = {
                    e["id"]: e["title"] or e["id"] for part in manifests.values() for e in part["status"]["tasks"]
                }
                now = datetime.now(UTC).astimezone()  # whose clock is on the wall here
                return timeline.view(facts.records(), titles, facts.landed(), query.get("hours", ""), wanted, now)
            case "next", "":
                return coming.view(manifests, rest["done"])
            case "manifest", name if name:
                return tree.view(name, manifests.get(name), facts.by_task(), facts.landed(), wanted)
            case "task", name if name:
                return _task(name, manifests, rest, facts, query.get("run", ""), self.viewer)
            case _:
                return None

    async def _page(self, request: Request) -> Response:
        look = await self.feed.first()
        view = await self.feed.in_turn(partial(self.view, request.url.path, request.query_params, look))
        if view is None:
            return HTMLResponse(plain("Not here", "There is no such page."), 404)
        if look is None and self.feed.trouble:
            return HTMLResponse(plain("It can't be seen", safe.line(self.feed.trouble)), 503)
        query = request.query_params
        text = page(
            view,
            where=request.url.path,
            query=query.get("q", ""),
            csrf=self.keys.of_a_page(request.scope["session"]),
            viewer=self.viewer,
            at=look.at if look else "",
            held=self.feed.remember(flat(view)),
            repository=str(self.site.repository.main),
        )
        return HTMLResponse(text)

    async def _live(self, request: Request) -> Response:
        path, query = "/" + request.path_params["path"].lstrip("/"), request.query_params
        since = request.headers.get("last-event-id") or query.get("since", "")
        nowhere = View(title="", blocks=())
        events = self.feed.changes(lambda look: self.view(path, query, look) or nowhere, since)
        return StreamingResponse(events, media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    async def _metrics(self, request: Request) -> Response:
        """The same as `watch --metrics` writes: as the one who acts here sees it now, or else as we do."""
        try:
            look = await self.feed.in_background(partial(seen_by_another, self.site))
            look = look or await self.feed.in_turn(self.feed.looks.newest)
        except ReconcileError as error:
            return Response(f"# {safe.line(str(error))}\n", 503, media_type=metrics.CONTENT_TYPE)
        if look is None:
            return Response("# nothing was seen yet\n", 503, media_type=metrics.CONTENT_TYPE)
        status = {"at": look.at, "epics": [p["status"] for p in look.manifests.values()], "forge": look.rest["forge"]}
        return Response(metrics.exposition(status, look.rest["queue"]), media_type=metrics.CONTENT_TYPE)

    async def _act(self, request: Request) -> Response:
        form = await _form(request)
        try:
            ask = asked(form.get("do", ""))
        except ValueError as error:
            return HTMLResponse(plain("Not understood", str(error)), 400)
        if not self.keys.same(form.get("csrf", ""), request.scope["session"]):
            return HTMLResponse(plain("Not from there", "The page is older than this server: load it again."), 403)
        if self.viewer.read_only:
            return _refused(ask, "The page is read-only.")
        try:
            wiring.refuse_peer(request.scope["state"]["peers"](), ask.name)
        except PermanentError as error:
            return _refused(ask, str(error))
        message = form.get(f"message-{ask.subject}", "").strip()[:MESSAGE_MAX]
        if ask.act.words and not message:
            return HTMLResponse(plain("Not done", "It needs some words: " + ask.act.words), 400)
        if ask.act.asks and not ask.sure:
            return HTMLResponse(plain("Not done", ask.act.asks + " It was not confirmed."), 400)
        try:
            found = await self.feed.in_background(partial(acted, self.site, ask, message))
        except ReconcileError as error:
            return HTMLResponse(plain("Not done", str(error), command=ask.command()), 502)
        self.feed.soon()
        if not found.done:
            return HTMLResponse(plain("Not done", found.words, command=ask.command()), 409)
        return HTMLResponse(plain(f"{ask.act.label}: done", found.words))


async def static(request: Request) -> Response:
    """What is the same for every page."""
    name = request.path_params["name"]
    if name not in TYPES:
        return HTMLResponse(plain("Not here", "There is no such file."), 404)
    text = importlib.resources.files("reconciler.render.page").joinpath(name).read_bytes()
    return Response(text, media_type=TYPES[name], headers={"cache-control": "no-cache"})


def _task(
    id: str, manifests: Mapping[str, Any], rest: Mapping[str, Any], facts: LocalFacts, run: str, viewer: Viewer
) -> View:
    found = [(name, part, e) for name, part in manifests.items() for e in part["status"]["tasks"] if e["id"] == id]
    owned = [each for each in found if (each[2]["waiting"] or {}).get("reason") != "OwnedBy"]
    for name, part, entry in (owned or found)[:1]:
        head = (entry["pullRequest"] or {}).get("head")
        details = facts.details(id, part["spec"]["base"], head, run)
        return task.view(entry, name, part["blockers"].get(id, ()), details, viewer)
    for entry in rest["unmanaged"] or ():
        if entry["id"] == id:
            return task.view(entry, "", (), facts.details(id, None, None, run), viewer)
    return task.missing(id)


async def _form(request: Request) -> dict[str, str]:
    """What a page has sent; nothing of what is longer than any page of ours sends."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > BODY_MAX:
            return {}
    try:
        found = parse_qs(body.decode("utf-8", "replace"), max_num_fields=2000) if body else {}
    except ValueError:
        return {}
    return {name: values[0] for name, values in found.items()}


def _refused(ask: Click, why: str) -> Response:
    return HTMLResponse(plain("Refused", safe.line(why), command=ask.command()), 403)
