"""Which program works on tasks, or reviews them, with which model and within which limits. Times are seconds."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec import Struct, field

from reconciler.model.agent_kinds import AgentKind
from reconciler.model.values import replace
from reconciler.model.venue import Venue


class Override(Struct, frozen=True, kw_only=True):
    """Tasks that carry all of these labels get this model, and are worked on there, or with these options of the engine."""

    labels: tuple[str, ...]
    model: str | None = None
    runner: Venue | tuple[str, ...] | None = None


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
    # Where its runs are, or the options of the engine that places them; None: as the manifest says.
    runner: Venue | tuple[str, ...] | None = None

    @property
    def program(self) -> str:
        """The program that is started; empty where none is named."""
        return next(iter(self.argv), "") if self.kind is AgentKind.COMMAND else str(self.kind)

    def model_for(self, labels: Collection[str]) -> str | None:
        """The model of a task with these labels."""
        return next((each.model for each in self._fitting(labels) if each.model), self.model)

    def venue_for(self, labels: Collection[str], usual: Venue) -> Venue:
        """Where a task with these labels is worked on, by a manifest that says `usual`."""
        chosen = next((each.runner for each in self._fitting(labels) if each.runner is not None), None)
        return _placed(_placed(usual, self.runner), chosen)

    def venues(self, usual: Venue) -> tuple[Venue, ...]:
        """Wherever its runs may be: first where those are that no label says otherwise of."""
        most = _placed(usual, self.runner)
        return tuple(dict.fromkeys((most, *(_placed(most, each.runner) for each in self.overrides))))

    def _fitting(self, labels: Collection[str]) -> list[Override]:
        return [each for each in self.overrides if set(each.labels) <= set(labels)]


def _placed(usual: Venue, by: Venue | tuple[str, ...] | None) -> Venue:
    """
    >>> _placed(Venue(hosts=("a",)), ("-x",)), _placed(Venue(hosts=("a",)), Venue()) == Venue()
    (Venue(kind=<VenueKind.LOCAL: 'local'>, root='', remote='', scratch='', sync_s=30.0, lease_s=900.0, options=('-x',), hosts=('a',), per_host=4), True)
    """
    if by is None:
        return usual
    return by if isinstance(by, Venue) else replace(usual, options=by)
