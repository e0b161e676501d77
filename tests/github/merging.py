"""Whether a pull request may be merged, what GitHub says when it may not, and merging it for real."""

from __future__ import annotations

from dataclasses import replace

from github.bare import GITHUB, NOBODY, Refused
from github.records import Method, Problem, Pull, Removal
from github.repository import Repository
from github.rules import passed, refusals, unmet_checks

HEAD_MOVED = "Head branch was modified. Review and try the merge again."
OUT_OF_DATE = "Head branch is out of date. Review and try the merge again."  # what was pushed is not yet taken in
BASE_MOVED = "Base branch was modified. Review and try the merge again."
QUEUE = "github-merge-queue"
NOT_MERGEABLE = "Pull Request is not mergeable"


def behind(repository: Repository, pull: Pull) -> bool:
    """True when its rules want the base in it, and it lacks some of it."""
    return repository.rules_of(pull).strict and not repository.bare.contains(pull.head, pull.tip)


def refused(repository: Repository, pull: Pull) -> list[str]:
    """The rules that it does not meet, in GitHub's words."""
    return refusals(pull, repository.contexts(pull.head), repository.rules_of(pull))


def merge_state(repository: Repository, pull: Pull, mergeable: str) -> str:
    """`mergeStateStatus`, for the `mergeable` that is shown beside it."""
    if pull.state != "OPEN" or mergeable == "UNKNOWN":
        return "UNKNOWN"
    if mergeable == "CONFLICTING":
        return "DIRTY"
    if pull.draft:
        return "DRAFT"
    if pull.blocked_reads > 0:
        pull.blocked_reads -= 1
        return "BLOCKED"
    if refused(repository, pull):
        return "BLOCKED"
    if behind(repository, pull):
        return "BEHIND"
    done = all(passed(item) for item in repository.contexts(pull.head))
    return "CLEAN" if done else "UNSTABLE"


def merge(
    repository: Repository, number: int, method: Method, *, by: str, expected: str | None, title: str | None = None,
    body: str | None = None,
) -> str:  # fmt: skip
    """Merge it; the commit on the base. Raises Problem with the status and the words of GitHub."""
    pull = repository.pull(number)
    _refuse(repository, pull, method, expected)
    base = pull.tip
    landed = _commit(repository, pull, method, by, title, body)
    try:
        repository.bare.update(f"refs/heads/{pull.into}", landed, base)
    except Refused as lost:
        raise Problem(BASE_MOVED, status=405) from lost
    repository.merged(pull, landed, by=by)
    source = repository.source_of(pull)
    if repository.delete_branch_on_merge and source and source.bare.heads().get(pull.branch) == pull.head:
        # Only this deletion gives the pull requests into it a new base; deleting it by hand closes them.
        for child in repository.opened():
            if source is repository and child.into == pull.branch:
                repository.retarget(child.number, pull.into)
        source.bare.update(f"refs/heads/{pull.branch}", NOBODY, pull.head)
    repository.look()
    return landed


def take_out(repository: Repository, number: int, reason: str, *, by: str = QUEUE) -> None:
    """Take a pull request out of the merge queue: the queue does, for what it found, or a person. Raises Problem."""
    pull = repository.pull(number)
    if pull.queue is None:
        raise Problem("Pull request is not in the merge queue")
    if by == QUEUE:
        repository.site.account(by).kind = "Bot"
    pull.removals.append(
        Removal(
            number=repository.site.number(),
            by=by,
            at=repository.site.now(),
            reason=reason,
            entry=pull.queue,
            head=pull.head,
        )
    )
    pull.queue = None
    repository.touch(pull)


def merge_from_queue(repository: Repository, number: int, method: Method = "MERGE") -> str:
    """What the merge queue does once it is a pull request's turn; the commit on the base. Raises Problem."""
    pull = repository.pull(number)
    rules = repository.rules_of(pull)
    if pull.queue is None:
        raise Problem("Pull request is not in the merge queue")
    repository.rules[pull.into] = replace(rules, queue=False)
    try:
        return merge(repository, number, method, by=QUEUE, expected=pull.head)
    finally:
        repository.rules[pull.into] = rules
        repository.tell_git()


