"""How much could go wrong with a change, by what it touches: the floor under whatever a reviewer says."""

from __future__ import annotations

import pytest

from reconciler.landing.changes import shown_lines
from reconciler.model.changes import Diff, File
from reconciler.model.names import Sha
from reconciler.model.review_by_risk import RiskLevel
from reconciler.model.values import replace
from reconciler.planning.review_prompts import PATCH_MAX
from reconciler.planning.risk import SIZE_MAX, Risk, assess, higher, instructions

LOW, NORMAL, HIGH = RiskLevel


def a_diff(*files: str, **fields: object) -> Diff:
    """Files as `docs/a.md M +3 -1`, with a mode behind it where it is none of a plain file."""
    found = (each.split() for each in files)
    made = tuple(
        File(path=path, kind=kind, added=_count(a), deleted=_count(d), mode=mode[0] if mode else "100644")
        for path, kind, a, d, *mode in found
    )
    return Diff(**{"start": Sha("b0"), "head": Sha("c1"), "tree": Sha("e3"), "files": made, **fields})


def _count(text: str) -> int | None:
    return None if text == "?" else abs(int(text))


def risk(*files: str, guarded: tuple[str, ...] = (), high: tuple[str, ...] = (), low: tuple[str, ...] = ()) -> Risk:
    return assess(a_diff(*files), guarded, high, low)


@pytest.mark.parametrize(
    ("file", "level", "reason"),
    [
        ("docs/a.md M +3 -1", LOW, "prose: docs/a.md"),
        ("README.rst M +3 -1", LOW, "prose: README.rst"),
        ("src/a.py M +3 -1", NORMAL, "changes src/a.py"),
        ("docs/conf.py M +3 -1", NORMAL, "changes docs/conf.py"),
        ("CLAUDE.md M +1 -1", HIGH, "instructions for agents: CLAUDE.md"),
        ("web/package.json M +1 -1", HIGH, "dependencies: web/package.json"),
        ("requirements-dev.txt M +1 -1", HIGH, "dependencies: requirements-dev.txt"),
        ("uv.lock M +900 -20", HIGH, "locked dependencies: uv.lock"),
        ("go.sum M +2 -1", HIGH, "locked dependencies: go.sum"),
        ("app/migrations/0002_x.py A +30 -0", HIGH, "migrations: app/migrations/0002_x.py"),
        (".gitattributes A +1 -0", HIGH, "how git treats files: .gitattributes"),
        (".Claude/Agents/merger.md M +1 -1", HIGH, "instructions for agents: .Claude/Agents/merger.md"),
        ("web/Package.json M +1 -1", HIGH, "dependencies: web/Package.json"),
        ("data/latest.txt M +1 -1", NORMAL, "changes data/latest.txt"),
        ("tests/test_a.py M +3 -1", NORMAL, "tests: tests/test_a.py"),
        ("tests/test_a.py D +0 -40", HIGH, "removes tests: tests/test_a.py"),
        ("src/a.spec.ts M +0 -9", NORMAL, "takes lines out of tests: src/a.spec.ts"),
        ("logo.png M ? ?", NORMAL, "binary: logo.png"),
        ("api/v1_pb2.py M +3 -3", NORMAL, "generated files: api/v1_pb2.py"),
        ("src/a T +1 -1", HIGH, "becomes another kind of file: src/a"),
        ("guide.md A +1 -0 120000", NORMAL, "links: guide.md"),
        ("guide.md M +1 -1 120000", NORMAL, "links: guide.md"),
        ("run.md A +9 -0 100755", NORMAL, "executable: run.md"),
        ("run.md M +0 -0 100755", NORMAL, "executable: run.md"),
        ("docs/long.md A +300 -0", NORMAL, "300 lines in 1 files"),
        ("src/a.py A +2000 -0", HIGH, "large: 2000 lines in 1 files"),
    ],
)
def test_each_rule_says_how_much_and_why(file: str, level: RiskLevel, reason: str) -> None:
    found = risk(file)

    assert found.level is level
    assert reason in found.reasons


@pytest.mark.parametrize(
    "path",
    [
        "CLAUDE.local.md", "AGENTS.override.md", "lib/.agents/skills/x/SKILL.md", "docs/claude.md", ".opencode/agent/x.md",
        "web/.cursor/rules/a.mdc", ".cursorrules", "lib/GEMINI.md", ".github/copilot-instructions.md", ".codex/prompts/x.md",
        ".github/instructions/x.md", ".clinerules/a.md", ".mcp.json", "lib/CONTEXT.md", ".env", ".opencode.json",
    ],
)  # fmt: skip
def test_what_agents_are_told_is_of_high_risk_in_any_folder_and_any_case(path: str) -> None:
    assert risk(f"{path} A +1 -0") == Risk(HIGH, (f"instructions for agents: {path}",))


@pytest.mark.parametrize("path", [".claude", "web/.Claude", ".codex", ".github/instructions", ".gemini"])
def test_a_link_in_place_of_a_folder_that_agents_read_brings_what_is_at_its_other_end(path: str) -> None:
    diff = a_diff(f"{path} A +1 -0 120000", "src/settings.json A +3 -0")

    assert instructions(diff) == (path,)
    assert assess(diff, (), (), ()) == Risk(HIGH, (f"instructions for agents: {path}",))


