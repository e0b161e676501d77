"""What failed for something that anybody can see is tried again as soon as that is another, and never in a hot loop."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import worlds
from memory import World
from test_loop import Clockwork, X, a_loop, refuse, rest_s

from reconciler.loop.causes import EARLY_MOST_S, EARLY_S
from reconciler.loop.loop import POLL_S, Loop
from reconciler.loop.setbacks import PERMANENT_S
from reconciler.model.desired import Desired
from reconciler.model.errors import ContentRefusedError, PermanentError, ReconcileError, TemporaryError
from reconciler.model.names import RunId, RunKind
from reconciler.model.values import replace


@pytest.fixture
def world() -> World:
    made = World(now=worlds.NOW)
    made.add("x-1")
    return made


@pytest.fixture
def in_the_way(tmp_path: Path) -> Path:
    path = tmp_path / "agent"
    path.write_text("somebody's\n")
    return path


def _after(world: World, loop: Loop, seconds: float) -> None:
    world.later(seconds=seconds)
    loop.until_quiet(Clockwork(world))


@pytest.mark.parametrize("kind", [PermanentError, TemporaryError])
def test_what_failed_for_a_file_is_tried_again_as_soon_as_that_is_another(
    world: World, in_the_way: Path, kind: Callable[[str], ReconcileError]
) -> None:
    create = world.create
    calls = refuse(world, "create", kind("a branch called agent is in the way").due_to(in_the_way))
    loop = a_loop(world)
    loop.until_quiet(Clockwork(world))
    in_the_way.unlink()
    world.create = create

    _after(world, loop, EARLY_S)

    assert len(calls) == 1 and world.alive()
    assert loop.look().plan.epics[0].failing == {}


def test_what_failed_rests_while_what_it_failed_for_is_as_it_was(world: World, in_the_way: Path) -> None:
    calls = refuse(world, "create", PermanentError("it is in the way").due_to(in_the_way))
    loop = a_loop(world)
    loop.until_quiet(Clockwork(world))
    in_the_way.with_name("another").touch()

    _after(world, loop, PERMANENT_S - 1)

    assert len(calls) == 1


def test_what_lacked_a_file_is_tried_again_once_it_is_there(world: World, tmp_path: Path) -> None:
    calls = refuse(world, "create", PermanentError("a large file is nowhere").due_to(tmp_path / "11" / "2233"))
    loop = a_loop(world)
    loop.until_quiet(Clockwork(world))
    (tmp_path / "another").touch()
    _after(world, loop, EARLY_S)
    assert len(calls) == 1

    (tmp_path / "11").mkdir()
    (tmp_path / "11" / "2233").touch()
    _after(world, loop, EARLY_S)

    assert len(calls) == 2


def test_a_folder_that_may_be_written_by_now_is_another(world: World, tmp_path: Path) -> None:
    def create(*args: object) -> None:
        calls.append(args)
        raise TemporaryError(f"{tmp_path}: Permission denied") from PermissionError(13, "no", str(tmp_path / "made"))

    calls: list[object] = []
    world.create = create  # type: ignore[method-assign]
    tmp_path.chmod(0o500)
    loop = a_loop(world)
    for _ in range(4):
        _after(world, loop, 300)
    before = len(calls)

    tmp_path.chmod(0o700)
    _after(world, loop, EARLY_S)

    assert len(calls) == before + 1


def test_what_changes_all_the_time_has_nothing_tried_at_every_look(world: World, in_the_way: Path) -> None:
    calls = refuse(world, "create", PermanentError("it is in the way").due_to(in_the_way))
    loop = a_loop(world)
    for second in range(600):
        os.utime(in_the_way, (second, second))
        _after(world, loop, 1)

    spans = [EARLY_S * 2**n for n in range(10)]
    soon = sum(1 for n in range(10) if sum(spans[: n + 1]) < 600 and spans[n] < EARLY_MOST_S)
    assert soon + 2 <= len(calls) <= soon + 1 + 600 / EARLY_MOST_S


def test_who_waits_for_a_file_to_be_another_looks_every_few_seconds(world: World, in_the_way: Path) -> None:
    refuse(world, "create", PermanentError("it is in the way").due_to(in_the_way))
    wake, stop = Clockwork(world), Clockwork(world)
    wake.then = lambda: stop.set() if len(wake.waits) == 20 else None
    a_loop(world).forever(wake, stop)
    assert max(wake.waits) == POLL_S


def test_a_manifest_that_is_written_anew_has_what_failed_for_it_tried_again(world: World) -> None:
    calls = refuse(world, "create", PermanentError("worktrees.root is not a folder"))
    wanted = worlds.an_epic()
    loop = a_loop(world, wanted)
    loop.load = lambda: Desired(epics=(wanted,))
    loop.until_quiet(Clockwork(world))
    _after(world, loop, EARLY_S)
    assert len(calls) == 1

    wanted = replace(wanted, generation=wanted.generation + 1)
    _after(world, loop, 1)

    assert len(calls) == 2
    assert rest_s(loop.look(), world) == PERMANENT_S


def test_what_was_refused_for_what_it_lacks_is_offered_again_once_that_is_there(world: World, tmp_path: Path) -> None:
    offer = world.open
    refuse(world, "open", ContentRefusedError("its large file is nowhere").due_to(tmp_path / "2233"))
    loop = a_loop(world, worlds.an_epic(merge={"checks": ()}, agent={"max_attempts": 1}))
    world.checked = False
    loop.until_quiet(Clockwork(world))
    world.commit("x-1", "p")
    world.finish(RunId(RunKind.WORK, "x-1", 1))
    loop.tick()
    (tmp_path / "2233").touch()
    world.open = offer
    world.now += timedelta(seconds=EARLY_S)

    loop.until_quiet(Clockwork(world))

    assert world.beads[X].closed and len(world.landed) == 1
