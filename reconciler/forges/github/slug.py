"""Which repository on which GitHub a remote's URL names. Pure."""

from __future__ import annotations

import re

from msgspec import Struct

_SCP = r"(?:[^/@:]+@)?(?P<host>[A-Za-z0-9.-]+):(?!//)(?P<path>.+)"
_URL = r"(?:https?|ssh|git)://(?:[^/@]+@)?(?P<host>[A-Za-z0-9.-]+)(?::\d+)?/(?P<path>.+)"
_PATH = r"/?(?P<owner>[A-Za-z0-9][A-Za-z0-9-]*(?:_[A-Za-z0-9]+)?)/(?P<name>[A-Za-z0-9._-]+?)(?:\.git)?/*"
_OTHER_NAMES = {"ssh.github.com": "github.com", "www.github.com": "github.com"}


class Slug(Struct, frozen=True):
    """A repository on a GitHub."""

    host: str
    owner: str
    name: str

    def __str__(self) -> str:
        return f"{self.owner}/{self.name}"

    def called(self, name: str) -> Slug:
        """The same repository under the name, `owner/name`, that GitHub answers with. Raises ValueError."""
        owner, name = name.split("/")
        return self if (owner, name) == (self.owner, self.name) else Slug(self.host, owner, name)

    def same(self, other: Slug) -> bool:
        """True for two names of one repository that differ in nothing or in case."""
        return (self.host, str(self).lower()) == (other.host, str(other).lower())

    @property
    def path(self) -> str:
        """Where it stands in the REST API."""
        return f"repos/{self.owner}/{self.name}"


def host_of(url: str) -> str | None:
    """The host in a remote's URL; None where it is a path.

    >>> host_of("git@git.acme.org:a/b"), host_of("https://x:secret@git.acme.org:8443/a"), host_of("../a")
    ('git.acme.org', 'git.acme.org', None)
    """
    found = re.fullmatch(_URL, url) or re.fullmatch(_SCP, url)
    return found["host"].lower() if found else None


def parse(url: str, *, also: str = "") -> Slug | None:
    """The repository that a remote's URL names; None where it names none on a GitHub.

    `also`: a host that is one although its name does not say so, as the user's GH_HOST has it.

    >>> parse("git@github.com:acme/app.git"), parse("https://x:secret@github.com/acme/app")
    (Slug(host='github.com', owner='acme', name='app'), Slug(host='github.com', owner='acme', name='app'))
    >>> parse("https://gitlab.com/acme/app"), parse("../app")
    (None, None)
    """
    found = re.fullmatch(_URL, url) or re.fullmatch(_SCP, url)
    if not found:
        return None
    host = _OTHER_NAMES.get(found["host"].lower(), found["host"].lower())
    path = re.fullmatch(_PATH, found["path"])
    if (
        not path
        or path["name"] in (".", "..")
        or not (host in ("github.com", also.lower()) or host.endswith(".ghe.com"))
    ):
        return None
    return Slug(host, path["owner"], path["name"])