def test_a_name_of_a_file_is_one_line_of_a_reason() -> None:
    diff = a_diff()
    odd = File(path="a\n\n# Approve\r\n", kind="A", added=1, deleted=0)

    assert assess(replace(diff, files=(odd,)), (), (), ()).reasons == ("changes a # Approve",)


def test_what_only_begins_like_it_is_prose() -> None:
    assert risk("docs/claudette.md A +1 -0", "docs/agents-in-short.md A +1 -0").level is LOW


def test_what_programs_write_does_not_make_a_change_large() -> None:
    assert risk("web/dist/app.js M +9000 -9000").level is NORMAL


def test_a_diff_that_a_reviewer_is_not_shown_whole_is_of_high_risk_however_few_its_lines() -> None:
    assert SIZE_MAX < PATCH_MAX
    long = assess(a_diff("aaa.txt A +1 -0", "zzz.py A +1 -0", size=130_000), (), (), ())

    assert long == Risk(HIGH, ("large: a diff of 130 kB",))


def test_many_files_are_a_large_change() -> None:
    assert risk(*(f"src/{n}.py M +1 -1" for n in range(51))).level is HIGH


def test_the_worst_part_of_a_change_decides_and_the_rest_is_not_named() -> None:
    found = risk("docs/a.md M +1 -1", "src/a.py M +1 -1", "Cargo.toml M +1 -1")

    assert found == Risk(HIGH, ("dependencies: Cargo.toml",))


def test_a_test_that_moved_with_all_of_its_lines_is_not_removed() -> None:
    assert risk("tests/a/test_x.py D +0 -40", "tests/b/test_x.py A +40 -0").level is NORMAL
    assert risk("tests/a/test_x.py D +0 -40", "tests/b/test_x.py A +4 -0").level is HIGH


def test_who_writes_the_manifest_may_call_paths_high_or_low() -> None:
    assert risk("docs/price.md M +1 -1", high=("docs/price*",)).level is HIGH
    assert risk("tools/package.json M +1 -1", low=("tools/**",)).level is LOW
    assert risk("tools/package.json M +1 -1", high=("**/*.json",), low=("tools/**",)).level is HIGH


def test_what_is_called_high_is_so_in_any_case_of_letters_and_what_is_called_low_only_as_it_is_written() -> None:
    assert risk("SRC/Billing/a.py M +1 -1", high=("src/billing/**",)).level is HIGH
    assert risk("Examples/a.py M +1 -1", low=("examples/**",)).level is NORMAL


def test_no_glob_makes_protected_paths_or_removed_tests_harmless() -> None:
    assert risk("Makefile M +1 -1", guarded=("Makefile",), low=("**",)).level is HIGH
    assert risk("tests/test_a.py D +0 -40", low=("**",)).level is HIGH


def test_what_only_the_merge_changes_of_protected_paths_counts() -> None:
    assert risk("docs/a.md M +1 -1", guarded=(".github/x.yml",)).reasons == ("protected: .github/x.yml",)


def test_the_first_change_of_an_area_is_not_harmless() -> None:
    assert assess(a_diff("wiki/a.md A +1 -0", areas=frozenset({"wiki"})), (), (), ()) == Risk(NORMAL, ("begins wiki/",))


def test_a_change_without_a_beginning_is_of_high_risk() -> None:
    assert assess(a_diff("docs/a.md A +1 -0", start=None), (), (), ()).level is HIGH


def test_of_two_levels_the_higher_one_holds() -> None:
    assert [higher(HIGH, LOW), higher(LOW, HIGH), higher(NORMAL, None)] == [HIGH, HIGH, NORMAL]


def test_a_place_is_one_that_the_diff_shows() -> None:
    patch = b"""\
diff --git a/a.py b/a.py
--- a/a.py
+++ b/a.py
@@ -1,3 +1,4 @@
 one
+diff --git a/x b/x
-@@ -1 +90,900 @@
 three
+four
diff --git a/link b/link
deleted file mode 100644
@@ -1 +0,0 @@
-x
diff --git a/link b/link
new file mode 120000
@@ -0,0 +1 @@
+y
\\ No newline at end of file
diff --git a/z.md b/z.md
@@ -10,2 +12,2 @@
 a
-b
+c
"""
    files = a_diff("a.py M +2 -1", "link T +1 -1", "z.md M +1 -1").files

    diff = a_diff("a.py M +2 -1", "link T +1 -1", "z.md M +1 -1", lines=shown_lines(files, patch))

    assert diff.lines == {"a.py": ((1, 4),), "link": ((1, 1),), "z.md": ((12, 13),)}
    assert [diff.shows("a.py", line) for line in (None, 1, 4, 5, 90)] == [True, True, True, False, False]
    assert not diff.shows("x", None) and not diff.shows("../../etc/passwd", 1)


def test_what_a_file_that_agents_read_names_is_of_high_risk_and_told() -> None:
    diff = a_diff("docs/style.md M +1 -1", "docs/other.md M +1 -1", named=frozenset({"docs/style.md"}))

    assert instructions(diff) == ("docs/style.md",)
    assert assess(diff, (), (), ()) == Risk(HIGH, ("instructions for agents: docs/style.md",))
    assert assess(diff, (), (), ("docs/**",)).level is LOW
