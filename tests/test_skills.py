"""What the guides for people and agents name, exists: paths, modules, tests and commands."""

from __future__ import annotations

import pkgutil
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from reconciler.cli import COMMANDS

ROOT = Path(__file__).parent.parent
SKILLS = sorted(ROOT.glob(".claude/skills/*/SKILL.md"))
GUIDES = [ROOT / "CONTRIBUTING.md", ROOT / "CLAUDE.md", *sorted(ROOT.glob(".claude/**/*.md"))]

# What has a slash and is no path of the repository: branches, refs, ranges, and what is made on the reader's machine.
_ELSEWHERE = re.compile(r"agent/|refs/|HEAD|origin/|\.venv/|\.beads/|\.git/|\.\./|/|https?:")
_FILE = re.compile(r"[\w.-]+\.(py|md|toml|ya?ml|txt|json|lock)")
_NAME = re.compile(r"reconciler(\.\w+)+")


def named_by_the_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("guide", GUIDES, ids=named_by_the_id)
def test_every_path_in_a_guide_exists(guide: Path) -> None:
    named = {word for code in inline(guide) for word in code.split() if is_path(word)}

    assert not sorted(word for word in named if not exists(word))


@pytest.mark.parametrize("guide", GUIDES, ids=named_by_the_id)
def test_every_module_and_name_in_a_guide_exists(guide: Path) -> None:
    for code in inline(guide):
        for word in filter(_NAME.fullmatch, code.split()):
            pkgutil.resolve_name(word)


@pytest.mark.parametrize("guide", GUIDES, ids=named_by_the_id)
def test_every_command_in_a_guide_exists(guide: Path) -> None:
    recipes = set(re.findall(r"^([a-z][a-z-]*)\b[^:=\n]*:(?!=)", (ROOT / "justfile").read_text("utf-8"), re.MULTILINE))

    for program, what in (code.split()[:2] for code in inline(guide) if len(code.split()) > 1):
        known = {"reconcile": set(COMMANDS), "just": recipes, ".venv/bin/just": recipes}.get(program)
        assert known is None or what in known, f"{program} {what}"


@pytest.mark.parametrize("skill", SKILLS, ids=named_by_the_id)
def test_a_skill_says_what_it_is_called_and_when_to_use_it(skill: Path) -> None:
    _, head, body = skill.read_text("utf-8").split("---\n", 2)
    told = yaml.safe_load(head)

    assert set(told) == {"name", "description"}
    assert told["name"] == skill.parent.name
    assert "Use it " in told["description"] and len(told["description"]) <= 1024
    assert body.strip()


def test_the_three_ways_to_grow_have_their_skill() -> None:
    assert {"add-an-agent", "add-a-forge", "add-an-action"} <= {skill.parent.name for skill in SKILLS}


def test_the_plan_of_the_house_names_every_part_in_the_order_that_is_checked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    layers = next(each["layers"] for each in project["tool"]["importlinter"]["contracts"] if each["type"] == "layers")
    drawn = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("Imports point down")[2].split("```")[1]
    rows = [re.split(r"\s{2,}", line)[0].replace("·", " ").split() for line in drawn.strip().splitlines()]

    assert [sorted(row) for row in rows] == [sorted(set(re.findall(r"\w+", layer)) - {"__main__"}) for layer in layers]


@pytest.mark.parametrize(
    ("word", "there"),
    [
        ("reconciler/model/ports/", True),
        ("reconciler/agents/<kind>.py", True),
        ("tests/plans/*.yaml", True),
        ("tests/mutations.py", True),
        ("pyproject.toml", True),
        ("reconciler/port.py", False),
        ("test/plans/", False),
        ("reconciler/agent/<kind>.py", False),
        ("tests/plans/*.yml", False),
        ("constraints.toml", False),
    ],
)
def test_what_does_not_exist_is_noticed(word: str, there: bool) -> None:
    assert is_path(word)
    assert exists(word) is there


def inline(guide: Path) -> Iterator[str]:
    """Everything in backticks; blocks of code are left out, as they show what a reader does in a place of their own."""
    text = re.sub(r"^```.*?^```", "", guide.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return iter(re.findall(r"`([^`]+)`", text))


def is_path(word: str) -> bool:
    if _ELSEWHERE.match(word):
        return False
    return "/" in word or _FILE.fullmatch(word) is not None


def exists(word: str) -> bool:
    """True for a path that is there; of one with a `<placeholder>` in it, the folder before."""
    known = word.partition("<")[0]
    return any(ROOT.glob(known.rstrip("/"))) if "*" in known else (ROOT / known).exists()
