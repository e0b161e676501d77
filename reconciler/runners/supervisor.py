"""Supervises one run: starts its steps, keeps its limits, records how it ended and leaves nothing of it behind.

Started as `python -I -S supervisor.py <run folder> <shim lock> <agent lock> <slot lock>`; the locks are inherited descriptors
(-1: there is no slot), already held. The environment is the one that the steps get. What to do is in `spec.json`.

Stdlib only and nothing of ours: one of these lives beside every agent, and it must go on while our files are replaced.
Lowest layer: the local runner uses `Tree` and `write_json` from here, so that both see a run's processes the same way.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import sys
import time

# Some programs close or reuse low descriptors that they did not open.
FIRST_FD = 200
STOP_GRACE_S = 10.0
SWEEP_GRACE_S = 1.0
UNKILLABLE_S = 60.0
ANSWER_MAX = 64 << 10  # bytes; more is no answer
PRINTED_MAX, PRINTED_LINES = 1 << 20, 8  # of what was printed last, where a program may answer there
WRITE_PATIENCE_S = 60.0
LOOK_S, LOOK_MOST_S = 1.0, 2.0  # between two looks at a run that writes, and at one that has been silent
SILENT_S = 20.0  # the same, where the kernel tells of the next write
LOG_MAX, LOG_HEAD, LOG_TAIL = 16 << 20, 1 << 20, 4 << 20
# RECONCILE_RUN alone is the same in every repository that has a task of that name.
MARKER = "RECONCILE_RUN_FOLDER"
WAKE = "wake"  # beside the folders of the kinds of runs
PROC = os.path.isdir("/proc/self/fd")
_PR_SET_CHILD_SUBREAPER = 36

TYPE_CHECKING = False  # `typing` itself would cost a tenth of our memory


class _Reading:
    """How a scanner of `_json` reads: as `json.loads` does."""

    strict = True
    object_hook = object_pairs_hook = array_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


if TYPE_CHECKING:
    import json
    import signal
    from typing import Any, NoReturn

    FileId = tuple[int, int]
    Ending = dict[str, Any]
    _C: Any = None
else:
    try:
        # What `signal` is made of, and `json` and `ctypes`: the enumerations and regular expressions around them take
        # longer to load than the interpreter itself. They are nobody's promise: tried once, and left where they differ.
        import _ctypes
        import _json
        import _signal as signal

        _C = (_json.make_scanner, _json.encode_basestring_ascii, _ctypes.dlsym, _ctypes.dlopen, _ctypes.call_function)
        if _C[0](_Reading)('{"a": [1, 2.5, true, null, "b"]}', 0) != ({"a": [1, 2.5, True, None, "b"]}, 32):
            raise ImportError("it reads in another way")
    except Exception:  # noqa: BLE001 - whatever another Python makes of them
        import json
        import signal

        _C = None


class Shim:
    """One run under supervision. Time is monotonic: neither a moved clock nor a suspended machine ends a run, nor does the time
    for which it was halted as its node had no contact."""

    def __init__(self, folder: str, shim_fd: int, agent_fd: int, slot_fd: int) -> None:
        self._folder = folder
        self._started_at = utc(time.time())
        self._terminated = False
        self._set_up = False
        self._child = 0
        self._status: int | None = None
        self._memory = 0
        self._flaky: list[int] = []
        self._temporary = ""
        self._step_ends = float("inf")
        # The shim's lock must die with the shim, the other two with the last process of the run.
        shim_lock = _moved(shim_fd, fcntl.F_DUPFD_CLOEXEC)
        agent_lock = _moved(agent_fd, fcntl.F_DUPFD)
        if slot_fd >= 0:
            _moved(slot_fd, fcntl.F_DUPFD)
        self._log = Log(os.path.join(folder, "log"))
        os.dup2(self._log.fd, 1)
        os.dup2(self._log.fd, 2)
        self._spec: dict[str, Any] = read_json(os.path.join(folder, "spec.json"))
        self._elsewhere = bool(self._spec.get("at"))
        self._begun = self._clock()
        self._silence = Silence(self._spec["cwd"], self._spec["stuck_after_s"])
        self._tree = Tree(folder, file_id(agent_lock), file_id(shim_lock), root=os.getpid())

    def supervise(self) -> None:
        """Run the steps, record the ending, end what is left."""
        self._listen()
        become_subreaper()
        # Nothing may start that nobody could find again: a run record that can't be written ends us here.
        self._record_run()
        self._make_temporary()
        ending = self._steps()
        self._log.grown()  # what was printed just before the end is cut like all else
        self._record_ending(ending)
        self._end_all(self._spec["sweep_grace_s"])
        self._log.grown()
        self._unlock()
        if self._temporary:
            remove_tree(self._temporary)

    def _make_temporary(self) -> None:
        """A folder for what is temporary, where the run is to have one of its own: it goes with the run."""
        # Its name is known before it is there: whoever finds us killed clears it away. Relative: on a node, beside our records.
        named = self._spec.get("temporary")
        where = os.path.join(self._folder, named) if named else ""
        try:
            if where:
                os.mkdir(where, 0o700)
                os.environ["TMPDIR"] = self._temporary = where
        except OSError as error:
            self._log.say(f"cannot make {where}, so there is no temporary folder of its own: {error.strerror}")

    def _unlock(self) -> None:
        """Give the worktree back to its people: git's lock on it was for as long as the run lives."""
        try:
            if self._spec.get("unlock"):
                os.unlink(self._spec["unlock"])
        except FileNotFoundError:
            pass
        except OSError as error:
            self._log.say(f"cannot unlock the worktree: {error.strerror}")

    def _steps(self) -> Ending:
        set_up = self._spec["setup_steps"]
        for step, argv in enumerate(self._spec["steps"]):
            if step == set_up and (failure := self._finish_set_up(step)):
                return failure
            # Asked to stop before our record could tell anybody where to send the signal.
            if self._terminated or os.path.exists(self._at("stop.json")):
                return self._stopped_ending(step)
            if ending := self._tried(step, argv):
                return ending
        return {"cause": "exited", "code": 0, "step": len(self._spec["steps"]) - 1}

    def _tried(self, step: int, argv: list[str]) -> Ending | None:
        """How this step ended the run, however often it may be started; None when it succeeded."""
        limits: list[list[float]] = self._spec.get("limits") or []  # of a run from before there were any
        limit_s, again = limits[step] if step < len(limits) else (0, 0)
        tries = 0
        while ending := self._run(step, argv, limit_s):
            tries += 1
            # What could not be started, or was not ended by itself or its own limit, has not failed.
            failed = ending["cause"] == "exited" or "limit_s" in ending
            if self._terminated or not failed or tries > again or self._child:
                return ending
            if os.path.exists(self._at("stop.json")):
                return self._stopped_ending(step)
            self._log.say(f"this failed and is started again ({tries} of {again:.0f})")
        if tries:
            self._flaky.append(step)
        return None

    def _run(self, step: int, argv: list[str], limit_s: float) -> Ending | None:
        """How this step ended; None when it succeeded. `limit_s`: the longest that it may take; 0: what is left."""
        in_set_up = step < self._spec["setup_steps"]
        try:
            self._child = start(argv, self._spec["cwd"], self._log.path, self._stdin(step))
        except StartError as error:
            self._log.say(str(error))
            return {"cause": "setup" if in_set_up or not error.program else "unavailable", "step": step}
        self._status, self._tree.child = None, self._child
        self._step_ends = self._clock() + limit_s if limit_s else float("inf")
        self._record_run(step, quietly=True)
        while (status := self._nap(self._pause())) is None:
            if due := self._due(step):
                self._end_all(self._spec["stop_grace_s"])
                return due
            if self._clock() >= self._step_ends:
                self._log.say(f"this took longer than {limit_s:.0f} s and is ended")
                self._end_all(self._spec["stop_grace_s"])
                return {"cause": "timeout", "step": step, "limit_s": limit_s}
        if status == 0:
            return None
        how = {"signal": -status} if status < 0 else {"code": status}
        return {"cause": "setup" if in_set_up else "exited", "step": step, **how}

    def _pause(self) -> float:
        """How long nothing can be due, unless a signal comes."""
        left = self._step_ends - self._clock()
        return max(min(self._log.pause, self._time_left(), self._silence.left(), left), 0.0)

    def _stdin(self, step: int) -> str:
        """What a step reads: an agent that wants it there its prompt, everything else nothing."""
        reads = self._spec.get("prompt_on_stdin") and step == len(self._spec["steps"]) - 1
        return os.path.join(self._folder, "prompt") if reads else os.devnull

    def _due(self, step: int) -> Ending | None:
        """The ending that is due by now, although the step goes on."""
        grown = self._log.grown()
        if self._terminated:
            return self._stopped_ending(step)
        if self._time_left() <= 0:
            return {"cause": "timeout", "step": step}
        if self._silence.too_long(grown):
            return {"cause": "stuck", "step": step}
        return None

    def _at(self, name: str) -> str:
        """A file of this run: where we stand, if the folder was moved from under its name."""
        return os.path.join(self._folder, name) if os.path.exists(self._folder) else name

    def _time_left(self) -> float:
        """Until the run's time is over."""
        return float(self._begun + self._spec["timeout_s"] - self._clock())

    def _clock(self) -> float:
        """Seconds that pass while the run may go on: elsewhere its courier writes down for how many it was halted."""
        return time.monotonic() - (_read_halted(self._at("halted.json")) if self._elsewhere else 0.0)

    def _stopped_ending(self, step: int) -> Ending:
        stop = _read_stop(self._at("stop.json"))
        if stop is None:
            # Somebody's `kill`: the run failed, and another attempt may follow.
            return {"cause": "exited", "signal": int(signal.SIGTERM), "step": step}
        return {"cause": "stopped", "stop": stop, "step": step}

    def _finish_set_up(self, step: int) -> Ending | None:
        marker = self._spec["ready_marker"]
        try:
            if marker:
                os.close(os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        except OSError as error:
            self._log.say(f"cannot mark {marker!r} as set up: {error.strerror}")
            return {"cause": "setup", "step": step}
        self._set_up = True
        return None

    def _record_run(self, step: int = 0, *, quietly: bool = False) -> None:
        value = {
            "pid": os.getpid(),
            "start_ticks": start_ticks(os.getpid()),
            "boot_id": boot_id(),
            "started_at": self._started_at,
            "set_up": self._set_up,
            "step": step,
            "child": {"pid": self._child, "start_ticks": start_ticks(self._child)} if self._child else None,
        }
        try:
            write_json(self._at("run.json"), value)
            wake(os.path.join(self._folder, "..", "..", ".."))
        except OSError as error:
            # A full disk is no reason to leave an agent that runs without supervision.
            if not quietly:
                raise
            self._log.say(f"cannot write run.json: {error.strerror}")

    def _record_ending(self, ending: Ending) -> None:
        flaky = {"flaky": self._flaky} if self._flaky else {}
        ended = {**ending, **flaky, "ended_at": utc(time.time()), "memory": self._memory or None, **self._answered()}
        value = {"code": None, "signal": None, "stop": None, **ended}
        deadline = time.monotonic() + WRITE_PATIENCE_S
        while True:
            try:
                write_json(self._at("exit.json"), value)
                return wake(os.path.join(self._folder, "..", "..", ".."))
            except OSError as error:
                # The one who removed our folder wants no record; a full disk may get room again.
                if error.errno == errno.ENOENT or time.monotonic() > deadline:
                    return self._log.say(f"cannot write exit.json: {error.strerror}")
                self._nap(1.0)

    def _answered(self) -> Ending:
        """What tells the answer as it is now from whatever is put in its place afterwards."""
        answer = self._spec.get("answer")
        return {"answer": digest(self._at(answer), ANSWER_MAX), "printed": self._log.objects()} if answer else {}

    def _end_all(self, grace_s: float) -> None:
        """TERM and CONT to everything of the run, after `grace_s` KILL, until nothing is left or it can't be killed."""
        if not self._tree.send(signal.SIGTERM, signal.SIGCONT):
            return
        deadline = time.monotonic() + grace_s
        pause = 0.02
        # A child that has ended is no member any more, and not waited for yet: nothing is started beside it.
        while (self._tree.members() or self._child) and time.monotonic() < deadline + UNKILLABLE_S:
            self._nap(min(pause, max(deadline - time.monotonic(), 0.02)))
            pause = min(pause * 2, 0.5)
            if time.monotonic() >= deadline:
                self._tree.send(signal.SIGKILL)

    def _listen(self) -> None:
        self._wake, wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGIO, lambda *_: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._terminate)
        # The one who started us may have blocked what we wait for; that is inherited.
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def _terminate(self, *_: object) -> None:
        self._terminated = True

    def _nap(self, seconds: float) -> int | None:
        """The exit status of the step, once it has ended. Sleeps until a signal comes, `seconds` at most."""
        if select.select([self._wake], [], [], seconds)[0]:
            os.read(self._wake, 4096)
        self._reap()
        return self._status

    def _reap(self) -> None:
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            # Of the largest process among those that it has waited for itself.
            self._memory = max(self._memory, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
            if pid == self._child:
                self._child, self._status = 0, os.waitstatus_to_exitcode(status)
                self._tree.child = 0


class Log:
    """The log of a run: append-only for its writers; when it grows too long, its middle is cut out in place.

    A file and not a pipe: a pipe would end the agent together with us.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self.pause = LOOK_S
        self._folder: int | None = None
        self._seen = (0, 0)
        self._dropped = 0

    def say(self, text: str) -> None:
        """Add a line of our own; on a full disk there is none."""
        try:
            os.write(self.fd, f"reconcile: {text}\n".encode(errors="replace"))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                raise

    def objects(self) -> list[str]:
        """The SHA-256 of each of the last lines that begin as a JSON object does, as hex digits."""
        from hashlib import sha256  # noqa: PLC0415 - few runs have an answer

        try:
            tail = os.pread(self.fd, PRINTED_MAX, max(os.fstat(self.fd).st_size - PRINTED_MAX, 0))
        except OSError:
            return []
        found = [line for line in tail.split(b"\n") if line.startswith(b"{")]
        return [sha256(line).hexdigest() for line in found[-PRINTED_LINES:]]

    def grown(self) -> bool:
        """True when something was written since the last call."""
        stat = os.fstat(self.fd)
        wakes = self._seen == (stat.st_size, stat.st_mtime_ns) and self._wake_at_next_write()
        if wakes:
            stat = os.fstat(self.fd)  # again: what was written before the kernel would tell
        grown = self._seen != (stat.st_size, stat.st_mtime_ns)
        # The one who writes fast is looked at more often, so that the disk does not fill between two looks.
        # The one who is silent is looked at less: hundreds of agents that think are to cost nothing.
        fast = stat.st_size - self._seen[0] > LOG_HEAD
        silent = SILENT_S if wakes else min(self.pause + LOOK_S / 5, LOOK_MOST_S)
        self.pause = 0.1 if fast else LOOK_S if grown else silent
        if stat.st_size > LOG_MAX:
            self._cut(stat.st_size)
            stat = os.fstat(self.fd)
        self._seen = (stat.st_size, stat.st_mtime_ns)
        return grown

    def _wake_at_next_write(self) -> bool:
        """Have the kernel send one SIGIO when something is written in the folder of the log, or moved out of it; False where it
        can't, or the log stands elsewhere."""
        try:
            if self._folder is None:
                self._folder = os.open(os.path.dirname(self.path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.fcntl(self._folder, fcntl.F_NOTIFY, fcntl.DN_MODIFY | fcntl.DN_DELETE | fcntl.DN_RENAME)
            held = os.fstat(self.fd)
            if held.st_nlink and not os.path.samestat(held, os.lstat(self.path)):
                return False
        except (OSError, AttributeError):  # no such kernel; not Linux
            return False
        return True

    def _cut(self, size: int) -> None:
        tail = os.pread(self.fd, LOG_TAIL, size - LOG_TAIL)
        self._dropped += size - LOG_HEAD - len(tail)
        os.ftruncate(self.fd, LOG_HEAD)
        note = f"\n[reconcile: {self._dropped} bytes left out here]\n".encode()
        try:
            os.write(self.fd, note + tail)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                raise


class Silence:
    """How long a run has shown no sign of work: no output, and then no newer file and no commit either."""

    def __init__(self, cwd: str, most_s: float) -> None:
        self._cwd, self._most_s = cwd, most_s
        self._last, self._last_wall = time.monotonic(), time.time()

    def left(self) -> float:
        """The seconds until it may be too long; a moment at least."""
        return max(self._most_s - (time.monotonic() - self._last), 0.1) if self._most_s > 0 else SILENT_S

    def too_long(self, grown: bool) -> bool:
        """True when the last sign is too old. The files are looked at only when the output has been silent so long."""
        now, wall = time.monotonic(), time.time()
        if grown or wall < self._last_wall - 1.0:  # A clock that was set back can't tell newer from older.
            self._last, self._last_wall = now, wall
        if not 0 < self._most_s <= now - self._last:
            return False
        newest = newest_change(self._cwd)
        if newest <= self._last_wall:
            return True
        self._last = now - min(max(wall - newest, 0.0), now - self._last)
        self._last_wall = newest
        return False


class Tree:
    """Everything that belongs to a run: what carries its marker or has its agent lock open, and all descendants.

    `root` and its descendants belong to it too. Never in it: pid 1, ourselves, and the one who has the shim's lock open
    (the supervising process, or a reconciler that is just starting a run). Locks are known by device and inode.
    """

    def __init__(self, folder: str, agent: FileId | None, shim: FileId | None, root: int = 0) -> None:
        self._folder = os.fsencode(folder)
        self._agent, self._shim, self._root = agent, shim, root
        self.child = 0

    def members(self) -> list[int]:
        """The pids of everything that lives of the run, parents first; without /proc, of what we started ourselves."""
        if not PROC:
            return [self.child] if self.child else []
        parents = parent_pids()
        found = {pid for pid in parents if self._witnessed(pid)} | {self._root}
        children: dict[int, list[int]] = {}
        for pid, parent in parents.items():
            children.setdefault(parent, []).append(pid)
        found.discard(0)
        todo = list(found)
        while todo:
            new = [pid for pid in children.get(todo.pop(), ()) if pid not in found]
            found.update(new)
            todo.extend(new)
        return sorted(found - {self._root, os.getpid(), 1}, key=lambda pid: _depth(pid, parents))

    def send(self, *signals: int) -> bool:
        """Send these signals to every member; True if there was any.

        A pid may come to belong to somebody else at any time: so each is pinned first, then looked at once more.
        Parents come first: a script whose 'sleep' was ended before it would go on with its next line.
        """
        pinned = {pid: handle for pid in self.members() if (handle := pin(pid)) is not None}
        confirmed = set(self.members()) if pinned else set()
        for pid, handle in pinned.items():
            if pid in confirmed:
                send(pid, handle, *signals)
            if handle >= 0:
                os.close(handle)
        return bool(confirmed)

    def _witnessed(self, pid: int) -> bool:
        if marker(pid) != self._folder and not (self._agent and has_open(pid, self._agent)):
            return False
        return not (self._shim and has_open(pid, self._shim))


class StartError(Exception):
    """A step could not be started; `program` is False where its folder was at fault."""

    def __init__(self, what: str, program: bool) -> None:
        super().__init__(what)
        self.program = program


def start(argv: list[str], cwd: str, log: str, stdin: str = os.devnull) -> int:
    """Start a step in a session of its own, reading `stdin`, its output going to `log`; its pid. Raises StartError.

    The parent learns through a pipe that closes on exec whether the program could be executed.
    """
    heard, say = os.pipe()
    # A signal between fork and exec would run our handlers in the child.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if not pid:
            _become(argv, cwd, log, stdin, say)
    except OSError as error:
        os.close(heard)
        raise StartError(f"cannot fork: {error.strerror}", True) from error
    finally:
        os.close(say)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with open(heard, "rb") as file:
        text = file.read().decode()
    if not text:
        return pid
    os.waitpid(pid, 0)
    stage, _, number = text.partition(" ")
    why = os.strerror(int(number))
    if stage == "program":
        raise StartError(f"cannot start {argv[0]!r}: {why}", True)
    raise StartError(f"cannot enter {cwd!r}: {why}", False)


def _become(argv: list[str], cwd: str, log: str, stdin: str, say: int) -> NoReturn:
    stage = "folder"
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        # A shell's background jobs ignore SIGINT and SIGQUIT, Python ignores SIGPIPE: agents expect neither.
        for signum in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(signum, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.dup2(os.open(stdin, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), 0)
        out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.chdir(cwd)
        stage = "program"
        os.execvpe(argv[0], argv, os.environ)
    except OSError as error:
        os.write(say, f"{stage} {error.errno or 0}".encode())
    except ValueError:
        # A NUL byte in an argument: no program can be given that.
        os.write(say, f"{stage} {errno.EINVAL}".encode())
    finally:
        os._exit(127)


def newest_change(cwd: str) -> float:
    """When something under `cwd` changed last, or its checkout got a commit (POSIX seconds; 0.0: nothing found).

    By status-change time, which unpacking an archive or copying with old dates can't set back.
    """
    newest = max(map(_changed, _commit_files(cwd)), default=0.0)
    folders = [cwd]
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except OSError:
            continue
        for entry in entries:
            if entry.name == ".git":
                continue
            newest = max(newest, _changed(entry.path))
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
    return newest


def _commit_files(cwd: str) -> list[str]:
    """The files of git that a commit in `cwd` writes."""
    git = os.path.join(cwd, ".git")
    if os.path.isfile(git):
        git = os.path.join(cwd, _first_line(git).removeprefix("gitdir: "))
    common = os.path.join(git, _first_line(os.path.join(git, "commondir")) or ".")
    branch = _first_line(os.path.join(git, "HEAD")).removeprefix("ref: ")
    return [os.path.join(git, "HEAD"), os.path.join(git, "logs", "HEAD"), os.path.join(common, branch)]


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.readline().rstrip("\n")
    except OSError:
        return ""


def _changed(path: str) -> float:
    try:
        return os.lstat(path).st_ctime
    except OSError:
        return 0.0


# --- processes ---------------------------------------------------------------------------------------------


def parent_pids() -> dict[int, int]:
    """The parent of every process that lives, by pid. Zombies do not live."""
    found = {}
    for name in os.listdir("/proc") if PROC else ():
        if name.isdecimal() and (stat := _stat(int(name))) and not _dead(name, stat[0]):
            found[int(name)] = int(stat[1])
    return found


def _depth(pid: int, parents: dict[int, int]) -> int:
    """How many live processes stand above one. Read while they change, they may seem to form a ring."""
    depth = 0
    while (pid := parents.get(pid, 0)) and depth < len(parents):
        depth += 1
    return depth


def marker(pid: int) -> bytes | None:
    """The run folder that a process carries in its environment; None for none, or where it can't be read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environ = b"\0" + file.read() + b"\0"
    except OSError:
        return None
    _, found, rest = environ.partition(b"\0" + MARKER.encode() + b"=")
    return rest.partition(b"\0")[0] if found else None


def has_open(pid: int, file: FileId) -> bool:
    """True when a process has a file open for writing: so do holders of a lock and who inherited it, probes do not."""
    return opened(pid, (file,))


def opened(pid: int, files: set[FileId] | tuple[FileId]) -> bool:
    """The same of any of these files."""
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    return any(_is_open(f"/proc/{pid}/fd/{name}", f"/proc/{pid}/fdinfo/{name}", files) for name in names)


def pin(pid: int) -> int | None:
    """A handle on a process that no later process can inherit; -1 where the kernel has none; None: it is gone."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    except (AttributeError, OSError):
        return -1


def send(pid: int, handle: int, *signals: int) -> None:
    """Signal a pinned process, if it is there and may be signalled. Never pid 1."""
    for signum in signals:
        try:
            if handle >= 0:
                signal.pidfd_send_signal(handle, signum)
            elif not PROC:
                os.killpg(pid, signum)  # all that can be found there: the session of a step
            elif pid > 1:
                os.kill(pid, signum)
        except (ProcessLookupError, PermissionError):
            return


def file_id(fd: int | str) -> FileId:
    """What identifies an open file, whatever it is called."""
    stat = os.stat(fd)
    return stat.st_dev, stat.st_ino


def start_ticks(pid: int) -> int:
    """When a process started, in ticks of the kernel's own clock; 0 where that is not known."""
    stat = _stat(pid)
    return int(stat[19]) if stat else 0


def halted(pid: int) -> bool:
    """True where a process is stopped, and goes on only when somebody has it continue."""
    stat = _stat(pid)
    return bool(stat) and stat[0] in (b"T", b"t")


def boot_id() -> str:
    """What tells this boot of the machine from every other; empty where the kernel does not say."""
    return _first_line("/proc/sys/kernel/random/boot_id")


def become_subreaper() -> None:
    """Make every orphaned descendant our child, so that nothing escapes by forking twice. Linux only."""
    if sys.platform == "linux":
        _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _prctl(*words: int) -> None:
    try:
        _, _, find, library, call = _C
        call(find(library(None, 0), "prctl"), words)
    except Exception:  # noqa: BLE001 - whatever another Python makes of these; as far as nothing was done yet
        from ctypes import CDLL  # noqa: PLC0415 - only where it can't be had for less

        CDLL(None).prctl(*words)


def wake(runs: str) -> None:
    """Have those who wait look at the runs: one file for all of them, so that nobody listens to each. Only a hint."""
    try:
        # An agent may have put a link there, or a pipe that nobody reads.
        how = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(os.path.join(runs, WAKE), how, 0o600)
    except OSError:
        return
    try:
        os.write(fd, b"\n")
    except OSError:
        pass  # a full disk: the file was changed by being cut all the same
    finally:
        os.close(fd)


def remove_tree(path: str) -> None:
    """Remove a folder with all that is in it, whatever its permissions, as far as that goes; links are not followed."""
    for folder, below, _ in os.walk(path):
        for inner in (os.path.join(folder, name) for name in (".", *below)):
            if not os.path.islink(inner):  # the mode that is set is that of what a link leads to
                _try(os.chmod, inner, 0o700)
    for folder, below, files in os.walk(path, topdown=False):
        for name in files:
            _try(os.unlink, os.path.join(folder, name))
        for name in below:
            inner = os.path.join(folder, name)
            _try(os.unlink if os.path.islink(inner) else os.rmdir, inner)
    _try(os.rmdir, path)


def _try(act: Any, *args: object) -> None:
    try:
        act(*args)
    except OSError:
        pass


def read_json(path: str) -> Any:
    """What a file of JSON says. Raises OSError, and ValueError for what is none."""
    with open(path, encoding="utf-8") as file:
        text = file.read().strip(" \t\r\n")
    if not _C:
        return json.loads(text)
    try:
        value, end = _C[0](_Reading)(text, 0)
    except StopIteration as error:
        raise ValueError(f"{path} is no JSON") from error
    if end != len(text):
        raise ValueError(f"{path} is no JSON from character {end} on")
    return value


def _as_json(value: object) -> str:
    """Plain values as JSON, without the module: records hold text, numbers, switches, lists and mappings."""
    if not _C:
        return json.dumps(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return str(_C[1](value))
    if isinstance(value, (int, float)):  # as older Pythons want it, which nodes may have
        return {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}.get(text := repr(value), text)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_C[1](key)}: {_as_json(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_as_json, value)) + "]"
    raise TypeError(f"{type(value).__name__} is nothing that JSON holds")


def digest(path: str, most: int) -> str | None:
    """The SHA-256 of a plain file of at most `most` bytes, as hex digits; None for anything else."""
    from hashlib import sha256  # noqa: PLC0415 - few runs have an answer

    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        content = b"" if os.fstat(fd).st_mode & 0o170000 != 0o100000 else os.pread(fd, most + 1, 0)
    except OSError:
        return None
    finally:
        os.close(fd)
    return sha256(content).hexdigest() if 0 < len(content) <= most else None


def write_json(path: str, value: object) -> None:
    """Replace a file by one that holds `value`, whole or not at all, even when the machine goes down."""
    temporary = f"{path}.{os.getpid()}.{time.monotonic_ns()}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "w", encoding="utf-8") as file:
            file.write(_as_json(value))
            file.flush()
            os.fsync(fd)
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise


def utc(at: float) -> str:
    """A POSIX time as text that `datetime.fromisoformat` reads."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1e6):06d}+00:00"


def _stat(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return []


def _dead(pid: str, state: bytes) -> bool:
    if state not in (b"Z", b"X"):
        return False
    try:
        # A program whose first thread has ended looks like a zombie while its other threads go on.
        return len(os.listdir(f"/proc/{pid}/task")) <= 1
    except OSError:
        return True


def _is_open(path: str, details: str, files: set[FileId] | tuple[FileId]) -> bool:
    try:
        if file_id(path) not in files:
            return False
        with open(details, encoding="ascii") as lines:
            flags = next(line.split()[1] for line in lines if line.startswith("flags:"))
    except (OSError, StopIteration):
        return False
    return int(flags, 8) & os.O_ACCMODE == os.O_RDWR


def _moved(fd: int, how: int) -> int:
    try:
        moved = fcntl.fcntl(fd, how, FIRST_FD)
    except OSError:
        moved = fcntl.fcntl(fd, how, 3)  # the limit on open files is that low
    os.close(fd)
    return moved


def _read_stop(path: str) -> str | None:
    try:
        return str(read_json(path)["why"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read_halted(path: str) -> float:
    try:
        return float(read_json(path)["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


if __name__ == "__main__":
    Shim(sys.argv[1], *map(int, sys.argv[2:5])).supervise()
