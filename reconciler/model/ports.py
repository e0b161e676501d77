"""The outside world as the rest of the program sees it: small protocols over plain values.

Every call may raise TemporaryError (look again later), ChangedError (look again at once) or PermanentError. Every write
is idempotent: repeated after a crash or a lost answer it finds what the last try left, and is a compare-and-swap where
somebody else may have come first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from reconciler.model.desired import AgentSpec, EpicSpec, InlineTask, MergeMethod, SquashMessage
from reconciler.model.errors import ReconcileError
from reconciler.model.names import BranchName, PrNumber, RunId, Sha, TaskId
from reconciler.model.observed import (
    Base,
    Branch,
    Candidate,
    Conflict,
    Graph,
    Landing,
    Occupant,
    PullRequest,
    RetryPoint,
    Run,
    Salvage,
    StopWhy,
    Worktree,
)
from reconciler.model.report import Report

# --- tracker -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """A task to be made under a given id."""

    title: str
    type: str = "task"
    description: str = ""
    acceptance: str = ""
    priority: int = 2
    labels: frozenset[str] = frozenset()
    parent: TaskId | None = None
    blockers: tuple[TaskId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One compare-and-swap on one task. What is None or empty stays as it is.

    `create` makes the task unless it exists already (then that part does nothing). `expect_status` and
    `expect_assignee` name the values under which the rest is written; with others nothing is, and the answer is a
    ChangedError. `note` is added to the notes on a line of its own, once: a note that already ends so is left.
    """

    task: TaskId
    create: NewTask | None = None
    expect_status: frozenset[str] | None = None
    expect_assignee: frozenset[str] | None = None
    status: str | None = None
    assignee: str | None = None
    title: str | None = None
    description: str | None = None
    acceptance: str | None = None
    priority: int | None = None
    add_labels: frozenset[str] = frozenset()
    remove_labels: frozenset[str] = frozenset()
    add_blockers: frozenset[TaskId] = frozenset()
    remove_blockers: frozenset[TaskId] = frozenset()
    note: str = ""
    close_reason: str = ""
    closed_by_session: str = ""


class Tracker(Protocol):
    """Where tasks live. Dates are UTC."""

    def tasks(self) -> Graph:
        """Every task of the store, closed ones too, by id; also those whose id is unusable."""
        ...

    def prefix(self) -> str:
        """What ids made by this tracker begin with, without the dash."""
        ...

    def write(self, changes: Sequence[Change]) -> Sequence[ReconcileError | None]:
        """Write all changes at once; for each, None or why it was not written. Raises when nothing could be."""
        ...


# --- workspaces --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A worktree that is ready to be worked in. `ready_marker`: a file that a run touches once its set-up commands have
    succeeded; `set_up`: it is there. `lock_file`: what git-locks the worktree for us, taken away when the run ends."""

    path: str
    head: Sha
    ready_marker: str
    set_up: bool = False
    lock_file: str = ""


class Workspaces(Protocol):
    """Git worktrees, one per task at `<root>/<task>` on `agent/<task>`, and one per check at `<root>/.checks/<subject>`."""

    def worktrees(self, root: str, tasks: Iterable[TaskId]) -> Mapping[TaskId, Worktree]:
        """What stands at the places of these tasks, and of every other worktree of ours under `root`."""
        ...

    def check_worktrees(self, root: str) -> Mapping[str, str]:
        """The path of every check worktree, by subject."""
        ...

    def branches(self, base: Sha) -> Mapping[TaskId, Branch]:
        """Every `agent/<task>` branch, measured against `base`."""
        ...

    def broken_branches(self) -> Mapping[TaskId, str]:
        """Tasks whose branch the last look at `branches` left out because it can't be read: why, and what fixes it."""
        ...

    def lacks(self, base: Sha, path: str) -> bool:
        """True where this commit does not hold the file."""
        ...

    def salvages(self) -> tuple[Salvage, ...]:
        """Everything that was saved, oldest first; what was dropped too."""
        ...

    def time_passes(self, now: datetime) -> None:
        """Count the time since this was called last to the age of all that was saved: nothing at least, a day at most."""
        ...

    def create(self, task: TaskId, spec: EpicSpec, base: Sha) -> Place:
        """Make the worktree of `task`, or repair a half-made one, or find the one that is there.

        A new branch starts at `base`; one that exists is checked out as it is. The worktree is git-locked until
        `unlock`. Raises PermanentError for a place that is taken.
        """
        ...

    def create_check(self, subject: str, root: str, commit: Sha) -> str:
        """A clean detached worktree of `commit` for a check; its path. One that is there is made again."""
        ...

    def unlock(self, task: TaskId, root: str) -> None:
        """Take our git lock off a worktree, so that people's `git worktree remove` works."""
        ...

    def salvage(self, task: TaskId, root: str) -> Salvage | None:
        """Save what no ref holds: changed and untracked files, and commits of a head that is off its branch.

        Verified before it returns. None when there is nothing to save. The same content is saved once.
        """
        ...

    def remove(self, task: TaskId, root: str) -> None:
        """Remove the worktree of `task`; what no ref holds is salvaged first. Raises PermanentError for a nested
        repository, ChangedError when it changes while it is being saved."""
        ...

    def remove_check(self, subject: str, root: str) -> None:
        """Remove a check's worktree and whatever the check left in it."""
        ...

    def delete_branch(self, task: TaskId, expected: Sha) -> None:
        """Delete `agent/<task>` if its head still is `expected`. Raises ChangedError otherwise."""
        ...

    def drop_salvage(self, salvage: Salvage) -> None:
        """Drop saved work, if it still is this commit; what was dropped before is forgotten."""
        ...

    def take(self, task: TaskId, root: str, head: Sha) -> None:
        """Bring the branch of `task` to `head`, on which its worktree went on without it, and the worktree back to it."""
        ...

    def restore(self, task: TaskId) -> BranchName:
        """Bring the newest saved work of `task` back: as its branch, or as `restored/<task>-<n>` where that is taken."""
        ...


