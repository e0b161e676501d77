"""Refs and worktrees are read again exactly when they have changed: never an old answer, and no git where nothing moved."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gitrepo
import pytest
from gitrepo import GitRepo

from reconciler.git import commands as git_module
from reconciler.git import fingerprints, refs, worktrees
from reconciler.git.commands import Git
from reconciler.model.errors import PermanentError

AGENTS = "refs/heads/agent"
Change = Callable[[GitRepo], object]

CHANGES: dict[str, Change] = {
    "a commit": lambda repo: repo.git("commit", "--allow-empty", "-qm", "more", cwd=repo.path.parent / "tree"),
    "a new branch": lambda repo: repo.git("branch", "agent/new", "main"),
    "a branch that moved": lambda repo: repo.git("branch", "-f", "agent/b", "agent/a"),
    "a branch that is gone": lambda repo: repo.git("branch", "-D", "agent/b"),
    "a renamed branch": lambda repo: repo.git("branch", "-m", "agent/b", "agent/c"),
    "packed refs": lambda repo: repo.git("pack-refs", "--all"),
    "a packed branch that is gone": lambda repo: (repo.git("pack-refs", "--all"), repo.git("branch", "-D", "agent/b")),
    "a branch below": lambda repo: repo.git("update-ref", "refs/heads/agent/x/y", "main"),
    "a link to another branch": lambda repo: repo.git("symbolic-ref", "refs/heads/agent/l", "refs/heads/main"),
    "a branch written by hand": lambda repo: (repo.common / "refs/heads/agent/b").write_text(
        repo.head("agent/a") + "\n"
    ),
    "a new worktree": lambda repo: repo.git("worktree", "add", "-q", str(repo.path.parent / "second"), "agent/b"),
    "a removed worktree": lambda repo: repo.git("worktree", "remove", "--force", str(repo.path.parent / "tree")),
    "a locked worktree": lambda repo: repo.git("worktree", "lock", str(repo.path.parent / "tree")),
    "a worktree locked for a reason": lambda repo: repo.git(
        "worktree", "lock", "--reason", "on a  stick", str(repo.path.parent / "tree")
    ),
    "a worktree whose folder is gone": lambda repo: shutil.rmtree(repo.path.parent / "tree"),
    "a moved worktree": lambda repo: repo.git(
        "worktree", "move", str(repo.path.parent / "tree"), str(repo.path.parent / "elsewhere")
    ),
    "another branch in a worktree": lambda repo: repo.git("checkout", "-q", "--detach", cwd=repo.path.parent / "tree"),
    "another branch in the main checkout": lambda repo: repo.git("checkout", "-q", "agent/b"),
}


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    made = gitrepo.make(tmp_path, files={"a": "1\n"})
    made.branch("agent/a", {"a": "2\n"})
    made.branch("agent/b", {"a": "3\n"})
    made.git("worktree", "add", "-q", str(tmp_path / "tree"), "agent/a")
    return made


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


def seen(git: Git) -> object:
    return refs.plain(git, AGENTS), refs.plain(git, "refs/heads"), worktrees.read(git).entries


def refs_as_git_says(repo: GitRepo, prefix: str) -> dict[str, tuple[str, bool]]:
    lines = repo.git("for-each-ref", "--format=%(refname) %(objectname) %(symref)", prefix).splitlines()
    return {name: (sha, bool(symref)) for name, sha, symref in (line.split(" ") for line in lines)}


def seen_by_us(entry: worktrees.Entry) -> tuple[str, str | None, str | None, str | None]:
    return str(entry.path), entry.head, entry.branch, entry.locked


def as_git_says(repo: GitRepo) -> Iterator[tuple[str | None, ...]]:
    for record in repo.git("worktree", "list", "--porcelain", "-z").split("\0\0"):
        if record:
            said = {key: value for key, _, value in (line.partition(" ") for line in record.split("\0") if line)}
            yield said["worktree"], said["HEAD"], said.get("branch"), said.get("locked")


def let_settle(repo: GitRepo) -> None:
    """Make everything in the git dir old, as if nobody had been there for an hour."""
    for folder, _, files in os.walk(repo.common):
        for path in (folder, *(os.path.join(folder, name) for name in files)):
            found = os.lstat(path)
            os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns - 3600 * 10**9), follow_symlinks=False)


@pytest.mark.parametrize("settles_ns", [fingerprints._SETTLES_NS, -(10**9)], ids=["at once", "after an hour"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_every_change_is_seen_at_the_next_look(
    repo: GitRepo, change: Change, settles_ns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Changes of the inode can't be made old: what counts as settled is moved instead.
    monkeypatch.setattr(fingerprints, "_SETTLES_NS", settles_ns)
    let_settle(repo)
    git = repo.seam()
    before = seen(git)
    assert seen(git) == before
    change(repo)
    after = seen(git)
    assert after == seen(repo.seam())
    for prefix in (AGENTS, f"{AGENTS}/", "refs/heads", "refs/heads/agent/b", "refs/heads/agent/x"):
        assert refs.plain(git, prefix) == refs_as_git_says(repo, prefix)
    assert {seen_by_us(entry) for entry in worktrees.read(git).entries} == set(as_git_says(repo))
    assert (after != before) == (change not in (CHANGES["packed refs"], CHANGES["a worktree whose folder is gone"]))


@pytest.mark.parametrize(
    "head",
    [
        "ref:refs/heads/agent/b\n",  # git takes it without the blank
        "ref: refs/heads/alias\n",  # which names agent/b
        "ref: refs/worktree/own\n",  # a ref of this worktree alone
        "ref: refs/bisect/bad\n",
    ],
)
def test_a_head_that_only_git_can_read_is_left_to_git_and_never_remembered(
    repo: GitRepo, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "_SETTLES_NS", -(10**9))
    repo.git("symbolic-ref", "refs/heads/alias", "refs/heads/agent/b")
    repo.git("update-ref", "refs/worktree/own", "agent/a", cwd=repo.path.parent / "tree")
    repo.git("update-ref", "refs/bisect/bad", "agent/a", cwd=repo.path.parent / "tree")
    (repo.common / "worktrees/tree/HEAD").write_text(head)
    git = repo.seam()
    assert {seen_by_us(entry) for entry in worktrees.read(git).entries} == set(as_git_says(repo))
    repo.commit({"b": "more\n"}, where=repo.path.parent / "tree")
    assert {seen_by_us(entry) for entry in worktrees.read(git).entries} == set(as_git_says(repo))


PULLS = "refs/reconcile/pr/"
PULL_CHANGES: dict[str, Change] = {
    "a new one": lambda repo: repo.git("update-ref", f"{PULLS}3", "main"),
    "one that moved": lambda repo: repo.git("update-ref", f"{PULLS}1", "agent/b"),
    "one that is gone": lambda repo: repo.git("update-ref", "-d", f"{PULLS}1"),
    "all packed": lambda repo: repo.git("pack-refs", "--all"),
    "a packed one that moved": lambda repo: (
        repo.git("pack-refs", "--all"),
        repo.git("update-ref", f"{PULLS}1", "agent/b"),
    ),
    "a packed one that is gone": lambda repo: (
        repo.git("pack-refs", "--all"),
        repo.git("update-ref", "-d", f"{PULLS}1"),
    ),
    "one below": lambda repo: (
        repo.git("update-ref", f"{PULLS}x/y", "main"),
        repo.git("update-ref", f"{PULLS}x/y", "agent/b"),
    ),
    "all gone": lambda repo: shutil.rmtree(repo.common / PULLS),
    "another folder": lambda repo: (
        shutil.copytree(repo.common / PULLS, repo.common / "kept"),
        shutil.rmtree(repo.common / PULLS),
        (repo.common / "kept/2").unlink(),
        (repo.common / "kept").rename(repo.common / PULLS),
    ),
}


@pytest.mark.parametrize("settles_ns", [fingerprints._SETTLES_NS, -(10**9)], ids=["at once", "after an hour"])
@pytest.mark.parametrize("change", PULL_CHANGES.values(), ids=PULL_CHANGES.keys())
def test_every_change_of_a_pull_requests_record_is_seen_at_the_next_look(
    repo: GitRepo, change: Change, settles_ns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "_SETTLES_NS", settles_ns)
    for number in (1, 2):
        repo.git("update-ref", f"{PULLS}{number}", "agent/a")
    let_settle(repo)
    git = repo.seam()
    assert refs.plain(git, PULLS) is refs.plain(git, PULLS)
    for alter in (change, lambda repo: repo.git("update-ref", f"{PULLS}9", "main")):
        alter(repo)
        assert refs.plain(git, PULLS) == refs.plain(repo.seam(), PULLS) == refs_as_git_says(repo, PULLS)


def test_a_record_that_somebody_wrote_as_git_never_does_is_seen_within_a_minute(
    repo: GitRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "_SETTLES_NS", -(10**9))
    repo.git("update-ref", f"{PULLS}1", "agent/a")
    git, now = repo.seam(), time.monotonic()
    refs.plain(git, PULLS)
    (repo.common / PULLS / "1").write_text(repo.head("agent/b") + "\n")

    monkeypatch.setattr(time, "monotonic", lambda: now + refs.LOOK_S + 1)

    assert refs.plain(git, PULLS) == {f"{PULLS}1": (repo.head("agent/b"), False)}


def test_while_no_pull_request_changes_no_record_is_looked_at(repo: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "_SETTLES_NS", -(10**9))
    for number in range(20):
        repo.git("update-ref", f"{PULLS}{number}", "agent/a")
    git, looked = repo.seam(), []
    refs.plain(git, PULLS)
    monkeypatch.setattr(refs, "_loose", lambda *args: looked.append(args))

    refs.plain(git, PULLS)

    assert looked == []


def near(git: Git, listing: worktrees.WorktreeListing, repo: GitRepo) -> object:
    """What one who acts asks of a list: who stands at a place, and who has a branch checked out."""
    places = [repo.path.parent / name for name in ("tree", "other", "elsewhere", "nowhere")]
    found = [(listing(place, "agent/a"), place) for place in places]  # type: ignore[operator]
    return [(each.at(place), set(each.holding("agent/a")), each.unlisted) for each, place in found]


OF_ANOTHER: dict[str, Change] = {
    "a branch that another worktree has now": lambda repo: (
        repo.git("checkout", "-q", "--detach", cwd=repo.path.parent / "tree"),
        repo.git("checkout", "-q", "agent/a", cwd=repo.path.parent / "other"),
    ),
    "a place that another worktree has now": lambda repo: (
        repo.git("worktree", "move", str(repo.path.parent / "tree"), str(repo.path.parent / "aside")),
        repo.git("worktree", "move", str(repo.path.parent / "other"), str(repo.path.parent / "tree")),
    ),
}


@pytest.mark.parametrize("settles_ns", [fingerprints._SETTLES_NS, -(10**9)], ids=["at once", "after an hour"])
@pytest.mark.parametrize("change", [*CHANGES.values(), *OF_ANOTHER.values()], ids=[*CHANGES, *OF_ANOTHER])
def test_what_is_seen_around_a_place_is_what_the_whole_list_says_of_it(
    repo: GitRepo, change: Change, settles_ns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "_SETTLES_NS", settles_ns)
    repo.git("worktree", "add", "-q", str(repo.path.parent / "other"), "-b", "agent/other")
    let_settle(repo)
    git = repo.seam()

    def around(place: Path, branch: str) -> worktrees.WorktreeListing:
        return worktrees.around(git, place, branch)

    for alter in (change, lambda repo: None):
        assert near(git, around, repo) == near(git, lambda *_: worktrees.read(repo.seam()), repo)
        for place in (repo.path.parent / "tree", repo.path.parent / "other"):
            assert worktrees.at(git, place) == next(iter(worktrees.read(repo.seam()).at(place)), None)
        alter(repo)


@pytest.mark.parametrize("name", ["HEAD", "gitdir"])
def test_what_is_written_into_an_admin_folder_as_git_never_does_it_is_seen_around_after_the_next_look(
    repo: GitRepo, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "_SETTLES_NS", -(10**9))
    git, elsewhere = repo.seam(), repo.path.parent / "elsewhere"
    worktrees.read(git)
    assert worktrees.around(git, elsewhere, "agent/b").entries[1:] == ()
    text = {"HEAD": "ref: refs/heads/agent/b\n", "gitdir": f"{elsewhere}/.git\n"}[name]
    (repo.common / "worktrees/tree" / name).write_text(text)

    worktrees.read(git)

    assert len(worktrees.around(git, elsewhere, "agent/b").entries) == 2


def test_a_worktree_that_is_taken_away_amid_a_look_hides_no_other(
    repo: GitRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.git("worktree", "add", "-q", str(repo.path.parent / "first"), "-b", "agent/first")
    admins = worktrees._admins

    def amid(folder: str) -> list[os.DirEntry[str]]:
        found = admins(folder)
        shutil.rmtree(repo.common / "worktrees/first")
        return found

    monkeypatch.setattr(worktrees, "_admins", amid)
    place = repo.path.parent / "tree"

    assert [entry.path for entry in worktrees.around(repo.seam(), place, "agent/a").at(place)] == [place]


def test_around_one_of_many_no_other_is_read(repo: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "_SETTLES_NS", -(10**9))
    for n in range(5):
        repo.git("worktree", "add", "-q", str(repo.path.parent / f"one{n}"), "-b", f"agent/one{n}")
    git, read = repo.seam(), []
    worktrees.around(git, repo.path.parent / "tree", "agent/a")
    read_admin = worktrees._read_admin
    monkeypatch.setattr(worktrees, "_read_admin", lambda admin: read.append(admin) or read_admin(admin))

    worktrees.around(git, repo.path.parent / "tree", "agent/a")

    assert [os.path.basename(admin) for admin in read] == ["tree"]


def test_a_pipe_in_the_place_of_a_head_holds_nobody_up(repo: GitRepo) -> None:
    (repo.common / "worktrees/tree/locked").unlink(missing_ok=True)
    os.mkfifo(repo.common / "worktrees/tree/locked")
    assert len(worktrees.read(repo.seam()).entries) == 2


def test_where_nothing_changed_git_is_not_started(
    repo: GitRepo, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "_SETTLES_NS", -(10**9))
    git = repo.seam()
    before = seen(git)
    started.clear()
    assert seen(git) == before
    assert started == []


def test_what_changed_a_moment_ago_is_read_again(repo: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    git = repo.seam()
    seen(git)
    repo.git("branch", "agent/now", "main")
    seen(git)
    before = fingerprints.of_status

    def as_if_nothing_had_changed(found: os.stat_result) -> object:
        return before(os.lstat(repo.common / "refs/heads/agent/b"))

    # Two changes within one tick of the file system's clock may leave the same mark.
    monkeypatch.setattr(fingerprints, "of_status", as_if_nothing_had_changed)
    (repo.common / "refs/heads/agent/now").write_text(repo.head("agent/a") + "\n")
    assert refs.plain(git, AGENTS)["refs/heads/agent/now"] == (repo.head("agent/a"), False)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("half", "3f2c1aa"),
        ("empty", ""),
        ("nothing", "0" * 40 + "\n"),
        ("blank", "{head} \n"),
        ("no end", "{head}"),
        ("a b", "{head}\n"),
        ("x.lock", "{head}\n"),
        (".hidden", "{head}\n"),
        ("x..y", "{head}\n"),
    ],
)
def test_a_file_that_git_would_not_write_is_what_git_takes_it_for(repo: GitRepo, name: str, content: str) -> None:
    (repo.common / "refs/heads/agent" / name).write_text(content.format(head=repo.head("main")))
    broken = "ignoring broken ref" in repo.complaint("for-each-ref", AGENTS)
    if broken:
        with pytest.raises(PermanentError, match="cannot read the refs"):
            refs.plain(repo.seam(), AGENTS)
    else:
        assert refs.plain(repo.seam(), AGENTS) == refs_as_git_says(repo, AGENTS)


def test_refs_behind_a_link_or_a_pipe_are_left_to_git(repo: GitRepo, started: list[str]) -> None:
    elsewhere = repo.path.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "c").write_text(repo.head("main") + "\n")
    (repo.common / "refs/heads/agent/linked").symlink_to(elsewhere)
    assert refs.plain(repo.seam(), AGENTS) == refs_as_git_says(repo, AGENTS)
    assert any("for-each-ref" in command for command in started)


def test_a_branch_that_names_another_one_follows_it(repo: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "_SETTLES_NS", -(10**9))
    target = "refs/heads/" + "t" * (41 - len("ref: refs/heads/\n"))  # as long as a hash
    repo.git("update-ref", target, "main")
    repo.git("symbolic-ref", "refs/heads/agent/l", target)
    git = repo.seam()
    assert refs.plain(git, AGENTS)["refs/heads/agent/l"][0] == repo.head("main")
    repo.git("update-ref", target, "agent/a")
    assert refs.plain(git, AGENTS)["refs/heads/agent/l"][0] == repo.head("agent/a")


PACKED = {
    "among others": lambda lines: lines,
    "in no order": lambda lines: [line for line in reversed(lines) if not line.startswith("#")],
    "without an end": lambda lines: [*lines[:-1], lines[-1].rstrip("\n")],
    "last of all": lambda lines: [line for line in lines if "refs/tags" not in line and "refs/zoo" not in line],
}


@pytest.mark.parametrize("prefix", ["refs/heads/agent/", "refs/heads/agent/a", PULLS, "refs/heads", "refs/nothing/"])
@pytest.mark.parametrize("written", PACKED)
def test_packed_refs_are_found_wherever_in_the_file_they_stand(repo: GitRepo, prefix: str, written: str) -> None:
    for name in ("heads/agentx", "tags/heads/agent/t", "tags/v1", "zoo/heads/agent/z"):
        repo.git("update-ref", f"refs/{name}", "main")
    for number in range(1, 30):
        repo.git("update-ref", f"{PULLS}{number}", "agent/b")
    repo.git("tag", "-a", "-m", "peeled", "agent-annotated")
    repo.git("pack-refs", "--all")
    path = repo.common / "packed-refs"
    path.write_text("".join(PACKED[written](path.read_text().splitlines(keepends=True))))

    names = (line.split(" ")[1].strip() for line in path.read_text().splitlines() if line[0] not in "#^")
    below = prefix if prefix.endswith("/") else f"{prefix}/"
    assert set(refs.plain(repo.seam(), prefix)) == {name for name in names if name == prefix or name.startswith(below)}
