"""The remote of a base: where its head is, and the leased push that moves it. Only its URL comes from the repository."""

from __future__ import annotations

import hashlib
import os
import re
import time
from pathlib import Path

from msgspec import Struct

from reconciler.git import large_files, logins
from reconciler.git.ancestry import contains
from reconciler.git.commands import Git
from reconciler.git.refs import HEADS
from reconciler.git.refusals import GitError
from reconciler.landing import large_uploads, refusals
from reconciler.model.errors import (
    ChangedError,
    ContentRefusedError,
    PermanentError,
    ReconcileError,
    RefusedError,
    TemporaryError,
)
from reconciler.model.names import Sha
from reconciler.system.shell import Finished

FRESH_S = 30.0
NETWORK_S = 120.0
_ELSEWHERE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|[^/]+:")
_LFS = "GH008"  # a commit names files that GitHub was never given: no hook of git-lfs runs where we push
_NO_LFS = "'lfs' is not a git command"
_CREDENTIALS = re.compile(
    r"(?<=://)[^\s/'@]+@|[^\s/'@:]+:[^\s/'@]+@"
)  # elsewhere it is somebody whom a hook says to ask

REMOTE_VARIABLES = ("SSH_AUTH_SOCK", "GIT_SSH_COMMAND")  # by which git reaches a remote as the user does


class Remote(Struct, frozen=True):
    """A remote of the repository."""

    name: str
    url: str

    @property
    def address(self) -> str:
        """What git is given: a path, or the name under which the control git dir knows the address."""
        return self.name if _ELSEWHERE.match(self.url) else self.url


def default_base(tool: Git) -> str | None:
    """The branch that work lands on: origin's default, else the one that the main checkout is on."""
    for ref, prefix in (("refs/remotes/origin/HEAD", "refs/remotes/origin/"), ("HEAD", HEADS)):
        found = tool.refs("symbolic-ref", "--quiet", ref, ok=(0, 1, 128)).text.strip()
        if found.startswith(prefix):
            return found.removeprefix(prefix)
    return None


def remote_of(tool: Git, base: str) -> str | None:
    """The address of the remote that a base follows; None where there is none."""
    try:
        url = Remotes(tool).of(base).url
        return url if _ELSEWHERE.match(url) else os.path.normpath(url)
    except PermanentError:
        return None


