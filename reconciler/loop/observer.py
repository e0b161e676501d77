"""Look at the world and lay what was seen side by side. A source that fails becomes Unknown; it never becomes empty.

Reads are ordered so that a look that is torn by a change errs on the side of doing nothing: runs are read before tasks
and branches, because a run that ends in between then reads as still alive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar

from msgspec import Struct, field

from reconciler.loop.memo import Memo
from reconciler.model.changes import Diff
from reconciler.model.desired import Desired, EpicSpec
from reconciler.model.errors import ReconcileError, SilentError
from reconciler.model.names import RunId, RunKind, Sha, TaskId, usable
from reconciler.model.observed import (
    Base,
    BaseCommit,
    Branch,
    Candidate,
    Chain,
    Conflict,
    Failure,
    Graph,
    Imprecise,
    Landing,
    MergeStep,
    Observed,
    Occupant,
    PullRequest,
    PullState,
    RetryPoint,
    Room,
    Run,
    Unknown,
    Worktree,
    WorktreeFault,
)
from reconciler.model.ports import Ports
from reconciler.model.reasons import Reason
from reconciler.model.values import replace
from reconciler.planning import check_programs
from reconciler.planning.graph import Index
from reconciler.planning.jobs import group_tasks, owners

PRINTED_MAX = 400
T = TypeVar("T")
Pulls = Mapping[TaskId, PullRequest] | Unknown
Bases = Mapping[str, Base | Unknown]
Candidates = Mapping[TaskId, Candidate | Conflict | Unknown]


class Circumstances(Struct, frozen=True, kw_only=True):
    """What the one who looks knows by itself: the time, the host, what went wrong lately, which forge or tracker
    can't be used, whose program was replaced."""

    at: datetime
    host: str = "localhost"
    failures: Mapping[TaskId, Failure] = field(default_factory=dict)
    forges: Mapping[str, str] = field(default_factory=dict)
    trackers: Mapping[str, str] = field(default_factory=dict)
    replaced: str | None = None


def observe(desired: Desired, ports: Ports, circumstances: Circumstances, memo: Memo | None = None) -> Observed:
    """One look at everything that the manifests speak of. `memo`: what was derived at the look before, by the same ports."""
    memo = memo or Memo()
    runs = ask(partial(ports.runner.runs, memo.open_tasks))
    tasks = ask(ports.tracker.tasks)
    open_tasks = memo.of("open", (tasks,), lambda: _open(tasks))
    if not isinstance(tasks, Unknown):
        memo.open_tasks = open_tasks  # a task that is open from now on is looked for at the next look, before all else
    since = ask(partial(ports.runner.since, memo.open_tasks))
    # One that does not answer may take long for it, and is not waited for twice.
    prefix = tasks if isinstance(tasks, Unknown) else ask(ports.tracker.prefix)
    pulls = ask(ports.forge.pull_requests)
    work = since if isinstance(since, Unknown) else _by_task(runs, memo)  # nobody else knows from where attempts count
    names = _base_names(desired, tasks, prefix, memo)
    look = _Look(ports, desired, _bases(ports, desired), names, memo)
    branches = look.branches()
    worktrees = _worktrees(ports, desired, open_tasks)
    landed = look.landed()
    landings = ask(
        partial(look.landings, since, landed)
    )  # first: by these it is known which candidates are as good as new
    candidates = look.candidates(pulls)
    checks = _by_subject(runs, memo)
    recent = look.recent()
    return Observed(
        at=circumstances.at,
        host=circumstances.host,
        prefix=prefix if isinstance(prefix, str) else "task",
        tracker_folder=ports.tracker.folder,
        tasks=prefix if isinstance(prefix, Unknown) else tasks,
        runs=work,
        checks=checks,
        reviews=_reviews(runs, memo),
        recent=recent,
        printed=_printed(ports, desired, recent, checks),
        unaskable={s.name: why for s in desired.epics if (why := unaskable(ports, s, look.bases.get(s.base)))},
        since={} if isinstance(since, Unknown) else since,
        occupants=_occupants(ports, work, worktrees),
        worktrees=worktrees,
        check_worktrees=_check_worktrees(ports, desired),
        branches=branches,
        pull_requests=pulls,
        broken=_or(ask(ports.workspaces.broken_branches), {}),
        damaged={} if isinstance(pulls, Unknown) else _or(ask(ports.forge.damaged), {}),
        candidates=candidates,
        folds=memo.folds_on({base.head for base in look.bases.values() if isinstance(base, Base)}),
        landed={} if isinstance(landed, Unknown) else {name: len(each) for name, each in landed.items()},
        checks_of=_by_head(runs, memo),
        repaired=_repaired(ports, work, candidates),
        merged_by_hand=look.merged_by_hand(pulls, branches, candidates),
        landings=landings,
        bases=look.bases,
        salvages=_or(ask(ports.workspaces.salvages), ()),
        diffs=look.diffs(candidates),
        review_prompts=_review_prompts(ports, desired),
        reviewers_missing=_reviewers_missing(ports, desired),
        agents_missing={s.name: why for s in desired.epics if (why := _missing(ports, s))},
        room=_or(ask(partial(ports.runner.room, _roots(desired))), Room()),
        forges=circumstances.forges,
        trackers=circumstances.trackers,
        failures=circumstances.failures,
        replaced=circumstances.replaced,
    )


