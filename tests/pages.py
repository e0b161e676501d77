"""The page as a browser and as an attacker meets it: the real program, and requests made by hand."""

from __future__ import annotations

import http.client
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from strangers import Place
from waiting import until

HIDDEN = re.compile(r'name="csrf" value="([0-9a-f]+)"')


class OnASocket(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


@dataclass
class Answer:
    code: int
    headers: dict[str, str]
    text: str


@dataclass
class Ui:
    """`reconcile ui` in a repository, with one session of it."""

    place: Place
    args: tuple[str, ...] = ()
    process: subprocess.Popen[str] | None = None
    printed: list[str] = field(default_factory=list)
    cookie: str = ""
    csrf: str = ""

    def __enter__(self) -> Ui:
        env = {**self.place.env, "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            (sys.executable, "-m", "reconciler", "ui", *self.args),
            cwd=self.place.root,
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        assert self.process.stdout
        self.printed.append(self.process.stdout.readline())
        assert "/enter?token=" in self.printed[0], self.printed[0] + self.process.stdout.read()
        return self

    def __exit__(self, *error: object) -> None:
        assert self.process
        self.process.terminate()
        self.process.communicate()

    @property
    def url(self) -> str:
        found = re.search(r"https?://[^ '\n]+", self.printed[-1])
        assert found
        return found[0]

    @property
    def origin(self) -> str:
        return self.url.partition("/enter")[0]

    @property
    def host(self) -> str:
        return self.origin.partition("://")[2]

    def connection(self) -> http.client.HTTPConnection:
        if "--socket" in self.args:
            return OnASocket(Path(self.args[self.args.index("--socket") + 1]))
        name, _, port = self.host.rpartition(":")
        return http.client.HTTPConnection(name, int(port))

    def ask(self, method: str, path: str, body: str = "", **headers: str) -> Answer:
        """One request. A header of None is left out; the session is sent along where there is one."""
        sent = {"Host": self.host, **({"Cookie": self.cookie} if self.cookie else {}), **_named(headers)}
        connection = self.connection()
        try:
            connection.putrequest(method, path, skip_host=True)
            for name, value in sent.items():
                if value is not None:
                    connection.putheader(name, value)
            if body:
                connection.putheader("Content-Type", "application/x-www-form-urlencoded")
                connection.putheader("Content-Length", str(len(body.encode())))
            connection.endheaders(body.encode() or None)
            answer = connection.getresponse()
            headers_ = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, headers_, answer.read().decode())
        finally:
            connection.close()

    def enter(self) -> Answer:
        """Open the address that was printed."""
        answer = self.ask("GET", self.url.partition(self.origin)[2])
        assert self.process and self.process.stdout
        if "set-cookie" in answer.headers:
            self.cookie = answer.headers["set-cookie"].partition(";")[0]
            self.printed.append(self.process.stdout.readline())
            found = HIDDEN.search(self.page())
            assert found
            self.csrf = found[1]
        return answer

    def page(self, path: str = "/") -> str:
        answer = self.ask("GET", path)
        assert answer.code == 200, (answer.code, answer.text)
        return answer.text

    def act(
        self, do: str, /, *, csrf: str | None = None, origin: str | None = "", words: str = "", **headers: str
    ) -> Answer:
        """Press a button, as the page does."""
        subject = do.split(" ")[1] if " " in do else ""
        body = urlencode({"csrf": self.csrf if csrf is None else csrf, "do": do, f"message-{subject}": words})
        return self.ask("POST", "/act", body, origin=self.origin if origin == "" else origin, **headers)

    def until_on_page(self, text: str, path: str = "/") -> None:
        until(lambda: text in self.page(path), f"{text!r} on {path}", by=self.process)


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@contextmanager
def live(ui: Ui, path: str) -> Iterator[http.client.HTTPResponse]:
    """The stream of changes of a page."""
    connection = ui.connection()
    try:
        connection.request("GET", f"/live{path}", headers={"Host": ui.host, "Cookie": ui.cookie})
        with connection.getresponse() as answer:
            yield answer
    finally:
        connection.close()


def first_data(answer: http.client.HTTPResponse, what: str) -> tuple[str, float]:
    """The next message that holds this, and when it came."""
    while line := answer.readline().decode():
        if line.startswith("data: ") and what in line:
            return line, time.monotonic()
    raise AssertionError(f"the stream ended without {what}")
