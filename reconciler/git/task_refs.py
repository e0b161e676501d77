"""The refs of tasks on a remote: what is known there of the newest run of each. Every write is a compare-and-swap.

A commit of one holds `record.json` beside the files of the run; `runners/courier.py` says who writes what. Whoever reserves a
run, or takes it away, does so here. Nothing is decided.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from reconciler.git import objects
from reconciler.git.ancestry import contains
from reconciler.git.commands import Git
from reconciler.git.identity import OUR_VARIABLES
from reconciler.git.refusals import GitError
from reconciler.git.run_reports import Reported, reported
from reconciler.model.errors import ChangedError, PermanentError, TemporaryError
from reconciler.model.names import RUN_REFS, UNDELIVERED_REFS, Sha, TaskId, is_sha, usable_key

LOOK_S, FETCH_S, PUSH_S = 20.0, 600.0, 120.0
FRESH_S = 5.0  # two who look within one tick look once
SILENT_S = 30.0  # for so long who has nothing that lives there does not wait again for a remote that did not answer
_TIMES = 5  # how often it is looked again, where a ref moved between two questions
_QUIET = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules")
_TIPS = 8
_NEAR = "refs/near/run-"
_AT = "machines-id.at"  # where the repository was that has this name
_OWNER = re.compile(_NEAR + r"(\d+)-")


class TaskRefs:
    """The refs of one remote. `url` is what both sides reach. Raises TemporaryError when it does not answer."""

    def __init__(self, git: Git, url: str) -> None:
        self._git, self.url = git, url
        self._seen: Mapping[TaskId, Reported] = {}
        self._unread: dict[TaskId, Sha] = {}  # refs that hold no record: somebody else's, or damaged
        self._looked_at: float | None = None
        self._silent: tuple[float, TemporaryError] | None = None
        self._swept = False
        self.undelivered: Mapping[str, Sha] = {}

    def look(self, *, fresh: bool = True) -> Mapping[TaskId, Reported]:
        """Every task, and every check, that has a ref. One question where nothing moved; all that did is fetched and read together."""
        if not fresh and self._looked_at is not None and time.monotonic() - self._looked_at < FRESH_S:
            return self._seen
        if not fresh and self._silent and time.monotonic() - self._silent[0] < SILENT_S:
            raise self._silent[1]
        try:
            self._seen = self._looked()
        except TemporaryError as error:
            self._silent = time.monotonic(), error
            raise
        self._silent, self._looked_at = None, time.monotonic()
        return self._seen

    def _looked(self) -> Mapping[TaskId, Reported]:
        for _ in range(_TIMES):
            listed = self._listed(RUN_REFS + "*", UNDELIVERED_REFS + "*")
            heads = {TaskId(ref.removeprefix(RUN_REFS)): at for ref, at in listed.items() if ref.startswith(RUN_REFS)}
            heads = {task: at for task, at in heads.items() if usable_key(task)}
            moved = {task: at for task, at in heads.items() if not self._knows(task, at)}
            if moved:
                self._fetch(RUN_REFS + task for task in moved)
            read = self._read(moved)
            self._seen = {task: each for task, each in {**self._seen, **read}.items() if task in heads}
            if all(self._knows(task, at) for task, at in heads.items()):
                self.undelivered = {ref: at for ref, at in listed.items() if ref.startswith(UNDELIVERED_REFS)}
                return self._seen
        raise TemporaryError(f"the runs on {self.url} move faster than they can be read")

    def one(self, task: TaskId) -> Reported | None:
        """What the ref of one task says now; None where it has none."""
        for _ in range(_TIMES):
            at = self._listed(RUN_REFS + task).get(RUN_REFS + task)
            if at is None:
                return None
            if not self._knows(task, at):
                self._fetch([RUN_REFS + task])
                self._seen = {**self._seen, **self._read({task: at})}
            found = self._seen.get(task)
            if found and found.at == at:
                return found
            if self._unread.get(task) == at:
                hint = f"where nobody needs what is there, delete it: git push REMOTE --delete {RUN_REFS}{task}"
                raise ChangedError(f"{RUN_REFS}{task} holds no record of a run", hint=hint)
        raise ChangedError(f"{RUN_REFS}{task} moves")

    def files(self, reported: Iterable[Reported], *names: str) -> Mapping[TaskId, Mapping[str, bytes]]:
        """These files of what was reported, as far as it holds them: read in one go."""
        wanted = [(each, name) for each in reported for name in names]
        found = objects.read(self._git, *(Sha(f"{each.at}:{name}") for each, name in wanted)) if wanted else []
        made: dict[TaskId, dict[str, bytes]] = {}
        for (each, name), stored in zip(wanted, found, strict=True):
            if stored.kind == "blob":
                made.setdefault(each.task, {})[name] = stored.content
        return made

    def has(self, commit: Sha) -> bool:
        """True where a commit is in our repository."""
        return self._git.objects("cat-file", "-e", f"{commit}^{{commit}}", ok=(0, 1, 128)).code == 0

    def bring(self, ref: str, commit: Sha) -> None:
        """Have what a ref names here. Raises ChangedError where it moved on."""
        if not self.has(commit):
            self._fetch([ref])
            if not self.has(commit):
                raise ChangedError(f"{ref} is not at {commit[:12]} any more")

    def carried(self, old: Sha, wip: Sha, new: Sha) -> Sha | None:
        """What is not committed on `old`, as it is on `new`, which came after it; None where git can't tell by itself."""
        if not contains(self._git, new, old):
            return None
        merged = self._git.objects("merge-tree", "--write-tree", "--no-messages", "-z", new, wip, ok=(0, 1))
        tree = merged.out.partition(b"\0")[0].decode("ascii", "replace")
        if merged.code or not is_sha(tree):
            return None
        return self._commit(tree, [new], b"reconcile: what was not committed\n")

    def made(self, record: Mapping[str, Any], parents: Iterable[Sha]) -> Sha:
        """A commit of a record."""
        content = json.dumps(record).encode()
        blob = self._git.objects("hash-object", "-w", "--stdin", stdin=content).text.strip()
        tree = self._git.objects("mktree", stdin=f"100644 blob {blob}\trecord.json\n".encode()).text.strip()
        return self._commit(tree, parents, b"reconcile: record of a run\n")

    def _commit(self, tree: str, parents: Iterable[Sha], message: bytes) -> Sha:
        onto = [part for parent in parents for part in ("-p", parent)]
        made = self._git.objects(
            *("commit-tree", tree, *onto),
            stdin=message,
            config=("commit.gpgSign=false",),
            env=OUR_VARIABLES,
        )
        return Sha(made.text.strip())

    def swap(self, ref: str, old: Sha | None, new: Sha | None, lock: int | None = None) -> None:
        """Move a ref from `old` (None: it must not exist) to `new` (None: delete it). Done already is done.

        Raises ChangedError where it is elsewhere, TemporaryError where nobody can tell. A git that outlives us holds `lock`.
        """
        lease = f"--force-with-lease={ref}:{old or ''}"
        how = ("--quiet", "--no-verify", "--recurse-submodules=no", lease)
        self._looked_at = None  # whatever becomes of it, the last look is no longer how it is
        try:
            self._ask("push", *how, "--", self.url, f"{new or ''}:{ref}", timeout_s=PUSH_S, lock=lock)
        except TemporaryError as error:
            # The answer may have been lost on its way back: only the remote knows.
            now = self._listed(ref).get(ref)
            if now == new:
                return
            if now == old:
                raise
            raise ChangedError(f"{ref} is at {now[:12] if now else 'nothing'}") from error

    def _knows(self, task: TaskId, at: Sha) -> bool:
        seen = self._seen.get(task)
        return (seen is not None and seen.at == at) or self._unread.get(task) == at

    def _listed(self, *patterns: str) -> Mapping[str, Sha]:
        rows = self._ask("ls-remote", "--", self.url, *patterns, timeout_s=LOOK_S).splitlines()
        pairs = (row.split("\t") for row in rows if "\t" in row)
        return {ref: Sha(at) for at, ref in pairs if is_sha(at)}

    def _fetch(self, refs: Iterable[str]) -> None:
        # Objects only, and into no ref that another git of ours could hold the lock of. What we have is named by refs that are
        # there for that alone: else the whole history would be sent.
        self._sweep()
        near = f"{_NEAR}{os.getpid()}-{os.urandom(4).hex()}"
        known = self._here({*(seen.head for seen in list(self._seen.values())[-_TIPS:]), *self._heads()})
        made = "".join(f"create {near}/{n} {tip}\n" for n, tip in enumerate(known))
        self._git.objects("update-ref", "--stdin", stdin=made.encode())
        try:
            self._ask("fetch", *_QUIET, "--", self.url, *refs, timeout_s=FETCH_S)
        finally:
            gone = "".join(f"delete {near}/{n}\n" for n in range(len(known)))
            self._git.objects("update-ref", "--stdin", stdin=gone.encode())

    def _heads(self) -> list[Sha]:
        newest = ("--sort=-committerdate", f"--count={_TIPS}", "--format=%(objectname)")
        return [Sha(line) for line in self._git.refs("for-each-ref", *newest, "refs/heads").text.split()]

    def _here(self, commits: Iterable[Sha]) -> list[Sha]:
        asked = "".join(f"{commit}\n" for commit in commits).encode()
        rows = self._git.objects("cat-file", "--batch-check", stdin=asked).text.splitlines()
        return [Sha(row.split(" ")[0]) for row in rows if row.split(" ")[1:2] == ["commit"]]

    def _sweep(self) -> None:
        """Take away what killed programs left of this, once."""
        if self._swept:
            return
        self._swept = True
        listed = self._git.objects("for-each-ref", "--format=%(refname)", _NEAR.rpartition("/")[0]).text.split()
        dead = [ref for ref in listed if (found := _OWNER.match(ref)) and not _lives(int(found[1]))]
        if dead:
            gone = "".join(f"delete {ref}\n" for ref in dead)
            self._git.objects("update-ref", "--stdin", stdin=gone.encode())

    def _read(self, moved: Mapping[TaskId, Sha]) -> Mapping[TaskId, Reported]:
        names = [Sha(f"{at}:record.json") for at in moved.values()]
        found = dict(zip(moved, objects.read(self._git, *names), strict=True)) if names else {}
        now, read = time.monotonic(), {}
        for task, stored in found.items():
            if stored.kind == "missing":
                if self.has(moved[task]):
                    self._unread[task] = moved[task]
                continue  # it moved on between the two questions
            if known := reported(task, moved[task], stored.content, now):
                read[task] = known
            else:
                self._unread[task] = moved[task]
        return read

    def _ask(self, *args: str, timeout_s: float, lock: int | None = None) -> str:
        env = {**self._git.reaching(self.url, push=args[0] == "push"), "GIT_TERMINAL_PROMPT": "0"}
        try:
            return self._git.objects(*args, timeout_s=timeout_s, env=env, lock=lock).text
        except GitError as error:
            raise TemporaryError(f"git {args[0]} failed: {error.finished.complaint}", delay=30.0) from error


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def identity_of(state: Path) -> str:
    """What tells this repository from others that use the same remote; made when it is asked for first, and again in a copy."""
    path = state / "machines-id"
    found = _identity(path)
    if found and not _copied(state, found):
        return found
    if found:  # made of what all who ask at this moment know
        made = hashlib.sha256(f"{found} {state} {os.stat(state).st_ino}".encode()).hexdigest()[:12]
        _written(path, made, os.replace)
        _written(state / _AT, str(state), os.replace)
        return made
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        _written(path, os.urandom(6).hex(), os.link)  # the one that comes first
    _written(state / _AT, str(state), os.replace)
    return _identity(path)


def _copied(state: Path, us: str) -> bool:
    """True where the repository was copied from one that is still there: what runs elsewhere by that name is of the other."""
    try:
        at = (state / _AT).read_text("utf-8", "replace").strip()
    except FileNotFoundError:
        at = ""
    if at == str(state):
        return False
    if at and Path(at) != state and _identity(Path(at) / "machines-id") == us and not _same(Path(at), state):
        return True
    _written(state / _AT, str(state), os.replace)  # it was moved
    return False


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _written(path: Path, text: str, how: Callable[[Path, Path], None]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    temporary.write_text(f"{text}\n")
    try:
        how(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _identity(path: Path) -> str:
    """What is written there; empty where nothing is. An agent can write there, and it becomes a part of paths."""
    try:
        found = path.read_text("utf-8", "replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    if not re.fullmatch(r"[0-9a-f]{12}", found):
        raise PermanentError(f"{path} is damaged", hint="remove it; what runs elsewhere is then somebody else's")
    return found
