"""A file as a commit holds it: whether it is there, may be executed, and by which programs its first line says that it is."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable

from reconciler.git.commands import Git
from reconciler.model.names import Sha
from reconciler.model.ports import CommittedFile

LINK, _FILE, _PROGRAM = "120000", ("100644", "100664"), "100755"
_FIRST_LINE_MAX = 256  # as much of it as the kernel reads
_SIZE_MAX = 1 << 20
_LINKS_MAX = 40  # as many as the kernel follows


def read(git: Git, commit: Sha, path: str) -> CommittedFile | None:
    """The file at a path of a commit; None where that can't be known: links are not followed, and what is no commit here, or can't
    be read, is no answer."""
    found = entry(git, commit, path)
    if found is None:
        return None
    mode, name = found
    if not mode:
        above = with_above(path)[1:]
        through_a_link = any((seen := entry(git, commit, each)) is None or seen[0] == LINK for each in above)
        return None if through_a_link else CommittedFile(there=False)
    if mode in _FILE:
        return CommittedFile(executable=False)
    if mode != _PROGRAM:
        return None
    return CommittedFile(interpreters=_interpreters(_first_line(git, name)))


def entry(git: Git, commit: Sha, path: str) -> tuple[str, Sha] | None:
    """The mode and the object at a path; an empty mode where there is none, None where the commit can't be read."""
    listed = git.objects("--literal-pathspecs", "ls-tree", "-z", "--full-tree", commit, "--", path, ok=(0, 128))
    if listed.code:
        return None
    about, _, name = listed.out.partition(b"\0")[0].partition(b"\t")
    if os.fsdecode(name) != path:
        return "", Sha("")
    mode, _, object_ = about.decode().split(" ")
    return mode, Sha(object_)


def links(git: Git, commit: Sha) -> frozenset[str]:
    """Every symbolic link of a commit."""
    rows = git.objects("ls-tree", "-r", "-z", "--full-tree", commit).out.split(b"\0")
    mode = LINK.encode()
    return frozenset(os.fsdecode(row.partition(b"\t")[2]) for row in rows if row.startswith(mode))


def behind(path: str, target: Callable[[str], str | None]) -> frozenset[str]:
    """Each path to which a path leads in a commit, where it or a folder on its way is a link, as far as it stays inside.
    `target`: where the link at a path leads; None where there is none.

    >>> sorted(behind("a/b", {"a": "c", "c/b": "../d"}.get)), behind("a", {"a": "../out"}.get)
    (['c/b', 'd'], frozenset())
    """
    found: set[str] = set()
    while step := next(((each, to) for each in with_above(path) if (to := target(each)) is not None), None):
        link, to = step
        path = posixpath.normpath(posixpath.join(posixpath.dirname(link), to, path[len(link) + 1 :]))
        if path in found or len(found) >= _LINKS_MAX or path.partition("/")[0] in ("", ".", ".."):
            break
        found.add(path)
    return frozenset(found)


def with_above(path: str) -> list[str]:
    """A path, and the folders that it leads through.

    >>> with_above("a/b/c")
    ['a/b/c', 'a/b', 'a']
    """
    found = [path]
    while path := posixpath.dirname(path):
        found.append(path)
    return found


def _first_line(git: Git, name: Sha) -> str:
    """The first line of a file; empty where it is too large for a script, or can't be read."""
    size = git.objects("cat-file", "-s", name, ok=(0, 1, 128)).text.strip()
    if not size.isdecimal() or int(size) > _SIZE_MAX:
        return ""
    content = git.objects("cat-file", "blob", name, ok=(0, 1, 128)).out
    return content[:_FIRST_LINE_MAX].partition(b"\n")[0].decode("utf-8", "replace")


def _interpreters(line: str) -> tuple[str, ...]:
    r"""The programs that the first line of a script names.

    >>> _interpreters("#! /bin/sh -e"), _interpreters("#!/usr/bin/env python3"), _interpreters("\x7fELF")
    (('/bin/sh',), ('/usr/bin/env', 'python3'), ())
    >>> _interpreters("#!/usr/bin/env -S A=1 node --x"), _interpreters("#!/bin/sh\r")
    (('/usr/bin/env',), ('/bin/sh\r',))
    """
    words = line.removeprefix("#!").strip(" \t").split(" ") if line.startswith("#!") else []
    if not words or not words[0].startswith("/"):
        return ()
    named = words[1] if posixpath.basename(words[0]) == "env" and len(words) == 2 else ""
    plain = named and not named.startswith("-") and "=" not in named
    return (words[0], named) if plain else (words[0],)
