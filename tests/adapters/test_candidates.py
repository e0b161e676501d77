"""What a landing would make: merged trees and the commits that carry them, computed beside the repository."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import gitrepo
import pytest
from gitrepo import GitRepo

from reconciler.forges.local import LocalForge
from reconciler.git.refusals import GitError
from reconciler.landing import candidates, merging, message
from reconciler.model.desired import MergeMethod
from reconciler.model.errors import ChangedError, PermanentError, TemporaryError, UnfitError
from reconciler.model.names import PrNumber, Sha, TaskId
from reconciler.model.observed import Candidate, Conflict
from reconciler.model.ports import LandOrder

TASK = TaskId("x-1")
BRANCH = "agent/x-1"
LINES = "".join(f"line {n}\n" for n in range(20))


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    return gitrepo.make(tmp_path, files={"a": LINES, "b": "b\n"})


@pytest.fixture
def forge(repo: GitRepo) -> LocalForge:
    return LocalForge(repo.seam())


def test_a_candidate_holds_what_both_sides_did_and_names_what_the_base_gains(repo: GitRepo, forge: LocalForge) -> None:
    head = repo.branch(BRANCH, {"a": LINES.replace("line 1\n", "line one\n"), "dir/new": "new\n"})
    base = repo.commit({"a": LINES.replace("line 19", "line nineteen")})

    candidate = merged(forge, base, head)

    assert candidate.changed == {"a", "dir/new"}
    assert repo.content(f"{commit_of(forge, candidate)}:a").count(b"nineteen") == 1
    assert repo.content(f"{commit_of(forge, candidate)}:a").count(b"line one\n") == 1


@pytest.mark.parametrize("packed", [False, True])
def test_a_submodule_that_a_branch_changes_is_told_from_a_file(
    repo: GitRepo, forge: LocalForge, tmp_path: Path, packed: bool
) -> None:
    inner = gitrepo.make(tmp_path, name="inner")
    commit = inner.git("rev-parse", "HEAD")
    head = repo.branch(BRANCH, {"new": "new\n"})
    index = {"GIT_INDEX_FILE": str(repo.common / "other-index")}
    repo.git("read-tree", head, env=index)
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{commit},dir/sub", env=index)
    head = Sha(repo.git("commit-tree", repo.git("write-tree", env=index), "-p", head, "-m", "clone in a clone"))
    repo.git("update-ref", f"refs/heads/{BRANCH}", head)
    if packed:
        repo.git("gc", "--quiet", "--prune=now")

    candidate = merged(forge, repo.head("main"), head)

    assert (candidate.changed, candidate.submodules) == ({"new", "dir/sub"}, {"dir/sub"})


def test_a_merge_at_which_git_gets_nowhere_is_not_tried_at_every_look(
    repo: GitRepo, forge: LocalForge, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, base, tries, now = repo.branch(BRANCH, {"new": "1\n"}), repo.head("main"), [], [1000.0]

    def endless(*_: object, **__: object) -> None:
        tries.append(now[0])
        now[0] += 120.0
        raise TemporaryError("git did not end within 120 s", delay=30.0)

    monkeypatch.setattr(candidates.time, "monotonic", lambda: now[0])
    with monkeypatch.context() as patch:
        patch.setattr(merging, "merge", endless)
        for _ in range(10):
            with pytest.raises(TemporaryError, match="did not end"):
                forge.candidate(base, head)
    assert tries == [1000.0]

    now[0] += 20 * 120.0
    assert merged(forge, base, head).changed == {"new"}


def test_computing_a_candidate_writes_nothing_to_the_repository(repo: GitRepo, forge: LocalForge) -> None:
    head = repo.branch(BRANCH, {"a": LINES.replace("line 1\n", "line one\n")})
    base = repo.commit({"a": LINES.replace("line 19", "line nineteen"), ".beads/x": "1"})
    before = everything_in(repo.common)

    merged(forge, base, head)

    assert everything_in(repo.common) == before


@pytest.mark.parametrize(
    ("before", "after", "other"),
    [
        ({"scripts": {"test": "sh a"}}, {"scripts": {"test": "true"}}, True),
        ({"scripts": {"test": "sh a"}}, {"scripts": {"test": "sh a"}, "dependencies": {"x": "1"}}, False),
        (None, {"scripts": {"test": "true"}}, True),
        (None, {"name": "x"}, False),
        ({"scripts": {"test": "sh a"}}, "not JSON", True),
        ("[1]", "[2]", True),
    ],
)
def test_of_a_package_json_it_is_told_whether_its_scripts_are_others(
    repo: GitRepo, forge: LocalForge, before: object, after: object, other: bool
) -> None:
    def written(said: object) -> str:
        return said if isinstance(said, str) else json.dumps(said)

    base = repo.commit({"web/package.json": written(before)}) if before else repo.head()
    head = repo.branch(BRANCH, {"web/package.json": written(after), "more": "more\n"})

    assert merged(forge, base, head).scripts == ({"web/package.json"} if other else frozenset())


@pytest.mark.parametrize("name", [b"..", b".git", b".GIT", b"."])
def test_a_tree_that_no_checkout_can_hold_goes_back_to_its_agent(repo: GitRepo, forge: LocalForge, name: bytes) -> None:
    blob = bytes.fromhex(repo.git("rev-parse", "HEAD:b"))
    tree = b"100644 " + name + b"\0" + blob + b"100644 z\0" + blob
    argv = ["git", "hash-object", "-t", "tree", "-w", "--literally", "--stdin"]
    made = subprocess.run(argv, cwd=repo.path, env=repo.environ, input=tree, capture_output=True, check=True)
    head = Sha(repo.git("commit-tree", made.stdout.decode().strip(), "-p", "HEAD", "-m", "by hand"))

    found = forge.candidate(repo.head(), head)

    assert isinstance(found, Conflict)
    assert repr(name.decode()) in found.detail


def test_a_conflict_names_its_paths_and_whose_changes_it_is_with(repo: GitRepo, forge: LocalForge) -> None:
    head = repo.branch(BRANCH, {"a": "mine\n", "b": "mine\n", "c": "mine\n"})
    theirs = repo.commit({"a": "theirs\n", "b": "theirs\n"})
    subject = repo.git("show", "--no-patch", "--format=%h %s", theirs)
    base = repo.commit({"d": "of nobody here\n"})

    found = Conflict(base=base, head=head, paths=("a", "b"), against=(subject,))
    assert forge.candidate(base, head) == found


@pytest.mark.parametrize("name", ["*", ":(exclude)b", "[ab]"])
def test_a_path_that_reads_like_a_pattern_is_one_path(repo: GitRepo, forge: LocalForge, name: str) -> None:
    head = repo.branch(BRANCH, {name: "mine\n"})
    repo.commit({"b": "of nobody here\n"})
    base = repo.commit({name: "theirs\n"})

    found = forge.candidate(base, head)

    assert isinstance(found, Conflict) and (found.paths, len(found.against)) == ((name,), 1)


def test_a_branch_without_a_common_commit_is_a_conflict_that_says_so(repo: GitRepo, forge: LocalForge) -> None:
    alone = Sha(repo.git("commit-tree", "-m", "alone", "HEAD^{tree}"))

    found = forge.candidate(repo.head(), alone)

    assert isinstance(found, Conflict) and "no commit in common" in found.detail


def test_a_head_that_does_not_exist_is_no_conflict(repo: GitRepo, forge: LocalForge) -> None:
    with pytest.raises(GitError):
        forge.candidate(repo.head(), Sha("1" * 40))


@pytest.mark.parametrize("name", ["--output=/tmp/x", "HEAD", "", "main~1", "a" * 39])
def test_what_is_not_the_name_of_a_commit_never_reaches_git(repo: GitRepo, forge: LocalForge, name: str) -> None:
    with pytest.raises(PermanentError, match="not the name of a commit"):
        forge.candidate(repo.head(), Sha(name))


def test_the_beads_folder_always_is_the_bases(repo: GitRepo, forge: LocalForge) -> None:
    repo.commit({".beads/issues.jsonl": "first\n"})
    head = repo.branch(BRANCH, {".beads/issues.jsonl": "agent\n", ".beads/more": "agent\n", "new": "new\n"})
    base = repo.commit({".beads/issues.jsonl": "people\n"})

    candidate = merged(forge, base, head)

    assert candidate.changed == {"new"}
    assert repo.files(commit_of(forge, candidate))[".beads/issues.jsonl"] == b"people\n"
    assert ".beads/more" not in repo.files(commit_of(forge, candidate))


@pytest.mark.parametrize("method", MergeMethod)
def test_a_branch_that_adds_or_drops_beads_lands_without_that(
    repo: GitRepo, forge: LocalForge, method: MergeMethod
) -> None:
    added = merged(forge, repo.head(), repo.branch(BRANCH, {".beads/issues.jsonl": "agent\n", "new": "new\n"}))
    assert set(repo.files(commit_of(forge, added, method))) == {"a", "b", "new"}

    base = repo.commit({".beads/issues.jsonl": "people\n"})
    repo.git("switch", "--quiet", "--create", "agent/x-2")
    repo.git("rm", "-rq", ".beads")
    dropped = merged(forge, base, repo.commit({"new": "new\n"}))

    assert repo.files(commit_of(forge, dropped, method))[".beads/issues.jsonl"] == b"people\n"


def test_changes_to_beads_are_no_changes_of_its_own(repo: GitRepo, forge: LocalForge) -> None:
    only_beads = merged(forge, repo.head(), repo.branch(BRANCH, {".beads/x": "1\n"}))
    more = merged(forge, repo.head(), repo.branch("agent/x-2", {".beads/x": "1\n", "b": "2\n"}))

    assert (only_beads.own_changes, only_beads.changed) == (False, frozenset())
    assert more.own_changes


def test_work_that_is_on_the_base_already_changes_nothing_and_says_that_it_had_something(
    repo: GitRepo, forge: LocalForge
) -> None:
    head = repo.branch(BRANCH, {"b": "better\n"})
    base = repo.commit({"b": "better\n"})

    candidate = merged(forge, base, head)

    assert (candidate.changed, candidate.own_changes) == (frozenset(), True)


def test_attributes_are_the_bases_in_every_folder(repo: GitRepo, forge: LocalForge) -> None:
    start = repo.commit({"deep/.gitattributes": "log merge=union\n", "deep/log": "start\n"})
    head = repo.branch(BRANCH, {"deep/log": "start\nmine\n"}, start=start)
    base = repo.commit({"deep/log": "start\ntheirs\n"})

    candidate = merged(forge, base, head)

    assert set(repo.content(f"{commit_of(forge, candidate)}:deep/log").split()) == {b"start", b"mine", b"theirs"}


def test_a_branch_can_not_choose_how_it_is_merged(repo: GitRepo, forge: LocalForge) -> None:
    head = repo.branch(BRANCH, {".gitattributes": "a merge=union\n", "a": "mine\n"})
    base = repo.commit({"a": "theirs\n"})

    assert isinstance(forge.candidate(base, head), Conflict)


def test_a_merge_driver_of_the_repositorys_own_config_never_runs(
    repo: GitRepo, forge: LocalForge, tmp_path: Path
) -> None:
    start = repo.commit({".gitattributes": "* merge=evil\n"})
    repo.git("config", "merge.evil.driver", f"touch {tmp_path}/ran")
    head = repo.branch(BRANCH, {"a": "mine\n"}, start=start)
    base = repo.commit({"a": "theirs\n"})

    assert isinstance(forge.candidate(base, head), Conflict)
    assert not (tmp_path / "ran").exists()


def test_a_merge_driver_of_the_global_config_is_used(repo: GitRepo, forge: LocalForge) -> None:
    start = repo.commit({".gitattributes": "a merge=mine\n"})
    repo.git("config", "--global", "merge.mine.driver", "cp %B %A")
    head = repo.branch(BRANCH, {"a": "mine\n"}, start=start)
    base = repo.commit({"a": "theirs\n"})

    assert repo.content(f"{commit_of(forge, merged(forge, base, head))}:a") == b"mine\n"


def made(repo: GitRepo, *entries: str) -> str:
    """A tree of these lines."""
    ran = subprocess.run(
        ["git", "mktree"], cwd=repo.path, env=repo.environ, input="\n".join(entries), capture_output=True, text=True
    )
    return ran.stdout.strip()


def test_a_change_is_not_hidden_behind_more_paths_than_are_read(repo: GitRepo, forge: LocalForge) -> None:
    """One folder of 300 long names, in folders of long names, 250 times: few objects, and nearly a hundred megabytes."""

    blob = repo.git("rev-parse", "main:a")
    tree = made(repo, *(f"100644 blob {blob}\t{n:03d}{'f' * 240}" for n in range(300)))
    for _ in range(4):
        tree = made(repo, f"040000 tree {tree}\t{'d' * 250}")
    tree = made(repo, *(f"040000 tree {tree}\t{n:03d}" for n in range(250)))
    top = made(repo, f"100644 blob {blob}\ta", f"040000 tree {tree}\tbulk", f"100644 blob {blob}\tjustfile")
    head = Sha(repo.git("commit-tree", "-p", "main", "-m", "work", top))
    repo.git("update-ref", "refs/heads/agent/x-1", head)
    repo.git("repack", "-adq")  # only git can tell now

    with pytest.raises(PermanentError, match="64 MiB"):
        forge.candidate(repo.head("main"), head)


def test_hostile_paths_stay_paths(repo: GitRepo, forge: LocalForge) -> None:
    names = {"--output=x": "1", 'quo"te': "1", "new\nline": "1", "tab\there": "1", os.fsdecode(b"\xff\xfe"): "1"}
    repo.git("switch", "--quiet", "--create", BRANCH)
    head = repo.commit(names)

    assert merged(forge, repo.head("main"), head).changed == set(names)


@pytest.mark.parametrize("method", MergeMethod)
def test_the_commit_is_the_same_each_time_and_carries_the_judged_tree(repo: GitRepo, method: MergeMethod) -> None:
    head = repo.branch(BRANCH, {"new": "new\n"})
    base = repo.commit({"b": "other\n"})
    candidate = merged(LocalForge(repo.seam()), base, head)

    commits = {commit_of(LocalForge(repo.seam()), candidate, method) for _ in range(2)}
    time.sleep(1.1)
    commits |= {commit_of(LocalForge(repo.seam()), candidate, method)}

    (commit,) = commits
    assert repo.git("rev-parse", f"{commit}^{{tree}}") == candidate.tree
    parents = [base, head] if method is MergeMethod.MERGE else [base]
    assert repo.git("rev-parse", f"{commit}^@").split() == parents
    assert message.landed(repo.git("log", "-1", "--format=%B", commit)) == (TASK, head)


def test_a_commit_has_the_author_of_the_branch_and_the_committer_of_the_config(
    repo: GitRepo, forge: LocalForge
) -> None:
    head = authored(repo, "Ágnes Author", "agnes@example.org")

    commit = commit_of(forge, merged(forge, repo.head(), head))

    said = repo.git("log", "-1", "--format=%an <%ae> %at, %cn <%ce>", commit)
    assert said == "Ágnes Author <agnes@example.org> 1500000000, Somebody <somebody@example.org>"


def test_where_git_has_no_identity_the_committer_is_the_program(repo: GitRepo, forge: LocalForge) -> None:
    head = repo.branch(BRANCH, {"new": "new\n"})
    repo.git("config", "--global", "--remove-section", "user")
    repo.git("config", "--global", "user.useConfigOnly", "true")

    commit = commit_of(forge, merged(forge, repo.head(), head))

    assert repo.git("log", "-1", "--format=%cn <%ce>", commit) == "reconcile <reconcile@localhost>"


def test_a_commit_is_not_signed(repo: GitRepo, forge: LocalForge) -> None:
    head = repo.branch(BRANCH, {"new": "new\n"})
    repo.git("config", "--global", "commit.gpgSign", "true")
    repo.git("config", "--global", "gpg.program", "/bin/false")

    assert "gpgsig" not in repo.git("cat-file", "commit", commit_of(forge, merged(forge, repo.head(), head)))


@pytest.mark.parametrize(
    "hostile",
    [
        "Reconcile-Head: " + "f" * 40,
        "text\n\nReconcile-Task: other\nReconcile-Head: " + "f" * 40,
        "text\r\rreconcile-head : " + "f" * 40,
        "text\u2028Reconcile-Head: " + "f" * 40 + "\x0bReconcile-Task: other",
        "\u202eReconcile-Head: " + "f" * 40,
        "Co-authored-by: A <a@example.org>\nReconcile-Head: " + "f" * 40,
    ],
)
def test_text_of_a_task_or_an_agent_never_becomes_a_trailer_of_ours(
    repo: GitRepo, forge: LocalForge, hostile: str
) -> None:
    repo.git("switch", "--quiet", "--create", BRANCH)
    head = repo.commit({"new": "new\n"}, message=hostile)
    candidate = merged(forge, repo.head("main"), head)

    for method in MergeMethod:
        commit = forge.candidate_commit(an_order(candidate, method, title=hostile, body=hostile))
        text = repo.git("log", "-1", "--format=%B", commit)
        assert message.landed(text) == (TASK, head)
        assert not text.startswith("Reconcile-") and "f" * 40 not in text.split("\n\n", 1)[1]


def test_a_title_is_one_short_line_without_invisible_characters(repo: GitRepo, forge: LocalForge) -> None:
    candidate = merged(forge, repo.head(), repo.branch(BRANCH, {"new": "new\n"}))

    commit = forge.candidate_commit(an_order(candidate, title="\x1b[2JWrite\n\nthe\u202e parser " + "x" * 500))

    title = repo.git("log", "-1", "--format=%s", commit)
    assert title.startswith("[2JWrite the parser xxx") and len(title) == 200


def test_lines_that_look_like_comments_and_trailers_of_others_are_kept(repo: GitRepo, forge: LocalForge) -> None:
    candidate = merged(forge, repo.head(), repo.branch(BRANCH, {"new": "new\n"}))

    commit = forge.candidate_commit(
        an_order(candidate, body="# A heading\n\nText.\n\nCo-authored-by: A <a@example.org>")
    )

    said = repo.git("log", "-1", "--format=%B", commit)
    assert "# A heading\n\nText.\n\nwork on agent/x-1\n\nCo-authored-by: A <a@example.org>\nReconcile-Task" in said


def test_rebase_puts_every_commit_on_the_base_by_itself(repo: GitRepo, forge: LocalForge) -> None:
    repo.git("switch", "--quiet", "--create", BRANCH)
    repo.commit({"one": "1\n"}, message="First\n\nWhy.")
    repo.commit({".beads/x": "1\n"}, message="Only beads")
    head = repo.commit({"one": "1\n2\n", "a": LINES.replace("line 1\n", "line one\n")}, message="Second")
    repo.git("switch", "--quiet", "main")
    base = repo.commit({"a": LINES.replace("line 19", "line nineteen")})

    commit = commit_of(forge, merged(forge, base, head), MergeMethod.REBASE)

    assert repo.git("log", "--reverse", "--format=%s", f"{base}..{commit}").split("\n") == ["First", "Second"]
    assert repo.files(f"{commit}~1")["one"] == b"1\n"
    texts = [repo.git("log", "-1", "--format=%B", name) for name in (commit, f"{commit}~1")]
    assert [message.landed(text) for text in texts] == [(TASK, head)] * 2


def test_rebase_leaves_out_the_merge_commits_of_a_branch_and_keeps_what_they_joined(
    repo: GitRepo, forge: LocalForge
) -> None:
    repo.git("switch", "--quiet", "--create", BRANCH)
    repo.commit({"one": "1\n"}, message="First")
    repo.git("switch", "--quiet", "--create", "aside", "main")
    repo.commit({"two": "2\n"}, message="Aside")
    repo.git("switch", "--quiet", "main")
    base = repo.commit({"b": "2\n"})
    repo.git("switch", "--quiet", BRANCH)
    repo.git("merge", "--quiet", "--no-edit", "main")
    repo.git("merge", "--quiet", "--no-edit", "aside")
    head = repo.commit({"one": "1\n2\n"}, message="Second")
    found = merged(forge, base, head)

    commit = commit_of(forge, found, MergeMethod.REBASE)

    subjects = repo.git("log", "--format=%s", f"{base}..{commit}").split("\n")
    assert sorted(subjects) == ["Aside", "First", "Second"] and subjects[0] == "Second"
    assert repo.git("rev-parse", f"{commit}^{{tree}}") == found.tree
    assert not repo.git("rev-list", "--merges", f"{base}..{commit}")


def merged_by_hand(repo: GitRepo, mine: Mapping[str, str], both: Mapping[str, str]) -> tuple[Sha, Sha]:
    """A base, and a branch that first did `mine`, then merged that base and made `both` of it."""
    repo.git("switch", "--quiet", "--create", BRANCH)
    repo.commit(mine, message="Mine")
    repo.git("switch", "--quiet", "main")
    base = repo.commit({"b": "theirs\n"})
    repo.git("switch", "--quiet", BRANCH)
    repo.git("merge", "--quiet", "--no-commit", "main", ok=False)
    return base, repo.commit(both, message="Both")


def test_rebase_refuses_a_branch_whose_merge_commit_holds_what_no_other_does(repo: GitRepo, forge: LocalForge) -> None:
    base, head = merged_by_hand(repo, {"one": "mine\n"}, {"more": "both\n"})

    with pytest.raises(UnfitError, match=f"without {head[:12]}, which can't be rebased, do not add up"):
        commit_of(forge, merged(forge, base, head), MergeMethod.REBASE)


def test_rebase_solves_a_conflict_as_a_merge_commit_of_the_branch_solved_it(repo: GitRepo, forge: LocalForge) -> None:
    (repo.path / ".git" / "rr-cache").mkdir()
    base, head = merged_by_hand(repo, {"b": "mine\n", "c/d": "mine\n"}, {"b": "both\n"})
    remembered = sorted((repo.path / ".git" / "rr-cache").rglob("*"))
    found = merged(forge, base, head)

    commit = commit_of(forge, found, MergeMethod.REBASE)

    assert repo.git("log", "--format=%s", f"{base}..{commit}") == "Mine"
    assert repo.git("rev-parse", f"{commit}^{{tree}}") == found.tree and repo.files(commit)["b"] == b"both\n"
    assert sorted((repo.path / ".git" / "rr-cache").rglob("*")) == remembered
    assert commit_of(forge, found, MergeMethod.REBASE) == commit


def test_rebase_lands_no_solution_that_gives_another_tree_than_the_tested_one(repo: GitRepo, forge: LocalForge) -> None:
    repo.commit({"c": "b\n"})
    repo.git("switch", "--quiet", "--create", BRANCH)
    repo.commit({"b": "mine\n", "c": "mine\n"})
    repo.git("switch", "--quiet", "main")
    base = repo.commit({"b": "theirs\n", "c": "theirs\n"})
    repo.git("switch", "--quiet", BRANCH)
    repo.git("merge", "--quiet", "--no-commit", "main", ok=False)
    head = repo.commit({"b": "both\n", "c": "neither\n"})  # alike to git, and solved in two ways

    with pytest.raises(UnfitError, match="do not add up to what was tested"):
        commit_of(forge, merged(forge, base, head), MergeMethod.REBASE)


def test_rebase_asks_no_resolution_that_is_not_of_the_branch(repo: GitRepo, forge: LocalForge) -> None:
    repo.git("config", "rerere.enabled", "true")
    merged_by_hand(repo, {"b": "mine\n"}, {"b": "both\n"})  # ours to git's rr-cache
    base = repo.git("rev-parse", "main")
    repo.git("switch", "--quiet", "--create", "other", f"{BRANCH}~1")
    head = repo.commit({"b": "b\n"}, message="As it was: the branch as a whole merges")
    assert list((repo.path / ".git" / "rr-cache").iterdir())

    with pytest.raises(UnfitError, match="in conflict with main: b"):
        commit_of(forge, merged(forge, Sha(base), Sha(head)), MergeMethod.REBASE)


@pytest.mark.parametrize("how", ["deleted", "attributes", "link"])
def test_rebase_solves_no_conflict_that_is_more_than_the_text_of_a_file(
    repo: GitRepo, forge: LocalForge, how: str
) -> None:
    path = ".gitattributes" if how == "attributes" else "b"
    repo.git("switch", "--quiet", "--create", BRANCH)
    if how == "link":
        (repo.path / path).unlink()
        (repo.path / path).symlink_to("c")
    repo.commit({} if how == "link" else {path: "mine\n"})
    repo.git("switch", "--quiet", "main")
    if how == "deleted":
        repo.git("rm", "--quiet", path)
    base = repo.commit({"x": "1\n"} if how == "deleted" else {path: "theirs\n"})
    repo.git("switch", "--quiet", BRANCH)
    repo.git("merge", "--quiet", "--no-commit", "main", ok=False)
    (repo.path / path).unlink(missing_ok=True)
    head = repo.commit({path: "both\n"})

    with pytest.raises(UnfitError, match="in conflict with main"):
        commit_of(forge, merged(forge, base, head), MergeMethod.REBASE)


def test_rebase_refuses_commits_that_conflict_one_by_one(repo: GitRepo, forge: LocalForge) -> None:
    repo.git("switch", "--quiet", "--create", BRANCH)
    repo.commit({"b": "mine\n"})
    head = repo.commit({"b": "b\n", "new": "new\n"})  # As it was: the branch as a whole merges.
    repo.git("switch", "--quiet", "main")
    base = repo.commit({"b": "theirs\n"})

    with pytest.raises(UnfitError, match="in conflict with main: b"):
        commit_of(forge, merged(forge, base, head), MergeMethod.REBASE)


@pytest.mark.parametrize("method", [MergeMethod.SQUASH, MergeMethod.MERGE])
def test_a_tree_that_was_not_judged_is_no_commit(repo: GitRepo, forge: LocalForge, method: MergeMethod) -> None:
    candidate = merged(forge, repo.head(), repo.branch(BRANCH, {"new": "new\n"}))
    other = Candidate(base=candidate.base, head=candidate.head, tree=Sha(repo.git("rev-parse", "HEAD^{tree}")))

    with pytest.raises(ChangedError, match="merges to"):
        commit_of(forge, other, method)


def merged(forge: LocalForge, base: Sha, head: Sha) -> Candidate:
    found = forge.candidate(base, head)
    assert isinstance(found, Candidate), found
    return found


def commit_of(forge: LocalForge, candidate: Candidate, method: MergeMethod = MergeMethod.SQUASH) -> Sha:
    return forge.candidate_commit(an_order(candidate, method))


def an_order(
    candidate: Candidate, method: MergeMethod = MergeMethod.SQUASH, *, title: str = "Write it", body: str = "Text."
) -> LandOrder:
    return LandOrder(
        task=TASK, number=PrNumber(1), title=title, body=body, expected=candidate, base="main", method=method
    )


def authored(repo: GitRepo, name: str, email: str) -> Sha:
    """A branch whose last commit is by this person."""
    repo.branch(BRANCH, {"new": "new\n"})
    who = {"GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": email, "GIT_AUTHOR_DATE": "1500000000 +0200"}
    commit = Sha(repo.git("commit-tree", "-p", "main", "-m", "x", f"{BRANCH}^{{tree}}", env=who))
    repo.git("update-ref", f"refs/heads/{BRANCH}", commit)
    return commit


def everything_in(folder: Path) -> set[str]:
    """Every file of the git dir but our own folder."""
    return {str(path) for path in folder.rglob("*") if "reconcile" not in path.parts}
