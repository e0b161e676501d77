"""Golden decisions: one file in `plans/` per rule, `given` a world `then` this plan. The file's name is the rule.

`given.tasks` holds one entry per task: the task's own fields, and beside them what was found to belong to it. The
fields are those of `reconciler.model.observed`; `started_ago: 30` is `started_at` thirty seconds before now, `until_in: 60`
is `until` in a minute; `head`, `base` and `other` are commits, `us` is this reconciler. `given.manifest` (or
`manifests`) holds fields of `reconciler.model.desired.EpicSpec`; without it there is one manifest over the whole repository.

`then.actions` is every action of the plan (labels left out unless one is named), as `StartAgent x-1` or with fields
that must be so. `then.waiting` is every task that waits, and for what. `held`, `degraded` and `advice` are those of the first
manifest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import worlds
import yaml

from reconciler.model.agent_kinds import AgentKind
from reconciler.model.agent_spec import Override
from reconciler.model.changes import Diff, File
from reconciler.model.checks import Check
from reconciler.model.desired import (
    Budget,
    Comments,
    EpicSpec,
    InlineTask,
    LandingMode,
    MergeMethod,
    MergeMode,
    NoChecks,
    OnConflict,
    Prune,
)
from reconciler.model.names import RunId, RunKind, Sha, TaskId, check_subject, review_subject
from reconciler.model.observed import (
    Base,
    BaseCommit,
    Candidate,
    Checkout,
    CheckResult,
    Comment,
    Conflict,
    Dequeued,
    Failure,
    ForgeCheck,
    Judged,
    Landing,
    LastWords,
    Observed,
    Occupant,
    PullState,
    QueueSpot,
    Rejection,
    Rerun,
    RetryPoint,
    Room,
    Rules,
    Run,
    RunState,
    Salvage,
    Says,
    StagedCheck,
    Standing,
    Task,
    Thread,
    Touched,
    Unknown,
    Upon,
    WorktreeFault,
)
from reconciler.model.report import Fault, Report
from reconciler.model.review_by_risk import Review, ReviewByRisk, RiskLevel
from reconciler.model.values import replace
from reconciler.model.venue import Venue, VenueKind
from reconciler.model.verdicts import LineComment, ReviewVerdict, ReviewWord, mark_of
from reconciler.planning.actions import Action
from reconciler.planning.plan import Plan
from reconciler.planning.planner import plan
from reconciler.planning.review_terms import terms

PLANS = sorted(Path(__file__).parent.joinpath("plans").glob("*.yaml"))
SOURCES = {
    "tracker": "tasks",
    "runs": "runs",
    "checks": "checks",
    "worktrees": "worktrees",
    "processes": "occupants",
    "branches": "branches",
    "forge": "pull_requests",
    "landings": "landings",
}
COMMITS = {"base": worlds.BASE, "head": worlds.HEAD, "other": worlds.OTHER}
COMMIT_FIELDS = (
    "fork", "head", "landed", "left", "approved", "merge_now", "opened_head", "baseline", "base_tip", "commit", "base", "refused",
)  # fmt: skip


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_the_rule_holds(path: Path) -> None:
    rule = yaml.safe_load(path.read_text())
    assert set(rule) == {"why", "given", "then"}
    decided = plan(*_given(**rule["given"]))
    then = rule["then"]
    assert set(then) <= {
        "actions",
        "waiting",
        "held",
        "degraded",
        "converged",
        "advice",
        "unknown",
        "remarks",
        "says",
        "wakes_in",
    }
    _assert_actions(decided, then.get("actions", []))
    assert {task: str(w.reason) for e in decided.epics for task, w in e.waiting.items()} == then.get("waiting", {})
    words = {task: word.message for epic in decided.epics for task, word in epic.waiting.items()}
    assert words | then.get("says", {}) == words
    for name in ("held", "degraded", "advice"):
        said = getattr(decided.epics[0], name)
        assert (str(said.reason) if said else None) == then.get(name), said
    if "wakes_in" in then:
        assert decided.wake_at == worlds.ago(-then["wakes_in"])
    if "remarks" in then:
        said = {task: str(word.reason) for epic in decided.epics for task, word in epic.remarks.items()}
        assert said == then["remarks"]
    assert decided.converged == then.get("converged", False)
    if "unknown" in then:
        assert [source for source, _ in decided.epics[0].unknown] == then["unknown"]


def test_every_plan_explains_itself() -> None:
    assert len(PLANS) >= 40
    for path in PLANS:
        assert len(yaml.safe_load(path.read_text())["why"].split()) >= 5, path


def _assert_actions(decided: Plan, expected: list[str | dict[str, Any]]) -> None:
    wanted = [_entry(entry) for entry in expected]
    labels = any(entry["action"] == "SetPhase" for entry in wanted)
    actions = [action for action in decided.actions if labels or type(action).__name__ != "SetPhase"]
    found = [_shown(action, entry) for action, entry in zip(actions, wanted, strict=False)]
    found += [_shown(action, {"action": "", "task": ""}) for action in actions[len(wanted) :]]
    assert found == wanted


def _entry(entry: str | dict[str, Any]) -> dict[str, Any]:
    if isinstance(entry, dict):
        return entry
    name, _, task = entry.partition(" ")
    return {"action": name, "task": task or None}


def _shown(action: Action, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an action that a plan asks about."""
    return {name: _plain(type(action).__name__ if name == "action" else _value(action, name)) for name in wanted}


