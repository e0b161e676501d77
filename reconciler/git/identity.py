"""Who commits: whom git knows, else ourselves."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.git import fingerprints
from reconciler.git.commands import Git

OURS = ("reconcile", "reconcile@localhost")


def _variables(name: str, email: str) -> Mapping[str, str]:
    return {
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", name), ("EMAIL", email))
    }


OUR_VARIABLES = _variables(*OURS)


def identity(git: Git) -> tuple[str, str]:
    """Name and address of the repository's or the global config; ours where they are not set."""
    found = git.remembered("identity", fingerprints.of_files(*git.said_who), lambda: _configured(git))
    fields = {key: value.strip() for key, _, value in (entry.partition("\n") for entry in found.split("\0"))}
    name, email = fields.get("user.name"), fields.get("user.email")
    return (name, email) if name and email else OURS


def lent(git: Git) -> Mapping[str, str]:
    """The variables that git needs to commit, where nobody has set who they are."""
    return OUR_VARIABLES if identity(git) == OURS else {}


def variables(git: Git) -> Mapping[str, str]:
    """The variables that give commits made elsewhere the author of those made here."""
    return _variables(*identity(git))


def _configured(git: Git) -> str:
    return git.objects("config", "--null", "--get-regexp", r"^user\.(name|email)$", ok=(0, 1)).text
