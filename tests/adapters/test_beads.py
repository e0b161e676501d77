"""A `bd` that answers oddly, late or not at all: a script in its place, with what real ones were seen to do."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from databases import Database, database
from fake_bd import Fake, change, record
from waiting import until

from reconciler.model.errors import ChangedError, PermanentError, TemporaryError
from reconciler.model.names import TaskId
from reconciler.model.observed import Task
from reconciler.model.ports import Change, NewTask
from reconciler.planning import graph
from reconciler.trackers.beads import BeadsTracker, decoding, program
from reconciler.trackers.beads.commands import Step, commands
from reconciler.trackers.beads.versions import Can, can

_AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    monkeypatch.setattr("reconciler.trackers.beads.writing.PAUSE_S", 0.01)
    return Fake(tmp_path)


def labelled(*tasks: str) -> list[Change]:
    return [change(task, add_labels=frozenset({"l"})) for task in tasks]


# --- looking -------------------------------------------------------------------------------------------------


def test_a_look_is_one_process_however_many_tasks_there_are(fake: Fake) -> None:
    fake.holds(*(record(f"x-{n}") for n in range(300)))
    tracker = fake.tracker()

    assert len(tracker.tasks()) == 300
    assert len(tracker.tasks()) == 300
    assert len(fake.calls("list")) == 2
    assert len(fake.calls()) == 3  # and once its version


def test_a_program_that_was_replaced_is_asked_for_its_version_again(fake: Fake) -> None:
    tracker = fake.tracker()
    tracker.tasks()
    fake.does("# newer", version="0.59.0")

    tracker.tasks()

    assert "--flat" in fake.calls("list")[-1]


def test_what_a_shim_starts_is_asked_for_its_version_again_after_a_while(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shim of a version manager stays as it is, whatever is installed behind it."""
    shim, real = fake.here / "bin" / "bd", fake.here / "bin" / "real"
    shim.rename(real)
    shim.write_text(f'#!/bin/sh\nexec {real} "$@"\n')
    shim.chmod(0o755)
    tracker = fake.tracker()
    tracker.tasks()
    real.write_text(real.read_text().replace("1.0.5", "0.59.0"))
    tracker.tasks()
    assert "--flat" not in fake.calls("list")[-1]

    monkeypatch.setattr(program, "VERSION_HOLDS_S", -1.0)
    tracker.tasks()

    assert "--flat" in fake.calls("list")[-1]


def test_a_version_that_draws_a_tree_is_asked_for_a_list(fake: Fake) -> None:
    fake.does('case "$*" in *--flat*) ;; *) echo "○ x-1 ● P2 x-1"; exit;; esac', version="0.59.0")

    assert set(fake.tracker().tasks()) == {"x-1"}


@pytest.mark.parametrize(
    "script",
    ["exit 0", 'echo "○ x-1 ● P2 x-1"; exit', "echo '[{\"id\":'; exit", 'echo \'{"error": "no"}\'; exit', "exit 3"],
    ids=["nothing", "a tree", "half an answer", "an error", "a failure"],
)
def test_what_is_no_answer_is_not_an_empty_store(fake: Fake, script: str) -> None:
    fake.does(script)

    with pytest.raises(TemporaryError):
        fake.tracker().tasks()


def test_early_versions_are_asked_for_their_export_because_their_lists_tell_no_edges(fake: Fake) -> None:
    line = json.dumps(record(dependencies=[{"issue_id": "x-1", "depends_on_id": "x-2", "type": "blocks"}]))
    fake.does(f"test $first = export && {{ echo '{line}'; exit; }}", version="0.47.1")

    assert fake.tracker().tasks()[TaskId("x-1")].blockers == ("x-2",)


def test_an_export_of_nothing_is_believed_when_the_list_is_empty_too(fake: Fake) -> None:
    fake.does("test $first = export && exit", version="0.47.1")
    with pytest.raises(TemporaryError, match="export printed no tasks"):
        fake.tracker().tasks()

    fake.holds()

    assert fake.tracker().tasks() == {}


def test_a_database_that_lost_all_of_its_tasks_is_not_believed(fake: Fake) -> None:
    tracker = fake.tracker()
    tracker.tasks()
    fake.holds()

    with pytest.raises(TemporaryError, match="held 1 tasks, and now none"):
        tracker.tasks()