def _value(action: Action, name: str) -> object:
    value: object = action
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _plain(value: object) -> object:
    named = next((name for name, commit in COMMITS.items() if commit == value), None)
    if named:
        return named
    if isinstance(value, frozenset | tuple):
        return sorted(map(str, value))
    return value if isinstance(value, int | float | None) else str(value)


# --- what is given -------------------------------------------------------------------------------------------


def _given(
    tasks: Mapping[str, Mapping[str, Any] | None] | None = None,
    manifest: Mapping[str, Any] | None = None,
    manifests: list[Mapping[str, Any]] | None = None,
    silent: list[str] | None = None,
    max_agents: int | None = None,
    acting: list[str] | None = None,
    alone: str | None = None,
    **world: Any,
) -> tuple[Any, Observed]:
    made = _World()
    for id, said in (tasks or {}).items():
        made.add(TaskId(id), dict(said or {}))
    made.mark()
    found = made.found | _around(world, made)
    for source in silent or []:
        if source == "base":
            found["base"] = Unknown("no answer")
        elif source == "forge for a while":
            found["pull_requests"] = Unknown("no answer", 30.0)
        else:
            found[SOURCES[source]] = Unknown("no answer")
    tasks_seen = found.pop("tasks", None)
    observed = worlds.seen(*made.tasks, **found)
    if tasks_seen is not None:
        observed = replace(observed, tasks=tasks_seen)
    epics = [_epic(**said) for said in manifests or [manifest or {}]]
    observed = _under_its_terms(observed, epics[0])
    wanted = worlds.wanted(*epics, max_agents=max_agents)
    wanted = replace(wanted, acting=None if acting is None else frozenset(acting), alone=alone and TaskId(alone))
    return wanted, observed


def _under_its_terms(observed: Observed, epic: EpicSpec) -> Observed:
    """Who reviews is told to look, and what was reviewed under the terms of the manifest was so under these."""
    known = terms(epic, _TOLD)
    reviews = {
        task: tuple(replace(run, judged=known) if run.judged == _UNDER else run for run in runs)
        for task, runs in observed.reviews.items()
    }
    return replace(observed, reviews=reviews, review_prompts={epic.name: _TOLD})


