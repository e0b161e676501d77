"""The manifest as users write it: every field with its meaning, default, limits and an example.

`explain`, the JSON Schema and the messages about wrong values follow from what stands here. What a field may be is its
type; how fields must fit together is in `findings`, and what they mean on this machine in `resolving`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from reconciler.manifest.agent_fields import AgentFields, ReviewerFields
from reconciler.manifest.commands import wrong_command
from reconciler.manifest.fields import INLINE, NAMED, Fields, form
from reconciler.manifest.policy_fields import Policy
from reconciler.manifest.runner_fields import Runner
from reconciler.manifest.task_fields import TaskFields
from reconciler.manifest.texts import (
    Anywhere,
    Branch,
    Command,
    Hours,
    Id,
    Inside,
    Line,
    Name,
    SpanOrZero,
    Url,
)
from reconciler.model.desired import ForgeKind, TrackerKind
from reconciler.model.notify import Telling

API_VERSION = "reconcile/v1"


class Worktrees(Fields):
    """Where each task's worktree stands, and what it gets."""

    root: Anywhere = Field(
        default="../worktrees",
        description="The folder of the worktrees, relative to the repository. A task's worktree is <root>/<task>.",
        examples=["../worktrees"],
    )
    copy_: list[Inside] = Field(
        default=[],
        alias="copy",
        description="Untracked files or folders of the main checkout that are copied into a new worktree.",
        examples=[[".env"]],
    )
    setup: list[Command] = Field(
        default=[], description="Shell commands that are run in a new worktree before its agent.", examples=[["npm ci"]]
    )
    sparse: list[Inside] = Field(
        default=[],
        description="Folders that a worktree is limited to, besides the files at the top. Empty: everything.",
        examples=[["src", "docs"]],
    )


class BudgetFields(Fields):
    """What may be used, over all runs ever made for this manifest. When it is used up, running agents finish."""

    usd: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="US dollars, for all tasks together. Default, or null: any amount.",
        examples=[25],
    )
    usd_per_task: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="US dollars, for each task. Default, or null: any amount.",
        examples=[5],
    )
    usd_per_run: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="US dollars, for each run: its agent ends by itself once it has spent that, or is ended once it says that it "
        "has, and what it did is kept. It holds for agents of which 'reconcile explain agents' names such a limit; of others 'apply' and "
        "'doctor' say that it does not. Default, or null: any amount.",
        examples=[2],
    )
    tokens: int | None = Field(
        default=None,
        ge=0,
        description="Tokens sent again or written, for all tasks together; what a model's cache held is not "
        "counted. Default, or null: any number.",
        examples=[2_000_000],
    )
    warn_at: float = Field(default=0.8, gt=0, le=1, description="Warn when this share of it is spent.", examples=[0.9])


class PruneFields(Fields):
    """What is cleared away once a task is closed. What no ref holds is saved first."""

    worktrees: bool = Field(default=True, description="Remove its worktree.", examples=[False])
    branches: bool = Field(default=True, description="Delete its branch.", examples=[False])
    orphans: bool = Field(
        default=False,
        description="Remove worktrees of no manifest whose task is read, by its id, as closed or deleted.",
        examples=[True],
    )


class NotifyFields(Fields):
    """Whom to tell, and of what. The watch tells, each event once to each recipient."""

    on: list[Annotated[Telling, Field(strict=False)]] = Field(
        min_length=1,
        description="Of what. NeedsHuman: a task needs a person. EpicComplete: all is done. Degraded: something is wrong "
        "with the manifest as a whole. BudgetLow: budget.warnAt is reached.",
        examples=[["NeedsHuman", "EpicComplete"]],
    )
    run: list[Line] = Field(
        default=[],
        description="A program and its arguments, {message} and {subject} replaced in them; ${NAME} is a variable of the "
        "watch. The message is on its standard input, too. No shell reads it.",
        examples=[["notify-send", "{message}"]],
    )
    url: Url | None = Field(
        default=None,
        description="Instead of run: a service, by a URL as apprise writes it; needs reconcile[notify]. ${NAME} is a "
        "variable of the watch: that is where secrets belong. Default: none.",
        examples=["ntfy://${NTFY_TOPIC}"],
    )
    every: SpanOrZero = Field(
        default="1m",
        description="At most one message in so long a time; what happens meanwhile is in the next one.",
        examples=["10m"],
    )
    quiet: Hours | None = Field(
        default=None,
        description="Hours in which nothing is sent, by the local time of the watch; it is sent when they are over. "
        "Default: none.",
        examples=["22:00-07:00"],
    )

    @model_validator(mode="after")
    def _names_a_recipient(self) -> NotifyFields:
        if not self.run and not self.url:
            raise ValueError("names no recipient; allowed: run or url")
        if self.run and self.url:
            raise ValueError("names two recipients, run and url; allowed: one here, and another entry for the other")
        if self.run and wrong_command(self.run):
            raise ValueError(wrong_command(self.run))
        if self.quiet and self.quiet[:5] == self.quiet[6:]:
            raise ValueError("quiet begins when it ends; allowed: hours such as 22:00-07:00")
        return self


