"""Look at the world and lay what was seen side by side. A source that fails becomes Unknown; it never becomes empty.

Reads are ordered so that a look that is torn by a change errs on the side of doing nothing: runs are read before tasks
and branches, because a run that ends in between then reads as still alive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial

from msgspec import Struct, field

from reconciler.loop import authors, foreseen
from reconciler.loop.asking import ask
from reconciler.loop.grouped_runs import by_head, by_subject, by_task, by_tree, printed, reviews
from reconciler.loop.measured import Bases, Measured, repaired
from reconciler.loop.memo import Memo
from reconciler.model.desired import Desired
from reconciler.model.names import RunId, Sha, TaskId, usable
from reconciler.model.observed import (
    Base,
    Branch,
    Failure,
    Graph,
    Observed,
    Occupant,
    PullRequest,
    PullState,
    Room,
    Run,
    StagedCheck,
    Unknown,
    Upon,
    Worktree,
    WorktreeFault,
    known_or,
)
from reconciler.model.observed.tasks import CLOSED
from reconciler.model.ports import Ports
from reconciler.model.values import replace
from reconciler.model.venue import Venue
from reconciler.planning import staging
from reconciler.planning.epic_tasks import group_tasks, owners
from reconciler.planning.graph import Index


class Circumstances(Struct, frozen=True, kw_only=True):
    """What the one who looks knows by itself: the time, the host, what went wrong lately, which forge, tracker or
    folder can't be used, whose program was replaced."""

    at: datetime
    host: str = "localhost"
    failures: Mapping[TaskId, Failure] = field(default_factory=dict)
    forges: Mapping[str, str] = field(default_factory=dict)
    trackers: Mapping[str, str] = field(default_factory=dict)
    unwritable: Mapping[str, str] = field(default_factory=dict)
    replaced: str | None = None


def observe(desired: Desired, ports: Ports, circumstances: Circumstances, memo: Memo | None = None) -> Observed:
    """One look at everything that the manifests speak of. `memo`: what was derived at the look before, by the same ports."""
    memo = memo or Memo()
    runs = ask(partial(ports.runner.runs, memo.open_tasks))
    tasks = ask(ports.tracker.tasks)
    open_tasks = memo.of("open", (tasks,), lambda: _open(tasks, memo.open_tasks or frozenset()))
    if not isinstance(tasks, Unknown):
        memo.open_tasks = open_tasks  # a task that is open from now on is looked for at the next look, before all else
    since = ask(partial(ports.runner.since, memo.open_tasks))
    # One that does not answer may take long for it, and is not waited for twice.
    prefix = tasks if isinstance(tasks, Unknown) else ask(ports.tracker.prefix)
    pulls = ask(ports.forge.pull_requests)
    work = since if isinstance(since, Unknown) else by_task(runs, memo)  # nobody else knows from where attempts count
    names = _base_names(desired, tasks, prefix, memo)
    look = Measured(ports, desired, _bases(ports, desired), names, memo)
    branches = look.branches()
    left = memo.of("left", (work, open_tasks, branches), lambda: _left(ports, work, open_tasks, branches))
    trees = {at: ask(partial(ports.workspaces.worktrees, at, open_tasks)) for at in (*left, *_venues(desired))}
    worktrees = _worktrees(trees)
    landed = look.landed()
    landings = ask(
        partial(look.landings, since, landed)
    )  # first: by these it is known which candidates are as good as new
    candidates = look.candidates(pulls)
    staged = ask(ports.forge.staged)
    tested = _tested(runs, staged, desired, look.bases, circumstances.at)
    checks, on_trees = by_subject(tested, memo), by_tree(tested, memo)
    recent, read = look.recent(), reviews(runs, memo)
    unaskable = {s.name: why for s in desired.epics if (why := foreseen.unaskable(ports, s, look.bases.get(s.base)))}
    return Observed(
        at=circumstances.at,
        host=circumstances.host,
        prefix=prefix if isinstance(prefix, str) else "task",
        tracker_folder=ports.tracker.folder,
        tasks=prefix if isinstance(prefix, Unknown) else tasks,
        runs=work,
        checks=checks,
        reviews=read,
        recent=recent,
        printed=printed(ports, desired, recent, on_trees),
        authors_words=authors.words(ports, work, read, pulls, memo),
        unaskable=unaskable,
        doubtful={
            s.name: why
            for s in desired.epics
            if s.name not in unaskable and (why := foreseen.doubtful(ports, s, look.bases.get(s.base)))
        },
        staged={} if isinstance(staged, Unknown) else {each.run.id: each for each in staged},
        unstaged={s.name: why for s in desired.epics if (why := foreseen.unstaged(ports, s, look.bases.get(s.base)))},
        since=known_or(since, {}),
        occupants=_occupants(ports, work, worktrees),
        worktrees=worktrees,
        remotes={
            at.remote: seen.why for at in _venues(desired) if not at.local and isinstance(seen := trees[at], Unknown)
        },
        check_worktrees=_check_worktrees(ports, desired),
        branches=branches,
        pull_requests=pulls,
        broken=known_or(ask(ports.workspaces.broken_branches), {}),
        damaged={} if isinstance(pulls, Unknown) else known_or(ask(ports.forge.damaged), {}),
        candidates=candidates,
        folds=memo.folds_on({base.head for base in look.bases.values() if isinstance(base, Base)}),
        stacks=_stacks(ports, look, branches, pulls),
        touched=memo.touched_by(work),
        past=memo.past,
        landed={} if isinstance(landed, Unknown) else {name: len(each) for name, each in landed.items()},
        checks_of=by_head(tested, memo),
        checks_at=on_trees,
        repaired=repaired(ports, work, candidates),
        merged_by_hand=look.merged_by_hand(pulls, branches, candidates)
        | look.came_along(pulls, branches, since, landings),
        landings=landings,
        bases=look.bases,
        salvages=known_or(ask(ports.workspaces.salvages), ()),
        diffs=look.diffs(candidates),
        review_prompts=_review_prompts(ports, desired, look.bases),
        guidelines=_guidelines(ports, desired, look.bases),
        linked_prompts=_linked_prompts(ports, desired, look.bases),
        reviewers_missing=foreseen.reviewers_missing(ports, desired),
        agents_missing={s.name: why for s in desired.epics if (why := foreseen.agent_missing(ports, s))},
        room=known_or(ask(partial(ports.runner.room, _roots(desired))), Room()),
        forges=circumstances.forges,
        trackers=circumstances.trackers,
        unwritable=circumstances.unwritable,
        failures=circumstances.failures,
        replaced=circumstances.replaced,
    )