def test_a_database_that_somebody_has_is_waited_for(fake: Fake) -> None:
    fake.does('test $first = list && once lock && { echo "Error: database is locked" >&2; exit 1; }')

    assert set(fake.tracker().tasks()) == {"x-1"}


def test_a_database_that_somebody_keeps_is_said(fake: Fake) -> None:
    fake.does(
        'test $first = list && { echo "embeddeddolt: another process holds the exclusive lock on x" >&2; exit 1; }'
    )

    with pytest.raises(TemporaryError, match="exclusive lock"):
        fake.tracker().tasks()
    assert len(fake.calls("list")) == program.TRIES


def test_a_program_that_hangs_is_ended_with_all_that_it_started(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "READ_S", 0.5)
    fake.does(f"sleep 600 & echo $! > {fake.here}/child; wait")

    with pytest.raises(TemporaryError, match="did not end within") as told:
        fake.tracker().tasks()

    assert told.value.hint == "does bd end when you run it yourself?"
    child = int((fake.here / "child").read_text())
    until(lambda: not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text())


def test_a_missing_program_is_named_with_what_to_do(fake: Fake) -> None:
    (fake.here / "bin" / "bd").unlink()

    with pytest.raises(PermanentError, match="no 'bd' on the PATH") as said:
        fake.tracker().tasks()
    assert "install Beads" in str(said.value.hint)


def test_no_other_program_is_taken_for_bd(fake: Fake) -> None:
    bd = fake.here / "bin" / "bd"
    bd.rename(bd.with_name("br"))

    with pytest.raises(PermanentError, match="bin/br, which goes by other rules, is not used"):
        fake.tracker().tasks()
    assert fake.calls() == []


@pytest.mark.parametrize("beside", ["beads.db.fsqlite-migration-state", "beads.db-fsqlite-ns-gate"])
def test_no_bd_is_run_on_a_database_of_br(fake: Fake, beside: str) -> None:
    for name in ("beads.db", beside):
        (fake.main / ".beads" / name).touch()

    with pytest.raises(PermanentError, match="keeps the tasks") as said:
        fake.tracker().tasks()
    with pytest.raises(PermanentError, match="keeps the tasks"):
        fake.tracker().write([Change(task=TaskId("x-1"), title="new")])
    assert beside in str(said.value) and "br sync --flush-only" in str(said.value.hint)
    assert not (fake.here / "calls").exists()


def test_what_br_has_left_beside_no_database_of_its_own_says_nothing(fake: Fake) -> None:
    (fake.main / ".beads" / "beads.db.fsqlite-migration-state").touch()
    (fake.main / ".beads" / "dolt").mkdir()

    assert set(fake.tracker().tasks()) == {"x-1"}


@pytest.mark.parametrize("version", ["0.20.1", "0.24.0"])
def test_a_version_that_cannot_change_labels_is_refused_by_name(fake: Fake, version: str) -> None:
    fake.does(version=version)

    with pytest.raises(PermanentError, match=f"bd {version}"):
        fake.tracker().tasks()


@pytest.mark.parametrize("script", ["echo blue; exit 0", "echo blue >&2; exit 2"])
def test_a_program_of_another_kind_is_refused_with_what_it_said(fake: Fake, script: str) -> None:
    path = fake.here / "bin" / "bd"
    path.write_text(f"#!/bin/sh\n{script}\n")

    with pytest.raises(PermanentError, match="does not say its version, but 'blue'"):
        fake.tracker().tasks()


@pytest.mark.parametrize(("script", "said"), [("exit 0", "nothing .exit status 0"), ("echo no >&2; exit 3", "'no'")])
def test_one_that_does_not_say_what_it_is_is_quoted(fake: Fake, script: str, said: str) -> None:
    (fake.here / "bin" / "bd").write_text(f"#!/bin/sh\n{script}\n")

    with pytest.raises(PermanentError, match=f"does not say its version, but {said}"):
        fake.tracker().tasks()


@pytest.mark.parametrize(("version", "said"), [("1.0.4", "issues.jsonl"), ("0.59.0", "no JSON"), ("1.3.0", None)])
def test_versions_that_are_known_to_hurt_are_warned_of_by_name(fake: Fake, version: str, said: str | None) -> None:
    fake.does(version=version)

    warnings = fake.tracker().warnings()

    assert [said in each and each.startswith(f"bd {version}") for each in warnings] == [True] * bool(said)


