"""What a user's YAML becomes, and what is said when it can't become anything."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reconciler import manifest
from reconciler.git import repository
from reconciler.manifest import Located, yaml_text
from reconciler.model.agent_spec import AgentSpec
from reconciler.model.checks import Check
from reconciler.model.desired import (
    Budget,
    EpicSpec,
    InlineTask,
    MergePolicy,
    NoChecks,
    TrackerKind,
    WorktreeSpec,
)
from reconciler.model.errors import ManifestError, PermanentError, TemporaryError
from reconciler.model.names import TaskId
from reconciler.model.review_by_risk import Review, ReviewByRisk
from reconciler.model.values import replace
from reconciler.model.venue import Venue, VenueKind
from reconciler.planning import budget

HEAD = "apiVersion: reconcile/v1\nkind: Epic\nmetadata: {name: x}\nspec:\n"
PEOPLE = ReviewByRisk.always(Review.HUMAN)
SMALL = HEAD + "  agent: {argv: [my-agent]}\n"
PROFILE = "apiVersion: reconcile/v1\nkind: AgentProfile\nmetadata: {name: mine}\nspec: {argv: [mine], maxAttempts: 7}\n"
POLICY = "apiVersion: reconcile/v1\nkind: MergePolicy\nmetadata: {name: strict}\nspec: {checks: [just check]}\n"

FULL = """\
apiVersion: reconcile/v1
kind: Epic
metadata:
  name: feature-x
spec:
  epic: ghtml-a1b2
  tasks:
    - key: lexer
      title: Write the lexer
    - key: parser
      title: Write the parser
      description: |
        Two lines:
        of text.
      acceptance: Its tests pass.
      priority: 1
      labels: [backend]
      dependsOn: [lexer, ghtml-77]
  repository: .
  base: develop
  suspend: true
  maxAgents: 0
  tracker: jsonl
  forge: local
  runner: local
  agent:
    kind: command
    argv: [my-agent, --task, "{task}", '{"json": {}}']
    prompt: docs/worker.md
    env: {KEY: value, EMPTY: ""}
    passEnv: [SOME_TOKEN]
    timeout: 90s
    stuckAfter: 0s
    maxAttempts: 5
    backoff: {initial: 30s, max: 1h}
  worktrees:
    root: ../trees
    copy: [.env, ./config/local.toml]
    setup: ["npm ci"]
    sparse: [src/]
  mergePolicy:
    mode: manual
    method: rebase
    checks: ["just check"]
    timeout: 20m
    noChecks: block
    protectedPaths: [justfile]
    review: human
    push: true
    queue: {parallel: 64}
    onConflict: block
    deleteBranch: false
  prune: {worktrees: false, branches: false, orphans: true}
"""


@pytest.fixture
def home(tmp_path):
    """A repository's main checkout, as far as a manifest is concerned."""
    (tmp_path / "shop").mkdir()
    return tmp_path / "shop"


@pytest.fixture
def read(home):
    def read(text, *, base="main"):
        return manifest.load(["-"], stdin=text, cwd=home, locate=lambda path: Located(main=home, default_base=base))

    return read


@pytest.fixture
def refused(read):
    """What is said about a text, hints included; the test fails where the text is taken."""

    def refused(text, **more):
        with pytest.raises(ManifestError) as caught:
            read(text, **more)
        hint = caught.value.hint
        return f"{caught.value}\n  hint: {hint}" if hint else str(caught.value)

    return refused


def with_spec(lines):
    return SMALL + "".join(f"  {line}\n" for line in lines.splitlines())


def with_agent(fields):
    return HEAD + f"  agent: {{argv: [a], {fields}}}\n"


def with_runner(fields):
    given = ", ".join(part for part in ("kind: slurm", "remote: /srv/r.git", fields) if part)
    for name in ("kind", "remote"):
        if fields.startswith(f"{name}:"):
            given = given.replace(f"{name}: {'slurm' if name == 'kind' else '/srv/r.git'}, ", "", 1)
    return with_spec(f"runner: {{{given}}}")


# --- what it becomes -----------------------------------------------------------------------------------------


def test_every_field_arrives(read, home):
    (home / "docs").mkdir()
    (home / "docs" / "worker.md").write_text("do it")

    (spec,) = read(FULL)

    assert spec.name == "feature-x"
    assert spec.epic == TaskId("ghtml-a1b2")
    assert spec.tasks == (
        InlineTask(key="lexer", title="Write the lexer"),
        InlineTask(
            key="parser",
            title="Write the parser",
            description="Two lines:\nof text.",
            acceptance="Its tests pass.",
            priority=1,
            labels=("backend",),
            depends_on=("lexer", "ghtml-77"),
        ),
    )
    assert (spec.base, spec.suspend, spec.max_agents, spec.tracker) == ("develop", True, 0, TrackerKind.JSONL)
    assert spec.agent == AgentSpec(
        argv=("my-agent", "--task", "{task}", '{"json": {}}'),
        prompt=str(home / "docs" / "worker.md"),
        env={"KEY": "value", "EMPTY": ""},
        pass_env=("SOME_TOKEN",),
        timeout_s=90,
        stuck_after_s=0,
        max_attempts=5,
        backoff_initial_s=30,
        backoff_max_s=3600,
    )
    assert spec.worktrees == WorktreeSpec(
        root=str(home.parent / "trees"), copy=(".env", "config/local.toml"), setup=("npm ci",), sparse=("src",)
    )
    assert (spec.merge.mode, spec.merge.method, spec.merge.commands) == ("manual", "rebase", ("just check",))
    assert (spec.merge.timeout_s, spec.merge.no_checks) == (1200, NoChecks.BLOCK)
    assert (spec.merge.protected_paths, spec.merge.review, spec.merge.push) == (("justfile",), PEOPLE, True)
    assert (spec.merge.parallel, spec.merge.on_conflict, spec.merge.delete_branch) == (64, "block", False)
    assert (spec.prune.worktrees, spec.prune.branches, spec.prune.orphans) == (False, False, True)


def test_a_known_agent_needs_no_argv_and_may_have_a_model_for_some_tasks(read):
    agent = "{kind: claude, model: sonnet, overrides: [{match: {labels: [ui, hard]}, model: opus}]}"
    (spec,) = read(
        HEAD + f"  agent: {agent}\n  budget: {{usd: 25, usdPerTask: 0.5, usdPerRun: 0.2, tokens: 9, warnAt: 1}}\n"
    )

    assert (spec.agent.kind, spec.agent.argv) == ("claude", ())
    assert spec.agent.model_for(["hard", "ui", "x"]) == "opus"
    assert spec.agent.model_for(["ui"]) == "sonnet"
    assert spec.budget == Budget(usd=25, usd_per_task=0.5, usd_per_run=0.2, tokens=9, warn_at=1)


