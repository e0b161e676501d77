"""The house plan, checked: who may import whom. The contracts stand in pyproject.toml."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from reconciler.system.late import MODULES, late

ROOT = Path(__file__).parent.parent
CONTRACTS = {
    contract["name"]: contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
}
PACKAGE = ROOT / "reconciler"
LINT = "from importlinter.cli import lint_imports_command as lint; lint(['--no-cache', '--no-logo'])"


def lint(folder):
    return subprocess.run([sys.executable, "-c", LINT], cwd=folder, capture_output=True, text=True)


def test_every_import_points_where_the_plan_says():
    verdict = lint(ROOT)

    assert verdict.returncode == 0, verdict.stdout + verdict.stderr


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("model/names.py", "import reconciler.planning.job", "Imports point down"),
        ("forges/__init__.py", "import reconciler.wiring", "Imports point down"),
        ("a_file_without_a_place.py", "", "Imports point down"),
        ("planning/planner.py", "import time", "Deciding is pure"),
        ("planning/job.py", "import pathlib", "Deciding is pure"),
        ("planning/actions/base.py", "import reconciler.git.commands", "Imports point down"),
        ("model/ports/__init__.py", "import os", "Deciding is pure"),
        ("trackers/__init__.py", "import subprocess", "Only the shell and the supervisor start processes"),
        ("loop/loop.py", "import sh", "Only the shell and the supervisor start processes"),
        ("runners/supervisor.py", "import psutil", "The supervisor stands alone"),
        ("runners/supervisor.py", "import reconciler.model.names", "The supervisor stands alone"),
        ("runners/__init__.py", "import reconciler.planning.job", "Adapters know no policy"),
        ("landing/landing.py", "import reconciler.planning.jobs", "Adapters know no policy"),
        ("trackers/__init__.py", "import reconciler.forges", "Adapters do not know each other"),
        ("forges/github/forge.py", "import reconciler.forges.local.pulls", "Forges do not know each other"),
        ("planning/actions/base.py", "import reconciler.planning.actions.land", "No cycles anywhere"),
    ],
)
def test_a_break_made_on_purpose_is_caught(tmp_path, file, line, contract):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "reconciler", tmp_path / "reconciler")
    with (tmp_path / "reconciler" / file).open("a") as stream:
        stream.write(f"\n{line}\n")

    verdict = lint(tmp_path)

    assert verdict.returncode == 1, verdict.stderr
    assert f"{contract} BROKEN" in verdict.stdout


def test_the_listing_of_the_package_is_its_map():
    layers = " ".join(CONTRACTS["Imports point down"]["layers"])
    entries = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.name != "__pycache__"}

    assert entries == {"__init__", *re.findall(r"\w+", layers)}
    assert len(entries) <= 20
    assert len(CONTRACTS["Imports point down"]["layers"]) <= 10


def test_what_a_package_says_of_its_modules_names_those_that_it_has():
    listing = re.compile(r"^\* ([^:]*):", re.MULTILINE)
    lists = {init: listing.findall(init.read_text("utf-8")) for init in PACKAGE.rglob("__init__.py")}
    named = {
        (init, name) for init, found in lists.items() for line in found for name in re.findall(r"`([a-z_]+)`", line)
    }

    assert len({init for init, _ in named}) >= 3
    assert not [name for init, name in named if not list(init.parent.glob(f"{name}*"))]


def test_the_supervisor_needs_nothing_but_the_standard_library():
    tree = ast.parse((PACKAGE / "runners/supervisor.py").read_text("utf-8"))
    plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    named = {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    assert {name.partition(".")[0] for name in plain | named} <= sys.stdlib_module_names | {"__future__"}


@pytest.mark.parametrize("room", ["model", "planning", "loop/observer.py", "loop/executor.py"])
def test_time_is_an_argument(room):
    files = [PACKAGE / room] if room.endswith(".py") else sorted((PACKAGE / room).rglob("*.py"))

    assert files
    for path in files:
        assert not re.findall(r"\b(?:datetime|date)\.(?:now|utcnow|today)\b", path.read_text("utf-8")), path


def test_no_class_name_stands_for_two_things():
    found: dict[str, list[str]] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(file.relative_to(PACKAGE).as_posix())

    assert {name: files for name, files in found.items() if len(files) > 1} == {}


def test_policy_names_no_adapter():
    """What only one tracker or one forge knows comes through the ports."""
    named = re.compile(r"\.beads|\b(GH|GITHUB|BD|BEADS)_[A-Z]")
    found = [
        f"{file.relative_to(PACKAGE)}:{node.lineno}: {node.value}"
        for file in sorted((PACKAGE / "planning").rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and named.search(node.value)
    ]

    assert found == []


@pytest.mark.parametrize("name", sorted(MODULES))
def test_what_is_loaded_late_is_there(name):
    assert late(name).__name__ == name


def test_nothing_is_loaded_late_that_no_table_names():
    """Another call would be a place that no search for imports finds."""
    found = {
        file.relative_to(PACKAGE).as_posix()
        for file in sorted(PACKAGE.rglob("*.py"))
        if "import_module(" in file.read_text("utf-8")
    }

    assert found == {"system/late.py", "cli/__init__.py"}
