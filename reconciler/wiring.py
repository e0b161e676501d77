"""The composition root: the only file that names adapters and reads the environment."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from reconciler import manifest
from reconciler.forges import choice
from reconciler.forges.addresses import Addresses
from reconciler.forges.choice import Choice
from reconciler.forges.local import LocalForge
from reconciler.forges.local.pulls import Pulls
from reconciler.git import repository as repositories
from reconciler.git.commands import Git
from reconciler.git.repository import Repository
from reconciler.landing.remotes import Remote, Remotes
from reconciler.manifest import Recorded
from reconciler.manifest.anchoring import anchored
from reconciler.manifest.recorded import RecordedManifests
from reconciler.model.agent_kinds import AgentKind
from reconciler.model.desired import Desired, EpicSpec, TrackerKind
from reconciler.model.errors import ManifestError, PermanentError, ReconcileError
from reconciler.model.ports import Agent, Forge, Ports, Runner, Tracker, Workspaces
from reconciler.model.values import replace
from reconciler.runners import _processes as processes
from reconciler.runners.local import LocalRunner
from reconciler.system import format, lock
from reconciler.system.journal import Journal
from reconciler.system.late import late
from reconciler.trackers.chosen import ChosenTracker
from reconciler.trackers.jsonl import JsonlTracker, holds_database
from reconciler.workspaces import GitWorkspaces

if (
    TYPE_CHECKING
):  # these are imported where they are used: most repositories need few of them, and commands start often
    from reconciler.forges.github.forge import GitHubForge
    from reconciler.trackers.beads import BeadsTracker

RUN_MARKER = "RECONCILE_RUN"
WORKER = ".claude/agents/worker.md"
_SPEAKS_OF_THE_TASK = re.compile(r"\{(task|title|description)\}|\$TASK_ID\b")
_ASIDE: ContextVar[ExitStack | None] = ContextVar("aside", default=None)
IDENTITY = {"NAME": "reconcile", "EMAIL": "reconcile@localhost"}


class _Agents(Mapping[str, Agent]):
    """Every kind of agent: the module of its name in `agents`."""

    def __getitem__(self, kind: str) -> Agent:
        if kind not in AgentKind.__members__.values():
            raise KeyError(kind)
        return _agent(kind)

    def __iter__(self) -> Iterator[str]:
        return iter(AgentKind)

    def __len__(self) -> int:
        return len(AgentKind)


@cache
def _agent(kind: str) -> Agent:
    agent: Agent = late(f"reconciler.agents.{kind}").agent
    return agent


AGENTS = _Agents()


def environ() -> dict[str, str]:
    """The environment of this process."""
    return dict(os.environ)


class Site(Struct, frozen=True, kw_only=True, dict=True):
    """One repository with everything that works on it."""

    repository: Repository
    git: Git
    recorded: Recorded
    tracker: Tracker
    workspaces: Workspaces
    runner: Runner
    journal: Journal
    host: str
    environ: Mapping[str, str]
    given: Sequence[EpicSpec] = ()  # manifests that are not recorded yet

    @property
    def state(self) -> Path:
        return self.repository.state

    @property
    def beads(self) -> Path:
        return self.repository.main / ".beads"

    @cached_property
    def chosen(self) -> Choice:
        """Where the pull requests of this repository live. It stays so: with other manifests, start again."""
        specs = self.specs() or (EpicSpec(name=""),)
        return choice.chosen(specs, self._addresses.resolved(self.git.config()), self.environ.get("GH_HOST", ""))

    @cached_property
    def _addresses(self) -> Addresses:
        return Addresses(self.git, self.environ)

    @cached_property
    def github(self) -> GitHubForge | None:
        """The forge, where it is GitHub."""
        if (there := self.chosen.there) is None:
            return None
        module = late("reconciler.forges.github.forge")
        gh, local = module.Gh(there.host, self.environ), Pulls(self.git)
        forge: GitHubForge = module.GitHubForge(self.git, gh, there, self._bases, local)
        return forge

    @cached_property
    def forge(self) -> Forge:
        return self.github or LocalForge(self.git)

    def specs(self) -> tuple[EpicSpec, ...]:
        """Every manifest that can be read, recorded or given."""
        names = {spec.name for spec in self.given}
        return (*self.given, *(spec for spec in self._recorded().epics if spec.name not in names))

    def _recorded(self) -> RecordedManifests:
        """What is recorded, as it is meant where the repository stands now."""
        found = self.recorded.load()
        return replace(found, epics=tuple(anchored(spec, self.repository.main) for spec in found.epics))

    def _bases(self) -> tuple[str, ...]:
        """What lands on GitHub; what is to land elsewhere is none of its business."""
        named = [spec.base for spec in self.specs() if not self.chosen.refused(spec)]
        return tuple(dict.fromkeys(named)) or (self.default_base or "main",)

    def quiet(self) -> bool:
        """True while no run is alive."""
        return not any(run.alive for run in self.runner.runs().values())

    @property
    def ports(self) -> Ports:
        return Ports(
            tracker=self.tracker,
            workspaces=self.workspaces,
            runner=self.runner,
            forge=self.forge,
            records=self.recorded,
            agents=AGENTS,
            prompts=_Templates(self.repository.main),
        )

    def desired(self, most: int | None = None) -> Desired:
        """Every recorded manifest. Raises PermanentError when one can't be read: it may own any task."""
        found = self._recorded()
        if found.problems:
            name, problem = next(iter(sorted(found.problems.items())))
            raise PermanentError(
                f"the recorded manifest {name} can't be read: {problem}",
                hint=f"apply it again, or forget it with 'reconcile delete {name}'",
            )
        return Desired(epics=found.epics, max_agents=most)

    def catch_up(self) -> tuple[str, ...]:
        """Finish what a killed landing left undone in the checkouts of the bases; what can't be finished now, and why.

        That is tried again by the loop. One base keeps nobody from starting.
        """
        self.git.sweep()
        left = []
        for root in dict.fromkeys(spec.worktrees.root for spec in self.desired().epics if not spec.invalid):
            try:
                self.workspaces.fix(root)
            except (ReconcileError, OSError) as error:
                left.append(f"a worktree in {root} that was moved can't be fixed yet: {error}")
        for base in dict.fromkeys(spec.base for spec in self.desired().epics):
            try:
                self.forge.catch_up(base)
            except (ReconcileError, OSError) as error:
                left.append(f"what was begun on {base} can't be finished yet: {error}")
        return tuple(left)

    def forges(self, desired: Desired) -> Mapping[str, str]:
        """For each manifest whose forge can't be used: why, and what to write."""
        # Somebody may have added a remote since, or given it the name that its repository has now.
        config, github = self._addresses.resolved(self.git.config()), self.github
        chosen = replace(self.chosen, config=config, now=github.slug if github else None)
        if github and any(chosen.wished(spec) == chosen.now for spec in desired.epics):
            github.look.adopt(github.slug)
        found = {spec.name: why for spec in desired.epics if (why := chosen.refused(spec))}
        fitting = [spec.name for spec in desired.epics if spec.name not in found]
        trouble = self.github.trouble if self.github and fitting else None
        return {**found, **dict.fromkeys(fitting, trouble)} if trouble else found

    def trackers(self, desired: Desired) -> Mapping[str, str]:
        """For each manifest that asks for another tracker than the one that keeps the tasks here: what to write."""
        try:
            database = self.database()
        except ReconcileError:
            return {}  # the tracker says so itself
        return {spec.name: why for spec in desired.epics if (why := _other_tracker(spec.tracker, database))}

    def holds(self, holder: lock.Holder) -> bool:
        """True while the reconciler that wrote its name into the lock file has it open."""
        return processes.has_open(holder.pid, lock.file_of(self.state))

    @property
    def acting(self) -> bool:
        """True while a reconciler works here, be it us."""
        holder = lock.holder(self.state)
        return holder is not None and self.holds(holder)

    def statuses(self) -> dict[str, dict[str, Any]]:
        """What was last seen of every recorded manifest, by the one who acted on it."""
        return {name: self.recorded.status(name) for name in self.recorded.names()}

    def replaced(self) -> str | None:
        """What is wrong with the reconciler running here where its program was replaced since it started, be it us."""
        holder = lock.holder(self.state)
        if holder is None or not self.holds(holder) or not holder.replaced:
            return None
        return (
            f"the {holder.command} running here (pid {holder.pid}) was started from files that have been replaced; "
            "it starts nothing more: end it and start it again, its agents run on"
        )

    @property
    def default_base(self) -> str | None:
        """The base of a manifest that names none."""
        return _default_base(self.git)

    def database(self) -> str | None:
        """What says that a real Beads keeps the tasks; None where the built-in store does."""
        return holds_database(self.beads)

    @property
    def store(self) -> Path | None:
        """The folder of the built-in store; None where a database may be there, which nobody is to listen to."""
        try:
            return None if self.database() else self.beads
        except ReconcileError:
            return None

    def remote(self, base: str) -> Remote:
        """Where a base is pushed. Raises PermanentError where there is no such remote."""
        return Remotes(self.git).of(base)


