"""Sends one message and records that it did. A program of its own: a service that hangs holds up nobody but this.

Started as `python -P -m reconciler.system.messenger <job> <lock>`: descriptors of a file with what is to be sent, and of the
recipient's lock, held for as long as this lives. The environment is that of the watch: only here secrets are put in.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from msgspec import Struct

from reconciler.model.errors import PermanentError, ReconcileError
from reconciler.system import shell
from reconciler.system.notified import Notified

LIMIT_S = 60.0
GRACE_S = 2.0
_PLACES = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\{(message|subject)\}")


class Message(Struct, frozen=True, kw_only=True):
    """What is sent. `run` is a command, `url` a service; `keys` what is known by it."""

    to: str
    keys: list[str]
    subject: str
    message: str
    run: list[str]
    url: str | None
    tries: int = 0


class UnsetError(PermanentError):
    """A variable that the manifest asks for is not set."""


def deliver(message: Message, environ: Mapping[str, str]) -> str | None:
    """Send it; why it could not be, in words without secrets. Takes a minute at most."""
    try:
        if message.run:
            argv = [filled(word, message, environ) for word in message.run]
            text = f"{message.message}\n"
        else:
            argv = [sys.executable, "-P", "-m", "reconciler.system.by_apprise"]
            url = filled(message.url or "", message, environ)
            text = json.dumps({"url": url, "subject": message.subject, "message": message.message})
        done = shell.run(argv, env=environ, cwd="/", stdin=text.encode(), timeout_s=LIMIT_S, grace_s=GRACE_S)
    except (ReconcileError, OSError) as error:
        return _without_secrets(str(error), message, environ)
    return _without_secrets(done.complaint, message, environ) if done.code else None


def hindrance(message: Message, environ: Mapping[str, str]) -> str | None:
    """What keeps a message from being sent, as far as that can be seen here without sending it."""
    try:
        words = [filled(word, message, environ) for word in (*message.run, message.url or "")]
    except UnsetError as error:
        return str(error)
    if message.run:
        return None if shutil.which(words[0], path=environ.get("PATH")) else f"{message.run[0]} is not on the PATH"
    return None if find_spec("apprise") else "a url needs apprise: pip install 'reconcile[notify]'"


def filled(word: str, message: Message, environ: Mapping[str, str]) -> str:
    """A word with its places filled, all at once: what is put in is never looked at again. Raises UnsetError.

    >>> letter = Message(to="", keys=[], subject="s", message="pay ${B} {subject}", run=[], url=None)
    >>> filled("--text={message} ${A}", letter, {"A": "1", "B": "2"})
    '--text=pay ${B} {subject} 1'
    """

    def value(found: re.Match[str]) -> str:
        if (name := found[1]) is None:
            return message.message if found[2] == "message" else message.subject
        if name not in environ:
            raise UnsetError(f"{name} is not set where the watch runs")
        return environ[name]

    return _PLACES.sub(value, word)


def _without_secrets(text: str, message: Message, environ: Mapping[str, str]) -> str:
    words: Sequence[str] = (*message.run, message.url or "")
    for name in {found[1] for word in words for found in _PLACES.finditer(word) if found[1]}:
        if secret := environ.get(name):
            text = text.replace(secret, f"${{{name}}}")
    return text


def send(message: Message, record: Notified, environ: Mapping[str, str]) -> None:
    """Send it, and write into the record how that went."""
    why = deliver(message, environ)
    if why is None:
        record.sent(message.to, message.keys)
    else:
        record.missed(message.to, message.keys, why, message.tries + 1)


def main(argv: Sequence[str], environ: Mapping[str, str]) -> None:
    """Send what stands in the file."""
    with open(int(argv[1]), "rb") as file:
        job = json.load(file)
    send(Message(**job["message"]), Notified(Path(job["state"])), environ)


if __name__ == "__main__":
    main(sys.argv, dict(os.environ))
