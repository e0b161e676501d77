"""The text of one recorded manifest: {generation, recordedAt, source, spec}, complete, and readable to people."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import yaml

from reconciler.manifest import form, scalars, yaml_text
from reconciler.model.desired import EpicSpec
from reconciler.model.names import MANIFEST_NAME
from reconciler.model.values import replace

# What is recorded is larger than what was written: every default is in it.
_LIMITS = yaml_text.Limits(bytes=64 * 1024 * 1024, nodes=5_000_000, empty=True)
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
_NEVER_FOLD = 2**30
_BOUND = re.compile(rb"^  maxAgents: ([0-9]{1,4})$", re.MULTILINE)


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # the fast one, where it was built
    """Writes what `yaml_text` reads back as the same values."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def text(spec: EpicSpec) -> str:
    """The file that records a manifest."""
    fields = {
        "generation": spec.generation,
        "recordedAt": spec.recorded_at.astimezone(UTC).strftime(_TIME),
        "source": spec.source,
        "spec": form.spec_of(spec),
    }
    written: str = yaml.dump(fields, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_NEVER_FOLD)
    return written


def bound(name: str, content: bytes) -> int:
    """The `maxAgents` of a record. Asked while other starts wait: a record as we write it is not read as a whole.

    Raises ValueError for a damaged one.
    """
    found = _BOUND.search(content)
    return int(found[1]) if found else spec(name, content).max_agents


def spec(name: str, content: bytes) -> EpicSpec:
    """A manifest without what was written for it. Raises ValueError for a damaged one."""
    if not MANIFEST_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a manifest")
    parsed = yaml_text.documents(f"{name}.yaml", content, _LIMITS)
    if parsed.findings or len(parsed.documents) != 1:
        raise ValueError(str(parsed.findings[0]) if parsed.findings else f"it holds {len(parsed.documents)} documents")
    match parsed.documents[0].data:
        case {"generation": int(generation), "recordedAt": str(at), "source": str(source), "spec": said, **more}:
            if more or generation < 1:
                raise ValueError(f"{', '.join(more) or f'generation {generation}'} does not belong in it")
            spec = form.spec_from(name, said)
            return replace(spec, generation=generation, recorded_at=_time(at), source=source)
        case _:
            raise ValueError("it lacks generation, recordedAt, source or spec")


def _time(text: str) -> datetime:
    # Not `strptime`: it compiles its patterns first, and every command reads these.
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"recordedAt: {error}") from error
    if found.tzinfo is None:
        raise ValueError(f"recordedAt: {text!r} names no time zone")
    return found.astimezone(UTC)


def _represented(dumper: Any, text: str) -> Any:
    style = "|" if "\n" in text else None if isinstance(scalars.plain(text), str) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represented)
