"""What runs: attempts, reviews and checks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from msgspec import Struct, field

from reconciler.model.desired import EpicSpec
from reconciler.model.names import RunId, Sha, TaskId
from reconciler.model.observed import (
    Occupant,
    RetryPoint,
    Room,
    Run,
    StopWhy,
)
from reconciler.model.venue import Venue


class SlotBound(Struct, frozen=True, kw_only=True):
    """The bound under which a run may start: fewer than `most` runs of `manifest` alive, counted at that moment.

    The number is read again from the recorded manifest inside the gate; `most` is what it is where none is recorded.
    """

    manifest: str
    most: int


class StepLimit(Struct, frozen=True, kw_only=True):
    """What a step may take, and how often it is started again where it failed. None: what is left of the run's time."""

    timeout_s: float | None = None
    retries: int = 0


class RunSpec(Struct, frozen=True, kw_only=True):
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
    limits: tuple[StepLimit, ...] = ()  # of each step; none: they have the run's alone
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
    heads: tuple[Sha, ...] = ()  # what a check has merged into the base, the lowest first
    left_out: tuple[int, ...] = ()  # which of its manifest's checks it leaves out, from 0
    below: Sha | None = None  # the tree that it is without the topmost of them; None: the base's own
    judged: str = ""  # under what a review judges; which review asked for an attempt
    terms: tuple[str, ...] = ()  # under what a review judges, a word for each part of it
    heard: tuple[str, ...] = ()  # the comments that its prompt holds
    agent: str = ""  # the kind of agent that the last step is; empty for a check
    prompt_on_stdin: bool = False  # of the last step; every other standard input is empty
    at: Venue = Venue()  # where it runs; its `cwd` is there
    commit: Sha | None = None  # what the checkout of a check holds, where its node makes it


class Runner(Protocol):
    """Where runs live. A run is alive while a kernel lock of it is held or anything of it is found."""

    def runs(self, open_tasks: Collection[TaskId] | None = None) -> Mapping[RunId, Run]:
        """Every run that left a folder or is alive. A run that can't be judged counts as alive.

        `open_tasks`: those for which anybody may start a run at any time (None: all). Of the others, whose runs are over,
        what others than us do may be seen a minute later.
        """
        ...

    def since(self, open_tasks: Collection[TaskId] | None = None) -> Mapping[TaskId, RetryPoint]:
        """For tasks that were retried or reopened: from where runs and landings count. `open_tasks` as for `runs`."""
        ...

    def occupants(self, paths: Iterable[str]) -> Mapping[str, Occupant]:
        """For each of these folders that a process has its working directory in, and no run of ours explains: one."""
        ...

    def room(self, folders: Iterable[str]) -> Room:
        """What is free for more runs, and in the file systems of these folders."""
        ...

    def missing(self, spec: EpicSpec) -> str | None:
        """Why this manifest's agent can't be started here; None when it can."""
        ...

    def lacking(self, spec: EpicSpec, programs: Iterable[str]) -> tuple[str, ...]:
        """Those of these programs that are not on the PATH of this manifest's runs."""
        ...

    def takes(self, spec: EpicSpec, option: str) -> bool:
        """False where the program of this manifest's agent lists its options, and this is none of them. It is asked, once."""
        ...

    def start(self, spec: RunSpec) -> None:
        """Start a run, detached. Raises ChangedError when its task or its slot is held or its number is used."""
        ...

    def stop(self, run: RunId, why: StopWhy) -> None:
        """End a run and everything it started: TERM, then KILL. Returns once it has been asked to; look again."""
        ...

    def give_up(self, run: RunId) -> None:
        """Wait no longer for a run that is elsewhere: from then on it can't write. Raises PermanentError for one that is here."""
        ...

    def venue(self, run: RunId) -> Venue:
        """Where a run is, or was."""
        ...

    def prompt_path(self, run: RunId, at: Venue) -> str:
        """Where the prompt of a run stands once it is started there."""
        ...

    def forbids(self, at: Venue) -> bool:
        """True where no file that lies there may be executed."""
        ...

    def log_tail(self, run: RunId, most: int = 8000) -> str:
        """The last `most` characters that a run printed, as people read them; empty when it printed nothing."""
        ...

    def mark_since(self, task: TaskId, base: Sha | None, at: datetime) -> None:
        """Count runs and landings of `task` from here on; one that is at work is the first of them.

        What that brings is offered: it was paid for, and another agent would find nothing left to do.
        """
        ...

    def archive(self, open_tasks: Collection[TaskId]) -> None:
        """Put finished runs where they cost nothing, a few at a time: those that are quiet, and not of these tasks.

        Raises TemporaryError where some could not go; they are tried again.
        """
        ...

    def idle(self, task: TaskId) -> AbstractContextManager[None]:
        """Let no run of a task start while the block runs. Raises ChangedError where one is alive."""
        ...

    def log(self, run: RunId, at: int = 0) -> tuple[bytes, int]:
        """What a run printed from byte `at` on, and where it ends; from the beginning where it was cut short."""
        ...

    def shown(self, run: RunId) -> Callable[[str], Iterator[str]] | None:
        """What makes lines for people of a run's log; None where it holds such lines already."""
        ...
