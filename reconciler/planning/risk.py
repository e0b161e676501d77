"""How much could go wrong with a change, by what it touches, and why: the floor under whatever a reviewer says. Pure.

Nothing is read but paths, counts of lines and what becomes of a file. What a change means is for its reviewer to say: the
rules here are those that nobody can be talked out of. Whoever writes a manifest may name more that is high, and what is low
although a rule says more; protected paths, submodules and removed tests stay what they are.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator

from msgspec import Struct

from reconciler.model.changes import Diff, File
from reconciler.model.globs import fits
from reconciler.model.instructions import INSTRUCTIONS
from reconciler.model.review_by_risk import RiskLevel

NAMED_MAX = 3
# Of lines that somebody wrote: what programs write has none.
SMALL, LARGE, FILES_MAX = 100, 1000, 50
SIZE_MAX = (
    100_000  # bytes of a diff, no matter by whom: less than a reviewer is shown, so that nothing is hidden from one
)

_TEST = ("**/test_*", "**/*_test.*", "**/*.test.*", "**/*.spec.*", "**/*_spec.*", "**/*Test.*", "**/*Tests.*")
_TESTS = (*_TEST, "**/tests/**", "**/test/**", "**/__tests__/**", "**/spec/**")
_PROSE = ("**/*.md", "**/*.rst", "**/*.adoc")
_LOCKS = (
    "**/*.lock", "**/*.lockb", "**/package-lock.json", "**/npm-shrinkwrap.json", "**/pnpm-lock.yaml", "**/go.sum",
    "**/packages.lock.json", "**/gradle.lockfile",
)  # fmt: skip
_DEPENDENCIES = (
    "**/package.json", "**/pyproject.toml", "**/setup.py", "**/setup.cfg", "**/*requirements*.txt", "**/requirements/*.txt",
    "**/*constraints*.txt", "**/Pipfile", "**/environment.yml", "**/go.mod", "**/Cargo.toml", "**/Gemfile", "**/*.gemspec",
    "**/pom.xml", "**/build.gradle*", "**/composer.json", "**/*.csproj", "**/mix.exs", "**/Package.swift",
    "**/pubspec.yaml", "**/flake.nix", "**/vcpkg.json", "**/conanfile.*",
)  # fmt: skip
_RULES: tuple[tuple[RiskLevel, str, tuple[str, ...]], ...] = (
    (RiskLevel.HIGH, "migrations", ("**/migrations/**", "**/migrate/**", "**/alembic/versions/**", "**/*.migration.*")),
    (RiskLevel.HIGH, "locked dependencies", _LOCKS),
    (RiskLevel.HIGH, "dependencies", _DEPENDENCIES),
    (RiskLevel.HIGH, "instructions for agents", INSTRUCTIONS),
    (RiskLevel.HIGH, "how git treats files", ("**/.gitattributes", "**/.gitmodules", "**/.lfsconfig")),
    (RiskLevel.NORMAL, "tests", _TESTS),
    (RiskLevel.LOW, "prose", _PROSE),
)  # fmt: skip
_GENERATED = (
    *_LOCKS, "**/*.min.js", "**/*.min.css", "**/*_pb2.py", "**/*_pb2_grpc.py", "**/*.pb.go", "**/*.pb.cc", "**/*.pb.h",
    "**/*.generated.*", "**/*.g.dart", "**/__snapshots__/**", "**/*.snap", "**/dist/**", "**/vendor/**",
)  # fmt: skip


class Risk(Struct, frozen=True):
    """A level, and what speaks for it. The reasons of a lower level are left out where there is one of a higher."""

    level: RiskLevel
    reasons: tuple[str, ...]


def assess(diff: Diff, guarded: tuple[str, ...], high: tuple[str, ...], low: tuple[str, ...]) -> Risk:
    """The risk of a change. `guarded`: those of its paths that only people may approve; `high`, `low`: the manifest's globs."""
    found = [*_by_path(diff, guarded, high, low), *_as_a_whole(diff, low)]
    level = max((level for level, _ in found), key=lambda level: level.rank, default=RiskLevel.LOW)
    return Risk(level, tuple(dict.fromkeys(reason for of, reason in found if of is level)))


def instructions(diff: Diff) -> tuple[str, ...]:
    """The paths in a change that agents read or obey unasked: whoever reviews it in a worktree of it would."""
    return tuple(file.path for file in diff.files if fits(file.path, INSTRUCTIONS) or file.path in diff.named)


def higher(one: RiskLevel, other: RiskLevel | None) -> RiskLevel:
    """The higher of two levels, where there are two.

    >>> higher(RiskLevel.NORMAL, RiskLevel.LOW), higher(RiskLevel.LOW, None), higher(RiskLevel.LOW, RiskLevel.HIGH)
    (<RiskLevel.NORMAL: 'normal'>, <RiskLevel.LOW: 'low'>, <RiskLevel.HIGH: 'high'>)
    """
    return other if other is not None and other.rank > one.rank else one


