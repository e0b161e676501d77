"""Messages by real processes: killed anywhere, with recipients that hang, fail, or are web services."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import worlds
from waiting import until
from worlds import a_run, a_task, an_epic, seen, wanted

from reconciler.loop.teller import Teller
from reconciler.model.notify import Notify, Telling
from reconciler.model.observed import Observed
from reconciler.model.values import replace
from reconciler.planning.planner import plan
from reconciler.system import messenger, shell
from reconciler.system.notified import Notified

EVERYTHING = tuple(Telling)
HANDED = seen(a_task(status="blocked", labels=("needs-human",)), runs={"x-1": (a_run(),)})
BOTH = seen(
    *(a_task(id, status="blocked", labels=("needs-human",)) for id in ("x-1", "x-2")),
    runs={id: (a_run(id),) for id in ("x-1", "x-2")},
)


class Somebody:
    """A repository's state folder, and a recipient that writes down what it gets."""

    def __init__(self, folder: Path) -> None:
        self.state, self.inbox = folder / "reconcile", folder / "inbox"
        self.state.mkdir()
        self.inbox.touch()
        self.rule = Notify(on=EVERYTHING, run=("sh", "-c", 'echo "$1" >> "$INBOX"', "sh", "{message}"), every_s=0)
        self.environ = {**os.environ, "INBOX": str(self.inbox)}

    def teller(self) -> Teller:
        """As after a restart: nothing is remembered."""
        return Teller(state=self.state, environ=self.environ, record=Notified(self.state))

    def tell(
        self,
        teller: Teller | None = None,
        at: datetime = worlds.NOW,
        *,
        closing: bool = False,
        observed: Observed = HANDED,
    ) -> Teller:
        teller = teller or self.teller()
        decided = plan(wanted(replace(an_epic(), notify=(self.rule,))), observed)
        teller.tell(decided, {}, at, closing=closing)
        return teller

    def got(self) -> list[str]:
        return self.inbox.read_text().splitlines()

    def lines(self) -> list[dict[str, Any]]:
        return list(map(dict, Notified(self.state).lines()))

    def settled(self) -> None:
        """Wait until no sender is at work."""
        until(lambda: (shell.reap(), not shell._DETACHED)[1])


@pytest.fixture
def somebody(tmp_path: Path) -> Somebody:
    return Somebody(tmp_path)


def test_one_message_comes_however_often_it_is_looked_and_restarted(somebody: Somebody) -> None:
    teller = somebody.tell()
    for _ in range(5):
        somebody.tell(teller)
        somebody.tell()
    somebody.settled()
    somebody.tell(teller)
    somebody.tell()
    somebody.settled()

    assert len(somebody.got()) == 1 and "all: x-1:" in somebody.got()[0]
    assert [line["keys"] for line in somebody.lines()] == [["all/NeedsHuman/x-1/NoChanges/1.0"]]


def test_a_sender_that_is_killed_before_it_sent_is_followed_by_one_that_sends(somebody: Somebody) -> None:
    slow = replace(somebody.rule, run=("sh", "-c", 'sleep 600; echo "$1" >> "$INBOX"', "sh", "{message}"))
    quick, somebody.rule = somebody.rule, slow
    somebody.tell()
    until(lambda: _senders(somebody), "a sender")
    for pid in _senders(somebody):
        os.kill(pid, signal.SIGKILL)
    somebody.settled()
    _end_sleepers(somebody)

    somebody.rule = quick  # another target would be another recipient: the lock is what matters here
    somebody.tell()
    somebody.settled()

    assert len(somebody.got()) == 1


