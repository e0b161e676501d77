"""A repository with Git LFS, as `git lfs install` sets it up: agents see real files, landings bring them, saved work holds
them, and whoever clones what was pushed gets them. Nothing of it needs a network."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from outside import outside
from strangers import Place
from waiting import until

SIZE = 3000
WORK = (
    'wc -c < a.bin > seen; head -c 500 /dev/zero > b.bin; echo "$RECONCILE_TASK" > done.txt; '
    "git add . && git commit -qm Work; head -c 700 /dev/zero > saved.bin"
)


class Large(Place):
    """One large file is committed on the base; the config is somebody's own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        home = folder / "home"
        home.mkdir()
        program = outside("git-lfs").parent
        self.env |= {
            "HOME": str(home),
            "PATH": f"{program}{os.pathsep}{self.env['PATH']}",
            "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
            "GIT_TERMINAL_PROMPT": "0",
        }
        self.git("lfs", "install", "--skip-repo")
        self.git("lfs", "track", "*.bin")
        (self.root / "a.bin").write_bytes(bytes(range(250)) * (SIZE // 250))
        self.git("add", ".")
        self.git("commit", "--quiet", "--message=Large")

    def work(self, **spec: object) -> Path:
        policy = {"checks": [f"test $(wc -c < a.bin) = {SIZE}"], **dict(spec.pop("mergePolicy", {}))}
        tasks = [{"key": "a", "title": "Do a"}]
        return self.manifest(tasks=tasks, agent={"argv": ["sh", "-c", WORK]}, mergePolicy=policy, **spec)

    def landed(self) -> None:
        assert self.subjects()[0] == "Do a"
        assert (self.root / "b.bin").stat().st_size == 500 and (self.root / "seen").read_text().strip() == str(SIZE)
        assert [line for line in self.git("status", "--porcelain").splitlines() if ".beads/" not in line] == []
        assert self.git("show", "main:b.bin").startswith("version https://git-lfs")


def test_an_agent_starts_lands_and_is_saved_in_a_repository_with_large_files(tmp_path: Path) -> None:
    place = Large(tmp_path)

    place.reconcile("watch", "-f", str(place.work()), "--until-done")

    place.landed()
    task = place.tasks()["Do a"]["id"]
    branch = place.reconcile("restore", task).split()[-1]
    place.git("switch", "--quiet", branch)
    assert (place.root / "saved.bin").stat().st_size == 700


def test_the_first_large_file_of_a_repository_lands_like_any_other(tmp_path: Path) -> None:
    place = Large(tmp_path)
    place.git("rm", "--quiet", "a.bin")
    place.git("commit", "--quiet", "--amend", "--message=Attributes")
    shutil.rmtree(place.root / ".git/lfs")
    agent = {"argv": ["sh", "-c", "head -c 500 /dev/zero > b.bin; git add . && git commit -qm Work"]}
    manifest = place.manifest(
        tasks=[{"key": "a", "title": "Do a"}], agent=agent, mergePolicy={"checks": ["test -e b.bin"]}
    )

    place.reconcile("watch", "-f", str(manifest), "--until-done")

    assert (place.root / "b.bin").stat().st_size == 500 and place.git("status", "--porcelain", "b.bin") == ""


@pytest.mark.parametrize("clean", [False, True], ids=["path", "url"])
def test_what_is_pushed_takes_its_large_files_along_before_its_branch_moves(tmp_path: Path, clean: bool) -> None:
    place = Large(tmp_path)
    remote = tmp_path / "remote.git"
    subprocess.run(("git", "init", "--quiet", "--bare", "--initial-branch=main", remote), check=True)
    place.git("remote", "add", "origin", f"file://{remote}" if clean else str(remote))
    place.git("push", "--quiet", "--set-upstream", "origin", "main")
    place.git("lfs", "push", "origin", "--all")
    # Nothing of a stranger's runs: what the repository itself configures for transfers, an agent may have written.
    place.git("config", "lfs.standalonetransferagent", "evil")
    place.git("config", "lfs.customtransfer.evil.path", str(tmp_path / "evil"))
    (tmp_path / "evil").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (tmp_path / "evil").chmod(0o755)

    place.reconcile("watch", "-f", str(place.work(mergePolicy={"push": True})), "--until-done")

    place.landed()
    objects = [each for each in (remote / "lfs/objects").rglob("*") if each.is_file()]
    assert sorted(each.stat().st_size for each in objects) == [500, SIZE]
    subprocess.run(("git", "clone", "--quiet", f"file://{remote}", "clone"), cwd=tmp_path, env=place.env, check=True)
    assert (tmp_path / "clone/b.bin").stat().st_size == 500 and not (tmp_path / "ran").exists()


def test_large_files_are_kept_where_the_base_says_and_not_where_an_agent_does(tmp_path: Path) -> None:
    place = Large(tmp_path)
    origin, store, elsewhere = (tmp_path / name for name in ("origin.git", "store.git", "elsewhere.git"))
    for bare in (origin, store, elsewhere):
        place.git("init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    place.git("config", "--file", ".lfsconfig", "lfs.url", f"file://{store}")
    place.git("add", ".lfsconfig")
    place.git("commit", "--quiet", "--message=Keep large files apart")
    place.git("remote", "add", "origin", f"file://{origin}")
    place.git("push", "--quiet", "origin", "main")

    place.reconcile("watch", "-f", str(place.work(mergePolicy={"push": True})), "--until-done")

    assert len([*store.glob("lfs/objects/*/*/*")]) == 2 and not [*origin.glob("lfs/objects/*/*/*")]
    place.git("clone", "--quiet", f"file://{origin}", str(tmp_path / "fresh"))
    assert (tmp_path / "fresh" / "b.bin").stat().st_size == 500


@pytest.mark.parametrize(("push", "checked"), [(True, False), (False, True), (False, False)])
def test_a_commit_that_names_a_large_file_which_is_nowhere_is_said_with_its_path(
    tmp_path: Path, push: bool, checked: bool
) -> None:
    place = Large(tmp_path)
    if push:
        origin = tmp_path / "origin.git"
        place.git("init", "--quiet", "--bare", "--initial-branch=main", str(origin))
        place.git("remote", "add", "origin", f"file://{origin}")
        place.git("push", "--quiet", "origin", "main")
    policy = {} if checked else {"checks": [], "noChecks": "allow"}
    raw = "-c filter.lfs.clean=cat -c filter.lfs.process= -c filter.lfs.required=false"
    pointer = f"version https://git-lfs.github.com/spec/v1\\noid sha256:{'1' * 64}\\nsize 5\\n"
    agent = {"argv": ["sh", "-c", f"printf '{pointer}' > n.bin; git {raw} add n.bin; git {raw} commit -qm Work"]}
    before = place.git("rev-parse", "main")
    tasks = [{"key": "a", "title": "Do a"}]

    wanted = place.manifest(tasks=tasks, agent=agent, mergePolicy={"push": push, **policy})
    place.reconcile("watch", "-f", str(wanted), "--until-done", code=3)

    (task,) = place.json("status")["epics"][0]["tasks"]
    said = task["waiting"]["message"]
    assert f"n.bin ({'1' * 12})" in said and "git lfs fetch" in said
    assert place.git("rev-parse", "main") == before


def test_an_agent_starts_once_a_large_file_that_was_nowhere_is_there(tmp_path: Path) -> None:
    place = Large(tmp_path)
    (held,) = (place.root / ".git/lfs/objects").glob("*/*/*")
    kept = held.rename(tmp_path / "kept")
    watch = place.start("watch", "-f", str(place.work()))
    failing = [{}]

    def fails() -> object:
        failing[:] = [task["failing"] for epic in place.json("status")["epics"] for task in epic["tasks"]]
        return any(failing)

    until(fails, "it to fail", by=watch)
    assert "a.bin" in failing[0]["message"]

    held.parent.mkdir(parents=True, exist_ok=True)
    kept.rename(held)

    until(lambda: place.subjects()[0] == "Do a", "the work to land", by=watch)
    watch.kill()
    watch.communicate()
    place.landed()


def test_where_the_remote_with_the_large_files_does_not_answer_it_is_said_what_must(tmp_path: Path) -> None:
    place = Large(tmp_path)
    remote, away = tmp_path / "remote.git", tmp_path / "away.git"
    place.git("init", "--quiet", "--bare", str(remote))
    place.git("remote", "add", "origin", f"file://{remote}")
    place.git("push", "--quiet", "origin", "main")
    shutil.rmtree(place.root / ".git/lfs/objects")
    remote.rename(away)
    watch = place.start("watch", "-f", str(place.work()), "--until-done")
    try:
        until(lambda: "'git lfs fetch' shows whether it does" in place.reconcile("status"), "it to be said", by=watch)
        assert "'git lfs fetch'" in place.reconcile("doctor", code=1)
        away.rename(remote)
        until(lambda: watch.poll() is not None, "the task to be done")
    finally:
        watch.kill()
        watch.communicate()
    place.landed()


def test_where_the_program_is_not_found_nothing_begins_and_that_is_said(tmp_path: Path) -> None:
    place = Large(tmp_path)
    place.env["PATH"] = place.env["PATH"].partition(os.pathsep)[2]

    place.reconcile("watch", "-f", str(place.work()), "--until-done", code=3)

    (epic,) = place.json("status")["epics"]
    degraded = next(each for each in epic["conditions"] if each["type"] == "Degraded")
    assert degraded["reason"] == "FilterMissing" and "git-lfs is not on the PATH" in degraded["message"]
    assert place.json("get", "runs") == []
    assert "git-lfs is not on the PATH" in place.reconcile("doctor", code=1)


def test_a_repository_without_large_files_gets_no_folder_for_them(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.reconcile("watch", "-f", str(place.manifest()), "--until-done")
    assert not (place.root / ".git/lfs").exists()
