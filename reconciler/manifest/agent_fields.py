"""Agents as a manifest names them: a program, its limits, and what tasks with a label get instead."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from reconciler.manifest.durations import duration
from reconciler.manifest.fields import INLINE, NAMED, Fields, form
from reconciler.manifest.runner_fields import Placing
from reconciler.manifest.texts import (
    Inside,
    Label,
    Model,
    Size,
    Span,
    SpanOrZero,
    Variable,
)
from reconciler.model.agent_kinds import AgentKind


class Backoff(Fields):
    """How long to wait between attempts."""

    initial: SpanOrZero = Field(
        default="10s", description="Before the second attempt; doubled each time.", examples=["30s"]
    )
    max: SpanOrZero = Field(default="10m", description="The longest wait.", examples=["1h"])

    @model_validator(mode="after")
    def _ordered(self) -> Backoff:
        if duration(self.initial) > duration(self.max):
            raise ValueError(f"initial ({self.initial}) is longer than max ({self.max})")
        return self


class ResourcesFields(Fields):
    """What must be free on the machine before an agent starts. Nothing that runs is ended for want of it."""

    memory: Size = Field(
        default="auto",
        description="Memory. auto: the most that one of the newest runs took, once some have reported it.",
        examples=["2G"],
    )
    disk: Size = Field(
        default="auto", description="Disk, where the worktrees stand. auto: 500M, so that git works.", examples=["5G"]
    )


class Match(Fields):
    """Which tasks are meant."""

    labels: list[Label] = Field(min_length=1, description="Those that carry all of these labels.", examples=[["ui"]])


class OverrideFields(Fields):
    """A model for some tasks, or where they are worked on."""

    match: Match = Field(description="Which tasks get it.", examples=[{"labels": ["ui"]}])
    model: Model | None = Field(
        default=None, description="Their model. Default: that of the others.", examples=["opus"]
    )
    runner: Placing | None = Field(
        default=None,
        description="Where they are worked on, or only their options of Slurm. Default: as the others.",
        examples=[{"options": ["--gres=gpu:1"]}, {"kind": "ssh", "hosts": ["gpu1"]}],
    )

    @model_validator(mode="after")
    def _says_something(self) -> OverrideFields:
        if not self.model and not self.runner:
            raise ValueError("overrides nothing; allowed: model, runner, or both")
        return self


class ProgramFields(Fields):
    """A program that works by a prompt, and its limits."""

    kind: Annotated[AgentKind, Field(strict=False)] = Field(
        default=AgentKind.COMMAND,
        description="Which program it is. command: one of your own, as argv says. claude: Claude Code.",
        examples=["claude"],
    )
    argv: list[str] = Field(
        default=[],
        description="Of kind command, and needed there: the program and its arguments. {task} {epic} {branch} {base} {worktree} {attempt} {prompt_file} "
        "are replaced; every other brace stays as it is. No shell reads it.",
        examples=[["my-agent", "--task", "{task}"]],
    )
    model: Model | None = Field(
        default=None,
        description="The model, as its program calls it. Default: the one that the program takes by itself.",
        examples=["opus"],
    )
    overrides: list[OverrideFields] = Field(
        default=[],
        description="Models, and where they are worked on, for tasks with certain labels. The first that matches and names one is "
        "taken.",
        examples=[[{"match": {"labels": ["ui"]}, "model": "opus"}]],
    )
    prompt: Inside | None = Field(
        default=None,
        description="The template of the prompt, relative to the repository. Default: the one that comes with reconcile.",
        examples=[".claude/agents/worker.md"],
    )
    env: dict[Variable, str] = Field(
        default={}, description="Variables that are set for the agent.", examples=[{"KEY": "value"}]
    )
    pass_env: list[Variable] = Field(
        default=[],
        description="Variables of yours that the agent gets although their names look like secrets.",
        examples=[["SOME_TOKEN"]],
    )
    timeout: Span = Field(default="2h", description="The longest that one attempt may take.", examples=["45m"])
    stuck_after: SpanOrZero = Field(
        default="15m",
        description="An attempt that prints nothing and changes nothing for so long is ended. 0s: never.",
        examples=["30m"],
    )
    backoff: Backoff = Field(
        default=Backoff(), description="The waits between attempts.", examples=[{"initial": "10s", "max": "10m"}]
    )

    @model_validator(mode="after")
    def _names_a_program(self) -> ProgramFields:
        if self.kind is AgentKind.COMMAND:
            if not self.argv:
                raise ValueError("argv is missing; a command needs the program and its arguments")
            if not self.argv[0].strip():
                raise ValueError("argv begins with an empty text; allowed: the name or path of a program")
            if self.model or any(each.model for each in self.overrides):
                raise ValueError("a command gets no model from here; write it into argv or env")
        elif self.argv:
            raise ValueError(
                f"'argv' is only valid for kind: command, which runs a command line of your own; leave it out for {self.kind}"
            )
        return self


class AgentFields(ProgramFields):
    """The program that does a task, and its limits."""

    max_attempts: int = Field(default=3, ge=1, le=100, description="Attempts before a person is asked.", examples=[5])
    resources: Annotated[
        Annotated[ResourcesFields, Tag(INLINE)] | Annotated[Literal["auto"], Tag(NAMED)], Discriminator(form)
    ] = Field(
        default="auto",
        description="What must be free on the machine before an agent starts. auto: what earlier ones took.",
        examples=[{"memory": "2G", "disk": "5G"}],
    )
    opens_pull_request: bool = Field(
        default=False,
        description="The agent may push its branch and open the pull request by itself; what it opened is gone on with.",
        examples=[True],
    )

    runner: Placing | None = Field(
        default=None,
        description="Where its runs are, also by a profile, or only their options of Slurm. Default: as spec.runner says.",
        examples=[{"options": ["--gres=gpu:1"]}, "slurm"],
    )


class ReviewerFields(ProgramFields):
    """The program that reviews, and its limits."""

    @model_validator(mode="before")
    @classmethod
    def _as_recorded(cls, value: Any) -> Any:
        """Without what a record holds for every agent and no review has, as long as it says nothing."""
        if not isinstance(value, dict):
            return value
        return {name: each for name, each in value.items() if name not in UNUSED or each != UNUSED[name]}


# What an agent may be given and a reviewer may not, as a record holds it where nothing is written.
UNUSED: dict[str, Any] = {
    "maxAttempts": 3,
    "opensPullRequest": False,
    "resources": {"memory": "auto", "disk": "auto"},
    "runner": None,
}
