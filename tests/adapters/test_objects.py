"""Objects are what git says they are, wherever they lie; nothing that only looks like one is believed."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import gitrepo
import pytest
from gitrepo import GitRepo

from reconciler.git import commands as git_module
from reconciler.git import objects, trees
from reconciler.git.objects import GitObject
from reconciler.git.ref_cache import RefCache
from reconciler.model.errors import PermanentError
from reconciler.model.names import Sha


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    return gitrepo.make(tmp_path, files={"a": "1\n"})


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The git commands that were started."""
    commands: list[str] = []
    run = git_module.shell.run

    def counted(argv: tuple[str, ...], *args: object, **kwargs: object) -> object:
        commands.append(" ".join(argv))
        return run(argv, *args, **kwargs)

    monkeypatch.setattr(git_module.shell, "run", counted)
    yield commands


def file_of(repo: GitRepo, name: str) -> Path:
    return repo.common / "objects" / name[:2] / name[2:]


@pytest.mark.parametrize("packed", [False, True], ids=["in a file of its own", "packed"])
def test_every_kind_of_object_is_read_as_git_prints_it(repo: GitRepo, packed: bool, started: list[str]) -> None:
    repo.git("tag", "-m", "a tag", "t")
    wanted = {"commit": "HEAD", "tree": "HEAD^{tree}", "blob": "HEAD:a", "tag": "t"}
    names = [Sha(repo.git("rev-parse", name)) for name in wanted.values()]
    if packed:
        repo.git("repack", "-adq")
        repo.git("prune-packed")
    git = repo.seam()
    git.prepare()
    started.clear()

    read = objects.read(git, *names, Sha("f" * 40), names[0])

    assert [stored.kind for stored in read] == [*wanted, "missing", "commit"]
    assert read[2].content == b"1\n"
    assert len(started) == 1  # once for all that it is asked for; the last of them it does not have
    started.clear()
    objects.read(git, *names)
    assert len(started) == packed


def test_a_commit_is_read_with_all_that_it_says(repo: GitRepo) -> None:
    repo.branch("side", {"b": "2\n"})
    repo.git("merge", "-q", "--no-ff", "-m", "Both\n\ntogether", "side")
    head = repo.head()

    (commit,) = objects.commits(repo.seam(), head)

    said = repo.git("log", "-1", "--format=%T%n%P%n%an <%ae> %ad%n%cn <%ce> %cd%n%B", "--date=raw").split("\n", 4)
    assert [commit.tree, " ".join(commit.parents), commit.author, commit.committer, commit.text] == said


def test_a_commit_in_another_encoding_is_read_as_it_was_meant(repo: GitRepo) -> None:
    text = repo.home / "text"
    text.write_bytes("Grüße\n".encode("latin-1"))
    repo.git("-c", "i18n.commitEncoding=latin-1", "commit", "-q", "--allow-empty", "-F", str(text))
    (commit,) = objects.commits(repo.seam(), repo.head())
    assert commit.text == "Grüße\n"


@pytest.mark.parametrize("encoding", ["idna", "undefined", "punycode", "a\0b", "no-such"])
def test_a_commit_in_an_encoding_that_nobody_can_read_is_read_as_far_as_it_goes(repo: GitRepo, encoding: str) -> None:
    """An agent chooses what stands there."""
    repo.commit(message="work")
    raw = repo.git("cat-file", "commit", "HEAD").replace("\n\n", f"\nencoding {encoding}\n\n", 1).encode() + b"\xff\n"
    (repo.home / "commit").write_bytes(raw)
    odd = Sha(repo.git("hash-object", "-t", "commit", "-w", "--literally", "--", str(repo.home / "commit")))

    assert objects.commits(repo.seam(), odd)[0].text.startswith("work")


@pytest.mark.parametrize("start", [b"\xff 1\0", b"commit 9\0", b"commit\0", b"commit x\0", b"heap 1\0"])
def test_an_object_with_a_start_that_git_refuses_is_left_to_git(repo: GitRepo, start: bytes) -> None:
    whole = start + b"x"
    name = Sha(hashlib.sha1(whole).hexdigest())
    file_of(repo, name).parent.mkdir(exist_ok=True)
    file_of(repo, name).write_bytes(zlib.compress(whole))

    assert objects.loose(repo.seam(), name) is None