@contextmanager
def leaving_nothing() -> Iterator[None]:
    """While it lasts, looking leaves no trace in a repository that has no state folder yet.

    Where there is one, git's control dir is kept in it as always: made again, it costs every command a process more.
    """
    with ExitStack() as aside:
        token = _ASIDE.set(aside)
        try:
            yield
        finally:
            _ASIDE.reset(token)


def _git(repository: Repository, environ: Mapping[str, str], control: Path | None = None) -> Git:
    if control is None and (aside := _ASIDE.get()) and not repository.state.exists():
        folder = TemporaryDirectory(prefix="reconcile-look-", ignore_cleanup_errors=True)
        control = Path(aside.enter_context(folder)) / "control"
    return Git(repository, environ, control)


def open_site(
    path: Path, environ: Mapping[str, str], *, control: Path | None = None, given: Sequence[EpicSpec] = ()
) -> Site:
    """Everything that works on the repository that contains `path`. Raises PermanentError where there is none.

    With `control`, git's control dir is kept there, and looking leaves no trace in the repository. `given`: manifests
    that are not recorded yet.
    """
    repository = repositories.find(path, environ)
    format.check(repository.state)
    repositories.remember(repository)
    tool = _git(repository, environ, control)
    recorded = Recorded(repository.state)
    beads = repository.main / ".beads"
    host = socket.gethostname()
    return Site(
        repository=repository,
        git=tool,
        recorded=recorded,
        tracker=ChosenTracker(
            beads,
            JsonlTracker(beads),
            lambda: _beads(repository, environ, f"reconcile@{host}"),
        ),
        workspaces=GitWorkspaces(tool),
        runner=LocalRunner(
            repository.state,
            environ,
            Path(sys.executable).parent,
            lambda name: manifest.max_agents(repository.state, name),
            _Identity(tool),
            AGENTS,
            keep=control is None,
            begins=recorded.distrust,
        ),
        journal=Journal(beads, repository.main),
        host=host,
        environ=environ,
        given=given,
    )


