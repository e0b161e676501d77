"""What the manifests ask for: frozen, fully defaulted, every path absolute, every name resolved. Plain values, no reading.

`manifest` makes these from YAML; the planner reads them. Times are seconds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct, field

from reconciler.model.agent_spec import AgentSpec
from reconciler.model.checks import Check
from reconciler.model.names import Sha, TaskId, check_subject, run_manifest
from reconciler.model.notify import Notify
from reconciler.model.review_by_risk import Review, ReviewByRisk
from reconciler.model.values import replace
from reconciler.model.venue import Venue

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class MergeMode(StrEnum):
    AUTO = "auto"
    MANUAL = "manual"


class MergeMethod(StrEnum):
    SQUASH = "squash"
    MERGE = "merge"
    REBASE = "rebase"


class LandingMode(StrEnum):
    """How what may be merged gets onto a base that is elsewhere."""

    AUTO = "auto"
    CAS = "cas"  # we push exactly the tested commits
    FORGE = "forge"  # the forge merges, one at a time
    QUEUE = "queue"  # the forge's own merge queue does


class NoChecks(StrEnum):
    AUTO = "auto"
    ALLOW = "allow"
    BLOCK = "block"


class SquashMessage(StrEnum):
    """Whose words a squash carries."""

    TASK = "task"
    COMMITS = "commits"
    BOTH = "both"


class Comments(StrEnum):
    """What becomes of conversations about a pull request that nobody has resolved."""

    AGENT = "agent"
    WAIT = "wait"
    IGNORE = "ignore"


class OnConflict(StrEnum):
    AGENT = "agent"
    BLOCK = "block"


class TrackerKind(StrEnum):
    AUTO = "auto"
    JSONL = "jsonl"
    BEADS = "beads"


class ForgeKind(StrEnum):
    AUTO = "auto"
    LOCAL = "local"
    GITHUB = "github"


class InlineTask(Struct, frozen=True, kw_only=True):
    """A task that the manifest declares. `depends_on` holds keys of the same list, or ids."""

    key: str
    title: str
    description: str = ""
    acceptance: str = ""
    priority: int = 2
    labels: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()


class WorktreeSpec(Struct, frozen=True, kw_only=True):
    """Where worktrees stand and what a new one gets."""

    root: str = ""  # absolute
    copy: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    sparse: tuple[str, ...] = ()


class MergePolicy(Struct, frozen=True, kw_only=True):
    """What must hold before something lands, and how it lands."""

    mode: MergeMode = MergeMode.AUTO
    method: MergeMethod = MergeMethod.SQUASH
    landing: LandingMode = LandingMode.AUTO
    message: SquashMessage = SquashMessage.BOTH
    comments: Comments = Comments.AGENT
    review_bots: tuple[str, ...] = ()  # logins, without [bot]
    checks: tuple[Check, ...] = ()
    required_checks: tuple[str, ...] = ()  # names on the forge; empty: what the rules of the base ask for
    timeout_s: float = 3600.0
    runner: Venue = Venue()  # where its checks run
    no_checks: NoChecks = NoChecks.AUTO
    protected_paths: tuple[str, ...] = ("justfile", "Makefile", ".ci/**", ".github/**", ".claude/**")
    review: ReviewByRisk = ReviewByRisk()
    review_rounds: int = 3  # how often a reviewer may send work back
    risk_high: tuple[str, ...] = ()  # globs of paths
    risk_low: tuple[str, ...] = ()
    push: bool = False
    parallel: int | None = 1  # checks at once; None: what the machine has left beside the agents
    retries: int = 1
    every_commit: bool = False  # each commit that lands has passed the checks, not only the last of several
    scopes: tuple[tuple[str, tuple[str, ...]], ...] = ()  # names, and globs of what hangs together under each
    staging: bool = False  # what lands is tested by the forge's own checks too, on staging branches
    on_conflict: OnConflict = OnConflict.AGENT
    delete_branch: bool = True

    @property
    def commands(self) -> tuple[str, ...]:
        """Its checks, as a shell reads them."""
        return tuple(check.run for check in self.checks)

    @property
    def staged(self) -> tuple[Check, ...]:
        """What the forge has to pass on a staging branch, where it is asked to: one check, or none."""
        return (Check.of_the_forge(self.required_checks),) if self.staging else ()

    @property
    def tests(self) -> tuple[Check, ...]:
        """All that a tree must pass before it lands: its checks, then the forge's own."""
        return (*self.checks, *self.staged)

    @property
    def reviewed_by_agents(self) -> bool:
        """True where a reviewer is asked about some changes."""
        return Review.AGENT in self.review.each

    @property
    def asks_about_risk(self) -> bool:
        """True where it matters how much could go wrong with a change, and what it is: to find out costs git processes."""
        return len(set(self.review.each)) > 1 or self.reviewed_by_agents


class Prune(Struct, frozen=True, kw_only=True):
    """What is cleared away once a task is closed."""

    worktrees: bool = True
    branches: bool = True
    orphans: bool = False


class Budget(Struct, frozen=True, kw_only=True):
    """What the runs of a manifest may use; None: any amount. `warn_at`: the share of it that is worth a word."""

    usd: float | None = None
    usd_per_task: float | None = None
    usd_per_run: float | None = None
    tokens: int | None = None
    warn_at: float = 0.8


STRANGER = "manifest "  # so begins the field of a loosening that is a whole manifest


class Loosening(Struct, frozen=True, kw_only=True):
    """A change of a manifest's field that allows more than held before; both values in the shape of YAML. `also`: the files
    that it takes to apply it, beside that of the manifest."""

    field: str
    old: Any
    new: Any
    also: tuple[str, ...] = ()