def _epic(**said: Any) -> EpicSpec:
    said = _timed(said)
    kinds = {
        "mode": MergeMode, "method": MergeMethod, "no_checks": NoChecks, "review": _review, "on_conflict": OnConflict,
        "comments": Comments, "landing": LandingMode,
    }  # fmt: skip
    merge = {name: kinds.get(name, _tuple)(value) for name, value in said.pop("merge", {}).items()}
    inline = [InlineTask(**_tuples(task)) for task in said.pop("tasks", [])]
    applied = {task["key"]: InlineTask(**_tuples(task)) for task in said.pop("applied", [])}
    prune = Prune(**said.pop("prune", {}))
    if "budget" in said:
        said["budget"] = Budget(**said["budget"])
    if "runner" in said:
        said["runner"] = _placing(said["runner"])
    for name in ("agent", "reviewer"):
        if isinstance(agent := said.get(name), dict):
            said[name] = _agent(**agent)
    return worlds.an_epic(merge=merge, tasks=tuple(inline), applied=applied, prune=prune, **said)


def _review(said: str | Mapping[str, str]) -> ReviewByRisk:
    if isinstance(said, str):
        return ReviewByRisk.always(Review(said))
    return ReviewByRisk(**{level: Review(review) for level, review in said.items()})


def _agent(**said: Any) -> dict[str, Any]:
    if "kind" in said:
        said["kind"] = AgentKind.of(said["kind"])
    said["overrides"] = tuple(Override(**_placed(each)) for each in said.get("overrides", ()))
    return _placed(said)


def _placed(said: Mapping[str, Any]) -> dict[str, Any]:
    by = {"runner": _placing(said["runner"])} if "runner" in said else {}
    return {**_tuples(said), **by}


def _placing(said: Any) -> Venue | tuple[str, ...]:
    """Where something is worked on, or with which options."""
    if said == "local":
        return Venue()
    return Venue(**_tuples(said) | {"kind": VenueKind(said["kind"])}) if "kind" in said else tuple(said["options"])


def _around(world: dict[str, Any], made: _World) -> dict[str, Any]:
    """What belongs to no task: the base and its checkout, saved work, what can't be used."""
    found: dict[str, Any] = {}
    base = {
        name: world.pop(name)
        for name in ("unpushed", "diverged", "remote", "behind", "fetched", "frozen", "encoded")
        if name in world
    }
    on_a_forge = "rules" in world or any(pull.checks for pull in made.found["pull_requests"].values())
    if (rules := world.pop("rules", {})) or on_a_forge:
        base["rules"] = Rules(forge="GitHub", **{k: _rule(k, v) for k, v in rules.items()})
    checkout = world.pop("checkout", {})
    found["base"] = Base(
        name="main",
        head=worlds.BASE,
        checkout=Checkout(
            path="/repo",
            dirty=frozenset(checkout.get("dirty", ())),
            busy=checkout.get("busy"),
            locked=checkout.get("locked", False),
            undoes=tuple(checkout.get("undoes", ())),
        ),
        **base,
    )
    found["salvages"] = tuple(_salvage(**said) for said in world.pop("salvages", []))
    found["agents_missing"] = world.pop("agents_missing", {})
    found["reviewers_missing"] = world.pop("reviewers_missing", {})
    found["linked_prompts"] = {k: frozenset(v) for k, v in world.pop("linked_prompts", {}).items()}
    found["replaced"] = world.pop("replaced", None)
    found["room"] = Room(**world.pop("room", {}))
    found["forges"] = world.pop("forges", {})
    found["trackers"] = world.pop("trackers", {})
    found["unwritable"] = world.pop("unwritable", {})
    found["remotes"] = world.pop("remotes", {})
    found["unstaged"] = world.pop("unstaged", {})
    found["check_worktrees"] = {
        made.subject(TaskId(task)): f"/worktrees/.checks/{task}" for task in world.pop("check_worktrees", [])
    }
    reviewed = (review_subject(TaskId(task), worlds.HEAD) for task in world.pop("review_worktrees", []))
    found["check_worktrees"] |= {subject: f"/worktrees/.checks/{subject}" for subject in reviewed}
    assert not world, f"unknown words: {sorted(world)}"
    return found


