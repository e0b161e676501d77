"""What the ref of a task reports of its newest run: the record that its commit holds, as a value and back."""

from __future__ import annotations

import json
from typing import Any

from msgspec import Struct

from reconciler.model.names import Sha, TaskId, is_sha

OVER = ("ended", "revoked")


class Reported(Struct, frozen=True, kw_only=True):
    """What the ref of a task says. `at` is its commit, `moved` when we saw it move to that, by our monotonic clock."""

    task: TaskId
    at: Sha
    phase: str
    n: int
    nonce: str
    by: str  # which repository reserved it
    head: Sha
    wip: Sha | None = None  # a commit of what is not committed
    branch_at: Sha | None = None  # where the task's branch stood when it was reserved
    node: str = ""
    manifest: str = ""
    lacks: str = ""  # what in the checkout no commit can hold: it is kept on the node
    seal: str = ""  # by which the ending of a check is known to be its node's own
    moved: float = 0.0

    @property
    def over(self) -> bool:
        """True once nobody will write it any more without a new reservation."""
        return self.phase in OVER

    @property
    def record(self) -> dict[str, Any]:
        """The same as its commit holds it: what `reported` reads."""
        names = ("phase", "task", "n", "nonce", "by", "manifest", "node", "head", "wip", "branch_at", "lacks")
        return {name: getattr(self, name) for name in names}


def reported(task: TaskId, at: Sha, content: bytes, now: float) -> Reported | None:
    """What a record says; None for what is none: all who may push to the remote may have written it."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    words = {name: word for name in ("phase", "nonce", "by", "head") if isinstance(word := value.get(name), str)}
    if len(words) < 4 or not isinstance(value.get("n"), int):
        return None
    shas = [value.get(name) for name in ("head", "wip", "branch_at")]
    if not all(each is None or (isinstance(each, str) and is_sha(each)) for each in shas):
        return None
    return Reported(
        task=task,
        at=at,
        phase=words["phase"],
        n=value["n"],
        nonce=words["nonce"],
        by=words["by"],
        head=Sha(words["head"]),
        wip=value.get("wip"),
        branch_at=value.get("branch_at"),
        node=str(value.get("node") or "")[:100],
        manifest=str(value.get("manifest") or "")[:100],
        lacks=str(value.get("lacks") or "")[:300],
        seal=str(value.get("seal") or "")[:64],
        moved=now,
    )