def test_what_is_left_out_has_the_default_of_the_value_that_it_becomes(read, home):
    (spec,) = read(SMALL)

    root = str(home.parent / "worktrees")
    expected = EpicSpec(name="x", repository=str(home), agent=AgentSpec(argv=("my-agent",)))
    assert spec == replace(expected, worktrees=WorktreeSpec(root=root))


def test_the_base_is_the_repositorys_own_unless_one_is_named(read):
    assert read(SMALL, base="trunk")[0].base == "trunk"
    assert read(with_spec("base: release/2"), base="trunk")[0].base == "release/2"


def test_a_repository_without_a_branch_needs_a_base(read, refused):
    assert "spec.base: is missing" in refused(SMALL, base=None)
    assert read(with_spec("base: main"), base=None)[0].base == "main"


@pytest.mark.parametrize("root", ["trees", ".worktrees", "../../elsewhere", "/srv/trees", "..trees"])
def test_the_root_of_worktrees_is_relative_to_the_repository(read, home, root):
    (spec,) = read(with_spec(f"worktrees: {{root: {root}}}"))

    assert spec.worktrees.root == os.path.normpath(home / root)


def test_profiles_and_policies_are_found_in_the_same_source_in_any_order(read):
    epic = HEAD + "  agent: mine\n  mergePolicy: strict\n"

    for text in ("---\n".join([epic, PROFILE, POLICY]), "---\n".join([POLICY, PROFILE, epic])):
        (spec,) = read(text)
        assert (spec.agent.argv, spec.agent.max_attempts) == (("mine",), 7)
        assert spec.merge == MergePolicy(checks=(Check("just check"),), protected_paths=spec.merge.protected_paths)


def test_what_checks_rest_on_is_protected_where_nothing_is_said_of_protection(read):
    checks = 'checks: ["sh ci.sh"]'
    inline = with_spec(f"mergePolicy: {{{checks}}}")
    named = "---\n".join([HEAD + "  agent: {argv: [a]}\n  mergePolicy: strict\n", POLICY])
    said = with_spec(f"mergePolicy: {{{checks}, protectedPaths: [docs]}}")

    assert read(inline)[0].merge.protected_paths == (*MergePolicy().protected_paths, "ci.sh")
    assert "**/*.just" in read(named)[0].merge.protected_paths
    assert read(said)[0].merge.protected_paths == ("docs",)


def test_what_ships_is_there_for_every_manifest_and_gives_way_to_the_source(read):
    epic = HEAD + "  agent: shell\n  mergePolicy: careful\n"
    own = PROFILE.replace("name: mine", "name: shell")

    (shipped,), (replaced,) = read(epic), read(f"{epic}---\n{own}")

    assert shipped.agent.argv == ("sh", "agent.sh")
    assert shipped.merge.review == PEOPLE
    assert replaced.agent.argv == ("mine",)


def test_empty_documents_and_a_byte_order_mark_are_fine(read):
    assert read(f"\ufeff---\n{SMALL}---\n# nothing\n---\n")[0].name == "x"


def test_true_is_true_however_it_is_capitalised(read):
    assert [read(with_spec(f"suspend: {word}"))[0].suspend for word in ("true", "True", "FALSE")] == [True, True, False]


def test_windows_line_ends_mean_the_same(read, home):
    (home / "docs").mkdir()
    (home / "docs" / "worker.md").touch()

    assert read(FULL.replace("\n", "\r\n")) == read(FULL)


# --- where it comes from -------------------------------------------------------------------------------------


def found_at(seen):
    def locate(path):
        seen.append(path)
        return Located(main=Path("/srv/shop"), default_base="main")

    return locate


def test_a_file_is_remembered_as_the_source_and_paths_in_it_are_relative_to_it(tmp_path):
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "a.yaml").write_text(with_spec("repository: ../code"))
    seen = []

    (spec,) = manifest.load(["plans/a.yaml"], cwd=tmp_path, locate=found_at(seen))

    assert spec.source == str(tmp_path / "plans" / "a.yaml")
    assert seen == [tmp_path / "plans" / "../code"]


def test_standard_input_has_no_source_and_paths_in_it_are_relative_to_the_current_folder(tmp_path):
    seen = []

    (spec,) = manifest.load(["-"], stdin=SMALL, cwd=tmp_path, locate=found_at(seen))

    assert spec.source == ""
    assert seen == [tmp_path]


