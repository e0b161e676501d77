"""The world in memory with a forge and branches of real git: agents that edit at random, people who push in between, and
landings that are killed at any step.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import gitrepo
import worlds
from dying import arm, dying
from gitrepo import GitRepo
from memory import Killed, Tree, World

from reconciler.forges.local import LocalForge
from reconciler.git.commands import Git
from reconciler.landing.intents import Intents
from reconciler.model.desired import EpicSpec
from reconciler.model.names import RunId, RunKind, Sha, TaskId, branch_of
from reconciler.model.observed import Branch, Run, Worktree
from reconciler.model.ports import Change, LandOrder, Place, Ports, RunSpec
from reconciler.model.values import replace
from reconciler.model.venue import Venue
from reconciler.system import shell
from reconciler.workspaces.branches import Branches

FILES, LINES = 12, 8
STEPS = 45  # of a landing, and some more


@dataclass
class Odds:
    """How often what goes wrong does so."""

    bad: float = 0.08  # a change is red by itself
    semantic: float = 0.15  # it is red together with one other change, and only so
    flaky: float = 0.05
    crash: float = 0.3  # of landings
    push: float = 0.2  # a person commits to the base, in a tick, before a landing, or amid one
    red_push: float = 0.1  # of those
    moves: float = 0.3  # of heads, in a tick
    vanishes: float = 0.05
    useless: float = 0.1  # attempts that change nothing


@dataclass
class GitWorld(World):
    """`repo` is checked out on its base; what agents do is done by plumbing on their branches."""

    repo: GitRepo = field(kw_only=True)
    rng: random.Random = field(kw_only=True)
    odds: Odds = field(default_factory=Odds)
    people: list[Sha] = field(default_factory=list)  # what they committed to the base
    gone: set[TaskId] = field(default_factory=set)  # whose branches vanished

    @classmethod
    def made(cls, folder: Path, seed: int) -> GitWorld:
        lines = "".join(f"line {n}\n" for n in range(LINES))
        repo = gitrepo.make(folder, files={f"src/{n}": lines for n in range(FILES)})
        return cls(now=worlds.NOW, repo=repo, rng=random.Random(seed))

    def __post_init__(self) -> None:
        self.born()

    def born(self) -> None:
        """A program that starts anew remembers nothing."""
        self.dead, self.git = False, self.repo.seam()
        self.forge, self.refs = LocalForge(self.git), Branches(self.git)

    def ports(self) -> Ports:
        return replace(super().ports(), forge=_Forge(self))

    # --- what agents and people do ---------------------------------------------------------------------------

    def offer(self, n: int) -> None:
        """One more change, by an agent that is done."""
        task = TaskId(f"x-{n}")
        self.add(task, status="in_progress", assignee=worlds.US)
        self.create(task, worlds.an_epic(), self.repo.head("main"))
        self.start(RunSpec(id=RunId(RunKind.WORK, task, 1), task=task, manifest="all", steps=(("agent",),), cwd=""))
        files = self.edits(task)
        if self.rng.random() < self.odds.bad:
            files[f"bad/{task}"] = "bad\n"
        if self.rng.random() < self.odds.semantic:
            files[f"{'left' if n % 2 else 'right'}/{self.rng.randrange(4)}"] = f"{task}\n"
        self.work(task, files)
        self.finish(RunId(RunKind.WORK, task, 1))

    def edits(self, task: TaskId) -> dict[str, str]:
        name = f"src/{self.rng.randrange(FILES)}"
        lines = self.repo.content(f"{self.branch(task)}:{name}").decode().splitlines()
        lines[self.rng.randrange(LINES)] = f"{task} {self.rng.random()}"
        return {name: "\n".join(lines) + "\n", f"own/{task}": f"{task}\n"}

    def branch(self, task: TaskId) -> str:
        return f"refs/heads/{branch_of(task)}"

    def work(self, task: TaskId, files: Mapping[str, str], gone: Iterable[str] = ()) -> None:
        self.repo.branch(branch_of(task), files, start=self.branch(task), gone=tuple(gone))

    def attempt(self, run: Run) -> None:
        """What an agent does that was sent again: all of it anew on the base as it is, or nothing that helps."""
        task = run.task
        if task in self.gone or self.rng.random() < self.odds.useless:
            return self.finish(run.id)
        main = self.repo.head("main")
        index = {"GIT_INDEX_FILE": str(self.repo.common / "index-of-a-repair")}
        self.repo.git("read-tree", main, env=index)
        blob = self.repo.git("rev-parse", f"{self.branch(task)}:own/{task}")
        self.repo.git("update-index", "--add", "--cacheinfo", f"100644,{blob},own/{task}", env=index)
        tree = self.repo.git("write-tree", env=index)
        commit = self.repo.git("commit-tree", tree, "-p", self.branch(task), "-p", main, "-m", f"mend {task}")
        self.repo.git("update-ref", self.branch(task), commit)
        self.finish(run.id)

    def push(self) -> None:
        """A person commits in the checkout of the base, red now and then, and mends that with the next commit."""
        red = self.rng.random() < self.odds.red_push
        self.people += committed(self.repo, f"people/{self.rng.random()}", red=red)

    def mend(self) -> None:
        """Where a person has left the base red, they mend it."""
        if (self.repo.path / "bad/people").exists():
            self.people += committed(self.repo, f"people/{self.rng.random()}")

    def chance(self) -> None:
        """What nobody has planned, once a tick."""
        if self.rng.random() < self.odds.push:
            self.push()
        open_ = [task for task, bead in sorted(self.beads.items()) if not bead.closed and task not in self.gone]
        still = {run.task for run in self.alive()}
        for task in open_:
            if task in still or not self.repo.git("for-each-ref", self.branch(task)):
                continue
            if self.rng.random() < self.odds.moves / len(open_):
                self.work(task, {f"more/{task}": f"{self.rng.random()}\n"})
            elif self.rng.random() < self.odds.vanishes / len(open_):
                self.repo.git("update-ref", "-d", self.branch(task))
                self.gone.add(task)

    def runs_end(self) -> None:
        for run in self.alive():
            self.attempt(run)
        for run in self.alive(RunKind.CHECK):
            if self.rng.random() < 0.6:  # in whatever order
                well = green(self.repo, run.tree or Sha("")) and self.rng.random() >= self.odds.flaky
                self.finish(run.id, 0 if well else 1)

    # --- what the program sees, and does -----------------------------------------------------------------------

    def branches(self, base: Sha) -> Mapping[TaskId, Branch]:
        return self.refs.measured(base)

    def worktrees(self, at: Venue, tasks: Iterable[TaskId]) -> dict[TaskId, Worktree]:
        heads = self.repo.refs("refs/heads/agent/")
        for task, tree in self.trees.items():
            tree.head = Sha(heads.get(self.branch(task), tree.head))
        return super().worktrees(at, tasks)

    def create(self, task: TaskId, spec: EpicSpec, base: Sha, n: int = 1) -> Place:
        if not self.repo.git("for-each-ref", self.branch(task)):
            self.repo.git("update-ref", self.branch(task), base, "")
        head = self.repo.head(self.branch(task))
        self.trees[task] = Tree(head)
        return Place(path=f"{spec.worktrees.root}/{task}", head=head, ready_marker="")

    def delete_branch(self, task: TaskId, expected: Sha) -> None:
        with self.git.writing() as lock:
            self.refs.delete(task, expected, lock)

    def change(self, change: Change) -> None:
        self.landed = list(self.forge.landings("main"))
        super().change(change)

    def _by_hand(self, task: TaskId) -> bool:
        return bool(self.repo.git("ls-tree", "main", f"own/{task}"))

    def land(self, order: LandOrder) -> Sha:
        """Killed at any step now and then, or with a person's commit amid it: nobody hears how that ended."""
        what = self.rng.random()
        if what < self.odds.crash:
            step = self.rng.randrange(STEPS)
            dying(lambda: self._land(order), lambda: arm(step))
        elif what < self.odds.crash + self.odds.push:
            step, note = self.rng.randrange(STEPS), self.repo.home / "pushed"
            dying(lambda: self._land(order), lambda: meddling(self.repo, step, note))
            if note.exists():
                self.people += map(Sha, note.read_text().split())
                note.unlink()
        else:
            return self.forge.land(order)
        raise Killed("land")

    def _land(self, order: LandOrder) -> None:
        LocalForge(Git(self.repo.repository(), self.repo.environ)).land(order)


