"""The last message of a watch to somebody to whom an earlier one is still on its way: it is sent once that is over.

A program of its own, so that a service that hangs does not keep the watch from ending. Started as
`python -P -m reconciler.loop.last_word <job> <lock>`: descriptors of a file with the letter, and of the recipient's lock, which
its sender holds. The environment is that of the watch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from msgspec import Struct, json

from reconciler.loop.teller import message_of
from reconciler.planning.notices import Letter, left, told_of
from reconciler.system import file_lock, messenger
from reconciler.system.notified import Notified

PATIENCE_S = messenger.LIMIT_S + 10 * messenger.GRACE_S  # longer than any sender takes


class _Job(Struct, frozen=True, kw_only=True):
    """`state`: the folder of what is recorded; `message`: all that was due when the watch ended."""

    state: str
    message: Letter


def main(argv: Sequence[str], environ: Mapping[str, str]) -> None:
    """Wait for the sender of this moment, and send what its recipient does not know then."""
    with open(int(argv[1]), "rb") as file:
        job = json.decode(file.read(), type=_Job)
    try:
        file_lock.take(int(argv[2]), PATIENCE_S)
    except BlockingIOError:
        return  # others send there; the next watch says what is left
    record = Notified(Path(job.state))
    if letter := left(job.message, told_of(record.lines()), datetime.now().astimezone()):
        messenger.send(message_of(letter), record, environ)


if __name__ == "__main__":
    main(sys.argv, dict(os.environ))
