"""One repository, as its settings and its people make it. Tests act on it as people would."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from github.bare import NOBODY, Person
from github.pulls import Finder, Pulls
from github.records import Account, Comment, Label, Order, Problem, Pull, Review, Thread


class Site(Finder, Protocol):
    """What a repository needs of the server around it."""

    def account(self, login: str) -> Account: ...
    def account_of(self, email: str) -> str | None: ...
    def find(self, name: str) -> Repository | None: ...


@dataclass(kw_only=True, eq=False)
class Repository(Pulls):
    """`owner/name`."""

    site: Site
    number: int
    created_at: datetime
    parent: str | None = None
    default: str = "main"
    private: bool = False
    archived: bool = False
    permission: str | None = "WRITE"  # of the account that asks: ADMIN, MAINTAIN, WRITE, TRIAGE, READ; None: an App's
    allow_merge: bool = True
    allow_squash: bool = True
    allow_rebase: bool = True
    allow_auto_merge: bool = False
    allow_update_branch: bool = True
    delete_branch_on_merge: bool = False
    labels: dict[str, Label] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)
    queue_merges: bool = False  # its merge queue merges what is in it, with the next request
    background: bool = True  # it merges in the background too
    background_reads: int = 0  # so many readings of a merge in the background say that it is pending

    def archive(self) -> None:
        """From now on it can only be read."""
        self.archived = True
        self.tell_git()

    def rename_branch(self, name: str, to: str) -> None:
        """Give a branch another name, as its settings do; the default branch stays the default."""
        head = self.bare.heads()[name]
        self.bare.update(f"refs/heads/{to}", head, NOBODY)
        self.bare.git("update-ref", "-d", f"refs/heads/{name}")
        self.default = to if self.default == name else self.default
        for pull in self.pulls.values():
            pull.into = to if pull.into == name else pull.into

    def permit(self, permission: str) -> None:
        """What the account that asks may do from now on."""
        self.permission = permission
        self.tell_git()

    def closed(self) -> str | None:
        """Archived, or not to be written by the account that asks."""
        if self.archived:
            return "This repository was archived so it is read-only."
        may = self.permission not in ("READ", "TRIAGE")
        return None if may else f"Permission to {self.full_name}.git denied to {self.site.me}."

    def source_of(self, pull: Pull) -> Repository | None:
        """Where its branch is; None once that repository is gone."""
        return self.site.find(pull.source) if pull.source else None

    def open(
        self, branch: str, into: str = "", *, title: str = "", body: str = "", draft: bool = False, by: str = "",
        source: Repository | None = None,
    ) -> Pull:  # fmt: skip
        """Open a pull request. Raises Problem as GitHub does: no such branch, one there already, nothing to merge."""
        self.look()
        source, into, by = source or self, into or self.default, by or self.site.me
        heads = self.bare.heads()
        head, tip = (heads if source is self else source.bare.heads()).get(branch), heads.get(into)
        if head is None or tip is None:
            words = f"Head sha can't be blank, Base sha can't be blank, No commits between {into} and {branch}"
            raise Problem(words, errors=[_invalid("head" if head is None else "base")])
        pull = Pull(
            number=max(self.pulls, default=0) + 1, author=by, title=title or branch, body=body, draft=draft,
            source=source.full_name, branch=branch, into=into, head="", tip=tip, base=tip,
            created_at=self.site.now(), updated_at=self.site.now(),
        )  # fmt: skip
        if self._rivals(pull):
            raise Problem(f"A pull request already exists for {source.owner}:{branch}.", custom=True)
        self._fetch(pull, head)
        if self.bare.contains(tip, head):
            raise Problem(f"No commits between {into} and {branch}", custom=True)
        self.site.account(by)
        self.pulls[pull.number] = pull
        self._take_head(pull, head)
        return pull

    def reopen(self, number: int) -> None:
        """Open it again. Raises Problem when its branch is gone, was rewritten meanwhile, or has another one open."""
        pull = self.pull(number)
        source = self.source_of(pull)
        head = source.bare.heads().get(pull.branch) if source else None
        why = ""
        if pull.state == "MERGED":
            why = "The pull request is merged."
        elif head is None:
            why = f"The {pull.branch} branch has been deleted."
        elif pull.into not in self.bare.heads():
            why = f"The {pull.into} branch has been deleted."
        elif self._rivals(pull):
            why = f"There is already an open pull request from {pull.branch} to {pull.into}."
        elif source is not None and not source.bare.contains(head, pull.head):
            why = f"The {pull.branch} branch was force-pushed or recreated."
        if why or head is None:
            words = f"state cannot be changed. {why}"
            raise Problem(words, errors=[{**_invalid("state"), "message": words}])
        pull.state, pull.closed_at, pull.tip = "OPEN", None, self.bare.heads()[pull.into]
        self._take_head(pull, head)

    def retarget(self, number: int, into: str) -> None:
        """Give it another base."""
        pull = self.pull(number)
        if pull.state != "OPEN":
            raise Problem("Cannot change the base branch of a closed pull request.")
        if into not in self.bare.heads():
            raise Problem("Base ref must be a branch", errors=[_invalid("base")])
        pull.into = into
        pull.tip = pull.base = self.bare.heads()[into]
        self.touch(pull)

    def review(self, number: int, by: str, state: str = "APPROVED", *, body: str = "", commit: str = "") -> Review:
        """Review a pull request, at its head unless `commit` is given. Raises Problem for one's own."""
        pull = self.pull(number)
        if by == pull.author and state != "COMMENTED":
            what = "approve" if state == "APPROVED" else "request changes on"
            words = f"Can not {what} your own pull request"
            raise Problem(words, title="Unprocessable Entity", errors=[words])
        self.site.account(by)
        made = Review(
            number=self.site.number(), author=by, state=state, commit=commit or pull.head, body=body,
            submitted_at=self.site.now(),
        )  # fmt: skip
        pull.reviews.append(made)
        self.touch(pull)
        return made

    def dismiss(self, number: int, review: Review, by: str) -> None:
        """Have a review count no longer."""
        self.site.account(by)
        review.state, review.dismissed_by = "DISMISSED", by
        self.touch(self.pull(number))

    def comment(self, number: int, by: str, body: str, *, can_push: bool = True) -> Comment:
        """Comment on a pull request."""
        pull = self.pull(number)
        self.site.account(by)
        made = Comment(number=self.site.number(), author=by, body=body, created_at=self.site.now(), can_push=can_push)
        pull.comments.append(made)
        self.touch(pull)
        return made

    def discuss(
        self, number: int, by: str, body: str, *, path: str = "a", line: int | None = 1, can_push: bool = True
    ) -> Thread:
        """Begin a conversation about a line of a pull request."""
        pull = self.pull(number)
        made = Thread(number=self.site.number(), path=path, line=line)
        pull.threads.append(made)
        self.reply(number, made, by, body, can_push=can_push)
        return made

    def reply(self, number: int, thread: Thread, by: str, body: str, *, can_push: bool = True) -> None:
        """Go on with a conversation."""
        account = self.site.account(by)
        thread.comments.append(
            Comment(
                number=self.site.number(),
                author=account.login,
                body=body,
                created_at=self.site.now(),
                can_push=can_push,
            )
        )
        self.touch(self.pull(number))

    def label(self, name: str) -> Label:
        """The label of this name, made if need be."""
        key = name.lower()
        if key not in self.labels:
            self.labels[key] = Label(number=self.site.number(), name=name)
        return self.labels[key]

    def delete_branch(self, branch: str) -> None:
        """Delete a branch by hand: pull requests of it and into it are closed. Raises Problem."""
        head = self.bare.heads().get(branch)
        if head is None:
            raise Problem("Reference does not exist")
        if branch in self.rules:
            raise Problem("Cannot delete this branch")
        self.bare.update(f"refs/heads/{branch}", NOBODY, head)
        self.look()

    def commit_as(self, login: str) -> Person:
        """How an account stands in the commits that GitHub makes for it."""
        account = self.site.account(login)
        return Person(account.login, account.email)

    def _rivals(self, pull: Pull) -> list[Pull]:
        """Open ones of the same branch into the same base, beside itself."""
        key = (pull.source, pull.branch, pull.into)
        return [
            other for other in self.opened() if other is not pull and (other.source, other.branch, other.into) == key
        ]


def _invalid(field: str) -> dict[str, str]:
    return {"resource": "PullRequest", "field": field, "code": "invalid"}
