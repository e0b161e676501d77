"""Pull requests of the local forge, what it sees of base and remote, and that nothing a repository configures runs."""

from __future__ import annotations

import multiprocessing
import subprocess
from pathlib import Path

import gitrepo
import pytest
from gitrepo import GitRepo

from reconciler.forges.local import LocalForge
from reconciler.git import refs
from reconciler.git.commands import Git
from reconciler.landing.remotes import Remotes
from reconciler.model.desired import MergeMethod
from reconciler.model.errors import ChangedError, PermanentError, TemporaryError
from reconciler.model.names import PrNumber, Sha, TaskId
from reconciler.model.observed import Candidate, Landing, PullRequest, PullState, Rejection
from reconciler.model.ports import LandOrder
from reconciler.model.pull_records import Verdict
from reconciler.system import shell

TASK = TaskId("x-1")
BRANCH = "agent/x-1"
HOOKS = (
    *(
        "applypatch-msg",
        "commit-msg",
        "post-checkout",
        "post-commit",
        "post-index-change",
        "post-merge",
        "post-rewrite",
    ),
    *("pre-auto-gc", "pre-commit", "pre-merge-commit", "pre-push", "pre-rebase", "prepare-commit-msg"),
    "reference-transaction",
)


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    return gitrepo.make(tmp_path, files={"a": "a\n", "b": "b\n"})


@pytest.fixture
def forge(repo: GitRepo) -> LocalForge:
    return LocalForge(repo.seam())


@pytest.fixture
def remote(repo: GitRepo, tmp_path: Path) -> GitRepo:
    """A bare repository that `main` is pushed to."""
    repo.git("init", "--quiet", "--bare", str(tmp_path / "remote.git"))
    repo.git("remote", "add", "origin", "../remote.git")
    repo.git("push", "--quiet", "--set-upstream", "origin", "main")
    return GitRepo(tmp_path / "remote.git", repo.home)


# --- pull requests -------------------------------------------------------------------------------------------


def test_a_pull_request_outlives_the_program_and_follows_its_branch(repo: GitRepo, forge: LocalForge) -> None:
    first = repo.branch(BRANCH, {"new": "1\n"})
    number = forge.open(TASK, first, "Title", "Body\n\x00\u202e\ud800")
    second = repo.branch(BRANCH, {"new": "2\n"}, start=BRANCH)

    pull = pull_of(LocalForge(repo.seam()))

    assert (pull.number, pull.state, pull.head, pull.opened_head) == (number, PullState.OPEN, second, first)
    assert LocalForge(repo.seam()).show(number).body == "Body\n\x00\u202e\ud800"


def test_opening_twice_is_opening_once(repo: GitRepo, forge: LocalForge) -> None:
    head = repo.branch(BRANCH, {"new": "1\n"})

    assert forge.open(TASK, head, "Title", "") == forge.open(TASK, head, "Title", "") == 1


def test_a_pull_request_is_opened_only_for_the_head_that_was_seen(repo: GitRepo, forge: LocalForge) -> None:
    head = repo.branch(BRANCH, {"new": "1\n"})
    repo.branch(BRANCH, {"new": "2\n"})

    with pytest.raises(ChangedError, match="the head of agent/x-1"):
        forge.open(TASK, head, "Title", "")

    assert forge.pull_requests() == {}


def test_processes_that_open_at_once_end_with_one_pull_request_per_task(repo: GitRepo, forge: LocalForge) -> None:
    heads = {task: repo.branch(f"agent/{task}", {"new": task}) for task in (TASK, TaskId("x-2"))}
    spawning = multiprocessing.get_context("spawn")
    start = spawning.Event()
    work = [(str(repo.path), repo.environ, task, head, start) for task, head in heads.items() for _ in range(3)]
    processes = [spawning.Process(target=open_at_once, args=args) for args in work]

    for process in processes:
        process.start()
    start.set()
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0] * 6
    assert sorted(repo.refs("refs/reconcile/pr/")) == ["refs/reconcile/pr/1", "refs/reconcile/pr/2"]
    assert set(forge.pull_requests()) == {TASK, "x-2"}