def test_what_it_is_run_with_keeps_it_quiet_and_at_the_right_database(fake: Fake) -> None:
    fake.does(f"env > {fake.here}/env; pwd > {fake.here}/pwd")

    fake.tracker().tasks()

    env = dict(line.split("=", 1) for line in (fake.here / "env").read_text().splitlines())
    assert env["BEADS_DIR"] == str(fake.main / ".beads")
    assert (env["BEADS_NO_DAEMON"], env["BD_ACTOR"]) == ("1", "reconcile@test")
    assert "CLAUDE_SESSION_ID" not in env
    assert Path((fake.here / "pwd").read_text().strip()) == fake.main.resolve()


@pytest.mark.parametrize(
    ("version", "session", "name"),
    [("1.0.5", "", "reconcile"), ("1.0.5", "work/x-1/1", "reconcile@test"), ("1.3.0", "", "reconcile@test")],
)
def test_where_only_names_tell_who_closed_a_task_we_close_it_in_another_than_agents_do(
    fake: Fake, version: str, session: str, name: str
) -> None:
    fake.does(f"test $first = close && echo $BD_ACTOR > {fake.here}/actor", version=version)

    fake.tracker().write([change(status="closed", closed_by_session=session)])

    assert (fake.here / "actor").read_text().strip() == name


def test_a_close_that_got_lost_is_written_again_with_why_and_by_whom(fake: Fake) -> None:
    fake.does()

    fake.tracker().write([change(status="closed", close_reason="merged #1", closed_by_session="work/x-1/1")])

    tries = fake.calls("close")
    assert len(tries) == 3 and set(tries) == {"close x-1 --reason=merged #1 --session=work/x-1/1 --json"}


def test_a_login_in_what_it_complains_of_is_never_repeated(fake: Fake) -> None:
    fake.does('echo "Error: dial root:hunter2@tcp(db:3307)/beads: unknown host" >&2; exit 1')

    with pytest.raises(TemporaryError) as said:
        fake.tracker().tasks()
    assert "hunter2" not in str(said.value)
    assert "unknown host" in str(said.value)


# --- writing -------------------------------------------------------------------------------------------------

# An `update` that stores nothing and says that all went well.
SAYS_SO = f"""test $first = update && {{ echo '{json.dumps([record()])}'; exit; }}"""


def storing(*records: dict[str, object]) -> str:
    """Shell that makes these the store."""
    return f"printf %s '{json.dumps(list(records))}' > $store"


def test_a_write_that_got_lost_is_written_again(fake: Fake) -> None:
    kept = record(labels=["l"])
    fake.does(f"test $first = update && {{ once lost || {storing(kept)}; echo '[{json.dumps(record())}]'; exit; }}")

    assert fake.tracker().write(labelled("x-1")) == [None]
    assert len(fake.calls("update")) == 2


def test_a_write_that_gets_lost_again_and_again_is_said(fake: Fake) -> None:
    fake.does(SAYS_SO)

    (answer,) = fake.tracker().write(labelled("x-1"))

    assert isinstance(answer, TemporaryError)
    assert "not written: labels" in str(answer)


def test_a_claim_that_somebody_else_won_is_to_be_looked_at_again(fake: Fake) -> None:
    theirs = record(status="in_progress", assignee="them")
    fake.does(f"test $first = update && {{ {storing(theirs)}; echo 'already claimed by them' >&2; exit 0; }}")

    (answer,) = fake.tracker().write([change(expect_status=frozenset({"open"}), status="in_progress", assignee="us")])

    assert isinstance(answer, ChangedError)


def test_a_guard_that_did_not_hold_is_to_be_looked_at_again(fake: Fake) -> None:
    fake.does("test $first = update && exit 13", version="1.3.0")

    (answer,) = fake.tracker().write([change(expect_status=frozenset({"open"}), assignee="us")])

    assert isinstance(answer, ChangedError)
    assert "--if-status=open --if-assignee=" in fake.calls("update")[0]


MEANWHILE = {
    "notes": {"notes": "theirs"},
    "description": {"description": "theirs"},
    "title": {"title": "theirs"},
    "acceptance": {"acceptance_criteria": "theirs"},
    "priority": {"priority": 4},
    "a label more": {"labels": ["mine", "person", "phase:pr_created"]},
    "a label less": {"labels": ["phase:pr_created"]},
    "a dependency": {"dependencies": [{"issue_id": "x-1", "depends_on_id": "x-2", "type": "blocks"}]},
}


