"""What agents say of their runs: read off real logs once, kept beside the ending, and shown."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

import pytest
from machine import Machine
from waiting import until

from reconciler.model import verdicts
from reconciler.model.agent_spec import AgentSpec
from reconciler.model.desired import EpicSpec
from reconciler.model.names import RunId, RunKind, Sha, TaskId, review_subject
from reconciler.model.ports import Assignment, Invocation
from reconciler.model.report import Report
from reconciler.runners import supervisor
from reconciler.runners.local import LocalRunner

pytestmark = pytest.mark.skipif(not supervisor.PROC, reason="needs /proc")


def test_only_the_last_step_reads_the_prompt_and_only_where_its_agent_wants_it(machine: Machine) -> None:
    steps = (("sh", "-c", "cat; echo set up"), ("cat",))

    there = machine.finished(steps=steps, setup_steps=1, prompt="do this\n", prompt_on_stdin=True)
    machine.finished(steps=steps, setup_steps=1, prompt="do this\n", n=2)

    assert machine.log(there.id) == "set up\ndo this\n"
    assert machine.log(RunId(RunKind.WORK, "x-1", 2)) == "set up\n"


class Talker:
    """An agent whose log is what it says, each word a token."""

    program = "talker"

    def unfit(self, env: Mapping[str, str], *, root: bool) -> str | None:
        return None if env.get("MOOD") == "good" else "it is in no mood"

    def invocation(self, spec: AgentSpec, given: Assignment) -> Invocation:
        return Invocation(argv=("talker",))

    def report(self, log: str, ended: datetime | None = None) -> Report:
        return Report(done=True, message=log.strip(), tokens=len(log.split()))

    def cost(self, piece: str, before: float) -> float:
        return before + len(piece.split())

    def idle(self, line: str) -> bool:
        return False

    def answer(self, line: str) -> bytes:
        return line.encode() if '"summary"' in line else b""

    def shown(self, log: str) -> Iterator[str]:
        return (f"said: {line}" for line in log.splitlines())


def talking(machine: Machine, **more: object) -> LocalRunner:
    return LocalRunner(
        machine.state, machine.environ, Path("/opt"), machine.most.get, dict, {"talker": Talker()}, **more
    )  # type: ignore[arg-type]


def test_what_an_agent_says_is_kept_beside_its_ending_and_outlives_its_log(machine: Machine) -> None:
    run = machine.finished("echo one two", agent="talker").id
    said = talking(machine).runs()[run].report
    (machine.runner.folder(run) / "log").unlink()

    again = talking(machine).runs()[run].report

    assert said == again == Report(done=True, message="one two", tokens=2)
    assert talking(machine).log_tail(run) == ""


def test_a_damaged_report_is_read_off_the_log_again(machine: Machine) -> None:
    run = machine.finished("echo one two", agent="talker").id
    talking(machine).runs()
    kept = machine.runner.folder(run) / "report.json"

    for damage in ("", "[]", "{", '{"version": 1, "fault": "nonsense"}', '{"version": 9, "tokens": 1}'):
        kept.write_text(damage)
        report = talking(machine).runs()[run].report
        assert report is not None and report.tokens == 2, damage


def test_whoever_only_looks_keeps_nothing(machine: Machine) -> None:
    run = machine.finished("echo one two", agent="talker").id

    assert talking(machine, keep=False).runs()[run].report == Report(done=True, message="one two", tokens=2)
    assert not (machine.runner.folder(run) / "report.json").exists()


def test_a_run_that_is_alive_or_no_known_agents_says_nothing(machine: Machine) -> None:
    alive = machine.start("echo one; sleep 600", agent="talker")
    other = machine.finished("echo two", subject="x-2", agent="command").id

    runs = talking(machine).runs()

    assert (runs[alive].report, runs[other].report) == (None, None)
    assert runs[alive].agent == "talker"


def test_what_a_run_says_that_it_costs_is_read_piece_by_piece_while_it_works(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.runners._reports.TELLS_COST", frozenset({"talker"}))
    script = "echo one two; printf three; until test -e more; do sleep 0.05; done; echo; echo four; sleep 600"
    run = machine.start(script, agent="talker")
    runner = talking(machine)

    until(lambda: runner.runs()[run].usd == 2.0)  # what may go on yet is not read
    (machine.cwd / "more").touch()
    until(lambda: runner.runs()[run].usd == 4.0)

    assert talking(machine).runs()[run].usd == 4.0
    log = machine.runner.folder(run) / "log"
    log.write_bytes(b"cut\n")  # what was known is not forgotten
    assert runner.runs()[run].usd == 4.0
    with log.open("ab") as more:
        more.write(b"five\n")
    assert runner.runs()[run].usd == 5.0


def test_the_end_of_a_log_is_given_as_people_read_it(machine: Machine) -> None:
    run = machine.finished("echo one; echo two", agent="talker").id

    assert talking(machine).log_tail(run) == "said: one\nsaid: two\n"
    assert talking(machine).log_tail(run, 5) == " two\n"


def test_a_known_agent_that_is_not_there_or_would_refuse_is_missing(machine: Machine) -> None:
    (machine.cwd / "talker").write_text("#!/bin/sh\n")
    spec = EpicSpec(name="demo", agent=AgentSpec(kind="talker"))  # type: ignore[arg-type]
    assert "'talker' is not on the agent's PATH" in str(talking(machine).missing(spec))

    (machine.cwd / "talker").chmod(0o755)
    machine.environ["PATH"] = f"{machine.cwd}:{machine.environ['PATH']}"

    assert talking(machine).missing(spec) == "it is in no mood"
    machine.environ["MOOD"] = "good"
    assert talking(machine).missing(spec) is None


YES = '{"verdict": "approve", "summary": "it does"}'
REVIEW = RunId(RunKind.REVIEW, review_subject(TaskId("x-1"), Sha("a" * 40)), 1)


def test_a_verdict_is_what_it_was_when_its_reviewer_ended(machine: Machine) -> None:
    given = machine.finished(f"echo '{YES}' > \"$RECONCILE_VERDICT\"", id=REVIEW).verdict
    assert given is not None and given.summary == "it does"
    answer = machine.runner.folder(REVIEW) / "verdict.json"

    answer.write_text(YES.replace("does", "lies"))
    found = machine.another().runs()[REVIEW]
    assert found.verdict is None and "after the review had ended" in found.unread

    answer.write_text(f"{YES}\n")
    assert machine.another().runs()[REVIEW].verdict == given


@pytest.mark.parametrize(
    "left", ["true", f"echo '{YES}' > yes; ln -s $PWD/yes $RECONCILE_VERDICT", "mkfifo $RECONCILE_VERDICT"]
)
def test_who_gave_no_verdict_has_given_none_whatever_stands_there_later(machine: Machine, left: str) -> None:
    machine.finished(left, id=REVIEW)
    answer = machine.runner.folder(REVIEW) / "verdict.json"
    answer.unlink(missing_ok=True)
    answer.write_text(YES)

    assert machine.another().runs()[REVIEW].verdict is None


def test_a_verdict_of_which_its_ending_says_nothing_does_not_count(machine: Machine) -> None:
    machine.finished(f"echo '{YES}' > \"$RECONCILE_VERDICT\"", id=REVIEW)
    ending = machine.runner.folder(REVIEW) / "exit.json"
    said = json.loads(ending.read_text())
    ending.write_text(json.dumps({name: value for name, value in said.items() if name != "answer"}))

    assert machine.another().runs()[REVIEW].verdict is None


def test_an_answer_that_is_printed_is_what_it_was_when_its_reviewer_ended(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.runners._reports.STRUCTURED", frozenset({"talker"}))
    machine.finished(f"echo hello; echo '{YES}'; echo '{{}}'", id=REVIEW, agent="talker")
    given = talking(machine).runs()[REVIEW].verdict
    assert given is not None and given.summary == "it does"
    log = machine.runner.folder(REVIEW) / "log"
    said = log.read_text()

    log.write_text(said + YES.replace("does", "lies") + "\n")
    assert talking(machine).runs()[REVIEW].verdict == given, "what is printed afterwards says nothing"
    log.write_text(said.replace("does", "lies"))
    assert talking(machine).runs()[REVIEW].verdict is None

    log.write_text(said)
    (machine.runner.folder(REVIEW) / "verdict.json").write_text(YES)
    assert talking(machine).runs()[REVIEW].verdict is None, "that was not there when it ended"


def test_what_a_reviewer_prints_that_answers_in_a_file_is_no_answer(machine: Machine) -> None:
    machine.finished(f"echo '{YES}'", id=REVIEW, agent="talker")

    assert talking(machine).runs()[REVIEW].verdict is None


def test_a_supervisor_takes_as_long_an_answer_as_is_read() -> None:
    assert supervisor.ANSWER_MAX == verdicts.SIZE_MAX
