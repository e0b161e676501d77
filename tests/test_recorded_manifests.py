"""What was applied, on disk: complete, whole after any kill, and never mistaken for nothing when it is damaged."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.manifest import Located, Recorded, load, max_agents, record, record_files, recorded, scalars, yaml_text
from reconciler.model.agent_kinds import AgentKind
from reconciler.model.agent_spec import AgentSpec, Override
from reconciler.model.checks import Check
from reconciler.model.desired import (
    Budget,
    Comments,
    EpicSpec,
    ForgeKind,
    InlineTask,
    LandingMode,
    MergeMethod,
    MergeMode,
    MergePolicy,
    NoChecks,
    OnConflict,
    Prune,
    SquashMessage,
    TrackerKind,
    WorktreeSpec,
)
from reconciler.model.errors import TemporaryError, UsageError
from reconciler.model.names import TaskId
from reconciler.model.notify import Notify, Telling
from reconciler.model.review_by_risk import Review, ReviewByRisk
from reconciler.model.values import replace
from reconciler.model.venue import Venue, VenueKind

ROOT = Path(__file__).parent.parent
SMALL = EpicSpec(name="x", repository="/srv/shop", worktrees=WorktreeSpec(root="/srv/worktrees"), max_agents=3)
TASK = InlineTask(key="parser", title="Write the parser", labels=("a", "b"), depends_on=("lexer",))
FULL = EpicSpec(
    name="x",
    epic=TaskId("bd-17"),
    tasks=(TASK, InlineTask(key="docs", title="no", description="a\n\n  b\n", acceptance="1e3", priority=0)),
    repository="/srv/shop",
    base="012",
    suspend=True,
    max_agents=0,
    tracker=TrackerKind.JSONL,
    forge=ForgeKind.GITHUB,
    stack=True,
    agent=AgentSpec(
        kind=AgentKind.CLAUDE,
        argv=("sh", "-c", "y"),
        model="opus",
        overrides=(
            Override(labels=("ui", "no"), model="1e3"),
            Override(labels=("gpu",), runner=("--gres=gpu:1",)),
            Override(
                labels=("big",), runner=Venue(kind=VenueKind.SSH, remote="/srv/r.git", scratch="/s", hosts=("h1",))
            ),
            Override(labels=("near",), runner=Venue()),
        ),
        prompt="/srv/shop/p.md",
        env={"no": "2001-01-01"},
        pass_env=("A_TOKEN",),
        timeout_s=90,
        stuck_after_s=0,
        max_attempts=9,
        backoff_initial_s=1,
        backoff_max_s=5400,
        opens_pull_request=True,
        memory=2 << 30,
        disk=0,
        runner=Venue(kind=VenueKind.SLURM, remote="/srv/r.git", scratch="/s", options=("--mem=4G",)),
    ),
    reviewer=AgentSpec(kind=AgentKind.CLAUDE, model="large"),
    worktrees=WorktreeSpec(root="/srv/trees", copy=(".env",), setup=("npm ci",), sparse=("src",)),
    runner=Venue(
        kind=VenueKind.SSH,
        remote="ssh://ctl/srv/app.git",
        scratch="/scratch/r",
        sync_s=60,
        lease_s=600,
        options=("-F/etc/ssh/agents",),
        hosts=("build1", "build2"),
        per_host=2,
    ),
    merge=MergePolicy(
        mode=MergeMode.MANUAL,
        method=MergeMethod.REBASE,
        landing=LandingMode.FORGE,
        message=SquashMessage.TASK,
        comments=Comments.WAIT,
        review_bots=("a-bot",),
        checks=(Check("just check"), Check("just e2e", timeout_s=600, retries=1, paths=("web/**",))),
        required_checks=("build",),
        timeout_s=60,
        runner=Venue(kind=VenueKind.SLURM, remote="/srv/r.git", scratch="/scratch/r", options=("--partition=checks",)),
        no_checks=NoChecks.BLOCK,
        protected_paths=(),
        review=ReviewByRisk.always(Review.HUMAN),
        review_rounds=1,
        risk_high=("src/pay/**",),
        risk_low=("docs/**",),
        push=True,
        parallel=2,
        retries=0,
        every_commit=True,
        scopes=(("core", ("src/**", "lib/**")), ("web", ("web/**",))),
        staging=True,
        on_conflict=OnConflict.BLOCK,
        delete_branch=False,
    ),
    budget=Budget(usd=25, usd_per_task=0.5, usd_per_run=0.25, tokens=10, warn_at=1),
    prune=Prune(worktrees=False, branches=False, orphans=True),
    notify=(
        Notify(on=(Telling.NEEDS_HUMAN,), run=("notify-send", "{message}")),
        Notify(on=(Telling.DEGRADED,), url="ntfy://${TOPIC}", every_s=600, quiet="22:00-07:00"),
    ),
    source="/srv/shop/x.yaml",
)


@pytest.fixture
def state(tmp_path):
    return tmp_path / "reconcile"


@pytest.fixture
def kept(state):
    return Recorded(state)


def only(kept):
    found = kept.load()
    assert not found.problems
    (spec,) = found.epics
    return spec


# --- what is kept --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [SMALL, FULL])
def test_what_is_recorded_is_read_back_the_same(kept, spec):
    before = datetime.now(UTC)

    made = kept.record(spec)

    assert only(kept) == made == replace(spec, generation=1, recorded_at=made.recorded_at)
    assert before <= made.recorded_at <= datetime.now(UTC)


def test_the_full_example_above_differs_from_every_default():
    def same(one, other):
        return {name for name in one.__struct_fields__ if getattr(one, name) == getattr(other, name)}

    assert same(FULL, EpicSpec(name="z")) == {
        "generation",
        "recorded_at",
        "invalid",
        "withheld",
        "applied",
        "unfrozen_at",
        "also",
        "surroundings",
    }
    assert not same(FULL.agent, AgentSpec())
    assert not same(FULL.budget, Budget())
    assert not same(FULL.worktrees, WorktreeSpec())
    assert not same(FULL.merge, MergePolicy())
    assert not same(FULL.prune, Prune())
    assert not same(FULL.notify[1], Notify(on=())) - {"run"}


def test_a_manifest_that_an_older_version_recorded_means_what_it_meant(kept, state):
    kept.record(SMALL)
    path = state / "manifests" / "x.yaml"
    old = yaml.safe_load(path.read_text())
    del old["spec"]["agent"]["opensPullRequest"], old["spec"]["mergePolicy"]["requiredChecks"]
    path.write_text(yaml.safe_dump(old))

    assert (only(kept).agent, only(kept).merge) == (SMALL.agent, SMALL.merge)


def test_the_file_is_a_manifest_that_people_can_read(kept, state):
    kept.record(FULL)

    said = yaml.safe_load((state / "manifests" / "x.yaml").read_text())

    assert list(said) == ["generation", "recordedAt", "source", "spec"]
    assert (said["generation"], said["source"]) == (1, "/srv/shop/x.yaml")
    assert (said["spec"]["maxAgents"], said["spec"]["agent"]["timeout"]) == (0, "90s")
    assert (said["spec"]["base"], said["spec"]["mergePolicy"]["queue"]) == (
        "012",
        {
            "parallel": 2,
            "retries": 0,
            "everyCommit": True,
            "scopes": {"core": ["src/**", "lib/**"], "web": ["web/**"]},
            "staging": True,
        },
    )


def test_what_is_recorded_can_be_applied_again_once_its_empty_fields_are_left_out(kept, state, tmp_path):
    agent = replace(FULL.agent, prompt=None, argv=(), opens_pull_request=False)
    alone = WorktreeSpec(root="/srv/trees", setup=("npm ci",))
    made = kept.record(replace(FULL, agent=agent, worktrees=alone, stack=False))
    spec = yaml.safe_load((state / "manifests" / "x.yaml").read_text())["spec"]
    for agent in (spec["agent"], spec["reviewer"]):
        del agent["prompt"]
    del spec["reviewer"]["runner"]
    document = {"apiVersion": "reconcile/v1", "kind": "Epic", "metadata": {"name": "x"}, "spec": spec}

    # Double quotes for every text: plain YAML writers leave some words bare that mean two things.
    text = json.dumps(document)
    (again,) = load(["-"], stdin=text, cwd=tmp_path, locate=lambda path: Located(main=path))

    told = replace(made.tasks[1], description=made.tasks[1].description.rstrip())
    assert again == replace(made, generation=1, recorded_at=again.recorded_at, source="", tasks=(made.tasks[0], told))


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\t \"':#-|>%!&*"), max_size=40)
LINES = TEXT.filter(lambda text: not scalars.unwanted(text))


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(LINES, LINES, LINES)
def test_every_text_comes_back_as_it_was(one, two, three):
    task = replace(TASK, title=one, description=two, labels=(three,))
    spec = replace(FULL, tasks=(task,), agent=replace(FULL.agent, argv=(one, two), env={three: one}), base=three)

    assert record.spec("x", record.text(spec).encode()) == spec


def test_nobody_else_can_read_or_change_it(kept, state):
    kept.record(SMALL)
    kept.applied("x", [TASK])
    kept.write_status("x", {"observedGeneration": 1, "conditions": []})

    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (state, *state.rglob("*"))}

    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
    assert {path.name for path in modes if path.is_file()} == {"x.yaml", "x.applied.json", "x.json", "manifests"}


# --- generations ---------------------------------------------------------------------------------------------


def test_the_generation_goes_up_only_when_the_manifest_says_something_new(kept):
    first = kept.record(SMALL)
    same = kept.record(SMALL)
    moved = kept.record(replace(SMALL, source="/elsewhere.yaml"))
    changed = kept.record(replace(SMALL, max_agents=1, source="/elsewhere.yaml"))

    assert same == first
    assert moved == replace(first, source="/elsewhere.yaml")
    assert changed.generation == 2
    assert changed.recorded_at > first.recorded_at
    assert only(kept) == changed


def test_recording_the_same_again_writes_nothing(kept, state):
    kept.record(SMALL)
    before = (state / "manifests" / "x.yaml").stat()

    kept.record(SMALL)

    after = (state / "manifests" / "x.yaml").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_looking_at_what_would_be_recorded_writes_nothing(kept, state):
    assert kept.beside(SMALL).generation == 1
    assert not state.exists()

    kept.record(SMALL)
    kept.applied("x", [TASK])

    shown = kept.beside(replace(SMALL, base="other"))
    assert (shown.generation, shown.base, shown.applied) == (2, "other", {"parser": TASK})
    assert only(kept).base == "main"


def test_manifests_come_by_name(kept):
    for name in ("b", "c", "a"):
        kept.record(replace(SMALL, name=name))

    assert [spec.name for spec in kept.load().epics] == ["a", "b", "c"]


def test_nothing_recorded_is_nothing(kept):
    assert kept.load() == recorded.RecordedManifests()


# --- damage --------------------------------------------------------------------------------------------------


class AsBefore(yaml.SafeDumper):
    """How a version before this one wrote a record."""


def _represented(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else None if isinstance(scalars.plain(text), str) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


AsBefore.add_representer(str, _represented)


def as_yaml(path: Path) -> str:
    """A record as an earlier version wrote it, or a person does."""
    return yaml.dump(json.loads(path.read_text()), Dumper=AsBefore, sort_keys=False, allow_unicode=True)


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ('"maxAgents": 0', '"maxAgents": "many"', "maxAgents: 'many' does not belong here"),
        ('"maxAgents": 0', '"maxAgents": 0,\n    "maxAgents": 9', "maxAgents"),
        ('"maxAgents": 0', '"maxAgents": NaN', "maxAgents"),
        ('"generation": 1', '"generation": 1, "more": 1', "more"),
        ('"generation": 1,', '"generation": 1', "x.yaml"),
    ],
)
def test_a_damaged_record_is_a_problem_in_the_form_of_today_too(kept, state, was, now, said):
    kept.record(FULL)
    path = state / "manifests" / "x.yaml"
    assert was in path.read_text()
    path.write_text(path.read_text().replace(was, now, 1))

    assert said in kept.load().problems["x"]


@pytest.mark.parametrize("spec", [SMALL, FULL])
def test_a_version_before_this_one_reads_what_is_recorded(kept, state, spec):
    """It took every record for YAML, and may be running."""
    made = kept.record(spec)
    path = state / "manifests" / "x.yaml"
    now = path.read_bytes()
    limits = yaml_text.Limits(bytes=64 * 1024 * 1024, nodes=5_000_000, empty=True)

    (document,) = yaml_text.documents("x.yaml", now, limits).documents
    path.write_text(as_yaml(path))

    assert document.data == json.loads(now)
    assert only(kept) == made


def test_a_record_that_was_cut_off_is_never_taken_for_the_whole(kept, state):
    kept.record(FULL)
    path = state / "manifests" / "x.yaml"
    lines = path.read_text().splitlines(keepends=True)

    for n in range(len(lines)):
        path.write_text("".join(lines[:n]))
        assert "x" in kept.load().problems, lines[n - 1]


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ("maxAgents: 0", "maxAgents: many", "maxAgents: 'many' does not belong here"),
        ("maxAgents: 0", "maxAgents: -1", "maxAgents"),
        ("maxAgents: 0", "maxAgents: true", "maxAgents"),
        ("suspend: true", "suspend: 1", "suspend"),
        ("suspend: true", "suspended: true", "suspended is unknown"),
        ("    mode: manual\n", "", "mergePolicy: mode is missing"),
        ("method: rebase", "method: octopus", "mergePolicy: method"),
        ("root: /srv/trees", "root: trees", "worktrees: root"),
        ("epic: bd-17", "epic: --force", "epic"),
        ("generation: 1", "generation: 0", "generation"),
        ("generation: 1", "generation: 1\nmore: 1", "more"),
        ("spec:", "speck:", "lacks"),
        ("timeout: 90s", "timeout: soon", "agent: timeout"),
        ("recordedAt:", "recordedAt: today #", "recordedAt"),
        ("recordedAt:", "recordedAt: '2026-01-01T12:00:00' #", "no time zone"),
    ],
)
def test_a_damaged_manifest_is_a_problem_and_not_the_lack_of_one(kept, state, was, now, said):
    kept.record(FULL)
    kept.record(replace(SMALL, name="y"))
    path = state / "manifests" / "x.yaml"
    text = as_yaml(path)
    assert was in text
    path.write_text(text.replace(was, now, 1))

    found = kept.load()

    assert [spec.name for spec in found.epics] == ["y"]
    assert said in found.problems["x"]


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\xff", b"[1]", b"a: &a [*a]", b"generation: 1", b"{" * 5000])
def test_a_manifest_of_anything_at_all_is_a_problem(kept, state, content):
    kept.record(SMALL)
    (state / "manifests" / "x.yaml").write_bytes(content)

    assert kept.load().problems.keys() == {"x"}
    with pytest.raises(TemporaryError, match="can't be read"):
        max_agents(state, "x")


def test_a_file_with_a_name_that_no_manifest_has_is_a_problem(kept, state):
    kept.record(SMALL)
    os.rename(state / "manifests" / "x.yaml", state / "manifests" / "X y.yaml")

    assert "not the name of a manifest" in kept.load().problems["X y"]


def test_applying_again_mends_a_damaged_manifest_with_a_generation_that_nobody_has_seen(kept, state):
    kept.record(SMALL)
    kept.record(replace(SMALL, base="other"))
    kept.write_status("x", {"observedGeneration": 2, "conditions": []})
    (state / "manifests" / "x.yaml").write_text("generation: 2\n")

    made = kept.record(SMALL)

    assert made.generation == 3
    assert only(kept) == made


@pytest.mark.parametrize(
    "content", ['{"parser": {', "[]", '{"parser": {"key": "parser"}}', '{"parser": 1}', "[" * 100_000]
)
def test_a_damaged_list_of_written_tasks_holds_nothing_and_undoes_nobodys_edits(kept, state, content):
    kept.record(replace(SMALL, tasks=(TASK,)))
    kept.applied("x", [replace(TASK, title="older")])
    (state / "manifests" / "x.applied.json").write_text(content)

    assert only(kept).applied == {"parser": TASK}

    kept.applied("x", [replace(TASK, key="docs")])
    assert only(kept).applied.keys() == {"parser", "docs"}


def test_a_folder_that_can_not_be_read_is_not_an_empty_one(kept, state):
    state.mkdir()
    (state / "manifests").write_text("a file where the folder should be")

    with pytest.raises(TemporaryError, match="can't be read"):
        kept.load()


# --- written tasks, status, deletion -------------------------------------------------------------------------


def test_tasks_are_remembered_as_they_were_last_written(kept):
    kept.record(SMALL)
    changed = replace(TASK, title="Another title", description="a\nb", priority=0)
    other = InlineTask(key="lexer", title="Write the lexer")

    for task in (TASK, other, changed):
        kept.applied("x", [task])

    assert only(kept).applied == {"parser": changed, "lexer": other}
    assert kept.record(replace(SMALL, base="other")).applied == {"parser": changed, "lexer": other}


def test_a_deleted_manifest_remembers_no_more_tasks(kept, state):
    kept.record(SMALL)
    kept.delete("x")

    kept.applied("x", [TASK])
    kept.write_status("x", {"observedGeneration": 1, "conditions": []})

    assert kept.record(SMALL).applied == {}
    assert not list((state).rglob("x.json"))


def test_status_is_kept_and_losing_it_loses_nothing_else(kept, state):
    kept.record(SMALL)
    conditions = [{"type": "Converged", "status": "False", "reason": "Progressing", "message": "…"}]
    kept.write_status("x", {"observedGeneration": 1, "conditions": conditions})

    assert kept.status("x") == {"observedGeneration": 1, "conditions": conditions}

    (state / "status" / "x.json").write_text("{")
    assert kept.status("x") == {}
    assert only(kept).name == "x"


def test_deleting_forgets_everything_about_that_manifest_alone(kept, state):
    for name in ("x", "y"):
        kept.record(replace(SMALL, name=name))
        kept.applied(name, [TASK])
        kept.write_status(name, {"observedGeneration": 1, "conditions": []})

    kept.delete("x")

    left = {path.name for path in state.rglob("*") if path.is_file()}
    assert left == {"y.yaml", "y.applied.json", "y.json", "manifests"}


@pytest.mark.parametrize("name", ["feature-y", "../x", "", ".", "x.applied"])
def test_only_what_is_recorded_can_be_deleted(kept, name):
    kept.record(replace(SMALL, name="feature-x"))
    kept.applied("feature-x", [TASK])

    with pytest.raises(UsageError, match="applied: feature-x"):
        kept.delete(name)

    assert only(kept).applied


def test_a_damaged_manifest_can_be_deleted(kept, state):
    kept.record(SMALL)
    (state / "manifests" / "x.yaml").write_text("")

    kept.delete("x")

    assert kept.load() == recorded.RecordedManifests()


# --- the bound on agents -------------------------------------------------------------------------------------


def test_the_bound_on_agents_is_what_is_recorded_at_that_moment(kept, state):
    assert max_agents(state, "x") is None
    for most in (4, 0, 1000):
        kept.record(replace(FULL, max_agents=most))
        assert max_agents(state, "x") == most


def test_the_bound_is_found_in_a_record_that_a_person_wrote_anew(kept, state):
    kept.record(replace(FULL, max_agents=7))
    path = state / "manifests" / "x.yaml"
    path.write_text(json.dumps(yaml.safe_load(path.read_text())))

    assert max_agents(state, "x") == 7
    assert only(kept).max_agents == 7


def test_text_that_looks_like_the_bound_is_not_taken_for_it(kept, state):
    task = replace(TASK, description="spec:\n  maxAgents: 900\nmaxAgents: 900")
    kept.record(replace(FULL, tasks=(task,), base="maxAgents", source="/a  maxAgents: 900"))
    assert max_agents(state, "x") == 0

    path = state / "manifests" / "x.yaml"
    path.write_text(as_yaml(path).replace("  maxAgents: 0\n", "") + "  maxAgents: 0\n")
    assert (max_agents(state, "x"), only(kept).max_agents) == (0, 0)


# --- many writers, and kills ---------------------------------------------------------------------------------

WRITER = """
import sys
from reconciler.model.values import replace
from pathlib import Path
from reconciler.model.desired import EpicSpec, InlineTask, WorktreeSpec
from reconciler.manifest import Recorded