class _Forge:
    """The forge, but for how its landings go."""

    def __init__(self, world: GitWorld) -> None:
        self._world = world

    def __getattr__(self, name: str) -> object:
        return getattr(self._world.forge, name)

    def land(self, order: LandOrder) -> Sha:
        return self._world.land(order)


def green(repo: GitRepo, tree: str) -> bool:
    """The checks of this world: nothing bad is in a tree, and nothing that does not go together."""
    names = set(repo.git("ls-tree", "-r", "--name-only", tree, "bad/", "left/", "right/").splitlines())
    both = {name.replace("left/", "right/") for name in names if name.startswith("left/")} & names
    return not both and not any(name.startswith("bad/") for name in names)


def committed(repo: GitRepo, name: str, *, red: bool = False) -> list[Sha]:
    """What a person commits in the checkout; nothing where git does not let them just now."""
    before = repo.git("rev-parse", "main")
    bad = repo.path / "bad" / "people"
    path = repo.path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{name}\n")
    named = [name]
    if red or bad.exists():
        bad.parent.mkdir(exist_ok=True)
        named.append("bad/people")
        bad.unlink() if bad.exists() else bad.write_text("bad\n")
    run = ["git", "commit", "--quiet", "--message", "by a person", "--only", "--", *named]
    subprocess.run(["git", "add", "--intent-to-add", "--", name], cwd=repo.path, env=repo.environ, capture_output=True)
    if red and bad.exists():
        subprocess.run(["git", "add", "-N", "bad/people"], cwd=repo.path, env=repo.environ, capture_output=True)
    done = subprocess.run(run, cwd=repo.path, env=repo.environ, capture_output=True)
    after = Sha(repo.git("rev-parse", "main"))
    return (
        [
            Sha(sha)
            for sha in repo.git("rev-list", "--author=Somebody", "--grep=by a person", f"{before}..{after}").split()
        ]
        if done.returncode == 0
        else []
    )


def meddling(repo: GitRepo, step: int, note: Path) -> None:
    """Have a person commit to the base right before this step of what follows."""
    left = [step]

    def meddled(function):
        def wrapped(*args, **options):
            left[0] -= 1
            if left[0] == -1:
                note.write_text(" ".join(committed(repo, f"people/amid-{os.getpid()}")))
            return function(*args, **options)

        return wrapped

    shell.run = meddled(shell.run)
    Intents.write = meddled(Intents.write)
    Intents.drop = meddled(Intents.drop)
    os.replace = meddled(os.replace)