def test_a_folder_is_its_yaml_files_by_name_and_nothing_below(tmp_path):
    for name in ("b.yml", "a.yaml", "ignored.txt", ".a.yaml", "sub/c.yaml", "folder.yaml/d"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(SMALL.replace("name: x", f"name: {Path(name).stem.strip('.')}"))

    specs = manifest.load([str(tmp_path)], cwd=tmp_path, locate=found_at([]))

    assert [spec.name for spec in specs] == ["a", "b"]


def test_several_sources_know_each_others_profiles_and_a_file_named_twice_is_read_once(tmp_path):
    (tmp_path / "agents.yaml").write_text(PROFILE)
    (tmp_path / "x.yaml").write_text(HEAD + "  agent: mine\n")

    specs = manifest.load(["x.yaml", "agents.yaml", "x.yaml"], cwd=tmp_path, locate=found_at([]))

    assert [spec.agent.argv for spec in specs] == [("mine",)]


def test_another_file_with_what_a_manifest_refers_to_is_protected_as_the_manifest_is(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "agents.yaml").write_text(PROFILE)
    (tmp_path / "m" / "policy.yaml").write_text(POLICY.replace("checks:", "protectedPaths: [x], checks:"))
    (tmp_path / "m" / "other.yaml").write_text(POLICY.replace("strict", "unused"))
    (tmp_path / "m" / "x.yaml").write_text(HEAD + "  repository: ..\n  agent: mine\n  mergePolicy: strict\n")

    (spec,) = manifest.load(["m"], cwd=tmp_path, locate=lambda path: Located(main=tmp_path, default_base="main"))

    assert spec.merge.protected_paths == ("x", "m/agents.yaml", "m/policy.yaml")


@pytest.mark.parametrize("text", ["", "\n", "# only words\n", "---\n---\n"])
def test_a_source_without_any_document_is_an_error(refused, text):
    assert refused(text).startswith("<stdin>:1:1: is empty")


def test_a_folder_without_manifests_and_a_file_that_is_not_there_are_errors(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").mkdir()
    for named, said in (("empty", "holds no manifest"), ("none.yaml", "No such file"), ("pipe", "is not a file")):
        with pytest.raises(ManifestError, match=f"^{named}: .*{said}"):
            manifest.load([named], cwd=tmp_path, locate=found_at([]))


def test_a_name_is_used_once_per_kind(refused, read):
    said = refused(f"{SMALL}---\n{SMALL}")

    assert said == "<stdin>:9:18: metadata.name: Epic 'x' is there already, at <stdin>:3"
    assert read(f"{SMALL}---\n{PROFILE.replace('name: mine', 'name: x')}")


# --- the repository ------------------------------------------------------------------------------------------


def test_a_path_outside_any_repository_is_an_error_at_its_place(tmp_path):
    def locate(path):
        return Located(main=repository.find(path, os.environ).main, default_base="main")

    with pytest.raises(
        ManifestError, match=r"^<stdin>:6:15: spec\.repository: .* is not in a git repository"
    ) as caught:
        manifest.load(["-"], stdin=with_spec("repository: ."), cwd=tmp_path, locate=locate)

    assert caught.value.hint == "run 'git init' there first"


def test_a_repository_that_did_not_answer_is_not_a_wrong_manifest(tmp_path):
    def locate(path):
        raise TemporaryError("git is busy")

    with pytest.raises(TemporaryError, match="git is busy"):
        manifest.load(["-"], stdin=SMALL, cwd=tmp_path, locate=locate)


@pytest.mark.parametrize("root", [".git/trees", "link/trees", ".git"])
def test_worktrees_never_stand_inside_a_git_folder(refused, home, root):
    for name in ("objects", "refs"):
        (home / ".git" / name).mkdir(parents=True)
    (home / ".git" / "HEAD").touch()
    (home / "link").symlink_to(home / ".git" / "refs")

    assert "inside a git folder" in refused(with_spec(f"worktrees: {{root: {root}}}"))


def test_a_prompt_that_is_not_there_is_an_error(refused):
    assert "spec.agent.prompt: there is no file" in refused(with_agent("prompt: .claude/agents/wroker.md"))


def test_who_runs_agents_elsewhere_gets_what_was_not_said_and_the_remote_of_the_base(home):
    at = {"main": "ssh://ctl/srv/app.git"}
    located = Located(main=home, default_base="main", remote=at.get)
    (spec,) = manifest.load(["-"], stdin=with_spec("runner: slurm"), cwd=home, locate=lambda path: located)
    assert spec.runner == Venue(kind=VenueKind.SLURM, remote=at["main"], scratch="/var/tmp/reconcile")
    assert spec.venue == spec.runner and spec.checks_venue.local


def test_the_runners_of_the_guide_are_taken_as_they_stand_there(home):
    guide = (Path(__file__).parents[1] / "docs/machines.md").read_text("utf-8")
    (agent,) = (block.partition("```")[0] for block in guide.split("```yaml\n") if block.startswith("agent:"))
    text = HEAD + "  runner: {kind: slurm, remote: /srv/r.git}\n  " + agent.replace("\n", "\n  ")
    (spec,) = manifest.load(["-"], stdin=text, cwd=home, locate=lambda path: Located(main=home, default_base="main"))
    assert [at.kind for at in spec.venues] == ["slurm", "slurm", "ssh", "local"]


def test_other_runners_of_a_manifest_are_reached_as_its_own_is_unless_they_say_otherwise(home):
    located = Located(main=home, default_base="main", remote={"main": "ssh://ctl/srv/app.git"}.get)
    overrides = (
        "{match: {labels: [gpu]}, runner: {options: [--gres=gpu:1]}}",
        "{match: {labels: [big]}, runner: {kind: ssh, hosts: [h1]}}",
        "{match: {labels: [near]}, runner: local}",
        "{match: {labels: [far]}, runner: {kind: slurm, remote: /srv/far.git}}",
    )
    text = with_agent(f"runner: slurm, overrides: [{', '.join(overrides)}]").replace(
        "  agent:",
        "  runner: {kind: ssh, hosts: [h0], remote: /srv/nodes.git}\n  mergePolicy: {runner: slurm}\n  agent:",
    )
    (spec,) = manifest.load(["-"], stdin=text, cwd=home, locate=lambda path: located)
    placed = {label: spec.venue_for((label,)) for label in ("", "gpu", "big", "near", "far")}
    assert [(at.kind, at.remote, at.options) for at in placed.values()] == [
        ("slurm", "/srv/nodes.git", ()),
        ("slurm", "/srv/nodes.git", ("--gres=gpu:1",)),
        ("ssh", "/srv/nodes.git", ()),
        ("local", "", ()),
        ("slurm", "/srv/far.git", ()),
    ]
    assert spec.venues == tuple(placed.values()) and spec.tests_venue.remote == "/srv/nodes.git"
    assert [spec.placed((label,)).venue for label in placed] == list(placed.values())


# --- what is said --------------------------------------------------------------------------------------------


def test_an_unknown_field_is_named_with_its_place_what_is_allowed_and_what_was_meant(refused):
    said = refused(with_spec("maxAgnets: 3"))

    assert said.startswith("<stdin>:6:3: spec.maxAgnets: unknown field; allowed: epic, tasks, repository, base, ")
    assert said.endswith("hint: did you mean 'maxAgents'?")


@pytest.mark.parametrize(
    "text",
    [
        with_spec("mergePolicy: {stack: true}"),
        with_spec("mergePolicy: {queue: {batch: 4}}"),
        with_agent("sandbox: none"),
    ],
)
def test_what_is_not_there_yet_is_refused_rather_than_ignored(refused, text):
    assert "unknown field; allowed:" in refused(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            with_spec("mergePolicy: {review: often}"),
            "6:25: spec.mergePolicy.review: expected none, agent or human, or a mapping with low, normal, high, got 'often'",
        ),
        (
            with_spec("mergePolicy: {review: agent}"),
            "spec.reviewer: is missing: .*\n.*write 'reviewer: {kind: claude}'",
        ),
        (
            with_spec("reviewer: {kind: claude, maxAttempts: 5}"),
            "spec.reviewer.maxAttempts: unknown field; allowed: kind, argv, .*\n.*leave it out: a review that came to nothing",
        ),
        (
            with_spec("reviewer: {kind: claude, opensPullRequest: true}"),
            "spec.reviewer.opensPullRequest: unknown field; .*\n.*leave it out: a reviewer opens none",
        ),
        (
            with_spec("reviewer: {kind: claude, resources: {memory: 2G}}"),
            "spec.reviewer.resources: unknown field; .*\n.*what agent.resources says holds for reviews",
        ),
        (
            with_spec("mergePolicy: {method: sqash}"),
            "expected squash, merge or rebase, got .*\n.*did you mean 'squash'",
        ),
        (
            HEAD + "  agent: {kind: command, argv: sh -c true}\n",
            'expected a list .*\n.*did you mean \\["sh", "-c", "true"\\]',
        ),
        (with_agent("overrides: [{match: {labels: [a]}}]"), "spec.agent.overrides.*: overrides nothing"),
        (with_agent("overrides: [{match: {labels: [a]}, runner: {options: [-Jx]}}]"), "'-Jx' can't be given"),
        (
            with_agent("overrides: [{match: {labels: [a]}, runner: {options: [--mem=4G]}}]"),
            "spec.agent: runner and overrides hold options of Slurm, and agents run elsewhere",
        ),
        (with_agent("runner: {options: [--mem=4G]}"), "spec.agent: runner and overrides hold options of Slurm"),
        (with_agent("runner: {}"), "spec.agent.runner: says nothing; allowed: options for Slurm, or another runner"),
        (with_agent("runner: {hosts: [a]}"), "spec.agent.runner: hosts is of a runner whose kind is missing"),
        (with_agent("runner: {kind: ssh}"), "spec.agent.runner: hosts is missing; kind ssh"),
        (with_agent("runner: {kind: local, sync: 1m}"), "spec.agent.runner: sync is for runs on other machines"),
        (
            with_agent("runner: slurm"),
            "spec.agent.runner.remote: is missing, and the repository has no remote for main",
        ),
        (
            with_agent("overrides: [{match: {labels: [a]}, runner: slurm}]"),
            r"spec.agent.overrides\[0\].runner.remote: is missing",
        ),
        (
            with_agent("overrides: [{match: {labels: [a]}, runner: {kind: slurm, remote: /srv/r.git}}]")
            + "  worktrees: {copy: [.env]}\n",
            "spec.worktrees.copy: copies files of this machine, which no node has",
        ),
        (
            with_agent(
                "runner: {kind: ssh, hosts: [h], remote: /srv/r.git},"
                " overrides: [{match: {labels: [a]}, runner: {options: [--mem=4G]}}]"
            ),
            "spec.agent: runner and overrides hold options of Slurm, and agents run elsewhere",
        ),
        (with_agent("runner: {options: [--hold]}"), r"spec.agent.runner.options\[0\]: '--hold' can't be given"),
        (with_spec("tracker: bd"), "spec.tracker: expected auto, jsonl or beads, got"),
        (with_spec("forge: gitlab"), "spec.forge: expected auto, local or github, got"),
        (with_spec("runner: nomad"), "spec.runner: expected a mapping with kind, .*, or local or slurm, got"),
        (with_spec("runner: {kind: nomad}"), "spec.runner.kind: expected local, here, slurm or ssh, got"),
        (with_spec("runner: slurm"), "spec.runner.remote: is missing, and the repository has no remote for main"),
        (with_runner("remote: 'https://a:b@c/d'"), "spec.runner: remote holds a password"),
        (with_runner("remote: 'ext::sh'"), "spec.runner: remote is 'ext::sh'; allowed: an address that git takes"),
        (with_runner("scratch: tmp"), "spec.runner: scratch is 'tmp'; allowed: an absolute path"),
        (with_runner("sync: 10m"), "spec.runner: lease is shorter than 4 x sync"),
        (with_runner("sync: 1s, lease: 30s"), "spec.runner: lease is shorter than 2m"),
        (with_runner("hosts: [a]"), "spec.runner: Slurm knows its nodes"),
        (with_runner("kind: ssh"), "spec.runner: hosts is missing; kind ssh"),
        (with_runner("kind: ssh, hosts: [-oProxyCommand=x]"), "spec.runner: '-oProxyCommand=x' is no host"),
        (with_runner("kind: ssh, hosts: [a], options: [-N]"), r"spec.runner.options\[0\]: '-N' can't be given"),
        (with_runner("kind: ssh, hosts: [a], options: [-qN]"), "'-qN' can't be given"),
        (with_runner("kind: here, hosts: [a], options: [-N]"), "options are for kinds slurm and ssh"),
        (with_runner("kind: ssh, hosts: [a], perHost: 3"), "spec.maxAgents: 4 is more than 1 hosts take"),
        (with_spec("runner: {scratch: /a}"), "spec.runner: scratch is for runs on other machines"),
        (with_runner("more: 1"), "spec.runner.more: unknown field"),
        (
            with_spec("mergePolicy: {runner: slurm}"),
            "spec.mergePolicy.runner.remote: is missing, and the repository has no remote for main",
        ),
        (with_spec("mergePolicy: {runner: {kind: ssh}}"), "spec.mergePolicy.runner: hosts is missing; kind ssh"),
        (
            with_spec(
                "mergePolicy: {runner: {kind: ssh, hosts: [a], remote: /srv/r.git, perHost: 2}, queue: {parallel: 3}}"
            ),
            "spec.mergePolicy.queue.parallel: 3 is more than 1 hosts take",
        ),
        (
            with_runner("sync: 30s") + "  worktrees: {copy: [.env]}\n",
            "spec.worktrees.copy: copies files of this machine",
        ),
        (with_runner("sync: 30s") + "  stack: true\n", "spec.stack: brings worktrees of this machine onto the base"),
        (
            with_runner("sync: 30s") + "  worktrees: {sparse: [a]}\n",
            "spec.worktrees.sparse: is kept on this machine only",
        ),
        *(
            (with_runner(f"options: [{option}]"), rf"spec.runner.options\[0\]: '{option}' can't be given")
            for option in (
                *(
                    "-Jx",
                    "--job-name=x",
                    "--job-n=x",
                    "-oa",
                    "--output=a",
                    "-ea",
                    "--err=a",
                    "-i/a",
                    "--open-mode=append",
                ),
                *(
                    "-D/",
                    "--chdir=/",
                    "-a1",
                    "--array=1-3",
                    "--arr=1",
                    "-N2",
                    "--nodes=2",
                    "--nodes",
                    "-F/a",
                    "--nodefile=a",
                ),
                *("--requeue", "--req", "-k", "--no-kill", "--wrap=x", "-W", "--wait", "-H", "--hold", "--hol", "-QH"),
                *(
                    "-dafterok:1",
                    "--dependency=x",
                    "--export=A",
                    "--export-file=a",
                    "--signal=9",
                    "--test-only",
                    "-Mall",
                ),
                *(
                    "--clusters=a",
                    "--parsable",
                    "--uid=1",
                    "--gid=1",
                    "--spread-job",
                    "-h",
                    "--usage",
                    "-V",
                    "--version",
                ),
                *("--hold=", "--partition agents", "-vvH"),
            )
        ),
        (
            with_spec("runner:\n    kind: slurm\n    remote: /srv/r.git\n    options:\n    - --mem=4G\n    - --hold"),
            r"11:9: spec.runner.options\[1\]: '--hold' can't be given: .*'suspend: true' starts none",
        ),
        *((with_runner(f"options: [{option}]"), "is no option") for option in ("agents", "--", "-")),
        (with_agent("kind: cluade"), "spec.agent.kind: expected command, claude(.|\n)*did you mean 'claude'"),
        (with_agent("kind: claude"), "spec.agent: 'argv' is only valid for kind: command"),
        (with_agent("model: opus"), "spec.agent: a command gets no model from here"),
        (HEAD + "  agent: {kind: claude, model: --resume}\n", "spec.agent.model: expected a model name"),
        (HEAD + "  agent: {kind: claude, overrides: [{match: {labels: []}, model: a}]}\n", "an empty list"),
        (with_spec("budget: {usd: 5}"), "spec.budget.usd: an agent of kind command does not say what it costs"),
        (
            HEAD + "  agent: claude\n  reviewer: {argv: [x]}\n  budget: {usdPerTask: 5}\n",
            "spec.budget.usdPerTask: a reviewer of kind command does not say what it costs",
        ),
        (with_spec("budget: {usdPerRun: 0}"), "spec.budget.usdPerRun: expected a number above 0, got 0"),
        (with_spec("budget: {tokens: 5}"), "spec.budget.tokens: an agent of kind command does not say how many"),
        (with_spec("budget: {usd: -1}"), "spec.budget.usd: expected a number of at least 0"),
        (with_spec("budget: {warnAt: 2}"), "spec.budget.warnAt: expected a number above 0 and at most 1"),
        (HEAD + "  maxAgents: 2\n", "5:3: spec.agent: is missing; expected a mapping"),
        (HEAD + "  agent: {kind: command}\n", "spec.agent: argv is missing"),
        (HEAD + "  agent: {argv: []}\n", "spec.agent: argv is missing"),
        (HEAD + "  agent: {argv: [' ']}\n", "names? .*program|name or path of a program"),
        (HEAD + "  agent: cluade\n", "5:10: spec.agent: unknown agent 'cluade'; known: .*claude, .*shell"),
        (HEAD + "  agent: shel\n", "did you mean 'shell'"),
        (with_spec("mergePolicy: carefull"), "unknown mergePolicy .*did you mean 'careful'"),
        (with_spec("maxAgents: 1001"), "expected an integer from 0 to 1000, got 1001"),
        (with_spec("maxAgents: -1"), "from 0 to 1000"),
        (with_spec("maxAgents: 2.0"), "expected an integer from 0 to 1000, got 2.0"),
        (with_spec('maxAgents: "4"'), "hint: write 4 without quotes"),
        (with_spec('suspend: "true"'), "expected true or false, got .*\n.*hint: write true without quotes"),
        (with_spec("suspend: 1"), "expected true or false, got 1"),
        (with_spec("mergePolicy: {queue: {parallel: 0}}"), "from 1 to 64"),
        (with_spec("epic: 12"), 'hint: write "12" for a string'),
        (with_spec("epic: ../x"), "spec.epic: expected a task id"),
        (with_spec("epic: a..b"), "spec.epic: .*no '..'"),
        (with_spec("base: -x"), "spec.base: '-x' is not a branch name"),
        (with_spec("base: agent/x-1"), "can't be a base"),
        (with_spec("repository: ~/x"), "'~' stands for nothing"),
        (with_spec("worktrees: {copy: [/etc/passwd]}"), r"copy\[0\]: .*relative path"),
        (with_spec("worktrees: {copy: [a/../../b]}"), "relative path without '..'"),
        (with_spec("worktrees: {copy: [.git/config]}"), "git's own folder"),
        (with_spec("worktrees: {sparse: [..]}"), r"sparse\[0\]: .*relative path"),
        (with_spec("worktrees: {setup: ['']}"), r"setup\[0\]: expected a non-empty string"),
        (with_agent("prompt: /etc/passwd"), "spec.agent.prompt: .*relative path"),
        (with_agent("prompt: ../x.md"), "spec.agent.prompt: .*relative path"),
        (with_agent("timeout: 0s"), "such as 90s, 15m or 2h"),
        (with_agent("timeout: 2 hours"), "such as 90s, 15m or 2h"),
        (with_agent("timeout: 7200"), "such as 90s, 15m or 2h"),
        (with_agent("timeout: 1000h"), "at most 30 days"),
        (with_agent("backoff: {initial: 1h}"), r"initial \(1h\) is longer than max \(10m\)"),
        (with_agent("env: {PORT: 80}"), 'spec.agent.env.PORT: expected a string, got 80\n.*write "80" for a string'),
        (with_agent("env: {1x: a}"), "spec.agent.env.1x: .*not a valid name"),
        (with_agent("env: {RECONCILE_RUN: a}"), "is set by reconcile itself"),
        (with_agent("passEnv: [RECONCILE_RUN]"), "is set by reconcile itself"),
        (SMALL.replace("name: x", "name: -x"), "metadata.name: expected a name .lowercase letters"),
        (SMALL.replace("name: x", f"name: {'x' * 64}"), "at most 63 characters"),
        (SMALL.replace("kind: Epic", "kind: Epik"), "2:7: kind: unknown kind 'Epik'; .*\n.*did you mean 'Epic'"),
        (SMALL.replace("kind: Epic\n", ""), "kind: is missing; allowed: Epic, AgentProfile, MergePolicy"),
        (SMALL.replace("/v1", "/v2"), "1:13: apiVersion: expected reconcile/v1"),
        (HEAD.replace("spec:\n", "spec: 4\n"), "4:7: spec: expected a mapping with .*, got 4"),
        (with_spec("tasks: {a: b}"), "6:10: spec.tasks: expected a list of .*, got a mapping"),
    ],
)
def test_a_bad_value_is_answered_with_what_is_allowed(refused, text, said):
    assert re.search(said, refused(text), re.DOTALL), refused(text)