def closer(observed: Observed, desired: Desired, ports: Ports, unsure: Imprecise, memo: Memo | None = None) -> Observed:
    """The same look, with what was seen only in part seen whole: the checkouts of these bases, the merges of these tasks,
    what lands together.

    A base that has moved since is not seen again: what was decided about its older tip is refused where it would land.
    """
    bases = dict(observed.bases)
    for name in unsure.bases:
        seen = ask(partial(ports.forge.base, name, push=desired.pushes(name)))
        before = bases.get(name)
        checkout = seen.checkout if isinstance(seen, Base) else None
        bases[name] = (
            replace(before, checkout=checkout) if isinstance(before, Base) and isinstance(seen, Base) else seen
        )
    candidates = dict(observed.candidates)
    for task, (base, head) in unsure.merges.items():
        candidates[task] = ask(partial(ports.forge.candidate, base, head))
    folds = dict(observed.folds)
    for base, steps in sorted(unsure.folds, key=lambda chain: len(chain[1])):
        folds.update(_folded(base, steps, ask(partial(ports.forge.fold, base, steps))))
    if memo:
        memo.folds = folds
    on_the_base = {task for task in unsure.merges if _changes_nothing(candidates[task])}
    return replace(
        observed,
        bases=bases,
        candidates=candidates,
        folds=folds,
        merged_by_hand=observed.merged_by_hand | on_the_base,
        repaired=_repaired(ports, observed.runs, candidates),
    )


def _folded(
    base: Sha, steps: tuple[MergeStep, ...], made: Sequence[Candidate | Conflict] | Unknown
) -> Iterator[tuple[Chain, Candidate | Conflict | Unknown]]:
    """What each beginning of a chain makes, without those in it that conflict."""
    clean: tuple[MergeStep, ...] = ()
    for n, step in enumerate(steps):
        here = made if isinstance(made, Unknown) else made[n]
        yield (base, (*clean, step)), here
        if not isinstance(here, Conflict):
            clean = (*clean, step)


def ask(read: Callable[[], T]) -> T | Unknown:
    """What a source says, or why it is silent."""
    try:
        return read()
    except ReconcileError as error:
        again_s = max(error.delay, 1.0) if isinstance(error, SilentError) else None
        return Unknown(error.advised, again_s)
    except OSError as error:
        return Unknown(str(error))


def _or(answer: T | Unknown, default: T) -> T:
    return default if isinstance(answer, Unknown) else answer


# --- runs ----------------------------------------------------------------------------------------------------


def _by_task(runs: Mapping[RunId, Run] | Unknown, memo: Memo) -> Mapping[TaskId, tuple[Run, ...]] | Unknown:
    if isinstance(runs, Unknown):
        return runs
    return memo.grouped("by task", runs, lambda run: run.task if run.id.kind is RunKind.WORK else None)