class Remotes:
    """Where base branches stand on their remotes. What was heard is good for a while, unless asked for again."""

    def __init__(self, git: Git, config: tuple[str, ...] = ()) -> None:
        self._git = git
        self._config = config  # `key=value`, for the commands that reach a remote
        self._there: set[Sha] = set()
        self._heard: dict[str, tuple[float, Remote, Sha | None]] = {}

    def of(self, base: str) -> Remote:
        """The remote that the base follows, else `origin`. Raises PermanentError where there is none."""
        value = self._settings()
        name = value.get(f"branch.{base}.remote", "origin")
        url = value.get(f"remote.{name}.url")
        if not url:
            raise PermanentError(
                f"{base} is to be pushed, but the repository has no remote {name!r}",
                hint="add it with 'git remote add', or set mergePolicy.push to false",
            ).due_to(self._git.repository.common / "config")
        return Remote(name, url if _ELSEWHERE.match(url) else str(Path(self._git.repository.main, url)))

    def followed(self, base: str) -> str | None:
        """The ref that `git fetch` moves for the branch that the base follows; None where it follows none elsewhere."""
        value = self._settings()
        remote = value.get(f"branch.{base}.remote", "origin")
        branch = value.get(f"branch.{base}.merge", HEADS + base).removeprefix(HEADS)
        # A URL may stand in a remote's place, and anything else: of these nothing is fetched to a branch.
        return f"refs/remotes/{remote}/{branch}" if f"remote.{remote}.url" in value else None

    def head(self, base: str, *, near: Sha, fresh: bool = False) -> Sha | None:
        """The remote's head of `base`, with its objects here; None where the remote has no such branch.

        `near` is a commit that both sides are likely to have.
        """
        remote = self.of(base)
        heard = self._heard.get(base)
        if heard and not fresh and heard[1] == remote and time.monotonic() - heard[0] < FRESH_S:
            return heard[2]
        head = self._listed(remote, base)
        if head and not self._here(head):
            head = self._fetch(remote, base, near)
        self._heard[base] = (time.monotonic(), remote, head)
        return head

    def trusted(self, base: str, head: Sha, *, near: Sha) -> Sha:
        """Take somebody else's word for where a branch is on the remote, and have its objects here."""
        remote = self.of(base)
        if not self._here(head):
            head = self._fetch(remote, base, near)
        self._heard[base] = (time.monotonic(), remote, head)
        return head

    def bring(self, base: str, branch: str, head: Sha, *, near: Sha) -> None:
        """Have the objects of a branch here, on the remote that `base` follows. Raises ChangedError where it moved on."""
        if not self._here(head) and self._fetch(self.of(base), branch, near) != head and not self._here(head):
            raise ChangedError(f"{branch} is not at {head[:12]} any more")

    def last_heard(self, base: str) -> Sha | None:
        """The remote's head as it was heard last; None when it never was asked for."""
        heard = self._heard.get(base)
        return heard[2] if heard else None

    def push(self, base: str, old: Sha, new: Sha, lock: int) -> None:
        """Move the remote's base from `old` to its descendant `new`; done already is done.

        Raises ChangedError when it is elsewhere.
        """
        remote = self.of(base)
        ref = HEADS + base
        # A lease that holds forces: that nothing is taken back is ours to make sure of.
        if not contains(self._git, new, old):
            raise ChangedError(f"{base} of {remote.name} is at {old[:12]}, which {new[:12]} does not contain")
        how = ("--quiet", "--no-verify", "--recurse-submodules=no", f"--force-with-lease={ref}:{old}")
        self._heard.pop(base, None)
        self._upload(remote, old, new, new, lock)  # what is in the base by now has its say in where
        try:
            self._ask(remote, "push", *how, "--", remote.address, f"{new}:{ref}", lock=lock)
        except ReconcileError:
            # The answer may have been lost on its way back: only the remote knows.
            now = self.head(base, near=old, fresh=True)
            if now == old:
                raise
            if now is None or not contains(self._git, now, new):
                at = now[:12] if now else "nothing"
                raise ChangedError(f"{base} of {remote.name} is at {at}, not at {old[:12]}") from None
        self.remember(base, new)

    def remember(self, base: str, new: Sha) -> None:
        """Move the remote-tracking branch along, as a push or a fetch by name does: 'git status' compares with it."""
        ref = f"refs/remotes/{self.of(base).name}/{base}"
        # A repository need not have one, and a fetch may just be moving it: neither is worth a failure.
        if self._git.refs("show-ref", "--verify", "--quiet", "--", ref, ok=(0, 1, 128)).code == 0:
            self._git.refs("update-ref", "-m", "reconcile: seen there", "--", ref, new, ok=(0, 128))

    def push_branch(self, base: str, branch: str, old: Sha | None, new: Sha, lock: int) -> None:
        """Bring a branch on the remote of `base` from `old` (None: it must not exist) to `new`; done already is done.

        Whether anything may be taken back is the caller's to know. Raises ChangedError when it is elsewhere.
        """
        remote = self.of(base)
        lease = f"--force-with-lease={HEADS}{branch}:{old or ''}"
        how = ("--quiet", "--no-verify", "--recurse-submodules=no", lease)
        self._upload(remote, old, new, HEADS + base, lock)
        try:
            self._ask(remote, "push", *how, "--", remote.address, f"{new}:{HEADS}{branch}", lock=lock)
        except ReconcileError:
            now = self._listed(remote, branch)
            if now == new:
                return
            if now == old:
                raise
            raise ChangedError(f"{branch} of {remote.name} is at {now[:12] if now else 'nothing'}") from None

    def _upload(self, remote: Remote, old: Sha | None, new: Sha, says: str, lock: int) -> None:
        """Bring the large files of what is pushed to the remote, before a branch there names them: our pushes run no hook.

        `says`: the commit whose word counts about where they are kept. An agent's alone does not.
        """
        if not large_files.used(self._git.repository.common):
            return
        since = old or "0" * len(new)
        names = f"HEAD {new} HEAD {since}\n".encode()
        trusted = self._git.refs("rev-parse", "--verify", "--quiet", f"{says}^{{commit}}", ok=(0, 1)).text.strip()
        store = large_uploads.store_of(self._git, trusted) if trusted else logins.NOTHING_MORE
        self._ask(remote, "lfs", "pre-push", remote.address, remote.address, stdin=names, lock=lock, more=store)

    def delete_branch(self, base: str, branch: str, old: Sha, lock: int) -> None:
        """Delete a branch on the remote of `base` where it is at `old`; gone already is gone. Raises ChangedError."""
        remote = self.of(base)
        how = ("--quiet", "--no-verify", f"--force-with-lease={HEADS}{branch}:{old}")
        try:
            self._ask(remote, "push", *how, "--", remote.address, f":{HEADS}{branch}", lock=lock)
        except ReconcileError:
            now = self._listed(remote, branch)
            if now == old:
                raise
            if now:
                raise ChangedError(f"{branch} of {remote.name} went on to {now[:12]}") from None

    def branch(self, base: str, branch: str) -> Sha | None:
        """Where a branch is now on the remote of `base`; its objects need not be here."""
        return self._listed(self.of(base), branch)

    def branches(self, base: str, below: str) -> dict[str, Sha]:
        """The branches on the remote of `base` whose names begin so, and where they are."""
        remote = self.of(base)
        lines = self._ask(remote, "ls-remote", "--", remote.address, f"{HEADS}{below}*").text.splitlines()
        rows = (line.split("\t", 1) for line in lines)
        return {ref.removeprefix(HEADS): Sha(sha) for sha, ref in rows if ref.startswith(HEADS + below)}

    def _listed(self, remote: Remote, branch: str) -> Sha | None:
        listed = self._ask(remote, "ls-remote", "--", remote.address, HEADS + branch).text.split()
        return Sha(listed[0]) if listed else None

    def _here(self, commit: Sha) -> bool:
        if commit not in self._there:
            if self._git.objects("cat-file", "-e", commit, ok=(0, 1, 128)).code:
                return False
            self._there.add(commit)  # what is here stays: nothing of ours prunes
        return True

    def _fetch(self, remote: Remote, base: str, near: Sha) -> Sha:
        # The control git dir knows no refs: without one, the whole history would be sent, and walked.
        slot = hashlib.sha256(base.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        ours, theirs = f"refs/near/{slot}", f"refs/fetched/{slot}"
        self._git.objects("update-ref", ours, near)
        try:
            quiet = (
                "--quiet",
                "--no-tags",
                "--no-write-fetch-head",
                "--no-auto-maintenance",
                "--no-recurse-submodules",
            )
            self._ask(remote, "fetch", *quiet, "--", remote.address, f"+{HEADS}{base}:{theirs}")
            return Sha(self._git.objects("rev-parse", "--verify", theirs).text.strip())
        finally:
            for ref in (ours, theirs):
                self._git.objects("update-ref", "-d", ref)

    def _ask(
        self,
        remote: Remote,
        *args: str,
        lock: int | None = None,
        stdin: bytes | None = None,
        more: logins.More = logins.NOTHING_MORE,
    ) -> Finished:
        env = self._git.reaching(remote.url, push=args[0] in ("push", "lfs"), more=more)
        try:
            return self._git.objects(*args, timeout_s=NETWORK_S, lock=lock, config=self._config, env=env, stdin=stdin)
        except GitError as error:
            why = error.finished.complaint
            hint = f"'git lfs push {args[-2]} --all' uploads them" if _LFS in why else error.hint
            if _NO_LFS in why:
                hint = "install git-lfs: the large files of what is pushed have to be there first"
            if args[0] == "lfs" and (lacking := large_files.lacking(error.finished.text)):
                lacks = ContentRefusedError(f"the commit can't be pushed: {lacking}", hint=large_files.ADVICE)
                raise lacks.due_to(*large_files.places(error.finished.text, self._git.repository.common)) from error
            why = _CREDENTIALS.sub("", why)
            if args[0] == "push" and (refused := refusals.of(error.finished.remarks)):
                raise refused from error
            lasts = args[0] == "push" and refusals.lasting(error.finished.remarks, why)
            failed = RefusedError if lasts else TemporaryError
            # A person who mends it says who they are, whom they trust or where the remote is.
            ways = (*self._git.said_who, *self._git.let_in_by)
            raise failed(f"git {args[0]} failed: {why}", delay=30.0, hint=hint).due_to(*ways) from error

    def _settings(self) -> dict[str, str]:
        fields: dict[str, str] = {}
        for key, value in self._git.config():
            fields.setdefault(key, value or "")
        return fields
