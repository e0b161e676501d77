"""What of a branch is offered on GitHub: all of it but what it did to `.beads/`, which is the tracker's.

GitHub merges a branch as it is, so that is taken back by a commit on top of it. Made again of the same branch it is the
same commit.
"""

from __future__ import annotations

from reconciler.git import objects
from reconciler.git.commands import Git
from reconciler.git.identity import identity
from reconciler.git.tree_entries import BEADS
from reconciler.landing import signature
from reconciler.landing.merge_tree import MergeTrees
from reconciler.landing.signature import Signature
from reconciler.model.names import Sha, TaskId

_TEXT = "Leave .beads/ to the tracker\n\nReconcile-Task: {task}\n"


def offered(git: Git, benches: MergeTrees, task: TaskId, base: Sha, head: Sha) -> Sha:
    """The head itself, or a commit on top of it that has `.beads/` as it was where the branch left `base`."""
    parted = git.objects("merge-base", base, head, ok=(0, 1)).text.strip()
    if not parted or git.objects("diff-tree", "--quiet", parted, head, "--", BEADS, ok=(0, 1)).code == 0:
        return head
    with benches.at(base, quarantined=False) as bench:
        tree = bench.with_beads_of(Sha(parted), bench.tree(head))
    (last,) = objects.commits(git, head)
    by = Signature(*identity(git), signature.parse(last.committer).date).line
    return objects.write_commit(git, tree, (head,), author=by, committer=by, text=_TEXT.format(task=task))
