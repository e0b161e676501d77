"""The outside world as the rest of the program sees it: small protocols over plain values.

Every call may raise TemporaryError (look again later), ChangedError (look again at once) or PermanentError. Every write
is idempotent: repeated after a crash or a lost answer it finds what the last try left, and is a compare-and-swap where
somebody else may have come first.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from reconciler.model.ports.agent import Agent, AppliedTask, Assignment, Invocation, Prompts, Records
from reconciler.model.ports.forge import Changes, Forge, LandOrder, VerdictPost
from reconciler.model.ports.runner import Runner, RunSpec, SlotBound, StepLimit
from reconciler.model.ports.tracker import Change, NewTask, Tracker
from reconciler.model.ports.workspaces import CommittedFile, Place, Workspaces


class Ports(Struct, frozen=True, kw_only=True):
    """Everything an action may touch."""

    tracker: Tracker
    workspaces: Workspaces
    runner: Runner
    forge: Forge
    records: Records
    agents: Mapping[str, Agent]  # by kind
    prompts: Prompts


__all__ = [
    "Agent",
    "AppliedTask",
    "Assignment",
    "Change",
    "Changes",
    "CommittedFile",
    "Forge",
    "Invocation",
    "LandOrder",
    "NewTask",
    "Place",
    "Ports",
    "Prompts",
    "Records",
    "RunSpec",
    "Runner",
    "SlotBound",
    "StepLimit",
    "Tracker",
    "VerdictPost",
    "Workspaces",
]
