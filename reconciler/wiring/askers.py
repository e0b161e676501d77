"""Who asks: what only people decide is refused to agents, and to whatever they have started."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from reconciler.model.errors import PermanentError
from reconciler.runners import _processes as processes

if TYPE_CHECKING:
    from reconciler.runners._peers import Peer  # with sockets and addresses: for who serves the page

RUN_MARKER = "RECONCILE_RUN"


def refuse_agents(environ: Mapping[str, str], what: str) -> None:
    """Raise PermanentError where an agent, or anything that an agent started, asks for what only people decide."""
    if RUN_MARKER in environ or processes.descends_from_a_carrier(RUN_MARKER):
        raise PermanentError(f"'{what}' is refused inside a run: agents do not decide this for themselves")


def refuse_peer(peers: Collection[Peer], what: str) -> None:
    """Raise PermanentError where one at the other end of a connection may be an agent, or is not there to be asked."""
    if not peers or not all(peer.alive for peer in peers):
        raise PermanentError(f"'{what}' is refused: which process asks for it can't be known")
    if any(processes.descends_from_a_carrier(RUN_MARKER, peer.pid) for peer in peers):
        raise PermanentError(f"'{what}' is refused inside a run: agents do not decide this for themselves")
    if not all(peer.alive for peer in peers):  # it ended while it was looked at: another one may have got its number
        raise PermanentError(f"'{what}' is refused: the process that asked for it has ended")
