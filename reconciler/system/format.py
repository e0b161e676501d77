"""Which form the records in `<git-common-dir>/reconcile/` have, so that an older program leaves a newer one's alone.

`FORMAT` goes up with a change that an older program would misread. Repositories from before this was written down have 1.
"""

from __future__ import annotations

from pathlib import Path

from reconciler.model.errors import PermanentError, TemporaryError
from reconciler.system import files

FORMAT = 2  # finished runs leave their folders for an archive, which who reads folders would miss


def check(state: Path) -> None:
    """Raise PermanentError where the records are of a form that this program does not know."""
    found = _found(state)
    if found > FORMAT:
        raise PermanentError(
            f"the records in {state} were written by a newer version of reconcile "
            f"(their format is {found}, this one knows {FORMAT}); nothing was read or changed",
            hint="install that version here too, or use the one that wrote them",
        )


def mark(state: Path) -> None:
    """Write down that the records are of this program's form, before it writes any. One that holds the lock does so."""
    if _found(state) >= FORMAT and _file(state).exists():
        return
    files.replace(_file(state), f"{FORMAT}\n")


def _found(state: Path) -> int:
    try:
        return int(_file(state).read_text("ascii"))
    except FileNotFoundError:
        return 1
    except ValueError:
        raise PermanentError(
            f"{_file(state)} is damaged: it holds no number",
            hint=f"where no newer reconcile was used here: echo {FORMAT} > {_file(state)}",
        ) from None
    except OSError as error:
        raise TemporaryError(f"{_file(state)} can't be read: {error.strerror}") from error


def _file(state: Path) -> Path:
    return state / "format"