class EpicSpec(Struct, frozen=True, kw_only=True):
    """One manifest of kind Epic, as recorded."""

    name: str
    epic: TaskId | None = None
    tasks: tuple[InlineTask, ...] = ()
    repository: str = ""  # absolute path of the main checkout
    base: str = "main"
    suspend: bool = False
    max_agents: int = 4
    stack: bool = False  # a task may begin on the branch of the one that it waits for
    tracker: TrackerKind = TrackerKind.AUTO
    forge: ForgeKind = ForgeKind.AUTO
    agent: AgentSpec = field(default_factory=AgentSpec)
    reviewer: AgentSpec | None = None  # None: as `agent`
    worktrees: WorktreeSpec = field(default_factory=WorktreeSpec)
    runner: Venue = Venue()  # where its tasks are worked on; its root is that of `worktrees`
    merge: MergePolicy = field(default_factory=MergePolicy)
    budget: Budget = field(default_factory=Budget)
    prune: Prune = field(default_factory=Prune)
    notify: tuple[Notify, ...] = ()
    generation: int = 1
    recorded_at: datetime = EPOCH
    source: str = ""  # absolute path of the file it came from; "" for standard input
    also: tuple[str, ...] = ()  # the same of the other files that hold what it refers to by name; not recorded
    invalid: str | None = None  # why the watched source can't be read now: everything of this epic is held
    withheld: tuple[Loosening, ...] = ()  # what its file asks for and nobody applied: it may be an agent's doing
    unfrozen_at: datetime = EPOCH  # when a person last let its line go on
    surroundings: str = ""  # where its checks run now: what passed elsewhere, or before that was known, proves nothing
    applied: Mapping[str, InlineTask] = field(default_factory=dict)  # as last written to the tracker, by key

    @property
    def reviewing(self) -> AgentSpec:
        """How a review is made: as its tasks are done, where nothing else is written, with a prompt of its own."""
        return self.reviewer or replace(self.agent, prompt=None, opens_pull_request=False)

    @property
    def venue(self) -> Venue:
        """Where its tasks are worked on, but for those whose labels say otherwise."""
        return self._there(self.agent.venue_for((), self.runner))

    def venue_for(self, labels: Collection[str]) -> Venue:
        """Where a task with these labels is worked on."""
        return self._there(self.agent.venue_for(labels, self.runner))

    @property
    def venues(self) -> tuple[Venue, ...]:
        """Wherever its tasks may be worked on; `venue` is the first."""
        return tuple(map(self._there, self.agent.venues(self.runner)))

    def placed(self, labels: Collection[str]) -> EpicSpec:
        """The same for a task with these labels: its `venue` is where that is worked on."""
        at = self.venue_for(labels)
        return self if at == self.venue else replace(self, runner=at, agent=replace(self.agent, runner=None))

    def _there(self, at: Venue) -> Venue:
        return self.checks_venue if at.local else at

    @property
    def checks_venue(self) -> Venue:
        """Where its reviews run, and its checks unless it says otherwise: on this machine."""
        return Venue(root=self.worktrees.root)

    @property
    def tests_venue(self) -> Venue:
        """Where its checks run."""
        return self.checks_venue if self.merge.runner.local else self.merge.runner

    @property
    def asked(self) -> tuple[tuple[Check, ...], tuple[tuple[str, str], ...]]:
        """What its checks ask of a tree: commands, what they are given, where they run. Who asks the same shares the proof."""
        where = (("", self._where),) if self._where else ()
        return self.merge.tests, (*sorted(self.agent.env.items()), *where)

    @property
    def _where(self) -> str:
        at = self.merge.runner
        # Of a node nobody here knows what it has: which ones they are has to do.
        return self.surroundings if at.local else " ".join((at.kind, at.scratch, *at.options, *at.hosts))

    def subject_of(self, tree: Sha, checks: tuple[Check, ...] | None = None) -> str:
        """The subject of its checks on a tree, or of only some of them."""
        every, env = self.asked
        chosen = every if checks is None else checks
        if chosen and all(check.staged for check in chosen):
            env = ()  # what runs here is no matter of what runs there
        return check_subject(tree, tuple(check.key for check in chosen), env)

    @property
    def made_up(self) -> bool:
        """True for a manifest that `run` recorded, and no person."""
        # 'zrun-all' where a person's own has the name.
        return not self.source and not self.tasks and self.name.lstrip("z") == run_manifest(self.epic)


class Desired(Struct, frozen=True, kw_only=True):
    """Every recorded manifest of a repository, by name; `max_agents` bounds all of them together.

    `acting`: the manifests that something is done for now; None: all. `alone`: the one task that something is done for,
    because a person asked. The others are seen, and nobody waits for them.
    """

    epics: tuple[EpicSpec, ...] = ()
    max_agents: int | None = None
    acting: frozenset[str] | None = None
    alone: TaskId | None = None

    def acts(self, manifest: str, task: TaskId | None = None) -> bool:
        """True when something is done for a manifest; with `task`, for this task of it."""
        return (self.acting is None or manifest in self.acting) and (task is None or self.alone in (None, task))

    @property
    def elsewhere(self) -> tuple[Venue, ...]:
        """Where else than on this machine tasks are worked on; of places at which the same is found, one."""
        far = (at for spec in self.epics for at in spec.venues if not at.local)
        return tuple({(at.remote, at.scratch): at for at in far}.values())

    def pushes(self, base: str) -> bool:
        """True when what lands on `base` is pushed: there is one line per base, so one manifest's word is enough."""
        return any(spec.merge.push for spec in self.epics if spec.base == base)
