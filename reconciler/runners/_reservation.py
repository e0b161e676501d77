"""The reservation of a run elsewhere: its task's ref, swapped to it, and the script that an engine has run for it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path

from reconciler.git.run_reports import Reported
from reconciler.git.task_refs import TaskRefs
from reconciler.model.errors import ChangedError
from reconciler.model.names import RUN_REFS, RunKind, Sha, branch_of, remote_key
from reconciler.model.ports import RunSpec
from reconciler.model.values import replace
from reconciler.runners import _records as records
from reconciler.runners import courier, supervisor
from reconciler.runners._work import WorkKeeper

FINAL_S = 60.0


class Reservation:
    """One run that is to be elsewhere; `nonce` tells it from all others of its task.

    `seal`: a secret that its node alone is given, by the engine: whoever else may push to the remote can't write its ending.
    """

    def __init__(self, work: WorkKeeper, spec: RunSpec, nonce: str, seal: str) -> None:
        self._work, self._spec, self._nonce, self._seal = work, spec, nonce, seal

    def made(self, last: Reported | None, refs: TaskRefs, lock: int) -> Reported:
        """Swap the ref of the task from what it reported last. A git that outlives us holds `lock`.

        Raises ChangedError where somebody else was first, or its branch is gone.
        """
        spec, key = self._spec, remote_key(self._spec.id, self._work.us)
        head = self._work.base(branch_of(spec.task)) if self._works else spec.commit
        if head is None:
            raise ChangedError(f"{branch_of(spec.task)} vanished" if self._works else f"{spec.id} is of no commit")
        wip = last.wip if last and last.wip and last.head == head else None
        if last and last.wip and not wip:  # the branch went on without it
            refs.bring(RUN_REFS + key, last.at)
            wip = refs.carried(last.head, last.wip, head)
            if wip is None:
                self._work.keep(spec.task, last.wip)
        made = Reported(
            task=key,
            at=Sha(""),
            phase="reserved",
            n=spec.id.n,
            nonce=self._nonce,
            by=self._work.us,
            head=head,
            wip=wip,
            branch_at=head,
            manifest=spec.manifest,
        )
        bases = [sha for sha in self._bases().values() if sha != head]
        commit = refs.made(made.record, [wip or head, *bases])
        refs.swap(RUN_REFS + key, last.at if last else None, commit, lock)
        return replace(made, at=commit)

    def script(self, reserved: Reported) -> str:
        """What a node runs, a program in Python with all that it needs; `reserved`: what `made` gave."""
        spec, key, works = self._spec, remote_key(self._spec.id, self._work.us), self._works
        folder = self._work.run_folder(spec.at, key, spec.id.n)
        given = {
            **(self._work.identity() if works else {}),
            **spec.env,
            "RECONCILE_RUN": str(spec.id),
            supervisor.MARKER: folder,
            **({"RECONCILE_SAYS": f"{folder}/says.json"} if works else {}),
            **({"RECONCILE_PROMPT": f"{folder}/prompt"} if spec.prompt else {}),
        }
        sent = {
            "task": key,
            "n": spec.id.n,
            "nonce": reserved.nonce,
            "by": reserved.by,
            "manifest": spec.manifest,
            "branch_at": reserved.branch_at,
            "expect": reserved.at,
            "ref": RUN_REFS + key,
            "branch": branch_of(spec.task) if works else "",
            "seal": self._seal,
            "bases": self._bases(),
            "remote": spec.at.remote,
            "root": f"{spec.at.scratch}/{self._work.us}",
            "tree": self._work.tree_path(spec.at, key, spec.id.n),
            "folder": folder,
            "sync_s": spec.at.sync_s,
            "lease_s": spec.at.lease_s,
            "final_s": FINAL_S,
            "run": records.of_spec(spec, "tmp" if spec.id.kind is RunKind.CHECK else ""),
            "prompt": spec.prompt,
            "env": given,
            "supervisor": base64.b64encode(Path(supervisor.__file__).read_bytes()).decode(),
        }
        text = Path(courier.__file__).read_text("utf-8")
        return f"#!/usr/bin/env python3\n{text}\n\nmain(json.loads({json.dumps(sent)!r}))\n"

    @property
    def _works(self) -> bool:
        """True where what it makes is to be saved: a check makes nothing."""
        return self._spec.id.kind is RunKind.WORK

    def _bases(self) -> Mapping[str, Sha]:
        """The base that an agent merges or compares with, by its name."""
        name = self._spec.env.get("RECONCILE_BASE", "")
        sha = (self._work.base(name) if name else None) or self._spec.base_tip
        return {name: sha} if name and sha else {}