@pytest.mark.parametrize("kind", MEANWHILE)
def test_what_others_write_while_we_write_stays(fake: Fake, kind: str) -> None:
    fake.holds(record(labels=["mine"]), record("x-2"))
    ours = record(labels=["mine", "phase:pr_created"])
    now = ours | MEANWHILE[kind]
    fake.does(f"test $first = update && {{ {storing(now, record('x-2'))}; echo '{json.dumps([now])}'; exit; }}")

    answers = fake.tracker().write([change(add_labels=frozenset({"phase:pr_created"}))])

    assert answers == [None]
    assert len(fake.calls("update")) == 1 and fake.calls("dep") == []


def test_what_got_lost_is_written_over_what_others_wrote_meanwhile(fake: Fake) -> None:
    theirs, both = record(notes="theirs"), record(notes="theirs\nours")
    fake.does(
        f"test $first = update && {{ if once lost; then {storing(theirs)}; else {storing(both)}; fi; echo '[{json.dumps(record())}]'; exit; }}"
    )

    assert fake.tracker().write([change(note="ours")]) == [None]

    assert "--append-notes=ours" in fake.calls("update")[1]


def test_the_same_field_that_somebody_else_wrote_meanwhile_is_to_be_looked_at_again(fake: Fake) -> None:
    theirs = record(title="theirs")
    fake.does(f"test $first = update && {{ {storing(theirs)}; echo '{json.dumps([theirs])}'; exit; }}")

    (answer,) = fake.tracker().write([change(title="ours")])

    assert isinstance(answer, ChangedError)


def test_a_task_that_is_deleted_while_we_write_is_not_made_again(fake: Fake) -> None:
    fake.holds(record(), record("x-2"))
    fake.does(f"test $first = update && {{ {storing(record('x-2'))}; echo '[]'; exit; }}")

    (answer,) = fake.tracker().write([change(add_labels=frozenset({"l"}))])

    assert isinstance(answer, ChangedError)
    assert fake.calls("create") == []


@pytest.mark.parametrize(("version", "option"), [("1.0.5", "--claim"), ("1.3.0", "--status=")])
def test_a_claim_is_one_where_there_are_no_guards(fake: Fake, version: str, option: str) -> None:
    fake.does(SAYS_SO, version=version)
    nobodys = {"expect_status": frozenset({"open"}), "expect_assignee": frozenset({""})}

    fake.tracker().write([change(**nobodys, status="in_progress", assignee="reconcile@test")])

    assert option in fake.calls("update")[0]
    assert ("--claim" in fake.calls("update")[0]) == (option == "--claim")


def test_a_task_that_has_our_name_already_is_not_claimed_again(fake: Fake) -> None:
    fake.holds(record(assignee="reconcile@test"))
    kept = record(assignee="reconcile@test", status="in_progress")
    refused = "case $* in *--claim*) echo 'Error claiming x-1: already claimed by reconcile@test' >&2; exit;; esac"
    fake.does(f"test $first = update && {{ {refused}; {storing(kept)}; echo '{json.dumps([kept])}'; exit; }}")
    free = {"expect_status": frozenset({"open"}), "expect_assignee": frozenset({"", "reconcile@test"})}

    assert fake.tracker().write([change(**free, status="in_progress", assignee="reconcile@test")]) == [None]


def test_tasks_that_change_alike_share_one_command(fake: Fake) -> None:
    fake.holds(record("x-1"), record("x-2"), record("x-3"))
    after = [record(id, labels=["l"]) for id in ("x-1", "x-2", "x-3")]
    fake.does(f"test $first = update && {{ {storing(*after)}; echo '{json.dumps(after)}'; exit; }}")

    assert fake.tracker().write(labelled("x-1", "x-2", "x-3")) == [None] * 3
    assert [call.split()[1:4] for call in fake.calls("update")] == [["x-1", "x-2", "x-3"]]


