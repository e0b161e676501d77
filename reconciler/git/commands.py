"""How every git command of ours is run: nothing that an agent may have written into the repository runs in us.

Two ways, and no third:

* `refs` names the repository's own git dir: for refs, the list of worktrees, and nothing that reads files or objects
  through configurable programs. Hooks and fsmonitor are off.
* `objects` names a *control* git dir of ours that shares the repository's objects but none of its executable config,
  hooks or attributes: for everything that reads or writes files, diffs, merges, commits and pushes. It knows no refs:
  name commits by their sha. Filters and merge drivers come from global and system config only.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from reconciler.git import fingerprints, large_files, locks
from reconciler.git.fingerprints import Mark
from reconciler.git.links import gitfile, same_folder
from reconciler.model.errors import PermanentError, TemporaryError
from reconciler.model.names import Sha
from reconciler.system import file_lock, shell
from reconciler.system.shell import Finished

T = TypeVar("T")
Config = tuple[tuple[str, str | None], ...]
Loose = dict[str, tuple[tuple[int, int, int, int], Sha]]
"""What files held, by their paths and the marks that they bore then."""
Refs = dict[str, tuple[Sha, bool]]
"""For every ref: the object that it names, and whether it does so by naming another ref."""
MINIMUM = (2, 38)
WRITER_WAIT_S = 60.0
_REMEMBERED_MAX = 8192
_SCRATCH = "scratch"
_SCRATCH_MOST_S = 3600.0
NO_SHA = "0" * 40

# What may be taken over from the repository's own config: none of it names a program.
_HARMLESS = re.compile(
    r"extensions\.(?!refstorage).*"
    r"|core\.(autocrlf|eol|filemode|ignorecase|symlinks|sparsecheckout|sparsecheckoutcone|repositoryformatversion)"
    r"|user\.(name|email)"
    r"|remote\..*\.(lfs(push)?)?url"
    r"|lfs\.(push)?url"
    r"|url\..*\.(push)?insteadof"
)
_ITS_VERSION = re.compile(rb'^{"event":"version",.*"exe":"([^"]*)"', re.MULTILINE)
_INERT = (
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "gc.auto=0"),
    *("-c", "maintenance.auto=false"),
    *("-c", "advice.detachedHead=false"),
)


_CHECKOUT = "checkout"
_NO_PATH = b"error: invalid path '"
_LOCK = re.compile(rb"Unable to create '([^'\n]+\.lock)': File exists")


class GitError(TemporaryError):
    """Git refused. Temporary, because a lock or a half-written ref is the usual cause: it is looked at again."""

    def __init__(self, args: tuple[str, ...], finished: Finished) -> None:
        found = _LOCK.search(finished.err)
        value, hint = (finished.complaint, None) if found is None else _in_the_way(Path(os.fsdecode(found[1])))
        super().__init__(f"git {args[0]} failed: {value}", delay=10.0, hint=hint)
        self.finished = finished


class UnusableTree(PermanentError):
    """A commit holds paths that git writes nowhere, '..' or '.git' among them: it was made by hand."""


@dataclass(frozen=True, slots=True)
class Repository:
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


def find(path: Path, environ: Mapping[str, str]) -> Repository:
    """The repository that contains `path`. Raises PermanentError when there is none, or git is too old."""
    env = _environment(environ)
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
    common = Path(os.fsdecode(_located(path, env, "--git-common-dir").removesuffix(b"\n")))
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
    return _new_enough(shell.run(("git", "version"), env=_environment(environ)).text)


def _located(path: Path, env: Mapping[str, str], *what: str) -> bytes:
    """What `git rev-parse` says at `path`. Raises PermanentError outside of repositories, and for a git too old."""
    argv = ("git", *_INERT, "-C", str(path), "rev-parse", "--path-format=absolute", *what)
    # It is informed to say its version by the way: asked for by itself, that costs every command a process more.
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
    finished = shell.run(("git", *_INERT, "config", f"--file={common}/config", "--get", "core.worktree"), env=env)
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
    listed = shell.run(("git", *_INERT, f"--git-dir={common}", "worktree", "list", "--porcelain", "-z"), env=env)
    if listed.code:
        raise PermanentError(f"cannot list the worktrees of {common}: {listed.complaint}")
    first = listed.out.split(b"\0")
    bare = b"bare" in first[: first.index(b"")] if b"" in first else False
    return common if bare else Path(os.fsdecode(first[0].removeprefix(b"worktree ")))


class Git:
    """The git commands of one repository. Safe to share between threads.

    `control` is where the control git dir stands: in the repository's state folder, unless nothing may be changed there.
    """

    def __init__(self, repository: Repository, environ: Mapping[str, str], control: Path | None = None) -> None:
        self.repository = repository
        self._env = _environment(environ)
        self._control = control or repository.state / "control"
        self._config_seen: tuple[tuple[int, int, int] | None, ...] | None = None
        self._turns: dict[str, threading.Lock] = {}
        self._remembered: dict[Hashable, tuple[Mark, Any]] = {}
        # Of refs, by what was asked for; `refs` keeps them.
        self.loose: dict[str, Loose] = {}
        self.in_one_folder: dict[str, tuple[tuple[int, ...] | None, float, Refs]] = {}
        self.joined: dict[str, tuple[Refs, Refs, Refs]] = {}

    def refs(
        self,
        *args: str,
        ok: tuple[int, ...] = (0,),
        stdin: bytes | None = None,
        timeout_s: float = 60.0,
        lock: int | None = None,
    ) -> Finished:
        """Run git on the repository's own git dir. Raises GitError for an exit status that is not in `ok`."""
        argv = ("git", *_INERT, f"--git-dir={self.repository.common}", *args)
        # An agent can declare a promisor remote and take an object away: reading it would then run its sshCommand.
        env = {**self._env, "GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1"}
        fds = () if lock is None else (lock,)
        # With an explicit git dir, git takes its cwd for the working tree: give it one that holds nothing.
        if lock is not None and args[0] == "update-ref":
            locks.note(lock, args, stdin)
        finished = shell.run(argv, env=env, cwd=self._home(), stdin=stdin, timeout_s=timeout_s, pass_fds=fds)
        if lock is not None and args[0] == "update-ref":
            locks.forget(lock)
        return _expect(args, finished, ok)

    def objects(
        self,
        *args: str,
        ok: tuple[int, ...] = (0,),
        stdin: bytes | None = None,
        work_tree: Path | None = None,
        index: Path | None = None,
        quarantine: Path | None = None,
        config: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
        timeout_s: float = 120.0,
        lock: int | None = None,
    ) -> Finished:
        """Run git on the control git dir. Raises GitError for an exit status that is not in `ok`.

        `index` is the index file to use (default: none that exists). With `quarantine`, new objects are written to that
        folder and the repository stays as it is. `config` holds `key=value` pairs, `env` more variables (identity,
        dates).
        """
        self._refresh_control()
        large_files.share(self._control, self.repository.common)
        objects = self.repository.common / "objects"
        settings = {
            "GIT_DIR": str(self._control),
            "GIT_OBJECT_DIRECTORY": str(quarantine or objects),
            "GIT_INDEX_FILE": str(index or self._control / "no-index"),
            "GIT_WORK_TREE": str(work_tree or self._home()),
        }
        if quarantine:
            settings["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = str(objects)
        if (shallow := self.repository.common / "shallow").exists():
            settings["GIT_SHALLOW_FILE"] = str(shallow)
        argv = ("git", *_INERT, *(part for pair in config for part in ("-c", pair)), *args)
        finished = shell.run(
            argv,
            env={**self._env, **settings, **(env or {})},
            cwd=work_tree or self._home(),
            stdin=stdin,
            timeout_s=timeout_s,
            pass_fds=() if lock is None else (lock,),
        )
        large_files.share(self._control, self.repository.common)  # by now there may be some
        return _expect(args, finished, ok)

    @property
    def said_who(self) -> tuple[Path, ...]:
        """The files in which a person says who they are, of the repository's and their own; there or not."""
        home = Path(self._env.get("HOME") or "/")
        own = Path(self._env.get("XDG_CONFIG_HOME") or home / ".config", "git", "config")
        return self.repository.common / "config", home / ".gitconfig", own

    @property
    def excludes(self) -> tuple[object, ...]:
        """What changes when somebody says again which files are ignored, or what counts as a change of one."""
        own = self.said_who[-1].with_name("ignore")
        return tuple(map(_stamp, (self.repository.common / "info" / "exclude", own, *self.said_who)))

    def prepare(self) -> Path:
        """The control git dir, up to date, for the one who makes a git dir of its own from it."""
        self._refresh_control()
        return self._control

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for as long as it is used. One whose user is killed is taken away by `sweep`."""
        folder = self._control.parent / _SCRATCH
        self._home()
        folder.mkdir(mode=0o700, exist_ok=True)
        with TemporaryDirectory(dir=folder) as made:
            yield Path(made)

    def sweep(self) -> None:
        """Take away what killed programs left: nobody uses such a folder for more than minutes."""
        for left in (self._control.parent / _SCRATCH).glob("*"):
            with suppress(FileNotFoundError):  # another program sweeps as well
                if time.time() - left.lstat().st_mtime > _SCRATCH_MOST_S:
                    shutil.rmtree(left)

    def remembered(
        self, key: Hashable, mark: Mark | None, read: Callable[[], T], keep: Callable[[T], bool] = lambda value: True
    ) -> T:
        """What `read` gave last, where the mark is still the same; else what it gives now. `mark` is from before."""
        before = self._remembered.get(key)
        if before and mark is not None and before[0] == mark:
            value: T = before[1]
            return value
        value = read()
        if mark is not None and keep(value):
            if len(self._remembered) >= _REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[key] = mark, value
        return value

    def forget(self, key: Hashable) -> None:
        """Read again what is remembered under this key."""
        self._remembered.pop(key, None)

    def config(self) -> Config:
        """Every key of the repository's own config, with its value where it has one; nothing that it includes.

        Raises TemporaryError when it can't be read.
        """
        source = self.repository.common / "config"
        return self.remembered("config", fingerprints.of_files(source), lambda: self._listed(source))

    @contextmanager
    def writing(self, what: str = "git-writer") -> Iterator[int]:
        """One writer at a time per repository, across processes. Gives a descriptor to hand to git as `lock`.

        Git inherits it, so a `worktree add` that outlives its killed reconciler is waited for instead of repaired.
        `what` names another lock, for work that only others of its kind must wait for.
        Raises TemporaryError when another writer stays for `WRITER_WAIT_S` seconds.
        """
        self._home()
        path = self.repository.state / "locks" / what
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        busy = TemporaryError("another git writer of ours is still running in this repository")
        # Threads of one process take turns without asking again and again.
        turn = self._turns.setdefault(what, threading.Lock())
        if not turn.acquire(timeout=WRITER_WAIT_S):
            raise busy
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                try:
                    file_lock.take(fd, WRITER_WAIT_S)
                except BlockingIOError as error:
                    raise busy from error
                locks.clear(fd, self.repository.common)
                yield fd
            finally:
                os.close(fd)
        finally:
            turn.release()

    def _home(self) -> Path:
        home = self._control / "empty"
        if not home.is_dir():
            for folder in (self._control.parent, self._control, home):
                folder.mkdir(mode=0o700, exist_ok=True)
        return home

    def _refresh_control(self) -> None:
        source = self.repository.common / "config"
        exclude = self.repository.common / "info" / "exclude"
        seen = (_stamp(source), _stamp(exclude))
        if seen == self._config_seen and (self._control / "HEAD").exists():
            return
        self._home()
        for folder in ("refs", "objects", "info"):
            (self._control / folder).mkdir(mode=0o700, exist_ok=True)
        harmless = ((key, value) for key, value in self.config() if _HARMLESS.fullmatch(key))
        lines = [_setting(key, "true" if value is None else value) for key, value in harmless]
        _replace(self._control / "config", "".join(lines))
        _replace(self._control / "info" / "exclude", exclude.read_text("utf-8", "replace") if exclude.is_file() else "")
        _replace(self._control / "HEAD", "ref: refs/heads/none\n")
        self._config_seen = seen

    def _listed(self, source: Path) -> Config:
        argv = ("git", "config", f"--file={source}", "--no-includes", "--null", "--list")
        listed = shell.run(argv, env=self._env, cwd=self._home())
        if listed.code:
            raise TemporaryError(f"cannot read {source}: {listed.complaint}", delay=30.0)
        pairs = (entry.partition("\n") for entry in listed.text.split("\0") if entry)
        return tuple((key, value if has else None) for key, has, value in pairs)


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    # Hooks export GIT_DIR and GIT_INDEX_FILE; git would then act on the wrong worktree.
    kept = {name: value for name, value in environ.items() if not name.startswith("GIT_")}
    return {**kept, "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_REPLACE_OBJECTS": "1", "LC_ALL": "C"}


def _in_the_way(lock: Path) -> tuple[str, str]:
    """What is reported of a lock that another git holds, or that one which was killed has left: git names no file at the end."""
    try:
        age_s = max(time.time() - lock.lstat().st_mtime, 0.0)
    except OSError:
        return f"{lock} was there for a moment", "nothing to do: it is tried again"
    message = f"{lock} is there, {age_s:.0f} s old: another git works here, or one was killed"
    return message, f"if no git runs here: rm {shlex.quote(str(lock))}"


def _expect(args: tuple[str, ...], finished: Finished, ok: tuple[int, ...]) -> Finished:
    if finished.code not in ok:
        if _NO_PATH in finished.err:
            raise UnusableTree(f"git {args[0]} failed: {finished.complaint}: no checkout can hold what was committed")
        raise GitError(args, finished)
    return finished


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file does; None where there is none."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _setting(key: str, value: str) -> str:
    section, _, name = key.rpartition(".")
    first, _, rest = section.partition(".")
    quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    subsection = ' "' + rest.replace("\\", "\\\\").replace('"', '\\"') + '"' if rest else ""
    return f'[{first}{subsection}]\n\t{name} = "{quoted}"\n'


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    temporary.write_text(text, "utf-8")
    os.replace(temporary, path)
