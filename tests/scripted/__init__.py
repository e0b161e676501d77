"""A model that says what a script says, for the command lines of real agents: they talk to it, use their real tools, and end.

::

    with ScriptedModel({"commit": (Turn(shell="git commit -m Work …"), Turn(text="Done."))}) as model:
        ...  # an agent with ANTHROPIC_BASE_URL=model.url whose prompt holds `SCRIPT:commit`

It holds no state: which script and which turn is read off the conversation that a request carries (the newest `SCRIPT:`
in it, and how often the model has spoken since). So one model serves any number of agents side by side, agents that
are killed and resumed too. It listens on 127.0.0.1 only. Needs the standard library alone.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from scripted import anthropic, google, openai
from scripted.turns import Asked, Fault, Script, Turn

DIALECTS: Mapping[str, Callable[[Asked, Script], Sequence[bytes]]] = {
    "/v1/messages": anthropic.answer,
    "/v1/responses": openai.response,
    "/v1/chat/completions": openai.chat,
    "GenerateContent": google.answer,
    "generateContent": google.answer,
}


class ScriptedModel:
    """The model on a port of its own. `asked`: every request that a script answered, as (script, turn); `told`: what each of
    them held."""

    def __init__(self, scripts: Mapping[str, Script]) -> None:
        self.asked: list[tuple[str, int]] = []
        self.told: list[str] = []
        self._done = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(scripts, self.asked, self.told, self._done))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


def _handler(
    scripts: Mapping[str, Script], asked: list[tuple[str, int]], told: list[str], done: threading.Event
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._say(200, b"")

        def do_GET(self) -> None:
            self._say(200 if "/models" in self.path else 404, b'{"data": [], "models": []}')

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            speak = next((speak for path, speak in DIALECTS.items() if path in self.path), None)
            if speak is None or "count_tokens" in self.path:
                return self._say(200 if speak else 404, json.dumps({"input_tokens": len(body) // 4}).encode())
            request = Asked(path=self.path, body=json.loads(body), tries=self._tries())
            name, turn = request.place()
            asked.append((name, turn))
            told.append(json.dumps(request.body))
            script = scripts.get(name, ())
            fault = script[turn].fault if turn < len(script) else None
            if fault and request.tries < fault.times:
                return self._say(fault.status, json.dumps(request.error(fault)).encode(), fault.headers)
            if turn < len(script) and script[turn].hangs:
                done.wait(120)
            parts = speak(request, script)
            cut = request.streamed and turn < len(script) and script[turn].cut
            return self._stream(parts[: len(parts) // 2] if cut else parts, streamed=request.streamed)

        def _tries(self) -> int:
            """How often this very request was tried before: both vendors' libraries say so."""
            return int(self.headers.get("x-stainless-retry-count") or 0)

        def _say(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"content-type": "application/json", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _stream(self, parts: Sequence[bytes], *, streamed: bool) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream" if streamed else "application/json")
            self.send_header("connection", "close")
            self.end_headers()
            self.close_connection = True
            try:
                for part in parts:
                    self.wfile.write(part)
            except OSError:
                pass  # it was killed meanwhile, as some tests want it

    return Handler


__all__ = ["Fault", "Script", "ScriptedModel", "Turn"]