def test_one_task_that_is_refused_in_company_stops_no_other(fake: Fake) -> None:
    fake.holds(record("x-1"), record("x-2"))
    stored = [record("x-1"), record("x-2", labels=["l"])]
    fake.does(
        f"""case "$*" in
        "update x-1 x-2 "*|"update x-1 "*) echo '{{"error": "x-1 is not for you"}}'; exit 1;;
        "update x-2 "*) {storing(*stored)}; echo '{json.dumps(stored[1:])}'; exit;;
        esac"""
    )

    refused, done = fake.tracker().write(labelled("x-1", "x-2"))

    assert "not for you" in str(refused)
    assert done is None


def test_nothing_is_closed_as_merged_unless_the_close_was_taken(fake: Fake) -> None:
    fake.does('test $first = close && { echo "cannot close x-1: blocked by open issues [x-2]" >&2; exit 0; }')

    (answer,) = fake.tracker().write([change(status="closed", add_labels=frozenset({"phase:merged"}))])

    assert isinstance(answer, PermanentError)
    assert fake.calls("update") == []


def test_a_write_that_hangs_is_looked_up_before_anything_is_said(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "WRITE_S", 0.5)
    fake.does(f"test $first = update && {{ {storing(record(labels=['l']))}; sleep 600; }}")

    assert fake.tracker().write(labelled("x-1")) == [None]
    assert len(fake.calls("update")) == 1


def test_a_write_that_hangs_is_given_time_to_end_in_order_and_is_not_done_again_where_it_did(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "WRITE_S", 0.5)
    ending = f"sleep 0.5; {storing(record(status='blocked'))}; touch {fake.here}/ended; exit 1"
    fake.does(f"test $first = update && {{ end() {{ {ending}; }}; trap end TERM; while :; do sleep 0.05; done; }}")

    assert fake.tracker().write([change(status="blocked")]) == [None]
    assert (fake.here / "ended").exists() and len(fake.calls("update")) == 1


def test_a_write_that_hangs_and_never_ends_is_tried_again_and_told(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "WRITE_S", 0.3)
    monkeypatch.setattr(program, "WRITE_GRACE_S", 0.2)
    fake.does("test $first = update && { trap '' TERM; while :; do sleep 0.05; done; }")

    (answer,) = fake.tracker().write([change(status="blocked")])

    assert isinstance(answer, TemporaryError) and "did not end within" in str(answer)
    assert len(fake.calls("update")) == 3


def test_a_text_that_is_too_long_for_an_argument_is_refused_before_anything_runs(fake: Fake) -> None:
    (answer,) = fake.tracker().write([change(description="x" * 130_000)])

    assert isinstance(answer, PermanentError)
    assert fake.calls("update") == []


# --- what it prints ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '[{"id": "x-1"}]',
        '{"id": "x-1", "schema_version": 1}',
        '{"schema_version": 1, "data": [{"id": "x-1"}]}',
        '{"schema_version": 1, "items": [{"id": "x-1"}]}',
        '{"issues": [{"id": "x-1"}], "meta": {}}',
        '{"closed": [{"id": "x-1"}], "unblocked": []}',
        '\ufeffLoading…\n[{"id": "x-1"}]\nDone.',
        '[{"_schema": "beads"}, {"_type": "memory", "id": "m"}, {"id": "x-1"}]',
    ],
)
def test_every_shape_of_an_answer_is_read(text: str) -> None:
    assert [found["id"] for found in decoding.records(text.encode())] == ["x-1"]


@pytest.mark.parametrize("text", ["", "x-1", "[", '{"error": "no"}', "3", "NaN"])
def test_what_is_no_list_of_tasks_is_not_taken_for_one(text: str) -> None:
    with pytest.raises(decoding.Unreadable):
        decoding.records(text.encode())


# --- which commands ------------------------------------------------------------------------------------------


def task(id: str = "x-1", **fields: object) -> Task:
    at = {"created_at": _AT, "updated_at": _AT}
    return Task(id=TaskId(id), title=id, **at, **fields)  # type: ignore[arg-type]


def newest(what: Can) -> bool:
    return can((9, 0, 0), what)


def spelled(*steps: Step) -> list[str]:
    return [" ".join(command.argv) for command in commands(steps, newest)]


def test_one_transition_is_one_command() -> None:
    before = task(labels=frozenset({"phase:spawned"}))
    after = task(status="in_progress", assignee="us", labels=frozenset({"phase:working"}), notes="n")

    (only,) = commands([Step(now=before, wanted=after)], newest)

    assert {"--status=in_progress", "--assignee=us", "--notes=n", "--add-label=phase:working"} < set(only.options)
    assert "--remove-label=phase:spawned" in only.options