def test_every_finding_is_said_at_once_in_the_order_of_the_text(refused):
    said = refused(with_spec("tracker: bd\nmaxAgents: many\nfroge: auto"))

    lines = [line for line in said.splitlines() if not line.startswith("  ")]
    assert [line.split(" ")[0] for line in lines] == ["<stdin>:6:12:", "<stdin>:7:14:", "<stdin>:8:3:"]
    assert "\n  hint: did you mean 'forge'?" in said


def test_what_is_quoted_in_a_message_can_not_write_on_the_terminal(refused):
    assert "\u202e" not in refused(with_spec('tracker: "a\u202eb"'))
    assert len(refused(with_spec(f"tracker: {'a' * 5000}"))) < 300


# --- declared tasks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ("[{key: a, title: A}, {key: a, title: B}]", r"tasks\[1\].key: 'a' is the key of tasks\[0\] already"),
        ("[{key: a, title: A, dependsOn: [a]}]", r"dependsOn\[0\]: a task can't depend on itself"),
        ("[{key: a, title: A, dependsOn: [--x]}]", "'--x' is neither a key of this list nor an id"),
        ("[{key: lexer, title: A}, {key: b, title: B, dependsOn: [lexer..]}]", "did you mean 'lexer'"),
        ("[{key: a, title: A, dependsOn: [big]}]", "the epic that it is part of"),
        ("[{key: a, title: A, labels: ['phase:merged']}]", "label that reconcile writes itself"),
        (
            f"[{{key: a, title: A, paths: [{'a' * 95}]}}]",
            r"spec.tasks\[0\].paths\[0\]: expected one line of text of at most 94 characters",
        ),
        ("[{key: a, title: A, priority: 5}]", "from 0 to 4"),
        ("[{key: A, title: A}]", "at most 40 characters"),
        ('[{key: a, title: "A\\nB"}]', "one line of text"),
        ('[{key: a, title: "A "}]', "got 'A '\n  hint: write \"A\"$"),
        ("[{key: Lexer, title: A}]", "got 'Lexer'\n  hint: write \"lexer\"$"),
        ("[{key: a b, title: A}]", "got 'a b'$"),
        ("[{key: a}]", r"spec.tasks\[0\].title: is missing"),
    ],
)
def test_declared_tasks_can_be_made(refused, tasks, said):
    assert re.search(said, refused(with_spec(f"epic: big\ntasks: {tasks}")))


