"""A process that may do what the modes of files say, as everybody's but root's."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest


def without_rights() -> tuple[str, ...]:
    """What a command begins with to run as one that is not root. Skips the test where root can't do without its rights."""
    way = ("setpriv", "--inh-caps=-all", "--bounding-set=-all") if os.geteuid() == 0 else ()
    if way and (not shutil.which("setpriv") or subprocess.run((*way, "true")).returncode):
        pytest.skip("root can't do without its rights here")
    return way