def test_a_close_comes_before_the_labels_that_go_with_it() -> None:
    done = task(status="closed", close_reason="merged in #1", labels=frozenset({"phase:merged"}))

    close, update = spelled(Step(now=task(), wanted=done))

    assert close.startswith("close x-1 --reason=merged in #1")
    assert update.startswith("update x-1 --add-label=phase:merged")


@pytest.mark.parametrize("labels", [frozenset(), frozenset({"phase:merged"})], ids=["by hand", "landed"])
def test_only_what_has_landed_is_closed_by_force(labels: frozenset[str]) -> None:
    (close, *_) = spelled(Step(now=task(), wanted=task(status="closed", labels=labels)))

    assert ("--force" in close) is bool(labels)


def test_a_task_is_made_after_what_it_names() -> None:
    steps = [
        Step(now=None, wanted=task("x-1", parents=("x-e",), blockers=("x-2",))),
        Step(now=None, wanted=task("x-2", parents=("x-e",))),
        Step(now=None, wanted=task("x-e", type="epic")),
    ]

    assert [command.tasks for command in commands(steps, newest)] == [("x-e",), ("x-2",), ("x-1",)]


def test_tasks_that_name_each_other_in_a_ring_are_all_tried() -> None:
    steps = [Step(now=None, wanted=task(a, blockers=(TaskId(b),))) for a, b in (("x-1", "x-2"), ("x-2", "x-1"))]

    assert {command.tasks for command in commands(steps, newest)} == {("x-1",), ("x-2",)}


def test_no_command_is_ever_without_a_task() -> None:
    # `bd update --json` would change whichever task was touched last.
    steps = [Step(now=task(), wanted=task()), Step(now=task("x-2"), wanted=task("x-2", priority=0))]

    assert [command.tasks for command in commands(steps, newest)] == [("x-2",)]


def test_a_label_with_a_comma_stays_one_label() -> None:
    (update,) = commands([Step(now=task(), wanted=task(labels=frozenset({'a,"b'})))], newest)

    assert update.options == ('--add-label="a,""b"',)


def test_text_that_looks_like_an_option_is_only_text() -> None:
    (create,) = commands([Step(now=None, wanted=task(description="--force", acceptance="-x"))], newest)

    assert "--description=--force" in create.options
    assert create.argv[0] == "create"


def test_no_task_takes_over_the_labels_of_its_epic() -> None:
    (create,) = commands([Step(now=None, wanted=task(parents=(TaskId("x-e"),)))], newest)

    assert "--no-inherit-labels" in create.options


def test_notes_are_added_to_where_that_is_safe_and_replaced_where_it_is_not() -> None:
    step = Step(now=task(notes="one"), wanted=task(notes="one\ntwo"))

    assert commands([step], newest)[0].options == ("--append-notes=two",)
    assert commands([step], lambda what: can((0, 49, 6), what))[0].options == ("--notes=one\ntwo",)


def test_a_task_is_made_with_all_that_it_waits_for(fake: Fake) -> None:
    # Else it could be started before it is known that it has to wait.
    fake.holds(record("x-1"))

    (answer,) = fake.tracker().write([change("x-2", create=NewTask(title="t", blockers=(TaskId("x-404"),)))])

    assert isinstance(answer, PermanentError)
    assert fake.calls("create") == []


NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fields", "renewed"),
    [
        ({"lease_expires_at": "2026-01-01T12:01:00Z"}, True),
        ({"lease_expires_at": "2026-01-01T11:00:00Z"}, True),
        ({"lease_expires_at": "2026-01-01T12:04:00Z"}, False),
        ({"lease_expires_at": "2026-01-01T12:01:00Z", "assignee": "bob"}, False),
        ({"lease_expires_at": "2026-01-01T12:01:00Z", "status": "blocked"}, False),
        ({}, False),
    ],
)
def test_only_a_lease_of_ours_that_would_run_out_is_renewed_and_not_before_it_would_again(
    fake: Fake, fields: dict[str, str], renewed: bool
) -> None:
    fake.holds(record(**{"status": "in_progress", "assignee": "reconcile@test", **fields}))
    fake.does(version="1.3.0")
    tracker = fake.tracker()
    tracker.tasks()

    for seconds in (0, 30, 60):
        tracker.renew(NOW + timedelta(seconds=seconds))
    assert fake.calls("heartbeat") == (["heartbeat x-1"] if renewed else [])
    tracker.renew(NOW + timedelta(seconds=200))
    assert len(fake.calls("heartbeat")) == 2 * renewed + (fields.get("lease_expires_at") == "2026-01-01T12:04:00Z")