# --- runner ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotBound:
    """The bound under which a run may start: fewer than `most` runs of `manifest` alive, counted at that moment.

    The number is read again from the recorded manifest inside the gate; `most` is what it is where none is recorded.
    """

    manifest: str
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """Everything a run needs to go on without us.

    `steps` run one after the other, each an argv; the first that fails ends the run. The first `setup_steps` of them
    are set-up: a failure there is `Cause.SETUP`, and once they are over `ready_marker` is touched. `env` is added to
    the scrubbed environment of the caller.
    """

    id: RunId
    task: TaskId
    manifest: str
    steps: tuple[tuple[str, ...], ...]
    cwd: str
    setup_steps: int = 0
    ready_marker: str = ""
    unlock: str = ""  # a file that is removed once nothing of the run is left
    env: Mapping[str, str] = field(default_factory=dict)
    pass_env: tuple[str, ...] = ()
    prompt: str = ""
    timeout_s: float = 7200.0
    stuck_after_s: float = 0.0  # 0: silence is no reason to stop it
    slot: SlotBound | None = None
    attempt: int = 1
    why: str = "Ready"
    baseline: Sha | None = None
    base_tip: Sha | None = None
    tree: Sha | None = None  # what a check is about: its subject names only the beginning of it
    heard: tuple[str, ...] = ()  # the comments that its prompt holds
    agent: str = ""  # the kind of agent that the last step is; empty for a check
    prompt_on_stdin: bool = False  # of the last step; every other standard input is empty


class Runner(Protocol):
    """Where runs live. A run is alive while a kernel lock of it is held or anything of it is found."""

    def runs(self) -> Mapping[RunId, Run]:
        """Every run that left a folder or is alive. A run that can't be judged counts as alive."""
        ...

    def since(self) -> Mapping[TaskId, RetryPoint]:
        """For tasks that were retried or reopened: from where runs and landings count."""
        ...

    def occupants(self, paths: Iterable[str]) -> Mapping[str, Occupant]:
        """For each of these folders that a process has its working directory in, and no run of ours explains: one."""
        ...

    def missing(self, spec: EpicSpec) -> str | None:
        """Why this manifest's agent can't be started here; None when it can."""
        ...

    def lacking(self, spec: EpicSpec, programs: Iterable[str]) -> tuple[str, ...]:
        """Those of these programs that are not on the PATH of this manifest's runs."""
        ...

    def start(self, spec: RunSpec) -> None:
        """Start a run, detached. Raises ChangedError when its task or its slot is held or its number is used."""
        ...

    def stop(self, run: RunId, why: StopWhy) -> None:
        """End a run and everything it started: TERM, then KILL. Returns once it has been asked to; look again."""
        ...

    def prompt_path(self, run: RunId) -> str:
        """Where the prompt of a run stands once it is started."""
        ...

    def log_tail(self, run: RunId, most: int = 8000) -> str:
        """The last `most` characters that a run printed, as people read them; empty when it printed nothing."""
        ...

    def mark_since(self, task: TaskId, base: Sha | None, at: datetime) -> None:
        """Count runs and landings of `task` from here on."""
        ...


# --- forge -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LandOrder:
    """A tested tree and how it goes onto the base. `expected` was judged; anything else is refused."""

    task: TaskId
    number: PrNumber
    title: str
    body: str
    expected: Candidate
    base: str
    method: MergeMethod
    says: SquashMessage = SquashMessage.BOTH
    push: bool = False


