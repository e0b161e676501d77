"""Who is let in, and what a page may do: every request passes here, and what is not named is refused.

The address that is printed holds a token that is good once; it is changed for a cookie. A browser also sends requests that
another page asked for: such a page may stand on this very host, on the port of an agent's server. So the Host, where the
request comes from, and, for what acts, the Origin and a token of the page itself are looked at, too.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable, Collection

import htpy as h
from msgspec import Struct, field
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reconciler.render.page.layout import plain

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with none at all a browser names no origin in a form that it sends
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
FREE = "/static/"  # what anybody may read: it is the same everywhere
ENTER = "/enter"
BODY_MAX = 64 * 1024
METRICS = re.compile(r"(/r/[^/]+)?/metrics")


class Keys(Struct):
    """The token that is good next, and the sessions that were opened with those before it."""

    used: Callable[[str], None] = lambda token: None  # hears of the next token once one was used
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    _secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    _sessions: set[str] = field(default_factory=set)

    def opened(self, token: str) -> str | None:
        """A new session for a token that is good; it is good no more then."""
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            return None
        session, self.token = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self._sessions.add(session)
        self.used(self.token)
        return session

    def known(self, session: str) -> bool:
        return any(hmac.compare_digest(session.encode(), each.encode()) for each in self._sessions)

    def same(self, sent: str, session: str) -> bool:
        """True for what a page of this session sends."""
        return hmac.compare_digest(sent.encode(), self.of_a_page(session).encode())

    def of_a_page(self, session: str) -> str:
        """What a page of this session sends with what it asks for."""
        return hmac.new(self._secret, session.encode(), "sha256").hexdigest()


class Guard(Struct, kw_only=True):
    """Lets requests pass to `app`. `hosts`: how this server may be called; `origins`: the same with scheme and port;
    `scraper`: what reads the metrics without a session, and nothing else; "": nobody does."""

    app: ASGIApp
    keys: Keys
    hosts: Collection[str]
    origins: Collection[str]
    cookie: str
    secure: bool = False
    scraper: str = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # nothing else is served
        headers = Headers(scope=scope)
        refused = self._refusal(scope, headers)
        if refused:
            await refused(scope, receive, _with_headers(send))
            return
        if scope["path"] == ENTER:
            token = QueryParams(scope["query_string"]).get("token", "")
            await self._enter(token)(scope, receive, _with_headers(send))
            return
        scope["session"] = self._session(headers)
        await self.app(scope, receive, _with_headers(send))

    def _enter(self, token: str) -> Response:
        """The answer to the address that was printed: the session, and the way to the page.

        It leads there by a page of its own: a redirect would keep the cookie back where another page named the address.
        """
        session = self.keys.opened(token)
        if session is None:
            return _answer(
                403,
                "Not let in",
                "This address is not known, or was used: each is good once. The newest stands where 'reconcile ui' runs.",
            )
        icon = '<link rel="icon" href="/static/icon.svg">'  # else a browser asks for /favicon.ico
        onward = '<meta http-equiv="refresh" content="0;url=/"><a href="/">reconcile</a>'
        answer = HTMLResponse(f"<!doctype html>{icon}{onward}")
        answer.set_cookie(self.cookie, session, httponly=True, samesite="strict", secure=self.secure, path="/")
        return answer

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        path, method = scope["path"], scope["method"]
        if headers.get("host", "") not in self.hosts or len(headers.getlist("host")) != 1:
            here = next(iter(self.origins))
            return _answer(421, "Not this host", ["The page is served at ", h.a(href=here)[here], " alone."])
        if method not in ("GET", "HEAD", "POST"):
            return _answer(405, "Not allowed", "The page takes GET and POST.")
        from_page = headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
        visited = (
            method == "GET"
            and headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") == "document"
        )
        if not from_page and not visited:
            return _answer(403, "Not from there", "Another page asked for this.")
        if path.startswith(FREE) or path == ENTER:
            return None
        if self._scrapes(method, path, headers):
            return None
        if self._session(headers) is None:
            return _answer(401, "Who are you?", "Open the address that 'reconcile ui' printed, in this browser.")
        if method == "POST" and headers.get("origin") not in self.origins:
            return _answer(403, "Not from there", "Only the page itself may ask for this.")
        return None

    def _scrapes(self, method: str, path: str, headers: Headers) -> bool:
        scheme, _, sent = headers.get("authorization", "").partition(" ")
        known = bool(self.scraper) and hmac.compare_digest(sent.strip().encode(), self.scraper.encode())
        return known and scheme.lower() == "bearer" and method != "POST" and METRICS.fullmatch(path) is not None

    def _session(self, headers: Headers) -> str | None:
        """A session of ours among the cookies: servers on other ports of this host set some too, of any form and any name."""
        pairs = (part.strip().partition("=") for sent in headers.getlist("cookie") for part in sent.split(";"))
        ours = (value for name, _, value in pairs if name == self.cookie)
        return next(filter(self.keys.known, ours), None)


def _answer(code: int, title: str, words: h.Node) -> Response:
    return HTMLResponse(plain(title, words), code)


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return sent
