"""The page for people who see, hear or move otherwise: axe finds no barrier on any view of it, light or dark, wide or narrow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from browsers import IN_A_BROWSER, chromium
from outside import outside
from pages import Ui
from playwright.sync_api import Browser, Page
from strangers import AGENT, Place
from waiting import until

LONG_MS = 120_000.0
LOOKS = {"light": (1280, 900), "dark": (1280, 900), "phone": (390, 844)}
# What WCAG 2.2 asks for at levels A and AA, and what axe holds for good practice beside it.
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

pytestmark = IN_A_BROWSER


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    """Something in every column: what needs a person, works, waits, and is done."""
    place = Place(tmp_path_factory.mktemp("page"))
    place.env["XDG_STATE_HOME"] = str(place.root.parent / "state")
    slow = f'if grep -q Sleep "$RECONCILE_PROMPT"; then echo reading; sleep 600; fi; {AGENT}'
    tasks = [
        {"key": "a", "title": "Do a", "description": "# What\n\nIt all."},
        {"key": "b", "title": "Do b", "dependsOn": ["a"]},
        {"key": "c", "title": "Sleep"},
        {"key": "d", "title": "Be done"},
    ]
    spec = {"mergePolicy": {"review": "human"}, "agent": {"argv": ["sh", "-c", slow]}}
    manifest = place.manifest(tasks=tasks, **spec)
    place.reconcile("apply", "-f", str(manifest))
    until(lambda: place.reconcile("apply", "-f", str(manifest)) and "passed" in place.reconcile("get", "prs"))
    place.reconcile("task", "close", str(place.tasks()["Be done"]["id"]))
    with Ui(place, ("--all",)) as ui:
        yield ui
    place.reconcile("stop", "--all", code=None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def session(ui: Ui) -> str:
    ui.enter()
    return ui.cookie


@pytest.fixture
def tab(request: pytest.FixtureRequest, browser: Browser, ui: Ui, session: str) -> Iterator[Page]:
    look = request.param
    width, height = LOOKS[look]
    context = browser.new_context(
        color_scheme="dark" if look == "dark" else "light",
        viewport={"width": width, "height": height},
        bypass_csp=True,  # for axe alone, which is put into the page
    )
    name, _, value = session.partition("=")
    context.add_cookies([{"name": name, "value": value, "url": ui.origin}])
    context.set_default_timeout(LONG_MS)
    yield context.new_page()
    context.close()


def barriers(tab: Page) -> list[str]:
    tab.add_script_tag(path=str(outside("axe-core")))
    found: list[dict[str, Any]] = tab.evaluate(
        "async (tags) => (await axe.run(document, {runOnly: {type: 'tag', values: tags}})).violations", TAGS
    )
    return [
        f"{each['id']}: {each['help']}: {node['html'][:160]} {node['failureSummary'][:200]}"
        for each in found
        for node in each["nodes"][:3]
    ]


@pytest.mark.parametrize("tab", LOOKS, indirect=True)
def test_no_view_of_the_page_has_a_barrier(tab: Page, ui: Ui) -> None:
    tab.goto(f"{ui.origin}/")
    tab.locator("#b-repositories a").first.wait_for()
    found = {"/": barriers(tab)}
    root = re.findall(r'href="(/r/[^/"]+)/"', ui.page())[0]
    id = str(ui.place.tasks()["Do a"]["id"])
    for below in ("/", "/?column=needs", "/?q=Sleep", "/manifest/work", f"/task/{id}", "/timeline", "/next"):
        tab.goto(ui.origin + root + below)
        tab.locator("main section").first.wait_for()
        if below == "/":
            tab.locator(".card", has_text="Sleep").wait_for()
        found[below] = barriers(tab)

    tab.goto(f"{ui.origin}{root}/task/{id}")
    tab.keyboard.press("r")
    found["asked for words"] = barriers(tab)
    tab.keyboard.press("Escape")
    tab.keyboard.press("?")
    tab.locator("#keys[open]").wait_for()
    found["the keys"] = barriers(tab)
    tab.goto(f"{ui.origin}/nowhere")
    found["not here"] = barriers(tab)

    met = [f"{where} {each}" for where, listed in found.items() for each in listed]
    assert not met, "\n".join(met)
