"""Sends one message through apprise, to the service that a URL names. A program of its own: it takes long to load.

What is sent comes on standard input as {url, subject, message}: the URL may hold secrets, and arguments can be seen by all.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import IO

from reconciler.system.late import late

MISSING = "apprise is not installed: 'pip install reconcile[notify]' where reconcile is, or write run: [program, ...]"


def main(given: IO[str]) -> str | None:
    """Send it; why that failed."""
    letter = json.load(given)
    try:
        apprise = late("apprise")
    except ImportError:
        return MISSING
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.WARNING)
    service = apprise.Apprise()
    if not service.add(letter["url"]):
        return "apprise knows no service by this url"
    taken = service.notify(title=letter["subject"], body=letter["message"], body_format=apprise.NotifyFormat.TEXT)
    return None if taken else "the service did not take it"


if __name__ == "__main__":
    sys.exit(main(sys.stdin))
