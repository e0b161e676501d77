"""Worktrees and saved work: what is left over, what is half made, and what is somebody else's."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path

from msgspec import Struct

from reconciler.doctor.findings import NAMED, Diagnosis, Probe, State, named
from reconciler.doctor.scene import Scene
from reconciler.git import places as worktree_places
from reconciler.git import worktrees
from reconciler.git.places import FoundWorktree
from reconciler.git.worktrees import MADE, Entry, WorktreeListing
from reconciler.loop import clearing
from reconciler.model.errors import ReconcileError
from reconciler.model.globs import fits
from reconciler.model.instructions import INSTRUCTIONS
from reconciler.model.names import SALVAGE_REFS, RunKind, TaskId, branch_of, usable
from reconciler.model.observed import Graph, Run, WorktreeFault
from reconciler.model.venue import Venue
from reconciler.render.failing import recalled
from reconciler.render.words import counted
from reconciler.wiring import Site

KEPT = timedelta(days=30)
CHECKS = ".checks"
_CLOSED, _GONE = "their tasks are closed", "no task of that name exists any more"
_OR_REMOVE = ", or 'reconcile prune TASK': what is in no commit is saved first"


def probes(scene: Scene, site: Site) -> Iterator[Probe]:
    """What is asked of the worktrees of a repository, and of the work that was saved from them."""
    yield Probe(name="worktrees", look=lambda: _worktrees(scene, site))
    yield Probe(name="check worktrees", look=lambda: _checks(scene, site))
    yield Probe(name="saved work", look=lambda: _salvages(site))


class _Standing(Struct, frozen=True):
    """What stands under the roots of the manifests, and what is known about it. `tasks`: None where they can't be read."""

    listing: WorktreeListing
    standing: tuple[FoundWorktree, ...]
    live: frozenset[str]
    tasks: Graph | None
    reviews: int  # that run, each in a worktree of its own

    @property
    def ours(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.listing.entries if entry.has(MADE) or entry.locked_by_us)

    def faulty(self, fault: WorktreeFault) -> list[FoundWorktree]:
        return [found for found in self.standing if found.fault is fault]

    def left(self, wanted: Callable[[TaskId, Graph], bool]) -> list[FoundWorktree]:
        """The usable worktrees without a live run whose task is so."""
        tasks = self.tasks
        idle = (found for found in self.standing if found.usable and found.place.name not in self.live)
        return [found for found in idle if tasks is not None and wanted(TaskId(found.place.name), tasks)]


def _worktrees(scene: Scene, site: Site) -> Iterator[Diagnosis]:
    trees = _seen(scene, site)
    looked = (*_troubles(trees, site), *_over(trees, site), _instructions(scene.roots))
    troubles = [finding for finding in looked if finding]
    yield from troubles
    if not troubles:
        live = sum(found.place.name in trees.live for found in trees.standing)
        reading = f", {counted(trees.reviews, 'review')}" if trees.reviews else ""
        found = f"{len(trees.ours)}, {counted(live, 'agent')}{reading} running" if trees.ours else "none"
        yield Diagnosis(name="worktrees", found=found)


def _troubles(trees: _Standing, site: Site) -> Iterator[Diagnosis | None]:
    gone = [entry for entry in trees.ours if not os.path.lexists(entry.path)]
    yield _warn(
        (entry.path.name for entry in gone),
        "git lists them, but their folders are gone",
        "nothing to do: they are made again or forgotten when their turn comes; 'git worktree prune' forgets them now",
    )
    half = [found.place.name for found in trees.faulty(WorktreeFault.HALF_MADE)]
    half += [admin.name for admin in trees.listing.unlisted]
    failing = recalled(site.statuses(), left=not site.acting)
    yield _warn(
        [name for name in half if TaskId(name) in failing],
        "making or removing them was cut off, and the next step fails at every try",
        "see what fails, below; once that is mended they are fixed, or what is in them is saved and they are made again",
    )
    yield _warn(
        [name for name in half if TaskId(name) not in failing],
        "making or removing them was cut off, or they were moved",
        "nothing to do: the next 'reconcile watch' or 'apply' fixes them, or saves what is in them and makes them again",
    )
    other = trees.faulty(WorktreeFault.WRONG_BRANCH)
    yield _warn(
        (f"{found.place.name} ({found.detail})" for found in other),
        "they can't be worked in",
        "finish or abort what was begun there"
        + ("" if any(_kept(found, trees, site) for found in other) else _OR_REMOVE),
    )
    taken = trees.faulty(WorktreeFault.TAKEN)
    yield _warn(
        (f"{found.place} ({found.detail})" for found in taken),
        "they stand where worktrees of ours go",
        "give the manifest another worktrees.root; move only what nobody works in",
    )
    dead = [entry for entry in trees.ours if _locked_for_nobody(entry, trees)]
    yield _warn(
        (entry.path.name for entry in dead),
        "git-locked for a run that is dead",
        f"git worktree unlock {shlex.quote(str(dead[0].path))}" if dead else "",
    )


