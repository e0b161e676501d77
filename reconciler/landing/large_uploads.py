"""Where the large files (Git LFS) of what is pushed are kept, by the word of a commit."""

from __future__ import annotations

from reconciler.git import logins
from reconciler.git.commands import Git

_WHERE = r"^(lfs\.(push)?url|remote\..*\.lfs(push)?url)$"
_SETTINGS = ".lfsconfig"


def store_of(git: Git, commit: str) -> logins.More:
    """Where the `.lfsconfig` of a commit keeps large files, and who one is there; nothing where the config of the repository
    or of its user says it. As git-lfs has it, no more of that file counts: it comes with a clone."""
    if git.objects("cat-file", "-e", f"{commit}:{_SETTINGS}", ok=(0, 1, 128)).code:
        return logins.NOTHING_MORE
    read = ("config", "--null", f"--blob={commit}:{_SETTINGS}", "--get-regexp", _WHERE)
    theirs = {key for key, _ in git.users(_WHERE)}
    pairs = [line.partition("\n") for line in git.objects(*read, ok=(0, 1)).text.split("\0") if line]
    own = [(key, value) for key, _, value in pairs if key not in theirs]
    found = tuple(login for _, value in own if (login := logins.of(value)))
    return tuple((key, logins.without(value)) for key, value in own), found
