"""Names that can be computed, so that a half-finished action is found again instead of done twice.

Nothing here looks at the world. Text that comes from outside becomes a `TaskId` only through `task_id`.
"""

from __future__ import annotations

import hashlib
import re
from enum import StrEnum
from functools import cache
from typing import NewType

from msgspec import Struct

TaskId = NewType("TaskId", str)
BranchName = NewType("BranchName", str)
Sha = NewType("Sha", str)
PrNumber = NewType("PrNumber", int)

_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
BRANCH_PREFIX = "agent/"
PULL_REQUEST_REFS = "refs/reconcile/pr/"
REVIEW_REFS = "refs/reconcile/review/"  # what was answered here about a forge's pull requests
CHECK_REFS = "refs/reconcile/check/"
LANDING_REFS = "refs/reconcile/landing/"
SCRIPTS = "#scripts"  # behind the path of a package.json that is protected: only this part of it
SALVAGE_REFS = "refs/reconcile/salvage/"
RUN_REFS = (
    "refs/reconcile/run/"  # on a remote: what is known of the newest run of a task, or a check, that is elsewhere
)
UNDELIVERED_REFS = "refs/reconcile/undelivered/"  # on a remote: what such a run had when it was given up
DROPPED_REFS = "refs/reconcile/dropped/"  # saved work that nobody asked for, for as long again

_CHECK_KEY = "check@"

TASK_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
MANIFEST_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
TASK_KEY = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_SHORT_SHA = re.compile(r"[0-9a-f]{12}")
_KEY_LINE = re.compile(r"(?:\A|\n)reconcile-key: (?P<manifest>[a-z0-9-]{1,63})(?:/(?P<key>[a-z0-9-]{1,40}))?\s*\Z")
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"


def is_sha(text: str) -> bool:
    """True for what is the whole name of a git object."""
    return _SHA.fullmatch(text) is not None


def usable(task: str) -> bool:
    """True when `task` may become a branch, a folder and an argument of a program.

    >>> usable("bd-17"), usable("../x"), usable("--force"), usable("x.lock")
    (True, False, False, False)
    """
    return bool(TASK_ID.fullmatch(task)) and ".." not in task and not task.endswith((".", ".lock"))


def usable_subject(name: str) -> bool:
    """The same of what a run is about: a task, a tree under some checks, or a task at a head.

    >>> usable_subject("bd-17"), usable_subject("bd-17@3f2c1aa90b7e"), usable_subject("bd-17@../..."), usable_subject("@1")
    (True, True, False, False)
    """
    task, at, head = name.partition("@")
    return usable(task) and (not at or bool(_SHORT_SHA.fullmatch(head)))


def usable_key(name: str) -> bool:
    """The same of what a run elsewhere is called on its remote: by its task, or by the check that it is.

    >>> usable_key("bd-17"), usable_key("check@4b825dc642cb-01709241"), usable_key("check@../x"), usable_key("x@y")
    (True, True, False, False)
    """
    return usable(name.removeprefix(_CHECK_KEY))


@cache
def us_at(host: str) -> str:
    """Whom a task is assigned to while the program at this host works on it.

    >>> us_at("mona")
    'reconcile@mona'
    """
    return f"reconcile@{host}"


def branch_of(task: TaskId) -> BranchName:
    """The one branch on which work for `task` happens.

    >>> branch_of(TaskId("bd-17"))
    'agent/bd-17'
    """
    return BranchName(f"{BRANCH_PREFIX}{task}")


def task_of(branch: str) -> TaskId | None:
    """The task whose branch this is; None for a branch that is not ours.

    >>> task_of("agent/bd-17"), task_of("main")
    ('bd-17', None)
    """
    task = branch.removeprefix(BRANCH_PREFIX)
    return TaskId(task) if task != branch and usable(task) else None


def run_manifest(epic: TaskId | None) -> str:
    """What the manifest is called that `run` makes up for an epic, or for every task.

    >>> run_manifest(None), run_manifest(TaskId("ghtml-a1b2")), run_manifest(TaskId("X.1"))
    ('run-all', 'run-ghtml-a1b2', 'run-x-1-24bc1d')
    """
    if epic is None:
        return "run-all"
    plain = re.sub(r"[^a-z0-9-]+", "-", epic.lower()).strip("-")
    if plain == epic and plain != "all" and len(plain) <= 40:
        return f"run-{plain}"
    return f"run-{plain[:40]}-{hashlib.sha256(epic.encode()).hexdigest()[:6]}"


class RunKind(StrEnum):
    """What a run is for."""

    WORK = "work"
    REVIEW = "review"
    CHECK = "check"


