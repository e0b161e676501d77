"""Repositories whose files are stored otherwise than they are read: stored once, read as they are meant, or nothing begins."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from strangers import Place

CRYPT = Path(__file__).parents[1] / "keyed_filter.py"
AGENT = "cat a.secret > seen && echo more >> a.secret && echo two > b.secret && git add . && git commit -qm Do"


class Crypt(Place):
    """A repository in which secrets are stored encrypted, by a filter that some config sets."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        home = folder / "home"
        home.mkdir()
        del self.env["GIT_CONFIG_GLOBAL"]
        self.env |= {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1"}
        self.key = self.root / ".git" / "git-crypt" / "key"
        self.key.parent.mkdir()
        self.key.touch()

    def filtered(self, *where: str) -> None:
        for what in ("clean", "smudge"):
            self.git("config", *where, f"filter.crypt.{what}", f"{sys.executable} {CRYPT} {what}")
        self.git("config", *where, "filter.crypt.required", "true")

    def secrets(self) -> None:
        (self.root / ".gitattributes").write_text("*.secret filter=crypt\n")
        (self.root / "a.secret").write_text("one\n")
        self.git("add", ".")
        self.git("commit", "--quiet", "--message=Secrets")

    def one(self, agent: str = AGENT) -> str:
        spec = {"argv": ["sh", "-c", agent]}
        return str(
            self.manifest(tasks=[{"key": "a", "title": "Do a"}], agent=spec, mergePolicy={"checks": ["cat a.secret"]})
        )

    def stored_once(self) -> None:
        for path, text in (("a.secret", "one\nmore\n"), ("b.secret", "two\n")):
            stored = self.git("cat-file", "blob", f"main:{path}")
            assert stored.startswith("CRYPT:") and (self.root / path).read_text() == text
            assert self.git("cat-file", "--filters", f"main:{path}") == text
        assert self.git("cat-file", "blob", "main:seen") == "one\n"
        (self.root / "a.secret").touch()
        assert not [line for line in self.git("status", "--porcelain").splitlines() if ".beads" not in line]


@pytest.fixture
def place(tmp_path: Path) -> Crypt:
    return Crypt(tmp_path)


def test_a_filter_that_the_user_sets_up_is_gone_through_once_by_agents_checks_and_landings(place: Crypt) -> None:
    place.filtered("--global")
    place.secrets()

    place.reconcile("watch", "-f", place.one(), "--until-done")

    place.stored_once()
    assert place.leftovers() == []


def test_a_filter_that_only_the_repository_sets_up_is_told_before_anybody_begins_and_goes_on_once_it_is_the_users(
    place: Crypt,
) -> None:
    place.filtered()
    place.secrets()
    manifest = place.one()

    said = place.reconcile("watch", "-f", manifest, "--until-done", code=3)

    assert f"files of main at {place.git('rev-parse', 'main')[:12]}" in said
    assert "FilterMissing" in said and "git config --global filter.crypt.smudge" in said, said
    (epic,) = place.json("status")["epics"]
    assert {task["waiting"]["reason"] for task in epic["tasks"]} <= {"FilterMissing"}
    assert place.json("get", "runs") == [] and not (place.root.parent / "worktrees").exists()
    assert "filter crypt" in place.reconcile("doctor", code=1)
    place.filtered("--global")
    place.reconcile("watch", "-f", manifest, "--until-done")
    place.stored_once()


def test_without_its_key_nothing_begins_and_all_who_look_say_what_the_filter_said(place: Crypt) -> None:
    place.filtered("--global")
    place.secrets()
    place.key.unlink()
    manifest = place.one()

    said = place.reconcile("watch", "-f", manifest, "--until-done", code=3)

    for text in (said, place.reconcile("status"), place.reconcile("doctor", code=1), place.reconcile("diff", code=3)):
        assert "no key: unlock this repository first" in text and "filter crypt" in text, text
        assert f"files of main at {place.git('rev-parse', 'main')[:12]}" in text, text
    assert place.json("get", "runs") == [] and not (place.root.parent / "worktrees").exists()
    place.key.touch()
    place.reconcile("watch", "-f", manifest, "--until-done")
    place.stored_once()
    assert [run["attempt"] for run in place.json("get", "runs") if run["kind"] == "work"] == [1]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"smudge": "cat", "clean": "no-such-clean %f"}, "no-such-clean is not on the PATH here"),
        ({"clean": "cat"}, "which is required and has no smudge command"),
        ({"smudge": "cat"}, "which is required and has no clean command"),
        ({}, "which is required and has no smudge command"),
        ({"smudge": "false", "clean": "cat"}, "which fails here: error: external filter 'false' failed"),
        ({"smudge": "cat", "clean": "false"}, "which fails here: error: external filter 'false' failed"),
        ({"process": "false"}, "which fails here: "),
        ({"process": "no-such-process"}, "no-such-process is not on the PATH here"),
    ],
    ids=[
        "clean gone",
        "no smudge",
        "no clean",
        "nothing",
        "smudge fails",
        "clean fails",
        "process fails",
        "process gone",
    ],
)
def test_a_filter_of_the_users_that_can_not_work_is_said_before_anybody_starts(
    place: Crypt, settings: dict[str, str], said: str
) -> None:
    place.secrets()
    for what, command in settings.items():
        place.git("config", "--global", f"filter.crypt.{what}", command)
    place.git("config", "--global", "filter.crypt.required", "true")
    manifest = place.one()

    assert said in place.reconcile("diff", "-f", manifest, code=3)
    watched = place.reconcile("watch", "-f", manifest, "--until-done", code=3)

    assert "FilterMissing" in watched and said in watched
    assert said in place.reconcile("status") and said in place.reconcile("doctor", code=1)
    assert place.json("get", "runs") == [] and not (place.root.parent / "worktrees").exists()


@pytest.mark.parametrize("how", ["not required", "only cleans", "of no file"])
def test_a_filter_that_no_file_needs_holds_nothing(place: Crypt, how: str) -> None:
    place.git("config", "filter.crypt.clean", "cat")
    if how != "only cleans":
        place.git("config", "filter.crypt.smudge", "cat")
    if how != "not required":
        place.git("config", "filter.crypt.required", "true")
    if how != "of no file":
        place.secrets()
    manifest = place.manifest(tasks=[{"key": "a", "title": "Do a"}])

    place.reconcile("watch", "-f", str(manifest), "--until-done")

    assert place.subjects()[0] == "Do a"
