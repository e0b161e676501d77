"""Perform a plan's actions. One that goes wrong never stops another: each outcome is recorded, the next tick decides.

Actions of different tasks go side by side, in as many threads as there are to be had. What they want written to the tracker,
or recorded, is collected and written at once, round by round; an action goes on with its next step once its own is written.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from msgspec import Struct

from reconciler.model.errors import ReconcileError, TemporaryError
from reconciler.model.ports import AppliedTask, Change, Ports
from reconciler.planning.actions import Action
from reconciler.system import unanswered

WORKERS = 8


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of an action: done where `error` is None."""

    action: Action
    error: ReconcileError | None = None


def execute(actions: Sequence[Action], ports: Ports, workers: int = WORKERS) -> list[Outcome]:
    """Perform the actions to their ends; their outcomes in the same order."""
    steps = [_Steps(action, action.perform(ports)) for action in actions]
    # A landing must not stand behind the branches of all that landed before: each of those is several calls of a forge.
    for tidying in (False, True):
        mine = [step for step in steps if step.action.tidies is tidying]
        while _advance(mine, workers):
            _write(mine, ports)
    return [Outcome(action=step.action, error=step.error) for step in steps]


class _Steps(Struct):
    """An action in the middle of being performed."""

    action: Action
    rest: Iterator[Change | AppliedTask]
    change: Change | AppliedTask | None = None  # to be written before it goes on
    error: ReconcileError | None = None
    over: bool = False

    def advance(self) -> None:
        try:
            with unanswered.about(_named(self.action)):
                self.change = next(self.rest)
        except StopIteration:
            self.over = True
        except ReconcileError as error:
            self.fail(error)
        except Exception as error:  # noqa: BLE001 - a defect in one action must not end the loop for all tasks
            self.fail(
                TemporaryError(f"{type(self.action).__name__} broke: {type(error).__name__}: {error}", delay=60.0)
            )

    def fail(self, error: ReconcileError) -> None:
        self.error, self.over, self.change = error, True, None


def _named(action: Action) -> str:
    name = type(action).__name__
    return f"{name} of {action.task}" if action.task else name


def _advance(steps: list[_Steps], workers: int) -> bool:
    """Bring every unfinished action to its next change or its end; True when there is something to write."""
    left = queue.SimpleQueue[_Steps]()
    for step in steps:
        if not step.over:
            left.put(step)
    # No pool: it ends in an error where the machine gives no thread, half of its work begun.
    with ExitStack() as helpers:
        for _ in range(min(workers, left.qsize()) - 1):
            helper = threading.Thread(target=_work_off, args=(left,))
            try:
                helper.start()
            except RuntimeError:
                break  # this thread does it all
            helpers.callback(helper.join)
        _work_off(left)
    return any(step.change for step in steps)


def _work_off(left: queue.SimpleQueue[_Steps]) -> None:
    while True:
        try:
            step = left.get_nowait()
        except queue.Empty:
            return
        step.advance()


def _write(steps: list[_Steps], ports: Ports) -> None:
    ready = [(step, change) for step in steps if (change := step.change)]
    for step, _ in ready:
        step.change = None
    changes = [(step, change) for step, change in ready if isinstance(change, Change)]
    if changes:
        _answer(changes, "tracker", lambda: ports.tracker.write([change for _, change in changes]))
    tasks = [(step, change) for step, change in ready if isinstance(change, AppliedTask)]
    for manifest in dict.fromkeys(each.manifest for _, each in tasks):
        mine = [(step, each) for step, each in tasks if each.manifest == manifest]
        _answer(mine, "record", lambda: ports.records.applied(manifest, [each.task for _, each in mine]))  # noqa: B023 - called at once


def _answer(
    ready: Sequence[tuple[_Steps, object]], what: str, write: Callable[[], Sequence[ReconcileError | None] | None]
) -> None:
    """Write for several at once. What is answered goes to each, None means that all went well; an error goes to all."""
    try:
        answers = write() or [None] * len(ready)
    except ReconcileError as error:
        answers = [error] * len(ready)
    except Exception as error:  # noqa: BLE001 - as above: what broke is tried again later, everybody else goes on
        broke = TemporaryError(f"the {what} broke: {type(error).__name__}: {error}", delay=60.0)
        answers = [broke] * len(ready)
    for (step, _), refused in zip(ready, answers, strict=True):
        if refused:
            step.fail(refused)