class EpicFields(Fields):
    """A piece of work for agents: which tasks, how many at once, and what must hold before their work lands."""

    epic: Id | None = Field(
        default=None,
        description="An epic of the tracker whose children are the tasks. Without it and without `tasks`: every ready "
        "task of the repository.",
        examples=["shop-a1b2"],
    )
    tasks: list[TaskFields] = Field(
        default=[], description="Tasks declared here.", examples=[[{"key": "parser", "title": "Parse it"}]]
    )
    repository: Anywhere = Field(
        default=".",
        description="A path in the git repository, relative to the manifest's file (standard input: to the current folder).",
        examples=["."],
    )
    base: Branch | None = Field(
        default=None,
        description="The branch that work lands on. Default: origin's default branch, else that of the main checkout.",
        examples=["main"],
    )
    suspend: bool = Field(default=False, description="Observe and report, but act on nothing.", examples=[True])
    max_agents: int = Field(
        default=4, ge=0, le=1000, description="Agents alive at once. When lowered, running ones finish.", examples=[8]
    )
    tracker: Annotated[TrackerKind, Field(strict=False)] = Field(
        default=TrackerKind.AUTO,
        description="Where tasks are kept. auto: Beads where `.beads/` holds a database, else the built-in store. "
        "jsonl: the built-in store. beads: a Beads database, through its `bd`.",
        examples=["beads"],
    )
    forge: Annotated[ForgeKind, Field(strict=False)] = Field(
        default=ForgeKind.AUTO,
        description="Where pull requests are kept. auto: local where there is no remote or a local one, github where "
        "the remote is there. github needs the gh program, logged in.",
        examples=["local"],
    )
    runner: Runner = Field(
        default="local",
        description="Where agents run: on this machine, or on others. Reviews run on this one, and checks where mergePolicy.runner says.",
        examples=["local", {"kind": "slurm", "options": ["--mem=4G"]}],
    )
    stack: bool = Field(
        default=False,
        description="A task that waits for one other alone starts on that one's branch, once it is offered, green and approved. Its "
        "own pull request goes onto that branch, and to the base once the other has landed there.",
        examples=[True],
    )
    agent: Annotated[Annotated[AgentFields, Tag(INLINE)] | Annotated[Name, Tag(NAMED)], Discriminator(form)] = Field(
        description="The program that does a task, or the name of an AgentProfile.",
        examples=[{"argv": ["my-agent", "{prompt_file}"]}, "shell"],
    )
    reviewer: (
        Annotated[Annotated[ReviewerFields, Tag(INLINE)] | Annotated[Name, Tag(NAMED)], Discriminator(form)] | None
    ) = Field(
        default=None,
        description="The program that reviews, where mergePolicy.review says agent; or the name of an AgentProfile. Default: "
        "the agent's, in a session of its own. Its prompt is .claude/agents/merger.md, or the one that comes with reconcile.",
        examples=[{"kind": "claude"}, "shell"],
    )
    worktrees: Worktrees = Field(
        default=Worktrees(), description="Where worktrees stand and what they get.", examples=[{"copy": [".env"]}]
    )
    merge_policy: Annotated[Annotated[Policy, Tag(INLINE)] | Annotated[Name, Tag(NAMED)], Discriminator(form)] = Field(
        default=Policy(),
        description="What must hold before something lands, or the name of a MergePolicy.",
        examples=[{"checks": ["just check"]}, "careful"],
    )
    budget: BudgetFields = Field(
        default=BudgetFields(), description="What may be used.", examples=[{"usd": 25, "usdPerTask": 5}]
    )
    prune: PruneFields = Field(
        default=PruneFields(), description="What is cleared away.", examples=[{"branches": False}]
    )
    notify: list[NotifyFields] = Field(
        default=[],
        description="Whom the watch tells, and of what.",
        examples=[[{"on": ["NeedsHuman"], "run": ["notify-send", "{message}"]}]],
    )


class Metadata(Fields):
    """What the document is called."""

    name: Name = Field(description="Unique among the documents of its kind in a repository.", examples=["feature-x"])


class _Document(Fields):
    api_version: Literal["reconcile/v1"] = Field(description="The version of this format.", examples=[API_VERSION])
    metadata: Metadata = Field(description="What the document is called.", examples=[{"name": "feature-x"}])


class Epic(_Document):
    """A manifest: a piece of work for agents."""

    kind: Literal["Epic"] = Field(description="What the document is.", examples=["Epic"])
    spec: EpicFields = Field(description="What is wanted.", examples=[{"agent": "shell"}])


class AgentProfile(_Document):
    """An agent under a name, for `spec.agent` of an Epic."""

    kind: Literal["AgentProfile"] = Field(description="What the document is.", examples=["AgentProfile"])
    spec: AgentFields = Field(description="The agent.", examples=[{"argv": ["my-agent"]}])


class MergePolicyDocument(_Document):
    """A merge policy under a name, for `spec.mergePolicy` of an Epic."""

    model_config = ConfigDict(title="MergePolicy")

    kind: Literal["MergePolicy"] = Field(description="What the document is.", examples=["MergePolicy"])
    spec: Policy = Field(default=Policy(), description="The policy.", examples=[{"review": "human"}])


KINDS: dict[str, type[Epic] | type[AgentProfile] | type[MergePolicyDocument]] = {
    "Epic": Epic,
    "AgentProfile": AgentProfile,
    "MergePolicy": MergePolicyDocument,
}
