"""A scripted agent: each of thirty adds one number. Two of them break the build together, and only together."""

import os
import subprocess
from pathlib import Path

TITLE, _, FEEDBACK = Path(os.environ["RECONCILE_PROMPT"]).read_text().partition("\n")
NUMBER = int(TITLE.split()[-1])
SWITCHES = {7: "left", 19: "right"}

RED = "ChecksFailed" in FEEDBACK or "checks failed" in FEEDBACK
FILE = Path(f"numbers/{NUMBER}")

FILE.parent.mkdir(exist_ok=True)
FILE.write_text(f"{FILE.read_text()}again\n" if RED and FILE.exists() else f"{NUMBER}\n")
if switch := SWITCHES.get(NUMBER):
    if RED:
        Path(switch).unlink(missing_ok=True)  # told that it broke the build, it takes that back
    else:
        Path(switch).write_text("on\n")
subprocess.run(("git", "add", "--all"), check=True)
subprocess.run(("git", "commit", "--quiet", "--message", TITLE), check=True)
