"""Who made a commit, and when: read from a raw commit, and given to `git commit-tree`."""

from __future__ import annotations

import re

from msgspec import Struct

from reconciler.git.identity import OURS

_SIGNED = re.compile(r"(?P<name>[^<]*)<(?P<email>[^>]*)> (?P<when>\d{1,11} [+-]\d{4})")
_UNUSABLE = re.compile(r"[<>\x00-\x1f\x7f]")


class Signature(Struct, frozen=True):
    """A name, an address, and a date in git's raw form: `@<seconds> <zone>`."""

    name: str
    email: str
    date: str

    @property
    def line(self) -> str:
        """As it stands in a commit: without what git would leave out."""
        name, email = _usable(self.name, self.email)
        return f"{name} <{email}> {self.date[1:]}"

    @property
    def seconds(self) -> int:
        return int(self.date[1:].split(" ")[0])


def parse(text: str) -> Signature:
    """The signature in an `author` or `committer` line. What git would not take again is replaced."""
    found = _SIGNED.fullmatch(text)
    if not found:
        return Signature(*OURS, "@0 +0000")
    return Signature(*_usable(found["name"], found["email"]), f"@{found['when']}")


def _usable(name: str, email: str) -> tuple[str, str]:
    email = _UNUSABLE.sub("", email).strip()
    return _UNUSABLE.sub("", name).strip(" .,:;\"\\'") or email or OURS[0], email or OURS[1]


def signed(*, author: Signature, committer: Signature) -> dict[str, str]:
    """The environment in which `git commit-tree` signs so, whatever the config says."""
    return {
        "GIT_AUTHOR_NAME": author.name,
        "GIT_AUTHOR_EMAIL": author.email,
        "GIT_AUTHOR_DATE": author.date,
        "GIT_COMMITTER_NAME": committer.name,
        "GIT_COMMITTER_EMAIL": committer.email,
        "GIT_COMMITTER_DATE": committer.date,
    }
