"""What `--json` printed before, as one side of a comparison: each document of a file is a run of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.sides import Refused, Run


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """Runs of another time, perhaps of another machine. `quick`: of smaller worlds; None: it does not say."""

    name: str = "old"
    title: str
    runs: tuple[Run, ...]
    quick: bool | None = None


def earlier(path: Path, *, quick: bool) -> Earlier:
    """The runs that stand in a file. Raises Refused where it holds none, or some of other worlds."""
    documents = list(_documents(path))
    worlds = {document["quick"] for document in documents if "quick" in document}
    if worlds - {quick}:
        raise Refused(f"{path} was measured with{'out' if quick else ''} --quick; these are other worlds")
    runs = tuple(run for document in documents for run in _runs(document))
    if not any(run.figures for run in runs):
        raise Refused(f"{path} holds no figures; write it with --json")
    return Earlier(title=path.name, runs=runs, quick=quick if worlds else None)


def _documents(path: Path) -> Iterator[dict[str, Any]]:
    try:
        text, reader = path.read_text("utf-8").strip(), json.JSONDecoder()
        while text:
            document, end = reader.raw_decode(text)
            if not isinstance(document, dict) or not isinstance(document.get("rows"), list):
                raise ValueError("it is no table")
            yield document
            text = text[end:].strip()
    except (OSError, ValueError) as error:
        raise Refused(f"{path} can't be read: {error}") from error


def _runs(document: dict[str, Any]) -> Iterator[Run]:
    """One for a table of one run; of a comparison those of its new side."""
    if all("value" in row for row in document["rows"]):
        yield Run(figures={(row["what"], row["unit"]): row["value"] for row in document["rows"]})
        return
    values = {(row["what"], row["unit"]): row["new"]["values"] for row in document["rows"] if row.get("new")}
    for n in range(max(map(len, values.values()), default=0)):
        yield Run(figures={key: each[n] for key, each in values.items() if n < len(each)})
