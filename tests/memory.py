"""A whole world in memory behind the same ports: for tests, where every write can be made to die or to lose its answer.

A commit is a set of patches, a merge is their union, a tree is what they add up to. The world keeps the promises itself:
whoever breaks one finds it in `broken`.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Concatenate, ParamSpec, TypeVar

from reconciler.model.agent_spec import AgentSpec
from reconciler.model.changes import Diff, File, Span
from reconciler.model.desired import EpicSpec, InlineTask
from reconciler.model.errors import ChangedError, PermanentError, ReconcileError, TemporaryError, UnfitError
from reconciler.model.names import BranchName, PrNumber, RunId, RunKind, Sha, TaskId, branch_of, usable
from reconciler.model.observed import (
    Base,
    BaseCommit,
    Branch,
    Candidate,
    Cause,
    Checkout,
    CheckResult,
    Conflict,
    Exit,
    ForgeCheck,
    Landing,
    MergeStep,
    Occupant,
    PullRequest,
    PullState,
    Rejection,
    RetryPoint,
    Room,
    Rules,
    Run,
    RunState,
    Salvage,
    StagedCheck,
    StopWhy,
    Task,
    Upon,
    Worktree,
    WorktreeFault,
)
from reconciler.model.ports import (
    Assignment,
    Change,
    CommittedFile,
    Invocation,
    LandOrder,
    NewTask,
    Place,
    Ports,
    RunSpec,
    VerdictPost,
)
from reconciler.model.pull_records import Verdict
from reconciler.model.report import Report
from reconciler.model.values import replace
from reconciler.model.venue import Venue

START = datetime(2026, 1, 1, tzinfo=UTC)
P = ParamSpec("P")
R = TypeVar("R")


class Killed(BaseException):
    """The program was killed at this effect."""


@dataclass(slots=True)
class Fault:
    """What happens at the `at`-th effect from now (counted from 1): `before`, `after`, or `unanswered` (done, but the
    caller is told that it may not be)."""

    at: int
    how: str


def effect(method: Callable[Concatenate[World, P], R]) -> Callable[Concatenate[World, P], R]:
    """Mark a write of the world: the places where the program can die."""

    @functools.wraps(method)
    def faulty(world: World, /, *args: P.args, **kwargs: P.kwargs) -> R:
        fault = world.strike(method.__name__)
        if fault == "before":
            world.dead = True
            raise Killed(method.__name__)
        result = method(world, *args, **kwargs)
        if fault == "after":
            world.dead = True
            raise Killed(method.__name__)
        if fault == "unanswered":
            raise TemporaryError(f"{method.__name__}: no answer", delay=1.0)
        return result

    return faulty


@dataclass
class Tree:
    """A worktree: the head it has checked out, and the patches in it that are in no commit."""

    head: Sha
    dirty: frozenset[str] = frozenset()
    usable: bool = True
    ready: bool = False


@dataclass
class World:
    """Tasks, git, processes and pull requests, all in one place and all within reach of a test."""

    now: datetime = START
    beads: dict[TaskId, Task] = field(default_factory=dict)
    trees: dict[TaskId, Tree] = field(default_factory=dict)
    check_trees: dict[str, str] = field(default_factory=dict)
    heads: dict[TaskId, Sha] = field(default_factory=dict)
    commits: dict[Sha, frozenset[str]] = field(default_factory=lambda: {Sha("c0"): frozenset()})
    parents: dict[Sha, tuple[Sha, ...]] = field(default_factory=lambda: {Sha("c0"): ()})
    main: Sha = Sha("c0")
    landed: list[Landing] = field(default_factory=list)
    pulls: dict[PrNumber, PullRequest] = field(default_factory=dict)
    judged: dict[Sha, Candidate | Conflict] = field(default_factory=dict)  # the newest candidate of each head
    diffs: dict[tuple[Sha, Sha], Diff] = field(default_factory=dict)
    processes: dict[RunId, Run] = field(default_factory=dict)
    specs: dict[RunId, RunSpec] = field(default_factory=dict)
    marks: dict[TaskId, RetryPoint] = field(default_factory=dict)
    saved: list[Salvage] = field(default_factory=list)
    ages: dict[Sha, timedelta] = field(default_factory=dict)
    counted: datetime | None = None
    saved_patches: set[str] = field(default_factory=set)
    free: Room = field(default_factory=Room)
    occupied: dict[TaskId, Occupant] = field(default_factory=dict)
    in_the_way: frozenset[str] = frozenset()
    stagings: dict[RunId, StagedCheck] = field(default_factory=dict)  # what was pushed to staging branches
    pushes: list[Sha] = field(default_factory=list)  # the trees that were
    rules: Rules | None = None
    applied_tasks: dict[tuple[str, str], InlineTask] = field(default_factory=dict)
    upon: dict[TaskId, Upon] = field(default_factory=dict)
    rivals: set[frozenset[str]] = field(default_factory=set)  # pairs of patches that git can't merge
    checked: bool = True  # the manifests have checks: nothing may land without one
    down: set[str] = field(default_factory=set)
    fault: Fault | None = None
    effects: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    dead: bool = False

    def ports(self) -> Ports:
        return Ports(
            tracker=self,
            workspaces=self,
            runner=self,
            forge=self,
            records=self,
            agents={"command": _Verbatim()},
            prompts=_Empty(),
        )

    def strike(self, name: str) -> str | None:
        if self.dead:
            raise Killed(name)
        self.effects.append(name)
        if self.fault is None:
            return None
        self.fault.at -= 1
        if self.fault.at:
            return None
        how, self.fault = self.fault.how, None
        return how

    def _up(self, source: str) -> None:
        if source in self.down:
            raise TemporaryError(f"{source} did not answer")

    # --- what happens outside ------------------------------------------------------------------------------

    def add(self, id: str, **fields: Any) -> Task:
        """A task made by a person."""
        task = Task(id=TaskId(id), created_at=self.now, updated_at=self.now, **{"title": id, **fields})
        self.beads[task.id] = task
        return task

    def edit(self, id: str, **fields: Any) -> None:
        """A person changes a task."""
        self.beads[TaskId(id)] = replace(self.beads[TaskId(id)], **{"updated_at": self.now, **fields})

    def commit(self, id: str, *patches: str) -> Sha:
        """The agent (or a person) commits on the task's branch."""
        task = TaskId(id)
        head = self._new_commit(self.commits[self.heads[task]] | set(patches), (self.heads[task],))
        self.heads[task] = head
        if task in self.trees:
            self.trees[task].head = head
        return head

    def merge_base_into(self, id: str) -> Sha:
        """The agent brings the base into the task's branch."""
        task = TaskId(id)
        head = self._new_commit(self.commits[self.heads[task]] | self.commits[self.main], (self.heads[task], self.main))
        self.heads[task] = self.trees[task].head = head
        return head

    def finish(self, run: RunId, code: int = 0, cause: Cause = Cause.EXITED, **said: Any) -> None:
        """A run ends by itself, and its agent may say something of it: a `report`, a `verdict`."""
        record = Exit(cause=cause, code=code, at=self.now)
        self.processes[run] = replace(self.processes[run], state=RunState.ENDED, exit=record, **said)

    def lose(self, run: RunId) -> None:
        """A run is killed together with whoever would have recorded it."""
        self.processes[run] = replace(self.processes[run], state=RunState.LOST)

    def push_to_main(self, *patches: str) -> None:
        """A person commits on the base."""
        self.main = self._new_commit(self.commits[self.main] | set(patches), (self.main,))

    def alive(self, kind: RunKind = RunKind.WORK) -> list[Run]:
        return [run for run in self.processes.values() if run.alive and run.id.kind is kind]

    def _new_commit(self, content: Iterable[str], parents: tuple[Sha, ...]) -> Sha:
        sha = Sha(f"c{len(self.commits)}")
        self.commits[sha] = frozenset(content)
        self.parents[sha] = parents
        return sha

    def _tree(self, content: Iterable[str]) -> Sha:
        return Sha(hashlib.sha1("+".join(sorted(content)).encode(), usedforsecurity=False).hexdigest())

    def _promise(self, kept: bool, what: str) -> None:
        if not kept:
            self.broken.append(what)

    # --- Tracker -------------------------------------------------------------------------------------------

    def tasks(self) -> dict[TaskId, Task]:
        self._up("tracker")
        return dict(self.beads)

    folder = ".beads"
    login_variables = ()

    def environment(self, actor: str = "", run: RunId | None = None) -> dict[str, str]:
        return {}

    def stirred(self) -> bool:
        return False

    def renew(self, now: datetime) -> None:
        """Claims in memory never run out."""

    def prefix(self) -> str:
        return "t"

    def write(self, changes: Sequence[Change]) -> list[ReconcileError | None]:
        self._up("tracker")
        return [self._answer(change) for change in changes]

    def _answer(self, change: Change) -> ReconcileError | None:
        try:
            self.change(change)
        except ReconcileError as error:
            return error
        return None

    @effect
    def change(self, change: Change) -> None:
        before = self.beads.get(change.task)
        task = before or (_made(change.task, change.create, self.now) if change.create else None)
        if task is None:
            raise PermanentError(f"no task {change.task}")
        if change.expect_status is not None and task.status not in change.expect_status:
            raise ChangedError(f"{task.id} is {task.status} now")
        if change.expect_assignee is not None and task.assignee not in change.expect_assignee:
            raise ChangedError(f"{task.id} is assigned to {task.assignee} now")
        if change.status == "closed" and "phase:merged" in change.add_labels:
            on_base = any(landing.task == task.id for landing in self.landed) or self._by_hand(task.id)
            self._promise(on_base, f"{task.id} closed as merged without a landing")
        after = _changed(task, change, self.now)
        if before is None or after != before:
            self.beads[change.task] = replace(after, updated_at=self.now)

    def _by_hand(self, task: TaskId) -> bool:
        pulls = [p for p in self.pulls.values() if p.task == task and p.opened_head]
        return any(self.commits[p.opened_head] <= self.commits[self.main] for p in pulls if p.opened_head)

    # --- Workspaces ----------------------------------------------------------------------------------------

    def worktrees(self, at: Venue, tasks: Iterable[TaskId]) -> dict[TaskId, Worktree]:
        self._up("worktrees")
        return {
            task: Worktree(
                path=f"{at.root}/{task}",
                head=tree.head,
                set_up=tree.ready,
                fault=None if tree.usable else WorktreeFault.HALF_MADE,
            )
            for task, tree in self.trees.items()
        }

    def check_worktrees(self, at: Venue) -> dict[str, str]:
        return dict(self.check_trees)

    def branches(self, base: Sha) -> dict[TaskId, Branch]:
        self._up("branches")
        within = self._ancestors(base)
        return {
            task: Branch(
                name=branch_of(task), head=head, ahead=len(self._ancestors(head) - within), in_base=head in within
            )
            for task, head in self.heads.items()
        }

    def salvages(self) -> tuple[Salvage, ...]:
        return tuple(replace(each, age=self.ages.get(each.commit, timedelta())) for each in self.saved)

    def time_passes(self, now: datetime) -> None:
        passed = min(max(now - (self.counted or now), timedelta()), timedelta(days=1))
        self.counted = now
        self.ages = {each.commit: self.ages.get(each.commit, timedelta()) + passed for each in self.saved}

    def create(self, task: TaskId, spec: EpicSpec, base: Sha, n: int = 1) -> Place:
        if task not in self.heads:
            self._make_branch(task, base)
        if task not in self.trees:
            self._make_tree(task)
        tree = self.trees[task]
        if not tree.usable:
            self._repair_tree(task)
        return Place(path=f"{spec.worktrees.root}/{task}", head=self.heads[task], ready_marker="", set_up=tree.ready)

    @effect
    def _make_branch(self, task: TaskId, base: Sha) -> None:
        self.heads[task] = base

    @effect
    def _make_tree(self, task: TaskId) -> None:
        self.trees[task] = Tree(self.heads[task], usable=False)

    @effect
    def _repair_tree(self, task: TaskId) -> None:
        self._promise(not self.trees[task].dirty, f"{task}: a half-made worktree with files in it was made anew")
        self.trees[task] = Tree(self.heads[task])

    @effect
    def create_check(self, subject: str, at: Venue, commit: Sha, *, n: int = 1, apart: bool = False) -> str:
        self.check_trees[subject] = f"{at.root}/.checks/{subject}"
        return self.check_trees[subject]

    def salvage(self, task: TaskId, at: Venue) -> Salvage | None:
        tree = self.trees.get(task)
        if tree is None or not tree.dirty - self.saved_patches:
            return None
        return self._save(task, tree)

    @effect
    def _save(self, task: TaskId, tree: Tree) -> Salvage:
        self.saved_patches |= tree.dirty
        n = sum(1 for s in self.saved if s.task == task) + 1
        self.saved.append(Salvage(task=task, n=n, commit=Sha(f"s{len(self.saved)}"), at=self.now))
        return self.saved[-1]

    def remove(self, task: TaskId, at: Venue) -> None:
        if task in self.trees:
            self.salvage(task, at)
            self._remove_tree(task)

    @effect
    def _remove_tree(self, task: TaskId) -> None:
        tree = self.trees.pop(task)
        self._promise(not tree.dirty - self.saved_patches, f"{task}: uncommitted work was destroyed")
        self._promise(not any(r.task == task for r in self.alive()), f"{task}: removed under a live agent")
        self._promise(task not in self.occupied, f"{task}: removed under somebody's feet")

    @effect
    def remove_check(self, subject: str, at: Venue) -> None:
        self.check_trees.pop(subject, None)

    @effect
    def delete_branch(self, task: TaskId, expected: Sha) -> None:
        if self.heads.get(task) not in (expected, None):
            raise ChangedError(f"{branch_of(task)} moved")
        head = self.heads.pop(task, None)
        if head:
            kept = self.commits[head] <= self.commits[self.main]
            self._promise(kept, f"{task}: unlanded commits were deleted with the branch")

    @effect
    def drop_salvage(self, salvage: Salvage) -> None:
        self.saved = [each for each in self.saved if each.commit != salvage.commit]

    def broken_branches(self) -> dict[TaskId, str]:
        return {}

    def take(self, task: TaskId, at: Venue, head: Sha) -> None:
        raise PermanentError("not in this world")

    def restore(self, task: TaskId) -> BranchName:
        raise PermanentError("not in this world")

    # --- Runner --------------------------------------------------------------------------------------------

    def runs(self, open_tasks: object = None) -> dict[RunId, Run]:
        self._up("runs")
        return dict(self.processes)

    def since(self, open_tasks: object = None) -> dict[TaskId, RetryPoint]:
        self._up("runs")
        return dict(self.marks)

    def room(self, folders: Iterable[str]) -> Room:
        return self.free

    def occupants(self, paths: Iterable[str]) -> dict[str, Occupant]:
        wanted = {path.rpartition("/")[2]: path for path in paths}
        return {wanted[task]: who for task, who in self.occupied.items() if task in wanted}

    def missing(self, spec: EpicSpec) -> str | None:
        return None

    def committed(self, base: Sha, path: str) -> CommittedFile | None:
        return None

    def forbids(self, at: Venue) -> bool:
        return False

    def lacking(self, spec: EpicSpec, programs: Iterable[str]) -> tuple[str, ...]:
        return ()

    def takes(self, spec: EpicSpec, option: str) -> bool:
        return True

    @effect
    def start(self, spec: RunSpec) -> None:
        if spec.id in self.processes or any(
            r.id.subject == spec.id.subject and r.alive for r in self.processes.values()
        ):
            raise ChangedError(f"{spec.id} is taken")
        agents = (*self.alive(), *self.alive(RunKind.REVIEW))
        mine = [run for run in agents if run.manifest == spec.manifest]
        if spec.slot and len(mine) >= spec.slot.most:
            raise ChangedError("no slot is free")
        if spec.id.kind is RunKind.WORK:
            tree = self.trees.get(spec.task)
            self._promise(tree is not None and tree.usable, f"{spec.task}: an agent started without a whole worktree")
            self._promise(not self.beads[spec.task].closed, f"{spec.task}: an agent started on a closed task")
        self.specs[spec.id] = spec
        self.processes[spec.id] = Run(
            id=spec.id,
            task=spec.task,
            manifest=spec.manifest,
            state=RunState.RUNNING,
            attempt=spec.attempt,
            why=spec.why,
            baseline=spec.baseline,
            heads=spec.heads,
            left_out=spec.left_out,
            below=spec.below,
            base_tip=spec.base_tip,
            tree=spec.tree,
            judged=spec.judged,
            started_at=self.now,
            agent=spec.agent,
            pid=len(self.processes) + 100,
        )

    @effect
    def stop(self, run: RunId, why: StopWhy) -> None:
        seen = self.processes[run]
        if seen.alive:
            record = seen.exit or Exit(cause=Cause.STOPPED, signal=15, stop=why, at=self.now)
            self.processes[run] = replace(seen, state=RunState.ENDED, exit=record)

    def give_up(self, run: RunId) -> None:
        raise PermanentError("every run is here")

    def archive(self, open_tasks: object) -> None:
        pass

    def venue(self, run: RunId) -> Venue:
        return Venue()

    def prompt_path(self, run: RunId, at: Venue) -> str:
        return f"/runs/{run}/prompt"

    def log_tail(self, run: RunId, most: int = 8000) -> str:
        return ""

    @effect
    def mark_since(self, task: TaskId, base: Sha | None, at: datetime) -> None:
        n = max((run.id.n - run.alive for run in self.processes.values() if run.task == task), default=0)
        self.marks[task] = RetryPoint(n=n, base=base, at=at)

    # --- Forge ---------------------------------------------------------------------------------------------

    def base(self, name: str, *, push: bool = False, look: bool = True) -> Base:
        self._up("base")
        checkout = None if self.rules else Checkout(path="/repo", dirty=self.in_the_way if look else None)
        return Base(name=name, head=self.main, checkout=checkout, rules=self.rules)

    def pull_requests(self) -> dict[TaskId, PullRequest]:
        self._up("forge")
        newest: dict[TaskId, PullRequest] = {}
        for number in sorted(self.pulls):
            pull = self.pulls[number]
            if pull.state is PullState.OPEN and pull.task in self.heads:
                pull = replace(pull, head=self.heads[pull.task])
            elif pull.state is PullState.OPEN:
                pull = replace(pull, state=PullState.CLOSED, declined=True)
            newest[pull.task] = pull
        return newest

    def damaged(self) -> dict[PrNumber, str]:
        return {}

    def recent(self, tip: Sha) -> tuple[BaseCommit, ...]:
        found: list[BaseCommit] = []
        while tip:
            found.append(BaseCommit(tip, self._tree(self.commits[tip])))
            tip = next(iter(self.parents.get(tip, ())), None)
        return tuple(found)

    def landings(self, base: str) -> list[Landing]:
        self._up("landings")
        return list(self.landed)

    def contains(self, base: Sha, commit: Sha) -> bool:
        return commit in self._ancestors(base)

    def candidate(self, base: Sha, head: Sha, *, exact: bool = True) -> Candidate | Conflict:
        self._up("candidates")
        older = None if exact else self.judged.get(head)
        if older and self._only_landings_between(older.base, base):
            return older
        self.judged[head] = self._judge(base, head)
        return self.judged[head]

    def _only_landings_between(self, old: Sha, new: Sha) -> bool:
        landed = {landing.commit for landing in self.landed}
        while new != old and new in landed:
            new = self.parents[new][0]
        return new == old

    def _judge(self, base: Sha, head: Sha) -> Candidate | Conflict:
        ours, theirs = self.commits[base], self.commits[head]
        for pair in self.rivals:
            if pair <= ours | theirs and not pair <= ours and not pair <= theirs:
                return Conflict(base=base, head=head, paths=tuple(sorted(pair)))
        fork = self._ancestors(base) & self._ancestors(head)
        own = theirs != frozenset().union(*(self.commits[c] for c in fork))
        tree = self._tree(ours | theirs)
        is_head = base in self._ancestors(head)
        return Candidate(base=base, head=head, tree=tree, changed=theirs - ours, own_changes=own, is_head=is_head)

    def fold(self, base: Sha, steps: tuple[MergeStep, ...]) -> tuple[Candidate | Conflict, ...]:
        self._up("candidates")
        made: list[Candidate | Conflict] = []
        ours = self.commits[base]
        for step in steps:
            theirs = self.commits[step.head]
            clash = [pair for pair in self.rivals if pair <= ours | theirs and not (pair <= ours or pair <= theirs)]
            if clash:
                made.append(Conflict(base=base, head=step.head, paths=tuple(sorted(clash[0]))))
                continue
            tree = self._tree(ours | theirs)
            fork = self._ancestors(base) & self._ancestors(step.head)
            own = theirs != frozenset().union(*(self.commits[c] for c in fork))
            made.append(Candidate(base=base, head=step.head, tree=tree, changed=theirs - ours, own_changes=own))
            ours |= theirs
        return tuple(made)

    def candidate_commit(self, order: LandOrder) -> Sha:
        return Sha(f"merged-{order.expected.tree}")

    def staged(self) -> tuple[StagedCheck, ...]:
        self._up("forge")
        return tuple(self.stagings.values())

    def runs_when_staged(self, base: Sha) -> bool:
        return True

    def stage(self, order: LandOrder, run: Run) -> None:
        for each in order.whole if run.heads else ():
            seen = next((pull for pull in self.pull_requests().values() if pull.task == each.task), None)
            self._promise(seen is not None and seen.head == each.expected.head, f"{each.task}: another head was staged")
            yes = seen is not None and seen.approved == seen.head
            self._promise(
                yes or not any(".github" in path for path in each.expected.changed), f"{each.task}: ran unread"
            )
        if run.id not in self.stagings:
            self._note_staging(order, run)
        if not self.stagings[run.id].there:
            self._push_staging(run.id)

    @effect
    def _note_staging(self, order: LandOrder, run: Run) -> None:
        taken = {each.branch for each in self.stagings.values() if each.run.exit is None or each.there}
        branch = next(name for n in range(1, 99) if (name := f"reconcile/staging/{n}") not in taken)
        run = replace(run, commit=Sha(f"staged-{run.id}"), started_at=self.now, state=RunState.RUNNING)
        self.stagings[run.id] = StagedCheck(run=run, base=order.base, branch=branch, there=False)

    @effect
    def _push_staging(self, run: RunId) -> None:
        staged = self.stagings[run] = replace(self.stagings[run], there=True)
        self.pushes.append(staged.run.tree or Sha(""))

    def clear_staging(self, run: RunId, end: Exit, remark: str) -> None:
        if self.stagings[run].run.exit is None:
            self._note_end(run, end, remark)
        if self.stagings[run].there:
            self._delete_staging(run)

    @effect
    def _note_end(self, run: RunId, end: Exit, remark: str) -> None:
        each = self.stagings[run]
        self.stagings[run] = replace(each, run=replace(each.run, exit=end, remark=remark, state=RunState.ENDED))

    @effect
    def _delete_staging(self, run: RunId) -> None:
        self.stagings[run] = replace(self.stagings[run], there=False)

    def test_staged(self, run: RunId, result: CheckResult = CheckResult.PASSED, name: str = "ci") -> None:
        """The forge runs what it has on a staging branch."""
        check = ForgeCheck(name=name, result=result, url="https://ci", summary="it broke")
        over = None if result is CheckResult.PENDING else self.now
        self.stagings[run] = replace(self.stagings[run], checks=(check,), settled_at=over)

    @effect
    def open(self, task: TaskId, head: Sha, title: str, body: str, *, base: str = "", onto: str = "") -> PrNumber:
        if self.heads.get(task) != head:
            raise ChangedError(f"{branch_of(task)} moved")
        mine = [p for p in self.pulls.values() if p.task == task and p.state is PullState.OPEN]
        if mine:
            return mine[0].number
        number = PrNumber(len(self.pulls) + 1)
        self.pulls[number] = PullRequest(number=number, task=task, head=head, opened_head=head, opened_at=self.now)
        return number

    @effect
    def close(self, number: PrNumber, *, declined: bool, merged: bool = False) -> None:
        state = PullState.MERGED if merged else PullState.CLOSED
        pull = self.pulls[number]
        head = self.heads.get(pull.task, pull.head)
        self.pulls[number] = replace(pull, state=state, head=head, declined=declined, closed_at=self.now)

    @effect
    def review(self, number: PrNumber, head: Sha, verdict: Verdict, text: str = "") -> None:
        match verdict:
            case Verdict.APPROVED:
                changed = replace(self.pulls[number], approved=head)
            case Verdict.REJECTED:
                changed = replace(self.pulls[number], rejection=Rejection(head=head, text=text))
            case Verdict.MERGE:
                changed = replace(self.pulls[number], merge_now=head)
        self.pulls[number] = changed

    @effect
    def land(self, order: LandOrder) -> Sha:
        for each in order.whole:
            if self.main != each.expected.base or self.heads.get(each.task) != each.expected.head:
                raise ChangedError("base or head moved")
        if self.in_the_way & order.changed:
            raise TemporaryError("the checkout is in the way")
        self._promise(self._passed(order), f"{order.task}: {order.expected.tree} landed without having passed")
        for each in order.whole:
            expected = each.expected
            self._promise(not any(r.task == each.task for r in self.alive()), f"{each.task}: landed under a live agent")
            heads = [landing.head for landing in self.landed]
            self._promise(expected.head not in heads, f"{each.task}: {expected.head} landed twice")
            commit = self._new_commit(self.commits[self.main] | self.commits[expected.head], (self.main,))
            self.main = commit
            self.landed.append(Landing(task=each.task, head=expected.head, commit=commit, at=self.now))
            self.pulls[each.number] = replace(
                self.pulls[each.number], state=PullState.MERGED, head=expected.head, closed_at=self.now
            )
        self._promise(self._tree(self.commits[commit]) == order.expected.tree, f"{order.task}: another tree landed")
        return commit

    def _passed(self, order: LandOrder) -> bool:
        if not self.checked:
            return True
        for each in self.stagings.values():
            green = each.checks and all(check.result is CheckResult.PASSED for check in each.checks)
            if each.run.tree == order.expected.tree and green:
                return True
        checks = [r for r in self.processes.values() if r.id.kind is RunKind.CHECK]
        return any(r.id.subject.startswith(order.expected.tree[:12]) and r.exit and r.exit.well for r in checks)

    @property
    def changes(self) -> World:
        return self

    def diff(self, base: Sha, head: Sha) -> Diff:
        if (base, head) not in self.diffs:
            fork = self._ancestors(base) & self._ancestors(head)
            start = next(sha for sha in reversed(list(self.commits)) if sha in fork)
            new = sorted(self.commits[head] - self.commits[start])
            files = tuple(File(path=patch, kind="A", added=1, deleted=0) for patch in new)
            tree = self._tree(self.commits[head])
            self.diffs[base, head] = Diff(start=start, head=head, tree=tree, files=files)
        return self.diffs[base, head]

    def paths(self, landed: Sha) -> frozenset[str]:
        below = self.parents[landed][:1]
        return self.commits[landed] - (self.commits[below[0]] if below else frozenset())

    def uncommitted(self, path: str, head: Sha) -> frozenset[str]:
        return next((tree.dirty for task, tree in self.trees.items() if path.endswith(f"/{task}")), frozenset())

    def message(self, commit: Sha) -> str:
        return ""

    def patch(self, span: Span, *, whole: bool) -> bytes:
        return b""

    def push_base(self, base: str) -> None:
        pass

    def follow(self, base: str) -> None:
        pass

    def unfreeze(self, base: str) -> bool:
        return False

    def follow_branch(self, task: TaskId, head: Sha) -> None:
        raise PermanentError("branches are in one place only in this world")

    def update(self, number: PrNumber, head: Sha) -> None:
        raise PermanentError("nothing asks for the base in a branch in this world")

    def enqueue(self, number: PrNumber, head: Sha) -> None:
        raise PermanentError("there is no merge queue elsewhere in this world")

    def stacks(self) -> Mapping[TaskId, Upon]:
        return self.upon

    @effect
    def begin_on(self, task: TaskId, upon: Upon) -> None:
        if task in self.heads or self.heads.get(upon.parent) != upon.fork:
            raise ChangedError("it has moved on")
        self.upon[task] = upon

    def forget_stack(self, task: TaskId) -> None:
        self.upon.pop(task, None)

    @effect
    def unstack(self, task: TaskId, head: Sha, upon: Upon, base: Sha) -> Sha:
        if self.heads[task] != head:
            raise ChangedError("it has moved on")
        own = self.commits[head] - self.commits[upon.fork]
        if any(pair <= own | self.commits[base] for pair in self.rivals):
            raise UnfitError(f"{task}: its commits do not fit")
        self.heads[task] = self._new_commit(self.commits[base] | own, (base,)) if own else base
        if task in self.trees:
            self.trees[task].head = self.heads[task]
        return self.heads[task]

    def post_review(self, number: PrNumber, post: VerdictPost) -> None:
        raise PermanentError("nothing is posted elsewhere in this world")

    def withdraw_reviews(self, number: PrNumber, keep: str | None) -> None:
        raise PermanentError("nothing is posted elsewhere in this world")

    def rerun(self, number: PrNumber, head: Sha, workflows: Sequence[int]) -> None:
        raise PermanentError("nothing runs checks elsewhere in this world")

    def drop_branch(self, task: TaskId, head: Sha) -> None:
        raise PermanentError("branches are in one place only in this world")

    def catch_up(self, base: str) -> None:
        pass

    def _ancestors(self, head: Sha) -> set[Sha]:
        found: set[Sha] = set()
        todo = [head]
        while todo:
            if (commit := todo.pop()) not in found:
                found.add(commit)
                todo += self.parents[commit]
        return found

    # --- Records -------------------------------------------------------------------------------------------

    @effect
    def applied(self, manifest: str, tasks: Sequence[InlineTask]) -> None:
        self.applied_tasks |= {(manifest, task.key): task for task in tasks}

    def later(self, **delta: float) -> None:
        """Let time pass."""
        self.now += timedelta(**delta)


