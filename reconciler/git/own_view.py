"""A view of a repository for one worktree alone: the same objects and branches, and nothing else that anybody set up there.

Who reads a change with git must see that change. In the repository's own git dir its author may have named programs (a
fsmonitor, hooks, filters, diff drivers), attributes that call code binary, and objects that stand in for others. None of
them could be switched off by variables alone: an external diff can be replaced by another one only, and `info/attributes` by
nothing.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from reconciler.git import large_files
from reconciler.git.commands import Git
from reconciler.git.links import VIEW
from reconciler.model.names import Sha

_SHOWN = ("refs/heads", "refs/tags", "refs/remotes")


def give(git: Git, admin: Path, head: Sha) -> None:
    """Have the worktree of this admin folder, detached at `head`, see the repository through a view as it is now.

    Its commands may write there what they like: it goes with the worktree.
    """
    common, made = git.repository.common, admin / VIEW
    for folder in ("refs", "info", "objects/info"):
        (made / folder).mkdir(parents=True, exist_ok=True)
    control = git.prepare()
    for name in ("config", "info/exclude", "HEAD"):
        shutil.copyfile(control / name, made / name)
    if (common / "shallow").exists():
        shutil.copyfile(common / "shallow", made / "shallow")
    (made / "objects/info/alternates").write_bytes(os.fsencode(common / "objects") + b"\n")
    listed = git.refs("for-each-ref", "--format=%(objectname) %(refname)", *_SHOWN).out
    (made / "packed-refs").write_bytes(b"# pack-refs with:\n" + listed)
    large_files.share(made, common)
    (admin / "HEAD").write_text(f"{head}\n", "ascii")  # elsewhere than in a file, it is not found from here
    (admin / "commondir").write_text(f"{VIEW}\n", "ascii")