def _stacks(
    ports: Ports,
    look: Measured,
    branches: Mapping[TaskId, Branch] | Unknown,
    pulls: Mapping[TaskId, PullRequest] | Unknown,
) -> Mapping[TaskId, Upon] | Unknown:
    """The tasks whose branch, or what is offered of it, still holds commits of another task that the base lacks."""
    noted = ask(ports.forge.stacks)
    if isinstance(noted, Unknown) or not noted:
        return noted

    def holds(head: Sha, upon: Upon) -> bool:
        return ask(partial(ports.forge.contains, head, upon.fork)) is not False  # who does not know does not say no

    found: dict[TaskId, Upon] = {}
    for task, upon in noted.items():
        base = look.base_of(task)
        landed = isinstance(base, Base) and ask(partial(ports.forge.contains, base.head, upon.fork)) is True
        branch = known_or(branches, {}).get(task)
        pull = known_or(pulls, {}).get(task)
        offered = pull.head if pull and pull.state is PullState.OPEN else None
        here = branch is not None and holds(branch.head, upon)
        if not landed and (here or (offered and holds(offered, upon))):
            found[task] = replace(upon, here=here)
    return found


def _tested(
    runs: Mapping[RunId, Run] | Unknown,
    staged: Sequence[StagedCheck] | Unknown,
    desired: Desired,
    bases: Bases,
    at: datetime,
) -> Mapping[RunId, Run] | Unknown:
    """The runs, with what the forge runs on staging branches. Where that is silent, nobody knows what has passed."""
    if isinstance(staged, Unknown):
        return staged if any(spec.merge.staging for spec in desired.epics) else runs
    if isinstance(runs, Unknown) or not staged:
        return runs
    return {**runs, **dict(staging.as_runs(staged, {spec.name: spec for spec in desired.epics}, bases, at))}


# --- other readings -------------------------------------------------------------------------------------------


def _review_prompts(ports: Ports, desired: Desired, bases: Bases) -> Mapping[str, str | Unknown]:
    asking = ((spec, bases[spec.base]) for spec in desired.epics if spec.merge.reviewed_by_agents)
    return {
        spec.name: ask(partial(ports.prompts.review, spec, base.head)) if isinstance(base, Base) else base
        for spec, base in asking
    }


