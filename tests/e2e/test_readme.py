"""The README's manifest, commands and session are what a stranger gets."""

from __future__ import annotations

import os
import re
from contextlib import closing
from pathlib import Path

import click
import pytest
from strangers import Place
from terminals import Terminal
from waiting import until

from reconciler import wiring
from reconciler.cli import COMMANDS, program

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
MANIFEST = re.search(r"## A short tour.*?```yaml\n(.*?)```", README, re.DOTALL)
SESSION = re.search(r"```\n(\$ reconcile diff.*?)```", README, re.DOTALL)


def test_the_manifest_and_the_session_of_the_readme_are_real(tmp_path: Path) -> None:
    assert MANIFEST and SESSION
    place = Place(tmp_path)
    looked = tmp_path / "looked"  # its agents take as long as that, not two seconds
    manifest = MANIFEST[1].replace("sleep 2;", f"until test -e {looked}; do sleep 0.1; done;")
    (place.root / "epic.yaml").write_text(manifest)
    place.git("add", ".")
    place.git("commit", "--quiet", "--message=Say what is wanted")

    for command, shown in re.findall(r"\$ reconcile (.*?)\n(.*?)(?=\n\n\$|\Z)", SESSION[1], re.DOTALL):
        if command == "status":
            assert shown == as_on_a_terminal(place, command), "what it is like at 80 columns"
            looked.touch()
            continue
        said = place.reconcile(*command.split(), code=None)
        for line in shown.splitlines():
            # What is told at one moment may be told at another; what is told at all must be true.
            words = re.findall(r"project-\w+ +[A-Z]\w+|agent running|agent starts|actions?; run|Up to date", line)
            assert all(word in said for word in words), (command, line, said)
    assert place.subjects() == ["Write the parser", "Write the lexer", "Say what is wanted", "Begin"]


def as_on_a_terminal(place: Place, command: str) -> str:
    """What a person sees of it, once an agent is running, with the age of that as the README has it."""
    until(lambda: "is running" in place.reconcile(command), "an agent that is running")
    with closing(Terminal(place.root, place.env, command, columns=80)) as terminal:
        assert terminal.wait() == 0
        lines = "\n".join(terminal.lines).rstrip()
    return re.sub(r"  \d+s  ", "  1s  ", lines)


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", page.read_text("utf-8"))

    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_option_of_a_page_exists(page: Path) -> None:
    for name, rest in re.findall(r"\breconcile ([a-z]+)\b([^`\n|]*)", page.read_text("utf-8")):
        if name not in COMMANDS:
            continue  # a sentence about the program
        command = program.get_command(click.Context(program), name)
        assert command is not None
        known = {option for each in _below(command) for param in each.params for option in param.opts}
        assert set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", rest)) <= known, (name, rest)


def test_in_the_list_of_a_group_every_command_is_described_in_whole_words() -> None:
    groups = [each for name in COMMANDS if (each := program.get_command(click.Context(program), name))]
    cut = [
        f"{group.name} {name}"
        for group in groups
        if isinstance(group, click.Group)
        for name, command in group.commands.items()
        if command.get_short_help_str(80 - len(f"  {name:11}")).endswith("...")
    ]

    assert not cut


def _below(command: click.Command) -> list[click.Command]:
    inside = command.commands.values() if isinstance(command, click.Group) else ()
    return [command, *(each for one in inside for each in _below(one))]


def test_every_example_of_a_manifest_is_one() -> None:
    for page in PAGES:
        for text in re.findall(r"```yaml\n(apiVersion.*?)```", page.read_text("utf-8"), re.DOTALL):
            assert wiring.read(("-",), text, dict(os.environ), to_act=False), text


def test_the_picture_is_one_and_asks_no_server_for_anything() -> None:
    picture = (ROOT / "docs" / "watch.svg").read_text("utf-8")

    assert "closed" in picture and "working" in picture and "url(" not in picture.replace("url(#", "")


def test_every_command_of_the_readme_exists() -> None:
    place_holder = re.compile(r"`([a-z]+)[ `·]")
    table = (ROOT / "docs" / "commands.md").read_text("utf-8")
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in place_holder.findall(row)}
    known = (ROOT / "reconciler/cli/__init__.py").read_text()

    assert {"apply", "diff", "watch", "status"} <= named
    assert all(f'"{name}": (' in known for name in named), named