def _by_path(
    diff: Diff, guarded: tuple[str, ...], high: tuple[str, ...], low: tuple[str, ...]
) -> Iterator[tuple[RiskLevel, str]]:
    paths = [file.path for file in diff.files]
    kinds: dict[tuple[RiskLevel, str], list[str]] = {}
    for path in paths:
        kinds.setdefault(_kind(path, guarded, high, low), []).append(path)
    for (level, what), found in kinds.items():
        yield level, f"{what}: {_listed(found)}" if what else f"changes {_listed(found)}"
    if gone := guarded_elsewhere(guarded, paths):
        yield RiskLevel.HIGH, f"protected: {_listed(gone)}"


def guarded_elsewhere(guarded: Iterable[str], paths: Iterable[str]) -> list[str]:
    """Guarded paths that only the merge with the base changes."""
    known = set(paths)
    return [path for path in guarded if path not in known]


def _kind(path: str, guarded: tuple[str, ...], high: tuple[str, ...], low: tuple[str, ...]) -> tuple[RiskLevel, str]:
    if path in guarded:
        return RiskLevel.HIGH, "protected"
    if fits(path, high):
        return RiskLevel.HIGH, "mergePolicy.risk.high"
    if fits(path, low, exact=True):
        return RiskLevel.LOW, "mergePolicy.risk.low"
    named = next(
        ((level, what) for level, what, globs in _RULES if fits(path, globs, exact=level is not RiskLevel.HIGH)), None
    )
    return named or (RiskLevel.NORMAL, "")


def _as_a_whole(diff: Diff, low: tuple[str, ...]) -> Iterator[tuple[RiskLevel, str]]:
    """What no single path tells."""
    if gone := _removed_tests(diff.files):
        yield RiskLevel.HIGH, f"removes tests: {_listed(gone)}"
    if thinned := [
        file.path
        for file in diff.files
        if fits(file.path, _TESTS, exact=True) and (file.deleted or 0) > (file.added or 0)
    ]:
        yield RiskLevel.NORMAL, f"takes lines out of tests: {_listed(thinned)}"
    if named := [path for path in sorted(diff.named) if not fits(path, low, exact=True)]:
        yield RiskLevel.HIGH, f"instructions for agents: {_listed(named)}"
    if other := [file.path for file in diff.files if file.kind not in "ADM"]:
        yield RiskLevel.HIGH, f"becomes another kind of file: {_listed(other)}"
    # What a link shows is not in the diff, and what can be run is no prose.
    if links := [file.path for file in diff.files if file.link]:
        yield RiskLevel.NORMAL, f"links: {_listed(links)}"
    if runs := [file.path for file in diff.files if file.executable and not fits(file.path, low, exact=True)]:
        yield RiskLevel.NORMAL, f"executable: {_listed(runs)}"
    if binary := [file.path for file in diff.files if file.added is None and not fits(file.path, low, exact=True)]:
        yield RiskLevel.NORMAL, f"binary: {_listed(binary)}"
    if made := [file.path for file in diff.files if fits(file.path, _GENERATED, exact=True)]:
        yield RiskLevel.NORMAL, f"generated files: {_listed(made)}"
    if diff.areas:
        yield RiskLevel.NORMAL, f"begins {_listed([f'{area}/' for area in sorted(diff.areas)])}"
    if diff.start is None:
        yield RiskLevel.HIGH, "has no commit in common with its base"
    written = sum(
        (file.added or 0) + (file.deleted or 0) for file in diff.files if not fits(file.path, _GENERATED, exact=True)
    )
    if written > LARGE or len(diff.files) > FILES_MAX:
        yield RiskLevel.HIGH, f"large: {written} lines in {len(diff.files)} files"
    elif written > SMALL:
        yield RiskLevel.NORMAL, f"{written} lines in {len(diff.files)} files"
    if diff.size > SIZE_MAX:
        yield RiskLevel.HIGH, f"large: a diff of {diff.size // 1000} kB"


def _removed_tests(files: Iterable[File]) -> list[str]:
    """Files of tests that are gone, but for those that were moved, all of their lines with them."""
    files = list(files)
    came = [(posixpath.basename(file.path), file.added or 0) for file in files if file.kind == "A"]
    return [
        file.path
        for file in files
        if file.kind == "D"
        and fits(file.path, _TESTS, exact=True)
        and not any(name == posixpath.basename(file.path) and added >= (file.deleted or 0) for name, added in came)
    ]


def _listed(paths: list[str]) -> str:
    """Some paths on one line, whatever is in their names."""
    more = len(paths) - NAMED_MAX
    return ", ".join(" ".join(path.split()) for path in paths[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
