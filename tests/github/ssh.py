"""What git runs instead of ssh: real `git upload-pack` and `git receive-pack` on the repositories of the server."""

from __future__ import annotations

import shlex
from pathlib import Path

# The flags are files in the bare repository; the server writes them. `lose-push` takes the push and loses the answer.
SCRIPT = """\
#!/bin/sh
for last; do :; done
service=${last%% *}
path=${last#* \\'}
path=${path%\\'}
repository=@ROOT@/${path#/}
repository=${repository%.git}.git
run() {
    env -i PATH="$PATH" HOME=@ROOT@ GIT_PROTOCOL="$GIT_PROTOCOL" GIT_CONFIG_NOSYSTEM=1 git "$@" "$repository"
}
if [ ! -d "$repository" ]; then
    printf 'ERROR: Repository not found.\\n' >&2
    exit 1
fi
if [ "$service" = git-receive-pack ]; then
    if [ -s "$repository/no-push" ]; then
        printf 'ERROR: %s\\n' "$(cat "$repository/no-push")" >&2
        exit 1
    fi
    if [ -e "$repository/lose-push" ]; then
        rm "$repository/lose-push"
        # The refs are told and the push is taken, but the client hears nothing of how it went.
        run receive-pack | head -c "$(run receive-pack --advertise-refs </dev/null | wc -c)"
        exit 255
    fi
fi
run "${service#git-}"
"""


def write(path: Path, root: Path) -> Path:
    """The script for the repositories below `root`."""
    path.write_text(SCRIPT.replace("@ROOT@", shlex.quote(str(root))))
    path.chmod(0o755)
    return path
