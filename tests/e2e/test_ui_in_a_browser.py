"""The page in a real browser: it moves by itself, a click and a key act, and what agents wrote does nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsers import IN_A_BROWSER, chromium
from pages import Ui
from playwright.sync_api import Browser, Page, expect
from strangers import AGENT, Place

EVIL = '"><script>document.title="owned"</script><img src=x onerror="document.title=\'owned\'">'
LONG_S = 120_000.0

pytestmark = IN_A_BROWSER


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """A tab in which nothing may go wrong: no error, no request that the policy forbids."""
    context = browser.new_context()
    context.set_default_timeout(LONG_S)
    expect.set_options(timeout=LONG_S)
    page, wrong = context.new_page(), list[str]()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if "Content Security" in said.text else None)
    yield page
    context.close()
    assert wrong == []


@pytest.fixture
def ui(tmp_path: Path) -> Iterator[Ui]:
    place = Place(tmp_path)
    tasks = [{"key": "a", "title": "Do a", "description": EVIL}, {"key": "b", "title": EVIL}]
    agent = {"argv": ["sh", "-c", f"echo '{EVIL.replace(chr(39), '')}'; {AGENT}"]}
    manifest = place.manifest(tasks=tasks, agent=agent, mergePolicy={"review": "human"})
    place.reconcile("apply", "-f", str(manifest), "--wait", code=3)
    with Ui(place) as ui:
        yield ui


def test_the_demo_moves_by_itself_and_is_approved_by_a_click_and_by_a_key(tab: Page, tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONUNBUFFERED": "1", "TMPDIR": str(tmp_path)}
    argv = (sys.executable, "-m", "reconciler", "demo", "--ui")
    demo = subprocess.Popen(argv, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        assert demo.stdout
        url = next(found[0] for line in demo.stdout if (found := re.search(r"http://\S+", line)))
        tab.goto(url)
        expect(tab.locator("#col-working .card").first).to_be_visible()

        asks = tab.locator("#col-needs .card", has_text="Make a command of it")
        asks.get_by_role("button", name="Approve").click()
        expect(tab.locator("#toasts")).to_contain_text("approved #")
        expect(tab.locator("#col-done .card", has_text="Make a command of it")).to_be_visible()

        notes = tab.locator("#col-needs .card", has_text="Write the release notes")
        expect(notes).to_be_visible()
        tab.keyboard.press("j")
        expect(notes).to_be_focused()
        tab.keyboard.press("a")
        expect(tab.locator("#col-done .card")).to_have_count(6)
    finally:
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=60)
    assert list(tmp_path.glob("reconcile-demo-*")) == []


def test_what_agents_and_tasks_say_does_nothing(tab: Page, ui: Ui) -> None:
    tab.goto(ui.url)
    expect(tab.locator(".card", has_text="<script>")).to_be_visible()
    id = str(ui.place.tasks()["Do a"]["id"])
    for path in (f"/task/{id}", "/manifest/work", "/timeline", "/next"):
        tab.goto(ui.origin + path)
        tab.wait_for_timeout(700)
        assert "owned" not in tab.title(), path
    tab.goto(f"{ui.origin}/task/{id}")
    expect(tab.locator("#log")).to_contain_text("<script>")
    assert "owned" not in tab.title()


def test_words_are_not_lost_while_the_page_changes(tab: Page, ui: Ui) -> None:
    id = str(ui.place.tasks()["Do a"]["id"])
    tab.goto(ui.url)
    tab.goto(f"{ui.origin}/task/{id}")
    tab.keyboard.press("r")
    tab.locator("#b-acts textarea").fill("louder, please")
    ui.place.reconcile("take", str(ui.place.tasks()[EVIL]["id"]))
    ui.place.reconcile("task", "update", id, "--notes", "something else")
    tab.wait_for_timeout(3000)
    expect(tab.locator("#b-acts textarea")).to_have_value("louder, please")

    tab.locator("#b-acts").get_by_role("button", name="Request changes").click()

    expect(tab.locator("#toasts")).to_contain_text("rejected #")


def test_a_search_stands_in_the_address_and_is_found_again(tab: Page, ui: Ui) -> None:
    id = str(ui.place.tasks()["Do a"]["id"])
    tab.goto(ui.url)
    expect(tab.locator(".card")).to_have_count(2)
    expect(tab.locator("#live")).to_contain_text("seen")  # its script hears keys by now
    tab.keyboard.press("/")
    tab.keyboard.type(id)
    expect(tab.locator(".card")).to_have_count(1)
    assert tab.url.endswith(f"?q={id}")
    tab.reload()
    expect(tab.locator(".card")).to_have_count(1)


def test_escape_closes_what_is_asked_and_goes_back_to_its_card(tab: Page, ui: Ui) -> None:
    id = str(ui.place.tasks()["Do a"]["id"])
    tab.goto(ui.url)
    card = tab.locator(f"#c-{id}")
    expect(card).to_be_visible()
    expect(tab.locator("#live")).to_contain_text("seen")  # its script hears keys by now
    card.focus()
    for changes in (False, True):
        tab.keyboard.press("r")
        expect(card.locator("textarea")).to_be_focused()
        if changes:
            ui.place.reconcile("task", "update", id, "--title", "Do a well")
            tab.wait_for_timeout(3000)
        tab.keyboard.press("Escape")
        expect(card.locator("textarea")).to_be_hidden()
        expect(card).to_be_focused()
    expect(card).to_contain_text("Do a well")


def test_a_key_that_means_nothing_is_no_error(tab: Page, ui: Ui) -> None:
    tab.goto(ui.url)
    expect(tab.locator("#live")).to_contain_text("seen")  # its script hears keys by now
    for key in ('"', "]", "\\", "'"):
        tab.keyboard.press("g")
        tab.keyboard.press(key)
    tab.keyboard.press("g")
    tab.keyboard.press("l")
    tab.wait_for_url("**/timeline")


def test_without_scripts_a_button_works_too(browser: Browser, ui: Ui) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(ui.url)
    page.goto(ui.origin)
    page.locator("#col-needs .card").first.get_by_role("button", name="Approve").click()
    assert "approved #" in page.locator("#result").inner_text()
    context.close()


@pytest.mark.parametrize("path", ["/", "/task/{}", "/manifest/work", "/timeline", "/next"])
def test_on_a_phone_nothing_sticks_out(tab: Page, ui: Ui, path: str) -> None:
    tab.set_viewport_size({"width": 360, "height": 740})
    tab.goto(ui.url)
    tab.goto(ui.origin + path.format(ui.place.tasks()["Do a"]["id"]))
    tab.wait_for_timeout(1000)
    for width in (360, 390):
        tab.set_viewport_size({"width": width, "height": 740})
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_repositories_stand_apart(tab: Page, tmp_path: Path) -> None:
    places = [Place(tmp_path / name) for name in ("one", "two") if not (tmp_path / name).mkdir()]
    for place in places:
        place.env["XDG_STATE_HOME"] = str(tmp_path / "state")
        place.reconcile("apply", "-f", str(place.manifest(suspend=True)), code=None)
    with Ui(places[0], ("--all",)) as ui:
        tab.goto(ui.url)
        expect(tab.locator(".card .chips")).to_have_count(2)
        upper, lower = (tab.locator(".card").nth(n).bounding_box() for n in range(2))
    assert upper and lower
    assert upper["y"] + upper["height"] + 4 < lower["y"]
