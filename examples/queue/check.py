"""The check: red where both switches are on, and by bad luck once in thirty runs. It takes a second."""

import random
import sys
import time
from pathlib import Path

time.sleep(1)
if Path("left").exists() and Path("right").exists():
    sys.exit("both switches are on")
if random.random() < 1 / 30:
    sys.exit("bad luck")