def _beads(repository: Repository, environ: Mapping[str, str], us: str) -> BeadsTracker:
    module = late("reconciler.trackers.beads")
    made: BeadsTracker = module.BeadsTracker(
        repository.main, repository.main / ".beads", repository.state / "locks", environ, us
    )
    return made


def read(
    sources: Sequence[str], stdin: str, environ: Mapping[str, str], *, to_act: bool = True
) -> tuple[EpicSpec, ...]:
    """The manifests in these files, folders and `-`. Raises ManifestError.

    With `to_act` they depend on tasks that there are; PermanentError where these can't be read.
    """
    held = _held if to_act else None
    return manifest.load(sources, stdin=stdin, cwd=Path.cwd(), locate=lambda path: locate(path, environ), held=held)


def _held(main: Path) -> Collection[str]:
    try:
        return JsonlTracker(main / ".beads").tasks().keys()
    except (ReconcileError, OSError) as error:
        raise PermanentError(f"what the manifest depends on can't be looked up: {error}") from error


def refuse_agents(environ: Mapping[str, str], what: str) -> None:
    """Raise PermanentError where an agent, or anything that an agent started, asks for what only people decide."""
    if RUN_MARKER in environ or processes.descends_from_a_carrier(RUN_MARKER):
        raise PermanentError(f"'{what}' is refused inside a run: agents do not decide this for themselves")