def update_branch(repository: Repository, number: int, *, by: str, expected: str | None, rebase: bool = False) -> None:
    """Merge the base into its branch, or rebase it. Raises Problem."""
    pull = repository.pull(number)
    source = repository.source_of(pull)
    if pull.state != "OPEN" or source is None:
        raise Problem("Pull request is closed")
    if expected is not None and expected != pull.head:
        raise Problem("expected head sha didn't match current head ref.", custom=True)
    if repository.bare.contains(pull.head, pull.tip):
        raise Problem("There are no new commits on the base branch.")
    tree = repository.tree(pull.tip, pull.head)
    if tree is None:
        raise Problem("merge conflict between base and head")
    who = repository.commit_as(by)
    if rebase:
        new = repository.bare.rebased(repository.bare.between(pull.tip, pull.head), pull.tip, who)
        if new is None:
            raise Problem("merge conflict between base and head")
    else:
        message = f"Merge branch '{pull.into}' into {pull.branch}\n"
        new = repository.bare.write(tree, (pull.head, pull.tip), message, who, GITHUB, "")
    if source is not repository:
        source.bare.git("fetch", "--quiet", str(repository.bare.path), new)
    source.bare.update(f"refs/heads/{pull.branch}", new, pull.head)
    repository.look()


def _refuse(repository: Repository, pull: Pull, method: Method, expected: str | None) -> None:
    """Raise what GitHub answers where it does not merge."""
    allowed = {"MERGE": repository.allow_merge, "SQUASH": repository.allow_squash, "REBASE": repository.allow_rebase}
    rules = repository.rules_of(pull)
    if repository.archived:
        raise Problem("Repository was archived so is read-only.", status=403, type="FORBIDDEN")
    if pull.state == "MERGED":
        raise Problem("Pull Request is not mergeable", status=405)
    if pull.state == "CLOSED":
        raise Problem("Pull Request is closed", status=405)
    if pull.draft:
        raise Problem("Pull Request is still a draft", status=405)
    if expected is not None and expected != pull.head:
        raise Problem(HEAD_MOVED, status=409)
    source = repository.source_of(pull)
    if source is not None and source.bare.heads().get(pull.branch) != pull.head:
        raise Problem(OUT_OF_DATE, status=409)
    if not allowed[method] or method.lower() not in rules.methods or (method == "MERGE" and rules.linear):
        what = {"MERGE": "Merge commits", "SQUASH": "Squash merges", "REBASE": "Rebase merges"}[method]
        raise Problem(f"{what} are not allowed on this repository.", status=405)
    if method == "REBASE" and rules.signed:
        words = "Base branch requires signed commits. Rebase merges cannot be automatically signed by GitHub"
        raise Problem(words, status=405)
    if repository.tree(pull.tip, pull.head) is None:
        raise Problem(NOT_MERGEABLE, status=405)
    if rules.queue:
        raise Problem(_violated(["Changes must be made through the merge queue"]), status=405)
    said = refused(repository, pull)
    if not said and behind(repository, pull):
        said = unmet_checks((), rules)  # results of a head without the newest base count as none
    if said:
        raise Problem(" ".join(said) if rules.classic else _violated(said), status=405)


def _violated(said: list[str]) -> str:
    return "Repository rule violations found\n\n" + "".join(f"{line}\n\n" for line in said)


def _commit(repository: Repository, pull: Pull, method: Method, by: str, title: str | None, body: str | None) -> str:
    bare, who = repository.bare, repository.commit_as(by)
    commits = bare.between(pull.tip, pull.head)
    tree = repository.tree(pull.tip, pull.head)
    assert tree is not None
    if method == "REBASE":
        # GitHub can't sign a rebased commit for its author: the one who merges is the committer.
        tip = bare.rebased(commits, pull.tip, who)
        if tip is None:
            raise Problem("This branch can't be rebased due to conflicts", status=405)
        return tip
    default_title, default_body = _squash_words(repository, pull, commits) if method == "SQUASH" else _merge_words(pull)
    words = default_body if body is None else body
    message = f"{title or default_title}\n\n{words}\n" if words else f"{title or default_title}\n"
    if method == "SQUASH":
        return bare.write(tree, (pull.tip,), message, repository.commit_as(pull.author), GITHUB, "")
    return bare.write(tree, (pull.tip, pull.head), message, who, GITHUB, "")


def _merge_words(pull: Pull) -> tuple[str, str]:
    owner = (pull.source or "unknown").partition("/")[0]
    return f"Merge pull request #{pull.number} from {owner}/{pull.branch}", pull.title


def _squash_words(repository: Repository, pull: Pull, commits: list[str]) -> tuple[str, str]:
    """GitHub's default: those of the only commit, else the title and a list of all messages."""
    told = [repository.bare.commit(sha) for sha in commits]
    if len(told) == 1:
        return f"{told[0].headline} (#{pull.number})", told[0].body
    return f"{pull.title} (#{pull.number})", "\n\n".join(f"* {commit.message}" for commit in told)
