"""What a person took out of GitHub's own merge queue stays out until `merge` puts it back, also beside a watch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from github import merging
from waiting import ended, until

from tests.e2e.test_on_github import Place, cloned

pytestmark = pytest.mark.xdist_group("github")


@pytest.fixture
def place() -> Iterator[Place]:
    with cloned() as made:
        made.app.protect("main", queue=True)
        yield made


@pytest.mark.parametrize("beside", [True, False], ids=["beside a watch", "alone"])
def test_what_a_person_took_out_goes_back_at_a_persons_word(place: Place, beside: bool) -> None:
    path = place.manifest(tasks=[{"key": "a", "title": "Do a"}], mergePolicy={"requiredChecks": ["ci"]})
    watch = place.start("watch", "-f", str(path), "--interval", "1s")
    until(lambda: 1 in place.app.pulls and place.app.pull(1).queue, 60, by=watch)
    with place.hub.lock:
        place.hub.account("ann")
        merging.take_out(place.app, 1, "MANUAL", by="ann")
    until(lambda: "took #1 out of the merge queue" in place.reconcile("status", "--fresh"), 60, by=watch)
    if not beside:
        watch.terminate()
        ended(watch)

    place.app.queue_merges = True
    said = place.reconcile("merge")

    assert "requested merge of #1" in said
    assert place.app.pull(1).state == "MERGED"
    if beside:
        watch.terminate()
        ended(watch)