class _Verbatim:
    program = None

    def unfit(self, env: Mapping[str, str], *, root: bool) -> str | None:
        return None

    def invocation(self, spec: AgentSpec, given: Assignment) -> Invocation:
        return Invocation(argv=spec.argv)

    def report(self, log: str, ended: datetime | None = None) -> Report | None:
        return None

    def shown(self, log: str) -> Iterator[str]:
        return iter(log.splitlines())


class _Empty:
    def template(self, spec: EpicSpec, base: Sha) -> str:
        return "{title}"

    def guidelines(self, spec: EpicSpec, base: Sha) -> str:
        return "its own guidelines"

    def uncommitted(self, spec: EpicSpec, base: Sha) -> tuple[str, ...]:
        return ()

    def linked(self, spec: EpicSpec, base: Sha) -> frozenset[str]:
        return frozenset()

    def review(self, spec: EpicSpec, base: Sha) -> str:
        return "Look."


def _made(id: TaskId, new: NewTask, now: datetime) -> Task:
    if not usable(id) or not 1 <= len(new.title) <= 500 or not 0 <= new.priority <= 4:
        raise PermanentError(f"{id!r}: no other program would read this task")
    return Task(
        id=id,
        title=_text(new.title),
        type=new.type,
        description=_text(new.description),
        acceptance=_text(new.acceptance),
        priority=new.priority,
        labels=new.labels,
        parents=(new.parent,) if new.parent else (),
        blockers=new.blockers,
        created_at=now,
        updated_at=now,
    )