kept, who = Recorded(Path(sys.argv[1])), sys.argv[2]
spec = EpicSpec(name="x", repository="/srv", worktrees=WorktreeSpec(root="/srv/trees"))
print("ready", flush=True)
for n in range(int(sys.argv[3])):
    kept.record(replace(spec, base=f"{who}-{n}"))
    kept.applied("x", [InlineTask(key=f"{who}-{n}", title="T")])
"""


def writer(state, who, times):
    return subprocess.Popen([sys.executable, "-c", WRITER, state, who, str(times)], cwd=ROOT, stdout=subprocess.PIPE)


def test_writers_beside_each_other_lose_nothing(kept, state):
    writers = [writer(state, who, 15) for who in ("a", "b")]
    assert [process.wait(30) for process in writers] == [0, 0]
    for process in writers:
        process.stdout.close()

    found = only(kept)
    assert found.generation == 30
    assert found.applied.keys() == {f"{who}-{n}" for who in ("a", "b") for n in range(15)}


def test_a_writer_killed_at_any_moment_leaves_a_whole_record(kept, state):
    kept.record(SMALL)
    for n in range(8):
        with writer(state, f"w{n}", 10_000) as process:
            process.stdout.readline()
            time.sleep(0.02 * n + 0.003)
            process.send_signal(signal.SIGKILL)

        found = only(kept)
        assert kept.record(replace(SMALL, base=f"after-{n}")).generation == found.generation + 1


def test_a_writer_that_stands_still_is_waited_for_and_then_named(kept, state, monkeypatch):
    kept.record(SMALL)
    monkeypatch.setattr(record_files, "WRITER_WAIT_S", 0.01)
    with record_files.RecordFiles(state).writing():
        assert only(kept).name == "x"
        with pytest.raises(TemporaryError, match="somebody else is writing"):
            kept.record(replace(SMALL, base="other"))

    assert kept.record(replace(SMALL, base="other")).generation == 2


def test_a_record_is_never_older_than_it_says(kept):
    made = kept.record(SMALL)

    assert timedelta(0) <= datetime.now(UTC) - made.recorded_at < timedelta(minutes=1)