def test_the_paths_of_a_task_are_labels_which_every_tracker_keeps(read):
    tasks = "  tasks: [{key: a, title: A, labels: [ui, 'paths:a.py'], paths: [a.py, 'src/parser/**']}]\n"

    (spec,) = read(HEAD + "  agent: {argv: [a]}\n" + tasks)

    assert spec.tasks[0].labels == ("ui", "paths:a.py", "paths:src/parser/**")


def test_tasks_that_wait_for_each_other_are_refused(refused):
    tasks = "[{key: d, title: D}, {key: a, title: A, dependsOn: [b]}, {key: b, title: B, dependsOn: [d, c]}, "
    said = refused(with_spec(f"tasks: {tasks}{{key: c, title: C, dependsOn: [a]}}]"))

    assert said == "<stdin>:6:61: spec.tasks[1].dependsOn: these tasks wait for each other: a -> b -> c -> a"


def test_a_dependency_that_nobody_has_is_named_with_its_place(home):
    text = with_spec("tasks: [{key: lexer, title: A}, {key: b, title: B, dependsOn: [x-1, lexr]}]")

    def read(held):
        return manifest.load(
            ["-"], stdin=text, cwd=home, locate=lambda path: Located(main=home, default_base="main"), held=held
        )

    with pytest.raises(ManifestError) as caught:
        read(lambda main: {"x-1"} if main == home else ())
    said = "<stdin>:6:71: spec.tasks[1].dependsOn[1]: 'lexr' is neither a key of this list nor a task"
    assert str(caught.value) == said and caught.value.hint == "did you mean 'lexer'?"
    assert len(read(lambda main: {"x-1", "lexr"})) == 1


