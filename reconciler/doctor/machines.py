"""The machines that agents and checks run on elsewhere: the engine, the remote, and with `--nodes` each node.

The remote is tried as runs use it: a ref is made there and deleted again. Nothing else is changed.
"""

from __future__ import annotations

import os
import posixpath
import shlex
from collections.abc import Iterable, Iterator
from functools import partial

from reconciler.doctor.findings import Diagnosis, Probe, State
from reconciler.doctor.scene import Scene
from reconciler.git import committed_files, refs
from reconciler.git.refs import HEADS
from reconciler.model.desired import EpicSpec
from reconciler.model.errors import ReconcileError
from reconciler.model.values import replace
from reconciler.model.venue import Venue, VenueKind
from reconciler.runners._engines import Fitness
from reconciler.runners.remote import engine_of
from reconciler.wiring import Site
from reconciler.workspaces.elsewhere import AnyWorkspaces

PROBE_REFS = "refs/reconcile/probe/"
NODES_S = 60.0


def probes(scene: Scene, site: Site, *, nodes: bool) -> Iterator[Probe]:
    """Nothing where all runs here."""
    first: dict[Venue, tuple[Venue, EpicSpec]] = {}
    for spec in scene.epics:
        for at in (*spec.venues, spec.tests_venue):
            if not at.local:
                # One Slurm has the same nodes, whichever options some tasks get.
                same = replace(at, options=()) if at.kind is VenueKind.SLURM else at
                first.setdefault(same, (at, spec))
    remotes: set[str] = set()
    for at, spec in first.values():
        yield Probe(name=f"runner {at.kind}", look=partial(_engine, scene, at))
        if at.remote not in remotes:
            yield Probe(name="runner remote", look=partial(_remote, site, at, spec.base))
        remotes.add(at.remote)
        if nodes:
            yield Probe(name="node", look=partial(_nodes, scene, site, spec, at), limit_s=NODES_S)


def _engine(scene: Scene, at: Venue) -> Iterator[Diagnosis]:
    yield from _diagnoses(engine_of(at, scene.environ).fit())


def _nodes(scene: Scene, site: Site, spec: EpicSpec, at: Venue) -> Iterator[Diagnosis]:
    program = spec.agent.program if at in spec.venues else ""  # checks need whatever a shell finds
    if "/" in program and not program.startswith("/"):  # it comes with the checkout of a run
        yield from _in_the_tree(site, spec, program)
        program = ""
    yield from _diagnoses(engine_of(at, scene.environ).nodes(program))


def _in_the_tree(site: Site, spec: EpicSpec, program: str) -> Iterator[Diagnosis]:
    """Whether an agent that is a file of the repository can be executed as the base holds it. What links lead to isn't asked."""
    path, base = posixpath.normpath(program), refs.head_of(site.git, HEADS + spec.base)
    if base is None or path.startswith("../") or "{" in program:
        return
    mode, _ = committed_files.entry(site.git, base, path) or ("", None)
    if mode in ("100755", committed_files.LINK):
        yield Diagnosis(name="node agent", found=program, message=f"is in {spec.base}, so every node has it")
        return
    message = f"can't be executed as {spec.base} holds it" if mode else f"is not in {spec.base}, so no node has it"
    hint = f"commit it there: git add --chmod=+x {shlex.quote(path)}"
    yield Diagnosis(name="node agent", state=State.WARNING, found=program, message=message, hint=hint)


def _diagnoses(found: Iterable[Fitness]) -> Iterator[Diagnosis]:
    for each in found:
        state = State.PROBLEM if each.fatal else State.WARNING if each.wrong else State.OK
        hint = each.hint if each.wrong else ""
        yield Diagnosis(name=each.name, state=state, found=each.found, message=each.wrong, hint=hint)


def _remote(site: Site, at: Venue, base: str) -> Iterator[Diagnosis]:
    """Whether refs can be made there by compare-and-swap, as every start of a run does."""
    if not isinstance(site.workspaces, AnyWorkspaces):
        return
    remote, ref = site.workspaces.elsewhere.refs(at.remote), f"{PROBE_REFS}{os.urandom(6).hex()}"
    head = refs.head_of(site.git, HEADS + base)
    if head is None:
        return
    try:
        remote.swap(ref, None, head)
        remote.swap(ref, head, None)
    except ReconcileError as error:
        hint = f"try: git push {at.remote} {base}:{ref}"
        yield Diagnosis(name="runner remote", state=State.PROBLEM, found=at.remote, message=str(error), hint=hint)
    else:
        yield Diagnosis(name="runner remote", found=at.remote, message="refs can be made and deleted there")
