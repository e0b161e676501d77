"""The branches of tasks: measured against a base, started, deleted. Every change names what it expects to find."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from msgspec import Struct

from reconciler.git import fingerprints
from reconciler.git.ancestry import Ancestry
from reconciler.git.commands import Git
from reconciler.git.refs import HEADS, readable
from reconciler.model.errors import ChangedError, PermanentError
from reconciler.model.names import BRANCH_PREFIX, Sha, TaskId, branch_of, is_sha, task_of
from reconciler.model.observed import Branch
from reconciler.workspaces.stale_locks import clear

_MEASURED_AT_MAX = 10_000


class _Ref(Struct, frozen=True):
    head: Sha
    symbolic: bool


class Branches:
    """The `agent/<task>` branches of one repository."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self._ancestry = Ancestry(git)
        self._ahead: dict[Sha, int] = {}
        self._broken: frozenset[str] = frozenset()

    def measured(self, base: Sha) -> Mapping[TaskId, Branch]:
        """Every branch whose name is usable, against `base`.

        How far one is ahead git counts once per head: of what the base took over since then it may count too much.
        """
        # A link to another branch: what is done to it would be done to that one.
        named = ((task_of(ref.removeprefix(HEADS)), seen) for ref, seen in self._refs().items() if not seen.symbolic)
        heads = {task: seen.head for task, seen in named if task}
        ahead = {head: self._ancestry.ahead(base, head) for head in heads.values()}
        contained = self._in_base(base, frozenset(head for head, more in ahead.items() if more is None))
        for head, more in ahead.items():
            if more is None:
                ahead[head] = 0 if head in contained else self._measure(base, head)
        return {
            task: Branch(name=branch_of(task), head=head, ahead=ahead[head] or 0, in_base=not ahead[head])
            for task, head in heads.items()
        }

    def damaged(self) -> Mapping[TaskId, str]:
        """Branches that could not be read at the last look: why, and what puts back what their logs name last."""
        return {task: self._mending(ref) for ref in sorted(self._broken) if (task := task_of(ref.removeprefix(HEADS)))}

    def _mending(self, ref: str) -> str:
        # No git command writes over a ref that git calls broken, or removes it.
        file = shlex.quote(str(self._git.repository.common / ref))
        try:
            last = (
                (self._git.repository.common / "logs" / ref)
                .read_text("utf-8", "replace")
                .splitlines()[-1]
                .split(" ")[1]
            )
        except (OSError, IndexError):
            last = ""
        how = f"'echo {last} > {file}' puts back what it named last" if is_sha(last) else f"'rm {file}' removes it"
        return f"git calls its branch {ref.removeprefix(HEADS)} broken; {how}"

    def head(self, task: TaskId) -> Sha | None:
        """Where the branch of `task` stands; None when there is none."""
        seen = self._refs().get(HEADS + branch_of(task))
        return seen.head if seen else None

    def start(self, task: TaskId, base: Sha, lock: int) -> None:
        """Make the branch of `task` at `base`; one that has no commit of its own is brought there.

        Raises PermanentError for a name that is in the way.
        """
        refs = self._refs()
        ref = HEADS + branch_of(task)
        if ref in refs:
            if refs[ref].symbolic:
                error = PermanentError(
                    f"{branch_of(task)} is a link to another branch", hint="delete it: git branch -D"
                )
                raise error.due_to(self._git.repository.common / ref)
            if refs[ref].head != base and self._within(base, refs[ref].head):
                self._git.refs("update-ref", "--no-deref", ref, base, refs[ref].head, lock=lock)
            return
        namespace = HEADS + BRANCH_PREFIX.rstrip("/")
        below = next((other for other in refs if other.startswith(ref + "/")), None)
        if taken := namespace if namespace in refs else below:
            name = taken.removeprefix(HEADS)
            raise PermanentError(
                f"a branch called {name} is in the way of {branch_of(task)}", hint=f"git branch -m {name} old-{name}"
            ).due_to(*self._git.repository.files_of(taken))
        clear(self._git.repository.common / f"{ref}.lock")
        self._git.refs("update-ref", "--no-deref", ref, base, "", lock=lock)

    def delete(self, task: TaskId, expected: Sha, lock: int) -> None:
        """Delete the branch of `task` where it stands on `expected`. Raises ChangedError where it does not."""
        now = self.head(task)
        if now is None:
            return
        if now != expected:
            raise ChangedError(f"{branch_of(task)} moved from {expected[:12]} to {now[:12]}")
        # Without --no-deref a symbolic branch would have us delete the one that it names.
        self._git.refs("update-ref", "--no-deref", "-d", HEADS + branch_of(task), expected, lock=lock)

    def grew_into(self, task: TaskId, head: Sha, on: str | None) -> bool:
        """True where `head`, on the branch `on`, holds more than the branch of `task`, or is that under another name."""
        before = self.head(task)
        if before is None:
            return on is not None and self._renamed(task, on)
        return head != before and self._within(head, before)

    def bring(self, task: TaskId, head: Sha, lock: int) -> None:
        """Move the branch of `task` to `head`, or make it there."""
        self._git.refs("update-ref", "--no-deref", HEADS + branch_of(task), head, self.head(task) or "", lock=lock)

    def _renamed(self, task: TaskId, on: str) -> bool:
        """True where git's log of a branch says that it was that of the task."""
        try:
            log = (self._git.repository.common / "logs" / on).read_text("utf-8", "replace")
        except OSError:
            return False
        return f"\tBranch: renamed {HEADS}{branch_of(task)} to {on}\n" in log

    def _within(self, base: Sha, head: Sha) -> bool:
        """True where the base contains a head: by no commit is anything else on it."""
        return self._ancestry.contains(base, head)

    def _in_base(self, base: Sha, heads: frozenset[Sha]) -> frozenset[Sha]:
        """Those of the heads that the base contains."""
        if not heads:
            return frozenset()
        namespace = HEADS + BRANCH_PREFIX.rstrip("/")
        mark = fingerprints.of_refs(self._git.repository.common, namespace)
        ask = ("for-each-ref", f"--merged={base}", "--format=%(objectname)", namespace)
        found = self._git.remembered(("merged", base), mark, lambda: frozenset(self._git.refs(*ask).text.split()))
        return frozenset(head for head in heads if head in found)

    def _measure(self, base: Sha, head: Sha) -> int:
        if head not in self._ahead:
            if len(self._ahead) >= _MEASURED_AT_MAX:
                self._ahead.clear()
            self._ahead[head] = max(int(self._git.objects("rev-list", "--count", head, f"^{base}").out), 1)
        return self._ahead[head]

    def _refs(self) -> dict[str, _Ref]:
        namespace = HEADS + BRANCH_PREFIX.rstrip("/")
        found, self._broken = readable(self._git, namespace)
        return {ref: _Ref(*seen) for ref, seen in found.items()}
