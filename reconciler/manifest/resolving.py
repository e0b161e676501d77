"""One valid manifest -> `EpicSpec`: profiles put in, paths made absolute, against the repository as it is here."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct
from pydantic import BaseModel

from reconciler.manifest import form, machines
from reconciler.manifest.agent_fields import UNUSED
from reconciler.manifest.findings import FieldPath, did_you_mean
from reconciler.manifest.located import Located
from reconciler.manifest.model import Epic
from reconciler.manifest.runner_fields import RunnerFields
from reconciler.manifest.scalars import unwanted
from reconciler.manifest.sizes import AUTO
from reconciler.model.agent_kinds import AgentKind
from reconciler.model.agent_spec import AgentSpec
from reconciler.model.desired import Budget, EpicSpec, ForgeKind, LandingMode
from reconciler.model.errors import PermanentError, UsageError
from reconciler.model.venue import VenueKind
from reconciler.planning.command_files import derived
from reconciler.planning.labels import PATHS

Locate = Callable[[Path], Located]
Profiles = Mapping[str, BaseModel]  # by name


class WrongError(Exception):
    """A field that can't be resolved: where it is, what is wrong, and perhaps a hint."""

    def __init__(self, path: FieldPath, what: str, hint: str | None = None) -> None:
        super().__init__(what)
        self.path, self.what, self.hint = path, what, hint


class Surroundings(Struct, frozen=True, kw_only=True):
    """What a manifest's names and paths refer to. `folder` is what its `repository` is relative to."""

    folder: Path
    agents: Profiles
    policies: Profiles
    locate: Locate


def resolved(epic: Epic, around: Surroundings) -> EpicSpec:
    """The manifest as it will be recorded. Raises WrongError for the first field that can't be resolved."""
    fields: dict[str, Any] = _plain(epic.spec)
    fields["agent"] = _profile("agent", fields["agent"], around.agents)
    fields["reviewer"] = fields["reviewer"] and {**UNUSED, **_profile("reviewer", fields["reviewer"], around.agents)}
    for agent in filter(None, (fields["agent"], fields["reviewer"])):
        if agent["resources"] == AUTO:
            agent["resources"] = {"memory": AUTO, "disk": AUTO}
        agent["overrides"] = [{k: v for k, v in each.items() if v is not None} for each in agent["overrides"]]
    fields["mergePolicy"] = _profile("mergePolicy", fields["mergePolicy"], around.policies)
    fields["tasks"] = [_labelled(task) for task in fields["tasks"]]
    located = _located(around, fields["repository"])
    fields["mergePolicy"]["protectedPaths"] = _protected(epic, around.policies, fields["mergePolicy"], located.main)
    fields["repository"] = str(located.main)
    fields["base"] = _base(fields["base"] or located.bases.get(epic.metadata.name), located)
    fields["runner"] = _runner(fields["runner"], fields["base"], located)
    known = _remote_of(fields["runner"])
    fields["mergePolicy"]["runner"] = _runner(
        fields["mergePolicy"]["runner"], fields["base"], located, "mergePolicy", known=known
    )
    for name in ("agent", "reviewer"):
        _place(name, fields[name], fields["runner"], fields["base"], located)
    fields["worktrees"]["root"] = _root(fields["worktrees"]["root"], located.main)
    for name in ("agent", "reviewer"):
        if agent := fields[name]:
            agent["prompt"] = _prompt(name, agent["prompt"], located.main)
    spec = form.spec_from(epic.metadata.name, fields)
    for who, each in (("an agent", spec.agent), ("a reviewer", spec.reviewer)):
        if each:
            _measurable(f"{who} of kind {each.kind}", each, spec.budget)
    _reviewable(spec)
    _stageable(spec)
    if wrong := machines.unfit(spec) or machines.too_many_checks(spec.merge.runner, spec.merge.parallel):
        raise WrongError(("spec", *wrong[0]), wrong[1])
    return spec


def _labelled(task: dict[str, Any]) -> dict[str, Any]:
    """A task with its paths as the labels that every tracker keeps."""
    paths = [PATHS + path for path in task.pop("paths")]
    return {**task, "labels": list(dict.fromkeys((*task["labels"], *paths)))}


def _place(name: str, agent: dict[str, Any] | None, usual: str | dict[str, Any], base: str, located: Located) -> None:
    """Complete the runners that an agent and its overrides name: they are reached by the remote of the manifest's, unless they
    say otherwise. Options alone stay as they are."""
    known = _remote_of(usual)
    each = enumerate(agent["overrides"]) if agent else ()
    for holder, below in ((agent, (name,)), *((part, (name, "overrides", n)) for n, part in each)):
        by = holder and holder.get("runner")
        if holder and isinstance(by, dict) and by.get("kind") is None:
            holder["runner"] = {"options": by["options"]}
        elif holder and by:
            holder["runner"] = _runner(by, base, located, *below, known=known)


def _remote_of(runner: str | dict[str, Any]) -> str:
    return "" if isinstance(runner, str) else str(runner["remote"])


