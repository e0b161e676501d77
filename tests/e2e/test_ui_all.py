"""`ui --all`: the page of every repository in which something is applied."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from pages import Ui, live
from strangers import Place


@pytest.fixture
def places(tmp_path: Path) -> Iterator[list[Place]]:
    made = []
    for name in ("one", "two", "gone"):
        (tmp_path / name).mkdir()
        place = Place(tmp_path / name)
        place.env["XDG_STATE_HOME"] = str(tmp_path / "state")
        manifest = place.manifest(tasks=[{"key": "a", "title": f"Do {name}"}], mergePolicy={"review": "human"})
        place.reconcile("apply", "-f", str(manifest), "--wait", code=3)
        made.append(place)
    shutil.rmtree(tmp_path / "gone")
    yield made[:2]
    for place in made[:2]:
        place.reconcile("stop", "--all", code=None)


@pytest.fixture
def ui(places: list[Place]) -> Iterator[Ui]:
    with Ui(places[0], ("--all",)) as ui:
        ui.enter()
        yield ui


def addresses(ui: Ui) -> list[str]:
    return sorted(set(re.findall(r'href="(/r/project-[0-9a-f]{6}/)"', ui.page())))


def of(ui: Ui, place: Place) -> str:
    return next(each for each in addresses(ui) if str(place.root) in ui.page(each))


def test_every_repository_has_a_card_and_an_address_of_its_own_and_those_that_are_gone_have_none(
    ui: Ui, places: list[Place]
) -> None:
    assert len(addresses(ui)) == 2
    for place, other in (places, places[::-1]):
        root = of(ui, place)
        ui.until_on_page(f"Do {place.root.parent.name}", root)
        text = ui.page(root)
        assert f"Do {other.root.parent.name}" not in text
        links = re.findall(r' (?:href|action)="(/[^"]*)"', text)
        assert {link for link in links if not link.startswith(root)} == {"/", "/static/icon.svg", "/static/page.css"}
        for below in ("timeline", "next", "manifest/work"):
            assert ui.ask("GET", root + below).code == 200
    assert "2</b> Needs you" not in ui.page()
    ui.until_on_page("<b>1</b> Needs you")


def test_an_act_is_done_in_the_repository_that_it_was_asked_for(ui: Ui, places: list[Place]) -> None:
    here, other = places
    id = str(here.tasks()["Do one"]["id"])
    root = of(ui, here)
    ui.until_on_page("Do one", root)
    body = urlencode({"csrf": ui.csrf, "do": f"approve {id}"})

    answer = ui.ask("POST", f"{root}act", body, origin=ui.origin)

    assert answer.code == 200, answer.text
    reviews = [json.loads(each.reconcile("get", "prs", "-o", "json"))[0]["review"] for each in (here, other)]
    assert reviews == ["approved", "required"]
    assert ui.ask("POST", f"{root}act", body, origin="http://127.0.0.1:1").code == 403


def test_the_list_moves_by_itself(ui: Ui, places: list[Place]) -> None:
    with live(ui, "/") as stream:
        line = b""
        while b"Needs you" not in line:
            line = stream.readline()
            assert line, "the stream ended"


def test_what_is_not_known_is_not_served(ui: Ui) -> None:
    for path in ("/r/", "/r/etc-000000/", "/r/../", "/task/x"):
        assert ui.ask("GET", path).code == 404
    ui.cookie = ""
    assert ui.ask("GET", "/r/project-000000/").code == 401