def _salvage(age_days: float, **said: Any) -> Salvage:
    """Saved work so many days of ticks old, whatever the clock said when it was saved."""
    return Salvage(commit=worlds.OTHER, age=timedelta(days=age_days), **{"at": worlds.NOW, **_timed(said)})


def _rule(name: str, value: object) -> object:
    return frozenset(value) if name in ("methods", "red") and isinstance(value, list) else _tuple(value)


_BASE_TREE = Sha("ba" * 20)
_HEAD_TREE = Sha("4e" * 20)
_TOLD = "Look."


def _file(path: str, kind: str, added: str = "+1", deleted: str = "-0") -> File:
    binary = added == "binary"
    return File(path=path, kind=kind, added=None if binary else int(added), deleted=None if binary else -int(deleted))


def _a_review(
    id: TaskId,
    n: int,
    verdict: str | None = None,
    risk: str | None = None,
    summary: str = "so it is",
    comments: Iterable[Mapping[str, Any]] = (),
    of: str = "head",
    under: str = "the same",
    **said: Any,
) -> Run:
    """A review that ended well a minute ago. `of` another tree, or `under` other terms, it is about something else."""
    answer = verdict and ReviewVerdict(
        verdict=ReviewWord(verdict),
        risk=RiskLevel(risk) if risk else None,
        summary=summary,
        comments=tuple(LineComment(**each) for each in comments),
    )
    head, run = COMMITS[of], worlds.a_run(id, n, **_run_fields(said))
    return replace(
        run,
        id=RunId(RunKind.REVIEW, review_subject(id, head), n),
        baseline=head,
        base_tip=run.base_tip or worlds.BASE,
        tree=_HEAD_TREE if of == "head" else _BASE_TREE,
        judged=_UNDER if under == "the same" else under,
        verdict=answer or None,
    )


_UNDER = "the terms of the manifest"  # put in once that is known


