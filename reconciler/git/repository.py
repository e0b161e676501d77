"""Where a repository stands: found from any folder in it, without believing what an agent may have written there."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from reconciler.git.links import behind, gitfile, same_folder
from reconciler.model.errors import PermanentError
from reconciler.model.values import replace
from reconciler.system import shell

MINIMUM = (2, 38)
INERT = (
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "gc.auto=0"),
    *("-c", "maintenance.auto=false"),
    *("-c", "advice.detachedHead=false"),
)
_ITS_VERSION = re.compile(rb'^{"event":"version",.*"exe":"([^"]*)"', re.MULTILINE)
_CHECKOUT = "checkout"


class Repository(Struct, frozen=True):
    """Where a repository stands. `main` is its main checkout (the git dir itself when it is bare)."""

    main: Path
    common: Path

    @property
    def state(self) -> Path:
        """Our own folder: survives `git clean` and a new `.beads`."""
        return self.common / "reconcile"

    @property
    def bare(self) -> bool:
        return self.main == self.common

    def files_of(self, ref: str) -> tuple[Path, ...]:
        """Where it stands whether there is a ref, and what it names."""
        return tuple(self.common / name for name in (ref, "packed-refs", "reftable/tables.list"))


def find(path: Path, environ: Mapping[str, str]) -> Repository:
    """The repository that contains `path`. Raises PermanentError when there is none, or git is too old."""
    env = environment(environ)
    within, _, places = _located(path, env, "--is-inside-work-tree", "--git-dir", "--git-common-dir").partition(b"\n")
    # The main checkout is where both are the same folder: no list of worktrees is needed to find it.
    one = places[: len(places) // 2]
    if within == b"true" and one * 2 == places:
        common = Path(os.fsdecode(one.removesuffix(b"\n")))
        if one.endswith(b"/.git\n"):
            return Repository(common.parent, common)
        # A submodule's, or one whose git dir was put elsewhere: git itself lists that as the main checkout.
        top = Path(os.fsdecode(_located(path, env, "--show-toplevel").removesuffix(b"\n")))
        if _leads_to(top, common):
            return Repository(top, common)
    common = behind(Path(os.fsdecode(_located(path, env, "--git-common-dir").removesuffix(b"\n"))))
    repository = Repository(_apart(common, env) or _main_of(common, env), common)
    _refuse_a_checkout_called_bare(repository)
    return repository


def _refuse_a_checkout_called_bare(repository: Repository) -> None:
    """Raise PermanentError where the shared config, which every agent can write, denies the checkout that there is.

    Believed, it would have us keep tasks and records of another repository, inside the git dir. A bare one has no index.
    """
    common = repository.common
    if repository.bare and common.name == ".git" and os.path.lexists(common / "index"):
        checkout = shlex.quote(str(common.parent))
        raise PermanentError(
            f"core.bare is true in {common}, but that is the git dir of the checkout {common.parent}: somebody has set it",
            hint=f"git -C {checkout} config core.bare false (or, of a repository that is to be bare: rm {common}/index)",
        )


def version(environ: Mapping[str, str]) -> tuple[int, ...]:
    """Git's version. Raises PermanentError when git is missing or older than `MINIMUM`."""
    return _new_enough(shell.run(("git", "version"), env=environment(environ)).text)


def _located(path: Path, env: Mapping[str, str], *what: str) -> bytes:
    """What `git rev-parse` says at `path`. Raises PermanentError outside of repositories, and for a git too old."""
    argv = ("git", *INERT, "-C", str(path), "rev-parse", "--path-format=absolute", *what)
    # Trace2 gives the version of git as well; asking for that alone would cost every command one more process.
    found = shell.run(argv, env={**env, "GIT_TRACE2_EVENT": "2"})
    finished = _ITS_VERSION.search(found.err)
    _new_enough(f"git version {os.fsdecode(finished[1])}" if finished else shell.run(("git", "version"), env=env).text)
    if found.code:
        plain = b"\n".join(line for line in found.err.splitlines() if not line.startswith(b'{"event":'))
        complaint = replace(found, err=plain).complaint
        raise _not_found(path, plain, complaint)
    return found.out


def _not_found(path: Path, text: bytes, complaint: str) -> PermanentError:
    """Why git works in no repository at `path`; only where there is none is one to be made."""
    if b"dubious ownership" in text:
        fix = f"chown it, or: git config --global --add safe.directory {shlex.quote(str(path))}"
        return PermanentError(f"{path} belongs to another user, and git does not work there", hint=fix)
    if b"not a git repository" in text:
        return PermanentError(f"{path} is not in a git repository: {complaint}", hint="run 'git init' there first")
    if b"cannot change to" in text and b"No such file or directory" in text:
        return PermanentError(f"there is no folder {path}", hint="correct the path, or clone the repository there")
    return PermanentError(
        f"git does not work in {path}: {complaint}", hint=f"see: git -C {shlex.quote(str(path))} status"
    )


def _new_enough(text: str) -> tuple[int, ...]:
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    if not found or (numbers := tuple(int(n) for n in found.groups(default="0"))) < MINIMUM:
        wanted = ".".join(map(str, MINIMUM))
        raise PermanentError(f"git {wanted} or newer is needed, here is {text.strip()!r}", hint="update git")
    return numbers


def remember(repository: Repository) -> None:
    """Note where the checkout of a git dir is that stands elsewhere: from a worktree of it nothing else tells."""
    note = repository.state / _CHECKOUT
    if repository.bare or repository.common.parent == repository.main or not repository.state.is_dir():
        return
    value = os.fsencode(f"{repository.main}\n")
    with suppress(OSError):
        if not note.is_file() or note.read_bytes() != value:
            note.write_bytes(value)


def _apart(common: Path, env: Mapping[str, str]) -> Path | None:
    """The checkout of a git dir that stands elsewhere; None where none is known that leads back to it."""
    if common.name == ".git" and _leads_to(common.parent, common):
        return None
    finished = shell.run(("git", *INERT, "config", f"--file={common}/config", "--get", "core.worktree"), env=env)
    named = [os.fsdecode(finished.out.removesuffix(b"\n"))] if finished.code == 0 else []
    with suppress(OSError):
        named.append(os.fsdecode((common / "reconcile" / _CHECKOUT).read_bytes().removesuffix(b"\n")))
    found = (Path(os.path.normpath(common / each)) for each in named)
    # Both can be written by an agent: what counts is that the place itself says so.
    return next((place for place in found if _leads_to(place, common)), None)


def _leads_to(checkout: Path, common: Path) -> bool:
    """True where a folder's own `.git` is, or names, this git dir."""
    try:
        return same_folder(gitfile(checkout) or checkout / ".git", common)
    except (OSError, ValueError):
        return False


def _main_of(common: Path, env: Mapping[str, str]) -> Path:
    """The main checkout of a repository, as git lists it first; the git dir itself when it is bare."""
    listed = shell.run(("git", *INERT, f"--git-dir={common}", "worktree", "list", "--porcelain", "-z"), env=env)
    if listed.code:
        raise PermanentError(f"cannot list the worktrees of {common}: {listed.complaint}")
    first = listed.out.split(b"\0")
    bare = b"bare" in first[: first.index(b"")] if b"" in first else False
    return common if bare else Path(os.fsdecode(first[0].removeprefix(b"worktree ")))


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    # Hooks export GIT_DIR and GIT_INDEX_FILE; git would then act on the wrong worktree.
    kept = {name: value for name, value in environ.items() if not name.startswith("GIT_")}
    return {**kept, "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_REPLACE_OBJECTS": "1", "LC_ALL": "C"}
