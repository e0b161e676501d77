"""What an action is: a decision (`due`, pure) and a deed (`perform`, through ports)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import ClassVar

from msgspec import Struct

from reconciler.model.names import TaskId
from reconciler.model.ports import AppliedTask, Change, Ports
from reconciler.model.reasons import Awaits, Reason

OF_MANIFEST = "manifest:"  # so begins whom an action is put down to that is about no task


class Waiting(Struct, frozen=True, gc=False):
    """Why nothing is done for a task now. `reason` is for programs, `message` for people; `until`: worth a look then.

    `again`: the same where no timer runs out then, but nothing would announce what happens until then.
    """

    reason: Reason
    message: str
    until: datetime | None = None
    again: datetime | None = None

    @property
    def needs_a_person(self) -> bool:
        """True where only a person, or another program, can end it: no timer does."""
        return self.reason.awaits is Awaits.PERSON and self.until is None


class Action(Struct, frozen=True, kw_only=True):
    """One change to the world, complete: performing it leaves nothing to choose, doing it twice is doing it once."""

    # 'reconcile merge' does it too: it brings what is offered to the base, or clears up after it
    by_merge: ClassVar[bool]
    # It takes away what is left over: whoever can't do everything at once does this last
    tidies: ClassVar[bool] = False
    manifest: str
    task: TaskId | None
    reason: Reason
    message: str

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not hasattr(cls, "by_merge"):
            raise TypeError(f"{cls.__name__} does not say whether 'reconcile merge' does it: give it 'by_merge'")

    @property
    def subject_id(self) -> TaskId:
        """Whom it is put down to when it goes wrong: its task, else itself."""
        return self.task or TaskId(f"{OF_MANIFEST}{self.manifest}/{type(self).__name__}")

    @property
    def housekeeping(self) -> bool:
        """True for what keeps things tidy and tells nobody anything new: shown by `-v`, and always in the history."""
        return False

    @property
    def evidence(self) -> Mapping[str, object]:
        """What was seen that made this due, for `diff`."""
        return {}

    @abstractmethod
    def perform(self, ports: Ports) -> Iterator[Change | AppliedTask]:
        """Make the change: effects through `ports`, in order.

        What is to be written to the tracker or recorded is yielded, so that the executor can write the changes of many
        actions at once; the next step runs after it is written, and not at all when it was refused.
        """
        ...


Decision = Action | Waiting | None
"""What `due` says: the action for a job, why it must wait, or None when this is not the job's next step."""
