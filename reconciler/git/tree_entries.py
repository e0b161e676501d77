"""What entries of a tree are by their mode or path: other repositories, and what is the tracker's."""

from __future__ import annotations

BEADS = ".beads"
SUBMODULE = "160000"


def of_beads(path: str) -> bool:
    """True for what is the tracker's."""
    return path == BEADS or path.startswith(f"{BEADS}/")
