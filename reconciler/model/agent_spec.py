"""Which program works on tasks, or reviews them, with which model and within which limits. Times are seconds."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec import Struct, field

from reconciler.model.agent_kinds import AgentKind


class Override(Struct, frozen=True, kw_only=True):
    """Tasks that carry all of these labels get this model, and elsewhere these options of the engine."""

    labels: tuple[str, ...]
    model: str | None = None
    options: tuple[str, ...] | None = None


class AgentSpec(Struct, frozen=True, kw_only=True):
    """How a work run is made."""

    kind: AgentKind = AgentKind.COMMAND
    argv: tuple[str, ...] = ()  # of a command only
    model: str | None = None  # None: what the program takes by itself
    overrides: tuple[Override, ...] = ()  # the first that matches wins
    prompt: str | None = None  # absolute path of a template; None: the one that ships with the program
    env: Mapping[str, str] = field(default_factory=dict)
    pass_env: tuple[str, ...] = ()
    timeout_s: float = 7200.0
    stuck_after_s: float = 900.0
    max_attempts: int = 3
    backoff_initial_s: float = 10.0
    backoff_max_s: float = 600.0
    memory: int | None = None  # bytes that must be free before one starts; None: as earlier ones took
    disk: int | None = None  # None: what git needs at least
    opens_pull_request: bool = False  # it may push its branch and open the pull request itself
    options: tuple[str, ...] | None = None  # of the engine that places its runs; None: those of the runner

    @property
    def program(self) -> str:
        """The program that is started; empty where none is named."""
        return next(iter(self.argv), "") if self.kind is AgentKind.COMMAND else str(self.kind)

    def model_for(self, labels: Collection[str]) -> str | None:
        """The model of a task with these labels."""
        return next((each.model for each in self._fitting(labels) if each.model), self.model)

    def options_for(self, labels: Collection[str]) -> tuple[str, ...] | None:
        """The options of the engine for a task with these labels; None: those of the runner."""
        return next((each.options for each in self._fitting(labels) if each.options is not None), self.options)

    def _fitting(self, labels: Collection[str]) -> list[Override]:
        return [each for each in self.overrides if set(each.labels) <= set(labels)]
