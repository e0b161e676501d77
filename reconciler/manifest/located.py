"""What a manifest needs to know about the repository that it is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct, field


class Located(Struct, frozen=True, kw_only=True):
    """A repository. `main` is its main checkout, or its git dir when it is bare; `default_base` is None where the
    repository does not say which branch work lands on. `bases`: what the manifests recorded there land on, by name; the
    branch that somebody is on now is no reason to land elsewhere."""

    main: Path
    default_base: str | None = None
    bases: Mapping[str, str] = field(default_factory=dict)
    remote: Callable[[str], str | None] = lambda base: None  # the address of the remote that a base follows
