"""What a head brings to a base, as git tells it."""

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
