"""The only file, beside the shim, that starts programs. An argv list goes in, what it printed comes out.

Never a shell string, never a terminal, never the caller's standard input; always a time limit and a process group of
its own, so that a program that hangs is ended together with its children.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from reconciler.model.errors import PermanentError, ReconcileError, TemporaryError
from reconciler.system import refused, unanswered

OUTPUT_LIMIT = 64 * 1024 * 1024
COMPLAINT_MAX = 800
_AT_ONCE = 64 * 1024
_STOPPED_S = 1.0
_CAUSE = r"(?i)fatal: |error: |remote: |ERROR: |! \["
# Empty lines, rules of dashes, and what git itself says of how far it is, where it goes, and what one might do. Whatever
# else comes from the other side may be the words of a hook.
_PROGRESS = "(Enumerating|Counting|Compressing|Writing|Receiving|Unpacking|Resolving|Updating|Finding|Total)\\b.*"
_NO_CAUSE = rf"(remote:\s*)?([^\w]*$|{_PROGRESS})|hint: |warning: |To \S+$|From \S+$|.*\d+% \("
_LISTED = r"(?<=[^\n])\n\t+(?=\S)"  # what git lists below a line, it indents by a tab
_IN_SHORT = "error: failed to push some refs"


class Finished(Struct, frozen=True):
    """A program that ended by itself. Output is bytes: what git prints is paths, and paths are bytes."""

    code: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        return self.out.decode("utf-8", "surrogateescape")

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the other side of a push answered, line by line, without rules of dashes and what is only progress.

        >>> Finished(1, b"", b"remote: \\nremote: - no secrets\\nremote: -- key -- \\nremote:   path: a.py:1\\n ! [rejected] x (no)").remarks
        ('- no secrets', '-- key --', 'path: a.py:1', '! [rejected] x (no)')
        """
        found = (line.strip() for line in self.err.decode("utf-8", "replace").splitlines())
        telling = (line for line in found if line.startswith(("remote:", "! [")) and not re.match(_NO_CAUSE, line))
        return tuple(dict.fromkeys(line.removeprefix("remote:").strip() for line in telling))

    @property
    def complaint(self) -> str:
        """What it wrote to standard error about why, for a message of one line.

        Git names the cause in lines of their own, after the words of the filter or hook that refused and before advice;
        of any other program it is the last line. What is listed below a line, indented, belongs to it.

        >>> err = b"To x\\nremote: frozen: ask Ann   \\n ! [remote rejected] main\\nerror: failed to push some refs to 'x'\\nhint: y"
        >>> Finished(1, b"", err).complaint
        'remote: frozen: ask Ann; ! [remote rejected] main'
        >>> Finished(1, b"", b"remote: coverage is 71% but must be 80%\\nremote: Total 3 (delta 0)\\nerror: no").complaint
        'remote: coverage is 71% but must be 80%; error: no'
        >>> Finished(128, b"", b"fatal: unknown extensions found:\\n\\tnoop\\nx").complaint
        'fatal: unknown extensions found: noop'
        >>> Finished(1, b"", b"starts\\nis broken").complaint, Finished(3, b"", b"").complaint
        ('is broken', 'exit status 3')
        """
        whole = re.sub(_LISTED, " ", self.err.decode("utf-8", "replace"))
        found = (line.strip() for line in whole.splitlines())
        lines = [line for line in found if not re.match(_NO_CAUSE, line)]
        if not lines:
            return f"exit status {self.code}"
        causes = [n for n, line in enumerate(lines) if re.match(_CAUSE, line)]
        telling = lines[: causes[-1] + 1] if causes else lines[-1:]
        more = [line for line in telling if not line.startswith(_IN_SHORT)] or telling
        whole = "; ".join(dict.fromkeys(more))
        return whole if len(whole) <= COMPLAINT_MAX else f"{whole[: COMPLAINT_MAX - 200]} … {whole[-200:]}"


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | str | None = None,
    stdin: bytes | None = None,
    timeout_s: float = 60.0,
    grace_s: float = 0.0,
    pass_fds: Sequence[int] = (),
    called: str = "",
) -> Finished:
    """Run a program to its end, whatever its exit status. `called`: what it is in a message, by default its name.

    One that does not end in time is killed; with `grace_s` it gets SIGTERM first, and that long to put things in order.
    Raises TemporaryError when it does not end within `timeout_s`, or for want of processes or memory to start it;
    PermanentError when it can't be started, or when it prints more than `OUTPUT_LIMIT` bytes: a part of an answer is none.
    """
    try:
        process = _Process(
            argv,
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
            pass_fds=pass_fds,
        )
    except OSError as error:
        raise _not_started(argv[0], cwd, error) from error
    try:
        out, err = process.talk(stdin or b"", timeout_s, called or Path(argv[0]).name)
    except BaseException as error:
        if grace_s and isinstance(error, subprocess.TimeoutExpired):
            _tell(process, grace_s)
        _end(process)
        if isinstance(error, subprocess.TimeoutExpired):
            hint = f"does {called or Path(argv[0]).name} end when you run it yourself?"
            raise TemporaryError(
                f"{called or argv[0]} did not end within {timeout_s:g} s", delay=30.0, hint=hint
            ) from error
        if isinstance(error, _TooMuch):
            raise PermanentError(f"{argv[0]} prints more than {OUTPUT_LIMIT >> 20} MiB, which is not read") from error
        raise
    return Finished(process.returncode, out, err)


