"""What goes for tasks that no manifest speaks of: the manifest that `run` and `spawn` make up for them.

It says what `reconcile.yaml` at the top of the repository says; without that file, what the recorded manifests agree on.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from reconciler import wiring
from reconciler.cli.found import checks
from reconciler.manifest import form
from reconciler.model.agent_spec import AgentSpec
from reconciler.model.desired import EPOCH, EpicSpec
from reconciler.model.errors import ManifestError, UsageError
from reconciler.model.names import RunKind, TaskId, run_manifest
from reconciler.model.values import replace
from reconciler.system.late import late
from reconciler.wiring import Site

FILE = "reconcile.yaml"
RECIPES = "reconcile.just"
VARIABLE = "RECONCILE_AGENT"
_WHERE = re.compile(r"^<stdin>:[0-9]+:[0-9]+: spec\.agent: ", re.MULTILINE)  # of a document that nobody wrote


class Asked(Struct, frozen=True, kw_only=True):
    """What was asked for on the command line, and beside it in the environment."""

    epic: TaskId | None = None
    max_agents: int | None = None
    agent: str | None = None
    environ: Mapping[str, str]

    @property
    def agent_named(self) -> str | None:
        """The agent that a person named."""
        return self.agent or self.environ.get(VARIABLE) or None


def made_up(site: Site, asked: Asked, recorded: tuple[EpicSpec, ...]) -> EpicSpec:
    """The manifest for what no manifest of `recorded` speaks of; the same each time.

    Raises UsageError where nobody says which agent works, or its program is missing.
    """
    spec = undecided(site, asked, recorded)
    if spec.agent == AgentSpec():
        raise UsageError(
            "no agent is known here",
            hint=f"write spec.agent into {FILE} ('reconcile init --justfile' begins one), or name it: "
            f"--agent 'my-agent {{prompt_file}}', or in {VARIABLE}",
        )
    if why := site.runner.missing(spec):
        raise UsageError(why, hint=f"fix spec.agent in {FILE}, or name another one with --agent")
    return spec


def undecided(site: Site, asked: Asked, recorded: tuple[EpicSpec, ...]) -> EpicSpec:
    """The same, without an agent where none is known: for what starts none."""
    like = _like_the_file(site, asked) or _like_the_recorded(recorded, asked) or _found(site, asked)
    if asked.agent_named:
        like = replace(like, agent=_named(site, asked, asked.agent_named))
    most = like.max_agents if asked.max_agents is None else asked.max_agents
    return replace(_general(like), name=_free(run_manifest(asked.epic), recorded), epic=asked.epic, max_agents=most)


def for_show(site: Site, asked: Asked, recorded: tuple[EpicSpec, ...]) -> EpicSpec:
    """The same, to show by it what belongs to no manifest: where nothing is agreed on, as the first one would."""
    try:
        return undecided(site, asked, recorded)
    except UsageError:
        if not recorded:
            raise
        return replace(_general(recorded[0]), name=_free(run_manifest(None), recorded))


def _free(name: str, recorded: Iterable[EpicSpec]) -> str:
    """The name, or one beside it where a manifest of people's own is called so."""
    theirs = {spec.name for spec in recorded if not spec.made_up}
    while name in theirs:
        name = f"z{name}"
    return name


def spawned_alone(site: Site) -> frozenset[TaskId]:
    """The tasks whose newest agent was started for no manifest but the made up one for every task."""
    work = sorted((run for run in site.runner.runs().values() if run.id.kind is RunKind.WORK), key=lambda run: run.id.n)
    newest = {run.task: run.manifest for run in work}
    return frozenset(task for task, manifest in newest.items() if manifest.lstrip("z") == run_manifest(None))


def _general(spec: EpicSpec) -> EpicSpec:
    """What a manifest says about any work, without what it says about its own: the epic, its tasks, when it was written."""
    # What is read here the next time is for people to change: an agent could give itself other checks.
    protected = tuple(dict.fromkeys((*spec.merge.protected_paths, FILE, RECIPES)))
    return replace(
        spec,
        name="",
        epic=None,
        tasks=(),
        suspend=False,
        merge=replace(spec.merge, protected_paths=protected),
        generation=1,
        recorded_at=EPOCH,
        source="",
        applied={},
    )


