"""The part of the one query that is about staging branches: where they stand, and the checks of the commits there. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from reconciler.forges.github import check_results
from reconciler.forges.github.pull_nodes import WITHHELD
from reconciler.model.names import Sha
from reconciler.model.observed import ForgeCheck


class StagedCommit(Struct, frozen=True, kw_only=True):
    """What GitHub shows of a commit that was pushed to a staging branch. `at`: where that branch stands; None: nowhere."""

    at: Sha | None = None
    checks: tuple[ForgeCheck, ...] = ()
    settled_at: datetime | None = None
    unseen: str = ""


def asked(staged: Mapping[Sha, str], contexts: str) -> list[str]:
    """What is asked about commits, each with its branch. `contexts`: what is asked about the checks of one."""
    return [
        f"stagedAt{n}: ref(qualifiedName: {json.dumps(f'refs/heads/{branch}')}) {{ target {{ oid }} }} "
        f"staged{n}: object(oid: {json.dumps(commit)}) {{ ... on Commit {{ id oid statusCheckRollup {{ {contexts} }} }} }}"
        for n, (commit, branch) in enumerate(staged.items())
    ]


def answered(staged: Mapping[Sha, str], about: Mapping[str, Any]) -> dict[Sha, tuple[Sha | None, dict[str, Any]]]:
    """What was answered of each commit: where its branch stands, and its node; an empty one where GitHub has none."""
    found = {}
    for n, commit in enumerate(staged):
        ref, node = about.get(f"stagedAt{n}") or {}, about.get(f"staged{n}") or {}
        at = (ref.get("target") or {}).get("oid")
        found[commit] = Sha(at) if at else None, node if node.get("oid") == commit else {}
    return found


def decoded(at: Sha | None, node: Mapping[str, Any], contexts: Sequence[Mapping[str, Any]]) -> StagedCommit:
    """A commit with its checks, those of all pages."""
    return StagedCommit(
        at=at,
        checks=check_results.results(contexts),
        settled_at=check_results.ends(contexts)[1],
        unseen=str(node.get(WITHHELD) or ""),
    )
