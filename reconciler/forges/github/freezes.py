"""A base on which nothing lands until a person has looked: noted here, and shown on GitHub, so that another clone sees it.

It is a commit status of the base's tip, renewed when that moves, and never counted as a check. Who lifts it anywhere lifts it
everywhere: the status says so then, and the clone that noted it forgets it.
"""

from __future__ import annotations

from datetime import UTC, datetime

from reconciler.forges.github.check_results import FREEZE
from reconciler.forges.github.gh import Gh
from reconciler.forges.github.look import Look
from reconciler.forges.github.notes import Freeze, Notes
from reconciler.model.errors import PermanentError
from reconciler.model.names import Sha
from reconciler.planning.messages import one_line

DESCRIPTION_MAX = 140
_LIFTS = "'reconcile unfreeze' lets it go on"


class Freezes:
    """The bases of one repository on which nothing lands."""

    def __init__(self, gh: Gh, look: Look, notes: Notes) -> None:
        self._gh, self._look, self._notes = gh, look, notes
        self._unheard: set[Sha] = set()  # tips of which GitHub does not let us say anything
        self._stopped: set[str] = set()  # bases that were, when it was asked last

    def stop(self, base: str, why: str) -> PermanentError:
        """Have nothing more land on a base."""
        self._notes.freeze(Freeze(base=base, why=why, at=datetime.now(UTC).isoformat()))
        self._look.stale()
        return PermanentError(self.why(base) or why, hint=f"run the checks on {base}")

    def why(self, base: str) -> str | None:
        """Why nothing lands on a base, and what to do about it."""
        if noted := self._notes.frozen(base):
            self._stopped.add(base)
            return f"{noted}; when {base} is in order again, {_LIFTS}"
        there = self._look.last.freezes.get(base)
        if there is None or not there.stands:
            return None
        return f"nothing lands on {base}, another clone reports: {there.why or 'it does not say why'}; {_LIFTS}"

    def heed(self) -> None:
        """Look again where a person has lifted beside us what was noted here: what was seen there is older than that."""
        lifted = {base for base in self._stopped if not self._notes.frozen(base)}
        if lifted:
            self._stopped -= lifted
            self._look.stale()

    def due(self, base: str) -> bool:
        """True where what is noted here is not shown there, or was lifted there."""
        there, tip = self._look.last.freezes.get(base), self._look.last.heads.get(base)
        if tip is None or tip in self._unheard or not self._notes.frozen(base):
            return False
        return there is None or there.tip != tip or not there.stands

    def settle(self, base: str) -> None:
        """Say it of the base as it is now; or forget it where a person has lifted it elsewhere."""
        if not self.due(base):
            return
        there, tip = self._look.last.freezes.get(base), self._look.last.heads[base]
        if there and there.tip == tip:
            self._notes.thaw(base)
        elif why := self._notes.frozen(base):
            self._say(tip, "failure", why)
        self._look.stale()

    def lift(self, base: str) -> bool:
        """Let a base go on, here and there; False where nothing stopped it."""
        self._look.stale()
        self._look.now()
        stopped = self.why(base) is not None
        there, tip = self._look.last.freezes.get(base), self._look.last.heads.get(base)
        if tip and there and there.stands:
            self._say(tip, "success", "lifted by a person")
            self._look.stale()
        self._notes.thaw(base)
        return stopped

    def _say(self, tip: Sha, state: str, why: str) -> None:
        fields = {"state": state, "context": FREEZE, "description": one_line(why)[:DESCRIPTION_MAX]}
        answer = self._gh.change("POST", f"{self._look.slug.path}/statuses/{tip}", fields)
        if not answer.ok:
            self._unheard.add(tip)
            if state == "success":
                what = f"GitHub does not take it that this goes on: {answer.message or answer.status}"
                raise PermanentError(what, hint="log in to gh as somebody who may set statuses of commits")
