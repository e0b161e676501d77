"""Checks on other machines: on exactly the tree that was pushed for them, and believed only from the node that ran them."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from nodes import Nodes
from waiting import until

from reconciler.git.run_reports import Reported
from reconciler.git.task_refs import TaskRefs
from reconciler.model.errors import ChangedError, TemporaryError
from reconciler.model.names import RUN_REFS, RunId, RunKind, Sha, TaskId, remote_key
from reconciler.model.observed import RunState, StopWhy
from reconciler.model.ports import RunSpec, StepLimit
from reconciler.runners import courier
from reconciler.runners._engines import Engine

SUBJECT, OTHER = "4b825dc642cb-01709241", "4b825dc642cb-01709242"


class Checked(Nodes):
    """A candidate on the base that no branch holds, and its checks."""

    def candidate(self) -> Sha:
        tree = self.repo.git("rev-parse", "main^{tree}")
        return Sha(self.repo.git("commit-tree", tree, "-p", "main", "-m", "what would land"))

    def check(
        self, *commands: str, n: int = 1, commit: Sha | None = None, subject: str = SUBJECT, **more: object
    ) -> RunId:
        """What the start of a check does."""
        run, commit = RunId(RunKind.CHECK, subject, n), commit or self.candidate()
        self.runner.start(
            RunSpec(
                **more,  # type: ignore[arg-type]
                id=run,
                task=TaskId("x-1"),
                manifest="demo",
                steps=tuple(("/bin/sh", "-c", command) for command in commands),
                cwd=self.spaces.create_check(subject, self.venue, commit, n=n),
                env={"RECONCILE_BASE": "main", "RECONCILE_TASK": "x-1"},
                tree=Sha(self.repo.git("rev-parse", f"{commit}^{{tree}}")),
                commit=commit,
                at=self.venue,
            )
        )
        return run

    def key(self, run: RunId) -> TaskId:
        return remote_key(run, self.spaces.elsewhere.us)

    def on_remote(self) -> list[str]:
        return self.repo.git("for-each-ref", "--format=%(refname)", cwd=self.remote).split()

    def runs_it(self, run: RunId) -> None:
        until(lambda: self.run(run).started and self.run(run).node, "a node to run it")


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Checked]:
    made = Checked(tmp_path)
    yield made
    made.clear()


def test_a_check_runs_on_what_was_pushed_for_it_in_a_clean_checkout_and_nothing_stays_anywhere(nodes: Checked):
    commit = nodes.candidate()
    seen = nodes.over(
        run := nodes.check(
            'test -z "$(git status --porcelain)" && git rev-parse HEAD main',
            "test -z \"$(git branch --list 'agent/*')\" && touch made && env | grep -c RECONCILE_SAYS",
            commit=commit,
        )
    )
    printed = nodes.runner.log_tail(run).split()
    assert printed == [commit, nodes.repo.head("main"), "0"], printed
    assert seen.exit and (seen.exit.code, seen.exit.step) == (1, 1) and seen.node.startswith("n")
    until(lambda: nodes.runner.runs() and not nodes.on_remote(), "its ref to be gone")
    until(lambda: not nodes.left() and not nodes.strays(), "the node to be cleared")


def test_a_check_that_passes_or_fails_there_does_so_here(nodes: Checked):
    good, bad = nodes.over(nodes.check("true")), nodes.over(nodes.check("exit 3", n=2))
    assert good.exit and good.exit.well and bad.exit and bad.exit.code == 3
    assert not nodes.repo.git("for-each-ref", "refs/heads/agent", "refs/reconcile/salvage")


def ended(
    nodes: Checked, run: RunId, ending: Mapping[str, object], secret: str | None, began: Mapping[str, object] = {}
) -> None:
    """Swap the ref of a run that is alive to an ending that its node has not written."""
    git, refs = nodes.repo.seam(), nodes.spaces.elsewhere.refs(nodes.venue.remote)
    content = json.dumps(ending)
    seal = "" if secret is None else courier.sealed(secret, content.encode())
    for _ in range(50):
        seen = refs.one(nodes.key(run))
        assert seen
        record = json.dumps({**seen.record, "phase": "ended", "seal": seal})
        whole = {"exit.json": content, "record.json": record, **({"run.json": json.dumps(began)} if began else {})}
        blobs = {name: git.objects("hash-object", "-w", "--stdin", stdin=whole[name].encode()).text for name in whole}
        rows = "".join(f"100644 blob {blob.strip()}\t{name}\n" for name, blob in blobs.items())
        tree = git.objects("mktree", stdin=rows.encode()).text.strip()
        with suppress(ChangedError):  # it renewed its lease at that moment
            made = Sha(nodes.repo.git("commit-tree", tree, "-p", seen.head, "-m", "ended"))
            return refs.swap(RUN_REFS + nodes.key(run), seen.at, made)
    raise AssertionError("it moves too often")


WELL = {"code": 0, "signal": None, "stop": None, "cause": "exited", "step": 0}


@pytest.mark.parametrize("secret", [None, "what another run was given"], ids=["no word", "another's word"])
def test_what_somebody_else_writes_as_the_end_of_a_check_proves_nothing(nodes: Checked, secret: str | None):
    run = nodes.check("sleep 600")
    nodes.runs_it(run)

    ended(nodes, run, {**WELL, "ended_at": courier.utc()}, secret)

    over = nodes.over(run)
    assert over.state is RunState.LOST and over.exit is None and "not written by its node" in over.remark


def test_a_check_is_dated_by_our_clock_and_took_as_long_as_its_node_says(nodes: Checked):
    run = nodes.check("sleep 600")
    nodes.runs_it(run)
    secret = json.loads((nodes.runner.folder(run) / "claim.json").read_text())["seal"]
    before = datetime.now(UTC)

    wrong = {"started_at": "2020-01-01T00:00:00+00:00", "step": 0, "set_up": True}
    ended(nodes, run, {**WELL, "ended_at": "2020-01-01T00:00:05+00:00"}, secret, wrong)

    over = nodes.over(run)
    assert over.exit and over.exit.well and before <= over.exit.at <= datetime.now(UTC)
    assert over.started_at == over.exit.at - timedelta(seconds=5)


def test_an_ending_of_its_node_that_says_nothing_is_no_verdict(nodes: Checked):
    run = nodes.check("sleep 600")
    nodes.runs_it(run)
    ended(nodes, run, {}, json.loads((nodes.runner.folder(run) / "claim.json").read_text())["seal"])
    assert nodes.over(run).state is RunState.LOST


def test_a_check_whose_node_dies_is_lost_and_blames_nobody_and_the_next_one_runs(nodes: Checked):
    run = nodes.check("sleep 600")
    nodes.runs_it(run)
    nodes.send(nodes.processes(run), signal.SIGKILL)
    nodes.forgets(run)
    lost = nodes.over(run)
    assert lost.state is RunState.LOST and lost.exit is None
    again = nodes.over(nodes.check("true", n=2))
    assert again.exit and again.exit.well


def test_a_check_that_is_lost_twice_with_its_nodes_rests_and_one_that_a_person_gave_up_is_not_lost(nodes: Checked):
    for n in (1, 2):
        run = nodes.check("sleep 600", n=n)
        nodes.runs_it(run)
        nodes.send(nodes.processes(run), signal.SIGKILL)
        nodes.forgets(run)
        assert nodes.over(run).state is RunState.LOST
    with pytest.raises(TemporaryError, match="2 times no node brought it to its end: no word from n") as refused:
        nodes.check("true", n=3)
    assert 20 < refused.value.delay <= 30
    nodes.runner.mark_since(TaskId("x-1"), nodes.repo.head("main"), datetime.now(UTC))
    for n in (3, 4):
        run = nodes.check("sleep 600", n=n)
        nodes.runs_it(run)
        nodes.runner.give_up(run)
        assert nodes.over(run).state is RunState.LOST
    again = nodes.over(nodes.check("true", n=5))
    assert again.exit and again.exit.well


def test_a_check_that_nothing_wants_any_more_is_ended_there(nodes: Checked):
    run = nodes.check("sleep 600")
    nodes.runs_it(run)

    def ended() -> bool:
        nodes.runner.stop(run, StopWhy.PERSON)
        return not nodes.run(run).alive

    until(ended, "it to be ended")
    until(lambda: not nodes.processes(run) and not nodes.left(), "the node to be cleared")


@pytest.mark.parametrize("kind", ["check", "agent"])
def test_what_no_node_could_begin_is_placed_once_more_and_then_rests_until_its_task_is_retried(
    nodes: Checked, tmp_path: Path, kind: str
):
    def start(n: int) -> RunId:
        return nodes.check("true", n=n) if kind == "check" else nodes.start("x-1", n)

    path, bad = nodes.environ["PATH"], tmp_path / "bad"
    bad.mkdir()
    (bad / "python3").write_text("#!/bin/sh\nexit 127\n")
    (bad / "python3").chmod(0o755)
    nodes.environ = {**nodes.environ, "PATH": f"{bad}:{path}"}
    nodes.born()
    for n in (1, 2):
        lost = nodes.over(start(n))
        assert (lost.state, lost.started) == (RunState.LOST, False)
        assert lost.remark == f"its job ended on n{n} before it began"
    with pytest.raises(TemporaryError, match="2 times no node began it: its job ended on n2") as refused:
        start(3)
    assert 20 < refused.value.delay <= 30 and "doctor --nodes" in refused.value.advised
    assert len(nodes.runner.runs()) == 2

    nodes.environ = {**nodes.environ, "PATH": path}
    nodes.born()
    nodes.runner.mark_since(TaskId("x-1"), nodes.repo.head("main"), datetime.now(UTC))
    seen = nodes.over(start(3))
    assert seen.exit and seen.exit.well


@pytest.mark.parametrize("kind", ["check", "agent"])
def test_a_checkout_that_no_node_can_make_is_no_attempt_and_no_red_check_and_rests(nodes: Checked, kind: str):
    place = nodes.folder / "scratch" / nodes.spaces.elsewhere.us / "work"
    place.parent.mkdir(parents=True)
    place.write_text("in the way")
    for n in (1, 2):
        over = nodes.over(nodes.check("true", n=n) if kind == "check" else nodes.start("x-1", n))
        assert (over.state, over.started) == (RunState.LOST, False) and "could not make its checkout" in over.remark
    with pytest.raises(TemporaryError, match="2 times no node began it: n2 could not make its checkout"):
        nodes.check("true", n=3) if kind == "check" else nodes.start("x-1", 3)


def test_of_two_that_start_a_check_at_once_one_does(nodes: Checked):
    run = nodes.check("sleep 600")
    with pytest.raises(ChangedError):
        nodes.check("sleep 600")
    with pytest.raises(ChangedError):
        nodes.check("sleep 600", n=2)
    nodes.runs_it(run)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_controller_that_dies_as_it_submits_a_check_has_it_once_or_tries_again(
    nodes: Checked, monkeypatch: pytest.MonkeyPatch, when: str
):
    class Killed(BaseException):
        pass

    submit = type(nodes.engine()).submit

    def dies(engine: Engine, *given: object) -> None:
        if when == "after":
            submit(engine, *given)  # type: ignore[arg-type]
        raise Killed

    monkeypatch.setattr(type(nodes.engine()), "submit", dies)
    with pytest.raises(Killed):
        nodes.check("true")
    monkeypatch.undo()
    nodes.born()

    first = nodes.over(RunId(RunKind.CHECK, SUBJECT, 1))

    assert first.state is (RunState.ENDED if when == "after" else RunState.LOST)
    again = nodes.over(nodes.check("true", n=2))
    assert again.exit and again.exit.well
    until(lambda: nodes.runner.runs() and not nodes.on_remote(), "the refs to be gone")


def test_two_repositories_that_use_one_remote_test_the_same_tree_each_for_itself(nodes: Checked, tmp_path: Path):
    (tmp_path / "other").mkdir()
    other = Checked(tmp_path / "other", nodes.venue)
    commit, same = nodes.candidate(), other.candidate()
    assert nodes.repo.git("rev-parse", f"{commit}^{{tree}}") == other.repo.git("rev-parse", f"{same}^{{tree}}")
    ours, theirs = nodes.check("sleep 600", commit=commit), other.check("exit 3", commit=same)
    seen = other.over(theirs)
    assert seen.exit and seen.exit.code == 3
    until(lambda: other.runner.runs() and nodes.on_remote() == [RUN_REFS + nodes.key(ours)], "theirs alone to be gone")
    nodes.runs_it(ours)
    other.clear()


def test_a_check_that_another_program_of_ours_starts_during_a_look_is_not_cleared_away_unread(
    nodes: Checked, monkeypatch: pytest.MonkeyPatch
):
    first = nodes.check("sleep 600")
    nodes.runs_it(first)
    look = TaskRefs.look

    def slow(refs: TaskRefs, **how: bool) -> Mapping[TaskId, Reported]:
        """A remote that answers late: meanwhile another check starts there, and ends."""
        monkeypatch.undo()
        began.append(nodes.check("true", subject=OTHER))
        until(lambda: nodes.key(began[0]) in look(refs) and look(refs)[nodes.key(began[0])].over, "it to be over")
        return look(refs, **how)

    began: list[RunId] = []
    monkeypatch.setattr(TaskRefs, "look", slow)
    nodes.runner.runs()

    seen = nodes.over(began[0])
    assert seen.exit and seen.exit.well


@pytest.mark.parametrize("when", ["before", "after", "refused"])
def test_a_controller_that_dies_as_it_clears_up_after_the_last_check_does_so_when_it_is_back(
    nodes: Checked, monkeypatch: pytest.MonkeyPatch, when: str
):
    class Killed(BaseException):
        pass

    run, swap = nodes.check("true"), TaskRefs.swap

    def dies(refs: TaskRefs, ref: str, old: Sha | None, new: Sha | None, lock: int | None = None) -> None:
        if new is not None:
            return swap(refs, ref, old, new, lock)
        if when == "refused":
            raise TemporaryError("no answer")
        if when == "after":
            swap(refs, ref, old, new, lock)
        raise Killed

    monkeypatch.setattr(TaskRefs, "swap", dies)
    try:
        nodes.over(run)
    except Killed:
        nodes.born()
    monkeypatch.undo()

    seen = nodes.run(run)

    assert seen.exit and seen.exit.well and not nodes.on_remote()
    nodes.born()
    monkeypatch.setattr(TaskRefs, "look", lambda *_: pytest.fail("a remote on which nothing is left is not looked at"))
    nodes.runner.runs()


@pytest.mark.parametrize("of", ["all", "one"])
def test_the_time_for_which_a_check_was_halted_is_no_time_that_it_has_had(nodes: Checked, of: str):
    limit = {"timeout_s": 10.0} if of == "all" else {"limits": (StepLimit(timeout_s=10.0),)}
    run = nodes.check("for n in $(seq 60); do sleep 0.1; done", **limit)
    nodes.runs_it(run)
    back = nodes.cut()
    (courier_pid, *_) = nodes.processes(run)
    until(lambda: nodes.run(run).alive and any(map(stopped, courier.descendants(courier_pid))), "it to be halted")
    ends = time.monotonic() + 9
    until(lambda: nodes.run(run).alive and time.monotonic() > ends, "its time to be over, by the clock")
    back()

    seen = nodes.over(run)

    assert seen.exit and seen.exit.well, seen


def stopped(pid: int) -> bool:
    return courier.read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[:1] == [b"T"]


def test_where_the_remote_is_away_no_check_begins_and_that_is_no_verdict(nodes: Checked):
    back = nodes.cut()
    with pytest.raises(TemporaryError):
        nodes.check("true")
    assert not any(run.alive for run in nodes.runner.runs().values())
    back()
    seen = nodes.over(nodes.check("true", n=2))
    assert seen.exit and seen.exit.well
