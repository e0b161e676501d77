"""However many look on beside a watch: the forge is asked by the watch alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from pages import Ui, first_data, live
from terminals import Terminal
from waiting import until

from reconciler import wiring
from tests.e2e.test_on_github import Place, cloned

LOOKS = 3


@pytest.fixture
def place() -> Iterator[Place]:
    with cloned() as made:
        yield made


@pytest.mark.xdist_group("github")
def test_three_pages_a_top_and_a_status_ask_the_forge_nothing_beside_a_watch(place: Place) -> None:
    manifest = place.manifest(
        tasks=[{"key": "a", "title": "Do a"}], mergePolicy={"review": "human", "requiredChecks": ["ci"]}
    )
    watch = place.start("watch", "-f", str(manifest))
    until(lambda: wiring.open_site(place.root, place.env).acting, "the watch to act", by=watch)
    place.env |= place.hub.env_of("reader")  # whoever looks on is known by another login

    def asked() -> int:
        return sum(request.by == "reader" for request in place.hub.requests)

    try:
        with ExitStack() as open_:
            ui = open_.enter_context(Ui(place))
            ui.enter()
            ui.until_on_page("waiting for approval")
            before = asked()

            overview, *_ = [open_.enter_context(live(ui, path)) for path in ("/", "/timeline", "/diff")]
            top = Terminal(place.root, place.env, "top")
            open_.callback(top.close)
            top.shows("Do a")
            for _ in range(LOOKS):
                assert "waiting for approval" in place.reconcile("status", code=None)
            place.reconcile("suspend", "work")
            first_data(overview, "uspended")
            assert ui.ask("GET", "/metrics").code == 200
            assert asked() == before

        watch.kill()
        watch.communicate()
        place.reconcile("status", code=None)
        assert asked() > before  # there nobody else does
    finally:
        watch.kill()
        watch.communicate()
