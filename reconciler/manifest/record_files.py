"""The files of recorded manifests under `<git-common-dir>/reconcile/`: their names, how they are read, and who may write.

`manifests/<name>.yaml` is the desired state, `.applied.json` beside it the declared tasks as they were last written to the
tracker, `status/<name>.json` what was last seen of it (nothing is lost with it). `.trusted` is there while no run of this
repository can have written to the file that the manifest came from since a person applied it; `.withheld.json` holds what that
file asks for and a person has to apply, `.unfrozen` when a person last let its line go on. Each file is replaced as a whole, one
writer at a time; readers need no lock.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from reconciler.model.desired import EPOCH, Loosening
from reconciler.model.errors import TemporaryError
from reconciler.system import file_lock, files, refused

WRITER_WAIT_S = 10.0
_TRUSTED = ".trusted"


class RecordFiles:
    """Those of one repository; `state` is its reconcile folder."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._manifests = state / "manifests"

    def names(self) -> list[str]:
        """The names of what is recorded, readable or not. Raises TemporaryError when the folder can't be read."""
        try:
            files = sorted(os.listdir(self._manifests))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unreadable(self._manifests, error) from error
        return [file.removesuffix(".yaml") for file in files if file.endswith(".yaml") and not file.startswith(".")]

    def yaml(self, name: str) -> Path:
        return self._manifests / f"{name}.yaml"

    def applied(self, name: str) -> Path:
        return self._manifests / f"{name}.applied.json"

    def withheld(self, name: str) -> Path:
        return self._manifests / f"{name}.withheld.json"

    def trusted(self, name: str) -> Path:
        return self._manifests / f"{name}{_TRUSTED}"

    def unfrozen(self, name: str) -> Path:
        return self._manifests / f"{name}.unfrozen"

    def status(self, name: str) -> Path:
        return self._state / "status" / f"{name}.json"

    def distrust(self) -> None:
        """Take every mark of trust away."""
        try:
            for file in os.listdir(self._manifests):
                if file.endswith(_TRUSTED):
                    (self._manifests / file).unlink(missing_ok=True)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _refused(error, self._manifests) from error

    def remove(self, name: str) -> None:
        """Remove all files of a manifest, itself last: a removal that was cut off is done again."""
        beside = (self.applied(name), self.withheld(name), self.trusted(name), self.unfrozen(name))
        for path in (self.status(name), *beside, self.yaml(name)):
            path.unlink(missing_ok=True)
        files.sync(self._manifests)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One writer at a time, across processes. Raises TemporaryError when another one stays."""
        folder = self._state / "locks"
        try:
            _make(self._state, folder)
            fd = os.open(folder / "manifests", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _refused(error, folder) from error
        try:
            file_lock.take(fd, WRITER_WAIT_S)
            yield
        except BlockingIOError as error:
            raise TemporaryError("somebody else is writing manifests in this repository") from error
        except OSError as error:
            raise _refused(error, self._manifests) from error
        finally:
            os.close(fd)


def withheld(kept: bytes | None) -> tuple[Loosening, ...]:
    """What is withheld; nothing of a damaged file: this is for display alone."""
    try:
        data = json.loads(kept or b"[]")
        return tuple(
            Loosening(
                field=str(each["field"]), old=each["old"], new=each["new"], also=tuple(map(str, each.get("also", ())))
            )
            for each in data
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return ()


def moment(kept: bytes | None) -> datetime:
    """What time a file holds. Of a damaged one nothing is believed: what pauses goes on pausing."""
    try:
        at = datetime.fromisoformat((kept or b"").decode().strip())
    except ValueError:
        return EPOCH
    return at if at.tzinfo else EPOCH


def content(path: Path) -> bytes | None:
    """What a file holds; None where there is none. Raises TemporaryError when it can't be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error) from error


def replace(path: Path, text: str) -> None:
    """Replace a file, private and as a whole. Only while writing."""
    _make(path.parent)
    files.replace(path, text)


def _unreadable(path: Path, error: OSError) -> TemporaryError:
    message, hint = refused.words(error) if refused.lacks(error) else (error.strerror, None)
    return TemporaryError(f"{path} can't be read: {message}", delay=30.0, hint=hint)


def _refused(error: OSError, place: Path) -> TemporaryError:
    message, hint = refused.words(error, place)
    return TemporaryError(f"manifests can't be written: {message}", delay=30.0, hint=hint or None)


def _make(*folders: Path) -> None:
    """Make private folders, outermost first: those that `mkdir` makes on the way would be open to everybody."""
    for folder in folders:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