class _World:
    """Tasks and what belongs to them, sorted into the sources that tell of it."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        by_task = (
            "runs", "reviews", "diffs", "worktrees", "branches", "pull_requests", "candidates", "landings", "since", "occupants", "failures",
        )  # fmt: skip
        self.found: dict[str, Any] = {name: {} for name in by_task}
        self.found["touched"], self.found["past"], self.found["stacks"] = {}, {}, {}
        self.found["authors_words"], self.found["staged"] = {}, {}
        self.found["checks"] = []
        self.found["merged_by_hand"] = frozenset()
        self.found["repaired"] = frozenset()

    def add(self, id: TaskId, said: dict[str, Any]) -> None:
        tell = {
            "runs": self._runs, "worktree": self._worktree, "branch": self._branch, "pull_request": self._pull,
            "changes": self._changes, "conflict": self._conflict, "checks": self._checks, "landed": self._landed,
            "staged": self._staged,
            "since": self._since, "occupant": self._occupant, "failure": self._failure,
            "on_the_base": self._on_the_base, "touched": self._touched, "stack": self._stack, "changed": self._changed, "left": self._left, "diff": self._diff, "reviews": self._reviews,
        }  # fmt: skip
        if said.get("checks"):
            said.setdefault("on_the_base", ["passed"])
        for word in tell.keys() & said:
            tell[word](id, said.pop(word))
        for word in ("merged_by_hand", "repaired"):
            if said.pop(word, False):
                self.found[word] |= {id}
        if not said.pop("deleted", False):
            self.tasks.append(worlds.a_task(id, **_tuples(_commits(_timed(said)))))

    def mark(self) -> None:
        """What is posted of reviews, and still stands: given by the reviews' numbers, known by their marks."""
        for id, pull in self.found["pull_requests"].items():
            marks = {run.id.n: mark_of(run.id, run.verdict) for run in self.found["reviews"].get(id, ()) if run.verdict}
            for name in ("posted", "standing"):
                if (said := getattr(pull, name)) is not None:
                    pull = replace(pull, **{name: frozenset(marks.get(n, str(n)) for n in said)})
            pull = replace(pull, dismissed={marks[int(n)]: by for n, by in pull.dismissed.items()})
            self.found["pull_requests"][id] = pull

    def subject(self, id: TaskId) -> str:
        return check_subject(_tree(id), worlds.CHECKS)

    def _runs(self, id: TaskId, runs: list[dict[str, Any]]) -> None:
        self.found["runs"][id] = tuple(
            worlds.a_run(id, n, **_run_fields(said)) for n, said in enumerate(runs, start=1)
        )  # fmt: skip

    def _worktree(self, id: TaskId, said: dict[str, Any]) -> None:
        fault = said.pop("fault", None)
        self.found["worktrees"][id] = worlds.a_worktree(
            id, fault=WorktreeFault(fault) if fault else None, **_timed(said)
        )

    def _branch(self, id: TaskId, said: dict[str, Any]) -> None:
        self.found["branches"][id] = worlds.a_branch(id, **_commits(said))

    def _pull(self, id: TaskId, said: dict[str, Any]) -> None:
        said = _commits(_timed(said))
        if "state" in said:
            said["state"] = PullState(said["state"])
        if "here" in said:
            said["here"] = Standing(said["here"])
        if "elsewhere" in said:
            results = said.pop("elsewhere").items()
            how = {"number": 1, "workflow": said.pop("workflow", None)}
            said["checks"] = tuple(ForgeCheck(name=name, result=CheckResult(result), **how) for name, result in results)
        if "red_beneath" in said:
            said["red_beneath"] = frozenset(said["red_beneath"])
        if "queue" in said:
            said["queue"] = QueueSpot(**said["queue"])
        if "removed" in said:
            said["removed"] = Dequeued(**{"at": worlds.ago(30), **said["removed"]})
        if "to" in said:
            said["base"] = said.pop("to")
        if "threads" in said:
            said["threads"] = tuple(_thread(**each) for each in said["threads"])
        if "updated" in said:
            said["updated"] = tuple(Judged(_BASE_TREE, COMMITS[start]) for start in said["updated"])
        if "remarks" in said:
            said["remarks"] = tuple(_comment(**each) for each in said["remarks"])
        if "rerun_at" in said:
            said["rerun"] = Rerun(at=said.pop("rerun_at"), after=frozenset({1}))
        if "rejection" in said:
            said["rejection"] = Rejection(head=worlds.HEAD, text=said["rejection"])
        said.setdefault("number", 6 + len(self.tasks) + 1)
        self.found["pull_requests"][id] = worlds.a_pull(id, **said)

    def _changes(self, id: TaskId, paths: list[str] | dict[str, list[str]] | str) -> None:
        apart = isinstance(paths, dict) and "apart" in paths
        self.found["candidates"][id] = (
            Unknown("no answer")
            if paths == "silent"
            else Candidate(
                base=worlds.BASE,
                head=worlds.HEAD,
                tree=_tree(id),
                changed=frozenset(paths.get("apart", ()) if isinstance(paths, dict) else paths),
                submodules=frozenset(paths.get("submodules", ()) if isinstance(paths, dict) else ()),
                is_head=not apart,
            )
        )

    def _stack(self, id: TaskId, said: dict[str, Any]) -> None:
        self.found["stacks"][id] = Upon(**{"fork": worlds.OTHER, **_commits(said)})

    def _left(self, id: TaskId, words: dict[str, str]) -> None:
        """What its newest attempt has left of itself, whose agent reports nothing."""
        self.found["authors_words"][id] = LastWords(**words)

    def _touched(self, id: TaskId, paths: list[str]) -> None:
        self.found["touched"][id] = Touched(frozenset(paths), now=True)

    def _changed(self, id: TaskId, paths: list[str]) -> None:
        """It has landed, and that is what it changed."""
        commit = Sha(hashlib.sha256(id.encode()).hexdigest()[:40])
        self.found["landings"][id] = Landing(task=id, head=worlds.HEAD, commit=commit, at=worlds.ago(600))
        self.found["past"][commit] = frozenset(paths)

    def _diff(self, id: TaskId, files: Mapping[str, str] | str) -> None:
        """What the head brings to its base: by path `A +3 -1` and so on. The lines that it shows are the first ten."""
        self.found["diffs"][id] = (
            Unknown("no answer")
            if files == "silent"
            else Diff(
                start=worlds.BASE,
                head=worlds.HEAD,
                tree=_HEAD_TREE,
                files=tuple(_file(path, *said.split()) for path, said in files.items()),
                lines=dict.fromkeys(files, ((1, 10),)),
            )
        )

    def _reviews(self, id: TaskId, reviews: list[dict[str, Any]]) -> None:
        """Reviews of the head that is offered, under what holds now, unless they say otherwise."""
        self.found["reviews"][id] = tuple(_a_review(id, n, **said) for n, said in enumerate(reviews, start=1))

    def _conflict(self, id: TaskId, paths: list[str]) -> None:
        self.found["candidates"][id] = Conflict(base=worlds.BASE, head=worlds.HEAD, paths=tuple(paths))

    def _on_the_base(self, id: TaskId, results: list[str]) -> None:
        """How the checks ended on the base as it is: by name (and ten minutes ago), or with that exit status; silent where nobody can tell."""
        if results == "silent":
            self.found["recent"] = {"main": Unknown("no answer")}
            return
        self.found["recent"] = {"main": (BaseCommit(worlds.BASE, _BASE_TREE),)}
        subject = check_subject(_BASE_TREE, worlds.CHECKS)
        for n, result in enumerate(results, start=1):
            run = worlds.a_check(result.removesuffix(" long ago") if isinstance(result, str) else "failed", n, id)
            run = replace(run, id=RunId(RunKind.CHECK, subject, n), tree=_BASE_TREE)
            if isinstance(result, str) and result.endswith(" long ago"):
                run = replace(run, started_at=worlds.ago(600), exit=worlds.an_exit(at=worlds.ago(590)))
            if isinstance(result, int):
                run = replace(run, exit=worlds.an_exit(code=result))
            if run not in self.found["checks"]:
                self.found["checks"].append(run)

    def _checks(self, id: TaskId, results: list[str]) -> None:
        for n, result in enumerate(results, start=1):
            stale = result.removeprefix("stale ")
            tree = _tree(TaskId(f"{id} before" if stale != result else id))
            subject = check_subject(tree, worlds.CHECKS)
            run: Run = replace(
                worlds.a_check(stale, n, id)
                if stale not in ("unavailable", "killed", "lacking", "lost with its node", "swept up after")
                else worlds.a_check("failed", n, id),
                id=RunId(RunKind.CHECK, subject, n),
                tree=tree,
                baseline=worlds.HEAD,
            )
            if stale == "lacking":
                run = replace(run, exit=worlds.an_exit(code=127))
            if stale == "lost with its node":
                run = replace(run, exit=None, state=RunState.LOST, where="slurm:n1")
            if stale == "swept up after":
                run = replace(run, exit=worlds.an_exit(code=1, at=worlds.ago(2)), state=RunState.ENDING)
            if stale == "killed":
                run = replace(run, exit=worlds.an_exit(code=None, signal=15))
            if stale == "unavailable":
                run = replace(run, exit=worlds.an_exit(code=None, cause="unavailable"))
            self.found["checks"].append(run)

    def _staged(self, id: TaskId, results: list[str]) -> None:
        """What its forge's checks came to on staging branches: the newest still stands there. `on main`: of the base."""
        self.found.setdefault("recent", {"main": (BaseCommit(worlds.BASE, _BASE_TREE),)})
        for n, said in enumerate(results, start=1):
            result, of_the_base = CheckResult(said.removesuffix(" on main")), said.endswith(" on main")
            tree = _BASE_TREE if of_the_base else _tree(id)
            over = result in (CheckResult.PASSED, CheckResult.FAILED)
            run = Run(
                id=RunId(RunKind.CHECK, check_subject(tree, (Check.of_the_forge(()).key,)), n),
                task=id,
                manifest="all",
                state=RunState.ENDED if over else RunState.RUNNING,
                tree=tree,
                baseline=worlds.HEAD,
                base_tip=worlds.BASE,
                heads=() if of_the_base else (worlds.HEAD,),
                commit=worlds.OTHER,
                started_at=worlds.ago(60),
                exit=worlds.an_exit(code=0 if result is CheckResult.PASSED else 1) if over else None,
                remark="ci (https://ci)" if result is CheckResult.FAILED else "",
            )
            self.found["checks"].append(run)
            self.found["staged"][run.id] = StagedCheck(
                run=run,
                base="main",
                branch=f"reconcile/staging/{n}",
                there=said == results[-1],
                checks=(ForgeCheck(name="ci", result=result),),
            )

    def _landed(self, id: TaskId, said: dict[str, Any]) -> None:
        landing = {"head": worlds.HEAD, "commit": worlds.OTHER, "at": worlds.ago(60), **_commits(_timed(said))}
        self.found["landings"][id] = Landing(task=id, **landing)

    def _since(self, id: TaskId, said: dict[str, Any]) -> None:
        self.found["since"][id] = RetryPoint(**{"n": 0, "base": worlds.BASE, "at": worlds.ago(60), **_timed(said)})

    def _occupant(self, id: TaskId, command: str) -> None:
        self.found["occupants"][id] = Occupant(pid=4711, command=command)

    def _failure(self, id: TaskId, said: dict[str, Any]) -> None:
        known = {"message": "it went wrong", "since": worlds.ago(60), "at": worlds.ago(60), "until": worlds.ago(-60)}
        self.found["failures"][id] = Failure(**{**known, **_commits(_timed(said))})


