"""One repository: its branches (git's own), its pull requests, checks and rules. Tests act on it as people would."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from github.bare import NOBODY, Bare, Person, Refused
from github.records import Account, CheckRun, Comment, Label, Problem, Protection, Pull, Review, Status

PASSES = {"SUCCESS", "NEUTRAL", "SKIPPED"}


class Site(Protocol):
    """What a repository needs of the server around it."""

    me: str

    def now(self) -> datetime: ...
    def number(self) -> int: ...
    def account(self, login: str) -> Account: ...
    def account_of(self, email: str) -> str | None: ...
    def find(self, name: str) -> Repository | None: ...


@dataclass(kw_only=True, eq=False)
class Repository:
    """`owner/name`. Every method that shows or changes something looks at git first (`look`)."""

    site: Site
    number: int
    owner: str
    name: str
    bare: Bare
    created_at: datetime
    parent: str | None = None
    default: str = "main"
    private: bool = False
    archived: bool = False
    permission: str = "WRITE"  # of the account that asks: ADMIN, MAINTAIN, WRITE, TRIAGE, READ
    allow_merge: bool = True
    allow_squash: bool = True
    allow_rebase: bool = True
    allow_auto_merge: bool = False
    allow_update_branch: bool = True
    delete_branch_on_merge: bool = False
    pulls: dict[int, Pull] = field(default_factory=dict)
    checks: list[CheckRun] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)
    labels: dict[str, Label] = field(default_factory=dict)
    rules: dict[str, Protection] = field(default_factory=dict)
    on_head: Callable[[str], None] | None = (
        None  # called with every new head of a pull request, e.g. to start its checks
    )
    unknown_reads: int = 0  # a fault: so many readings of `mergeable` say UNKNOWN for each new pair of base and head
    stale_reads: int = 0  # a fault: so many readings tell what was true before the base moved
    _last: int = 0
    _judged: dict[int, tuple[str, str]] = field(default_factory=dict)
    _computed: dict[tuple[str, str], str | None] = field(default_factory=dict)
    _unread: dict[tuple[int, str, str], int] = field(default_factory=dict)
    _before: dict[int, tuple[str, str]] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        """As in `owner/name`."""
        return f"{self.owner}/{self.name}"

    # --- what tests say ------------------------------------------------------------------------------------

    def pull(self, number: int) -> Pull:
        """A pull request as it is now."""
        self.look()
        return self.pulls[number]

    def head(self, branch: str) -> str:
        """The commit of a branch."""
        return self.bare.heads()[branch]

    def check(
        self,
        commit: str,
        name: str,
        result: str | None = None,
        *,
        status: str | None = None,
        again: bool = False,
        workflow: str = "CI",
        event: str = "push",
    ) -> CheckRun:
        """Report a check of a commit: `result` is a conclusion, or None while it runs. `again`: beside the old one."""
        now = self.site.now()
        state = status.upper() if status else "COMPLETED" if result else "IN_PROGRESS"
        run = next((run for run in reversed(self.checks) if (run.commit, run.name) == (commit, name)), None)
        if run is None or again:
            number = self.site.number()
            url = f"https://ci.example/{number}"
            run = CheckRun(
                number=number, commit=commit, name=name, status="", conclusion=None, started_at=None,
                completed_at=None, workflow=workflow, event=event, url=url,
            )  # fmt: skip
            self.checks.append(run)
        run.status, run.conclusion = state, result.upper() if result else None
        run.started_at = None if state == "QUEUED" else run.started_at or now
        run.completed_at = now if state == "COMPLETED" else None
        self._write_refusals()
        return run

    def status(
        self, commit: str, context: str, state: str = "success", *, by: str = "", description: str = ""
    ) -> Status:
        """Write a commit status; the newest of a context counts."""
        made = Status(
            number=self.site.number(), commit=commit, context=context, state=state.upper(), creator=by or self.site.me,
            created_at=self.site.now(), description=description,
        )  # fmt: skip
        self.statuses.append(made)
        self._write_refusals()
        return made

    def review(self, number: int, by: str, state: str = "APPROVED", *, body: str = "", commit: str = "") -> Review:
        """Review a pull request, at its head unless `commit` is given. Raises Problem for one's own."""
        pull = self.pull(number)
        if by == pull.author and state != "COMMENTED":
            what = "approve" if state == "APPROVED" else "request changes on"
            raise Problem(f"Can not {what} your own pull request")
        self.site.account(by)
        made = Review(
            number=self.site.number(), author=by, state=state, commit=commit or pull.head, body=body,
            submitted_at=self.site.now(),
        )  # fmt: skip
        pull.reviews.append(made)
        self.touch(pull)
        return made

    def comment(self, number: int, by: str, body: str) -> Comment:
        """Comment on a pull request."""
        pull = self.pull(number)
        made = Comment(number=self.site.number(), author=by, body=body, created_at=self.site.now())
        pull.comments.append(made)
        self.touch(pull)
        return made

    def label(self, name: str) -> Label:
        """The label of this name, made if need be."""
        key = name.lower()
        if key not in self.labels:
            self.labels[key] = Label(number=self.site.number(), name=name)
        return self.labels[key]

    def protect(self, branch: str, **rules: object) -> Protection:
        """Set the rules of a branch: fields of `Protection`. Without any they are taken away."""
        self.rules.pop(branch, None)
        made = Protection(**rules)  # type: ignore[arg-type]
        if rules:
            self.rules[branch] = made
        self._write_refusals()
        return made

    def refuse_pushes(self, message: str | None = None) -> None:
        """Let nobody push (None: everybody again). git prints `message`."""
        flag = self.bare.path / "no-push"
        flag.unlink(missing_ok=True)
        if message is not None:
            flag.write_text(message)

    def open(
        self, branch: str, into: str = "", *, title: str = "", body: str = "", draft: bool = False, by: str = "",
        source: Repository | None = None,
    ) -> Pull:  # fmt: skip
        """Open a pull request. Raises Problem as GitHub does: nothing to merge, one there already, no such branch."""
        self.look()
        source, into, by = source or self, into or self.default, by or self.site.me
        head, base = source.bare.heads().get(branch), self.bare.heads().get(into)
        for name, sha in (("head", head), ("base", base)):
            if sha is None:
                raise Problem(
                    "Validation Failed", errors=[{"resource": "PullRequest", "field": name, "code": "invalid"}]
                )
        assert head is not None
        assert base is not None
        if source is not self:
            self.bare.git("fetch", "--quiet", str(source.bare.path), head)
        if any(
            pull.source == source.full_name and pull.branch == branch and pull.into == into for pull in self.opened()
        ):
            raise Problem(f"A pull request already exists for {source.owner}:{branch}.", errors="custom")
        if self.bare.contains(base, head):
            raise Problem(f"No commits between {into} and {branch}", errors="custom")
        self._last += 1
        now = self.site.now()
        pull = Pull(
            number=self._last, author=by, title=title or branch, body=body, source=source.full_name, branch=branch,
            into=into, head=head, base=base, draft=draft, created_at=now, updated_at=now,
        )  # fmt: skip
        self.pulls[pull.number] = pull
        self._seen_head(pull, head)
        return pull

    def close(self, number: int, *, at: datetime | None = None) -> None:
        """Close a pull request without merging it."""
        pull = self.pulls[number]
        if pull.state == "MERGED":
            raise Problem("Can't close a pull request that is already merged.")
        pull.state, pull.closed_at, pull.auto_merge, pull.queue = "CLOSED", at or self.site.now(), None, None
        self.touch(pull)

    def reopen(self, number: int) -> None:
        """Open it again. Raises Problem when its branch is gone or another one is open."""
        pull = self.pull(number)
        source = self.site.find(pull.source) if pull.source else None
        head = source.bare.heads().get(pull.branch) if source else None
        others = any(
            (other.source, other.branch, other.into) == (pull.source, pull.branch, pull.into) for other in self.opened()
        )
        if pull.state == "MERGED" or head is None or others or pull.into not in self.bare.heads():
            raise Problem("Could not open the pull request.")
        pull.state, pull.closed_at = "OPEN", None
        self._seen_head(pull, head)

    def retarget(self, number: int, into: str) -> None:
        """Give it another base."""
        pull = self.pull(number)
        if pull.state != "OPEN":
            raise Problem("Cannot change the base branch of a closed pull request.")
        if into not in self.bare.heads():
            raise Problem("Validation Failed", errors=[{"resource": "PullRequest", "field": "base", "code": "invalid"}])
        pull.into, pull.base = into, self.bare.heads()[into]
        self.touch(pull)

    def touch(self, pull: Pull) -> None:
        """It has changed now."""
        pull.updated_at = self.site.now()

    # --- what git says -------------------------------------------------------------------------------------

    def opened(self) -> list[Pull]:
        """The open ones."""
        return [pull for pull in self.pulls.values() if pull.state == "OPEN"]

    def look(self) -> None:
        """Take in what was pushed: heads that moved, pull requests that are merged, empty or without a branch."""
        events = list(self._events())
        for repository, ref, old, new in events:
            for pull in self.opened():
                if repository is self and pull.into == ref:
                    self._base_moved(pull, old, new)
                elif pull.source == repository.full_name and pull.branch == ref:
                    self._head_moved(pull, new)
        heads = {name: source.bare.heads() for name, source in self._sources().items()}
        for pull in self.opened():
            base, head = heads[self.full_name].get(pull.into, NOBODY), heads[pull.source or ""].get(pull.branch, NOBODY)
            if base != pull.base:
                self._base_moved(pull, pull.base, base)
            if pull.state == "OPEN" and head != pull.head:
                self._head_moved(pull, head)

    def _sources(self) -> dict[str, Repository]:
        names = {pull.source for pull in self.opened() if pull.source} | {self.full_name}
        return {name: found for name in names if (found := self.site.find(name))}

    def _events(self) -> Iterator[tuple[Repository, str, str, str]]:
        for repository in self._sources().values():
            for old, new, ref in repository.bare.pushed():
                if ref.startswith("refs/heads/"):
                    yield repository, ref.removeprefix("refs/heads/"), old, new

    def _base_moved(self, pull: Pull, old: str, new: str) -> None:
        if new == NOBODY:
            self.close(pull.number)
            return
        self._before[pull.number] = (pull.base, pull.head)
        pull.base = new
        if self.bare.contains(new, pull.head):
            self.merged(pull, new, by=pull.author)

    def _head_moved(self, pull: Pull, new: str) -> None:
        if new == NOBODY:
            self.close(pull.number)
            return
        self._seen_head(pull, new)
        if self.bare.contains(pull.base, new):
            self.close(pull.number)  # there is nothing left to merge, which at GitHub is no merge

    def _seen_head(self, pull: Pull, head: str) -> None:
        if pull.source and pull.source != self.full_name and (source := self.site.find(pull.source)):
            self.bare.git("fetch", "--quiet", str(source.bare.path), head)
        moved = head != pull.head
        pull.head = head
        self.bare.update(f"refs/pull/{pull.number}/head", head)
        rules = self.rules.get(pull.into)
        if moved and rules and rules.dismiss_stale:
            for review in pull.reviews:
                review.state = "DISMISSED" if review.state == "APPROVED" else review.state
        self.touch(pull)
        if self.on_head is not None:
            self.on_head(head)

    def merged(self, pull: Pull, commit: str, *, by: str) -> None:
        """It is merged, by this commit."""
        now = self.site.now()
        pull.state, pull.merged_at, pull.closed_at, pull.merged_by, pull.merge_commit = "MERGED", now, now, by, commit
        pull.auto_merge = pull.queue = None
        self.touch(pull)

    def delete_branch(self, branch: str) -> None:
        """Delete a branch as a person does: pull requests of it and into it are closed. Raises Problem (422)."""
        head = self.bare.heads().get(branch)
        if head is None:
            raise Problem("Reference does not exist")
        if branch in self.rules:
            raise Problem("Cannot delete this protected branch")
        self.bare.update(f"refs/heads/{branch}", NOBODY, head)
        self.look()

    # --- checks and mergeability ---------------------------------------------------------------------------

    def contexts(self, commit: str) -> list[CheckRun | Status]:
        """What the rollup of a commit lists: the newest status of each context, and every check run."""
        statuses = {status.context: status for status in self.statuses if status.commit == commit}
        return [*(run for run in self.checks if run.commit == commit), *statuses.values()]

    def mergeable(self, pull: Pull) -> str:
        """MERGEABLE, CONFLICTING or UNKNOWN, computed for the present base and head when it is asked for."""
        if pull.state != "OPEN":
            return "UNKNOWN"
        pair = (pull.base, pull.head)
        waits = self._unread.setdefault((pull.number, *pair), self.unknown_reads)
        if waits:
            self._unread[pull.number, *pair] -= 1
            return "UNKNOWN"
        if self.stale_reads and pull.number in self._before:
            self.stale_reads -= 1
            pair = self._before[pull.number]
        return "CONFLICTING" if self.tree(*pair) is None else "MERGEABLE"

    def tree(self, base: str, head: str) -> str | None:
        """The tree of merging the two; None when they conflict."""
        if (base, head) not in self._computed:
            try:
                self._computed[base, head] = self.bare.merged_tree(base, head)
            except Refused:
                self._computed[base, head] = None  # histories without a common commit
        return self._computed[base, head]

    def commit_as(self, login: str) -> Person:
        """How an account stands in the commits that GitHub makes for it."""
        account = self.site.account(login)
        return Person(account.login, account.email)

    def _write_refusals(self) -> None:
        """Tell git's hook which pushes straight to a protected branch are refused, and which commits passed."""
        lines = []
        for branch, rules in self.rules.items():
            if rules.pushes or not (rules.required or rules.reviews or rules.queue):
                continue
            message = "Changes must be made through a pull request."
            if rules.queue:
                message = "Changes must be made through the merge queue."
            passed = "-"
            if not rules.reviews and not rules.queue:
                message = f'Required status check "{rules.required[0]}" is expected.'
                commits = {item.commit for item in (*self.checks, *self.statuses)}
                passed = ",".join(["", *(sha for sha in sorted(commits) if not unmet(self, sha, rules)), ""])
            lines.append(f"refs/heads/{branch} {passed} {message}\n")
        (self.bare.path / "refused").write_text("".join(lines))


def passed(item: CheckRun | Status) -> bool | None:
    """True when it passed, False when it failed, None while it is pending."""
    if isinstance(item, Status):
        return {"SUCCESS": True, "FAILURE": False, "ERROR": False}.get(item.state)
    return None if item.status != "COMPLETED" else item.conclusion in PASSES


def unmet(repository: Repository, commit: str, rules: Protection) -> list[str]:
    """What GitHub says of the required checks of a commit that have not passed."""
    newest: dict[str, CheckRun | Status] = {}
    for item in repository.contexts(commit):
        newest[item.name if isinstance(item, CheckRun) else item.context] = item
    said = []
    for name in rules.required:
        if name not in newest:
            said.append(f'Required status check "{name}" is expected.')
            continue
        match passed(newest[name]):
            case None:
                said.append(f'Required status check "{name}" is {_word(newest[name])}.')
            case False:
                said.append(f'Required status check "{name}" is failing.')
    return said


def _word(item: CheckRun | Status) -> str:
    return "pending" if isinstance(item, Status) else item.status.lower().replace("_", " ")