def test_a_sender_that_is_killed_after_it_sent_costs_one_message_more_and_no_third(
    somebody: Somebody, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(Exception):
        pass

    def die(*_args: object) -> None:
        raise KilledError

    job = somebody.state / "job"
    decided = plan(wanted(replace(an_epic(), notify=(somebody.rule,))), HANDED)
    monkeypatch.setattr(Teller, "_start", lambda self, _program, message, _lock: job.write_text(_job(self, message)))
    somebody.teller().tell(decided, {}, worlds.NOW)
    with monkeypatch.context() as patched, pytest.raises(KilledError):
        patched.setattr(Notified, "sent", die)
        messenger.main(["", str(os.open(job, os.O_RDONLY)), "0"], somebody.environ)
    monkeypatch.undo()

    for _ in range(3):
        somebody.tell()
        somebody.settled()

    assert len(somebody.got()) == 2


def test_a_recipient_that_hangs_delays_nothing_and_is_asked_by_one_sender(somebody: Somebody) -> None:
    somebody.rule = replace(somebody.rule, run=("sleep", "600"))
    begun = time.monotonic()
    for _ in range(5):
        somebody.tell()
    took = time.monotonic() - begun
    until(lambda: _senders(somebody))

    assert took < 3 and len(_senders(somebody)) == 1
    for pid in _senders(somebody):
        os.kill(pid, signal.SIGKILL)
    _end_sleepers(somebody)


def test_a_recipient_that_hangs_keeps_no_watch_from_ending_and_hears_the_rest_afterwards(somebody: Somebody) -> None:
    held = somebody.state / "held"
    held.touch()
    waits = 'echo "$1" >> "$INBOX"; while [ -e "$HELD" ]; do sleep 0.05; done'
    somebody.environ["HELD"] = str(held)
    somebody.rule = replace(somebody.rule, run=("sh", "-c", waits, "sh", "{message}"))
    teller = somebody.tell()
    until(somebody.got)

    begun = time.monotonic()
    somebody.tell(teller, closing=True)
    somebody.tell(teller, closing=True, observed=BOTH)
    took = time.monotonic() - begun
    held.unlink()
    somebody.settled()

    assert took < 3
    assert ["x-1" in line for line in somebody.got()] == [True, False] and "x-2" in somebody.got()[1]
    somebody.tell(closing=True, observed=BOTH)
    somebody.settled()
    assert len(somebody.got()) == 2


def test_a_recipient_that_fails_is_recorded_with_why_and_tried_again_later(somebody: Somebody) -> None:
    somebody.environ["SECRET"] = "geheim"
    somebody.rule = replace(somebody.rule, run=("sh", "-c", 'echo "no room for $1" >&2; exit 3', "sh", "${SECRET}"))
    now = datetime.now().astimezone()
    somebody.tell(at=now)
    somebody.settled()
    somebody.tell(at=now + timedelta(seconds=30))
    somebody.settled()
    assert [(line["failed"], line["tries"]) for line in somebody.lines()] == [("no room for ${SECRET}", 1)]

    somebody.tell(at=now + timedelta(seconds=90))
    somebody.settled()
    assert [line["tries"] for line in somebody.lines()] == [1, 2]


def test_a_variable_that_is_not_set_is_named(somebody: Somebody) -> None:
    somebody.rule = replace(somebody.rule, run=("echo", "${NOWHERE_SET}"))
    somebody.tell()
    somebody.settled()

    assert somebody.lines()[0]["failed"] == "NOWHERE_SET is not set where the watch runs"


def test_where_nothing_can_be_recorded_the_same_is_not_sent_at_every_look(somebody: Somebody) -> None:
    (somebody.state / "notified.jsonl").symlink_to("/dev/full")
    teller = somebody.teller()
    for n in range(4):
        decided = plan(wanted(replace(an_epic(), notify=(somebody.rule,))), HANDED)
        teller.record.lines = list  # type: ignore[method-assign]  # it can be read, and stays empty
        teller.tell(decided, {}, worlds.NOW + timedelta(seconds=30 * n))
        somebody.settled()

    assert len(somebody.got()) == 1


def test_a_record_that_was_cut_off_in_a_line_goes_on_in_the_next(somebody: Somebody) -> None:
    record = Notified(somebody.state)
    record.sent("a", ["k"])
    with (somebody.state / "notified.jsonl").open("a") as file:
        file.write('{"at": "2026')
    record.sent("a", ["l"])

    assert [line["keys"] for line in record.lines()] == [["k"], ["l"]]


def test_the_record_stays_short_and_keeps_what_is_still_so(somebody: Somebody) -> None:
    record = Notified(somebody.state)
    line = json.dumps({"at": worlds.NOW.isoformat(), "to": "a", "keys": ["x" * 1000]}) + "\n"
    first = json.dumps({"at": worlds.NOW.isoformat(), "to": "a", "keys": ["keep"]}) + "\n"
    (somebody.state / "notified.jsonl").write_text(first + line * 2000)

    record.shorten(lambda line: "keep" in line["keys"])

    assert len(record.lines()) == 1001 and record.lines()[0]["keys"] == ["keep"]


# --- services, by apprise ------------------------------------------------------------------------------------


class _Service(BaseHTTPRequestHandler):
    taken: list[dict[str, Any]]
    status = 200

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.taken.append({"path": self.path, **body})
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[tuple[int, type[_Service]]]:
    handler = type("Handler", (_Service,), {"taken": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port, handler
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_service_gets_the_message_and_its_secret_is_seen_nowhere_else(
    somebody: Somebody, service: tuple[int, type[_Service]]
) -> None:
    port, handler = service
    somebody.environ["HOOK"] = f"127.0.0.1:{port}/geheim"
    somebody.rule = Notify(on=EVERYTHING, url="json://${HOOK}", every_s=0)
    somebody.tell()
    somebody.settled()

    (got,) = handler.taken
    assert got["path"] == "/geheim" and got["message"].startswith("all: x-1:") and "NeedsHuman" in got["title"]
    written = b"".join(path.read_bytes() for path in somebody.state.rglob("*") if path.is_file())
    assert b"geheim" not in written and somebody.lines()[0]["keys"]


def test_a_service_that_refuses_is_said(somebody: Somebody, service: tuple[int, type[_Service]]) -> None:
    port, handler = service
    handler.status = 403
    somebody.environ["HOOK"] = f"127.0.0.1:{port}/geheim"
    somebody.rule = Notify(on=EVERYTHING, url="json://${HOOK}", every_s=0)
    somebody.tell()
    somebody.settled()

    (line,) = somebody.lines()
    assert "did not take it" in line["failed"] and "geheim" not in line["failed"]


def test_without_apprise_it_is_said_what_to_install(somebody: Somebody, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['apprise'] = None\n")
    environ = {**somebody.environ, "PYTHONPATH": str(tmp_path)}
    message = messenger.Message(to="a", keys=[], subject="s", message="m", run=[], url="json://localhost")

    why = messenger.deliver(message, environ)

    assert why and "pip install reconcile[notify]" in why


def _job(teller: Teller, message: Any) -> str:
    return json.dumps({"state": str(teller.state), "message": message})


def _senders(somebody: Somebody) -> list[int]:
    return [pid for pid in _with_inbox(somebody) if b"reconciler.system.messenger" in _read(f"/proc/{pid}/cmdline")]


def _end_sleepers(somebody: Somebody) -> None:
    for pid in _with_inbox(somebody):
        os.kill(pid, signal.SIGKILL)


def _with_inbox(somebody: Somebody) -> list[int]:
    mine = f"INBOX={somebody.inbox}".encode()
    return [int(p) for p in os.listdir("/proc") if p.isdecimal() and mine in _read(f"/proc/{p}/environ").split(b"\0")]


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""
