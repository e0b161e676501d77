"""The manifest as users write it: every field with its meaning, default, limits and an example.

`explain`, the JSON Schema and the messages about wrong values follow from what stands here. What a field may be is reported
by its type; what fields must be to each other is in `tasks`, and what they mean here on this machine in `documents`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic.alias_generators import to_camel

from reconciler.manifest.commands import wrong_command
from reconciler.manifest.durations import duration
from reconciler.manifest.machines import wrong_lease, wrong_options, wrong_place
from reconciler.manifest.texts import (
    Anywhere,
    Branch,
    Command,
    Hours,
    Id,
    Inside,
    Key,
    Label,
    Line,
    Login,
    Model,
    Name,
    Size,
    Span,
    SpanOrZero,
    Text,
    Url,
    Variable,
)
from reconciler.model.agent_kinds import AgentKind
from reconciler.model.desired import (
    Comments,
    ForgeKind,
    LandingMode,
    MergeMethod,
    MergeMode,
    MergePolicy,
    NoChecks,
    OnConflict,
    Review,
    SquashMessage,
    Telling,
    TrackerKind,
)
from reconciler.model.venue import VenueKind

API_VERSION = "reconcile/v1"
INLINE, NAMED = "=inline", "=named"  # no YAML key looks like these: they only stand in the places of pydantic's errors


def _form(value: Any) -> str:
    return NAMED if isinstance(value, str) else INLINE


class _Fields(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, alias_generator=to_camel, validate_default=True)


class Backoff(_Fields):
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


class ResourcesFields(_Fields):
    """What must be free on the machine before an agent starts. Nothing that runs is ended for want of it."""

    memory: Size = Field(
        default="auto",
        description="Memory. auto: the most that one of the newest runs took, once some have said so.",
        examples=["2G"],
    )
    disk: Size = Field(
        default="auto", description="Disk, where the worktrees stand. auto: 500M, so that git works.", examples=["5G"]
    )


class Match(_Fields):
    """Which tasks are meant."""

    labels: list[Label] = Field(min_length=1, description="Those that carry all of these labels.", examples=[["ui"]])


class OverrideRunner(_Fields):
    """How the engine is asked to place some tasks."""

    options: list[Line] = Field(
        description="What sbatch is given for them, instead of runner.options.",
        examples=[["--gres=gpu:1", "--mem=16G"]],
    )

    @model_validator(mode="after")
    def _takes_them(self) -> OverrideRunner:
        if wrong := wrong_options(VenueKind.SLURM, self.options):
            raise ValueError(wrong)
        return self


class OverrideFields(_Fields):
    """A model for some tasks, or where they are placed."""

    match: Match = Field(description="Which tasks get it.", examples=[{"labels": ["ui"]}])
    model: Model | None = Field(
        default=None, description="Their model. Default: that of the others.", examples=["opus"]
    )
    runner: OverrideRunner | None = Field(
        default=None,
        description="Of runner kind slurm: their options. Default: those of the others.",
        examples=[{"options": ["--gres=gpu:1"]}],
    )

    @model_validator(mode="after")
    def _says_something(self) -> OverrideFields:
        if not self.model and not self.runner:
            raise ValueError("overrides nothing; allowed: model, runner, or both")
        return self


class ProgramFields(_Fields):
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
        description="Models, and options of Slurm, for tasks with certain labels. The first that matches and names one is taken.",
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
        Annotated[ResourcesFields, Tag(INLINE)] | Annotated[Literal["auto"], Tag(NAMED)], Discriminator(_form)
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


class ReviewerFields(ProgramFields):
    """The program that reviews, and its limits."""

    @model_validator(mode="before")
    @classmethod
    def _as_recorded(cls, value: Any) -> Any:
        """Without what a record holds for every agent and no review has, as long as it says nothing."""
        if not isinstance(value, dict):
            return value
        return {name: said for name, said in value.items() if name not in UNUSED or said != UNUSED[name]}


# What an agent may be given and a reviewer may not, as a record holds it where nothing is said.
UNUSED: dict[str, Any] = {
    "maxAttempts": 3,
    "opensPullRequest": False,
    "resources": {"memory": "auto", "disk": "auto"},
}


class Worktrees(_Fields):
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


class CheckFields(_Fields):
    """A command that must pass, and its limits."""

    run: Command = Field(description="The shell command.", examples=["pytest -q tests/e2e"])
    timeout: Span | None = Field(
        default=None,
        description="The longest that it may take; it fails then, and all that it started is ended. Default: what is left of "
        "mergePolicy.timeout.",
        examples=["5m"],
    )
    retries: int = Field(
        default=0,
        ge=0,
        le=10,
        description="How often it is started again at once where it failed, in the same worktree. That it passed only then is "
        "said: it is flaky.",
        examples=[1],
    )
    paths: list[Line] = Field(
        default=[],
        description="What it is about, as globs: it is left out where a change touches none of them, and something else is "
        "run. Empty: everything.",
        examples=[["web/**", "package.json"]],
    )


_Check = Annotated[Annotated[Command, Tag(NAMED)] | Annotated[CheckFields, Tag(INLINE)], Discriminator(_form)]


class RunnerFields(_Fields):
    """The machines that agents run on, and who places them there."""

    kind: Annotated[VenueKind, Field(strict=False)] = Field(
        default=VenueKind.LOCAL,
        description="local: this machine. slurm: an existing Slurm. ssh: hosts that are reached so. here: pretend nodes on "
        "this machine, to try it out.",
        examples=["slurm"],
    )
    remote: Line | None = Field(
        default=None,
        description="A git repository that the nodes and this machine can push to. Default: the remote of the base.",
        examples=["ssh://ctl/srv/app.git"],
    )
    scratch: Line = Field(
        default="/var/tmp/reconcile",
        description="A folder of every node, under the same path; it need not be shared.",
        examples=["/scratch/reconcile"],
    )
    sync: Span = Field(
        default="30s",
        description="How often a node reports: what is newer is lost with it, and logs lag by as much.",
        examples=["2m"],
    )
    lease: Span = Field(
        default="15m",
        description="A node that has been out of contact for so long halts its agent; after twice that its task is given away.",
        examples=["30m"],
    )
    options: list[Line] = Field(
        default=[],
        description="What sbatch is given beside: limits, partitions, accounts. Of kind ssh: what ssh is given.",
        examples=[["--partition=agents", "--cpus-per-task=2", "--mem=4G"]],
    )
    hosts: list[Line] = Field(
        default=[],
        description="Of kind ssh, and needed there: hosts as in ~/.ssh/config.",
        examples=[["build1", "build2"]],
    )
    per_host: int = Field(
        default=4, ge=1, le=1000, description="Of kind ssh: agents at once on each host.", examples=[2]
    )

    @model_validator(mode="after")
    def _holds_together(self) -> RunnerFields:
        given = self.model_fields_set - {"kind"}
        if self.kind is VenueKind.LOCAL and given:
            raise ValueError(
                f"{to_camel(min(given))} is for agents on other machines; allowed for kind local: nothing else"
            )
        if self.kind is VenueKind.SLURM and given & {"hosts", "per_host"}:
            raise ValueError("Slurm knows its nodes; allowed: options, such as --partition=agents")
        if self.kind in (VenueKind.SSH, VenueKind.HERE) and not self.hosts:
            raise ValueError(f"hosts is missing; kind {self.kind} needs to be told where agents may run")
        wrong = (
            wrong_place(self.remote, self.scratch, self.hosts)
            or wrong_options(self.kind, self.options)
            or wrong_lease(self.kind, duration(self.sync), duration(self.lease))
        )
        if self.kind is not VenueKind.LOCAL and wrong:
            raise ValueError(wrong)
        return self


class Queue(_Fields):
    """How checks are queued."""

    parallel: Annotated[
        Annotated[int, Field(ge=1, le=64), Tag(INLINE)] | Annotated[Literal["auto"], Tag(NAMED)], Discriminator(_form)
    ] = Field(
        default=1,
        description="Checks that run at once. auto: as many as the machine has processors left beside the agents and all else.",
        examples=[2, "auto"],
    )
    retries: int = Field(
        default=1,
        ge=0,
        le=10,
        description="How often checks that failed are run again, on the newest base, before they count as failed.",
        examples=[0],
    )


_Review = Annotated[Review, Field(strict=False)]


class ReviewFields(_Fields):
    """Who must approve a pull request, by its risk."""

    low: _Review = Field(description="Where little could go wrong: prose, for example.", examples=["none"])
    normal: _Review = Field(description="Everything else.", examples=["agent"])
    high: _Review = Field(
        description="Where much could: dependencies, migrations, protected paths, removed tests, much at once.",
        examples=["human"],
    )


class RiskFields(_Fields):
    """Which paths are of high or low risk. * and ? stay within a folder, ** does not."""

    high: list[Line] = Field(default=[], description="A change to one of these is.", examples=[["src/billing/**"]])
    low: list[Line] = Field(
        default=[],
        description="These are, whatever the built-in rules say of their paths; not protected paths, or removed tests.",
        examples=[["docs/**"]],
    )


class Policy(_Fields):
    """What must hold before something lands, and how it lands."""

    mode: Annotated[MergeMode, Field(strict=False)] = Field(
        default=MergeMode.AUTO,
        description="Who merges. auto: what may land lands. manual: a person; the branch is only kept mergeable.",
        examples=["manual"],
    )
    method: Annotated[MergeMethod, Field(strict=False)] = Field(
        default=MergeMethod.SQUASH,
        description="How a branch becomes commits of the base. squash: one commit. merge: its own commits and one that "
        "merges them. rebase: its own commits, one after the other, without those that merge.",
        examples=["rebase"],
    )
    landing: Annotated[LandingMode, Field(strict=False)] = Field(
        default=LandingMode.AUTO,
        description="How it gets onto a base on GitHub. cas: the commits that were tested are pushed, several at once, where "
        "the rules of the base allow a push. forge: GitHub merges, one at a time. queue: GitHub's own merge queue does. auto: "
        "queue where the base has one; cas where it may be pushed, the method is merge, and checks are written; else forge.",
        examples=["forge"],
    )
    message: Annotated[SquashMessage, Field(strict=False)] = Field(
        default=SquashMessage.BOTH,
        description="What a squash says beside the task's title. task: its description. commits: what its agents wrote into "
        "their commits, where what would command a forge (closing words, mentions, [skip ci]) is made harmless. both: first "
        "this, then that. Other authors, Co-authored-by and Signed-off-by are always kept.",
        examples=["commits"],
    )
    comments: Annotated[Comments, Field(strict=False)] = Field(
        default=Comments.AGENT,
        description="What becomes of review threads that are open, of people who may push and of reviewBots. agent: they go "
        "to its agent as the feedback of another attempt, then it waits until they are resolved. wait: it waits for that. "
        "ignore: it lands all the same.",
        examples=["wait"],
    )
    review_bots: list[Login] = Field(
        default=[],
        description="Logins of bots whose comments and reviews count as those of people who may push.",
        examples=[["coderabbitai"]],
    )
    checks: list[_Check] = Field(
        default=[],
        description="Shell commands that must all pass on the merged tree, in a clean worktree, before it lands; one after the "
        "other, each a text or with limits of its own.",
        examples=[["just check", {"run": "just e2e", "timeout": "10m", "retries": 1}]],
    )
    required_checks: list[Line] = Field(
        default=[],
        description="Names of checks on the forge that must have passed. Empty: those that the rules of its base branch "
        "ask for; where they ask for none, all that there are.",
        examples=[["build", "test"]],
    )
    timeout: Span = Field(default="1h", description="The longest that the checks may take.", examples=["20m"])
    no_checks: Annotated[NoChecks, Field(strict=False)] = Field(
        default=NoChecks.AUTO,
        description="What to do where there are no checks. auto: allow on the local forge, block on any other.",
        examples=["block"],
    )
    protected_paths: list[Line] = Field(
        default=list(MergePolicy().protected_paths),
        description="A change to one of these needs a person's approval. * and ? stay within a folder, ** does not; "
        "'package.json#scripts' is only that part of it. Where it is not written, the files that the checks name or take "
        "their recipes from are added to the default.",
        examples=[["justfile", ".github/**"]],
    )
    review: Annotated[Annotated[_Review, Tag(NAMED)] | Annotated[ReviewFields, Tag(INLINE)], Discriminator(_form)] = (
        Field(
            default=Review.NONE,
            description="Who must approve a pull request, once its checks are green. none: nobody. agent: the reviewer. human: "
            "a person. One word for all of them, or one for each risk.",
            examples=["human", {"low": "none", "normal": "agent", "high": "human"}],
        )
    )
    review_rounds: int = Field(
        default=3,
        ge=0,
        le=100,
        description="How often a reviewer may send the work of a task back to its agent; then a person decides.",
        examples=[1],
    )
    risk: RiskFields = Field(
        default=RiskFields(),
        description="Which changes are of high or low risk, beside what the built-in rules say.",
        examples=[{"high": ["src/billing/**"], "low": ["docs/**"]}],
    )
    push: bool = Field(default=False, description="Push the landed base to its remote.", examples=[True])
    queue: Queue = Field(default=Queue(), description="How checks are queued.", examples=[{"parallel": 2}])
    on_conflict: Annotated[OnConflict, Field(strict=False)] = Field(
        default=OnConflict.AGENT,
        description="What becomes of a branch that conflicts with the base. agent: it goes back to an agent. block: a "
        "person is asked.",
        examples=["block"],
    )
    delete_branch: bool = Field(
        default=True, description="Delete a task's branch once it has landed.", examples=[False]
    )


class BudgetFields(_Fields):
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
        "has, and what it did is kept. For agents of which 'reconcile explain agents' names such a limit. Default, or null: any "
        "amount.",
        examples=[2],
    )
    tokens: int | None = Field(
        default=None,
        ge=0,
        description="Tokens sent again or written, for all tasks together; what a model's cache held is not "
        "counted. Default, or null: any number.",
        examples=[2_000_000],
    )
    warn_at: float = Field(
        default=0.8, gt=0, le=1, description="The share of it that is reported when it is reached.", examples=[0.9]
    )


class PruneFields(_Fields):
    """What is cleared away once a task is closed. What no ref holds is saved first."""

    worktrees: bool = Field(default=True, description="Remove its worktree.", examples=[False])
    branches: bool = Field(default=True, description="Delete its branch.", examples=[False])
    orphans: bool = Field(
        default=False,
        description="Remove worktrees of no manifest whose task is read, by its id, as closed or deleted.",
        examples=[True],
    )


class NotifyFields(_Fields):
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


class TaskFields(_Fields):
    """A task that is made once in the tracker and found again by its key."""

    key: Key = Field(description="Its name within this manifest.", examples=["parser"])
    title: Line = Field(description="What is to be done, in one line.", examples=["Write the parser"])
    description: Text = Field(
        default="", description="What is to be done, at length.", examples=["See docs/grammar.md"]
    )
    acceptance: Text = Field(default="", description="What must be true when it is done.", examples=["Its tests pass"])
    priority: int = Field(
        default=2, ge=0, le=4, description="How urgent it is: 0 is the most urgent, 4 the least.", examples=[1]
    )
    labels: list[Label] = Field(default=[], description="Labels of the task.", examples=[["backend"]])
    depends_on: list[str] = Field(
        default=[], description="Keys of this list, or ids of tasks, that must be done first.", examples=[["lexer"]]
    )


class EpicFields(_Fields):
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
    runner: Annotated[
        Annotated[RunnerFields, Tag(INLINE)] | Annotated[Literal["local", "slurm"], Tag(NAMED)], Discriminator(_form)
    ] = Field(
        default="local",
        description="Where agents run: on this machine, or on others. Checks and reviews run on this one.",
        examples=["local", {"kind": "slurm", "options": ["--mem=4G"]}],
    )
    stack: bool = Field(
        default=False,
        description="A task that waits for one other alone starts on that one's branch, once it is offered, green and approved. Its "
        "own pull request goes onto that branch, and to the base once the other has landed there.",
        examples=[True],
    )
    agent: Annotated[Annotated[AgentFields, Tag(INLINE)] | Annotated[Name, Tag(NAMED)], Discriminator(_form)] = Field(
        description="The program that does a task, or the name of an AgentProfile.",
        examples=[{"argv": ["my-agent", "{prompt_file}"]}, "shell"],
    )
    reviewer: (
        Annotated[Annotated[ReviewerFields, Tag(INLINE)] | Annotated[Name, Tag(NAMED)], Discriminator(_form)] | None
    ) = Field(
        default=None,
        description="The program that reviews, where mergePolicy.review says agent; or the name of an AgentProfile. Default: "
        "the agent's, in a session of its own. Its prompt is .claude/agents/merger.md, or the one that comes with reconcile.",
        examples=[{"kind": "claude"}, "shell"],
    )
    worktrees: Worktrees = Field(
        default=Worktrees(), description="Where worktrees stand and what they get.", examples=[{"copy": [".env"]}]
    )
    merge_policy: Annotated[Annotated[Policy, Tag(INLINE)] | Annotated[Name, Tag(NAMED)], Discriminator(_form)] = Field(
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


class Metadata(_Fields):
    """What the document is called."""

    name: Name = Field(description="Unique among the documents of its kind in a repository.", examples=["feature-x"])


class _Document(_Fields):
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
