"""What a head brings to a base, as git tells it."""

import json

import gitrepo

from reconciler.landing.changes import CommitChanges


def test_the_kind_the_mode_and_the_lines_of_every_file_are_told(tmp_path):
    repo = gitrepo.make(tmp_path, files={"gone.md": "1\n", "plain.md": "1\n", "run.md": "1\n", "turns": "1\n"})
    base = repo.head()
    for name in ("gone.md", "turns"):
        (repo.path / name).unlink()
    (repo.path / "guide.md").symlink_to("plain.md")
    (repo.path / "turns").symlink_to("plain.md")
    (repo.path / "run.md").chmod(0o755)
    head = repo.commit({"plain.md": "1\n2\n", "a\tb.md": "1\n", "binary": b"\0"})

    diff = CommitChanges(repo.seam()).diff(base, head)

    assert [(f.path, f.kind, f.mode, f.added, f.deleted) for f in diff.files] == [
        ("a\tb.md", "A", "100644", 1, 0),
        ("binary", "A", "100644", None, None),
        ("gone.md", "D", "100644", 0, 1),
        ("guide.md", "A", "120000", 1, 0),
        ("plain.md", "M", "100644", 1, 0),
        ("run.md", "M", "100755", 0, 0),
        ("turns", "T", "120000", 1, 1),
    ]
    assert [f.path for f in diff.files if f.link] == ["guide.md", "turns"]


def test_the_size_of_a_diff_is_that_of_its_text_however_few_its_lines(tmp_path):
    repo = gitrepo.make(tmp_path)
    base = repo.head()

    assert CommitChanges(repo.seam()).diff(base, repo.commit({"long": "x" * 130_000})).size > 130_000


def test_what_a_file_that_agents_read_imports_links_to_or_runs_is_named(tmp_path):
    hook = {"hooks": {"Stop": [{"hooks": [{"command": 'sh "$CLAUDE_PROJECT_DIR"/tools/hook.sh'}]}]}}
    files = {
        "CLAUDE.md": "Mind @docs/Style.md, and what @docs/not-there.md says. Look at src/words.py.\n",
        "docs/Style.md": "And @deeper.md.\n",
        "docs/deeper.md": "x\n",
        "web/AGENTS.md": "@rules.txt\n",
        ".claude/settings.json": json.dumps({**hook, "permissions": {"allow": ["Edit(src/**)"]}}),
        ".mcp.json": '{"mcpServers": {"x": {"command": "python3", "args": ["./tools/server.py"]}}}',
        "opencode.json": '{"instructions": ["guides/*.md"]}',
        "common/agents.md": "As @told.md says.\n",
        "kit/settings.json": "{}",
    }
    repo = gitrepo.make(tmp_path, files=files)
    (repo.path / "lib").mkdir()
    (repo.path / "lib" / "CLAUDE.md").symlink_to("../common/agents.md")
    (repo.path / "web" / ".claude").symlink_to("../kit")
    base = repo.commit({"a": "1\n"})
    told = {
        "docs/style.md", "docs/not-there.md", "docs/deeper.md", "web/rules.txt", "tools/hook.sh", "tools/server.py", "guides/a.md",
        "common/agents.md", "common/told.md", "lib/told.md", "kit/settings.json", "kit/hooks/x.sh",
    }  # fmt: skip
    others = {"src/words.py", "src/a.py", "docs/other.md", "guides/a.py", "kitchen/a.md"}

    diff = CommitChanges(repo.seam()).diff(base, repo.commit(dict.fromkeys(told | others, "changed\n")))

    assert {path.lower() for path in diff.named} == told
    assert CommitChanges(repo.seam()).diff(repo.commit({"b": "1\n"}), repo.commit({"src/c.py": "1\n"})).named == set()


def test_what_is_imported_by_a_link_is_named_by_where_it_leads_too(tmp_path):
    repo = gitrepo.make(
        tmp_path, files={"CLAUDE.md": "@guide/style.md @short @loop/a.md @out/a.md\n", "real/style.md": "@own.md\n"}
    )
    for name, to in {
        "guide": "real",
        "short": "notes/long.md",
        "loop": "loop",
        "out": "..",
        "real/own.md": "../own/x.md",
    }.items():
        (repo.path / name).symlink_to(to)
    base = repo.commit({"notes/long.md": "x\n", "own/x.md": "x\n"})
    told = {"real/style.md", "notes/long.md", "own/x.md"}

    diff = CommitChanges(repo.seam()).diff(base, repo.commit(dict.fromkeys((*told, "real/other.md"), "new\n")))

    assert diff.named == told