def test_a_pull_request_whose_branch_is_gone_reads_as_closed_and_declined(repo: GitRepo, forge: LocalForge) -> None:
    head = opened(repo, forge)
    repo.git("branch", "-D", BRANCH)

    pull = pull_of(forge)

    assert (pull.state, pull.declined, pull.head, pull.closed_at) == (PullState.CLOSED, True, head, None)


def test_one_that_lands_while_we_look_is_not_taken_for_declined(
    repo: GitRepo, forge: LocalForge, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(repo, forge)
    readable = refs.readable

    def landing_in_between(git: Git, prefix: str) -> tuple[refs.Refs, frozenset[str]]:
        if prefix == "refs/heads/agent/":
            monkeypatch.setattr(refs, "readable", readable)
            LocalForge(repo.seam()).close(PrNumber(1), declined=False, merged=True)
            repo.git("branch", "-D", BRANCH)
        return readable(git, prefix)

    monkeypatch.setattr(refs, "readable", landing_in_between)

    pull = pull_of(forge)

    assert (pull.state, pull.declined) == (PullState.MERGED, False)


def test_closing_keeps_the_work_from_being_collected(repo: GitRepo, forge: LocalForge) -> None:
    head = opened(repo, forge)
    forge.close(PrNumber(1), declined=True)
    repo.git("branch", "-D", BRANCH)
    repo.git("reflog", "expire", "--expire=now", "--all")
    repo.git("gc", "--quiet", "--prune=now")

    assert repo.files(head)["new"] == b"1\n"
    pull = pull_of(forge)
    assert (pull.state, pull.declined, pull.head) == (PullState.CLOSED, True, head) and pull.closed_at


@pytest.mark.parametrize(
    ("declined", "merged", "state"),
    [(True, False, PullState.CLOSED), (False, False, PullState.CLOSED), (False, True, PullState.MERGED)],
)
def test_closing_twice_is_closing_once(
    repo: GitRepo, forge: LocalForge, declined: bool, merged: bool, state: PullState
) -> None:
    opened(repo, forge)
    forge.close(PrNumber(1), declined=declined, merged=merged)
    once = repo.refs("refs/reconcile/")

    forge.close(PrNumber(1), declined=declined, merged=merged)

    assert repo.refs("refs/reconcile/") == once
    assert (pull_of(forge).state, pull_of(forge).declined) == (state, declined)


def test_work_that_landed_is_merged_whatever_was_said_before(repo: GitRepo, forge: LocalForge) -> None:
    opened(repo, forge)
    forge.close(PrNumber(1), declined=True)
    forge.close(PrNumber(1), declined=False, merged=True)
    forge.close(PrNumber(1), declined=True)

    assert (pull_of(forge).state, pull_of(forge).declined) == (PullState.MERGED, False)


def test_a_closed_pull_request_is_followed_by_one_with_a_new_number(repo: GitRepo, forge: LocalForge) -> None:
    head = opened(repo, forge)
    forge.close(PrNumber(1), declined=True)

    assert forge.open(TASK, head, "Again", "") == 2
    assert (pull_of(forge).number, pull_of(forge).state) == (2, PullState.OPEN)


def test_an_approval_is_for_one_head(repo: GitRepo, forge: LocalForge) -> None:
    head = opened(repo, forge)
    forge.review(PrNumber(1), head, Verdict.APPROVED)
    moved = repo.branch(BRANCH, {"new": "2\n"}, start=BRANCH)

    assert pull_of(forge).approved == head
    with pytest.raises(ChangedError):
        forge.review(PrNumber(1), head, Verdict.APPROVED)
    with pytest.raises(ChangedError):
        forge.review(PrNumber(1), head, Verdict.REJECTED, "no")
    assert (pull_of(forge).approved, pull_of(forge).head) == (head, moved)


def test_the_last_word_on_a_head_counts(repo: GitRepo, forge: LocalForge) -> None:
    head = opened(repo, forge)
    forge.review(PrNumber(1), head, Verdict.APPROVED)
    forge.review(PrNumber(1), head, Verdict.REJECTED, "first\nthe tests")
    rejected = pull_of(forge)
    forge.review(PrNumber(1), head, Verdict.APPROVED)
    approved = pull_of(forge)

    assert (rejected.approved, rejected.rejection) == (None, Rejection(head=head, text="first\nthe tests"))
    assert (approved.approved, approved.rejection) == (head, None)
    assert [said.by for said in forge.show(PrNumber(1)).reviews] == ["Somebody <somebody@example.org>"] * 3


def test_a_word_to_merge_is_for_one_head_and_changes_no_approval(repo: GitRepo, forge: LocalForge) -> None:
    head = opened(repo, forge)
    forge.review(PrNumber(1), head, Verdict.APPROVED)
    forge.review(PrNumber(1), head, Verdict.MERGE)
    wanted = pull_of(forge)
    repo.branch(BRANCH, {"new": "2\n"}, start=BRANCH)

    assert (wanted.merge_now, wanted.approved, wanted.rejection) == (head, head, None)
    with pytest.raises(ChangedError):
        forge.review(PrNumber(1), head, Verdict.MERGE)
    assert pull_of(forge).merge_now == head != pull_of(forge).head


def test_a_no_takes_a_word_to_merge_back_and_a_yes_does_not(repo: GitRepo, forge: LocalForge) -> None:
    head = opened(repo, forge)
    forge.review(PrNumber(1), head, Verdict.MERGE)
    forge.review(PrNumber(1), head, Verdict.APPROVED)
    assert pull_of(forge).merge_now == head
    forge.review(PrNumber(1), head, Verdict.REJECTED, "no")
    forge.review(PrNumber(1), head, Verdict.APPROVED)

    assert (pull_of(forge).merge_now, pull_of(forge).approved) == (None, head)


def test_a_closed_pull_request_is_not_reviewed(repo: GitRepo, forge: LocalForge) -> None:
    head = opened(repo, forge)
    forge.close(PrNumber(1), declined=True)

    with pytest.raises(PermanentError, match="#1 is closed"):
        forge.review(PrNumber(1), head, Verdict.APPROVED)


def test_a_pull_request_that_does_not_exist_is_said_to(forge: LocalForge) -> None:
    with pytest.raises(PermanentError, match="no pull request #7"):
        forge.show(PrNumber(7))


@pytest.mark.parametrize(
    "text", ["", "hello", "{}", '{"version": 2}', '{"version": 1, "number": 2}', "[" * 5000, "null"]
)
def test_a_damaged_record_is_named_and_hides_no_other(repo: GitRepo, forge: LocalForge, text: str) -> None:
    opened(repo, forge)
    damaged = repo.git("commit-tree", "-m", text, "HEAD^{tree}")
    repo.git("update-ref", "refs/reconcile/pr/2", damaged)

    assert list(forge.pull_requests()) == [TASK]
    assert "#2 is damaged" in forge.damaged()[PrNumber(2)]
    assert "git update-ref -d refs/reconcile/pr/2" in forge.damaged()[PrNumber(2)]
    assert forge.show(PrNumber(1)).title == "Title"
    assert forge.open(TaskId("x-2"), repo.branch("agent/x-2", {"new": "1\n"}), "Title", "") == 3


def test_a_record_that_git_can_not_read_is_not_taken_for_a_missing_one(repo: GitRepo, forge: LocalForge) -> None:
    opened(repo, forge)
    for content in ("garbage\n", "", "1" * 40 + "\n"):
        (repo.common / "refs/reconcile/pr/1").write_text(content)

        assert dict(forge.pull_requests()) == {}
        said = forge.damaged()[PrNumber(1)]
        subprocess.run(
            said.rpartition("; ")[2].partition(" removes")[0].strip("'"), shell=True, cwd=repo.path, check=True
        )
        assert dict(forge.pull_requests()) == {}
        assert dict(forge.damaged()) == {}


def test_a_branch_that_git_can_not_read_is_not_taken_for_a_deleted_one(repo: GitRepo, forge: LocalForge) -> None:
    opened(repo, forge)
    head = repo.head(BRANCH)
    (repo.common / f"refs/heads/{BRANCH}").write_text("")

    assert dict(forge.pull_requests()) == {}
    assert forge.show(PrNumber(1)).open

    (repo.common / f"refs/heads/{BRANCH}").write_text(f"{head}\n")
    assert forge.pull_requests()[TASK].state is PullState.OPEN


@pytest.mark.parametrize("name", ["notes", "01", "1x", "x/1"])
def test_other_refs_beside_the_records_are_none_of_ours(repo: GitRepo, forge: LocalForge, name: str) -> None:
    opened(repo, forge)
    repo.git("update-ref", f"refs/reconcile/pr/{name}", repo.head())

    assert pull_of(forge).number == 1


# --- what has landed -----------------------------------------------------------------------------------------


def test_landings_are_read_from_the_base_oldest_first(repo: GitRepo, forge: LocalForge) -> None:
    base = repo.head()
    heads = []
    for n, method in enumerate(MergeMethod):
        heads.append((f"x-{n}", land(repo, forge, f"x-{n}", method)))
        repo.commit({"people": str(n)})
        assert [(said.task, said.head) for said in forge.landings("main")] == heads

    assert [(said.task, said.head) for said in LocalForge(repo.seam()).landings("main")] == heads
    landed: Landing = forge.landings("main")[0]
    assert forge.contains(repo.head(), landed.commit) and not forge.contains(base, landed.commit)


def test_trailers_that_an_agent_wrote_are_no_landing(repo: GitRepo, forge: LocalForge) -> None:
    forged = f"Done\n\nReconcile-Task: x-9\nReconcile-Head: {'f' * 40}"
    for n, method in enumerate(MergeMethod):
        repo.git("switch", "--quiet", "--create", f"agent/x-{n}")
        repo.commit({f"new-{n}": "new"}, message=forged)
        repo.git("switch", "--quiet", "main")
        land(repo, forge, f"x-{n}", method, body=forged)

    assert {said.task for said in forge.landings("main")} == {"x-0", "x-1", "x-2"}


def test_a_base_that_was_taken_back_has_lost_its_landings(repo: GitRepo, forge: LocalForge) -> None:
    start = repo.head()
    land(repo, forge, "x-1", MergeMethod.SQUASH)
    assert forge.landings("main")

    repo.git("reset", "--quiet", "--hard", start)
    repo.commit({"people": "1"})

    assert not forge.landings("main")


def test_a_base_that_was_merged_into_something_else_is_read_along_its_own_line(
    repo: GitRepo, forge: LocalForge
) -> None:
    land(repo, forge, "x-1", MergeMethod.SQUASH)
    assert len(forge.landings("main")) == 1

    repo.git("switch", "--quiet", "--create", "side", "HEAD~1")
    repo.commit({"side": "1"})
    repo.git("merge", "--quiet", "--no-edit", "main")
    repo.git("branch", "--force", "main", "side")

    assert list(forge.landings("main")) == list(LocalForge(repo.seam()).landings("main")) == []


# --- the base ------------------------------------------------------------------------------------------------


def test_a_base_that_is_missing_or_empty_is_said_with_what_to_do(repo: GitRepo, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    repo.git("init", "--quiet", str(tmp_path / "other"))
    empty = GitRepo(tmp_path / "other", repo.home)

    with pytest.raises(PermanentError, match="no base branch trunk") as missing:
        LocalForge(repo.seam()).base("trunk")
    with pytest.raises(PermanentError, match="no commit yet") as unborn:
        LocalForge(empty.seam()).base("main")

    assert missing.value.hint and unborn.value.hint


@pytest.mark.parametrize("name", ["main~1", "main^{tree}", "ma\nin", "../main", "", "--all", "main\0"])
def test_a_base_is_the_name_of_a_branch_and_nothing_else(repo: GitRepo, forge: LocalForge, name: str) -> None:
    repo.commit({"a": "more"})

    with pytest.raises(PermanentError):
        forge.base(name)


def test_nothing_that_the_repository_configures_ever_runs(repo: GitRepo, tmp_path: Path) -> None:
    repo.commit({".gitattributes": "* filter=evil merge=evil diff=evil\n"})
    for n, _ in enumerate(MergeMethod):
        repo.branch(f"agent/x-{n}", {f"new-x-{n}": "new\n"})
    evil = arm(repo, tmp_path / "ran")
    forge = LocalForge(repo.seam())
    (repo.path / "a").write_text("edited\n")

    for n, method in enumerate(MergeMethod):
        land(repo, forge, f"x-{n}", method)
        (repo.path / "a").touch()
        base = forge.base("main")
        assert base.checkout and base.checkout.dirty == {"a"}
    forge.catch_up("main")

    assert not evil.exists()
    assert (repo.path / "new-x-0").read_text() == "new\n"


# --- the remote ----------------------------------------------------------------------------------------------


def test_a_pushed_base_lands_on_its_remote_and_the_local_one_follows(
    repo: GitRepo, forge: LocalForge, remote: GitRepo
) -> None:
    land(repo, forge, "x-1", MergeMethod.SQUASH, push=True)

    assert remote.head("main") == repo.head("main") == forge.base("main", push=True).head
    assert (repo.path / "new-x-1").exists() and not repo.status()


def test_candidates_of_a_pushed_base_are_built_on_the_remote(repo: GitRepo, forge: LocalForge, remote: GitRepo) -> None:
    theirs = pushed_by_somebody(repo, remote, {"theirs": "1\n"})

    base = forge.base("main", push=True)
    land(repo, forge, "x-1", MergeMethod.SQUASH, push=True)

    assert (base.head, base.remote, base.diverged, base.unpushed) == (theirs, "origin", None, False)
    assert {"theirs", "new-x-1"} < set(repo.files(remote.head("main")))
    assert repo.head("main") == remote.head("main") and not repo.status()


def test_catching_up_brings_the_local_base_to_a_remote_that_is_ahead(
    repo: GitRepo, forge: LocalForge, remote: GitRepo
) -> None:
    theirs = pushed_by_somebody(repo, remote, {"theirs": "1\n"})
    (repo.path / "a").write_text("mine\n")
    forge.base("main", push=True)

    forge.catch_up("main")

    assert repo.head("main") == theirs
    assert repo.status() == " M a" and (repo.path / "theirs").exists()


def test_a_remote_that_moved_after_the_judgement_wins(repo: GitRepo, forge: LocalForge, remote: GitRepo) -> None:
    order = an_order(repo, forge, "x-1", push=True)
    local, theirs = repo.head("main"), pushed_by_somebody(repo, remote, {"theirs": "1\n"})

    with pytest.raises(ChangedError):
        forge.land(order)

    assert (repo.head("main"), remote.head("main")) == (local, theirs)


def test_a_remote_that_moves_while_we_push_is_never_overwritten(
    repo: GitRepo, forge: LocalForge, remote: GitRepo
) -> None:
    order = an_order(repo, forge, "x-1", push=True)
    theirs = repo.branch("somebody", {"theirs": "1\n"})
    # Runs on the remote between its answer to us and the update: there a push of somebody else's would come in.
    hook = remote.path / "hooks" / "pre-receive"
    hook.write_text(f"#!/bin/sh\nunset GIT_QUARANTINE_PATH\ngit update-ref refs/heads/main {theirs}\n")
    hook.chmod(0o755)
    repo.git("push", "--quiet", "origin", "somebody")
    remote.git("update-ref", "refs/heads/main", repo.head("main"))
    local = repo.head("main")

    with pytest.raises(ChangedError):
        forge.land(order)

    assert (repo.head("main"), remote.head("main")) == (local, theirs)


def test_what_was_pushed_after_our_last_look_is_never_overwritten(
    repo: GitRepo, forge: LocalForge, remote: GitRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = an_order(repo, forge, "x-1", push=True)
    theirs = repo.branch("somebody", {"theirs": "1\n"})
    local, run = repo.head("main"), shell.run

    def pushed_before(argv: list[str], **options: object) -> shell.Finished:
        if "push" in argv:
            monkeypatch.setattr(shell, "run", run)
            repo.git("push", "--quiet", "origin", "somebody:main")
        return run(argv, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(shell, "run", pushed_before)
    with pytest.raises(ChangedError):
        forge.land(order)

    assert (repo.head("main"), remote.head("main")) == (local, theirs)


def test_a_push_never_takes_anything_back(repo: GitRepo, remote: GitRepo) -> None:
    theirs = repo.commit({"theirs": "1\n"})
    repo.git("push", "--quiet", "origin", "main")
    git = repo.seam()

    with git.writing() as lock, pytest.raises(ChangedError, match="does not contain"):
        Remotes(git).push("main", theirs, repo.branch("ours", {"ours": "1\n"}, start="main~1"), lock)

    assert remote.head("main") == theirs


def test_local_commits_that_the_remote_lacks_are_ours_to_push_only_if_we_landed_them(
    repo: GitRepo, forge: LocalForge, remote: GitRepo
) -> None:
    land(repo, forge, "x-1", MergeMethod.MERGE)
    ours = forge.base("main", push=True)
    forge.push_base("main")
    assert (ours.unpushed, ours.diverged, remote.head("main")) == (True, None, repo.head("main"))

    before = remote.head("main")
    repo.commit({"people": "1"})
    theirs = LocalForge(repo.seam()).base("main", push=True)
    assert (theirs.unpushed, theirs.head) == (False, repo.head("main"))
    assert theirs.diverged and "1 commit(s) that its remote lacks" in theirs.diverged
    with pytest.raises(PermanentError, match="we did not land"):
        forge.push_base("main")
    assert remote.head("main") == before


def test_a_base_that_went_another_way_than_its_remote_is_diverged(
    repo: GitRepo, forge: LocalForge, remote: GitRepo
) -> None:
    pushed_by_somebody(repo, remote, {"theirs": "1\n"})
    repo.commit({"ours": "1\n"})

    base = forge.base("main", push=True)

    assert base.diverged and "different ways" in base.diverged
    with pytest.raises(PermanentError, match="different ways"):
        forge.push_base("main")


@pytest.mark.parametrize("url", ["http://me:hunter2@127.0.0.1:1/x", "git://me:hunter2@127.0.0.1:1/x"])
def test_a_remote_that_does_not_answer_is_unknown_and_its_password_stays_unsaid(
    repo: GitRepo, forge: LocalForge, remote: GitRepo, url: str
) -> None:
    repo.git("remote", "set-url", "origin", url)

    with pytest.raises(TemporaryError) as refused:
        forge.base("main", push=True)

    assert "hunter2" not in str(refused.value)


def test_pushing_without_a_remote_is_said_with_what_to_do(repo: GitRepo, forge: LocalForge) -> None:
    with pytest.raises(PermanentError, match="no remote 'origin'"):
        forge.base("main", push=True)


# --- what the tests stand on ---------------------------------------------------------------------------------


def pull_of(forge: LocalForge) -> PullRequest:
    return forge.pull_requests()[TASK]


def opened(repo: GitRepo, forge: LocalForge) -> Sha:
    head = repo.branch(BRANCH, {"new": "1\n"})
    forge.open(TASK, head, "Title", "Body")
    return head


def open_at_once(path: str, environ: dict[str, str], task: TaskId, head: Sha, start: multiprocessing.Event) -> None:
    """Another process that opens the pull request of a task."""
    repo = GitRepo(Path(path), Path(environ["HOME"]))
    forge = LocalForge(repo.seam())
    start.wait()
    forge.open(task, head, "Title", "")


def an_order(repo: GitRepo, forge: LocalForge, task: str, *, push: bool = False, body: str = "") -> LandOrder:
    """The landing of a task whose branch adds `new-<task>` (or is there already), judged on the base as it is."""
    known = repo.refs("refs/heads/agent/").get(f"refs/heads/agent/{task}")
    head = Sha(known) if known else repo.branch(f"agent/{task}", {f"new-{task}": "new\n"})
    number = forge.open(TaskId(task), head, "Title", "")
    candidate = forge.candidate(forge.base("main", push=push).head, head)
    assert isinstance(candidate, Candidate)
    return LandOrder(
        task=TaskId(task),
        number=number,
        title="Title",
        body=body,
        expected=candidate,
        base="main",
        method=MergeMethod.SQUASH,
        push=push,
    )


def land(
    repo: GitRepo, forge: LocalForge, task: str, method: MergeMethod, *, push: bool = False, body: str = ""
) -> Sha:
    order = an_order(repo, forge, task, push=push, body=body)
    forge.land(LandOrder(**{name: getattr(order, name) for name in LandOrder.__slots__} | {"method": method}))
    return order.expected.head


def pushed_by_somebody(repo: GitRepo, remote: GitRepo, files: dict[str, str]) -> Sha:
    """Another clone's push to the remote, of which this repository has no object."""
    other = remote.path.with_name("clone-of-somebody")
    subprocess.run(["git", "clone", "--quiet", str(remote.path), str(other)], env=repo.environ, check=True)
    clone = GitRepo(other, repo.home)
    commit = clone.commit(files)
    clone.git("push", "--quiet", "origin", "main")
    return commit


def arm(repo: GitRepo, mark: Path) -> Path:
    """Config, hooks and drivers of the repository that leave a mark when they run."""
    script = mark.with_name("evil")
    script.write_text(f'#!/bin/sh\necho "$0 $*" >> {mark}\ncat\n')
    script.chmod(0o755)
    for key in (
        "core.fsmonitor",
        "core.sshCommand",
        "core.editor",
        "core.pager",
        "diff.external",
        "diff.evil.command",
        "diff.evil.textconv",
        "filter.evil.clean",
        "filter.evil.smudge",
        "filter.evil.process",
        "merge.evil.driver",
        "gpg.program",
        "credential.helper",
        "remote.origin.uploadpack",
        "remote.origin.receivepack",
    ):
        repo.git("config", key, str(script))
    repo.git("config", "commit.gpgSign", "true")
    for name in HOOKS:
        (repo.common / "hooks" / name).write_text(script.read_text())
        (repo.common / "hooks" / name).chmod(0o755)
    return mark


@pytest.mark.parametrize("remote", [".", "https://example.org/x.git", "two words", "a*b", "gone"])
def test_a_base_that_follows_no_remote_of_the_repository_is_behind_none(repo: GitRepo, remote: str) -> None:
    repo.git("config", "branch.main.remote", remote)

    assert LocalForge(repo.seam()).base("main").fetched is None


@pytest.mark.parametrize("content", ["garbage\n", "1" * 40 + "\n"])
def test_what_was_fetched_and_can_not_be_read_keeps_nobody_from_the_base(repo: GitRepo, content: str) -> None:
    repo.git("remote", "add", "origin", "../elsewhere")
    ref = repo.common / "refs/remotes/origin/main"
    ref.parent.mkdir(parents=True)
    ref.write_text(content)

    assert LocalForge(repo.seam()).base("main").fetched is None


def test_no_command_of_ours_holds_the_password_in_the_address_of_a_remote(
    repo: GitRepo, forge: LocalForge, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.git("remote", "add", "origin", "https://ann:SECRET@localhost:1/acme/app.git")
    run, words = shell.run, list[str]()

    def noted(argv: list[str], **options: object) -> shell.Finished:
        words.extend(argv)
        return run(argv, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(shell, "run", noted)
    with pytest.raises(TemporaryError) as refused:
        forge.base("main", push=True)

    assert "ls-remote" in words and not [word for word in words if "SECRET" in word]
    assert "SECRET" not in str(refused.value)