def _missing(ports: Ports, spec: EpicSpec) -> str | None:
    answer = ask(partial(ports.runner.missing, spec))
    return answer.why if isinstance(answer, Unknown) else answer


def _by_subject(runs: Mapping[RunId, Run] | Unknown, memo: Memo) -> Mapping[str, tuple[Run, ...]] | Unknown:
    if isinstance(runs, Unknown):
        return runs
    return memo.grouped("by subject", runs, lambda run: run.id.subject if run.id.kind is RunKind.CHECK else None)


def _by_head(runs: Mapping[RunId, Run] | Unknown, memo: Memo) -> Mapping[Sha, tuple[Run, ...]]:
    if isinstance(runs, Unknown):
        return {}
    return memo.grouped("by head", runs, lambda run: run.baseline if run.id.kind is RunKind.CHECK else None)


def _reviews(runs: Mapping[RunId, Run] | Unknown, memo: Memo) -> Mapping[TaskId, tuple[Run, ...]] | Unknown:
    if isinstance(runs, Unknown):
        return runs
    return memo.grouped("reviews", runs, lambda run: run.task if run.id.kind is RunKind.REVIEW else None)


def _review_prompts(ports: Ports, desired: Desired) -> Mapping[str, str | Unknown]:
    asking = (spec for spec in desired.epics if spec.merge.reviewed_by_agents)
    return {spec.name: ask(partial(ports.prompts.review, spec)) for spec in asking}


def _reviewers_missing(ports: Ports, desired: Desired) -> Mapping[str, str]:
    asking = (replace(spec, agent=spec.reviewing) for spec in desired.epics if spec.merge.reviewed_by_agents)
    return {spec.name: why for spec in asking if (why := _missing(ports, spec))}


Checks = Mapping[str, tuple[Run, ...]] | Unknown


def _red(checks: Mapping[str, tuple[Run, ...]], tree: Sha, spec: EpicSpec) -> Run | None:
    """The last run of a manifest's checks on a tree, where it ended badly."""
    last = next(reversed(checks.get(spec.subject_of(tree), ())), None)
    return last if last and last.exit and not last.exit.well else None


def _printed(
    ports: Ports, desired: Desired, recent: Mapping[str, tuple[BaseCommit, ...] | Unknown], checks: Checks
) -> Mapping[RunId, str]:
    """The last words of the checks that are red on a base as it is."""
    if isinstance(checks, Unknown):
        return {}
    lines = ((spec, recent.get(spec.base, ())) for spec in desired.epics)
    trees = ((spec, line[0].tree) for spec, line in lines if not isinstance(line, Unknown) and line)
    red = {run.id for spec, tree in trees if (run := _red(checks, tree, spec))}
    fields = {run: _or(ask(partial(ports.runner.log_tail, run, PRINTED_MAX)), "") for run in red}
    return {run: " ".join(text.split()) for run, text in fields.items()}


def unaskable(ports: Ports, spec: EpicSpec, base: Base | Unknown | None) -> str | None:
    """Why a manifest's checks can't be run here, as far as that can be seen before they are."""
    checks = spec.merge.checks
    lacking = _or(ask(partial(ports.runner.lacking, spec, check_programs.programs(checks))), ())
    if lacking:
        names, verb = ", ".join(lacking), "is" if len(lacking) == 1 else "are"
        return f"the checks can't be run: {names} {verb} not on their PATH; install that, or fix mergePolicy.checks and apply"
    file = check_programs.file(checks)
    if file and isinstance(base, Base) and _or(ask(partial(ports.workspaces.lacks, base.head, file)), False):
        return f"the checks can't be run: {file} is not in {base.name}; commit it there, or fix mergePolicy.checks and apply"
    return None


def _occupants(
    ports: Ports, work: Mapping[TaskId, tuple[Run, ...]] | Unknown, worktrees: Mapping[TaskId, Worktree] | Unknown
) -> Mapping[TaskId, Occupant] | Unknown:
    """Who sits in the worktrees in which nothing of ours runs."""
    if isinstance(work, Unknown) or isinstance(worktrees, Unknown):
        return {}
    idle = {t: tree.path for t, tree in worktrees.items() if not any(run.alive for run in work.get(t, ()))}
    if not idle:
        return {}
    seen = ask(partial(ports.runner.occupants, list(idle.values())))
    return seen if isinstance(seen, Unknown) else {task: seen[path] for task, path in idle.items() if path in seen}


