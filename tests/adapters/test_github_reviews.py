"""What agents say of pull requests on GitHub: posted once, known again as ours, and counted as nobody else's."""

from __future__ import annotations

from collections.abc import Iterator

import on_github
import pytest
from on_github import Place

from reconciler.forges.github.marks import marked
from reconciler.model.observed import PullState

pytestmark = pytest.mark.xdist_group("github")
MARK = "0123456789abcdef"
OURS = marked("Fine.", MARK)


@pytest.fixture
def there() -> Iterator[Place]:
    with on_github.place() as made:
        yield made


def of_another_author(there: Place) -> int:
    """A pull request of a task that another login has opened: ours may say yes or no to it."""
    number, _ = there.offered()
    there.app.pulls[number].author = "worker"
    there.app.site.account("worker")
    return number


# --- whose word it is ----------------------------------------------------------------------------------------


def test_our_yes_is_no_persons(there: Place) -> None:
    number = of_another_author(there)
    there.app.review(number, "robot", body=OURS)
    there.app.review(number, "robot-of-old", body=OURS)  # which the user has changed since

    assert there.pull().approved is None
    ((record, _),) = there.forge.every_pull_request()
    assert record.reviews == () and record.state is PullState.OPEN


def test_our_no_is_no_persons_and_theirs_stays_one_whatever_it_ends_with(there: Place) -> None:
    number = of_another_author(there)
    there.app.review(number, "robot", "CHANGES_REQUESTED", body=OURS)
    assert there.pull().rejection is None

    there.app.review(number, "ann", "CHANGES_REQUESTED", body=marked("No!", MARK))
    assert there.pull().rejection is not None


def test_our_comments_are_handed_to_nobody(there: Place) -> None:
    number, _ = there.offered()
    there.app.review(number, "robot", "COMMENTED", body=OURS)
    there.app.discuss(number, "robot", OURS)
    there.app.review(number, "ann", "COMMENTED", body=OURS)

    seen = there.pull()

    assert [each.by for each in seen.remarks] == ["ann"]
    assert [each.ours for thread in seen.threads for each in thread.comments] == [True]


def test_a_yes_or_no_that_quotes_ours_is_the_persons_who_wrote_it(there: Place) -> None:
    number = of_another_author(there)
    quoted = "\n".join(f"> {line}" for line in OURS.splitlines())
    there.app.review(number, "robot", "CHANGES_REQUESTED", body=f"{quoted}\n\nNot at all.")

    assert there.pull().rejection is not None
