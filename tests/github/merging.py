"""Whether a pull request may be merged, what GitHub says when it may not, and merging it for real."""

from __future__ import annotations

from github.bare import GITHUB, NOBODY, Refused
from github.records import Method, Problem, Protection, Pull
from github.repository import Repository, passed, unmet

HEAD_MOVED = "Head branch was modified. Review and try the merge again."
BASE_MOVED = "Base branch was modified. Review and try the merge again."
NOT_MERGEABLE = "Pull Request is not mergeable"


def rules_of(repository: Repository, pull: Pull) -> Protection:
    """The rules of its base; none at all where it is not protected."""
    return repository.rules.get(pull.into, Protection())


def review_decision(repository: Repository, pull: Pull) -> str | None:
    """APPROVED, CHANGES_REQUESTED, REVIEW_REQUIRED; None where the base asks for no reviews, even when approved."""
    rules = rules_of(repository, pull)
    if not rules.reviews:
        return None
    states = list(opinions(pull).values())
    if "CHANGES_REQUESTED" in states:
        return "CHANGES_REQUESTED"
    return "APPROVED" if states.count("APPROVED") >= rules.reviews else "REVIEW_REQUIRED"


def opinions(pull: Pull) -> dict[str, str]:
    """The newest review of everybody that says yes or no."""
    return {
        review.author: review.state
        for review in pull.reviews
        if review.state in ("APPROVED", "CHANGES_REQUESTED", "DISMISSED")
    }


def refusals(repository: Repository, pull: Pull) -> list[str]:
    """The rules of its base that it does not meet, in GitHub's words."""
    rules = rules_of(repository, pull)
    said = []
    match review_decision(repository, pull):
        case "REVIEW_REQUIRED":
            many = "review is" if rules.reviews == 1 else "reviews are"
            said.append(f"At least {rules.reviews} approving {many} required by reviewers with write access.")
        case "CHANGES_REQUESTED":
            said.append("Changes have been requested by a reviewer with write access.")
    return said + unmet(repository, pull.head, rules)


def behind(repository: Repository, pull: Pull) -> bool:
    """True when its rules want the base in it, and it lacks some of it."""
    return rules_of(repository, pull).strict and not repository.bare.contains(pull.head, pull.base)


def merge_state(repository: Repository, pull: Pull, mergeable: str) -> str:
    """`mergeStateStatus`, for the `mergeable` that is shown beside it."""
    if pull.state != "OPEN" or mergeable == "UNKNOWN":
        return "UNKNOWN"
    if mergeable == "CONFLICTING":
        return "DIRTY"
    if pull.draft:
        return "DRAFT"
    if refusals(repository, pull):
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
    base = pull.base
    landed = _commit(repository, pull, method, by, title, body)
    try:
        repository.bare.update(f"refs/heads/{pull.into}", landed, base)
    except Refused as lost:
        raise Problem(BASE_MOVED, status=405) from lost
    repository.merged(pull, landed, by=by)
    source = repository.site.find(pull.source) if pull.source else None
    if repository.delete_branch_on_merge and source and source.bare.heads().get(pull.branch) == pull.head:
        # Only this deletion gives the pull requests into it a new base; deleting it by hand closes them.
        for child in repository.opened():
            if source is repository and child.into == pull.branch:
                repository.retarget(child.number, pull.into)
        source.bare.update(f"refs/heads/{pull.branch}", NOBODY, pull.head)
    repository.look()
    return landed


def update_branch(repository: Repository, number: int, *, by: str, expected: str | None, rebase: bool = False) -> None:
    """Merge the base into its branch, or rebase it. Raises Problem."""
    pull = repository.pull(number)
    source = repository.site.find(pull.source) if pull.source else None
    if pull.state != "OPEN" or source is None:
        raise Problem("Pull request is closed")
    if expected is not None and expected != pull.head:
        raise Problem("expected_head_sha was not the HEAD of the pull request.", errors="custom")
    if repository.bare.contains(pull.head, pull.base):
        raise Problem("There are no new commits on the base branch.")
    tree = repository.tree(pull.base, pull.head)
    if tree is None:
        raise Problem("merge conflict between base and head")
    who = repository.commit_as(by)
    if rebase:
        new = repository.bare.rebased(repository.bare.between(pull.base, pull.head), pull.base, who)
        if new is None:
            raise Problem("merge conflict between base and head")
    else:
        message = f"Merge branch '{pull.into}' into {pull.branch}\n"
        new = repository.bare.write(tree, (pull.head, pull.base), message, who, GITHUB, "")
    if source is not repository:
        source.bare.git("fetch", "--quiet", str(repository.bare.path), new)
    source.bare.update(f"refs/heads/{pull.branch}", new, pull.head)
    repository.look()


def _refuse(repository: Repository, pull: Pull, method: Method, expected: str | None) -> None:
    """Raise what GitHub answers where it does not merge."""
    allowed = {"MERGE": repository.allow_merge, "SQUASH": repository.allow_squash, "REBASE": repository.allow_rebase}
    rules = rules_of(repository, pull)
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
    if not allowed[method] or (method == "MERGE" and rules.linear):
        what = {"MERGE": "Merge commits", "SQUASH": "Squash merges", "REBASE": "Rebase merges"}[method]
        raise Problem(f"{what} are not allowed on this repository.", status=405)
    if repository.tree(pull.base, pull.head) is None:
        raise Problem(NOT_MERGEABLE, status=405)
    if rules.queue:
        raise Problem(_violated(["Changes must be made through the merge queue"]), status=405)
    if said := refusals(repository, pull):
        raise Problem(said[0] if len(said) == 1 else _violated(said), status=405)
    if behind(repository, pull):
        raise Problem("Head branch is out of date. Review and try the merge again.", status=405)


def _violated(said: list[str]) -> str:
    return "Repository rule violations found\n\n" + "".join(f"{line}\n\n" for line in said)


def _commit(repository: Repository, pull: Pull, method: Method, by: str, title: str | None, body: str | None) -> str:
    bare, who = repository.bare, repository.commit_as(by)
    commits = bare.between(pull.base, pull.head)
    tree = repository.tree(pull.base, pull.head)
    assert tree is not None
    if method == "REBASE":
        # GitHub can't sign a rebased commit for its author: the one who merges is the committer.
        tip = bare.rebased(commits, pull.base, who)
        if tip is None:
            raise Problem("This branch can't be rebased due to conflicts", status=405)
        return tip
    default_title, default_body = _squash_words(repository, pull, commits) if method == "SQUASH" else _merge_words(pull)
    words = default_body if body is None else body
    message = f"{title or default_title}\n\n{words}\n" if words else f"{title or default_title}\n"
    if method == "SQUASH":
        return bare.write(tree, (pull.base,), message, repository.commit_as(pull.author), GITHUB, "")
    return bare.write(tree, (pull.base, pull.head), message, who, GITHUB, "")


def _merge_words(pull: Pull) -> tuple[str, str]:
    owner = (pull.source or "unknown").partition("/")[0]
    return f"Merge pull request #{pull.number} from {owner}/{pull.branch}", pull.title


def _squash_words(repository: Repository, pull: Pull, commits: list[str]) -> tuple[str, str]:
    """GitHub's default: those of the only commit, else the title and a list of all messages."""
    told = [repository.bare.commit(sha) for sha in commits]
    if len(told) == 1:
        return f"{told[0].headline} (#{pull.number})", told[0].body
    return f"{pull.title} (#{pull.number})", "\n\n".join(f"* {commit.message}" for commit in told)
