"""REST on a repository itself: its rules, its refs, and what is reported of its commits."""

from __future__ import annotations

from github import rest_shapes
from github.bare import NOBODY, Refused
from github.records import NOT_YOURS, CheckRun, Problem
from github.rest_api import Reply, Routes, Visit, not_found

routes = Routes()


@routes("GET", "")
def _repository(visit: Visit) -> Reply:
    return 200, rest_shapes.repository(visit.hub.url, visit.repository)


@routes("GET", "/rules/branches/{branch+}")
def _rules(visit: Visit) -> Reply:
    return 200, visit.call.page(rest_shapes.rules(visit.repository, visit.at["branch"]))


@routes("GET", "/branches/{branch+}/protection")
def _protection(visit: Visit) -> Reply:
    if visit.repository.permission != "ADMIN":
        raise not_found()  # only who administers it may see the rules
    rules = visit.repository.rules.get(visit.at["branch"])
    if rules is None or not rules.classic:
        raise Problem("Branch not protected", status=404)
    return 200, rest_shapes.protection(rules)


@routes("GET", "/branches/{branch+}")
def _branch(visit: Visit) -> Reply:
    name, heads = visit.at["branch"], visit.repository.bare.heads()
    if name not in heads:
        raise Problem("Branch not found", status=404)
    return 200, {
        "name": name,
        "commit": {"sha": heads[name]},
        **rest_shapes.protected(visit.repository.rules.get(name)),
    }


@routes("GET", "/git/ref/{ref+}")
def _ref(visit: Visit) -> Reply:
    name = f"refs/{visit.at['ref']}"
    sha = visit.repository.bare.resolve(name)
    if sha is None:
        raise not_found()
    return 200, {"ref": name, "object": {"type": "commit", "sha": sha}}


@routes("POST", "/git/refs")
def _make_ref(visit: Visit) -> Reply:
    visit.writer()
    name, sha = str(visit.call.body["ref"]), str(visit.call.body["sha"])
    if visit.repository.bare.resolve(sha) is None:
        raise Problem("Object does not exist")
    try:
        visit.repository.bare.update(name, sha, NOBODY)
    except Refused as refused:
        raise Problem("Reference already exists") from refused
    return 201, {"ref": name, "object": {"type": "commit", "sha": sha}}


@routes("PATCH", "/git/refs/{ref+}")
def _move_ref(visit: Visit) -> Reply:
    visit.writer()
    bare, name, new = visit.repository.bare, f"refs/{visit.at['ref']}", str(visit.call.body["sha"])
    old, branch = bare.resolve(name), visit.at["ref"].removeprefix("heads/")
    if old is None:
        raise Problem("Reference does not exist")
    if bare.resolve(new) is None:
        raise Problem("Object does not exist")
    if not visit.call.body.get("force") and not bare.contains(new, old):
        raise Problem("Update is not a fast forward")
    if why := visit.repository.refused_push(branch, new):
        raise Problem(why)
    bare.update(name, new, old)
    visit.repository.look()
    return 200, {"ref": name, "object": {"type": "commit", "sha": new}}


@routes("DELETE", "/git/refs/{ref+}")
def _delete_ref(visit: Visit) -> Reply:
    visit.writer()
    visit.repository.delete_branch(visit.at["ref"].removeprefix("heads/"))
    return 204, None


@routes("GET", "/compare/{between+}")
def _compare(visit: Visit) -> Reply:
    bare = visit.repository.bare
    start, end = (bare.resolve(name) for name in visit.at["between"].split("...", 1))
    if start is None or end is None:
        raise not_found()
    ahead, behind = len(bare.between(start, end)), len(bare.between(end, start))
    status = "diverged" if ahead and behind else "ahead" if ahead else "behind" if behind else "identical"
    return 200, {"status": status, "ahead_by": ahead, "behind_by": behind, "total_commits": ahead}


@routes("GET", "/commits/{sha+}/check-runs")
def _checks(visit: Visit) -> Reply:
    _readable(visit, "checks")
    runs = [report for report in visit.repository.shown(_commit(visit)) if isinstance(report, CheckRun)]
    return 200, {"total_count": len(runs), "check_runs": [rest_shapes.check(run) for run in visit.call.page(runs)]}


@routes("POST", "/check-runs")
def _check(visit: Visit) -> Reply:
    asked, who = visit.call.body, visit.hub.account(visit.writer())
    if who.kind != "Bot":
        raise Problem("You must authenticate via a GitHub App.", status=403)
    made = visit.repository.check(
        str(asked["head_sha"]), str(asked["name"]), asked.get("conclusion"), status=asked.get("status"), again=True
    )
    return 201, rest_shapes.check(made)


@routes("POST", "/actions/runs/{run}/rerun-failed-jobs")
def _rerun(visit: Visit) -> Reply:
    visit.writer()
    visit.repository.rerun(int(visit.at["run"]))
    return 201, {}


@routes("GET", "/commits/{sha+}/statuses")
def _statuses(visit: Visit) -> Reply:
    _readable(visit, "statuses")
    sha = _commit(visit)
    found = [status for status in reversed(visit.repository.statuses) if status.commit == sha]
    return 200, [rest_shapes.status(each) for each in visit.call.page(found)]


@routes("GET", "/commits/{sha+}/status")
def _combined(visit: Visit) -> Reply:
    _readable(visit, "statuses")
    return 200, rest_shapes.combined(visit.repository, _commit(visit))


@routes("POST", "/statuses/{sha}")
def _status(visit: Visit) -> Reply:
    who, sha, asked = visit.writer(), visit.at["sha"], visit.call.body
    if visit.repository.bare.resolve(sha) is None:
        raise Problem(f"No commit found for SHA: {sha}")
    made = visit.repository.status(
        sha, str(asked.get("context", "default")), str(asked["state"]), by=who,
        description=str(asked.get("description") or ""),
    )  # fmt: skip
    return 201, rest_shapes.status(made)


def _readable(visit: Visit, kind: str) -> None:
    if kind in visit.repository.hidden:
        raise Problem(NOT_YOURS, status=403)


def _commit(visit: Visit) -> str:
    sha = visit.repository.bare.resolve(visit.at["sha"])
    if sha is None:
        raise Problem(f"No commit found for SHA: {visit.at['sha']}")
    return sha