# --- git -----------------------------------------------------------------------------------------------------


def _bases(ports: Ports, desired: Desired) -> Bases:
    """Every base that a manifest names. What stands in the way in its checkout is looked at where something would land."""
    names = dict.fromkeys(spec.base for spec in desired.epics)
    return {name: ask(partial(ports.forge.base, name, push=desired.pushes(name), look=False)) for name in names}


def _base_names(desired: Desired, tasks: Graph | Unknown, prefix: str | Unknown, memo: Memo) -> Callable[[TaskId], str]:
    """Which base a task's work is for: its manifest's."""
    names = {spec.name: spec.base for spec in desired.epics}
    first = next(iter(names.values()), "")
    if len(set(names.values())) < 2 or isinstance(tasks, Unknown) or isinstance(prefix, Unknown):
        return memo.of("one base", (), lambda: lambda task: first, equal=first)
    graph, begins = tasks, prefix

    def made() -> Callable[[TaskId], str]:
        owned = owners(group_tasks(desired, begins, graph, Index(graph)))
        return lambda task: names.get(owned.get(task, ""), first)

    return memo.of("bases", (graph,), made, equal=(desired, begins))


def _open(tasks: Graph | Unknown) -> Sequence[TaskId]:
    return () if isinstance(tasks, Unknown) else [t.id for t in tasks.values() if not t.closed and usable(t.id)]


def _worktrees(ports: Ports, desired: Desired, ids: Sequence[TaskId]) -> Mapping[TaskId, Worktree] | Unknown:
    found: dict[TaskId, Worktree] = {}
    for root in _roots(desired):
        seen = ask(partial(ports.workspaces.worktrees, root, ids))
        if isinstance(seen, Unknown):
            return seen
        # Somebody's folder under the root of one manifest must not hide the task's own worktree under another's.
        found |= {
            task: tree for task, tree in seen.items() if task not in found or _ours(tree) or not _ours(found[task])
        }
    return found


def _ours(tree: Worktree) -> bool:
    return tree.fault is not WorktreeFault.TAKEN


def _check_worktrees(ports: Ports, desired: Desired) -> Mapping[str, str]:
    seen = (_or(ask(partial(ports.workspaces.check_worktrees, root)), {}) for root in _roots(desired))
    return {subject: path for found in seen for subject, path in found.items()}


def _roots(desired: Desired) -> Iterable[str]:
    return dict.fromkeys(spec.worktrees.root for spec in desired.epics)