def _guidelines(ports: Ports, desired: Desired, bases: Bases) -> Mapping[str, str]:
    asking = ((spec, bases[spec.base]) for spec in desired.epics if spec.merge.reviewed_by_agents)
    return {
        spec.name: known_or(ask(partial(ports.prompts.guidelines, spec, base.head)), "")
        for spec, base in asking
        if isinstance(base, Base)
    }


def _linked_prompts(ports: Ports, desired: Desired, bases: Bases) -> Mapping[str, frozenset[str]]:
    """Where it can't be read, what is to land can't be either."""
    asking = ((spec, base) for spec in desired.epics if isinstance(base := bases[spec.base], Base))
    found = {
        spec.name: known_or(ask(partial(ports.prompts.linked, spec, base.head)), frozenset()) for spec, base in asking
    }
    return {name: paths for name, paths in found.items() if paths}


def _occupants(
    ports: Ports, work: Mapping[TaskId, tuple[Run, ...]] | Unknown, worktrees: Mapping[TaskId, Worktree] | Unknown
) -> Mapping[TaskId, Occupant] | Unknown:
    """Who sits in the worktrees in which nothing of ours runs."""
    if isinstance(work, Unknown) or isinstance(worktrees, Unknown):
        return {}
    here = {task: tree for task, tree in worktrees.items() if tree.elsewhere is None}
    idle = {t: tree.path for t, tree in here.items() if not any(run.alive for run in work.get(t, ()))}
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


def _open(tasks: Graph | Unknown, before: frozenset[TaskId]) -> frozenset[TaskId]:
    """The tasks that are open; the very same as `before` where they are, so that nothing is looked for again."""
    if isinstance(tasks, Unknown):
        return frozenset()
    left = [id for id, task in tasks.items() if task.status not in CLOSED]
    found = frozenset([id for id in left if id in before or usable(id)])
    return before if found == before else found


def _worktrees(trees: Mapping[Venue, Mapping[TaskId, Worktree] | Unknown]) -> Mapping[TaskId, Worktree] | Unknown:
    """Those of all venues; without those of remotes that do not answer, which hold up their own manifests alone."""
    found: dict[TaskId, Worktree] = {}
    for at, seen in trees.items():
        if isinstance(seen, Unknown):
            if at.local:
                return seen
            continue
        # Somebody's folder under the root of one manifest must not hide the task's own worktree under another's.
        found |= {
            task: tree for task, tree in seen.items() if task not in found or _ours(tree) or not _ours(found[task])
        }
    return found


def _ours(tree: Worktree) -> bool:
    return tree.fault is not WorktreeFault.TAKEN


def _check_worktrees(ports: Ports, desired: Desired) -> Mapping[str, str]:
    seen = (known_or(ask(partial(ports.workspaces.check_worktrees, at)), {}) for at in _checks_venues(desired))
    return {subject: path for found in seen for subject, path in found.items()}


def _venues(desired: Desired) -> Iterable[Venue]:
    """Those on this machine last: where a task is at both, somebody can look at what stands there."""
    every = dict.fromkeys(at for spec in desired.epics for at in (*spec.venues, spec.checks_venue))
    return sorted(every, key=lambda at: at.local)


def _left(
    ports: Ports,
    work: Mapping[TaskId, tuple[Run, ...]] | Unknown,
    open_tasks: Iterable[TaskId],
    branches: Mapping[TaskId, Branch] | Unknown,
) -> Iterable[Venue]:
    """Where tasks were worked on last, elsewhere: their manifest may have changed since, and what is there is still theirs."""
    if isinstance(work, Unknown):
        return ()
    tasks = {*open_tasks, *known_or(branches, ())}
    last = (runs[-1] for task in tasks if (runs := work.get(task)))
    seen = (ask(partial(ports.runner.venue, run.id)) for run in last if run.where)
    return tuple(dict.fromkeys(at for at in seen if isinstance(at, Venue)))


def _checks_venues(desired: Desired) -> Iterable[Venue]:
    return dict.fromkeys(spec.checks_venue for spec in desired.epics)


def _roots(desired: Desired) -> Iterable[str]:
    return dict.fromkeys(spec.worktrees.root for spec in desired.epics)
