"""The top fields of GraphQL's mutations. Each takes its `input` and gives the payload of the schema."""

from __future__ import annotations

from typing import Any

from github import merging
from github.bare import NOBODY, Refused
from github.queries import Queries
from github.records import AutoMerge, Problem, Pull, QueueEntry
from github.repository import Repository
from github.view_of_pull import PullView, entry
from github.views import CommentView, ReviewView, ThreadView

Input = dict[str, Any]
Payload = dict[str, Any]


class Mutations(Queries):
    """Asked by `me`, who needs the right to write."""

    def create_pull_request(self, input: Input) -> Payload:
        """Opens one."""
        repository = self._writable(self.repository_of(input["repositoryId"]), "CreatePullRequest", read=True)
        source = self.repository_of(input["headRepositoryId"]) if input.get("headRepositoryId") else repository
        owner, _, branch = input["headRefName"].rpartition(":")
        if owner and owner != source.owner:
            source = self.hub.find(f"{owner}/{repository.name}") or source
        pull = repository.open(
            branch, input["baseRefName"].removeprefix("refs/heads/"), title=input["title"], body=input.get("body") or "",
            draft=bool(input.get("draft")), by=self.me, source=source,
        )  # fmt: skip
        return self._pull(repository, pull, input)

    def update_pull_request(self, input: Input) -> Payload:
        """Title, body, base, state, labels."""
        repository, pull = self._of(input, "UpdatePullRequest")
        change(repository, pull, input.get("title"), input.get("body"), input.get("baseRefName"), input.get("state"))
        if input.get("labelIds") is not None:
            pull.labels = [label for label in repository.labels.values() if f"LA_{label.number}" in input["labelIds"]]
        return self._pull(repository, pull, input)

    def close_pull_request(self, input: Input) -> Payload:
        """Without merging."""
        repository, pull = self._of(input, "ClosePullRequest")
        repository.close(pull.number)
        return self._pull(repository, pull, input)

    def reopen_pull_request(self, input: Input) -> Payload:
        """Opens it again."""
        repository, pull = self._of(input, "ReopenPullRequest")
        repository.reopen(pull.number)
        return self._pull(repository, pull, input)

    def convert_pull_request_to_draft(self, input: Input) -> Payload:
        """Not to be merged yet."""
        repository, pull = self._of(input, "ConvertPullRequestToDraft")
        pull.draft = True
        repository.touch(pull)
        return self._pull(repository, pull, input)

    def mark_pull_request_ready_for_review(self, input: Input) -> Payload:
        """No draft any longer."""
        repository, pull = self._of(input, "MarkPullRequestReadyForReview")
        pull.draft = False
        repository.touch(pull)
        return self._pull(repository, pull, input)

    def merge_pull_request(self, input: Input) -> Payload:
        """Merges it now."""
        repository, pull = self._of(input, "MergePullRequest")
        merging.merge(
            repository, pull.number, input.get("mergeMethod") or "MERGE", by=self.me,
            expected=input.get("expectedHeadOid"), title=input.get("commitHeadline"), body=input.get("commitBody"),
        )  # fmt: skip
        return self._pull(repository, pull, input)

    def update_pull_request_branch(self, input: Input) -> Payload:
        """Brings the base into its branch."""
        repository, pull = self._of(input, "UpdatePullRequestBranch")
        rebase = input.get("updateMethod") == "REBASE"
        merging.update_branch(repository, pull.number, by=self.me, expected=input.get("expectedHeadOid"), rebase=rebase)
        return self._pull(repository, pull, input)

    def enable_pull_request_auto_merge(self, input: Input) -> Payload:
        """Merges it once it may be; puts it into the queue where there is one."""
        repository, pull = self._of(input, "EnablePullRequestAutoMerge")
        if repository.rules_of(pull).queue:
            enqueue(repository, pull, self.me, input.get("expectedHeadOid"))
            return self._pull(repository, pull, input)
        if not repository.allow_auto_merge:
            raise Problem("Auto merge is not allowed for this repository")
        if merging.merge_state(repository, pull, repository.mergeable(pull)) in ("CLEAN", "HAS_HOOKS"):
            raise Problem("Pull request Pull request is in clean status")
        pull.auto_merge = AutoMerge(
            by=self.me, method=input.get("mergeMethod") or "MERGE", at=repository.site.now(),
            title=input.get("commitHeadline"), body=input.get("commitBody"),
        )  # fmt: skip
        return self._pull(repository, pull, input)

    def disable_pull_request_auto_merge(self, input: Input) -> Payload:
        """Leaves it open."""
        repository, pull = self._of(input, "DisablePullRequestAutoMerge")
        if pull.auto_merge is None:
            raise Problem("Can't disable auto-merge for this pull request.")
        pull.auto_merge = None
        return self._pull(repository, pull, input)

    def enqueue_pull_request(self, input: Input) -> Payload:
        """Gives it a place in the merge queue."""
        repository, pull = self._of(input, "EnqueuePullRequest")
        enqueue(repository, pull, self.me, input.get("expectedHeadOid"))
        return {**_echo(input), "mergeQueueEntry": entry(self.scene(repository), pull)}

    def dequeue_pull_request(self, input: Input) -> Payload:
        """Takes it out of the merge queue."""
        repository, number = self.pull_of(input["id"])
        pull = repository.pulls[number]
        told = entry(self.scene(repository), pull)
        merging.take_out(repository, number, "manual", by=self.me)
        return {**_echo(input), "mergeQueueEntry": told}

    def add_comment(self, input: Input) -> Payload:
        """On a pull request."""
        repository, number = self.pull_of(input["subjectId"])
        made = repository.comment(number, self.me, input["body"])
        pull = repository.pulls[number]
        view = CommentView(self.scene(repository), pull, made)
        return {
            **_echo(input),
            "subject": PullView(self.scene(repository), pull),
            "commentEdge": {"cursor": "", "node": view},
        }

    def add_pull_request_review(self, input: Input) -> Payload:
        """Approves, requests changes or comments."""
        repository, pull = self._of(input, "AddPullRequestReview", read=True)
        state = {"APPROVE": "APPROVED", "REQUEST_CHANGES": "CHANGES_REQUESTED", "COMMENT": "COMMENTED"}.get(
            input.get("event") or "COMMENT", "COMMENTED"
        )
        made = repository.review(
            pull.number, self.me, state, body=input.get("body") or "", commit=input.get("commitOID") or ""
        )
        return {**_echo(input), "pullRequestReview": ReviewView(self.scene(repository), pull, made)}

    def dismiss_pull_request_review(self, input: Input) -> Payload:
        """It counts no longer."""
        number = int(input["pullRequestReviewId"].removeprefix("PRR_"))
        for repository in self.hub.repositories():
            for pull in repository.pulls.values():
                for review in pull.reviews:
                    if review.number == number:
                        review.state, review.dismissed_by = "DISMISSED", self.me
                        return {**_echo(input), "pullRequestReview": ReviewView(self.scene(repository), pull, review)}
        raise Problem("Could not resolve to a PullRequestReview", type="NOT_FOUND")

    def resolve_review_thread(self, input: Input) -> Payload:
        """It is settled."""
        for repository in self.hub.repositories():
            for pull in repository.pulls.values():
                for thread in pull.threads:
                    if f"PRRT_{thread.number}" == input["threadId"]:
                        thread.resolved = True
                        self._writable(repository, "ResolveReviewThread").touch(pull)
                        return {**_echo(input), "thread": ThreadView(self.scene(repository), pull, thread)}
        raise Problem("Could not resolve to a PullRequestReviewThread", type="NOT_FOUND")

    def add_labels_to_labelable(self, input: Input) -> Payload:
        """By the labels' ids."""
        repository, number = self.pull_of(input["labelableId"])
        pull = repository.pulls[number]
        pull.labels += [
            label
            for label in repository.labels.values()
            if f"LA_{label.number}" in input["labelIds"] and label not in pull.labels
        ]
        repository.touch(pull)
        return {**_echo(input), "labelable": PullView(self.scene(repository), pull)}

    def remove_labels_from_labelable(self, input: Input) -> Payload:
        """By the labels' ids."""
        repository, number = self.pull_of(input["labelableId"])
        pull = repository.pulls[number]
        pull.labels = [label for label in pull.labels if f"LA_{label.number}" not in input["labelIds"]]
        repository.touch(pull)
        return {**_echo(input), "labelable": PullView(self.scene(repository), pull)}

    def delete_ref(self, input: Input) -> Payload:
        """A branch, by its id."""
        name, _, branch = input["refId"].removeprefix("REF_").partition("_")
        repository = self.hub.find(name)
        if repository is None:
            raise Problem("Could not resolve to a node", type="NOT_FOUND")
        self._writable(repository, "DeleteRef").delete_branch(branch)
        return _echo(input)

    def update_refs(self, input: Input) -> Payload:
        """All of them by compare-and-swap, or none."""
        repository = self._writable(self.repository_of(input["repositoryId"]), "UpdateRefs")
        orders = ["start"]
        for each in input["refUpdates"]:
            old, new = each.get("beforeOid"), each["afterOid"]
            now = repository.bare.resolve(each["name"])
            if not each.get("force") and now and new != NOBODY and not repository.bare.contains(new, now):
                raise Problem(f"The `{each['name']}` ref update is not a fast forward")
            if why := repository.refused_push(each["name"].removeprefix("refs/heads/"), new):
                raise Problem(why)
            orders.append(f"update {each['name']} {new}" + (f" {old}" if old else ""))
        try:
            repository.bare.git("update-ref", "--stdin", stdin="\n".join([*orders, "commit", ""]))
        except Refused as refused:
            raise Problem("Reference update failed: the ref is not at the expected commit") from refused
        repository.look()
        return _echo(input)

    # --- what they share -----------------------------------------------------------------------------------

    def _of(self, input: Input, what: str, *, read: bool = False) -> tuple[Repository, Pull]:
        repository, number = self.pull_of(input["pullRequestId"])
        return self._writable(repository, what, read=read), repository.pulls[number]

    def _writable(self, repository: Repository, what: str, *, read: bool = False) -> Repository:
        if repository.archived:
            raise Problem("Repository was archived so is read-only.", type="FORBIDDEN")
        if repository.permission in ("READ", "TRIAGE") and not read:
            words = f"{self.me} does not have the correct permissions to execute `{what}`"
            raise Problem(words, type="FORBIDDEN")
        return repository

    def _pull(self, repository: Repository, pull: Pull, input: Input) -> Payload:
        return {**_echo(input), "pullRequest": PullView(self.scene(repository), pull)}


