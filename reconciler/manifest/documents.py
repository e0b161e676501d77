"""Manifests as users write them -> `EpicSpec`: every name resolved, every path absolute, or every finding at once.

No program is run here: what git knows about a path comes from `locate`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct
from pydantic import ValidationError

from reconciler.manifest import inline, sources, yaml_text
from reconciler.manifest.agent_fields import AgentFields
from reconciler.manifest.complaints import complaints, with_hint_for_field
from reconciler.manifest.findings import FieldPath, Finding, Position, did_you_mean, refusal, shown
from reconciler.manifest.model import KINDS, AgentProfile, Epic, MergePolicyDocument
from reconciler.manifest.policy_fields import Policy
from reconciler.manifest.resolving import Locate, Surroundings, WrongError, resolved
from reconciler.manifest.shipped import shipped
from reconciler.manifest.sources import Source
from reconciler.manifest.yaml_text import Document, Limits
from reconciler.model.desired import EpicSpec
from reconciler.model.values import replace

_LIMITS = Limits(
    unbounded=frozenset(("spec", "budget", amount) for amount in ("usd", "usdPerTask", "usdPerRun", "tokens")),
    names=frozenset({("notify", "on")}),
)
Held = Callable[[Path], Collection[str]]
"""The ids of the tasks of a repository, by its main checkout."""


class _Read(Struct, frozen=True, kw_only=True):
    """A document that is right by itself."""

    source: Source
    document: Document
    value: Epic | AgentProfile | MergePolicyDocument

    @property
    def id(self) -> tuple[str, str]:
        return self.value.kind, self.value.metadata.name

    def finding(self, path: FieldPath, what: str, hint: str | None = None) -> Finding:
        return Finding(file=self.document.file, place=self.document.place(path), path=path, what=what, hint=hint)


def load(
    named: Sequence[str], *, stdin: str, cwd: Path, locate: Locate, held: Held | None = None
) -> tuple[EpicSpec, ...]:
    """The manifests of kind Epic in these files, folders and `-`, in the order of the text.

    Raises ManifestError with every finding; what `locate` says against a path (PermanentError, UsageError) becomes one.
    What `held` raises is raised.
    """
    read = _read(named, stdin, cwd)
    _refuse(_repeated(read))
    epics = [(each, each.value) for each in read if isinstance(each.value, Epic)]
    _refuse(
        each.finding(("spec", "tasks", *path), what, hint)
        for each, epic in epics
        for path, what, hint in inline.wrong(epic.spec.tasks, epic.spec.epic)
    )
    once = functools.cache(locate)
    specs = [_resolved(each, epic, read, once) for each, epic in epics]
    _refuse(spec for spec in specs if isinstance(spec, Finding))
    found = tuple(spec for spec in specs if isinstance(spec, EpicSpec))
    if held:
        tasks = functools.cache(held)
        _refuse(
            each.finding(("spec", "tasks", *path), what, hint)
            for (each, epic), spec in zip(epics, found, strict=True)
            for path, what, hint in inline.unheld(epic.spec.tasks, functools.partial(tasks, Path(spec.repository)))
        )
    return found


def _read(named: Sequence[str], stdin: str, cwd: Path) -> list[_Read]:
    """Every document, each right by itself. Raises ManifestError."""
    texts: dict[str, tuple[Source, list[Document]]] = {}
    findings: list[Finding] = []
    for name in named:
        found = {
            source.path: (source, yaml_text.documents(source.name, source.content, _LIMITS))
            for source in sources.read(name, stdin, cwd)
        }
        wrong = [with_hint_for_field(finding) for _, parsed in found.values() for finding in parsed.findings]
        if not wrong and not any(parsed.documents for _, parsed in found.values()):
            wrong = [
                Finding(
                    file=sources.shown(name),
                    place=Position(),
                    what="is empty",
                    hint="'reconcile init' writes a first one",
                )
            ]
        findings += wrong
        texts |= {path: (source, parsed.documents) for path, (source, parsed) in found.items()}
    _refuse(findings)
    read = [_valid(source, document) for source, documents in texts.values() for document in documents]
    _refuse(finding for each in read if not isinstance(each, _Read) for finding in each)
    return [each for each in read if isinstance(each, _Read)]


def _valid(source: Source, document: Document) -> _Read | list[Finding]:
    kind = document.data.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        message = (
            "is missing" if kind is None else f"unknown kind {shown(kind) if isinstance(kind, str) else ''}".rstrip()
        )
        hint = did_you_mean(kind, KINDS) if isinstance(kind, str) else None
        what = f"{message}; allowed: {', '.join(KINDS)}"
        return [Finding(file=document.file, place=document.place(("kind",)), path=("kind",), what=what, hint=hint)]
    try:
        return _Read(source=source, document=document, value=KINDS[kind].model_validate(document.data))
    except ValidationError as error:
        return list(complaints(document, kind, error))


def _repeated(read: Iterable[_Read]) -> Iterator[Finding]:
    first: dict[tuple[str, str], _Read] = {}
    for each in read:
        before = first.setdefault(each.id, each)
        if before is not each:
            line = before.document.place(("metadata", "name")).line
            kind, name = each.id
            yield each.finding(
                ("metadata", "name"), f"{kind} {name!r} is there already, at {before.document.file}:{line}"
            )


def _resolved(each: _Read, epic: Epic, read: list[_Read], locate: Locate) -> EpicSpec | Finding:
    around = Surroundings(
        folder=each.source.folder,
        agents=_named("AgentProfile", read),
        policies=_named("MergePolicy", read),
        locate=locate,
    )
    try:
        spec = resolved(epic, around)
        also = _beside(each, epic, read)
        main = f"{spec.repository}/"
        beside = [path.removeprefix(main) for path in also if path.startswith(main)]
        merge = replace(spec.merge, protected_paths=tuple(dict.fromkeys((*spec.merge.protected_paths, *beside))))
        return replace(spec, source=each.source.path, also=tuple(also), merge=merge if beside else spec.merge)
    except WrongError as error:
        return each.finding(error.path, error.what, error.hint)


def _beside(each: _Read, epic: Epic, read: list[_Read]) -> list[str]:
    """The other files that hold what an epic refers to by name: who changes them changes it."""
    spec = epic.spec
    agents = {name for name in (spec.agent, spec.reviewer) if isinstance(name, str)}
    paths = [
        other.source.path
        for other in read
        if (other.value.kind == "AgentProfile" and other.value.metadata.name in agents)
        or (other.value.kind == "MergePolicy" and other.value.metadata.name == spec.merge_policy)
    ]
    return [path for path in dict.fromkeys(paths) if path not in ("", each.source.path)]


def _named(kind: str, read: list[_Read]) -> dict[str, AgentFields | Policy]:
    """The profiles of a kind by name: those of the source before those that ship with the program."""
    return {
        each.value.metadata.name: each.value.spec
        for each in (*_shipped(), *read)
        if each.value.kind == kind and not isinstance(each.value, Epic)
    }


@functools.cache
def _shipped() -> tuple[_Read, ...]:
    folder = shipped()
    return tuple(_read([str(folder)], "", folder))


def _refuse(findings: Iterable[Finding]) -> None:
    if found := list(findings):
        raise refusal(found)
