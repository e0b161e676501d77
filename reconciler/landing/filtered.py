"""Whether the files of a base can be written and stored here: the filters that they go through are there, and work.

A filter is tried on a file of the base that goes through it, once for as long as it works: read as a checkout would have it, and
stored again. Nothing is written by us; Git LFS is not tried, because it would fetch what a checkout needs.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from reconciler.git import filters
from reconciler.git.commands import Git
from reconciler.git.refusals import GitError
from reconciler.landing.merge_tree import MergeTrees
from reconciler.model.errors import PermanentError, TemporaryError
from reconciler.model.names import Sha

_TRY_S = 20.0
_CANDIDATES_MAX = 50


def hindrance(git: Git, benches: MergeTrees, name: str, base: Sha) -> str | None:
    """Why files of a base, a branch called so, can't be worked with, and what fixes it; None where they can."""
    of = f"{name} at {base[:12]}"
    attributes = benches.attributes(base).values
    if why := filters.missing(git, attributes, of):
        return why
    for name, settings in filters.tried(git, attributes).items():
        key = ("filter works", name, tuple(sorted(settings.items())))
        if tried := git.remembered(key, (), partial(_tried, git, benches, base, name), keep=lambda why: why is None):
            return f"files of {of} go through the filter {name}, which fails here: {tried}; {filters.FIX_IT}"
    return None


def _tried(git: Git, benches: MergeTrees, base: Sha, name: str) -> str | None:
    """What a filter complains of when a file of the base goes through it, to and fro; None where it works, or no file does."""
    with benches.at(base, quarantined=False) as bench:
        file = git.remembered(("filtered", base, name), (), lambda: _smallest(git, base, name, bench.folder))
        if file is None:
            return None
        path, blob = file
        try:
            run = partial(git.objects, work_tree=bench.folder, timeout_s=_TRY_S)
            read = run("cat-file", "--filters", f"--path={path}", blob)
            run("hash-object", "--stdin", f"--path={path}", stdin=read.out)
        except GitError as error:
            return error.finished.complaint
        except TemporaryError as error:
            return str(error)
        except PermanentError:
            return None  # it is too large to be tried
    return None


def _smallest(git: Git, base: Sha, name: str, folder: Path) -> tuple[str, str] | None:
    """A file of the base that goes through a filter, and what is stored of it."""
    listed = git.objects("ls-tree", "-r", "-z", "--full-tree", base).text.split("\0")
    rows = (line.partition("\t") for line in listed if line.startswith("100"))
    blobs = {path: entry.split(" ")[2] for entry, _, path in rows}
    asked = os.fsencode("".join(f"{path}\0" for path in blobs))
    attributes = git.objects("check-attr", "--stdin", "-z", "filter", stdin=asked, work_tree=folder).text.split("\0")
    found = [path for path, value in zip(attributes[0::3], attributes[2::3], strict=False) if value == name][
        :_CANDIDATES_MAX
    ]
    if not found:
        return None
    names = "".join(f"{blobs[path]}\n" for path in found).encode()
    sizes = git.objects("cat-file", "--batch-check=%(objectsize)", stdin=names).text.split("\n")
    _, path = min((int(size), path) for size, path in zip(sizes, found, strict=False) if size.isdecimal())
    return path, blobs[path]
