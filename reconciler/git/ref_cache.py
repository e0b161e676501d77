"""What was made of the objects that refs name: made once of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, TypeVar

from reconciler.git.commands import Git
from reconciler.git.objects import GitObject, read, restored
from reconciler.model.errors import PermanentError
from reconciler.model.names import Sha

T = TypeVar("T")

_REMEMBERED = 16_384


class RefCache(Generic[T]):
    """What `make` makes of the objects that some refs name: made once of each. Safe to share between threads.

    `kept`: a folder with copies of such objects, for those that a `git gc --prune=now` took before a ref named them.
    """

    def __init__(self, git: Git, make: Callable[[str, Sha, GitObject], T], kept: Path | None = None) -> None:
        self._git = git
        self._make = make
        self._copies = kept
        self._made: dict[tuple[str, Sha], T] = {}

    def by(self, refs: Iterable[tuple[str, Sha]]) -> tuple[dict[str, T], dict[str, PermanentError]]:
        """What was made for each of these refs, in this order; and for those of which nothing can be made, why."""
        wanted, made = list(refs), self._made
        unread = [one for one in wanted if one not in made]
        damaged: dict[str, PermanentError] = {}
        if unread:
            new: dict[tuple[str, Sha], T] = {}
            for (ref, name), stored in zip(unread, read(self._git, *(name for _, name in unread)), strict=True):
                try:
                    new[ref, name] = self._make(ref, name, self._there(ref, name, stored))
                except PermanentError as error:
                    damaged[ref] = error
            made = {**made, **new}
            self._made = made if len(made) < _REMEMBERED else {one: made[one] for one in wanted if one in made}
        return {one[0]: made[one] for one in wanted if one in made}, damaged

    def forget(self, refs: Iterable[tuple[str, Sha]]) -> None:
        """These will not be asked for soon."""
        made = dict(self._made)
        for one in refs:
            made.pop(one, None)
        self._made = made

    def _there(self, ref: str, name: Sha, stored: GitObject) -> GitObject:
        if stored.kind != "missing":
            return stored
        if self._copies and (found := restored(self._git, name, self._copies)):
            return found
        raise PermanentError(
            f"cannot read {ref}: there is no object {name}",
            hint=f"'git update-ref -d {ref}' removes what is left of it",
        )