def test_two_thousand_tasks_in_a_row_are_one_manifest(read):
    rows = "".join(f"  - {{key: k{n}, title: T, dependsOn: [k{n + 1}]}}\n" for n in range(1200))

    (spec,) = read(f"{SMALL}  tasks:\n{rows}  - {{key: k1200, title: T}}\n")

    assert len(spec.tasks) == 1201


# --- YAML that means two things ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "hint"),
    [
        ("suspend: yes", 'write true; "yes" is a string'),
        ("maxAgents: 010", 'write 10; "010" is a string'),
        ("maxAgents: 99999999999999999999", 'write "99999999999999999999" for a string'),
        ("agent: {kind: claude, timeout: 1:30}", "write a duration such as 90s, 15m or 1h30m"),
        ("base: no", 'write "no"\n'),
        ("agent: {kind: claude, env: {A: yes}}", 'write "yes" for a string, or true or false for a boolean'),
        ("agent:", "indent what belongs to it, or leave the line out"),
        ("base:", "write a value, or leave the line out"),
    ],
)
def test_what_to_write_for_an_unquoted_word_depends_on_the_field(refused, field, hint):
    assert f"hint: {hint.strip()}" in refused(with_spec(field))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("spec:\n  base: main\n   maxAgents: 1\n", "indent this line as the one above it"),
        ("spec:\n  tasks:\n  - key: a\n   title: x\n", "indent what belongs together by the same number of spaces"),
        ("spec:\n  tasks:\n  - key: a\n    title: Fix: it\n", "quote text that holds ': '"),
        ("spec:\n  tasks: [{key: a, title: Fix: it}]\n", "close the bracket that is opened in line 2, or quote text"),
    ],
)
def test_wrong_indentation_and_open_brackets_are_said_as_such(refused, text, hint):
    assert hint in refused(text)


def test_a_misspelt_field_is_not_missed_as_well(refused):
    said = refused(with_spec("tasks: [{key: a, titel: x}]"))

    assert "unknown field" in said and "is missing" not in said


@pytest.mark.parametrize(
    "word",
    [
        *("yes", "No", "on", "OFF", "y", "N"),
        *("012", "08", "0x1F", "0b11", "0o17", "1_000", "+5", "1e3", "1.5e3", ".5", "5.", "12:30", "1:30:45.5"),
        *(".nan", ".inf", "-.INF", "99999999999999999999", "2001-12-14", "2001-12-14 21:59:43.10 -5:00", "=", "<<"),
    ],
)
@pytest.mark.parametrize("field", ["maxAgents: {}", "base: {}", "suspend: {}", "tasks: [{{key: a, title: {}}}]"])
def test_an_oddity_of_yaml_is_an_error_in_every_field_with_the_quoted_form_as_hint(refused, word, field):
    said = refused(with_spec(field.format(word)))

    assert f'"{word}"' in said.partition("hint: write ")[2]
    assert said.startswith(f"<stdin>:6:{3 + field.format('@').replace('{{', '{').index('@')}: spec.")


