"""An agent that fills in the submodules of its worktree: what is there is never removed by us, and keeps nobody waiting."""

from __future__ import annotations

from pathlib import Path

from strangers import Place


def test_a_worktree_with_submodules_is_kept_and_said_with_a_way_out_and_all_else_is_done(tmp_path: Path) -> None:
    place = Place(tmp_path)
    allow = ("-c", "protocol.file.allow=always")
    place.git("init", "--quiet", "--initial-branch=main", str(tmp_path / "lib"))
    here = {"cwd": tmp_path / "lib"}
    place.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "-m", "lib", **here)
    place.git(*allow, "submodule", "--quiet", "add", str(tmp_path / "lib"), "lib")
    place.git("commit", "--quiet", "--message=Library")
    work = "git -c protocol.file.allow=always submodule update --init -q; echo x > x; git add x; git commit -qm x"
    manifest = place.manifest(tasks=[{"key": "a", "title": "Do a"}], agent={"argv": ["sh", "-c", work]})

    place.reconcile("watch", "--until-done", "-f", str(manifest))

    task = place.json("status")["epics"][0]["tasks"][0]
    tree = tmp_path / "worktrees" / task["id"]
    way_out = f"git worktree remove --force {tree}"
    assert (task["waiting"]["reason"], task["status"]) == ("NestedRepository", "closed")
    for command in (("status",), ("prune", "--dry-run"), ("prune",)):
        said = place.reconcile(*command)
        assert way_out in said and "would remove" not in said, command
    assert tree.is_dir()

    place.git(*way_out.split()[1:])
    place.reconcile("watch", "--until-done")
    assert place.leftovers() == []
