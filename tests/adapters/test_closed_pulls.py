"""What is kept of closed pull requests. Nobody may be able to tell whether it was there: only by the time that a look takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import gitrepo
import pytest
from gitrepo import GitRepo

from reconciler.forges.local import LocalForge, closed
from reconciler.git import ref_cache
from reconciler.model.errors import PermanentError
from reconciler.model.names import PrNumber, Sha, TaskId, branch_of, pull_request_ref
from reconciler.model.observed import PullRequest, PullState
from reconciler.model.pull_records import Verdict

MANY = 6
T1 = TaskId("t-1")


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GitRepo:
    """Some pull requests that are merged, one that a person closed, one that they rejected before, and an open one."""
    monkeypatch.setattr(closed, "FEWEST", 2)
    made = gitrepo.make(tmp_path, files={"a": "a\n"})
    forge = LocalForge(made.seam())
    made.seam().repository.state.mkdir(parents=True)
    for n in range(1, MANY + 1):
        head = made.branch(branch_of(TaskId(f"t-{n}")), {f"f-{n}": "work\n"})
        number = forge.open(TaskId(f"t-{n}"), head, f"Do {n}", "What was done")
        if n == 2:
            forge.review(number, head, Verdict.REJECTED, "not like this")
        if n == 3:
            forge.review(number, head, Verdict.APPROVED)
        if n < MANY:
            forge.close(number, declined=n == 1, merged=n > 2)
    return made


def seen(repo: GitRepo) -> Mapping[TaskId, PullRequest]:
    """What a process sees that begins now."""
    return LocalForge(repo.seam()).pull_requests()


def truth(repo: GitRepo) -> Mapping[TaskId, PullRequest]:
    """What the refs say."""
    return {pull.task: pull for _, pull in LocalForge(repo.seam()).every_pull_request()}


def kept(repo: GitRepo) -> Path:
    seen(repo)
    return repo.seam().repository.state / "closed-pulls"


def reads(monkeypatch: pytest.MonkeyPatch, look: Callable[[], object]) -> int:
    """How many records a look reads."""
    found: list[Sha] = []
    read = ref_cache.read
    with monkeypatch.context() as patched:
        patched.setattr(ref_cache, "read", lambda git, *names: found.extend(names) or read(git, *names))
        look()
    return len(found)


def test_what_is_closed_is_not_read_again_by_who_begins_later(repo: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reads(monkeypatch, lambda: kept(repo)) == MANY

    assert reads(monkeypatch, lambda: seen(repo)) == 1  # the open one
    assert seen(repo) == truth(repo) and len(truth(repo)) == MANY
    assert list(seen(repo)) == list(truth(repo))


def test_what_was_closed_since_is_not_read_again_by_the_same_process(
    repo: GitRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge = LocalForge(repo.seam())
    forge.pull_requests()
    LocalForge(repo.seam()).close(PrNumber(MANY), declined=False, merged=True)
    assert forge.pull_requests()[TaskId(f"t-{MANY}")].state is PullState.MERGED

    repo.branch(branch_of(TaskId("t-9")), {"f-9": "work\n"})

    assert reads(monkeypatch, forge.pull_requests) == 0
    assert forge.pull_requests() == truth(repo)


def test_every_record_is_there_whole_for_who_asks(repo: GitRepo) -> None:
    kept(repo)

    forge = LocalForge(repo.seam())
    assert [record.title for record, _ in forge.every_pull_request()] == [f"Do {n}" for n in range(1, MANY + 1)]
    assert forge.show(PrNumber(1)).body == "What was done"


def test_a_few_are_not_worth_a_file(repo: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed, "FEWEST", MANY)

    assert not kept(repo).exists()


def test_a_number_is_given_once_whatever_is_kept(repo: GitRepo) -> None:
    kept(repo)
    forge = LocalForge(repo.seam())
    forge.close(PrNumber(MANY), declined=False, merged=True)
    seen(repo)

    head = repo.branch(branch_of(T1), {"again": "work\n"})

    assert LocalForge(repo.seam()).open(T1, head, "Again", "") == MANY + 1
    assert seen(repo)[T1].number == MANY + 1


# --- where it would lie ----------------------------------------------------------------------------------------


def _is_merged_after_all(repo: GitRepo) -> None:
    LocalForge(repo.seam()).close(PrNumber(1), declined=False, merged=True)


def _is_gone(repo: GitRepo) -> None:
    repo.git("update-ref", "-d", pull_request_ref(PrNumber(1)))


def _is_another_of_that_number(repo: GitRepo) -> None:
    """As after a restored copy of the repository."""
    _is_gone(repo)
    for n in range(2, MANY + 1):
        repo.git("update-ref", f"refs/aside/{n}", pull_request_ref(PrNumber(n)))
        repo.git("update-ref", "-d", pull_request_ref(PrNumber(n)))
    head = repo.branch(branch_of(T1), {"other": "work\n"})
    assert (
        LocalForge(
            repo.seam(),
        ).open(T1, head, "Another", "")
        == 1
    )
    for n in range(2, MANY + 1):
        repo.git("update-ref", pull_request_ref(PrNumber(n)), f"refs/aside/{n}")


def _the_refs_are_packed(repo: GitRepo) -> None:
    repo.git("pack-refs", "--all", "--prune")


def _its_branch_is_back(repo: GitRepo) -> None:
    repo.branch(branch_of(T1), {"back": "work\n"})


@pytest.mark.parametrize(
    "change",
    [_is_merged_after_all, _is_gone, _is_another_of_that_number, _the_refs_are_packed, _its_branch_is_back],
)
def test_what_the_refs_say_counts(repo: GitRepo, change: Callable[[GitRepo], None]) -> None:
    path, older = kept(repo), LocalForge(repo.seam())
    older.pull_requests()
    before = path.read_bytes()

    change(repo)

    path.write_bytes(before)  # as if nobody had looked since
    assert seen(repo) == truth(repo) == older.pull_requests()


def test_a_file_in_its_place_of_the_same_size_and_date_is_not_believed(repo: GitRepo) -> None:
    path = kept(repo)
    date, content = os.stat(path), path.read_bytes()
    path.write_bytes(content.replace(b"merged", b"closed", 1))
    os.utime(path, ns=(date.st_atime_ns, date.st_mtime_ns))

    assert path.read_bytes() != content and seen(repo) == truth(repo)


@pytest.mark.parametrize("content", [b"", b"\n", b"\x00" * 64, b"1 commit\n\x90", None])
def test_what_is_cut_off_or_no_such_file_is_not_believed(repo: GitRepo, content: bytes | None) -> None:
    path = kept(repo)
    path.write_bytes(path.read_bytes()[:-9] if content is None else content)
    assert seen(repo) == truth(repo)

    path.unlink(missing_ok=True)
    path.mkdir()
    assert seen(repo) == truth(repo)


def test_what_another_version_wrote_is_not_believed(repo: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(closed, "_FORM", "1 of other fields")
        path = kept(repo)
    assert path.exists()

    assert reads(monkeypatch, lambda: seen(repo)) == MANY
    assert seen(repo) == truth(repo)


def test_a_folder_that_cannot_be_written_costs_no_more_than_time(repo: GitRepo) -> None:
    state = repo.seam().repository.state
    state.rmdir() if not any(state.iterdir()) else state.rename(state.with_name("elsewhere"))

    assert seen(repo) == truth(repo)


def test_a_damaged_record_is_told_by_who_reads_it(repo: GitRepo) -> None:
    """What is known of it is what it said; who wants all of it hears that it is gone."""
    path = kept(repo)
    name = repo.git("rev-parse", pull_request_ref(PrNumber(1)))
    (repo.common / "objects" / name[:2] / name[2:]).unlink()
    for copy in (path.parent / "records").iterdir():
        copy.unlink()

    assert seen(repo)[T1].declined
    with pytest.raises(PermanentError, match="there is no object"):
        LocalForge(repo.seam()).show(PrNumber(1))
