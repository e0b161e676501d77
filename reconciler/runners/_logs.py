"""What runs printed: as it came, and as people read it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping

from reconciler.model.names import RunId
from reconciler.model.ports import Agent
from reconciler.runners._folders import Folders
from reconciler.runners._reports import LOG_MAX
from reconciler.system import refused

JSON_TO_WORDS = 25  # what agents print about themselves is so many times longer than what they say


class Logs:
    """Those of the runs of one repository, wherever they are kept. `agents` tell what theirs mean."""

    def __init__(self, folders: Folders, agents: Mapping[str, Agent]) -> None:
        self._folders, self._agents = folders, agents

    def read(self, run: RunId, at: int = 0) -> tuple[bytes, int]:
        """What a run printed from byte `at` on, and where it ends; from the beginning where it was cut short."""
        try:
            with open(self._folders.folder(run) / "log", "rb") as file:
                file.seek(at if at <= os.fstat(file.fileno()).st_size else 0)
                return file.read(), file.tell()
        except FileNotFoundError:
            kept = self._folders.content(run, "log", LOG_MAX)
            return kept[at if at <= len(kept) else 0 :], len(kept)

    def tail(self, run: RunId, most: int = 8000) -> str:
        """The last `most` characters that a run printed, as people read them; empty when it printed nothing."""
        shown = self.shown(run)
        size = most * (JSON_TO_WORDS if shown else 4)
        with refused.temporarily(f"the log of {run} can't be read"):
            tail = self._folders.content(run, "log", size, from_end=True)
        if not most:
            return ""
        if shown is None:
            return tail.decode("utf-8", "replace")[-most:]
        # Of a log that was not read whole the first line is cut off.
        whole = tail.partition(b"\n")[2] if len(tail) == size else tail
        return "".join(f"{line}\n" for line in shown(whole.decode("utf-8", "replace")))[-most:]

    def shown(self, run: RunId) -> Callable[[str], Iterator[str]] | None:
        """What makes lines for people of a run's log; None where it holds such lines already."""
        agent = self._agents.get(self._folders.record(run).start.agent)
        return agent.shown if agent and agent.program else None