@pytest.mark.parametrize("word", ["null", "~", "NULL", ""])
@pytest.mark.parametrize("field", ["base: {}", "epic: {}", "worktrees: {}", "tasks: [{{key: a, title: {}}}]"])
def test_nothing_is_not_a_value(refused, word, field):
    assert "has no value" in refused(with_spec(field.format(word)))


@pytest.mark.parametrize(
    ("agent", "reviewer", "review", "unkept"),
    [
        ("{kind: opencode}", "", "agent", []),
        ("{kind: codex}", "", "none", ["its agents: one of kind codex"]),
        ("cheap", "", "{low: none, normal: agent, high: human}", ["its agents and reviewers: one of kind codex"]),
        ("{kind: claude}", "cheap", "agent", ["its reviewers: one of kind codex"]),
        ("{kind: claude}", "cheap", "human", []),
        ("{kind: gemini}", "cheap", "agent", ["its agents: one of kind gemini", "its reviewers: one of kind codex"]),
    ],
)
def test_of_which_agents_nobody_keeps_what_a_run_may_cost_is_known_wherever_their_kind_is_written(
    read, agent, reviewer, review, unkept
):
    profile = "apiVersion: reconcile/v1\nkind: AgentProfile\nmetadata: {name: cheap}\nspec: {kind: codex}\n---\n"
    lines = f"  agent: {agent}\n  mergePolicy: {{review: {review}}}\n  budget: {{usdPerRun: 1}}\n"
    (spec,) = read(profile + HEAD + lines + (f"  reviewer: {reviewer}\n" if reviewer else ""))

    said = [what for what, _ in budget.unkept(spec)]
    assert all(("agent.timeout" in fix) == ("agents" in what) for what, fix in budget.unkept(spec))
    assert all(
        ("reviewer.timeout" in fix) == (bool(reviewer) and "reviewers" in what) for what, fix in budget.unkept(spec)
    )

    assert [
        what.removeprefix("budget.usdPerRun ($1.00) does not hold for ").split(" can't")[0] for what in said
    ] == unkept
    assert not list(budget.unkept(replace(spec, budget=Budget(usd_per_task=1))))


@pytest.mark.parametrize(
    "where",
    [
        "mergePolicy: {{protectedPaths: [{}]}}",
        "mergePolicy: {{risk: {{high: [{}]}}}}",
        "mergePolicy: {{risk: {{low: [{}]}}}}",
        "mergePolicy: {{checks: [{{run: x, paths: [{}]}}]}}",
        "mergePolicy: {{queue: {{scopes: {{x: [{}]}}}}}}",
        "tasks: [{{key: a, title: A, paths: [{}]}}]",
    ],
)
@pytest.mark.parametrize(
    ("glob", "instead"),
    [
        ("/.github/**", ", like '.github/**'"),
        ("src/billing/", ", like 'src/billing/**'"),
        ("./a.py", ", like 'a.py'"),
        ("../x", ", like 'x'"),
        ("a//b", ", like 'a/b'"),
        ("/", ""),
    ],
)
def test_a_glob_that_no_path_can_fit_is_refused_with_one_that_may_be_meant(refused, where, glob, instead):
    said = refused(with_spec(where.format(glob)))

    assert (
        f"'{glob}' fits no path; allowed: globs of paths as git has them, from the top of the repository{instead}"
        in said
    )


@pytest.mark.parametrize("field", ["usd", "usdPerTask", "tokens"])
def test_a_budget_without_a_bound_may_say_so(read, refused, field):
    said = {"usd": 1, "usdPerTask": 1, "tokens": 1} | {field: "null"}
    line = ", ".join(f"{name}: {value}" for name, value in said.items())

    (spec,) = read(HEAD + f"  agent: {{kind: claude}}\n  budget: {{{line}}}\n")

    assert [spec.budget.usd, spec.budget.usd_per_task, spec.budget.tokens].count(None) == 1
    assert "has no value" in refused(HEAD + f"  agent: {{kind: claude}}\n  budget: {{{field}: ~}}\n")


@pytest.mark.parametrize(
    ("lines", "hint"),
    [
        ("checks: [just check]", "did you mean spec.mergePolicy.checks?"),
        ("model: opus", "did you mean spec.agent.model?"),
        ("mergePolicy: {timeout: 30 minutes}", "write 30m"),
        ("mergePolicy: {timeout: 30min}", "write 30m"),
        ("mergePolicy: {timeout: 1d}", "write 24h"),
        ('budget: {usd: "25"}', "write 25 without quotes"),
        ("tasks: [{key: a, title: A, priority: high}]", "0 goes first, 2 is the default, 4 goes last"),
        ("tasks: [{key: a, title: A, priority: P1}]", "0 goes first"),
    ],
)
def test_what_people_write_who_have_not_read_how_gets_a_hint(refused, lines, hint):
    assert f"hint: {hint}" in refused(with_spec(lines))


def test_no_hint_says_to_write_what_is_as_wrong(refused):
    said = refused(HEAD + "  agent: claude\n  mergePolicy: {review: true, queue: {parallel: 0}}\n")

    assert "got true" in said and "got 0" in said and "hint" not in said


@pytest.mark.parametrize("line", ["notify: me@x.org", "tasks: write it"])
def test_text_is_no_list_of_what_is_not_text(refused, line):
    said = refused(with_spec(line))

    assert "expected a list of items that are each a mapping" in said and "did you mean" not in said


def test_what_a_mapping_holds_is_named(refused):
    said = refused(with_spec("mergePolicy: {queue: {scopes: [src]}}"))

    assert "scopes: expected a mapping of names to lists of strings, got a list" in said


def test_a_command_line_where_its_words_are_wanted_is_shown_as_those(refused):
    said = refused(HEAD + "  agent: claude\n  notify: [{on: [Degraded], run: 'notify-send hi'}]\n")

    assert 'hint: did you mean ["notify-send", "hi"]?' in said


def test_an_entry_of_notify_names_one_recipient(refused):
    both = refused(HEAD + "  agent: claude\n  notify: [{on: [Degraded], run: [wall], url: 'ntfy://x'}]\n")
    assert "names two recipients, run and url; allowed: one here, and another entry for the other" in both
    assert "names no recipient; allowed: run or url" in refused(
        HEAD + "  agent: claude\n  notify: [{on: [Degraded]}]\n"
    )


def test_a_manifest_without_an_agent_is_told_how_to_name_one(refused):
    assert "hint: write 'agent: claude'" in refused(HEAD + "  maxAgents: 1\n")