def _run_fields(said: Mapping[str, Any]) -> dict[str, Any]:
    made = _commits(_timed(said))
    if "heard" in made:
        made["heard"] = frozenset(made["heard"])
    if isinstance(made.get("exit"), dict):
        made["exit"] = _timed(made["exit"])
    if isinstance(made.get("says"), dict):
        made["says"] = Says(**made["says"])
    if isinstance(made.get("report"), dict):
        made["report"] = _report(**made["report"])
    return made


def _report(lifted_in: float | None = None, fault: str | None = None, **said: Any) -> Report:
    lifted = None if lifted_in is None else worlds.ago(-lifted_in)
    return Report(fault=Fault(fault) if fault else None, retry_at=lifted, **said)


def _thread(path: str = "a.py", line: int | None = 1, **said: Any) -> Thread:
    return Thread(path=path, line=line, comments=(_comment(**said),))


def _comment(id: str = "c1", by: str = "ann", ago: float = 300, text: str = "why?", **more: bool) -> Comment:
    return Comment(id=id, by=by, text=text, at=worlds.ago(ago), **more)


def _timed(said: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in said.items():
        if name.endswith("ago"):
            made[f"{name.removesuffix('ago').rstrip('_')}_at".lstrip("_")] = worlds.ago(value)
        elif name.endswith("_in"):
            made[name.removesuffix("_in")] = worlds.ago(-value)
        else:
            made[name] = worlds.US if name == "assignee" and value == "us" else value
    return made


def _commits(said: Mapping[str, Any]) -> dict[str, Any]:
    return {name: COMMITS[value] if name in COMMIT_FIELDS and value else value for name, value in said.items()}


def _tuples(said: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _tuple(value) for name, value in said.items()}


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _tree(id: TaskId) -> Sha:
    return Sha(hashlib.sha1(id.encode(), usedforsecurity=False).hexdigest())