# --- where it is written -----------------------------------------------------------------------------------------


def _like_the_file(site: Site, asked: Asked) -> EpicSpec | None:
    """What `reconcile.yaml` says: in its one manifest, or in its one AgentProfile and MergePolicy."""
    file = _file(site)
    if file is None:
        return None
    epics = wiring.read((str(file),), "", asked.environ)
    if len(epics) > 1:
        raise UsageError(f"{file} holds several manifests", hint="keep one of kind Epic, which says what goes for all")
    if epics:
        return epics[0]
    fields: dict[str, Any] = {"mergePolicy": _only(file, "MergePolicy")}
    if not asked.agent_named:
        fields["agent"] = _only(file, "AgentProfile")
    known = {field: name for field, name in fields.items() if name}
    spec = _read(site, asked, **({"mergePolicy": {"checks": list(checks(site.repository.main))}} | known))
    return spec if "agent" in known else replace(spec, agent=AgentSpec())


def _only(file: Path, kind: str) -> str | None:
    """The name of the one document of a kind; None where there is none. The file was read as manifests before."""
    found = [each for each in late("yaml").safe_load_all(file.read_text("utf-8")) if each and each["kind"] == kind]
    if len(found) > 1:
        raise UsageError(f"{file} holds several documents of kind {kind}", hint="say which in a manifest of kind Epic")
    return str(found[0]["metadata"]["name"]) if found else None


def _like_the_recorded(recorded: tuple[EpicSpec, ...], asked: Asked) -> EpicSpec | None:
    """What people's manifests agree on; where there are none, what was made up the last time."""
    theirs = [spec for spec in recorded if not spec.made_up] or list(recorded)
    if not theirs:
        return None
    alike = [replace(_general(spec), max_agents=4) for spec in theirs]
    # Whoever names an agent has chosen the fields that go with it.
    compared = [replace(spec, agent=AgentSpec()) for spec in alike] if asked.agent_named else alike
    fields = form.differing(compared)
    if not fields:
        return alike[0]
    raise UsageError(
        f"{', '.join(fields)} {'differs' if len(fields) == 1 else 'differ'} between the manifests "
        f"{', '.join(spec.name for spec in theirs)}",
        hint=f"write what goes for all other tasks into {FILE} ('reconcile init --justfile' begins one)",
    )


def _found(site: Site, asked: Asked) -> EpicSpec:
    """What the repository itself tells: the command that checks it."""
    return replace(_read(site, asked, mergePolicy={"checks": list(checks(site.repository.main))}), agent=AgentSpec())


def _agent(text: str) -> str | dict[str, Any]:
    """One word is the name of a profile; anything else the words of a command."""
    if re.fullmatch(r"[^\s/]+", text):
        return text
    try:
        return {"kind": "command", "argv": shlex.split(text)}
    except ValueError as error:
        raise UsageError(f"the agent {text!r} can't be read as a command: {error}") from error


def _named(site: Site, asked: Asked, text: str) -> AgentSpec:
    """The agent that a person named. Raises UsageError for one that there is not."""
    try:
        return _read(site, asked, agent=_agent(text)).agent
    except ManifestError as error:
        complaint = _WHERE.sub("", str(error))
        hint = (
            error.hint or f"for a program that is no profile, write its command line: --agent '{text} {{prompt_file}}'"
        )
        raise UsageError(f"--agent {text}: {complaint}", hint=hint) from error


def _read(site: Site, asked: Asked, **fields: object) -> EpicSpec:
    """The manifest that says this, with everything else as it is by default. Raises ManifestError."""
    name = "made-up"
    about = {"agent": {"kind": "command", "argv": ["-"]}, "repository": str(site.repository.main), **fields}
    document = {"apiVersion": "reconcile/v1", "kind": "Epic", "metadata": {"name": name}, "spec": about}
    file = _file(site)
    sources = ("-",) if file is None else (str(file), "-")
    return wiring.read(sources, late("yaml").safe_dump(document), asked.environ)[-1]


def _file(site: Site) -> Path | None:
    file = site.repository.main / FILE
    return file if file.exists() else None