# --- beside other people, with the real program ---------------------------------------------------------------

REAL = [pytest.param("bd-sqlite"), pytest.param("bd", marks=pytest.mark.slow)]


def meanwhile(base: Database, folder: Path, *commands: str) -> BeadsTracker:
    """A tracker, and somebody who runs these just before its first update."""
    (folder / "bin").mkdir()
    real = shutil.which("bd", path=base.env["PATH"])
    path = folder / "bin" / "bd"
    theirs = "\n".join(f"    {real} --actor=bob {command} >> {folder}/theirs 2>&1" for command in commands)
    path.write_text(
        f'#!/bin/sh\nif [ "$1" = update ] && mkdir {folder}/once 2>/dev/null; then\n{theirs}\nfi\nexec {real} "$@"\n'
    )
    path.chmod(0o755)
    return base.tracker({**base.env, "PATH": f"{folder}/bin:{base.env['PATH']}"})


@pytest.mark.parametrize("name", REAL)
def test_what_a_person_writes_with_bd_while_we_write_stays(name: str, tmp_path: Path) -> None:
    base = database(tmp_path / "project", name)
    kinds = ("notes", "description", "title", "acceptance", "priority", "more", "less", "dep", "free")
    ids = {kind: base.make(kind, "--labels=mine", "--priority=1") for kind in (*kinds, "other")}
    base.bd("dep", "add", ids["free"], ids["other"])
    texts = [f"update {ids[kind]} --{kind}=theirs" for kind in ("notes", "description", "title", "acceptance")]
    others = (
        f"update {ids['priority']} --priority=4",
        f"update {ids['more']} --add-label=person",
        f"update {ids['less']} --remove-label=mine",
        f"dep add {ids['dep']} {ids['other']}",
        f"dep remove {ids['free']} {ids['other']}",
    )
    tracker = meanwhile(base, tmp_path, *texts, *others)

    label = frozenset({"phase:pr_created"})
    answers = tracker.write([Change(task=TaskId(ids[kind]), add_labels=label) for kind in kinds])

    found = {kind: tracker.tasks()[TaskId(id)] for kind, id in ids.items()}
    assert answers == [None] * len(kinds)
    assert all(label <= found[kind].labels for kind in kinds)
    assert {getattr(found[kind], kind) for kind in ("notes", "description", "title", "acceptance")} == {"theirs"}
    assert (found["priority"].priority, found["dep"].blockers, found["free"].blockers) == (
        4,
        (TaskId(ids["other"]),),
        (),
    )
    assert "person" in found["more"].labels
    assert "mine" not in found["less"].labels


@pytest.mark.parametrize("name", REAL)
def test_what_somebody_else_claims_while_we_claim_is_theirs(name: str, tmp_path: Path) -> None:
    base = database(tmp_path / "project", name)
    theirs, ours = TaskId(base.make("theirs")), TaskId(base.make("ours"))
    tracker = meanwhile(base, tmp_path, f"update {theirs} --claim")

    nobodys = {"expect_status": frozenset({"open"}), "expect_assignee": frozenset({"", "reconcile@test"})}
    claims = [Change(task=id, status="in_progress", assignee="reconcile@test", **nobodys) for id in (theirs, ours)]
    refused, claimed = tracker.write(claims)

    assert isinstance(refused, ChangedError)
    assert claimed is None
    assert (tracker.tasks()[theirs].assignee, tracker.tasks()[ours].assignee) == ("bob", "reconcile@test")