def change(
    repository: Repository, pull: Pull, title: str | None, body: str | None, base: str | None, state: str | None
) -> None:
    """Change what is given of a pull request. Raises Problem."""
    if base is not None and base != pull.into:
        repository.retarget(pull.number, base)
    if state and state.upper() == "CLOSED" and pull.state == "OPEN":
        repository.close(pull.number)
    if state and state.upper() == "OPEN" and pull.state != "OPEN":
        repository.reopen(pull.number)
    pull.title = pull.title if title is None else title
    pull.body = pull.body if body is None else body
    repository.touch(pull)


def enqueue(repository: Repository, pull: Pull, by: str, expected: str | None) -> None:
    """Give a pull request a place in the merge queue. Raises Problem."""
    if not repository.rules_of(pull).queue:
        raise Problem("Pull request Merge queue is not enabled for the base branch")
    if pull.queue is not None:
        raise Problem("Pull request is already in the merge queue")
    if expected is not None and expected != pull.head:
        raise Problem(merging.HEAD_MOVED)
    if said := merging.refused(repository, pull):
        raise Problem(said[0])
    pull.queue = QueueEntry(by=by, at=repository.site.now(), base=pull.tip)


def _echo(input: Input) -> Payload:
    return {"clientMutationId": input.get("clientMutationId")}