def locate(path: Path, environ: Mapping[str, str]) -> manifest.Located:
    repository = repositories.find(path, environ)
    bases = {spec.name: spec.base for spec in Recorded(repository.state).load().epics}
    return manifest.Located(main=repository.main, default_base=_default_base(_git(repository, environ)), bases=bases)


def _default_base(tool: Git) -> str | None:
    """The branch that work lands on: origin's default, else the one that the main checkout is on."""
    for ref, prefix in (("refs/remotes/origin/HEAD", "refs/remotes/origin/"), ("HEAD", "refs/heads/")):
        found = tool.refs("symbolic-ref", "--quiet", ref, ok=(0, 1, 128)).text.strip()
        if found.startswith(prefix):
            return found.removeprefix(prefix)
    return None


def _other_tracker(kind: TrackerKind, database: str | None) -> str | None:
    """Why this kind of tracker is not the one that keeps the tasks; None where it is."""
    if kind is TrackerKind.JSONL and database:
        return (
            f"the tasks are in a Beads database ({database}), and 'tracker: jsonl' is the built-in store; write "
            "'tracker: auto', or export with 'bd export' and move the database out of .beads/"
        )
    if kind is TrackerKind.BEADS and not database:
        return "there is no Beads database in .beads/; run 'bd init', or write 'tracker: auto' for the built-in store"
    return None


class _Identity(Mapping[str, str]):
    """What git needs to commit, where nobody has set who they are. Git is asked when somebody wants to know."""

    def __init__(self, tool: Git) -> None:
        self._tool = tool

    def __getitem__(self, name: str) -> str:
        return self._needed[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._needed)

    def __len__(self) -> int:
        return len(self._needed)

    @cached_property
    def _needed(self) -> dict[str, str]:
        listed = self._tool.objects("config", "--null", "--get-regexp", r"^user\.(name|email)$", ok=(0, 1)).text
        known = dict(entry.partition("\n")[::2] for entry in listed.split("\0"))
        if all(known.get(f"user.{what}", "").strip() for what in ("name", "email")):
            return {}
        return {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in IDENTITY.items()}


class _Templates:
    """`ports.Prompts` on files: the manifest's template, the repository's own, or the one that ships."""

    def __init__(self, main: Path) -> None:
        self._main = main

    def template(self, spec: EpicSpec) -> str:
        """The text of the worker's template, without its front matter."""
        if spec.agent.prompt:
            return _without_front_matter(_text(Path(spec.agent.prompt)))
        own = self._main / WORKER
        text = _text(own) if own.is_file() else ""
        # Somebody's worker may be one for another tool: what does not speak of the task can't be its prompt.
        if not _SPEAKS_OF_THE_TASK.search(text):
            text = _text(manifest.shipped_agents() / "worker.md")
        return _without_front_matter(text)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PermanentError(f"{path}: the prompt template can't be read: {error}") from error


def _without_front_matter(text: str) -> str:
    # An agent's CLI could take a prompt that begins with dashes for an option.
    if not text.startswith("---\n"):
        return text
    _, _, rest = text[4:].partition("\n---\n")
    return rest.lstrip() or text


__all__ = [
    "IDENTITY",
    "RUN_MARKER",
    "ManifestError",
    "Remote",
    "Site",
    "environ",
    "leaving_nothing",
    "open_site",
    "read",
    "refuse_agents",
]
