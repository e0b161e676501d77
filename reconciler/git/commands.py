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
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from reconciler.git import fingerprints, large_files, locks, logins
from reconciler.git.fingerprints import Mark
from reconciler.git.repository import INERT, Repository, environment
from reconciler.model.errors import PermanentError, TemporaryError
from reconciler.model.names import Sha
from reconciler.system import file_lock, refused, shell
from reconciler.system.shell import Finished

T = TypeVar("T")
Config = tuple[tuple[str, str | None], ...]
Loose = dict[str, tuple[tuple[int, int, int, int], Sha]]
"""What files held, by their paths and the marks that they bore then."""
Refs = dict[str, tuple[Sha, bool]]
"""For every ref: the object that it names, and whether it does so by naming another ref."""
WRITER_WAIT_S = 60.0
_REMEMBERED_MAX = 8192
_SCRATCH = "scratch"
_SCRATCH_MOST_S = 3600.0

# What may be taken over from the repository's own config: none of it names a program.
_HARMLESS = re.compile(
    r"extensions\.(?!refstorage).*"
    r"|core\.(autocrlf|eol|filemode|ignorecase|symlinks|sparsecheckout|sparsecheckoutcone|repositoryformatversion)"
    r"|user\.(name|email)"
    r"|remote\..*\.(lfs(push)?)?url"
    r"|lfs\.(push)?url"
    r"|url\..*\.(push)?insteadof"
)


_RULES = r"^url\."
_NO_PATH = b"error: invalid path '"
_NAMED = re.compile(rb"'(/[^'\0]+)'")
_THEIRS = b"remote: "  # what the other side of a push prints
_LOCK = re.compile(rb"Unable to create '([^'\n]+\.lock)': File exists")


class GitError(TemporaryError):
    """Git refused. Temporary, because a lock or a half-written ref is the usual cause: it is looked at again."""

    def __init__(self, args: tuple[str, ...], finished: Finished) -> None:
        found = _LOCK.search(finished.err)
        complaint = finished.complaint
        value, hint = (
            (complaint, refused.advice(complaint)) if found is None else _in_the_way(Path(os.fsdecode(found[1])))
        )
        super().__init__(f"git {args[0]} failed: {value}", delay=10.0, hint=hint)
        self.finished = finished
        named = (
            path for line in finished.err.splitlines() if not line.startswith(_THEIRS) for path in _NAMED.findall(line)
        )
        self.due_to(*map(os.fsdecode, named))


class UnusableTree(PermanentError):
    """A commit holds paths that git writes nowhere, '..' or '.git' among them: it was made by hand."""


class LackingFile(PermanentError):
    """A commit names a large file that is neither here nor where such files are kept: it can't be checked out."""


