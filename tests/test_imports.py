"""The house plan, checked: who may import whom. The contracts stand in pyproject.toml."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONTRACTS = {
    contract["name"]: contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
}
DECIDING = [name.removeprefix("reconciler.") for name in CONTRACTS["Deciding is pure"]["source_modules"]]
LINT = "from importlinter.cli import lint_imports_command as lint; lint(['--no-cache', '--no-logo'])"


def lint(folder):
    return subprocess.run([sys.executable, "-c", LINT], cwd=folder, capture_output=True, text=True)


def test_every_import_points_where_the_plan_says():
    verdict = lint(ROOT)

    assert verdict.returncode == 0, verdict.stdout + verdict.stderr


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("names.py", "import reconciler.ports", "Imports point down"),
        ("forges/__init__.py", "import reconciler.loop", "Imports point down"),
        ("a_file_without_a_place.py", "", "Imports point down"),
        ("planner.py", "import time", "Deciding is pure"),
        ("job.py", "import reconciler.git", "Deciding is pure"),
        ("actions/base.py", "import pathlib", "Deciding is pure"),
        ("trackers/__init__.py", "import subprocess", "Only shell.py and shim.py start processes"),
        ("loop.py", "import sh", "Only shell.py and shim.py start processes"),
        ("shim.py", "import psutil", "The shim stands alone"),
        ("runners/__init__.py", "import reconciler.job", "Adapters know no policy"),
        ("trackers/__init__.py", "import reconciler.forges", "Adapters do not know each other"),
        ("actions/base.py", "import reconciler.actions.land", "No cycles anywhere"),
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


def test_every_file_that_decides_is_held_to_purity():
    layers = CONTRACTS["Imports point down"]["layers"]
    shell = next(at for at, layer in enumerate(layers) if "shell" in layer.split())
    below_the_shell = layers[shell + 1 : layers.index("shim")]

    deciding = {name.strip(" ()") for layer in below_the_shell for name in layer.replace(":", "|").split("|")}

    assert set(DECIDING) == deciding | {"planner"}


@pytest.mark.parametrize("name", [*DECIDING, "observer", "executor"])
def test_time_is_an_argument(name):
    package = ROOT / "reconciler"
    files = [package / f"{name}.py", *(package / name).rglob("*.py")]
    text = "".join(path.read_text("utf-8") for path in files if path.exists())

    assert not re.findall(r"\b(?:datetime|date)\.(?:now|utcnow|today)\b", text)
