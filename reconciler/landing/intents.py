"""What a landing is about to do, written down before the base moves, so that a killed one is finished and not guessed at."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from msgspec import Struct, to_builtins

from reconciler.model.errors import PermanentError
from reconciler.model.names import LANDING_REFS, PrNumber, Sha, is_sha
from reconciler.system import files

VERSION = 3
READ = (1, 2, 3)  # a landing that an older program began is finished too


class Carried(Struct, frozen=True, kw_only=True):
    """A pull request that lands: the commit that carries its head to the base, and how."""

    number: PrNumber
    head: Sha
    commit: Sha
    method: str


class Intent(Struct, frozen=True, kw_only=True):
    """A base on its way from `old` to `new`, and the checkouts that follow it."""

    base: str
    old: Sha
    new: Sha
    checkouts: tuple[str, ...] = ()
    number: PrNumber | None = None  # the pull request that lands
    head: Sha | None = None  # its head
    method: str = ""
    push: bool = False  # the remote moves first
    beneath: tuple[Carried, ...] = ()  # what lands below it in the same move, the lowest first
    nonce: str = ""  # what our locks of the checkouts' indexes say; empty: written by a program that locked none

    @property
    def ref(self) -> str:
        """What names `new` until the base does: git clears away what nothing names, also while something is amid its landing."""
        return LANDING_REFS + hashlib.sha256(self.base.encode()).hexdigest()[:16]


class Intents:
    """At most one intent per base, in a folder of ours."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, base: str) -> Intent | None:
        """The landing of this base that was begun and not finished."""
        path = self._path(base)
        try:
            kept = files.versioned(path, READ)
            beneath = tuple(Carried(**each) for each in kept.get("beneath", ()))
            intent = Intent(**{**kept, "checkouts": tuple(kept["checkouts"]), "beneath": beneath})
            named = (intent.old, intent.new, *(sha for each in beneath for sha in (each.head, each.commit)))
            if not all(map(is_sha, named)):
                raise ValueError("it names no commits")
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PermanentError(
                f"{path} is damaged ({error}): whether a checkout of {base} was left behind is not known",
                hint=f"see that 'git status' in every checkout of {base} shows your own changes only, then remove the file",
            ).due_to(path) from error
        return intent

    def write(self, intent: Intent) -> None:
        """Keep an intent: on the disk, not only on its way there, before this returns."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # One who writes holds the writer's lock.
        files.replace(self._path(intent.base), json.dumps({"version": VERSION, **to_builtins(intent)}))

    def drop(self, base: str) -> None:
        """Forget the intent of this base."""
        self._path(base).unlink(missing_ok=True)

    def _path(self, base: str) -> Path:
        return self._folder / f"{hashlib.sha256(base.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}.json"
