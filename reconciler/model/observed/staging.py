"""What was pushed to staging branches, for a forge's own checks to test it."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from reconciler.model.observed.pulls import ForgeCheck
from reconciler.model.observed.runs import Run


class StagedCheck(Struct, frozen=True, kw_only=True):
    """A chain that was pushed as one commit, `run.commit`, to a staging branch, and what the forge shows of that commit.

    `run` is as it was written down here: with its `exit` once that is settled. `there`: the branch still stands at the commit,
    as far as that is known.
    """

    run: Run
    base: str
    branch: str
    there: bool
    checks: tuple[ForgeCheck, ...] = ()
    settled_at: datetime | None = None  # when the last of its checks ended
    unseen: str = ""  # why it may have checks that can't be read