def start_detached(argv: Sequence[str], *, env: Mapping[str, str], cwd: Path | str, pass_fds: Sequence[int]) -> int:
    """Start a program in a session of its own that outlives us, without any of our streams; its pid.

    Raises PermanentError when it can't be started, TemporaryError for want of processes or memory.
    """
    try:
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=pass_fds,
        )
    except OSError as error:
        raise _not_started(argv[0], cwd, error) from error
    _DETACHED.add(process)
    reap()
    return process.pid


def _not_started(program: str, cwd: Path | str | None, error: OSError) -> ReconcileError:
    if refused.lacks(error):
        message, hint = refused.words(error, starting=True)
        text = f"cannot start {program}: {message}"
        return TemporaryError(text, delay=30.0, hint=hint) if refused.passes(error) else PermanentError(text, hint=hint)
    if cwd is not None and str(error.filename) == str(cwd):  # it is not the program that was not found
        text = f"cannot start {program} in {cwd}: {error.strerror}"
        return TemporaryError(text, delay=10.0) if isinstance(error, FileNotFoundError) else PermanentError(text)
    return PermanentError(f"cannot start {program}: {error.strerror}", hint=f"is {program} installed?")


class _TooMuch(Exception):
    """More was printed than is read."""


class _Process(subprocess.Popen[bytes]):
    """A program that is waited for by the kernel: Popen asks again and again, in pauses as long as git takes."""

    def talk(self, stdin: bytes, timeout: float, called: str) -> tuple[bytes, bytes]:
        """What it prints until it ends, as `communicate` has it, but no more of it than fits. Raises TimeoutExpired."""
        begun, calls = time.monotonic(), list[int]()

        def tell() -> None:
            calls.append(unanswered.begin(called, time.monotonic() - begun, timeout))

        try:
            return self._talk(stdin, timeout, tell)
        finally:
            for number in calls:
                unanswered.end(number)

    def _talk(self, stdin: bytes, timeout: float, tell: Callable[[], None]) -> tuple[bytes, bytes]:
        begun = time.monotonic()
        end, tells_at = begun + timeout, begun + unanswered.TELL_S
        fields: dict[int, list[bytes]] = {stream.fileno(): [] for stream in (self.stdout, self.stderr) if stream}
        out, err = fields.values()
        rest, size = memoryview(stdin), 0
        with selectors.PollSelector() as waiting:
            for fd in fields:
                waiting.register(fd, selectors.EVENT_READ)
            if self.stdin:
                waiting.register(self.stdin, selectors.EVENT_WRITE)
            due = begun
            while waiting.get_map():
                now = time.monotonic()
                if (late := now - due) > _STOPPED_S:  # we stood still, and it may have too: it gets that long again
                    end = max(end, now + min(late, timeout))
                if (left := end - now) <= 0:
                    raise subprocess.TimeoutExpired(self.args, timeout)
                if now >= tells_at:
                    tell()
                    tells_at = end
                pause = max(min(left, tells_at - now), 0.0)
                due = now + pause
                for key, _ in waiting.select(pause):
                    if key.fileobj is self.stdin:
                        rest = _written(key.fd, rest)
                        if not rest:
                            waiting.unregister(key.fileobj)
                            self.stdin.close()
                        continue
                    part = os.read(key.fd, _AT_ONCE)
                    fields[key.fd].append(part)
                    size += len(part)
                    if size > OUTPUT_LIMIT:
                        raise _TooMuch
                    if not part:
                        waiting.unregister(key.fileobj)
        self.wait(end - time.monotonic())
        for stream in (self.stdout, self.stderr):
            if stream:
                stream.close()
        return b"".join(out), b"".join(err)

    def wait(self, timeout: float | None = None) -> int:
        begun = time.monotonic()
        if timeout is not None and self.returncode is None and hasattr(os, "pidfd_open"):
            _until_it_ends(self.pid, timeout)
            timeout = max(timeout - (time.monotonic() - begun), 0.0)
        return super().wait(timeout)


def _written(fd: int, rest: memoryview) -> memoryview:
    """What is left of an input once as much of it as is taken without waiting was passed on; nothing, if nobody reads it."""
    try:
        return rest[os.write(fd, rest[: select.PIPE_BUF]) :] if rest else rest
    except BrokenPipeError:
        return rest[:0]


def _until_it_ends(pid: int, timeout: float) -> None:
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return  # a kernel that has none to give
    try:
        waiting = select.poll()
        waiting.register(fd, select.POLLIN)
        waiting.poll(max(timeout, 0.0) * 1000)  # a negative one would be none
    finally:
        os.close(fd)


_DETACHED: set[subprocess.Popen[bytes]] = set()


def reap() -> None:
    """Collect detached programs that ended while we live, so that none stays a zombie."""
    for process in tuple(_DETACHED):  # another thread may start one meanwhile: only what ended is taken out
        if process.poll() is not None:
            _DETACHED.discard(process)


def _tell(process: subprocess.Popen[bytes], grace_s: float) -> None:
    """Ask a program and all that it started to end, and wait for it a while."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(grace_s)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            stream.close()
