"""The text of one recorded manifest: {generation, recordedAt, source, spec}, complete, and readable to people.

It is JSON, which every reader of YAML takes too, as a version of this program that is still running: every command reads
these, and PyYAML takes longer to import than they take to read.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from reconciler.manifest import form
from reconciler.model.desired import EpicSpec
from reconciler.model.names import MANIFEST_NAME
from reconciler.model.values import replace
from reconciler.system.late import late

# What is recorded is larger than what was written: every default is in it.
_LIMITS = {"bytes": 64 * 1024 * 1024, "nodes": 5_000_000, "empty": True}
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
_BOUND = re.compile(rb'^    "maxAgents": ([0-9]{1,4}),?$', re.MULTILINE)


def text(spec: EpicSpec) -> str:
    """The file that records a manifest."""
    fields = {
        "generation": spec.generation,
        "recordedAt": spec.recorded_at.astimezone(UTC).strftime(_TIME),
        "source": spec.source,
        "spec": form.spec_of(spec),
    }
    written = json.dumps(fields, ensure_ascii=False, allow_nan=False, indent=2) + "\n"
    # Half of a surrogate pair, in a path, is no UTF-8; what `backslashreplace` makes of it is how JSON writes it.
    return written.encode("utf-8", "backslashreplace").decode()


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
    match _data(name, content):
        case {"generation": int(generation), "recordedAt": str(at), "source": str(source), "spec": fields, **more}:
            if more or generation < 1:
                raise ValueError(f"{', '.join(map(str, more)) or f'generation {generation}'} does not belong in it")
            spec = form.spec_from(name, fields)
            return replace(spec, generation=generation, recorded_at=_time(at), source=source)
        case _:
            raise ValueError("it lacks generation, recordedAt, source or spec")


def _data(name: str, content: bytes) -> Any:
    try:
        return json.loads(content, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        pass  # an earlier version wrote YAML, and so may a person: that says, too, what is wrong where
    yaml_text = late("reconciler.manifest.yaml_text")
    parsed = yaml_text.documents(f"{name}.yaml", content, yaml_text.Limits(**_LIMITS))
    if parsed.findings or len(parsed.documents) != 1:
        raise ValueError(str(parsed.findings[0]) if parsed.findings else f"it holds {len(parsed.documents)} documents")
    return parsed.documents[0].data


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field stands twice in it")
    return found


def _time(text: str) -> datetime:
    # Not `strptime`: it compiles its patterns first, and every command reads these.
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"recordedAt: {error}") from error
    if found.tzinfo is None:
        raise ValueError(f"recordedAt: {text!r} names no time zone")
    return found.astimezone(UTC)
