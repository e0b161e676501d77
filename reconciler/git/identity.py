"""Who commits: whom git knows, else ourselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from reconciler.git import fingerprints
from reconciler.git.commands import Git

OURS = ("reconcile", "reconcile@localhost")
OUR_VARIABLES = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", OURS[0]), ("EMAIL", OURS[1]))
}


def identity(git: Git) -> tuple[str, str]:
    """Name and address of the repository's or the global config; ours where they are not set."""
    found = git.remembered("identity", fingerprints.of_files(*git.said_who), lambda: _said(git))
    fields = {key: value.strip() for key, _, value in (entry.partition("\n") for entry in found.split("\0"))}
    name, email = fields.get("user.name"), fields.get("user.email")
    return (name, email) if name and email else OURS


class Lent(Mapping[str, str]):
    """The variables that git needs to commit, where nobody has set who they are. Git is asked when somebody wants to know."""

    def __init__(self, git: Git) -> None:
        self._git = git

    def __getitem__(self, name: str) -> str:
        return self._needed[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._needed)

    def __len__(self) -> int:
        return len(self._needed)

    @cached_property
    def _needed(self) -> Mapping[str, str]:
        return OUR_VARIABLES if identity(self._git) == OURS else {}


def _said(git: Git) -> str:
    return git.objects("config", "--null", "--get-regexp", r"^user\.(name|email)$", ok=(0, 1)).text