class Forge(Protocol):
    """Where pull requests live and base branches move."""

    def base(self, name: str, *, push: bool = False, look: bool = True) -> Base:
        """A base branch with its checkout, and its remote where `push`. Raises PermanentError when it is missing.

        What is dirty in the checkout is only read when asked to `look`: something may land.
        """
        ...

    def pull_requests(self) -> Mapping[TaskId, PullRequest]:
        """The newest pull request of every task that has one. One whose branch is gone reads as closed and declined."""
        ...

    def damaged(self) -> Mapping[PrNumber, str]:
        """Pull requests of which the last look could read nothing, also not whose they are: why, and what fixes it."""
        ...

    def landings(self, base: str) -> Sequence[Landing]:
        """Every commit on the base that carries our trailers, oldest first."""
        ...

    def candidate(self, base: Sha, head: Sha, *, exact: bool = True) -> Candidate | Conflict:
        """What landing `head` on `base` makes of it. Writes nothing to the repository; cached by the pair.

        Where it need not be exact, it may be that of an older tip of the base, since which nobody but us has landed
        anything: each landing would make those of all other pull requests again. Its `base` tells.
        """
        ...

    def candidate_commit(self, order: LandOrder) -> Sha:
        """The commit that would land, written but on no branch: the same sha each time. Its tree is the judged one."""
        ...

    def open(self, task: TaskId, head: Sha, title: str, body: str, *, base: str = "") -> PrNumber:
        """Open the pull request of `task`, or find the open one. Raises ChangedError when the branch is elsewhere.

        Where it lives elsewhere, the branch is pushed. `base`: what it is to land on; else the first of all bases.
        """
        ...

    def contains(self, base: Sha, commit: Sha) -> bool:
        """True when `commit` is an ancestor of `base`."""
        ...

    def close(self, number: PrNumber, *, declined: bool, merged: bool = False) -> None:
        """Close a pull request: as merged, as declined by a person, or because there is nothing left to it."""
        ...

    def approve(self, number: PrNumber, head: Sha) -> None:
        """Record a person's approval of one head."""
        ...

    def reject(self, number: PrNumber, head: Sha, text: str) -> None:
        """Record a person's 'no' to one head."""
        ...

    def merge_now(self, number: PrNumber, head: Sha) -> None:
        """Record a person's word that one head is to be merged now. A later 'no' to it takes that back."""
        ...

    def land(self, order: LandOrder) -> Sha:
        """Move the base to the tested tree by compare-and-swap and bring its checkout along; the landed commit.

        Raises ChangedError when base, head or tree are not the judged ones, TemporaryError when the checkout is in
        the way. After it returns the landed tree has been compared with the judged one.
        """
        ...

    def follow(self, base: str) -> None:
        """See to what a killed landing left, and bring the local base to what landed elsewhere."""
        ...

    def follow_branch(self, task: TaskId, head: Sha) -> None:
        """Bring the branch of `task` here, and its worktree, to the head that was pushed to the forge.

        Commits that only the branch here has are saved first. Raises TemporaryError when files are in the way.
        """
        ...

    def update(self, number: PrNumber, head: Sha) -> None:
        """Have the base merged into a pull request whose head still is `head`."""
        ...

    def rerun(self, number: PrNumber, head: Sha, workflows: Sequence[int]) -> None:
        """Have checks of a pull request whose head is `head` run again: once per head, whatever becomes of the answer.

        Raises ChangedError where the forge does not: their verdict stands then.
        """
        ...

    def drop_branch(self, task: TaskId, head: Sha) -> None:
        """Delete the branch of `task` on the forge where it still is at `head` and no open pull request builds on it."""
        ...

    def push_base(self, base: str) -> None:
        """Push the landed base to its remote, with a lease."""
        ...

    def catch_up(self, base: str) -> None:
        """Bring a checkout of the base forward that a crash left behind its moved branch."""
        ...


# --- the rest ----------------------------------------------------------------------------------------------


class Records(Protocol):
    """What was recorded about manifests, beside the manifests themselves."""

    def applied(self, manifest: str, task: InlineTask) -> None:
        """Remember an inline task as it was last written to the tracker."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What one run of an agent is about. `values` are the placeholders: task, epic, branch, base, worktree, attempt,
    prompt_file. `session`: an older session of its own to go on with. `usd`: the most that it may spend."""

    values: Mapping[str, str]
    model: str | None = None
    session: str | None = None
    usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """How an agent is started: `argv`, never by a shell; `env` is set for it, `pass_env` kept of the caller's although
    it looks secret. With `prompt_on_stdin` its standard input is the prompt, else it is empty. `before`: what is run in the
    worktree first, each an argv."""

    argv: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    pass_env: tuple[str, ...] = ()
    prompt_on_stdin: bool = False


class Agent(Protocol):
    """A coding agent's command line."""

    @property
    def program(self) -> str | None:
        """The program that must be there; None where the manifest names it."""
        ...

    def unfit(self, env: Mapping[str, str], *, root: bool) -> str | None:
        """Why the program would refuse to work with this environment, as this user; None when it would not."""
        ...

    def invocation(self, spec: AgentSpec, given: Assignment) -> Invocation:
        """How a run of it is started."""
        ...

    def report(self, log: str, ended: datetime | None = None) -> Report | None:
        """What a run says of itself in its log, which may lack its middle or its end; None for one that says nothing.

        `ended`: when it did, for what it says of times; None where that is not known.
        """
        ...

    def shown(self, log: str) -> Iterator[str]:
        """A log, or a piece of one, as lines for people."""
        ...


class Prompts(Protocol):
    """Where prompt templates come from."""

    def template(self, spec: EpicSpec) -> str:
        """The text of the manifest's template, or of the one that ships with the program."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything an action may touch."""

    tracker: Tracker
    workspaces: Workspaces
    runner: Runner
    forge: Forge
    records: Records
    agents: Mapping[str, Agent]  # by kind
    prompts: Prompts