def _runner(
    fields: str | dict[str, Any], base: str, located: Located, *below: str | int, known: str = ""
) -> str | dict[str, Any]:
    """Where agents, or checks, run, with the remote by which they are reached. `below`: where in the manifest that stands."""
    if isinstance(fields, str):
        if fields == VenueKind.LOCAL:
            return fields
        fields = _plain(RunnerFields(kind=VenueKind(fields)))
    if fields["kind"] == VenueKind.LOCAL:
        return str(VenueKind.LOCAL)
    remote = fields["remote"] or known or located.remote(base)
    where = ("spec", *below, "runner", "remote")
    if not remote:
        what = (
            f"is missing, and the repository has no remote for {base}: nodes would have nowhere to get its commits from"
        )
        raise WrongError(where, what, "write the address of a repository that nodes can push to")
    if wrong := machines.wrong_place(remote, fields["scratch"], ()):
        raise WrongError(where, wrong)
    return {**fields, "remote": remote}


def _reviewable(spec: EpicSpec) -> None:
    """A command that does tasks is none that reviews them; every other program does what its prompt says."""
    if spec.merge.reviewed_by_agents and spec.reviewer is None and spec.agent.kind is AgentKind.COMMAND:
        what = (
            "is missing: 'review: agent' has to name the program that reviews, where the agent is a command of your own"
        )
        raise WrongError(("spec", "reviewer"), what, "write 'reviewer: {kind: claude}', or a command with its argv")


def _stageable(spec: EpicSpec) -> None:
    """Where nothing would be tested on staging branches, the one who wrote that relies on it."""
    where = ("spec", "mergePolicy", "queue", "staging")
    if not spec.merge.staging:
        return
    if spec.forge is ForgeKind.LOCAL:
        raise WrongError(where, "has GitHub's own checks test what lands, and 'forge: local' has none", "take it out")
    if spec.merge.landing is LandingMode.QUEUE:
        what = "tests nothing with 'landing: queue': GitHub's merge queue tests by itself what it merges"
        raise WrongError(where, what, "take one of the two out")


def _measurable(who: str, agent: AgentSpec, budget: Budget) -> None:
    """A budget that nothing would be counted against is refused: the one who wrote it relies on it. `who`: its words for people.
    What one run may cost is another matter: what else there is bounds it, and `budget.unkept` says so."""
    kind = agent.kind
    for field, most in (("usd", budget.usd), ("usdPerTask", budget.usd_per_task)):
        if most is not None and not kind.row.reports_cost:
            hint = "budget.tokens is counted" if kind.row.reports_tokens else None
            raise WrongError(("spec", "budget", field), f"{who} does not say what it costs", hint)
    if budget.tokens is not None and not kind.row.reports_tokens:
        raise WrongError(("spec", "budget", "tokens"), f"{who} does not say how many tokens it uses")


def _plain(value: BaseModel) -> dict[str, Any]:
    return value.model_dump(mode="json", by_alias=True)


def _profile(field: str, fields: str | dict[str, Any], known: Profiles) -> dict[str, Any]:
    if isinstance(fields, dict):
        return fields
    if fields not in known:
        what = f"unknown {field} {fields!r}; known: {', '.join(sorted(known)) or 'none'}"
        raise WrongError(("spec", field), what, did_you_mean(fields, known))
    return _plain(known[fields])


def _protected(epic: Epic, policies: Profiles, fields: Mapping[str, Any], main: Path) -> list[str]:
    """What needs a person's approval: as the policy says, else the usual files and what its checks rest on."""
    named = epic.spec.merge_policy
    policy = policies[named] if isinstance(named, str) else named
    paths: list[str] = fields["protectedPaths"]
    if "protected_paths" in policy.model_fields_set:
        return paths
    commands = [check if isinstance(check, str) else check["run"] for check in fields["checks"]]
    return list(dict.fromkeys((*paths, *derived(commands, lambda path: (main / path).is_dir()))))


def _located(around: Surroundings, repository: str) -> Located:
    where = ("spec", "repository")
    try:
        located = around.locate(around.folder / repository)
    except (PermanentError, UsageError) as error:
        raise WrongError(where, str(error), error.hint) from error
    if unwanted(str(located.main)):
        raise WrongError(where, f"the path {str(located.main)!r} holds characters that can't be recorded")
    return located


def _base(text: str | None, located: Located) -> str:
    if base := text or located.default_base:
        return base
    raise WrongError(("spec", "base"), "is missing, and the main checkout is on no branch", "write 'base: main'")


def _root(text: str, main: Path) -> str:
    root = os.path.realpath(main / text)
    if any(_is_git_dir(folder) for folder in (Path(root), *Path(root).parents)):
        raise WrongError(("spec", "worktrees", "root"), f"{root} is inside a git folder; allowed: any other place")
    return root


def _prompt(agent: str, text: str | None, main: Path) -> str | None:
    if text is None:
        return None
    path = os.path.normpath(main / text)
    if not os.path.isfile(path):
        raise WrongError(("spec", agent, "prompt"), f"there is no file {path}")
    return path


def _is_git_dir(folder: Path) -> bool:
    return (folder / "HEAD").is_file() and (folder / "objects").is_dir() and (folder / "refs").is_dir()