class RunId(Struct, frozen=True, order=True, gc=False):
    """One supervised process: the n-th run of a kind on a subject.

    >>> str(RunId(RunKind.WORK, "bd-17", 3))
    'work/bd-17/3'
    >>> RunId.parse("work/bd-17/3").n
    3
    """

    kind: RunKind
    subject: str
    n: int

    def __str__(self) -> str:
        return f"{self.kind}/{self.subject}/{self.n}"

    @classmethod
    def parse(cls, text: str) -> RunId:
        """The run that `str` printed as `text`. Raises ValueError for anything else."""
        kind, subject, n = text.split("/")
        if not usable_subject(subject) or not n.isdecimal():
            raise ValueError(f"not a run id: {text!r}")
        return cls(RunKind(kind), subject, int(n))


def remote_key(run: RunId, us: str) -> TaskId:
    """What a run is called on its remote. All of a task's runs share one ref, whichever repository they are of; a check has one of
    its own in that of `us`, which no task's can be: of what others have tested we know nothing.

    >>> remote_key(RunId(RunKind.WORK, "bd-17", 3), "0c1d2e3f4a5b")
    'bd-17'
    >>> remote_key(RunId(RunKind.CHECK, "4b825dc642cb-01709241", 1), "0c1d2e3f4a5b")
    'check@0c1d2e3f4a5b-4b825dc642cb-01709241'
    """
    return TaskId(run.subject if run.kind is RunKind.WORK else f"{_CHECK_KEY}{us}-{run.subject}")


def check_of(key: str, us: str, n: int) -> RunId | None:
    """The n-th check that is called so on its remote; None for what is none of ours.

    >>> str(check_of("check@0c1d2e3f4a5b-4b825dc642cb-01709241", "0c1d2e3f4a5b", 1)), check_of("bd-17", "0c1d2e3f4a5b", 1)
    ('check/4b825dc642cb-01709241/1', None)
    """
    subject = key.removeprefix(f"{_CHECK_KEY}{us}-")
    return RunId(RunKind.CHECK, subject, n) if subject != key else None


def check_subject(tree: Sha, commands: tuple[str, ...], env: tuple[tuple[str, str], ...] = ()) -> str:
    """The subject of a check run: exactly this tree under exactly these commands, given this environment.

    >>> check_subject(Sha("4b825dc642cb6eb9a060e54bf8d69288fbee4904"), ("just check",))
    '4b825dc642cb-01709241'
    """
    given = (f"{name}={value}" for name, value in env)
    digest = hashlib.sha256("\0".join((*commands, *given)).encode()).hexdigest()
    return f"{tree[:12]}-{digest[:8]}"


def review_subject(task: TaskId, head: Sha) -> str:
    """The subject of the reviews of one head of a task's branch.

    >>> review_subject(TaskId("bd-17"), Sha("3f2c1aa90b7e5d44c0de3f2c1aa90b7e5d44c0de"))
    'bd-17@3f2c1aa90b7e'
    """
    return f"{task}@{head[:12]}"


def task_for_key(prefix: str, manifest: str, key: str | None) -> TaskId:
    """The id of the task that a manifest declares under `key` (None: the epic made for its tasks).

    The last part always holds a digit, because Beads takes a part without one for a word of the prefix.

    >>> task_for_key("demo", "feature-x", "parser") == task_for_key("demo", "feature-x", "parser")
    True
    """
    number = int.from_bytes(hashlib.sha256(key_line(manifest, key).encode()).digest()[:8])
    letters = ""
    for _ in range(5):
        number, digit = divmod(number, 36)
        letters += _BASE36[digit]
    return TaskId(f"{prefix}-{letters}{number % 10}")


def key_line(manifest: str, key: str | None) -> str:
    """The last line of a declared task's description, by which it is found again.

    >>> key_line("feature-x", "parser"), key_line("feature-x", None)
    ('reconcile-key: feature-x/parser', 'reconcile-key: feature-x')
    """
    return f"reconcile-key: {manifest}" + (f"/{key}" if key else "")


def split_key(description: str) -> tuple[str, tuple[str, str | None] | None]:
    """A description without its key line, and the (manifest, key) that the line names.

    >>> split_key("Do it.\\n\\nreconcile-key: x/parser")
    ('Do it.', ('x', 'parser'))
    >>> split_key("Do it.")
    ('Do it.', None)
    """
    found = _KEY_LINE.search(description)
    if not found:
        return description, None
    return description[: found.start()].rstrip(), (found["manifest"], found["key"])


def with_key(description: str, manifest: str, key: str | None) -> str:
    """A description that ends in the key line of (manifest, key)."""
    return f"{description.rstrip()}\n\n{key_line(manifest, key)}".lstrip()


def dropped_ref(task: TaskId, n: int) -> str:
    """The ref of saved work that nobody asked for."""
    return f"{DROPPED_REFS}{task}/{n}"


def salvage_ref(task: TaskId, n: int) -> str:
    """Where the n-th piece of saved work of `task` is kept."""
    return f"{SALVAGE_REFS}{task}/{n}"


def pull_request_ref(number: PrNumber) -> str:
    """Where the local forge keeps a pull request."""
    return f"{PULL_REQUEST_REFS}{number}"
