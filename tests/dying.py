"""A process that does something and is killed amid it: right before a step of its own choosing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from reconciler.landing.intents import Intents
from reconciler.system import shell


def dying(what: Callable[[], None], prepare: Callable[[], None]) -> int:
    """How a process ends that does this."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            prepare()
            what()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def arm(step: int, *functions: tuple[Any, str]) -> None:
    """Kill this process right before the step: a program, a file put in another's place, a lock, a note; or a call of these
    functions, by their modules and names. Killed before one is killed after the one before it."""
    left = [step]

    def deadly(function: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*args: object, **options: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **options)

        return wrapped

    for module, name in functions:
        setattr(module, name, deadly(getattr(module, name)))
    if functions:
        return
    shell.run = deadly(shell.run)  # type: ignore[assignment]
    Intents.write = deadly(Intents.write)  # type: ignore[method-assign,assignment]
    Intents.drop = deadly(Intents.drop)  # type: ignore[method-assign,assignment]
    os.replace = deadly(os.replace)  # type: ignore[assignment]
    os.link = deadly(os.link)  # type: ignore[assignment]