@pytest.mark.parametrize(
    "name", [REAL[0], *(pytest.param(n, marks=pytest.mark.slow) for n in ("bd-0.63", "bd-1.0", "bd"))]
)
def test_what_blocks_a_parent_blocks_below_it_as_the_real_one_says_and_not_by_dots_alone(
    name: str, tmp_path: Path
) -> None:
    base = database(tmp_path / "project", name)

    def made(id: str = "", parent: str = "") -> str:
        how = (f"--id={id}", "--force") if id else (f"--parent={parent}",)
        return str(json.loads(base.bd("create", "Do it", "--description=d", *how, "--json"))["id"])

    blocker, top, beside, inner = base.make("Blocker"), made("x-1"), made("x-2"), made("x-3")
    child, dotted = made(parent=top), made("x-1.9")
    lowest, below_dotted = made(parent=made(parent=child)), made(parent=dotted)
    named = [made("x-1.9.4"), made("x-2.1"), made("x-3.1"), made("x-3.1.7")]
    for task in (top, beside, inner, "x-3.1"):
        base.bd("dep", "add", task, blocker)

    tasks, theirs = base.tracker().tasks(), json.loads(base.bd("ready", "--json", "--limit", "0"))
    index = graph.Index(tasks, datetime.now(UTC))
    ours = {task.id for task in graph.ready(tasks, datetime.now(UTC))}
    # What has children is never work here; and 0.63 hands a block down to grandchildren only.
    work = {str(each["id"]) for each in theirs if not index.is_epic(each["id"])} - {lowest if name == "bd-0.63" else ""}

    assert ours == work
    assert {blocker, below_dotted, "x-1.9.4", "x-2.1", "x-3.1.7"} == ours
    assert not {lowest, child, "x-3.1"} & ours and set(named) <= tasks.keys()


@pytest.mark.parametrize("redirected", [False, True])
@pytest.mark.parametrize(
    "name", [REAL[0], *(pytest.param(n, marks=pytest.mark.slow) for n in ("bd-0.63", "bd-1.0", "bd"))]
)
def test_what_is_deferred_until_a_date_is_not_ready_before_it_as_the_real_one_says(
    name: str, redirected: bool, tmp_path: Path
) -> None:
    base = database(tmp_path / "project", name)
    free, later, past, closed = (base.make(title) for title in ("free", "later", "past", "closed"))
    for task, date in ((later, "2100-01-01"), (past, "2020-01-01"), (closed, "2100-01-01")):
        base.bd("update", task, f"--defer={date}")
    base.bd("update", past, "--status=open")  # from 1.3 on a date sets another status
    base.bd("close", closed)
    if redirected:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        base.beads.rename(elsewhere / ".beads")
        base.beads.mkdir()
        (base.beads / "redirect").write_text(str(elsewhere / ".beads"))

    tasks, theirs = base.tracker().tasks(), json.loads(base.bd("ready", "--json", "--limit", "0"))

    ours = {task.id for task in graph.ready(tasks, datetime.now(UTC))}
    assert ours == {str(each["id"]) for each in theirs} == {free, past}
    assert tasks[later].defer_until == datetime(2100, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("name", [pytest.param("bd", marks=pytest.mark.slow)])
def test_what_we_have_claimed_holds_no_lease_that_could_run_out_and_is_reclaimed_by_nobody(
    name: str, tmp_path: Path
) -> None:
    base = database(tmp_path / "project", name)
    new, left = base.make("new"), base.make("left")
    base.bd("--actor=bob", "update", left, "--claim")
    base.bd("--actor=bob", "update", left, "--status=open", "--assignee=")
    nobodys = {"expect_status": frozenset({"open"}), "expect_assignee": frozenset({"", "reconcile@test"})}

    claims = [Change(task=TaskId(id), status="in_progress", assignee="reconcile@test", **nobodys) for id in (new, left)]
    assert base.tracker().write(claims) == [None, None]
    base.bd("--actor=reconcile@test", "update", new, "--claim")  # as Beads tells agents to

    assert [base.show(id).get("lease_expires_at") for id in (new, left)] == [None, None]
    base.bd("--actor=reconcile@test", "heartbeat", left)  # from then on it has one
    tracker, before = base.tracker(), base.show(left)["lease_expires_at"]
    tracker.tasks()
    until(lambda: datetime.now(UTC) > datetime.fromisoformat(before) - timedelta(minutes=5, seconds=-2))
    tracker.renew(datetime.now(UTC) + timedelta(minutes=4))
    assert base.show(left)["lease_expires_at"] > before
    assert json.loads(base.bd("reclaim", "--older-than", "0s", "--json"))["count"] == 0
    assert {base.show(id)["assignee"] for id in (new, left)} == {"reconcile@test"}
