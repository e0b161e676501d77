"""A watch notices that its manifest changed, whatever its date says."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.cli.watch import _stamps


def rewritten(file: Path) -> None:
    before = file.stat()
    file.write_text("b: 2\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(file: Path) -> None:
    other = file.with_name("other")
    other.write_text("b: 2\n")
    shutil.copystat(file, other)
    other.replace(file)


def put_back(file: Path) -> None:
    os.utime(file, ns=(0, 0))  # as with a clock that was set back, or a file that a backup brought
    file.write_text("b: 2\n")
    os.utime(file, ns=(0, 0))


def test_a_link_to_itself_is_a_file_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "epic.yaml").symlink_to("epic.yaml")

    assert set(_stamps((str(tmp_path / "epic.yaml"),)).values()) == {None}


@pytest.mark.parametrize("change", [rewritten, replaced, put_back, Path.unlink])
@pytest.mark.parametrize("as_folder", [False, True], ids=["file", "folder"])
def test_a_file_of_the_same_size_and_date_is_known_to_be_another(
    tmp_path: Path, change: Callable[[Path], None], as_folder: bool
) -> None:
    file = tmp_path / "epic.yaml"
    file.write_text("a: 1\n")
    sources = (str(tmp_path if as_folder else file),)
    before = _stamps(sources)
    assert _stamps(sources) == before

    change(file)

    assert _stamps(sources) != before
