"""The programs that do the work, and what is noted of a manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct, field

from reconciler.model.agent_spec import AgentSpec
from reconciler.model.desired import EpicSpec, InlineTask
from reconciler.model.names import Sha
from reconciler.model.report import Report


class Records(Protocol):
    """What was recorded about manifests, beside the manifests themselves."""

    def applied(self, manifest: str, tasks: Sequence[InlineTask]) -> None:
        """Remember inline tasks as they were last written to the tracker; all of them, or an error."""
        ...


class AppliedTask(Struct, frozen=True):
    """An inline task of a manifest that stands in the tracker as it is here: to be remembered, with all others at once."""

    manifest: str
    task: InlineTask


class Assignment(Struct, frozen=True, kw_only=True):
    """What one run of an agent is about. `values` are the placeholders: task, epic, branch, base, worktree, attempt,
    prompt_file. `session`: an older session of its own to go on with. `usd`: the most that it may spend. `apart`: it is
    instructed by nothing that stands above its worktree, as far as its program looks there: whoever worked beside it could write there.
    `schema`: what its last answer has to fit, as a JSON Schema; empty: it may be anything. Asked only of kinds that are `structured`."""

    values: Mapping[str, str]
    model: str | None = None
    session: str | None = None
    usd: float | None = None
    apart: bool = False
    schema: str = ""


class Invocation(Struct, frozen=True, kw_only=True):
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

    def cost(self, piece: str, before: float) -> float:
        """What a run has cost by the end of a piece of its log, whole lines of it, and `before` that; `before` again where it
        does not say. Asked only of kinds that tell."""
        ...

    def idle(self, line: str) -> bool:
        """True for a line that an agent prints also while it does nothing: a heartbeat, what a hook came to. Asked only of kinds
        that report their end."""
        ...

    def answer(self, line: str) -> bytes:
        """The JSON object that a line of its log gives as its last answer, to a schema that it was given; empty for any other
        line. Asked only of kinds that are structured."""
        ...

    def shown(self, log: str) -> Iterator[str]:
        """A log, or a piece of one, as lines for people."""
        ...


class Prompts(Protocol):
    """Where prompt templates come from: those of the repository are read as its `base` holds them."""

    def template(self, spec: EpicSpec, base: Sha) -> str:
        """The text of the manifest's template, or of the one that ships with the program."""
        ...

    def guidelines(self, spec: EpicSpec, base: Sha) -> str:
        """Whose words those of `review` are, for people."""
        ...

    def uncommitted(self, spec: EpicSpec, base: Sha) -> tuple[str, ...]:
        """The files of the repository that agents get their words from as they stand here, for the base holds none."""
        ...

    def linked(self, spec: EpicSpec, base: Sha) -> frozenset[str]:
        """The paths of the repository to which the prompts that a manifest names lead in the base, where they are links, and those
        that a prompt has its agent read with it."""
        ...

    def review(self, spec: EpicSpec, base: Sha) -> str:
        """What a reviewer is to look for, in the words of the repository, or in those that ship with the program."""
        ...
