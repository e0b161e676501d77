"""What a stranger installs: the pins, the wheel, and the commands that the README gives."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from waiting import run

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PINS = ("constraints.txt", "constraints-build.txt", "constraints-dev.txt")
SHIPPED = {"manifests": "manifests", "examples": "examples", "agents": ".claude/agents"}
MODULE_OF = {"pyyaml": "yaml"}


def built(kind, source, into):
    """The one archive of this kind that is built from `source`."""
    argv = (sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(into))
    done = subprocess.run(argv, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(iter(into.glob("*.whl" if kind == "wheel" else "*.tar.gz")))


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return built("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def unpacked(session, tmp_path_factory):
    """What a wheel puts into site-packages."""
    folder = tmp_path_factory.mktemp("site-packages")
    zipfile.ZipFile(session).extractall(folder)
    return folder


def contents(session):
    return {name for name in zipfile.ZipFile(session).namelist() if not name.endswith("/RECORD")}


def test_a_wheel_holds_the_package_and_nothing_else(session):
    metadata = session.name.partition("-py3")[0] + ".dist-info"

    assert {name.partition("/")[0] for name in contents(session)} == {"reconciler", metadata}


@pytest.mark.parametrize("folder", SHIPPED)
def test_a_wheel_carries_what_stands_beside_the_package_in_a_checkout(unpacked, folder):
    source, shipped = ROOT / SHIPPED[folder], unpacked / "reconciler" / "shipped" / folder

    files = {path.relative_to(source): path.read_bytes() for path in source.rglob("*") if path.is_file()}

    assert files
    assert {path.relative_to(shipped): path.read_bytes() for path in shipped.rglob("*") if path.is_file()} == files


def test_a_source_archive_builds_the_same_wheel(session, tmp_path):
    archive = built("sdist", ROOT, tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    subprocess.run(("tar", "-xzf", archive, "-C", source, "--strip-components=1"), check=True)

    again = built("wheel", source, tmp_path)

    assert contents(again) == contents(session)


def test_a_wheel_runs_without_its_checkout(unpacked, tmp_path):
    environ = {**os.environ, "PYTHONPATH": str(unpacked)}
    program = "import reconciler.cli; print(reconciler.__file__, flush=True); reconciler.cli.main()"

    shown = subprocess.run(
        (sys.executable, "-P", "-c", program, "--help"), cwd=tmp_path, env=environ, capture_output=True, text=True
    )

    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith(str(unpacked))
    assert "apply" in shown.stdout


def pins(file):
    """Version and hashes of every package that a constraints file pins."""
    text = (ROOT / file).read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    pattern = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[\w.]+)(?P<hashes>(?:\s+--hash=sha256:[0-9a-f]{64})+)\s*")
    found = [pattern.fullmatch(line) for line in lines]
    assert all(found), [line for line, match in zip(lines, found, strict=True) if not match]
    return {match["name"]: (match["version"], frozenset(match["hashes"].split())) for match in found}


@pytest.mark.parametrize("file", PINS)
def test_every_pin_is_a_version_with_its_hashes_and_no_address(file):
    assert pins(file)


@pytest.mark.parametrize(
    ("file", "asked_for"),
    [
        ("constraints.txt", PROJECT["project"]["dependencies"]),
        ("constraints-build.txt", PROJECT["build-system"]["requires"]),
        ("constraints-dev.txt", PROJECT["project"]["optional-dependencies"]["dev"]),
    ],
)
def test_every_requirement_is_pinned_to_a_version_that_satisfies_it(file, asked_for):
    pinned = pins(file)

    wanted = {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, asked_for)}

    assert wanted.keys() <= pinned.keys()
    assert not [str(want) for name, want in wanted.items() if pinned[name][0] not in want.specifier]


def test_users_and_developers_get_the_same_versions():
    everything = pins("constraints-dev.txt")

    for file in PINS:
        assert pins(file).items() <= everything.items()


def test_what_is_imported_is_what_is_declared():
    declared = {canonicalize_name(Requirement(text).name) for text in PROJECT["project"]["dependencies"]}

    imported = {
        name.partition(".")[0]
        for path in (ROOT / "reconciler").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        for name in imports(node)
    }

    ours = imported - sys.stdlib_module_names - {"reconciler", "pydantic_core"}  # the latter is a part of pydantic
    assert ours == {MODULE_OF.get(name, name) for name in declared}


def imports(node):
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom(module=str(module)):
            return [module]
        case _:
            return []


def test_ci_runs_the_tests_as_the_readme_says():
    ci = (ROOT / ".ci" / "run").read_text("utf-8")

    commands = [line.strip() for line in ci.splitlines() if line.startswith("python3 -m venv")]

    assert len(commands) == 1
    assert commands[0] in (ROOT / "README.md").read_text("utf-8")


@pytest.fixture
def ci(tmp_path):
    """Runs `.ci/run` where every program says its name and ends well; those that are named end with a status."""

    def run_it(**statuses):
        (tmp_path / ".ci").mkdir()
        shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
        for folder, names in (
            (".venv/bin", ("pip", "pytest", "python", "ruff", "mypy", "lint-imports")),
            ("bin", ("python3",)),
        ):
            (tmp_path / folder).mkdir(parents=True)
            for name in names:
                program = tmp_path / folder / name
                program.write_text(f"#!/bin/sh\necho {name} $PYTEST_ADDOPTS\nexit {statuses.get(name, 0)}\n")
                program.chmod(0o755)
        env = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
        return run((tmp_path / ".ci" / "run",), env=env | {"PATH": f"{tmp_path}/bin:{env['PATH']}"})

    return run_it


PARTS = [
    "programs of others",
    "venv and tests",
    "the README's two commands on a terminal",
    "ruff check",
    "ruff format",
    "mypy",
    "imports",
]


def told(done):
    """What was said to have taken some time, in order."""
    return re.findall(r"^== \d+ s: (.*)$", done.stdout, re.MULTILINE)


def test_ci_says_of_each_part_how_long_it_took_and_again_of_all_at_the_end(ci):
    done = ci()

    assert (done.returncode, done.stderr) == (0, "")
    assert told(done) == [*PARTS, *PARTS, "all of it"]
    assert "pytest --durations=10\n== " in done.stdout  # what pytest says last stands on a line of its own


@pytest.mark.parametrize(
    ("program", "at"), [("pip", 1), ("pytest", 1), ("python", 2), ("ruff", 3), ("mypy", 5), ("lint-imports", 6)]
)
def test_ci_ends_where_a_part_fails_with_its_status_and_says_which(ci, program, at):
    done = ci(**{program: 7})

    parts = [*PARTS[:at], f"{PARTS[at]} failed with status 7"]
    assert done.returncode == 7
    assert told(done) == [*parts, *parts, "all of it"]


def test_the_version_has_its_place_in_the_changelog(session):
    version = session.name.split("-")[1]

    assert f"\n## [{version}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")
