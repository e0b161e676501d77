"""A repository that is copied or moved while its agents work: both go on, and neither takes anything from the other."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from strangers import Place, merged
from waiting import ended, until

AGENT = (
    'touch "{out}/$RECONCILE_TASK.$(basename "$PWD")"; echo half > unfinished; until test -e {out}/go; do sleep 0.05; done;'
    ' rm unfinished; echo x > "$RECONCILE_TASK.txt"; git add . && git commit -qm "Do $RECONCILE_TASK"'
)


class Standing(Place):
    """A repository in a folder of its own with its worktrees, whose agents wait until they are let go."""

    def __init__(self, folder: Path) -> None:
        self.out = folder / "outside"
        self.out.mkdir()
        (folder / "here").mkdir()
        super().__init__(folder / "here")

    def wanted(self, **spec: object) -> str:
        return str(self.manifest(agent={"argv": ["sh", "-c", AGENT.format(out=self.out)]}, **spec))

    def at(self, root: Path) -> None:
        """Go on in the repository as it stands there."""
        self.root = root

    def begin(self) -> Path:
        """An agent running; its worktree."""
        self.reconcile("apply", "-f", self.wanted())
        task = self.tasks()["Do a"]["id"]
        worktree = self.root.parent / "worktrees" / task
        until((worktree / "unfinished").exists)
        return worktree


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Standing]:
    place = Standing(tmp_path)
    yield place
    (place.out / "go").touch()
    place.reconcile("stop", "--all", code=None)


def copied(place: Standing) -> Path:
    copy = place.root.parent / "copy"
    subprocess.run(("cp", "-a", place.root, copy), check=True)
    return copy


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("prune --all", 0),
        ("prune {task}", 2),
        ("watch --until-done", 3),
        ("stop --all", 0),
        ("spawn {task}", 1),
    ],
)
def test_nothing_that_is_typed_in_a_copy_touches_the_agents_of_the_original(
    place: Standing, words: str, code: int
) -> None:
    worktree = place.begin()
    original, copy = place.root, copied(place)

    place.at(copy)
    place.reconcile(*words.format(task=worktree.name).split(), code=code)

    assert (worktree / "unfinished").read_text() == "half\n"
    assert place.git("for-each-ref", "refs/reconcile/salvage") == ""
    place.at(original)
    (place.out / "go").touch()
    place.reconcile("watch", "--until-done")
    merged(place, "Do a", "Do b")


def test_a_copy_says_whose_its_manifests_and_worktrees_are(place: Standing) -> None:
    worktree = place.begin()
    original, copy = place.root, copied(place)

    place.at(copy)

    task = next(task for task in place.json("status")["epics"][0]["tasks"] if task["title"] == "Do a")
    assert task["waiting"]["reason"] == "ManifestInvalid"
    assert f"it was recorded for {original}, and this is {copy}" in task["waiting"]["message"]
    assert f"it is a worktree of another repository, {original}/.git" in place.reconcile("doctor")
    assert str(worktree) in place.reconcile("doctor")


def test_a_copy_and_its_original_both_work_to_their_end(place: Standing, tmp_path: Path) -> None:
    place.begin()
    original, copy = place.root, copied(place)
    manifest = place.wanted(repository="copy", worktrees={"root": str(tmp_path / "copies")})

    place.at(copy)
    place.reconcile("apply", "-f", manifest)
    (place.out / "go").touch()
    place.reconcile("watch", "--until-done")
    assert len(place.subjects()) == 3

    place.at(original)
    place.reconcile("watch", "--until-done")
    merged(place, "Do a", "Do b")


@pytest.mark.parametrize("what", ["the repository", "the folder around it"])
def test_what_was_moved_goes_on_with_the_work_of_before(place: Standing, tmp_path: Path, what: str) -> None:
    place.begin()
    place.reconcile("stop", "--all")
    moved = place.root.parent / "moved" if what == "the repository" else tmp_path / "there/project"
    if what == "the repository":
        place.root.rename(moved)
    else:
        place.root.parent.rename(moved.parent)

    place.at(moved)
    for task in place.tasks().values():
        if task["title"] == "Do a":
            place.reconcile("retry", task["id"])
    (place.out / "go").touch()
    place.reconcile("watch", "--until-done")

    merged(place, "Do a", "Do b")


def test_an_agent_that_lives_while_its_repository_is_moved_ends_well(place: Standing) -> None:
    worktree = place.begin()
    moved = place.root.parent / "moved"
    place.root.rename(moved)
    place.at(moved)

    watcher = place.start("watch", "--until-done")
    until(lambda: str(moved) in (worktree / ".git").read_text(), by=watcher)
    (place.out / "go").touch()
    ended(watcher)

    assert watcher.returncode == 0
    merged(place, "Do a", "Do b")
    task = place.tasks()["Do a"]["id"]
    assert [run["id"] for run in place.json("describe", task)["runs"] if run["id"].startswith("work/")] == [
        f"work/{task}/1"
    ]


@pytest.mark.parametrize("kind", ["submodule", "separate git dir", "bare"])
def test_where_the_git_dir_stands_elsewhere_what_lands_is_in_the_checkout_that_people_see(
    place: Place, tmp_path: Path, kind: str
) -> None:
    above = place.root
    match kind:
        case "submodule":
            place.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(above), "lib")
            place.root = above / "lib"
        case "bare":
            place.git("clone", "--quiet", "--bare", str(above), str(tmp_path / "bare/.git"))
            place.git("worktree", "add", "--quiet", "../seen", "main", cwd=tmp_path / "bare/.git")
            place.root = tmp_path / "bare/seen"
        case _:
            place.git(
                "clone", "--quiet", f"--separate-git-dir={tmp_path / 'store'}", str(above), str(tmp_path / "seen")
            )
            place.root = tmp_path / "seen"
    place.env |= {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

    place.reconcile("apply", "-f", str(place.manifest(repository=str(place.root))), "--wait")

    assert len(list(place.root.glob("*-*.txt"))) == 2
    ours = [line for line in place.git("status", "--porcelain").splitlines() if ".beads/" not in line]
    assert ours == []
    assert (place.root / ".beads").is_dir() == (kind != "bare")
    said = place.reconcile("doctor", code=None)
    assert ("tasks are kept in" if kind == "bare" else "its git dir is") in said