class _Look(Struct, frozen=True):
    """What is measured against a base, each task against its own."""

    ports: Ports
    desired: Desired
    bases: Bases
    name_of: Callable[[TaskId], str]
    memo: Memo

    def base_of(self, task: TaskId) -> Base | Unknown | None:
        return self.bases.get(self.name_of(task))

    def recent(self) -> Mapping[str, tuple[BaseCommit, ...] | Unknown]:
        """Where each base has come from: by what passed there it is known where it is green."""
        known = {name: base.head for name, base in self.bases.items() if isinstance(base, Base)}
        return {name: ask(partial(self.ports.forge.recent, head)) for name, head in known.items()}

    def branches(self) -> Mapping[TaskId, Branch] | Unknown:
        found: dict[TaskId, Branch] = {}
        for name, base in self.bases.items():
            if isinstance(base, Unknown):
                continue
            seen = ask(partial(self.ports.workspaces.branches, base.head))
            if isinstance(seen, Unknown):
                return seen
            found.update({task: branch for task, branch in seen.items() if self.name_of(task) == name})
        return found

    def landed(self) -> Mapping[str, Sequence[Landing]] | Unknown:
        """Every landing, by the base on which it is."""
        known = [name for name, base in self.bases.items() if isinstance(base, Base)]
        return ask(lambda: {name: self.ports.forge.landings(name) for name in known})

    def landings(
        self, since: Mapping[TaskId, RetryPoint] | Unknown, landed: Mapping[str, Sequence[Landing]] | Unknown
    ) -> Mapping[TaskId, Landing] | Unknown:
        """The newest landing of every task that is newer than its last retry."""
        if isinstance(since, Unknown):
            return since
        if isinstance(landed, Unknown):
            return landed
        guessed: list[Landing] = []

        def newest() -> Mapping[TaskId, Landing]:
            found: dict[TaskId, Landing] = {}
            for name, landings in landed.items():
                for landing in landings:
                    after = since.get(landing.task)
                    if not (after and self._before(landing, after, guessed)) and self.name_of(landing.task) == name:
                        found[landing.task] = landing
            return found

        found = self.memo.of("landings", (since, self.name_of, *landed.values()), newest, equal=tuple(landed))
        if guessed:
            self.memo.forget("landings")  # git may tell the next time
        return found

    def _before(self, landing: Landing, since: RetryPoint, guessed: list[Landing]) -> bool:
        if since.base is None:
            return False
        old = ask(partial(self.ports.forge.contains, since.base, landing.commit))
        if isinstance(old, Unknown):
            # The base was rewritten and that commit is gone: when it landed is the best that is left.
            guessed.append(landing)
            return landing.at <= since.at
        return old

    def candidates(self, pulls: Pulls) -> Candidates:
        if isinstance(pulls, Unknown):
            return {}
        offered = self.memo.of("offered", (pulls,), lambda: [t for t, p in pulls.items() if p.state is PullState.OPEN])
        return {
            task: ask(partial(self.ports.forge.candidate, base.head, pulls[task].head, exact=False))
            for task in offered
            if isinstance(base := self.base_of(task), Base)
        }

    def diffs(self, candidates: Candidates) -> Mapping[TaskId, Diff | Unknown]:
        """What is offered brings to its base, under manifests that ask about its risk."""
        asking = {spec.base for spec in self.desired.epics if spec.merge.asks_about_risk}
        return {
            task: ask(partial(self.ports.forge.changes.diff, candidate.base, candidate.head))
            for task, candidate in candidates.items()
            if isinstance(candidate, Candidate) and self.name_of(task) in asking
        }

    def merged_by_hand(
        self, pulls: Pulls, branches: Mapping[TaskId, Branch] | Unknown, candidates: Candidates
    ) -> frozenset[TaskId]:
        """Pull requests that nobody closed in words, and whose work the base holds already."""
        if isinstance(pulls, Unknown) or isinstance(branches, Unknown):
            return frozenset()
        unclosed = self.memo.of("unclosed", (pulls,), lambda: [t for t, p in pulls.items() if p.closed_at is None])
        return frozenset(
            task
            for task in unclosed
            if _changes_nothing(candidates.get(task)) or self._contained(task, pulls[task], branches.get(task))
        )

    def _contained(self, task: TaskId, pull: PullRequest, branch: Branch | None) -> bool:
        base = self.base_of(task)
        if not isinstance(base, Base) or pull.opened_head is None or (branch is not None and not branch.in_base):
            return False
        return ask(partial(self.ports.forge.contains, base.head, pull.opened_head)) is True


def _changes_nothing(candidate: Candidate | Conflict | Unknown | None) -> bool:
    return isinstance(candidate, Candidate) and not candidate.changed and candidate.own_changes


def _repaired(
    ports: Ports, work: Mapping[TaskId, tuple[Run, ...]] | Unknown, candidates: Candidates
) -> frozenset[TaskId]:
    """Repairs that still are in conflict, but no longer with the base that they were given."""
    if isinstance(work, Unknown):
        return frozenset()
    return frozenset(
        task
        for task, candidate in candidates.items()
        if isinstance(candidate, Conflict)
        and (last := work[task][-1] if work.get(task) else None)
        and last.why == Reason.CONFLICT
        and last.base_tip not in (None, candidate.base)
        and isinstance(ask(partial(ports.forge.candidate, last.base_tip, candidate.head)), Candidate)
    )