def _over(trees: _Standing, site: Site) -> Iterator[Diagnosis | None]:
    """Worktrees whose tasks are over: what `prune` would remove, and by name what it would keep, with the way out of that."""
    closed = trees.left(lambda task, tasks: task in tasks and tasks[task].closed)
    unknown = trees.left(lambda task, tasks: task not in tasks)
    kept = {found.place: why for found in (*closed, *unknown) if (why := _kept(found, trees, site))}
    yield _warn((each.place.name for each in closed if each.place not in kept), _CLOSED, "reconcile prune")
    gone = [each.place.name for each in unknown if each.place not in kept]
    first = f": reconcile prune {gone[0]}" if gone else ""
    yield _warn(gone, _GONE, f"look into them, then save and remove each{first}")
    for found in [each for each in (*closed, *unknown) if each.place in kept][:NAMED]:
        what = _CLOSED if found in closed else _GONE
        yield _warn([found.place.name], f"{what}, and 'reconcile prune' keeps them", kept[found.place])
    if len(kept) > NAMED:
        hint = "reconcile prune --dry-run"
        yield _warn([f"{len(kept) - NAMED} more"], "'reconcile prune' would keep them as well", hint)


def _kept(found: FoundWorktree, trees: _Standing, site: Site) -> str:
    """Why `prune` would not remove a worktree, with the way out; empty where it would."""
    id = TaskId(found.place.name)
    tree = site.workspaces.worktrees(Venue(root=str(found.place.parent)), [id]).get(id)
    task = (trees.tasks or {}).get(id)
    if tree is None:
        return ""
    why = clearing.kept(id, tree, task, site.runner, alive=id in trees.live)
    why = why or clearing.refused(id, tree, site.workspaces)
    return why.message if why else ""


def _seen(scene: Scene, site: Site) -> _Standing:
    listing = worktrees.read(site.git)
    runs = site.runner.runs()
    places = {entry.path for entry in listing.entries if entry.has(MADE) or entry.locked_by_us}
    places = {place for place in places if place.parent.name != CHECKS}
    for root in scene.roots:
        real = Path(os.path.realpath(root))
        places |= {real / name for name in _listed(real) if name != CHECKS and _is_repository(real / name)}
    looked = (worktree_places.look(listing, place, branch_of(TaskId(place.name))) for place in sorted(places))
    return _Standing(
        listing=listing,
        standing=tuple(found for found in looked if found.present and usable(found.place.name)),
        live=frozenset(run.task for run in runs.values() if run.alive and run.id.kind is RunKind.WORK),
        tasks=_tasks(site),
        reviews=sum(run.alive and run.id.kind is RunKind.REVIEW for run in runs.values()),
    )


def _checks(scene: Scene, site: Site) -> Iterator[Diagnosis]:
    """Worktrees of checks and reviews that nobody runs any more."""
    live = _live_checks(site.runner.runs().values())
    found: Mapping[str, str] = {
        subject: path
        for root in scene.roots
        for subject, path in site.workspaces.check_worktrees(Venue(root=str(root))).items()
    }
    left = [path for subject, path in found.items() if subject not in live]
    if left:
        message = "left by checks or reviews that have ended"
        hint = "nothing to do: the next 'reconcile watch' removes them"
        yield Diagnosis(name="check worktrees", state=State.WARNING, found=named(left), message=message, hint=hint)


def _salvages(site: Site) -> Iterator[Diagnosis]:
    saved = [each for each in site.workspaces.salvages() if not each.dropped]
    old = [each for each in saved if each.age > KEPT]
    if old:
        message, names = f"kept for more than {KEPT.days} days", named(f"{each.task}/{each.n}" for each in old)
        ref = f"{SALVAGE_REFS}{old[0].task}/{old[0].n}"
        hint = f"look: git log -p {ref}; drop: git update-ref -d {ref}; or: reconcile restore {old[0].task}"
        yield Diagnosis(name="saved work", state=State.WARNING, found=names, message=message, hint=hint)
    elif saved:
        yield Diagnosis(
            name="saved work", found=counted(len(saved), "piece"), message="'reconcile restore TASK' brings it back"
        )


def _live_checks(runs: Iterable[Run]) -> frozenset[str]:
    return frozenset(run.id.subject for run in runs if run.alive and run.id.kind is not RunKind.WORK)


def _locked_for_nobody(entry: Entry, trees: _Standing) -> bool:
    """True for a whole worktree with our lock on it and no run in it; without its mark the lock means half-made."""
    return (
        entry.locked_by_us
        and entry.has(MADE)
        and entry.path.parent.name != CHECKS
        and entry.path.name not in trees.live
        and os.path.lexists(entry.path)
    )


def _tasks(site: Site) -> Graph | None:
    try:
        return site.tracker.tasks()
    except ReconcileError:
        return None  # shown with the tasks themselves


def _instructions(roots: Iterable[Path]) -> Diagnosis | None:
    """Agents may write beside their own worktree, and many programs read what stands in the folders above theirs."""
    return _warn(
        (str(root / name) for root in roots for name in _listed(root) if fits(name, INSTRUCTIONS)),
        "agents in the worktrees there read these as instructions, and any agent could have written them",
        "read them, and remove what you did not put there",
    )


def _warn(names: Iterable[str], what: str, hint: str) -> Diagnosis | None:
    found = list(names)
    if not found:
        return None
    return Diagnosis(name="worktrees", state=State.WARNING, found=named(found), message=what, hint=hint)


def _listed(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def _is_repository(place: Path) -> bool:
    return usable(place.name) and os.path.lexists(place / ".git")
