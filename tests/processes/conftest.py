"""A machine for every test that starts processes, cleared afterwards."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.clear()
