"""The recoveries that are promised, each shown in a throwaway repository: the program is killed, and started again.

Everything in it is real: the program itself, git, agents (shell scripts) and `kill -9`. Each scenario ends with the same
proof: every task is merged in one commit and closed, no worktree or branch is left, and no tree got onto the base that its
checks had not passed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from reconciler.demo.bench import HANG, TASK, Bench, Unmet

# --- the seven scenarios -------------------------------------------------------------------------------------


def _adopted(bench: Bench) -> None:
    bench.wants('touch "$out/hanging"; until test -e "$out/go"; do sleep 0.05; done; commit done')
    bench.kill(bench.hanging())
    again = bench.watch()
    (bench.out / "go").touch()
    bench.until(lambda: not again.is_alive(), "the program to end")
    bench.expect(starts=1)


def _restarted(bench: Bench) -> None:
    bench.wants(HANG, "commit done")
    bench.crash(bench.hanging())
    bench.goes_on()
    bench.expect(starts=2)


def _commits_kept(bench: Bench) -> None:
    bench.wants(f"commit half; {HANG}", "commit whole")
    bench.crash(bench.hanging())
    bench.goes_on()
    bench.expect(starts=2, checks=1)
    if not (bench.on_main("half") and bench.on_main("whole")):
        raise Unmet("what was committed is not on main")


def _files_kept(bench: Bench) -> None:
    bench.wants(f"echo precious > notes; {HANG}", "git add .; git commit --quiet --message=all")
    bench.crash(bench.hanging())
    bench.goes_on()
    bench.expect(starts=2)
    if bench.on_main("notes") != "precious\n":
        raise Unmet("what was not committed is gone")


def _worktree_repaired(bench: Bench) -> None:
    bench.wants("test -e README && commit done")
    bench.strikes("*'worktree add'*agent/*", cut="ulimit -f 0;")  # the kernel kills git where it writes its first file
    bench.dies()
    bench.expect(starts=0)
    bench.goes_on()
    bench.expect(starts=1)


def _checked_again(bench: Bench) -> None:
    bench.wants("commit done")
    (bench.out / "may-pass").unlink()
    process = bench.watch()
    bench.until(lambda: bench.count("checks") == 1, "the check")
    bench.crash(process)
    (bench.out / "may-pass").touch()
    bench.goes_on()
    bench.expect(starts=1, checks=2)


def _closed(bench: Bench) -> None:
    bench.wants("commit done")
    bench.strikes("*'reconcile: land #1'*")
    bench.dies()
    if bench.git("log", "--format=%s", "main").splitlines() != [TASK, "Begin"]:
        raise Unmet("it was killed before it had merged")
    bench.goes_on()
    bench.expect(starts=1, checks=1)


class Scenario(Struct, frozen=True):
    """What is killed, what is promised, and the play in which that is seen."""

    killed: str
    promised: str
    play: Callable[[Bench], None]


SCENARIOS = (
    Scenario("reconcile alone, its agent lives", "the agent is adopted, no second one starts", _adopted),
    Scenario("everything, nothing was done yet", "another agent starts in the same worktree", _restarted),
    Scenario("everything, after a commit", "the next agent goes on from it, and all is merged", _commits_kept),
    Scenario("everything, before a commit", "the files are there for the next agent", _files_kept),
    Scenario("git, while it makes the worktree", "it is made again before any agent sees it", _worktree_repaired),
    Scenario("everything, during the checks", "they run again, and no agent starts", _checked_again),
    Scenario("reconcile, between merge and close", "the task is closed, and not merged twice", _closed),
)


def played(folder: Path, env: Mapping[str, str]) -> Iterator[tuple[Scenario, str]]:
    """Every scenario with what went wrong in it; an empty text where the promise was kept. `folder`: one to work in."""
    for number, scenario in enumerate(SCENARIOS, 1):
        place = folder / str(number)
        place.mkdir()
        bench = Bench.make(place, {**env, "PATH": env.get("PATH", os.defpath)})
        try:
            scenario.play(bench)
            bench.converged()
        except Unmet as unmet:
            yield scenario, str(unmet)
        else:
            yield scenario, ""
        finally:
            bench.clear()