def _text(text: str) -> str:
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _changed(task: Task, change: Change, now: datetime) -> Task:
    if change.status not in (None, task.status, "open", "in_progress", "blocked", "deferred", "closed"):
        raise PermanentError(f"{task.id}: unknown status {change.status!r}")
    if change.add_blockers & {task.id, *task.parents}:
        raise PermanentError(f"{task.id} can't wait for itself or its parent")
    closes, known = change.status == "closed", task if task.closed else None
    stays = task.closed if change.status is None else closes
    return replace(
        task,
        status=change.status or task.status,
        assignee=task.assignee if change.assignee is None else change.assignee,
        title=change.title or task.title,
        description=task.description if change.description is None else change.description,
        acceptance=task.acceptance if change.acceptance is None else change.acceptance,
        priority=task.priority if change.priority is None else change.priority,
        labels=(task.labels - change.remove_labels) | change.add_labels,
        blockers=tuple(sorted((set(task.blockers) | change.add_blockers) - change.remove_blockers)),
        notes=task.notes
        if not change.note or f"\n{task.notes}".endswith(f"\n{change.note}")
        else f"{task.notes}\n{change.note}".lstrip("\n"),
        closed_at=(known.closed_at if known else now) if stays else None,
        close_reason=((closes and change.close_reason) or (known.close_reason if known else "")) if stays else "",
        closed_by_session=((closes and change.closed_by_session) or (known.closed_by_session if known else ""))
        if stays
        else "",
    )
