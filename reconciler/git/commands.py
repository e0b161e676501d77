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
import shutil
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from reconciler.git import fingerprints, large_files, locks, logins
from reconciler.git.control_dir import Config, ControlDir, stamp
from reconciler.git.fingerprints import Mark
from reconciler.git.refusals import expected
from reconciler.git.repository import INERT, Repository, environment
from reconciler.model.errors import TemporaryError
from reconciler.model.names import Sha
from reconciler.system import file_lock, shell
from reconciler.system.files import Stamp
from reconciler.system.shell import Finished

T = TypeVar("T")
Loose = dict[str, tuple[Stamp, Sha]]
"""What files held, by their paths and the marks that they bore then."""
Refs = dict[str, tuple[Sha, bool]]
"""For every ref: the object that it names, and whether it does so by naming another ref."""
WRITER_WAIT_S = 60.0
_REMEMBERED_MAX = 8192
_RULES = r"^url\."


class Git:
    """The git commands of one repository. Safe to share between threads.

    `control` is where the control git dir stands: in the repository's state folder, unless nothing may be changed there.
    """

    def __init__(self, repository: Repository, environ: Mapping[str, str], control: Path | None = None) -> None:
        self.repository = repository
        self._env = environment(environ)
        self.control = ControlDir(control or repository.state / "control", repository.common)
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
            argv,
            env=env,
            cwd=self.control.home(),
            stdin=stdin,
            timeout_s=timeout_s,
            pass_fds=fds,
            called=f"git {args[0]}",
        )
        if lock is not None and args[0] == "update-ref":
            locks.forget(lock)
        return expected(args, finished, ok, self.repository.common)

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
        self.control.refresh(self.config)
        large_files.share(self.control.path, self.repository.common)
        objects = self.repository.common / "objects"
        settings = {
            "GIT_DIR": str(self.control.path),
            "GIT_OBJECT_DIRECTORY": str(quarantine or objects),
            "GIT_INDEX_FILE": str(index or self.control.path / "no-index"),
            "GIT_WORK_TREE": str(work_tree or self.control.home()),
        }
        if quarantine:
            settings["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = str(objects)
        if (shallow := self.repository.common / "shallow").exists():
            settings["GIT_SHALLOW_FILE"] = str(shallow)
        argv = ("git", *INERT, *(part for pair in config for part in ("-c", pair)), *args)
        finished = shell.run(
            argv,
            env={**self._env, **settings, **logins.environment(logins.held(self.control.own)), **(env or {})},
            cwd=work_tree or self.control.home(),
            stdin=stdin,
            timeout_s=timeout_s,
            pass_fds=() if lock is None else (lock,),
            called=f"git {args[0]}",
        )
        large_files.share(self.control.path, self.repository.common)  # by now there may be some
        return expected(args, finished, ok, self.repository.common)

    def reaching(self, url: str, *, push: bool = False, more: logins.More = logins.NOTHING_MORE) -> dict[str, str]:
        """The variables with which `objects` goes to a remote of this address, so that no command has a password in its words;
        with `more` settings, and logins for what they name."""
        self.control.refresh(self.config)
        found, settings = logins.reaching(url, self.control.own, self.users(_RULES), push=push)
        if not found and not any(more):
            return {}
        return logins.environment((*found, *more[1], *logins.held(self.control.own)), (*settings, *more[0]))

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
        self.control.refresh(self.config)
        return logins.rewritten(url, (*self.control.own, *self.users(_RULES)))

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
        return tuple(map(stamp, (self.repository.common / "info" / "exclude", own, *self.said_who)))

    def prepare(self) -> Path:
        """The control git dir, up to date, for the one who makes a git dir of its own from it."""
        self.control.refresh(self.config)
        return self.control.path

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
        self.control.home()
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

    def _listed(self, source: Path) -> Config:
        argv = ("git", "config", f"--file={source}", "--no-includes", "--null", "--list")
        listed = shell.run(argv, env=self._env, cwd=self.control.home())
        if listed.code:
            raise TemporaryError(f"cannot read {source}: {listed.complaint}", delay=30.0)
        return _pairs(listed.text)


def _pairs(text: str) -> Config:
    pairs = (entry.partition("\n") for entry in text.split("\0") if entry)
    return tuple((key, value if has else None) for key, has, value in pairs)
