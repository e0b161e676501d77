"""What every test stands on: no git, forge or terminal settings of whoever runs it. The rest is in the tests."""

import os
import signal
import tempfile
from pathlib import Path

from hypothesis import settings

_FOREIGN = ("GIT_", "GH_", "GITHUB_", "BD_", "BEADS_", "RECONCILE_", "XDG_", "CLICOLOR")
_ALSO_FOREIGN = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "SSH_AUTH_SOCK"}

for _name in [name for name in os.environ if name.startswith(_FOREIGN) or name in _ALSO_FOREIGN]:
    del os.environ[_name]

# A shell without job control starts what stands before an '&' with Ctrl-C ignored, and whatever that starts too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# At import, not in a fixture: modules of helpers read the environment before the first fixture runs.
_HOME = tempfile.TemporaryDirectory(prefix="reconcile-tests-home-")
os.environ["HOME"] = _HOME.name
os.environ["GIT_CONFIG_NOSYSTEM"] = "1"
# Without an identity of its own git makes one up from the host's name on some machines and refuses on others.
Path(_HOME.name, ".gitconfig").write_text("[user]\n\tuseConfigOnly = true\n[init]\n\tdefaultBranch = main\n")

settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")
