"""What the notes of a task say: why it was handed to a person last, and its agent's last words. Pure."""

from __future__ import annotations

import re
from functools import cached_property

from msgspec import Struct

from reconciler.model.observed import Task
from reconciler.model.reasons import Reason
from reconciler.planning import messages

_NOTE = re.compile(r"^reconcile: (\w+): (.*)$", re.MULTILINE)
_WORDS_MAX = 200


class TaskNotes(Struct, frozen=True, dict=True):
    """Those of one task, ours among others'."""

    task: Task

    @property
    def reason(self) -> Reason | None:
        """Why it was handed over last: what its branch looks like may say another thing."""
        return self._handed_over[0] if self._handed_over else None

    @property
    def message(self) -> str | None:
        """What the note of that says, without what to do."""
        return messages.handed_over(self.task.id, *self._handed_over) if self._handed_over else None

    @property
    def last_words(self) -> str:
        """The end of them, where that is nothing of ours."""
        last = next((line.strip() for line in reversed(self.task.notes.splitlines()) if line.strip()), "")
        return "" if _NOTE.match(last) else messages.clean(last)[:_WORDS_MAX]

    @cached_property
    def _handed_over(self) -> tuple[Reason, str] | None:
        known = [(Reason.of(word), text) for word, text in _NOTE.findall(self.task.notes) if word in set(Reason)]
        return known[-1] if known else None
