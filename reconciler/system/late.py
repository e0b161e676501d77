"""Modules that are imported once they are needed, because most commands never need them: a table, and no other way.

(Commands themselves stand in the table of `cli`, which imports what completes them too.)
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from reconciler.model.agent_kinds import AgentKind

MODULES = {
    "apprise": "who sends messages, and only then",
    **{f"reconciler.agents.{kind}": "one agent of several" for kind in AgentKind},
    "reconciler.cli.live": "pictures are for terminals",
    "reconciler.cli.top.app": "a terminal's widgets, for one command alone",
    "reconciler.cli.ui.server": "a web server, for the page alone",
    "reconciler.doctor.machines": "where runs are on other machines",
    "reconciler.doctor.nothing": "for who applies a manifest on a terminal",
    "reconciler.forges.github.forge": "most repositories of a day are local",
    "reconciler.manifest.documents": "pydantic, for who reads a manifest",
    "reconciler.manifest.yaml_text": "for who reads a manifest, or a record of an earlier version",
    "reconciler.manifest.schema": "0.1 s that no word but a field's needs",
    "reconciler.runners.remote": "where runs are on other machines",
    "reconciler.system.wakes": "for who stays until something changes",
    "reconciler.trackers.beads": "where there is a database",
    "sqlite3": "where runs are archived",
    "socket": "for who serves, or is served by, another process",
    "statistics": "where a queue is shown",
    "psutil": "where there is no /proc to read, and before a folder is removed: what is mounted there",
    "yaml": "a tenth of what a short command takes, and few read or write it",
}
"""What is loaded late, and why."""


def late(name: str) -> ModuleType:
    """A module of the table. Raises KeyError for another."""
    if name not in MODULES:
        raise KeyError(name)
    return import_module(name)
