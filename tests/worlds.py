"""Worlds for tests, made with defaults: mention only what matters."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from reconciler.model.agent_spec import AgentSpec
from reconciler.model.checks import Check
from reconciler.model.desired import Desired, EpicSpec, MergePolicy, WorktreeSpec
from reconciler.model.names import BranchName, PrNumber, RunId, RunKind, Sha, TaskId, branch_of, check_subject
from reconciler.model.observed import (
    Base,
    Branch,
    Candidate,
    Cause,
    Checkout,
    Conflict,
    Exit,
    Failure,
    Landing,
    Observed,
    Occupant,
    PullRequest,
    PullState,
    Rejection,
    RetryPoint,
    Run,
    RunState,
    StopWhy,
    Task,
    Unknown,
    Upon,
    Worktree,
    WorktreeFault,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
US = "reconcile@localhost"
CHECKS = ("just check",)
BASE = Sha("b0" * 20)
HEAD = Sha("c1" * 20)
OTHER = Sha("d2" * 20)
TREE = Sha("e3" * 20)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def an_epic(**fields: Any) -> EpicSpec:
    """A manifest over every task of the repository, with one check."""
    merge = fields.pop("merge", {})
    agent = fields.pop("agent", {})
    if isinstance(fields.get("reviewer"), dict):
        fields["reviewer"] = AgentSpec(**fields["reviewer"])
    return EpicSpec(
        **{
            "name": "all",
            "repository": "/repo",
            "agent": AgentSpec(**{"argv": ("agent",), **agent}) if isinstance(agent, dict) else agent,
            "worktrees": WorktreeSpec(root="/worktrees"),
            "merge": a_policy(**merge) if isinstance(merge, dict) else merge,
            "recorded_at": ago(86400),
            **fields,
        }
    )


def a_policy(**fields: Any) -> MergePolicy:
    """A policy with one check, or these: a text each, or the fields of one."""
    checks = [
        {"run": each} if isinstance(each, str) else msgspec.structs.asdict(each) if isinstance(each, Check) else each
        for each in fields.pop("checks", CHECKS)
    ]
    made = tuple(Check(**{**each, "paths": tuple(each.get("paths", ()))}) for each in checks)
    scopes = tuple((name, tuple(globs)) for name, globs in fields.get("scopes", {}).items())
    return MergePolicy(**{**fields, "checks": made, "scopes": scopes})


def a_task(id: str = "x-1", **fields: Any) -> Task:
    labels = frozenset(fields.pop("labels", ()))
    return Task(
        **{"id": TaskId(id), "title": id, "created_at": ago(86400), "updated_at": ago(3600), "labels": labels, **fields}
    )


def a_run(task: str = "x-1", n: int = 1, *, state: str = "ended", **fields: Any) -> Run:
    """A work run; without an `exit` field one that ended well a minute ago, unless its state says otherwise."""
    record = fields.pop("exit", {} if state == "ended" else None)
    return Run(
        **{
            "id": RunId(RunKind.WORK, task, n),
            "task": TaskId(task),
            "manifest": "all",
            "state": RunState(state),
            "started_at": ago(120),
            "baseline": BASE,
            "attempt": n,
            "exit": None if record is None else an_exit(**record),
            **fields,
        }
    )


def a_check(result: str, n: int = 1, task: str = "x-1") -> Run:
    """A check run of the candidate's tree: `passed`, `failed`, `running` or `lost`."""
    state = {"running": RunState.RUNNING, "lost": RunState.LOST}.get(result, RunState.ENDED)
    return Run(
        id=RunId(RunKind.CHECK, check_subject(TREE, CHECKS), n),
        task=TaskId(task),
        manifest="all",
        state=state,
        tree=TREE,
        started_at=ago(60),
        exit=an_exit(code=0 if result == "passed" else 1) if state is RunState.ENDED else None,
    )


def an_exit(code: int | None = 0, cause: str = "exited", at: datetime | None = None, **fields: Any) -> Exit:
    stop = fields.pop("stop", None)
    return Exit(cause=Cause(cause), at=at or ago(60), code=code, stop=StopWhy(stop) if stop else None, **fields)


def a_branch(task: str = "x-1", *, ahead: int = 1, head: Sha | None = None, in_base: bool = False) -> Branch:
    return Branch(
        name=BranchName(branch_of(TaskId(task))), head=head or (HEAD if ahead else BASE), ahead=ahead, in_base=in_base
    )


def a_worktree(task: str = "x-1", **fields: Any) -> Worktree:
    return Worktree(**{"path": f"/worktrees/{task}", "head": HEAD, **fields})


def a_pull(task: str = "x-1", number: int = 7, **fields: Any) -> PullRequest:
    return PullRequest(
        **{"number": PrNumber(number), "task": TaskId(task), "head": HEAD, "opened_head": HEAD, **fields}
    )


def a_candidate(*changed: str, head: Sha = HEAD) -> Candidate:
    return Candidate(base=BASE, head=head, tree=TREE, changed=frozenset(changed or ("a.py",)))


def a_conflict(*paths: str) -> Conflict:
    return Conflict(base=BASE, head=HEAD, paths=paths or ("a.py",))


def seen(*tasks: Task, **fields: Any) -> Observed:
    """A look at a world that holds these tasks; per-task facts are given as dictionaries by task id."""
    base = fields.pop("base", Base(name="main", head=BASE, checkout=Checkout(path="/repo")))
    checks = fields.pop("checks", ())
    runs = () if isinstance(checks, Unknown) else checks
    by_subject = {run.id.subject: tuple(each for each in runs if each.id.subject == run.id.subject) for run in runs}
    by_head = {run.baseline: tuple(each for each in runs if each.baseline == run.baseline) for run in runs}
    by_tree = {run.tree: tuple(each for each in runs if each.tree == run.tree) for run in runs}
    return Observed(
        **{
            "at": NOW,
            "prefix": "x",
            "tracker_folder": ".beads",
            "tasks": {task.id: task for task in tasks},
            "checks": checks if isinstance(checks, Unknown) else by_subject,
            "checks_of": by_head,
            "checks_at": by_tree,
            "bases": {"main": base},
            **fields,
        }
    )


def wanted(*epics: EpicSpec, **fields: Any) -> Desired:
    return Desired(epics=epics or (an_epic(),), **fields)


__all__ = [
    "BASE", "CHECKS", "HEAD", "NOW", "OTHER", "TREE", "US", "Failure", "Landing", "Mapping", "Occupant", "PullState",
    "Rejection", "RetryPoint", "Unknown", "Upon", "WorktreeFault", "a_branch", "a_candidate", "a_check", "a_conflict", "a_pull",
    "a_run", "a_task", "a_worktree", "ago", "an_epic", "an_exit", "seen", "wanted",
]  # fmt: skip
