"""What a manifest needs to know about the repository that it is for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A repository. `main` is its main checkout, or its git dir when it is bare; `default_base` is None where the
    repository does not say which branch work lands on."""

    main: Path
    default_base: str | None = None
