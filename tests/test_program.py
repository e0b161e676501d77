"""What an interpreter is given to run: bytecode that is of the file as it is, or the file."""

from __future__ import annotations

import os
import py_compile
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.system import program


def printed(path: str) -> str:
    return subprocess.run([sys.executable, "-I", "-S", path], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "says.py"
    path.write_text('print("old")\n')
    py_compile.compile(str(path), doraise=True)
    return path


def test_bytecode_of_the_file_as_it_is_runs_in_its_place(source: Path) -> None:
    compiled = program.runnable(str(source))
    assert compiled.endswith(".pyc") and printed(compiled) == "old\n"


def test_bytecode_of_a_file_that_was_written_again_does_not_run(source: Path) -> None:
    made = source.stat().st_mtime
    for seconds, text in ((10, "new"), (-10, "NEW"), (0, "newer")):
        source.write_text(f'print("{text}")\n')
        os.utime(source, (made, made + seconds))
        assert program.runnable(str(source)) == str(source)
        assert printed(str(source)) == f"{text}\n"


def test_a_file_that_was_replaced_by_one_of_the_same_date_and_another_size_runs_itself(source: Path) -> None:
    before, other = source.stat(), source.with_name("other.py")
    other.write_text('print("another")\n')
    os.utime(other, (before.st_atime, before.st_mtime))
    os.replace(other, source)
    assert program.runnable(str(source)) == str(source)


@pytest.mark.parametrize("left", [b"", b"\0" * 16, None])
def test_where_bytecode_is_missing_cut_off_or_of_another_python_the_file_runs_itself(
    source: Path, left: bytes | None
) -> None:
    compiled = Path(program.runnable(str(source)))
    compiled.unlink()
    if left is not None:
        compiled.write_bytes(left)
    assert program.runnable(str(source)) == str(source)


def test_bytecode_that_is_judged_otherwise_than_by_date_does_not_run(source: Path) -> None:
    py_compile.compile(str(source), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    assert program.runnable(str(source)) == str(source)