class Git:
    """The git commands of one repository. Safe to share between threads.

    `control` is where the control git dir stands: in the repository's state folder, unless nothing may be changed there.
    """

    def __init__(self, repository: Repository, environ: Mapping[str, str], control: Path | None = None) -> None:
        self.repository = repository
        self._env = environment(environ)
        self._control = control or repository.state / "control"
        self._config_seen: tuple[tuple[int, int, int] | None, ...] | None = None
        self._own: Config = ()  # what is taken over of the repository's config, with the passwords in it
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
        argv = ("git", *INERT, f"--git-dir={self.repository.common}", *args)
        # An agent can declare a promisor remote and take an object away: reading it would then run its sshCommand.
        env = {**self._env, "GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1"}
        fds = () if lock is None else (lock,)
        # With an explicit git dir, git takes its cwd for the working tree: give it one that holds nothing.
        if lock is not None and args[0] == "update-ref":
            locks.note(lock, args, stdin)
        finished = shell.run(
            argv, env=env, cwd=self._home(), stdin=stdin, timeout_s=timeout_s, pass_fds=fds, called=f"git {args[0]}"
        )
        if lock is not None and args[0] == "update-ref":
            locks.forget(lock)
        return self._expect(args, finished, ok)

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
        argv = ("git", *INERT, *(part for pair in config for part in ("-c", pair)), *args)
        finished = shell.run(
            argv,
            env={**self._env, **settings, **logins.environment(logins.held(self._own)), **(env or {})},
            cwd=work_tree or self._home(),
            stdin=stdin,
            timeout_s=timeout_s,
            pass_fds=() if lock is None else (lock,),
            called=f"git {args[0]}",
        )
        large_files.share(self._control, self.repository.common)  # by now there may be some
        return self._expect(args, finished, ok)

    def reaching(self, url: str, *, push: bool = False, more: logins.More = logins.NOTHING_MORE) -> dict[str, str]:
        """The variables with which `objects` goes to a remote of this address, so that no command has a password in its words;
        with `more` settings, and logins for what they name."""
        self._refresh_control()
        found, settings = logins.reaching(url, self._own, self.users(_RULES), push=push)
        if not found and not any(more):
            return {}
        return logins.environment((*found, *more[1], *logins.held(self._own)), (*settings, *more[0]))

    def users(self, pattern: str) -> Config:
        """The settings that commands of ours go by and whose keys match: the user's own, and what is taken over of the
        repository's, without passwords."""
        read = ("config", "--null", "--get-regexp", pattern)
        mark = fingerprints.of_files(*self.said_who)
        return self.remembered(("users", pattern), mark, lambda: _pairs(self.objects(*read, ok=(0, 1)).text))

    def finds(self, program: str) -> bool:
        """True where a command that git starts finds this program."""
        if shutil.which(program, path=self._env.get("PATH")):
            return True
        beside = self.remembered(("exec-path",), (), lambda: self.objects("--exec-path").text.strip())
        return os.access(os.path.join(beside, program), os.X_OK)

    def rewritten(self, url: str) -> str:
        """An address as git has it in the end. It may hold a password."""
        self._refresh_control()
        return logins.rewritten(url, (*self._own, *self.users(_RULES)))

    @property
    def said_who(self) -> tuple[Path, ...]:
        """The files in which a person says who they are, of the repository's and their own; there or not."""
        home = Path(self._env.get("HOME") or "/")
        own = Path(self._env.get("XDG_CONFIG_HOME") or home / ".config", "git", "config")
        return self.repository.common / "config", home / ".gitconfig", own

    @property
    def let_in_by(self) -> tuple[Path, ...]:
        """The files in which a person keeps what remotes let them in by, or what they let remotes in by; there or not."""
        home = Path(self._env.get("HOME") or "/")
        ssh = (home / ".ssh" / name for name in ("config", "known_hosts", "id_ed25519", "id_rsa"))
        stored = self.said_who[-1].with_name("credentials")
        return (*ssh, home / ".netrc", home / ".git-credentials", stored)

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

    def _expect(self, args: tuple[str, ...], finished: Finished, ok: tuple[int, ...]) -> Finished:
        if finished.code in ok:
            return finished
        if _NO_PATH in finished.err:
            raise UnusableTree(f"git {args[0]} failed: {finished.complaint}: no checkout can hold what was committed")
        printed = finished.err.decode("utf-8", "replace")
        if lacking := large_files.lacking(printed):
            error = LackingFile(f"the commit can't be checked out: {lacking}", hint=large_files.ADVICE)
            raise error.due_to(*large_files.places(printed, self.repository.common))
        raise GitError(args, finished)

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
        self._own = tuple((key, value) for key, value in self.config() if _HARMLESS.fullmatch(key))
        lines = [_setting(*map(logins.without, (key, "true" if value is None else value))) for key, value in self._own]
        _replace(self._control / "config", "".join(lines))
        _replace(self._control / "info" / "exclude", exclude.read_text("utf-8", "replace") if exclude.is_file() else "")
        _replace(self._control / "HEAD", "ref: refs/heads/none\n")
        self._config_seen = seen

    def _listed(self, source: Path) -> Config:
        argv = ("git", "config", f"--file={source}", "--no-includes", "--null", "--list")
        listed = shell.run(argv, env=self._env, cwd=self._home())
        if listed.code:
            raise TemporaryError(f"cannot read {source}: {listed.complaint}", delay=30.0)
        return _pairs(listed.text)


def _pairs(text: str) -> Config:
    pairs = (entry.partition("\n") for entry in text.split("\0") if entry)
    return tuple((key, value if has else None) for key, has, value in pairs)


def _in_the_way(lock: Path) -> tuple[str, str]:
    """What is reported of a lock that another git holds, or that one which was killed has left: git names no file at the end."""
    try:
        age_s = max(time.time() - lock.lstat().st_mtime, 0.0)
    except OSError:
        return f"{lock} was there for a moment", "nothing to do: it is tried again"
    age = f"{age_s:.0f} s" if age_s < 120 else f"{age_s / 60:.0f} min"
    message = f"{lock} is there, {age} old: another git works here, or one was killed"
    return message, f"if no git runs here: rm {shlex.quote(str(lock))}"


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