@pytest.mark.parametrize("word", ["1.2.3", "v1", "bd-17", "1st", "none", "yesterday", "a:b", "0.x", "e3", "12ab"])
def test_plain_words_stay_words(read, word):
    assert read(with_spec(f"base: {word.replace(':', '')}"))[0].base == word.replace(":", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &x 1\n", "1:4: a: anchors such as &x are not allowed"),
        ("a: *x\n", "1:4: a: aliases such as [*]x are not allowed"),
        ("a: !!python/object:os.system x\n", "tags such as !!str are not allowed"),
        ("a: ! x\n", "tags such as"),
        ("a: 1\na: 2\n", "2:1: a: duplicate key, first defined on line 1"),
        (HEAD + "  agent: {argv: [a], argv: [b]}\n", "spec.agent.argv: duplicate key, first defined on line 5"),
        ('a: x\nb: "claude\nc: 1\n', "2:4: .*the quote that begins here"),
        ('a: "#12" fix\n', "1:10: .*hint: put the whole value in quotes"),
        (HEAD + "  tasks:\n    key: a\n    key: b\n", "duplicate key.*hint: begin each item of the list with '- '"),
        (
            HEAD + "  agent: claude\n  tasks:\n    key: a\n",
            "got a mapping.*hint: begin each item of the list with '- '",
        ),
        ("<<: {a: 1}\n", "the key << has a special meaning in YAML.*hint: write the fields out"),
        ("on: 1\n", 'the key on is a boolean in YAML 1.1 .*write "on"'),
        ("1: a\n", 'a key must be text, not 1.*write "1"'),
        ("?\n: a\n", "a key is empty"),
        ("? [a]\n: b\n", "a key must be text, not a mapping or a list"),
        ("? {a: b}\n: b\n", "a key must be text, not a mapping or a list"),
        ("<<: {a: b}\n", "the key << has a special meaning"),
        ("- a\n", "1:1: a document is a mapping such as 'kind: Epic', not a list"),
        ("hello\n", "1:1: a document is a mapping"),
        ("a:\n\t- b\n", "2:1: is not valid YAML: .*indent with spaces, not tabs"),
        ("a: b: c\n", "1:5: is not valid YAML"),
        ("a: [b\n", "2:1: is not valid YAML"),
        ('a: "\\U99999999"\n', "is not valid YAML"),
        ('a: "\\ud800"\n', "is not valid YAML|U[+]D800"),
        ('a: "\\x1b[31m"\n', "1:4: a: holds the character U[+]001B"),
        ('a: "\\0"\n', "holds the character U[+]0000"),
        ('a: "b\\rc"\n', "holds the character U[+]000D"),
        ("a: b\n\nc: \x07\n", "3:4: holds the character U[+]0007"),
        ("%YAML 9.9\n---\na: b\n", "is not valid YAML"),
        (f"a: {'[' * 100_000}", "nested deeper than 32"),
        ("a: " + "{a: " * 40 + "1" + "}" * 40, "nested deeper than 32"),
        (f"a: [{'1, ' * 10_001}]", "holds more than 10000 values"),
        (f"a: {'x' * 300_000}", "is larger than 256 KiB"),
    ],
)
@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
def test_what_no_manifest_may_hold_is_refused_with_its_place(refused, monkeypatch, text, said, loader):
    monkeypatch.setattr(yaml_text, "_LOADER", getattr(yaml, loader, yaml.SafeLoader))

    assert re.search(said, refused(text), re.DOTALL), refused(text)[:500]


def test_a_bomb_of_aliases_is_refused_before_it_is_built(refused):
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 10))

    assert "anchors such as &l0 are not allowed" in refused(f"l0: &l0 [lol, lol]\n{levels}")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (SMALL.encode("utf-16"), "1:1: is UTF-16, not UTF-8"),
        (SMALL.encode() + b"# caf\xe9\n", "6:6: is not valid UTF-8 from this byte on"),
        (b"\x00" * 10, "holds the character U[+]0000"),
        (bytes(range(128, 256)), "1:1: is not valid UTF-8"),
    ],
)
def test_a_file_in_another_encoding_is_refused(tmp_path, content, said):
    (tmp_path / "x.yaml").write_bytes(content)

    with pytest.raises(ManifestError, match=f"^x.yaml:.*{said}"):
        manifest.load(["x.yaml"], cwd=tmp_path, locate=found_at([]))


# --- whatever is written -------------------------------------------------------------------------------------


def only_a_manifest_error(text):
    def locate(path):
        if "x" in str(path):
            raise PermanentError("not in a git repository")
        return Located(main=Path("/srv/shop"), default_base="main")

    with contextlib.suppress(ManifestError):
        manifest.load(["-"], stdin=text, cwd=Path("/srv/shop"), locate=locate)


WORDS = st.sampled_from(
    [
        *"[]{}:,-?!&*#|>%@`\"'\n\t ",
        "\n  ",
        "\n    ",
        ": ",
        "- ",
        "null",
        "no",
        "012",
        ".nan",
        "1e400",
        "&a",
        "*a",
        "!!int",
        "\\",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=6) | st.sampled_from(["kind", "argv"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=300) | st.lists(WORDS | st.text(max_size=3), max_size=60).map("".join))
@example('"\ud800"')
@example("\ufeff\ufeffa: b")
@example("? ")
@example("%TAG ! tag:x,2000:\n---\n!a b")
def test_no_text_does_anything_but_be_refused(text):
    only_a_manifest_error(text)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_no_damaged_manifest_does_anything_but_be_read_or_refused(data):
    start = data.draw(st.integers(0, len(FULL)))
    end = data.draw(st.integers(start, min(len(FULL), start + 40)))
    only_a_manifest_error(FULL[:start] + data.draw(WORDS | st.text(max_size=6)) + FULL[end:])


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_no_value_in_any_field_does_anything_but_be_read_or_refused(data):
    document = yaml.safe_load(FULL)
    within = document
    while True:
        key = data.draw(st.sampled_from(list(within) if isinstance(within, dict) else list(range(len(within)))))
        if not isinstance(within[key], dict | list) or not within[key] or data.draw(st.booleans()):
            break
        within = within[key]
    within[key] = data.draw(VALUES)

    only_a_manifest_error(yaml.safe_dump(document, allow_unicode=True))


# --- the cost ------------------------------------------------------------------------------------------------


def test_what_only_reads_recorded_manifests_does_without_pydantic(tmp_path):
    program = "import sys, reconciler.manifest as m; m.Recorded(__import__('pathlib').Path('.')).load(); sys.exit('pydantic' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parent.parent).returncode == 0
