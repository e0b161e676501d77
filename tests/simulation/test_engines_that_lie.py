"""Runs elsewhere over an engine that loses jobs, forgets names, starts them twice or late, and says FAILED of what lives; over a
remote whose answers get lost, nodes that freeze or are cut off, and controllers that are killed. The clock is the test's.

The controller is the real one; the remote, the engine and the nodes are a few lines each. Never may two agents of a task draw
breath at the same time, and what ends is seen to end once.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from reconciler.git.run_reports import Reported
from reconciler.model.errors import ChangedError, ReconcileError, TemporaryError
from reconciler.model.names import RUN_REFS, RunId, RunKind, Sha, TaskId
from reconciler.model.observed import StopWhy
from reconciler.model.ports import RunSpec
from reconciler.model.venue import Venue, VenueKind
from reconciler.runners import _unbegun, remote, supervisor
from reconciler.runners._engines import EngineJob, JobState
from reconciler.runners._folders import Folders
from reconciler.runners._locks import Locks
from reconciler.runners.remote import RemoteRuns

LEASE, SYNC = 20.0, 2.0
AT = Venue(kind=VenueKind.SLURM, remote="r", scratch="/s", lease_s=LEASE, sync_s=SYNC)
TASKS = [TaskId(f"x-{n}") for n in range(3)]


@dataclass
class SimNode:
    """A job on a node, as its courier behaves."""

    task: TaskId
    nonce: str
    expect: str
    name: str
    phase: str = "waiting"  # claimed, over
    mine: str = ""
    renewed: float = 0.0
    due: float = 0.0
    work_left: int = 0
    frozen_until: float = 0.0
    cut_until: float = 0.0


@dataclass
class SimWorld:
    """The remote, the engine, the nodes; `rng` decides what goes wrong."""

    rng: random.Random
    now: float = 0.0
    refs: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    moved: dict[str, float] = field(default_factory=dict)
    jobs: list[SimNode] = field(default_factory=list)
    known: dict[str, JobState] = field(default_factory=dict)
    breaths: dict[TaskId, tuple[str, float]] = field(default_factory=dict)  # which agent breathed last, and when
    ended: list[tuple[TaskId, str]] = field(default_factory=list)
    adopted: list[TaskId] = field(default_factory=list)
    calm: bool = False
    lied: set[str] = field(default_factory=set)  # jobs that are said to be over
    us: str = "me"
    url: str = "r"
    undelivered: Mapping[str, Sha] = field(default_factory=dict)

    def odds(self, chance: float) -> bool:
        return not self.calm and self.rng.random() < chance

    # --- the remote ---

    def cas(self, ref: str, old: str, new: str) -> bool:
        if self.refs.get(ref, "") != old:
            return False
        self.refs[ref] = new
        return True

    def commit(self, record: dict, files: dict[str, bytes] | None = None) -> str:
        sha = f"{len(self.commits):040x}"
        self.commits[sha], self.files[sha] = record, files or {}
        return sha

    def reported(self, task: TaskId) -> Reported | None:
        at = self.refs.get(RUN_REFS + task)
        if not at:
            return None
        record, names = self.commits[at], ("phase", "n", "nonce", "by", "head", "wip", "branch_at", "manifest")
        known = {name: record[name] for name in names if name in record}
        return Reported(task=task, at=Sha(at), node=record.get("node") or "", **known)

    # --- what the controller calls: TaskRefs, WorkKeeper, Engine ---

    def look(self, *, fresh: bool = True) -> Mapping[TaskId, Reported]:
        if self.odds(0.1):
            raise TemporaryError("the remote is away")
        return {task: seen for task in TASKS if (seen := self.reported(task))}

    def one(self, task: TaskId) -> Reported | None:
        if self.odds(0.05):
            raise TemporaryError("the remote is away")
        return self.reported(task)

    def files_of(self, each: Reported) -> dict[str, bytes]:
        return self.files[each.at]

    def made(self, record: Mapping[str, object], parents: Iterable[Sha]) -> Sha:
        return Sha(self.commit(dict(record)))

    def swap(self, ref: str, old: Sha | None, new: Sha | None, lock: int | None = None) -> None:
        if self.odds(0.05):
            raise TemporaryError("it did not arrive")
        taken = self.cas(ref, old or "", new or "")
        if self.odds(0.05):
            raise TemporaryError("its answer was lost")
        if not taken:
            raise ChangedError("it moved")

    def bring(self, ref: str, commit: Sha) -> None: ...

    def run_folder(self, at: Venue, task: TaskId, n: int) -> str:
        return f"/s/{task}/{n}"

    tree_path = run_folder

    def adopt(self, seen: Reported, at: Venue) -> bool:
        self.adopted.append(seen.task)
        return True

    def keep(self, task: TaskId, commit: Sha) -> None: ...

    def base(self, name: str) -> Sha:
        return Sha("b" * 40)

    def identity(self) -> Mapping[str, str]:
        return {}

    def submit(self, name: str, script: str, env: Mapping[str, str], lock: int) -> None:
        found = re.search(r'"expect": "([0-9a-f]+)"', script)
        assert found
        if self.odds(0.1):
            raise TemporaryError("nothing came of it")
        for _ in range(2 if self.odds(0.2) else 1):
            if not self.odds(0.1):  # else it is lost
                record = self.commits[found[1]]
                node = SimNode(record["task"], record["nonce"], found[1], name, work_left=self.rng.randrange(1, 12))
                node.frozen_until = self.now + self.rng.uniform(0, 30)  # in the queue, or late
                self.jobs.append(node)
        self.known[name] = JobState.QUEUED
        if self.odds(0.1):
            raise TemporaryError("the answer was lost")

    def jobs_by_name(self) -> Mapping[str, Sequence[EngineJob]]:
        if self.odds(0.1):
            raise TemporaryError("the engine is away")
        for name in list(self.known):
            if self.odds(0.02):
                del self.known[name]  # forgotten
            elif self.odds(0.1):
                self.known[name] = self.rng.choice(list(JobState))  # or a lie
                if self.known[name] is JobState.OVER:
                    self.lied.add(name)
        return {name: (EngineJob(state=state, node="n1"),) for name, state in self.known.items()}

    def cancel(self, name: str) -> None:
        for node in self.jobs:
            if node.name == name and not self.odds(0.3):
                node.work_left = 0

    # --- the nodes ---

    def step(self, node: SimNode) -> None:
        if node.phase == "over" or self.now < node.frozen_until:
            return
        if self.odds(0.01):
            node.frozen_until = self.now + self.rng.uniform(1, 4 * LEASE)
            return
        # What is said to be over, by its node, is on one that answers: both at once is more than we promise anything of.
        if self.odds(0.03) and node.name not in self.lied:
            node.cut_until = self.now + self.rng.uniform(1, 4 * LEASE)
        cut = self.now < node.cut_until and node.name not in self.lied
        ref = RUN_REFS + node.task
        if node.phase == "waiting":
            if not cut:
                began = self.now
                new = self.commit({**self.commits[node.expect], "phase": "claimed", "node": "n1"})
                node.phase = "claimed" if self.cas(ref, node.expect, new) else "over"
                node.mine, node.renewed = new, began
                self.known[node.name] = JobState.RUNNING
            return
        # The fence looks before anything else is done.
        halted = self.now - node.renewed > LEASE
        if not cut and (self.now >= node.due or halted or node.work_left <= 0):
            node.due = self.now + SYNC
            ending = node.work_left <= 0
            record = {**self.commits[node.mine], "phase": "ended" if ending else "renewed"}
            files = {"run.json": json.dumps({"started_at": "2026-01-01T00:00:00+00:00", "set_up": True}).encode()}
            if ending:
                how = {"cause": "exited", "code": 0, "ended_at": "2026-01-01T00:00:00+00:00"}
                files["exit.json"] = json.dumps(how).encode()
            new, began = self.commit(record, files), self.now
            if not self.cas(ref, node.mine, new):
                now = self.commits[self.refs.get(ref, "")] if self.refs.get(ref) else {}
                if now.get("phase") == "stopping" and now.get("nonce") == node.nonce:
                    node.mine, node.work_left = self.refs[ref], 0
                else:
                    node.phase = "over"  # refused: it is killed
                return
            node.mine, node.renewed, halted = new, began, False
            if ending:
                node.phase = "over"
                self.ended.append((node.task, node.nonce))
                self.known[node.name] = JobState.OVER
                return
        if not halted:
            self.breathe(node)

    def breathe(self, node: SimNode) -> None:
        """An agent works: nobody else of its task may have done so since it began, or do so later unless it is fenced."""
        record = self.commits[self.refs[RUN_REFS + node.task]]
        gone = record["nonce"] != node.nonce or record["phase"] in ("revoked", "ended")
        # Once given away, it may only have breath left while it stood still for more than twice the lease: not here, as the
        # fence of a node that wakes comes first.
        assert not gone, f"{node.task}: an agent works although its task was given away"
        node.work_left -= 1


class FakeRefs:
    def __init__(self, world: SimWorld) -> None:
        self._world = world
        self.look, self.one, self.made, self.swap, self.bring = (
            world.look,
            world.one,
            world.made,
            world.swap,
            world.bring,
        )

    def files(self, reported: Iterable[Reported], *names: str) -> dict[TaskId, dict[str, bytes]]:
        return {each.task: self._world.files_of(each) for each in reported}


class FakeEngine:
    def __init__(self, world: SimWorld) -> None:
        self.submit, self.jobs, self.cancel = world.submit, world.jobs_by_name, world.cancel


class SimKeeper:
    def __init__(self, world: SimWorld) -> None:
        self.us, self._refs = world.us, FakeRefs(world)
        for name in ("run_folder", "tree_path", "adopt", "keep", "base", "identity"):
            setattr(self, name, getattr(world, name))

    def refs(self, url: str) -> FakeRefs:
        return self._refs


def controller(folder: Path, world: SimWorld) -> tuple[RemoteRuns, Folders]:
    folders = Folders(folder / "runs")
    made = RemoteRuns(Locks(folder / "locks"), folders, SimKeeper(world), {})  # type: ignore[arg-type]
    made.engine = lambda at: FakeEngine(world)  # type: ignore[assignment,method-assign,return-value]
    return made, folders


def turn(runs: RemoteRuns, folders: Folders, world: SimWorld) -> bool:
    """One tick: look, then start what is to be started; True once every task has ended."""
    alive = []
    for task in TASKS:
        newest = folders.newest(RunKind.WORK, task)
        if newest and not folders.record(RunId(RunKind.WORK, task, newest)).settled:
            alive.append(RunId(RunKind.WORK, task, newest))
    runs.look(alive)
    done = 0
    for task in TASKS:
        newest = folders.newest(RunKind.WORK, task)
        last = folders.record(RunId(RunKind.WORK, task, newest)) if newest else None
        if last and last.exit and last.exit.well:
            done += 1
        elif last is None or last.settled:
            spec = RunSpec(
                id=RunId(RunKind.WORK, task, newest + 1), task=task, manifest="m", steps=(("a",),), cwd="", at=AT
            )
            try:
                runs.start(spec, -1, lambda spec=spec: folders.reserve(spec))
            except ReconcileError:
                continue
        elif world.odds(0.01):
            try:
                runs.stop(last.id, StopWhy.PERSON)
            except ReconcileError:
                continue
    return done == len(TASKS)


def told(seed: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = SimWorld(random.Random(seed))
    monkeypatch.setattr(remote.time, "monotonic", lambda: world.now)
    monkeypatch.setattr(_unbegun, "REST_S", 0.0)  # it goes by the real clock
    monkeypatch.setattr(supervisor, "write_json", lambda path, value: Path(path).write_text(json.dumps(value)))
    runs, folders = controller(folder, world)
    for n in range(3000):
        world.calm = n > 1500  # in the end everything goes well: then everything is to end
        world.now += world.rng.uniform(0.05, 1.0)
        for node in list(world.jobs):
            world.step(node)
        if world.odds(0.03):
            runs, folders = controller(folder, world)  # it was killed, and remembers nothing
        if n % 3 == 0 and turn(runs, folders, world):
            break
    else:
        raise AssertionError("it came to no end")
    assert len(world.ended) == len(set(world.ended))
    for task in TASKS:
        assert world.adopted.count(task) >= 1


@pytest.mark.parametrize("seed", range(25))
def test_an_engine_that_lies_starts_nothing_twice_and_everything_ends(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    told(seed, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1400))
def test_an_engine_that_lies_for_long_starts_nothing_twice(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    told(seed, tmp_path, monkeypatch)
