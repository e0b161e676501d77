"""What is free here, as the kernel says; what it does not say is not known."""

from __future__ import annotations

import os
from itertools import count, repeat
from pathlib import Path

import pytest

from reconciler.system import machine_room
from reconciler.system.machine_room import free_disk, free_memory, free_processes, left_to_user, taken


@pytest.fixture
def machine(tmp_path: Path) -> tuple[Path, Path]:
    """/proc of a machine with 8000 KiB to give, and the cgroups of a process that stands in /user/me."""
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal: 16000 kB\nMemAvailable:    8000 kB\n")
    (proc / "self/cgroup").write_text("12:pids:/old\n0::/user/me\n")
    (cgroups / "user/me").mkdir(parents=True)
    return proc, cgroups


def limits(group: Path, **files: str) -> None:
    for name, text in files.items():
        (group / name.replace("_", ".", 1)).write_text(f"{text}\n")


def test_memory_is_what_the_machine_can_give(machine: tuple[Path, Path]) -> None:
    assert free_memory(*machine) == 8000 * 1024


def test_the_tightest_cgroup_around_us_decides_and_what_is_kept_of_files_counts_as_free(
    machine: tuple[Path, Path],
) -> None:
    proc, cgroups = machine
    limits(cgroups / "user/me", memory_max="max", memory_current="5000")
    limits(cgroups / "user", memory_max="9000", memory_current="6000", memory_stat="anon 5\ninactive_file 500")

    assert free_memory(proc, cgroups) == 3500


def test_processes_are_limited_by_cgroups_only(machine: tuple[Path, Path]) -> None:
    proc, cgroups = machine
    assert free_processes(proc, cgroups) is None
    limits(cgroups / "user", pids_max="100", pids_current="90")

    assert free_processes(proc, cgroups) == 10


def test_the_limits_of_older_hierarchies_hold_too(machine: tuple[Path, Path]) -> None:
    proc, cgroups = machine
    (proc / "self/cgroup").write_text("12:pids:/old\n4:memory:/elsewhere/me\n0::/\n")
    for group in ("pids/old", "memory"):  # a container may not see the folder that its own name says
        (cgroups / group).mkdir(parents=True)
    limits(cgroups / "pids/old", pids_max="100", pids_current="90")
    limits(
        cgroups / "memory",
        memory_limit_in_bytes="9000",
        memory_usage_in_bytes="6000",
        memory_stat="cache 5\ninactive_file 1\ntotal_inactive_file 500",
    )

    assert (free_processes(proc, cgroups), free_memory(proc, cgroups)) == (10, 3500)


def users(proc: Path, *threads: int, in_all: int = 100) -> None:
    """Programs of this user with so many threads, and one of somebody else's; as the kernel counts them, so many in all."""
    (proc / "loadavg").write_text(f"0.1 0.2 0.3 1/{in_all} 4711\n")
    for pid, many in enumerate((*threads, 1000), start=1):
        (proc / str(pid)).mkdir()
        own = os.getuid() if pid <= len(threads) else 4711
        (proc / str(pid) / "status").write_text(f"Name:\tx\nUid:\t{own}\t0\t0\t0\nThreads:\t{many}\n")


def test_what_a_user_may_start_counts_every_thread_of_theirs_and_nobody_elses(machine: tuple[Path, Path]) -> None:
    users(machine[0], 20, 30, in_all=1050)

    assert left_to_user(machine[0], limit=100) == 50
    assert left_to_user(machine[0], limit=10) == 0


def test_where_all_there_is_would_fit_nobody_is_counted(machine: tuple[Path, Path]) -> None:
    users(machine[0], 20, 30, in_all=1050)

    assert left_to_user(machine[0], limit=63_000) == 63_000 - 1050


def test_who_is_not_limited_may_start_any_number(machine: tuple[Path, Path]) -> None:
    users(machine[0], 20)
    assert left_to_user(machine[0], limit=None) is None


@pytest.mark.parametrize("text", ["", "MemFree: 3 kB\n", "MemAvailable: much\n"])
def test_what_is_not_said_is_not_known(machine: tuple[Path, Path], text: str) -> None:
    proc, cgroups = machine
    (proc / "meminfo").write_text(text)

    assert free_memory(proc, cgroups) is None


def test_elsewhere_than_on_linux_the_library_is_asked(tmp_path: Path) -> None:
    assert (free_memory(tmp_path / "no-proc", tmp_path) or 0) > 0


def test_disk_is_asked_for_where_a_folder_will_be(tmp_path: Path) -> None:
    there = os.statvfs(tmp_path)

    (found,) = free_disk([str(tmp_path / "not/yet")]).values()
    assert abs(found - there.f_bavail * there.f_frsize) < there.f_blocks * there.f_frsize / 10


def test_a_file_of_two_names_takes_its_disk_once_and_links_lead_nowhere(tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/a").write_bytes(b"x" * 100_000)
    once = taken(str(folder), 9, repeat(0.0))
    os.link(folder / "deep/a", folder / "b")
    (folder / "c").symlink_to(tmp_path)

    again = taken(str(folder), 9, repeat(0.0))
    assert once and again and 100_000 <= once <= again < once + 50_000


def test_what_takes_too_long_to_count_or_is_not_there_has_no_size(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()

    assert taken(str(tmp_path), 1, map(float, count())) is None
    assert taken(str(tmp_path / "nowhere"), 9, repeat(0.0)) is None


def test_this_machine_says_something() -> None:
    assert machine_room.free_memory()
