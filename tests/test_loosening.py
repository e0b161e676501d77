"""What a file that agents can write to asks for: what allows less is taken at once, what allows more only from a person."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from reconciler.manifest import Recorded, form, load
from reconciler.manifest.located import Located
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
    Loosening,
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
from reconciler.model.names import TaskId
from reconciler.model.notify import Notify, Telling
from reconciler.model.review_by_risk import Review, ReviewByRisk
from reconciler.model.values import replace
from reconciler.model.venue import Venue, VenueKind
from reconciler.planning.command_files import derived
from reconciler.render.withheld import change, changes, withheld

# By field: a value, one that allows more (none: no change does), one that allows no more (none: every change does).
NONE = object()
CHANGES: Mapping[str, tuple[Any, Any, Any]] = {
    "epic": (TaskId("a-1"), NONE, TaskId("a-2")),
    "tasks": ((), NONE, (InlineTask(key="a", title="A"),)),
    "repository": ("/srv/shop", "/srv/other", NONE),
    "base": ("main", "side", NONE),
    "suspend": (True, False, NONE),
    "maxAgents": (4, 5, 3),
    "tracker": (TrackerKind.JSONL, TrackerKind.BEADS, NONE),
    "forge": (ForgeKind.LOCAL, ForgeKind.GITHUB, NONE),
    "agent.kind": (AgentKind.CLAUDE, AgentKind.CODEX, NONE),
    "agent.argv": (("a",), ("a", "--all"), NONE),
    "agent.model": ("small", "large", NONE),
    "agent.overrides": ((), (Override(labels=("ui",), model="large"),), NONE),
    "agent.prompt": (None, "/srv/shop/p.md", NONE),
    "agent.env": ({"A": "1"}, {"A": "2"}, NONE),
    "agent.passEnv": (("A",), ("A", "B"), ()),
    "agent.timeout": (60.0, 61.0, 59.0),
    "agent.stuckAfter": (60.0, 0.0, 59.0),
    "agent.maxAttempts": (3, 4, 2),
    "agent.backoff.initial": (10.0, NONE, 1.0),
    "agent.backoff.max": (10.0, NONE, 1.0),
    "agent.opensPullRequest": (False, True, NONE),
    "agent.resources.memory": (2 << 30, 1 << 30, 3 << 30),
    "agent.resources.disk": (None, 0, NONE),
    "agent.runner": (None, ("--gres=gpu:1",), NONE),
    "stack": (False, NONE, True),
    "reviewer": (None, AgentSpec(kind=AgentKind.CLAUDE), NONE),
    "runner": (Venue(), Venue(kind=VenueKind.SLURM, remote="/srv/r.git", scratch="/var/tmp/r"), NONE),
    "worktrees.root": ("/srv/trees", "/srv/others", NONE),
    "worktrees.copy": ((".env",), (".env", ".npmrc"), ()),
    "worktrees.setup": (("npm ci",), (), NONE),
    "worktrees.sparse": (("src",), NONE, ()),
    "mergePolicy.mode": (MergeMode.MANUAL, MergeMode.AUTO, NONE),
    "mergePolicy.method": (MergeMethod.SQUASH, NONE, MergeMethod.REBASE),
    "mergePolicy.landing": (LandingMode.QUEUE, NONE, LandingMode.CAS),
    "mergePolicy.message": (SquashMessage.BOTH, NONE, SquashMessage.TASK),
    "mergePolicy.comments": (Comments.AGENT, Comments.IGNORE, Comments.WAIT),
    "mergePolicy.reviewBots": (("a",), ("a", "b"), NONE),
    "mergePolicy.checks": (
        Check.each(["make a"]),
        Check.each(["true", "make a"]),
        (Check("make a", timeout_s=60.0), Check("make b", retries=1)),
    ),
    "mergePolicy.requiredChecks": (("build",), (), ("build", "test")),
    "mergePolicy.timeout": (60.0, NONE, 90.0),
    "mergePolicy.runner": (Venue(), Venue(kind=VenueKind.SLURM, remote="/srv/r.git", scratch="/var/tmp/r"), NONE),
    "mergePolicy.noChecks": (NoChecks.AUTO, NoChecks.ALLOW, NoChecks.BLOCK),
    "mergePolicy.protectedPaths": (("a", "b"), ("b",), ("b", "a", "c")),
    "mergePolicy.review": (
        ReviewByRisk(low=Review.NONE, normal=Review.AGENT, high=Review.HUMAN),
        ReviewByRisk(low=Review.HUMAN, normal=Review.AGENT, high=Review.AGENT),
        ReviewByRisk(low=Review.AGENT, normal=Review.AGENT, high=Review.HUMAN),
    ),
    "mergePolicy.reviewRounds": (3, 4, 2),
    "mergePolicy.risk.high": (("a", "b"), ("a",), ("a", "b", "c")),
    "mergePolicy.risk.low": (("a",), ("a", "b"), ()),
    "mergePolicy.push": (False, True, NONE),
    "mergePolicy.queue.parallel": (1, NONE, None),
    "mergePolicy.queue.retries": (1, 2, 0),
    "mergePolicy.queue.scopes": ((), NONE, (("core", ("src/**",)),)),
    "mergePolicy.queue.everyCommit": (True, False, NONE),
    "mergePolicy.queue.staging": (False, True, NONE),
    "mergePolicy.onConflict": (OnConflict.BLOCK, OnConflict.AGENT, NONE),
    "mergePolicy.deleteBranch": (False, NONE, True),
    "budget.usd": (5.0, None, 4.0),
    "budget.usdPerTask": (5.0, 6.0, 4.0),
    "budget.usdPerRun": (5.0, None, 4.0),
    "budget.tokens": (5, 6, 4),
    "budget.warnAt": (0.5, NONE, 0.9),
    "prune.worktrees": (False, NONE, True),
    "prune.branches": (False, NONE, True),
    "prune.orphans": (False, True, NONE),
    "notify": ((), (Notify(on=(Telling.DEGRADED,), run=("sh", "x")),), NONE),
}
_CODE = {
    "maxAgents": "max_agents",
    "passEnv": "pass_env",
    "timeout": "timeout_s",
    "stuckAfter": "stuck_after_s",
    "maxAttempts": "max_attempts",
    "backoff.initial": "backoff_initial_s",
    "backoff.max": "backoff_max_s",
    "opensPullRequest": "opens_pull_request",
    "resources.memory": "memory",
    "resources.disk": "disk",
    "requiredChecks": "required_checks",
    "reviewBots": "review_bots",
    "reviewRounds": "review_rounds",
    "risk.high": "risk_high",
    "risk.low": "risk_low",
    "noChecks": "no_checks",
    "protectedPaths": "protected_paths",
    "queue.parallel": "parallel",
    "queue.retries": "retries",
    "queue.everyCommit": "every_commit",
    "queue.staging": "staging",
    "queue.scopes": "scopes",
    "onConflict": "on_conflict",
    "deleteBranch": "delete_branch",
    "usdPerTask": "usd_per_task",
    "usdPerRun": "usd_per_run",
    "warnAt": "warn_at",
    "mergePolicy": "merge",
}
BUSY, IDLE = (lambda: False), (lambda: True)


def with_(field: str, value: Any) -> EpicSpec:
    trees = WorktreeSpec(root="/srv/trees")
    spec = EpicSpec(name="x", repository="/srv/shop", source="/srv/shop/x.yaml", worktrees=trees)
    outer, _, inner = field.partition(".")
    outer = _CODE.get(outer, outer)
    if inner and isinstance(getattr(spec, outer), Struct):
        value = replace(getattr(spec, outer), **{_CODE.get(field, _CODE.get(inner, inner)): value})
    return replace(spec, **{outer: value})


# --- which changes loosen ------------------------------------------------------------------------------------


def test_every_field_of_a_manifest_says_which_changes_of_it_loosen() -> None:
    nested = {"agent": AgentSpec, "worktrees": WorktreeSpec, "merge": MergePolicy, "budget": Budget, "prune": Prune}
    beside = {
        "name",
        "generation",
        "recorded_at",
        "source",
        "invalid",
        "withheld",
        "applied",
        "unfrozen_at",
        "also",
        "surroundings",
    }
    known = {_CODE.get(field, field) for field in CHANGES if "." not in field}
    for outer, kind in nested.items():
        inner = {
            field.partition(".")[2]
            for field in CHANGES
            if _CODE.get(field.partition(".")[0], field.partition(".")[0]) == outer
        }
        assert {_CODE.get(f"{outer}.{field}", _CODE.get(field, field)) for field in inner} == set(
            kind.__struct_fields__
        ), outer
    assert known == set(EpicSpec.__struct_fields__) - nested.keys() - beside


@pytest.mark.parametrize("field", CHANGES)
def test_what_allows_more_loosens_and_what_does_not_does_not(field: str) -> None:
    value, looser, no_looser = CHANGES[field]
    before = with_(field, value)
    if looser is not NONE:
        after = with_(field, looser)
        assert [each.field for each in form.loosened(before, after)] == [field]
        assert form.tightened(before, after) == before
    if no_looser is not NONE:
        after = with_(field, no_looser)
        assert form.loosened(before, after) == ()
        assert form.tightened(before, after) == after


# --- what is taken from a watched file ----------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path: Path) -> Recorded:
    return Recorded(tmp_path / "reconcile")


STRICT = with_("mergePolicy.checks", Check.each(["make check"]))
LOOSE = replace(
    with_("mergePolicy.checks", Check.each(["true"])), max_agents=2
)  # in one field; in another it allows less


def only(kept: Recorded) -> EpicSpec:
    (spec,) = kept.load().epics
    return spec


def test_before_any_run_a_file_is_taken_as_it_is(kept: Recorded) -> None:
    kept.record(STRICT)
    kept.trust(["x"], IDLE)

    assert kept.follow([LOOSE], IDLE) == {}

    assert only(kept).merge.commands == ("true",)
    assert only(kept).withheld == ()


def test_once_a_run_has_existed_what_loosens_is_withheld_and_the_rest_is_taken(kept: Recorded) -> None:
    kept.record(STRICT)
    kept.trust(["x"], IDLE)
    kept.distrust()

    kept.follow([LOOSE], IDLE)

    spec = only(kept)
    assert (spec.merge.commands, spec.max_agents, spec.generation) == (("make check",), 2, 2)
    assert spec.withheld == (Loosening(field="mergePolicy.checks", old=["make check"], new=["true"]),)


def test_what_is_withheld_is_known_to_whoever_starts_next_until_the_file_asks_for_it_no_more(
    kept: Recorded, tmp_path: Path
) -> None:
    kept.record(STRICT)
    kept.follow([LOOSE], IDLE)

    assert only(Recorded(tmp_path / "reconcile")).withheld
    kept.follow([replace(STRICT, max_agents=2)], IDLE)
    assert not only(kept).withheld


def test_applying_takes_what_was_withheld(kept: Recorded) -> None:
    kept.record(STRICT)
    kept.follow([LOOSE], IDLE)

    kept.record(LOOSE)

    assert only(kept).merge.commands == ("true",)
    assert not only(kept).withheld


def test_a_run_that_lives_while_a_manifest_is_applied_has_existed_since(kept: Recorded) -> None:
    kept.record(STRICT)
    kept.trust(["x"], BUSY)

    kept.follow([LOOSE], IDLE)

    assert only(kept).withheld


def test_a_run_that_starts_while_a_manifest_is_applied_has_existed_since(kept: Recorded) -> None:
    answers = iter((True, False))
    kept.record(STRICT)
    kept.trust(["x"], lambda: next(answers))

    kept.follow([LOOSE], IDLE)

    assert only(kept).withheld


def test_an_agent_of_one_manifest_loosens_no_other(kept: Recorded) -> None:
    kept.record(STRICT)
    kept.record(replace(STRICT, name="y"))
    kept.trust(["x", "y"], IDLE)
    kept.distrust()

    kept.follow([replace(LOOSE, name="y")], IDLE)

    assert [spec.merge.commands for spec in kept.load().epics] == [("make check",), ("make check",)]


def test_a_manifest_recorded_before_there_was_such_a_rule_is_loosened_by_a_person_only(kept: Recorded) -> None:
    kept.record(STRICT)

    kept.follow([LOOSE], IDLE)

    assert only(kept).withheld


@pytest.mark.parametrize("named", [None, [STRICT.source]], ids=["while it is watched", "before it is watched again"])
def test_a_manifest_that_is_new_in_a_file_that_agents_could_write_is_not_recorded(
    kept: Recorded, named: list[str] | None
) -> None:
    kept.record(STRICT)
    kept.distrust()

    refused = kept.follow([STRICT, replace(LOOSE, name="a")], IDLE, named)

    assert list(refused) == ["a"]
    assert [each.field for each in only(kept).withheld] == ["manifest a"]


def test_a_manifest_in_a_file_of_its_own_is_recorded_by_whoever_watches_it(kept: Recorded) -> None:
    kept.record(STRICT)

    mine = replace(LOOSE, name="a", source="/srv/shop/a.yaml")

    assert kept.follow([mine], IDLE, named=[mine.source]) == {}

    assert len(kept.load().epics) == 2


@pytest.mark.parametrize("named", [None, ["/srv/shop"]], ids=["while it is watched", "before it is watched again"])
def test_a_file_that_is_new_in_a_watched_folder_is_not_recorded(kept: Recorded, named: list[str] | None) -> None:
    kept.record(STRICT)
    kept.distrust()

    refused = kept.follow([STRICT, replace(LOOSE, name="a", source="/srv/shop/a0.yaml")], IDLE, named)

    assert list(refused) == ["a"]
    assert [each.field for each in only(kept).withheld] == ["manifest a"]


def test_a_folder_that_is_watched_for_the_first_time_is_recorded(kept: Recorded) -> None:
    kept.record(STRICT)

    assert kept.follow([replace(LOOSE, name="a", source="/srv/more/a.yaml")], IDLE, named=["/srv/more"]) == {}


def test_a_manifest_that_is_called_otherwise_now_is_said_of_the_one_that_was_there(kept: Recorded) -> None:
    kept.record(STRICT)
    kept.distrust()

    assert list(kept.follow([replace(STRICT, name="z")], IDLE)) == ["z"]

    assert [each.field for each in only(kept).withheld] == ["manifest z"]


def test_a_damaged_record_is_not_replaced_by_a_file_that_agents_could_write(kept: Recorded, tmp_path: Path) -> None:
    kept.record(STRICT)
    (tmp_path / "reconcile/manifests/x.yaml").write_text("generation: 1\n")

    assert list(kept.follow([LOOSE], IDLE)) == ["x"]

    assert list(kept.load().problems) == ["x"]


def test_a_manifest_that_is_suspended_by_hand_still_says_what_is_withheld(kept: Recorded) -> None:
    kept.record(replace(STRICT, suspend=True))
    kept.follow([LOOSE], IDLE)
    assert [each.field for each in only(kept).withheld] == ["suspend", "mergePolicy.checks"]

    kept.change("x", lambda spec: replace(spec, suspend=False))

    assert [each.field for each in only(kept).withheld] == ["mergePolicy.checks"]


def test_a_stranger_is_said_with_the_command_that_records_it_until_it_is_recorded(kept: Recorded) -> None:
    kept.record(STRICT)
    kept.distrust()
    other = replace(LOOSE, name="a", source="/srv/shop/a.yaml")
    kept.follow([STRICT, other], IDLE)
    said = withheld(only(kept))

    kept.record(other)

    assert said and "'reconcile apply -f /srv/shop/a.yaml' records it" in said.message
    assert [spec.withheld for spec in kept.load().epics] == [(), ()]


def test_what_is_withheld_is_taken_with_every_file_that_the_manifest_is_made_of(kept: Recorded, tmp_path: Path) -> None:
    main = tmp_path / "shop"
    main.mkdir()
    epic = {"kind": "Epic", "metadata": {"name": "x"}, "spec": {"agent": {"argv": ["a"]}, "mergePolicy": "ours"}}
    policy = {"kind": "MergePolicy", "metadata": {"name": "ours"}, "spec": {"checks": ["make check"]}}
    files = [str(main / "epic.yaml"), str(main / "policy.yaml")]

    def written() -> tuple[EpicSpec, ...]:
        for path, said in zip(files, (epic, policy), strict=True):
            Path(path).write_text(json.dumps({"apiVersion": "reconcile/v1", **said}))
        return load(files, cwd=main, locate=lambda _: Located(main=main, default_base="main"))

    kept.record(written()[0])
    policy["spec"]["checks"] = ["true"]  # type: ignore[index]
    kept.follow(written(), IDLE)

    said = withheld(only(kept))
    assert said and f"'reconcile apply -f {files[0]} -f {files[1]}' takes that" in said.message
    kept.follow(written(), IDLE)
    assert only(kept).generation == 1, "and it is recorded once"


def test_all_of_what_is_withheld_can_be_read() -> None:
    script = "x" * 300 + "; curl evil"
    spec = replace(STRICT, withheld=(Loosening(field="agent.argv", old=["sh"], new=["sh", "-c", script]),))

    assert "curl evil" in changes(spec)[0]


def test_a_manifest_that_is_deleted_leaves_nothing(kept: Recorded, tmp_path: Path) -> None:
    kept.record(STRICT)
    kept.trust(["x"], IDLE)
    kept.follow([LOOSE], IDLE)

    kept.delete("x")

    assert list((tmp_path / "reconcile/manifests").iterdir()) == []


def test_what_agents_are_given_in_variables_is_not_said() -> None:
    said = change(Loosening(field="agent.env", old={}, new={"A_KEY": "geheim"}))

    assert "A_KEY" in said and "geheim" not in said


# --- what checks rest on -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "paths"),
    [
        ("sh check.sh", ["check.sh"]),
        ("./check", ["check"]),
        ("bash ci/check all", ["ci/check"]),
        ("sh -eu scripts/check all", ["scripts/check"]),
        ("FOO=1 python3 tools/check.py --config=cfg.toml", ["tools/check.py", "cfg.toml"]),
        ("bash -c 'sh ci/x.sh; true'", ["ci/x.sh"]),
        ("cd web && ./x", ["web/x"]),
        ("just check", ["justfile", "Justfile", ".justfile", "**/*.just"]),
        ("just -f ci/rules check", ["justfile", "Justfile", ".justfile", "**/*.just", "ci/rules"]),
        ("env -C sub ./t.sh", ["sub/t.sh"]),
        ("env --chdir=sub A=1 sh t.sh", ["sub/t.sh"]),
        ("make -C sub lint", ["sub/Makefile", "sub/makefile", "sub/GNUmakefile", "sub/**/*.mk"]),
        ("cd web && npm run test", ["web/package.json#scripts", "web/.npmrc"]),
        ("python -m pytest tests/unit -q", ["pytest.py", "pytest/__main__.py"]),
        ("python3 -m tools.check", ["tools/check.py", "tools/check/__main__.py"]),
        ("sh $PWD/run.sh", ["run.sh"]),
        ("test -e done.txt", []),
        ("! grep -rq FIXME src/a.txt", []),
        ("cargo test", []),
        ('sh "$CHECK"', []),
        ("sh ../outside.sh", []),
        ("sh /usr/bin/check.sh", []),
        ("curl https://a.example/x.sh", []),
        ('sh "unclosed.sh', ['"unclosed.sh']),
    ],
)
def test_what_a_check_is_decided_by_is_derived_from_its_words(check: str, paths: list[str]) -> None:
    assert list(derived([check], lambda path: path == "tests/unit")) == paths


@pytest.mark.parametrize(
    ("old", "new", "looser"),
    [
        (Check("a"), Check("a", retries=1), True),
        (Check("a", retries=2), Check("a", retries=1), False),
        (Check("a"), Check("a", paths=("web/**",)), True),
        (Check("a", paths=("web/**",)), Check("a"), False),
        (Check("a", paths=("web/**", "lib/**")), Check("a", paths=("web/**",)), True),
        (Check("a", paths=("web/**",)), Check("a", paths=("web/**", "lib/**")), False),
        (Check("a", timeout_s=60.0), Check("a"), False),
    ],
)
def test_a_check_that_is_asked_more_often_or_of_less_loosens(old: Check, new: Check, looser: bool) -> None:
    found = form.loosened(with_("mergePolicy.checks", (old,)), with_("mergePolicy.checks", (new,)))
    assert bool(found) is looser
