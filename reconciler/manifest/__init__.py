"""Manifests: what a user writes (`load`), and what was recorded of it (`Recorded`).

* `documents`, `sources`, `yaml_text`, `model`, `inline`, `resolving`: what users write is read.
* `recorded`, `form`: it is kept in the repository.
* `schema`, `wording`: what each field means and allows. `findings`, `complaints`: what is wrong, and where.

Only what reads users' files needs pydantic, which takes as long to import as the rest of the program together: every
command reads recorded manifests, few read new ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from reconciler.manifest.durations import duration
from reconciler.manifest.located import Located
from reconciler.manifest.recorded import Recorded, RecordedManifests, max_agents
from reconciler.manifest.shipped import shipped, shipped_agents, shipped_examples
from reconciler.model.desired import EpicSpec
from reconciler.system.late import late

__all__ = [
    "Located",
    "Recorded",
    "RecordedManifests",
    "duration",
    "load",
    "max_agents",
    "shipped",
    "shipped_agents",
    "shipped_examples",
]


def load(
    sources: Sequence[str],
    *,
    stdin: str = "",
    cwd: Path,
    locate: Callable[[Path], Located],
    held: Callable[[Path], Collection[str]] | None = None,
) -> tuple[EpicSpec, ...]:
    """The manifests of kind Epic in these files, folders and `-`, in the order of the text.

    Raises ManifestError, one line per finding. `locate` gives the repository that contains a path; the PermanentError or
    UsageError that it raises becomes a finding. `held` gives the ids of the tasks of a repository, by its main checkout;
    it is asked where a declared task depends on one of them, and without it every id will do.
    """
    documents = late("reconciler.manifest.documents")
    found: tuple[EpicSpec, ...] = documents.load(sources, stdin=stdin, cwd=cwd, locate=locate, held=held)
    return found