@pytest.mark.parametrize("damage", ["another object", "no object", "cut off", "a bomb", "a link", "a pipe", "a folder"])
def test_what_lies_under_the_name_of_another_object_is_never_believed(repo: GitRepo, damage: str) -> None:
    first = repo.head()
    second = repo.commit({"a": "2\n"})
    place = file_of(repo, second)
    kept = place.read_bytes()
    place.unlink()
    match damage:
        case "another object":
            place.write_bytes(file_of(repo, first).read_bytes())
        case "no object":
            place.write_bytes(b"nothing that git wrote")
        case "cut off":
            place.write_bytes(kept[: len(kept) // 2])
        case "a bomb":
            place.write_bytes(zlib.compress(b"commit 100000000\0" + b"x" * 100_000_000))
        case "a link":
            (repo.home / "kept").write_bytes(kept)
            place.symlink_to(repo.home / "kept")
        case "a pipe":
            os.mkfifo(place)
        case _:
            place.mkdir()
    assert objects.loose(repo.seam(), second) is None
    assert objects.loose(repo.seam(), first) is not None


@pytest.mark.parametrize("name", ["", "HEAD", "../../config", "f" * 39, "F" * 40])
def test_nothing_but_the_name_of_an_object_leads_to_a_file(repo: GitRepo, name: str) -> None:
    assert objects.loose(repo.seam(), Sha(name)) is None


@pytest.mark.parametrize(
    "text", ["", "tree HEAD\n\nno tree\n", "parent {head}\n\nno tree either\n", "tree {head}\nparent 1"]
)
def test_a_commit_that_git_would_not_make_is_said_to_be_none(repo: GitRepo, text: str) -> None:
    made = repo.home / "made"
    made.write_text(text.format(head=repo.head()))
    name = Sha(repo.git("hash-object", "-t", "commit", "-w", "--literally", "--", str(made)))
    assert objects.loose_commit(repo.seam(), name) is None
    with pytest.raises(PermanentError, match="is not a commit"):
        objects.commits(repo.seam(), name)


def test_a_commit_is_written_as_git_writes_it(repo: GitRepo) -> None:
    head, other = repo.head(), repo.branch("side", {"b": "2\n"})
    tree = Sha(repo.git("rev-parse", "HEAD^{tree}"))
    said = {"author": "A Böe <a@example.org> 1700000000 +0100", "committer": "C <c@example.org> 1700000001 +0000"}

    made = objects.write_commit(repo.seam(), tree, (head, other), **said, text="Both\n\ntogether\n")

    expected = f"tree {tree}\nparent {head}\nparent {other}\nauthor {said['author']}\ncommitter {said['committer']}"
    assert repo.git("cat-file", "commit", made) == f"{expected}\n\nBoth\n\ntogether"
    assert repo.git("fsck", "--strict", "--no-dangling") == "" and file_of(repo, made).stat().st_mode & 0o777 == 0o444
    again = objects.write_commit(repo.seam(), tree, (head, other), **said, text="Both\n\ntogether\n")
    assert again == made and not list((repo.common / "objects").glob("*/tmp_obj_*"))


@pytest.mark.parametrize(("author", "text"), [("A <a> 1 +0000\nparent 0", ""), ("A\0", ""), ("A <a> 1 +0000", "a\0b")])
def test_nothing_that_a_commit_is_told_ends_its_line(repo: GitRepo, author: str, text: str) -> None:
    tree = Sha(repo.git("rev-parse", "HEAD^{tree}"))
    with pytest.raises(PermanentError):
        objects.write_commit(repo.seam(), tree, (), author=author, committer="C <c> 1 +0000", text=text)


@pytest.mark.parametrize("seed", range(4))
def test_trees_differ_where_git_says_so(repo: GitRepo, seed: int) -> None:
    chance = random.Random(seed)
    made = []
    for _ in range(4):
        for path in ("a", "d", "e/f/g", "e/h", "i"):
            match chance.randrange(5):
                case 0:
                    repo.git("rm", "-rfq", "--ignore-unmatch", path)
                case 1:
                    repo.git("rm", "-rfq", "--ignore-unmatch", path)
                    repo.write({f"{path}/x": f"{chance.random()}", f"{path}/y/z": "same\n"})
                case 2 if not (repo.path / path).is_dir():
                    repo.git("rm", "-rfq", "--ignore-unmatch", path)
                    repo.write({path: f"{chance.randrange(2)}"})
                    (repo.path / path).chmod(chance.choice((0o644, 0o755)))
                case 3 if (repo.path / path).parent.is_dir():
                    repo.git("rm", "-rfq", "--ignore-unmatch", path)
                    (repo.path / path).parent.mkdir(parents=True, exist_ok=True)
                    (repo.path / path).symlink_to("/nowhere")
        repo.commit()
        made.append(Sha(repo.git("rev-parse", "HEAD^{tree}")))
    git = repo.seam()
    for old in made:
        for new in made:
            told = repo.git("diff-tree", "-r", "--raw", "--no-renames", "-z", old, new).split("\0")
            by_path = {path: "160000" in about for about, path in zip(told[::2], told[1::2], strict=False)}
            assert trees.changed(git, old, new) == by_path


def test_trees_that_are_packed_or_oddly_written_are_left_to_git(repo: GitRepo) -> None:
    old = Sha(repo.git("rev-parse", "HEAD^{tree}"))
    entry = bytes.fromhex(repo.git("rev-parse", "HEAD:a"))
    (repo.home / "tree").write_bytes(b"100664 a\0" + entry)
    odd = Sha(repo.git("hash-object", "-t", "tree", "-w", "--literally", "--", str(repo.home / "tree")))
    assert trees.changed(repo.seam(), old, odd) is None
    new = repo.branch("side", {"b": "2\n"})
    tree = Sha(repo.git("rev-parse", f"{new}^{{tree}}"))
    assert trees.changed(repo.seam(), old, tree) == {"b": False}
    repo.git("repack", "-adq")
    assert trees.changed(repo.seam(), old, tree) is None


@pytest.mark.parametrize("order", [("good", "bad"), ("bad", "good"), ("bad", "x", "good")])
def test_a_tree_that_names_a_path_twice_hides_nothing(repo: GitRepo, order: tuple[str, ...]) -> None:
    """Git checks out what both hold, and an agent can make such a tree: `.github/workflows` twice, for instance."""

    def made(*entries: tuple[str, str, str]) -> str:
        content = b"".join(f"{mode} {name}\0".encode() + bytes.fromhex(of) for mode, name, of in entries)
        (repo.home / "tree").write_bytes(content)
        return repo.git("hash-object", "-t", "tree", "-w", "--literally", "--", str(repo.home / "tree"))

    blob = repo.git("rev-parse", "HEAD:a")
    good, bad = made(("100644", "ci.yml", blob)), made(("100644", "planted.yml", blob))
    entries = {"good": ("40000", "jobs", good), "bad": ("40000", "jobs", bad), "x": ("100644", "x", blob)}
    git = repo.seam()

    assert trees.changed(git, Sha(made(entries["good"])), Sha(made(entries["good"], entries["x"]))) == {"x": False}
    assert trees.changed(git, Sha(made(entries["good"])), Sha(made(*(entries[each] for each in order)))) is None


def test_folders_in_one_another_without_number_are_left_to_git(repo: GitRepo) -> None:
    """A dozen objects that stand for ten thousand million paths."""

    def made(entry: str) -> str:
        listing = "".join(f"{entry}\t{n}\n" for n in range(10))
        how = {"cwd": repo.path, "env": repo.environ, "capture_output": True, "text": True}
        return subprocess.run(["git", "mktree"], input=listing, **how).stdout.strip()

    tree = made(f"100644 blob {repo.git('rev-parse', 'HEAD:a')}")
    for _ in range(10):
        tree = made(f"040000 tree {tree}")

    assert trees.changed(repo.seam(), Sha(repo.git("rev-parse", "HEAD^{tree}")), Sha(tree)) is None


def test_what_a_ref_names_is_made_once_and_a_missing_object_is_told_beside_the_others(
    repo: GitRepo, started: list[str]
) -> None:
    made: list[str] = []

    def make(ref: str, name: Sha, stored: GitObject) -> str:
        made.append(ref)
        return f"{ref} {stored.kind}"

    named, head = RefCache(repo.seam(), make), repo.head()

    both = {"refs/a": "refs/a commit", "refs/b": "refs/b commit"}
    assert named.by([("refs/a", head), ("refs/b", head)]) == (both, {})
    assert named.by([("refs/b", head), ("refs/a", head)]) == (both, {})
    assert made == ["refs/a", "refs/b"]
    found, damaged = named.by([("refs/a", head), ("refs/c", Sha("f" * 40))])
    assert found == {"refs/a": "refs/a commit"}
    assert "cannot read refs/c" in str(damaged["refs/c"])
