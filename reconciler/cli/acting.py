"""What a click or a key does: the command of the same name runs as a child, as a person would type it."""

from __future__ import annotations

import sys

from msgspec import Struct, json

from reconciler.cli import EXIT_NEEDS_PERSON
from reconciler.render import safe
from reconciler.render.acts import Click
from reconciler.system import shell
from reconciler.wiring import Site

ACT_S = 120.0


class Acted(Struct, frozen=True, kw_only=True):
    """How it went: what the command reports, or why not, in one line."""

    done: bool
    words: str


def acted(site: Site, ask: Click, message: str = "") -> Acted:
    """Do it, and wait for its end. The command itself refuses who may not. Raises ReconcileError."""
    name, *rest = ask.argv(message)
    argv = [sys.executable, "-m", "reconciler", name, "-o", "json", *rest]
    finished = shell.run(argv, env=site.environ, cwd=site.repository.main, timeout_s=ACT_S, grace_s=5.0)
    return Acted(done=finished.code in (0, EXIT_NEEDS_PERSON), words=safe.line("; ".join(_words(finished))))


def _words(finished: shell.Finished) -> list[str]:
    try:
        answer = json.decode(finished.out)
        found = [each["message"] for name in ("actions", "waiting") for each in answer[name]]
    except (ValueError, KeyError, TypeError):
        found = []
    printed = [] if found and not finished.code else finished.err.decode("utf-8", "replace").splitlines()
    return [*found, *printed] or ["done"]
