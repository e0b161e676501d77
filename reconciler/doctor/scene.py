"""What the probes look at: the environment, and the repository where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from reconciler.model.desired import EpicSpec
from reconciler.wiring import Site


class Scene(Struct, frozen=True, kw_only=True):
    """`aside` is an empty folder outside the repository; `epics` the manifests that can be read."""

    environ: Mapping[str, str]
    aside: Path
    now: datetime
    site: Site | None = None
    epics: tuple[EpicSpec, ...] = ()

    @property
    def roots(self) -> tuple[Path, ...]:
        """Where worktrees stand."""
        return tuple(dict.fromkeys(Path(spec.worktrees.root) for spec in self.epics))

    @property
    def folders(self) -> tuple[Path, ...]:
        """Every folder that is written to."""
        return (self.site.repository.main, self.site.repository.common, *self.roots) if self.site else ()

    @property
    def path(self) -> str:
        """Where programs are looked for: without what is relative, which a repository could fill."""
        return ":".join(part for part in self.environ.get("PATH", "").split(":") if part.startswith("/"))
