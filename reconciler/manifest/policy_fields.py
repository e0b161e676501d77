"""What a change has to pass, and how it is merged, as a manifest says it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from reconciler.manifest.fields import INLINE, NAMED, Fields, form
from reconciler.manifest.runner_fields import Runner
from reconciler.manifest.texts import (
    Command,
    Glob,
    Key,
    Line,
    Login,
    Span,
)
from reconciler.model.desired import (
    Comments,
    LandingMode,
    MergeMethod,
    MergeMode,
    MergePolicy,
    NoChecks,
    OnConflict,
    SquashMessage,
)
from reconciler.model.review_by_risk import Review


class CheckFields(Fields):
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
    paths: list[Glob] = Field(
        default=[],
        description="What it is about, as globs: it is left out where a change touches none of them, and something else is "
        "run. Empty: everything.",
        examples=[["web/**", "package.json"]],
    )


_Check = Annotated[Annotated[Command, Tag(NAMED)] | Annotated[CheckFields, Tag(INLINE)], Discriminator(form)]


class Queue(Fields):
    """How checks are queued."""

    parallel: Annotated[
        Annotated[int, Field(ge=1, le=64), Tag(INLINE)] | Annotated[Literal["auto"], Tag(NAMED)], Discriminator(form)
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
    everyCommit: bool = Field(
        default=False,
        description="Test each change where it lands, not only the last of several that land together: every commit that is "
        "made on the base has passed the checks.",
        examples=[True],
    )
    scopes: dict[Key, list[Glob]] = Field(
        default={},
        description="Parts of the repository that hang together, by a name and globs each. Tasks that are likely to change the "
        "same scope begin one after the other, as if it were one file, while there are others to begin.",
        examples=[{"parser": ["src/parser/**", "docs/grammar.md"]}],
    )
    staging: bool = Field(
        default=False,
        description="Have GitHub test what lands, several changes together: what would land is pushed to 'reconcile/staging/1' "
        "and so on, as many at once as parallel says, and what the workflows that run on such pushes say is what counts. They "
        "run with the secrets of the repository.",
        examples=[True],
    )


_Review = Annotated[Review, Field(strict=False)]


class ReviewFields(Fields):
    """Who must approve a pull request, by its risk."""

    low: _Review = Field(description="Where little could go wrong: prose, for example.", examples=["none"])
    normal: _Review = Field(description="Everything else.", examples=["agent"])
    high: _Review = Field(
        description="Where much could: dependencies, migrations, protected paths, removed tests, much at once.",
        examples=["human"],
    )


class RiskFields(Fields):
    """Which paths are of high or low risk. * and ? stay within a folder, ** does not."""

    high: list[Glob] = Field(default=[], description="A change to one of these is.", examples=[["src/billing/**"]])
    low: list[Glob] = Field(
        default=[],
        description="These are, whatever the built-in rules say of their paths; not protected paths, or removed tests.",
        examples=[["docs/**"]],
    )


class Policy(Fields):
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
        "queue where the base has one; cas where it may be pushed, the method is merge, and checks or queue.staging are written; "
        "else forge.",
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
    runner: Runner = Field(
        default="local",
        description="Where checks run: on this machine, or on others. What they need is there; reviews run on this one.",
        examples=[{"kind": "slurm", "options": ["--partition=checks"]}],
    )
    no_checks: Annotated[NoChecks, Field(strict=False)] = Field(
        default=NoChecks.AUTO,
        description="What to do where there are no checks. auto: allow on the local forge, block on any other.",
        examples=["block"],
    )
    protected_paths: list[Glob] = Field(
        default=list(MergePolicy().protected_paths),
        description="A change to one of these needs a person's approval. * and ? stay within a folder, ** does not; "
        "'package.json#scripts' is only that part of it. Where it is not written, the files that the checks name or take "
        "their recipes from are added to the default.",
        examples=[["justfile", ".github/**"]],
    )
    review: Annotated[Annotated[_Review, Tag(NAMED)] | Annotated[ReviewFields, Tag(INLINE)], Discriminator(form)] = (
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
