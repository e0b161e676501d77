"""Nothing that an agent can write into a repository is run by us: each way in which plain git would run it, tried for real."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gitrepo
import pytest

from reconciler.model.desired import EpicSpec, WorktreeSpec
from reconciler.model.errors import PermanentError, ReconcileError
from reconciler.model.names import TaskId
from reconciler.model.venue import Venue
from reconciler.workspaces import GitWorkspaces

HOOKS = (
    "post-checkout",
    "reference-transaction",
    "pre-commit",
    "post-commit",
    "prepare-commit-msg",
    "post-index-change",
    "post-rewrite",
    "pre-auto-gc",
    "fsmonitor-watchman",
)
AGENT = TaskId("x-1")
OTHER = TaskId("x-2")
SPARSE = TaskId("x-3")


@dataclass(frozen=True)
class Scene:
    """A repository with the worktree of an agent, and a program that leaves a trace when anybody runs it."""

    repo: gitrepo.GitRepo
    work: Path
    program: Path
    trace: Path
    root: str

    def config(self, *pairs: tuple[str, str]) -> None:
        for key, value in pairs:
            self.repo.git("config", "--file", str(self.repo.common / "config"), key, value)

    def in_worktree(self, *args: str) -> None:
        self.repo.git(*args, cwd=self.work, ok=False)

    def hooks_in(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        for name in HOOKS:
            shutil.copy(self.program, folder / name)


@pytest.fixture
def scene(tmp_path):
    repo = gitrepo.make(tmp_path, files={"README": "hello\n", "src/a.c": "a\n", ".gitattributes": "*.c text\n"})
    root = str(tmp_path / "worktrees")
    work = Path(GitWorkspaces(repo.seam()).create(AGENT, a_spec(repo, root), repo.head()).path)
    repo.commit({"src/a.c": "work\n"}, where=work)
    repo.write({"README": "dirt\n", "new": "new\n"}, where=work)
    trace, program = tmp_path / "trace", tmp_path / "program"
    # It also behaves like a filter, so that git goes on after it.
    program.write_text(f"#!/bin/sh\necho \"$0 $*\" >>'{trace}'\ncat\n")
    program.chmod(0o755)
    return Scene(repo, work, program, trace, root)


def a_spec(repo, root, **worktrees):
    return EpicSpec(name="demo", repository=str(repo.path), worktrees=WorktreeSpec(root=root, **worktrees))


# --- what an agent plants, and the plain git command that would run it ---


def fsmonitor(scene):
    scene.config(("core.fsmonitor", str(scene.program)))


def hooks(scene):
    scene.hooks_in(scene.repo.common / "hooks")


def hooks_elsewhere(scene):
    scene.hooks_in(scene.work / "hooks")
    scene.config(("core.hooksPath", str(scene.work / "hooks")))


def a_filter(scene):
    program = str(scene.program)
    scene.config(("filter.x.clean", program), ("filter.x.smudge", program), ("filter.x.required", "true"))
    (scene.work / ".gitattributes").write_text("* filter=x\n")


def a_committed_filter(scene):
    a_filter(scene)
    scene.in_worktree("-c", "filter.x.clean=cat", "commit", "--quiet", "-m", "attributes", ".gitattributes")
    scene.trace.unlink(missing_ok=True)


def a_filter_process(scene):
    scene.config(("filter.x.process", str(scene.program)))
    (scene.work / ".gitattributes").write_text("* filter=x\n")


def a_filter_by_info_attributes(scene):
    scene.config(("filter.x.clean", str(scene.program)), ("filter.x.smudge", str(scene.program)))
    scene.repo.write({"info/attributes": "* filter=x\n"}, where=scene.repo.common)


def a_filter_by_attributes_file(scene):
    scene.config(("filter.x.clean", str(scene.program)), ("core.attributesFile", str(scene.work / "attributes")))
    (scene.work / "attributes").write_text("* filter=x\n")


def external_diff(scene):
    scene.config(("diff.external", str(scene.program)))


def textconv(scene):
    scene.config(("diff.x.textconv", str(scene.program)))
    (scene.work / ".gitattributes").write_text("* diff=x\n")


def merge_driver(scene):
    scene.config(("merge.x.driver", f"{scene.program} %O %A %B"), ("merge.default", "x"))
    (scene.work / ".gitattributes").write_text("* merge=x\n")
    scene.repo.commit({"src/a.c": "on main\n"})


def an_alias(scene):
    for name in ("worktree", "update-ref", "for-each-ref", "zzz"):
        scene.config((f"alias.{name}", f"!{scene.program}"))


def an_included_file(scene):
    scene.repo.write({"evil": f"[core]\n\tfsmonitor = {scene.program}\n"}, where=scene.work)
    scene.config(("include.path", str(scene.work / "evil")))


def a_file_included_by_condition(scene):
    scene.repo.write({"evil": f"[core]\n\tfsmonitor = {scene.program}\n"}, where=scene.work)
    scene.config((f"includeIf.gitdir:{scene.repo.common}/**.path", str(scene.work / "evil")))


def an_editor(scene):
    scene.config(("core.editor", str(scene.program)), ("sequence.editor", str(scene.program)))
    scene.config(("core.pager", str(scene.program)), ("pager.worktree", str(scene.program)))


def a_credential_helper(scene):
    scene.config(("credential.helper", f"!{scene.program}"), ("core.askPass", str(scene.program)))


def a_signing_program(scene):
    scene.config(("gpg.program", str(scene.program)), ("commit.gpgSign", "true"), ("log.showSignature", "true"))


def a_gitfile_to_a_git_dir_of_its_own(scene):
    scene.repo.git("init", "--quiet", "--separate-git-dir", str(scene.work / "mine"), str(scene.work / "tmp"))
    scene.repo.git("config", "--file", str(scene.work / "mine/config"), "core.fsmonitor", str(scene.program))
    scene.hooks_in(scene.work / "mine/hooks")
    shutil.rmtree(scene.work / "tmp")
    (scene.work / ".git").write_text(f"gitdir: {scene.work}/mine\n")


def a_git_dir_instead_of_the_gitfile(scene):
    (scene.work / ".git").unlink()
    scene.repo.git("init", "--quiet", cwd=scene.work)
    scene.repo.git("config", "core.fsmonitor", str(scene.program), cwd=scene.work)
    scene.hooks_in(scene.work / ".git/hooks")


def worktree_config(scene):
    scene.config(("extensions.worktreeConfig", "true"))
    for folder in (scene.repo.common, scene.repo.common / "worktrees/x-1"):
        scene.repo.git("config", "--file", str(folder / "config.worktree"), "core.fsmonitor", str(scene.program))


def another_common_dir(scene):
    evil = scene.work.parent.parent / "evil"
    shutil.copytree(scene.repo.common, evil)
    scene.repo.git("config", "--file", str(evil / "config"), "core.fsmonitor", str(scene.program))
    scene.hooks_in(evil / "hooks")
    (scene.repo.common / "worktrees/x-1/commondir").write_text(f"{evil}\n")


def a_repository_inside(scene):
    inner = gitrepo.make(scene.work, name="lib")
    inner.git("config", "core.fsmonitor", str(scene.program))
    inner.git("config", "filter.x.clean", str(scene.program))
    inner.write({"README": "changed\n", ".gitattributes": "* filter=x\n"})
    scene.hooks_in(inner.common / "hooks")
    scene.in_worktree("-c", "core.hooksPath=/dev/null", "add", "lib")
    scene.in_worktree("-c", "core.hooksPath=/dev/null", "commit", "--quiet", "-m", "lib")
    scene.trace.unlink(missing_ok=True)


def a_promisor(scene):
    """A commit is taken away and the repository says that its remote has it."""
    scene.program.write_text(f"#!/bin/sh\necho \"$0 $*\" >>'{scene.trace}'\nexit 1\n")
    lost = scene.repo.head("agent/x-1")
    scene.repo.git("update-ref", "refs/heads/agent/x-9", scene.repo.branch("tmp", {"z": "z\n"}, start=lost))
    (scene.repo.common / "objects" / lost[:2] / lost[2:]).unlink()
    scene.config(("core.repositoryFormatVersion", "1"), ("extensions.partialClone", "origin"))
    scene.config(("remote.origin.promisor", "true"), ("remote.origin.url", "ssh://localhost:1/x"))
    scene.config(("core.sshCommand", str(scene.program)))


def a_promisor_that_is_a_program(scene):
    a_promisor(scene)
    scene.config(("remote.origin.url", f"ext::{scene.program}"), ("protocol.ext.allow", "always"))
    scene.config(("protocol.allow", "always"))


def a_promisor_by_upload_pack(scene):
    a_promisor(scene)
    scene.config(("remote.origin.url", str(scene.repo.path)), ("remote.origin.uploadpack", str(scene.program)))


def status(scene):
    scene.in_worktree("status")


def a_ref(scene):
    scene.in_worktree("branch", "zzz")


def add(scene):
    scene.in_worktree("add", "README")


def diff(scene):
    scene.in_worktree("diff")


def merge(scene):
    scene.in_worktree("checkout", "--quiet", "--force", "--", "README")
    scene.in_worktree("merge", "main")


def an_alias_used(scene):
    scene.in_worktree("zzz")


def commit(scene):
    scene.in_worktree("commit", "--all")


def commit_with_message(scene):
    scene.in_worktree("commit", "--all", "-m", "work")


def credential(scene):
    asked = b"protocol=https\nhost=localhost\n\n"
    argv = ["git", "credential", "fill"]
    subprocess.run(argv, input=asked, cwd=scene.work, env=scene.repo.environ, capture_output=True, check=False)


def read_what_is_gone(scene):
    scene.in_worktree("rev-list", "agent/x-9")


@dataclass(frozen=True)
class Payload:
    """`whole`: the repository still works, so everything of ours must be done in spite of it."""

    plant: Callable[[Scene], None]
    trigger: Callable[[Scene], None]
    whole: bool = True


PAYLOADS = [
    Payload(fsmonitor, status),
    Payload(hooks, a_ref),
    Payload(hooks_elsewhere, a_ref),
    Payload(a_filter, add),
    Payload(a_committed_filter, add),
    Payload(a_filter_process, add),
    Payload(a_filter_by_info_attributes, add),
    Payload(a_filter_by_attributes_file, add),
    Payload(external_diff, diff),
    Payload(textconv, diff),
    Payload(merge_driver, merge),
    Payload(an_alias, an_alias_used),
    Payload(an_included_file, status),
    Payload(a_file_included_by_condition, status),
    Payload(an_editor, commit),
    Payload(a_credential_helper, credential),
    Payload(a_signing_program, commit_with_message),
    Payload(a_gitfile_to_a_git_dir_of_its_own, status),
    Payload(a_git_dir_instead_of_the_gitfile, status),
    Payload(worktree_config, status),
    Payload(another_common_dir, status),
    Payload(a_repository_inside, status),
    Payload(a_promisor, read_what_is_gone, whole=False),
    Payload(a_promisor_that_is_a_program, read_what_is_gone, whole=False),
    Payload(a_promisor_by_upload_pack, read_what_is_gone, whole=False),
]
NESTED = (a_git_dir_instead_of_the_gitfile, a_repository_inside)
each_payload = pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.plant.__name__)


@each_payload
def test_plain_git_runs_what_was_planted(scene, payload):
    payload.plant(scene)
    assert not scene.trace.exists()

    payload.trigger(scene)

    assert scene.trace.exists()


@each_payload
def test_nothing_that_was_planted_runs_in_us(scene, payload):
    payload.plant(scene)

    failures = everything(scene)

    assert not scene.trace.exists(), scene.trace.read_text()
    if payload.plant in NESTED:
        assert [step for step, _ in failures] == ["remove x-1", "delete x-1"]
        assert isinstance(failures[0][1], PermanentError) and "NestedRepository" in str(failures[0][1])
    elif payload.whole:
        assert failures == []
        assert scene.repo.git("cat-file", "-p", "restored/x-1-1:README", cwd=scene.repo.path) == "dirt"
        assert not scene.work.exists()


def everything(scene):
    """Do all that a worktree can be asked for; the steps that were refused, with why."""
    repo, root = scene.repo, scene.root
    spaces = GitWorkspaces(repo.seam())
    base = repo.refs("refs/heads/main")["refs/heads/main"]
    head = repo.refs("refs/heads/agent/x-1")["refs/heads/agent/x-1"]
    whole, narrow = a_spec(repo, root), a_spec(repo, root, sparse=("src",))
    steps = {
        "observe": lambda: (
            spaces.worktrees(Venue(root=root), [AGENT]),
            spaces.check_worktrees(Venue(root=root)),
            spaces.salvages(),
        ),
        "measure": lambda: spaces.branches(base),
        "count ignored": lambda: spaces.ignored(AGENT, Venue(root=root)),
        "salvage": lambda: spaces.salvage(AGENT, Venue(root=root)),
        "create x-2": lambda: spaces.create(OTHER, whole, head),
        "create x-2 again": lambda: spaces.create(OTHER, whole, head),
        "create x-3": lambda: spaces.create(SPARSE, narrow, head),
        "check": lambda: spaces.create_check("abc", Venue(root=root), head),
        "check again": lambda: spaces.create_check("abc", Venue(root=root), head),
        "remove check": lambda: spaces.remove_check("abc", Venue(root=root)),
        "remove x-2": lambda: spaces.remove(OTHER, Venue(root=root)),
        "remove x-3": lambda: spaces.remove(SPARSE, Venue(root=root)),
        "delete x-2": lambda: spaces.delete_branch(OTHER, head),
        "restore": lambda: spaces.restore(AGENT),
        "remove x-1": lambda: spaces.remove(AGENT, Venue(root=root)),
        "delete x-1": lambda: spaces.delete_branch(AGENT, head),
        "forget": lambda: [spaces.drop_salvage(salvage) for salvage in spaces.salvages()],
    }
    failures = []
    for name, step in steps.items():
        try:
            step()
        except ReconcileError as error:
            failures.append((name, error))
    return failures
