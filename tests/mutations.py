"""Breaks the places that matter, one at a time, in a copy of the repository, and asks the tests whether they notice.

`python tests/mutations.py` prints a line for each; it ends with 1 when a break went unnoticed. README.md lists them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Break:
    """`old` becomes `new` in `file`; the tests in `noticed` must fail."""

    what: str
    file: str
    old: str
    new: str
    noticed: str


BREAKS = (
    Break(
        "a merge whose answer was lost is asked for again",
        "reconciler/forges/github/merge_requests.py",
        "            return self._read_back(attempt, lost)\n",
        "            self._notes.end(attempt.base)\n            raise\n",
        "tests/adapters/test_github_landing.py",
    ),
    Break(
        "what GitHub merged is not compared with what was judged",
        "reconciler/forges/github/landing.py",
        "        if tree != attempt.tree and not self._somebody_elses(attempt, commit):\n",
        "        if False:\n",
        "tests/adapters/test_github_landing.py",
    ),
    Break(
        "what GitHub tested without the base lands on it",
        "reconciler/planning/offer.py",
        "        return pull.lacks_base or (alone and not self.facts.candidate.is_head)\n",
        "        return pull.lacks_base\n",
        "tests/test_plans.py",
    ),
    Break(
        "what was red once sends an agent back",
        "reconciler/planning/forge_checks.py",
        "    if workflows and not others and ",
        "    if False and ",
        "tests/test_forge_checks.py",
    ),
    Break(
        "a branch that others build on is deleted under them",
        "reconciler/forges/github/openings.py",
        "            if not above:\n",
        "            if True:\n",
        "tests/adapters/test_github_forge.py",
    ),
    Break(
        "an agent clicks on the page",
        "reconciler/wiring.py",
        "    if any(processes.descends_from_a_carrier(RUN_MARKER, peer.pid) for peer in peers):\n",
        "    if False:\n",
        "tests/e2e/test_ui.py",
    ),
    Break(
        "who has ended, and was not waited for, clicks on the page",
        "reconciler/runners/_peers.py",
        " if pid in supervisor.parent_pids() else 0",
        "",
        "tests/e2e/test_ui.py",
    ),
    Break(
        "another page acts on this one",
        "reconciler/cli/ui/guard.py",
        'if method == "POST" and headers.get("origin") not in self.origins:',
        "if False:",
        "tests/e2e/test_ui.py",
    ),
    Break(
        "what was pushed since it was looked at is approved by a click",
        "reconciler/cli/people.py",
        "    if head is not None and pull.head != head:\n",
        "    if False:\n",
        "tests/e2e/test_ui.py",
    ),
    Break(
        "looks are published for nobody",
        "reconciler/system/published.py",
        "        return False\n\n    def write",
        "        return True\n\n    def write",
        "tests/test_published.py",
    ),
    Break(
        "the tracker's folder is offered with the branch",
        "reconciler/forges/github/offers.py",
        "    if not parted or ",
        "    if True or ",
        "tests/adapters/test_github_forge.py",
    ),
    Break(
        "an approval holds for what was put into a merge of the base",
        "reconciler/forges/github/updates.py",
        "if not isinstance(merged, Candidate) or merged.tree != commit.tree:",
        "if not isinstance(merged, Candidate):",
        "tests/adapters/test_github_forge.py",
    ),
    Break(
        "checks of another commit count",
        "reconciler/forges/github/pull.py",
        'found if (rollup.get("commit") or {}).get("oid") == node["headRefOid"] else []',
        "found",
        "tests/test_github_words.py",
    ),
    Break(
        "no check at all counts as green",
        "reconciler/planning/forge_checks.py",
        "    if policy.checks or policy.no_checks is NoChecks.ALLOW:\n",
        "    if True:\n",
        "tests/test_plans.py",
    ),
    Break(
        "a person's push to GitHub is overwritten",
        "reconciler/forges/github/branches.py",
        "            if not self._history.contains(head, there):\n",
        "            if False:\n",
        "tests/adapters/test_github_forge.py",
    ),
    Break(
        "a forge that does not answer has no pull requests",
        "reconciler/forges/github/look.py",
        "                raise self._silent(error) from error\n",
        "                return Seen()\n",
        "tests/adapters/test_github_forge.py",
    ),
    Break(
        "agents start beyond the bound",
        "reconciler/runners/local.py",
        "            if known.alive < most:\n",
        "            if known.alive < 1000:\n",
        "tests/processes/test_runner.py",
    ),
    Break(
        "a start believes its own count although somebody else took a slot",
        "reconciler/runners/local.py",
        "known.turn != gate.turn or ",
        "",
        "tests/processes/test_runner.py",
    ),
    Break(
        "runs that others start for an open task are not looked for",
        "reconciler/runners/_census.py",
        "self._folders.subjects(self._moving | self._open[2])",
        "self._folders.subjects(self._moving)",
        "tests/processes/test_runner.py",
    ),
    Break(
        "the record of a pull request is never read again",
        "reconciler/git/refs.py",
        "before and mark and before[0] == mark",
        "before and mark",
        "tests/adapters/test_remembered_refs.py",
    ),
    Break(
        "who has a branch checked out is not looked for again",
        "reconciler/git/worktrees.py",
        "admin, mark = entry.path, None if status is None else ((entry.path, *status),)",
        "admin, mark = entry.path, ((entry.path, 0, 0, 0, 0),)",
        "tests/adapters/test_remembered_refs.py",
    ),
    Break(
        "what was decided about a task is said again whatever was found of it since",
        "reconciler/planning/recall.py",
        "return job if beside is not None and task.id not in beside else None",
        "return job",
        "tests/test_recall.py",
    ),
    Break(
        "what is over is believed by the dates that anybody can set",
        "reconciler/runners/_past.py",
        "Stamp(found.st_ino, found.st_mtime_ns, found.st_ctime_ns)",
        "Stamp(0, found.st_mtime_ns, 0)",
        "tests/processes/test_past.py",
    ),
    Break(
        "a finished run leaves its folder while something holds its lock",
        "reconciler/runners/_archiving.py",
        "            free = [key for key in going if self._hold(key, held)]\n",
        "            free = [key for key in going if self._hold(key, held) or True]\n",
        "tests/processes/test_archive.py",
    ),
    Break(
        "what the archive does not hold is deleted too",
        "reconciler/runners/_archiving.py",
        "return kept is not None and kept.content == found.content",
        "return True",
        "tests/processes/test_archive.py",
    ),
    Break(
        "who gets a lock that was deleted meanwhile believes that it holds one",
        "reconciler/runners/_locks.py",
        "            if _stands(fd, path):\n",
        "            if True:\n",
        "tests/processes/test_archive.py",
    ),
    Break(
        "an archive that was changed by others is not read again",
        "reconciler/runners/_archive.py",
        "        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_dev\n",
        "        return 0, 0, found.st_mtime_ns, 0, 0\n",
        "tests/processes/test_archive.py",
    ),
    Break(
        "what is over is written down as it was seen, not as it is",
        "reconciler/runners/_census.py",
        "if as_run(record, RunVerdict(run.state, over=True), NOTHING, report, verdict=verdict) != run:",
        "if False:",
        "tests/processes/test_past.py",
    ),
    Break(
        "the end of a run wakes nobody",
        "reconciler/runners/supervisor.py",
        '                return wake(os.path.join(self._folder, "..", "..", ".."))\n',
        "                return None\n",
        "tests/processes/test_wakes.py",
    ),
    Break(
        "a base moves whatever it points to",
        "reconciler/landing/landing.py",
        "            old = self._judged_base(order)\n",
        "            old = self.local(order.base)\n",
        "tests/adapters/test_landing.py",
    ),
    Break(
        "red checks count as green",
        "reconciler/planning/check_state.py",
        "CheckState.PASSED if last.exit and last.exit.well else CheckState.FAILED",
        "CheckState.PASSED",
        "tests/invariants tests/test_plans.py",
    ),
    Break(
        "an approval holds for every later head",
        "reconciler/planning/offer.py",
        "pull.approved == pull.head or ",
        "pull.approved is not None or ",
        "tests/test_plans.py",
    ),
    Break(
        "a verdict of an older head counts",
        "reconciler/planning/reviews.py",
        "if (run.tree, run.base_tip) in about and run.judged == under",
        "if run.base_tip == diff.start and run.judged == under",
        "tests/test_plans.py",
    ),
    Break(
        "a reviewer's yes that we posted is taken for the user's",
        "reconciler/forges/github/pull.py",
        "        return self.mark is not None and (",
        "        return self.mark is None and (",
        "tests/adapters/test_github_reviews.py",
    ),
    Break(
        "a verdict whose answer was lost is posted twice",
        "reconciler/forges/github/postings.py",
        "        if not self._there(number, post.mark):\n",
        "        if True:\n",
        "tests/adapters/test_github_reviews.py",
    ),
    Break(
        "a reviewer lowers the risk",
        "reconciler/planning/risk.py",
        "    return other if other is not None and other.rank > one.rank else one\n",
        "    return other if other is not None else one\n",
        "tests/test_risk.py tests/test_plans.py",
    ),
    Break(
        "a review survives a changed policy",
        "reconciler/planning/reviews.py",
        " and run.judged == under and not",
        " and not",
        "tests/test_plans.py",
    ),
    Break(
        "what was not seen counts as absent",
        "reconciler/planning/actions/guards.py",
        "        if isinstance(source, Unknown):\n",
        "        if False and isinstance(source, Unknown):\n",
        "tests/invariants tests/test_plans.py",
    ),
    Break(
        "a worktree is removed without saving what is in it",
        "reconciler/workspaces/salvage.py",
        "if not lost and not self._dirty(work, taken, kept):",
        "if True:",
        "tests/adapters/test_salvage.py",
    ),
    Break(
        "a branch is deleted although the base lacks it",
        "reconciler/planning/actions/prune.py",
        "    return branch.in_base or job.merged_by_hand or (job.merged and here)\n",
        "    return True\n",
        "tests/invariants",
    ),
    Break(
        "what an agent wrote into git's config runs in us",
        "reconciler/git/commands.py",
        "in self.config() if _HARMLESS.fullmatch(key))",
        "in self.config())",
        "tests/adapters/test_hostile_repository.py",
    ),
    Break(
        "what was once read of the refs is never read again",
        "reconciler/git/commands.py",
        "before and mark is not None and before[0] == mark",
        "before",
        "tests/adapters/test_remembered_refs.py",
    ),
    Break(
        "a plan is kept although the world has changed",
        "reconciler/loop/loop.py",
        "return desired == self.desired and alike == self.observed",
        "return True",
        "tests/test_loop.py",
    ),
    Break(
        "what lands was judged on an older base",
        "reconciler/planning/planner.py",
        "if _shows_to_somebody(decision) and job.offer.outdated and job.base_head and job.open_pull",
        "if False",
        "tests/simulation/test_kills.py",
    ),
    Break(
        "what changed after nothing was to be saved is not saved",
        "reconciler/workspaces/salvage.py",
        "looks = (seen.digest, work, self._git.excludes)",
        "looks = (work, self._git.excludes)",
        "tests/adapters/test_salvage.py",
    ),
    Break(
        "a change is written whatever others wrote before",
        "reconciler/trackers/_records.py",
        "def _expect(task: Task, change: Change) -> None:\n",
        "def _expect(task: Task, change: Change) -> None:\n    return\n",
        "tests/adapters/test_tracker_contract.py",
    ),
    Break(
        "an agent that fails for ever is started for ever",
        "reconciler/planning/job.py",
        "return self.attempts.last.attempt + (1 if self.verdict and self.verdict.counts else 0)",
        "return self.attempts.last.attempt",
        "tests/test_plans.py",
    ),
    Break(
        "all conflicts of a base are repaired at once",
        "reconciler/planning/scheduling.py",
        "        if busy:\n",
        "        if False:\n",
        "tests/test_plans.py",
    ),
    Break(
        "a broken agent command is started again and again",
        "reconciler/planning/agent_gate.py",
        "if len(newest) < BREAKER_RUNS or",
        "if True or",
        "tests/test_plans.py",
    ),
    Break(
        "agents are started although the budget is spent",
        "reconciler/planning/budget.py",
        "if used >= most)",
        "if False)",
        "tests/test_plans.py",
    ),
    Break(
        "a usage limit uses up the attempts of every task",
        "reconciler/planning/run_results.py",
        "return RunResult(Reason.USAGE_LIMIT, message, counts=False, waits=report.retry_at is None)",
        "return RunResult(Reason.USAGE_LIMIT, message)",
        "tests/test_plans.py",
    ),
    Break(
        "what a person put off lands all the same",
        "reconciler/planning/actions/guards.py",
        "    if task.closed or job.blocked_by_its_agent:\n",
        "    if True:\n",
        "tests/test_plans.py",
    ),
    Break(
        "bd is run on a database of br",
        "reconciler/trackers/beads/program.py",
        "        if beside := made_by_br(self.beads):\n",
        "        if (beside := made_by_br(self.beads)) and False:\n",
        "tests/adapters/test_beads.py",
    ),
    Break(
        "what bd says that it wrote is believed",
        "reconciler/trackers/beads/writing.py",
        "pending = {id for id in pending if self._left(id, now.get(id))}",
        "pending = set()",
        "tests/adapters/test_beads.py",
    ),
    Break(
        "a bd that answers nothing has no tasks",
        "reconciler/trackers/beads/decoding.py",
        'raise Unreadable(_shortened(text) if text else "nothing") from error',
        "return []",
        "tests/adapters/test_beads.py",
    ),
    Break(
        "a controller whose program was replaced starts agents",
        "reconciler/planning/scheduling.py",
        "    if not observed.replaced:\n",
        "    if True:\n",
        "tests/test_plans.py",
    ),
    Break(
        "a program that is replaced under a watch is not noticed",
        "reconciler/system/lock.py",
        "        return program.content(package) != self.content\n",
        "        return False\n",
        "tests/e2e/test_upgrade.py",
    ),
    Break(
        "records of a newer program are read as our own",
        "reconciler/system/format.py",
        "    if found > FORMAT:\n",
        "    if False:\n",
        "tests/e2e/test_upgrade.py",
    ),
    Break(
        "an older watch finds no supervisor any more",
        "reconciler/shim.py",
        '"runners", "supervisor.py"',
        '"supervisor.py"',
        "tests/e2e/test_upgrade.py",
    ),
    Break(
        "a base moves before its checkouts go with it",
        "reconciler/landing/landing.py",
        "                for checkout in found:\n                    following.forward",
        "                self._move(intent, kept, lock)\n                for checkout in found:\n                    following.forward",
        "tests/adapters/test_landing_window.py",
    ),
    Break(
        "a checkout is brought forward without its index locked",
        "reconciler/landing/following.py",
        "        os.link(made, _lock_of(checkout))\n",
        "        pass\n",
        "tests/adapters/test_landing_window.py",
    ),
    Break(
        "what a killed landing wrote stays where its base never moved",
        "reconciler/landing/landing.py",
        "        elif began:\n",
        "        elif False:\n",
        "tests/adapters/test_landing_window.py",
    ),
    Break(
        "a file that git was killed amid is taken for somebody's",
        "reconciler/landing/following.py",
        "        if change.new and there.get(change.path) == change.old and _begun(seen, change):\n",
        "        if False:\n",
        "tests/adapters/test_landing.py",
    ),
    Break(
        "agents are blamed for what the base fails too",
        "reconciler/planning/job.py",
        "self.offer.check_state is CheckState.FAILED and self.offer.base_state is CheckState.PASSED\n",
        "self.offer.check_state is CheckState.FAILED\n",
        "tests/test_plans.py",
    ),
    Break(
        "what failed while the base was red is blamed once it is green",
        "reconciler/planning/offer.py",
        "        return bool(red and check.exit and passed and check.exit.at <= passed)\n",
        "        return False\n",
        "tests/test_plans.py",
    ),
    Break(
        "an agent that printed its final result and stays is waited for",
        "reconciler/planning/actions/stop_agent.py",
        "        if run.done_at and job.now - run.done_at >= guards.GRACE:\n",
        "        if False:\n",
        "tests/test_plans.py",
    ),
    Break(
        "who looks on does not hear what went wrong for who acts",
        "reconciler/loop/loop.py",
        "{**met.failures, **self._failures}",
        "dict(self._failures)",
        "tests/test_loop.py",
    ),
    Break(
        "what an ended watch met holds whoever comes next",
        "reconciler/model/observed/__init__.py",
        "        return found and Failure.joined(f for f in found.each if not f.left and not (since and since.at >= f.at))\n",
        "        return found\n",
        "tests/test_what_is_recalled.py",
    ),
    Break(
        "a copy of a repository takes the original's worktrees for its own",
        "reconciler/git/places.py",
        "    return owner if back and same_folder(back, place) else None\n",
        "    return None\n",
        "tests/adapters/test_whose_worktree.py",
    ),
    Break(
        "a damaged worktree is anybody's whose notes name it",
        "reconciler/git/places.py",
        '        return entry.admin is not None and content(f"{entry.admin}/{MADE}") == identity(entry.admin, place)\n',
        "        return entry.admin is not None\n",
        "tests/adapters/test_whose_worktree.py",
    ),
    Break(
        "a manifest that was recorded for the original is acted on in a copy",
        "reconciler/manifest/anchoring.py",
        "    if os.path.lexists(before):\n",
        "    if False:\n",
        "tests/e2e/test_copied_and_moved.py",
    ),
    Break(
        "the age of saved work is what the clock says",
        "reconciler/workspaces/ages.py",
        "        passed = min(max(now - last, timedelta()), MOST_AT_ONCE)\n",
        "        passed = now - last\n",
        "tests/adapters/test_salvage.py",
    ),
    Break(
        "what was saved is gone with its first month",
        "reconciler/workspaces/salvage.py",
        "            if not salvage.dropped:\n",
        "            if False:\n",
        "tests/adapters/test_salvage.py",
    ),
    Break(
        "a manifest that is recorded again lands where somebody is",
        "reconciler/manifest/resolving.py",
        'fields["base"] or located.bases.get(epic.metadata.name)',
        'fields["base"]',
        "tests/e2e/test_the_base.py",
    ),
    Break(
        "agents start on a base that is known to be old",
        "reconciler/planning/scheduling.py",
        "isinstance(base, Base) and base.fetched and ",
        "isinstance(base, Base) and False and ",
        "tests/test_plans.py",
    ),
    Break(
        "a left-over branch keeps its agent on an old commit",
        "reconciler/workspaces/branches.py",
        "            if refs[ref].head != base and self._within(base, refs[ref].head):\n",
        "            if False:\n",
        "tests/adapters/test_workspaces.py",
    ),
    Break(
        "retry does again what has landed",
        "reconciler/cli/people.py",
        "read_again = not reopen and _not_landed(site, found, out)",
        "read_again = False",
        "tests/e2e/test_retry.py",
    ),
    Break(
        "retry opens what was closed while it was typed",
        "reconciler/cli/people.py",
        "    if now.closed and not before.closed:\n",
        "    if False:\n",
        "tests/e2e/test_retry.py",
    ),
    Break(
        "a checkout is bare because an agent wrote so",
        "reconciler/git/repository.py",
        '    if repository.bare and common.name == ".git" and ',
        "    if False and ",
        "tests/adapters/test_repository.py",
    ),
    Break(
        "a file that an agent adds to a watched folder is recorded",
        "reconciler/manifest/recorded.py",
        "        if beside and not (named and spec.source in named):\n",
        "        if False:\n",
        "tests/test_loosening.py",
    ),
    Break(
        "a moved repository leaves the links of its worktrees as they are",
        "reconciler/wiring.py",
        "                self.workspaces.fix(at)\n",
        "                pass\n",
        "tests/e2e/test_copied_and_moved.py",
    ),
    Break(
        "the git dir of a submodule is its checkout",
        "reconciler/git/repository.py",
        "        if _leads_to(top, common):\n",
        "        if False:\n",
        "tests/adapters/test_repository.py",
    ),
    Break(
        "a checkout is where an agent wrote that it is",
        "reconciler/git/repository.py",
        "    return next((place for place in found if _leads_to(place, common)), None)\n",
        "    return next(found, None)\n",
        "tests/adapters/test_repository.py",
    ),
    Break(
        "what an agent committed off its branch is no commit",
        "reconciler/planning/actions/follow.py",
        "            and tree.went_on\n",
        "            and False\n",
        "tests/test_plans.py",
    ),
    Break(
        "any head in a worktree becomes the task's branch",
        "reconciler/workspaces/branches.py",
        "        return head != before and self._within(head, before)\n",
        "        return head != before\n",
        "tests/adapters/test_workspaces.py",
    ),
    Break(
        "a branch that git calls broken is one that was deleted",
        "reconciler/forges/local/pulls.py",
        "        found = (r for _, r in sorted(kept.items()) if not (r.open and heads.get(r.task) == _NOTHING))\n",
        "        found = (r for _, r in sorted(kept.items()))\n",
        "tests/adapters/test_damage.py",
    ),
    Break(
        "a record that can't be read is that of a task without one",
        "reconciler/planning/actions/guards.py",
        "    if job.damaged and not job.open_pull:\n",
        "    if False:\n",
        "tests/adapters/test_damage.py",
    ),
    Break(
        "what a collector took before its ref was there is gone",
        "reconciler/git/ref_cache.py",
        "        if self._copies and (found := restored(self._git, name, self._copies)):\n",
        "        if False:\n",
        "tests/adapters/test_damage.py",
    ),
    Break(
        "a tree that no checkout can hold is a candidate",
        "reconciler/landing/candidates.py",
        "    if unusable := next(filter(_nowhere, sorted(changed.paths)), None):\n",
        "    if unusable := None:\n",
        "tests/adapters/test_candidates.py",
    ),
    Break(
        "what stands in the index as it was before a landing is not looked for",
        "reconciler/landing/undone.py",
        "        found = self._staged(checkout, tip, landings) if state[0] else None\n",
        "        found = None\n",
        "tests/adapters/test_undone.py",
    ),
    Break(
        "what somebody may have meant is put right for him",
        "reconciler/landing/undone.py",
        "            return Undoing(tuple(found), beside and all(following.untouched(seen, change) for change in found))\n",
        "            return Undoing(tuple(found), True)\n",
        "tests/adapters/test_undone.py",
    ),
    Break(
        "what is labelled merged has landed",
        "reconciler/planning/remarks.py",
        "    if MERGED in task.labels and task.id in observed.runs and not landing and not elsewhere:\n",
        "    if False:\n",
        "tests/test_plans.py",
    ),
    Break(
        "what others write into a bead while we write is taken back",
        "reconciler/trackers/beads/writing.py",
        "        self.aims[id] = aim = _over(before or self.fresh[id], self.wanted[id], now, fresh=before is None)\n",
        "        self.aims[id] = aim = self.wanted[id]\n",
        "tests/adapters/test_beads.py",
    ),
    Break(
        "what others write into a database of Beads since the last look is not seen",
        "reconciler/trackers/beads/last_look.py",
        "        return self._mark == self._now()\n",
        "        return True\n",
        "tests/adapters/test_last_look.py",
    ),
    Break(
        "a mark of a database that was seen to lie is believed",
        "reconciler/trackers/beads/last_look.py",
        "        if self._mark is None or self._lied or",
        "        if self._mark is None or",
        "tests/adapters/test_last_look.py",
    ),
    Break(
        "what somebody else claimed is claimed over",
        "reconciler/trackers/beads/commands.py",
        '    return frozenset({"status", "assignee"}) if names & {"status", "assignee"} else frozenset()\n',
        "    return frozenset()\n",
        "tests/adapters/test_beads.py",
    ),
    Break(
        "what a person made it wait for lands behind it",
        "reconciler/planning/actions/hindrances.py",
        "    return _blocked(job) or _by_hand(job, pull) or",
        "    return _by_hand(job, pull) or",
        "tests/test_plans.py",
    ),
    Break(
        "a manifest that an agent rewrote is obeyed",
        "reconciler/manifest/recorded.py",
        "                wanted = spec if before is None or free else form.tightened(before, spec)\n",
        "                wanted = spec\n",
        "tests/test_loosening.py",
    ),
    Break(
        "nobody remembers that an agent ran since a manifest was applied",
        "reconciler/wiring.py",
        "            begins=recorded.distrust,\n",
        "",
        "tests/e2e/test_a_stranger.py",
    ),
    Break(
        "a manifest that an agent adds to a watched file is recorded",
        "reconciler/manifest/recorded.py",
        "        if any(each.source == spec.source for each in doubted):\n",
        "        if False:\n",
        "tests/test_loosening.py",
    ),
    Break(
        "the script that checks is changed without a person",
        "reconciler/manifest/resolving.py",
        "    return list(dict.fromkeys((*paths, *derived(commands, lambda path: (main / path).is_dir()))))\n",
        "    return paths\n",
        "tests/test_manifest.py",
    ),
    Break(
        "one red check is enough to send an agent again",
        "reconciler/planning/offer.py",
        "        return could and 0 < len(self.reds) <= self.facts.spec.merge.retries\n",
        "        return False\n",
        "tests/test_plans.py",
    ),
    Break(
        "more lands than the longest chain that has passed",
        "reconciler/planning/merge_queue.py",
        "    green = [found.line[:n] for n, proof",
        "    green = [found.line for n, proof",
        "tests/test_merge_queue.py",
    ),
    Break(
        "who failed is out of the line although a chain with it is under test",
        "reconciler/planning/merge_queue.py",
        "(not each.reds or each.task in tried)",
        "not each.reds",
        "tests/test_merge_queue.py",
    ),
    Break(
        "what a forge lands had passed only with others on top of it",
        "reconciler/planning/merge_queue.py",
        "    green = [chain for chain in green if bounds.together or len(chain) == 1]\n",
        "",
        "tests/test_merge_queue.py",
    ),
    Break(
        "while a forge merges, nothing is tested ahead",
        "reconciler/planning/merge_queue.py",
        "            tests.of_the_line(proofs)  # after its landing they are about the very same trees\n",
        "            pass\n",
        "tests/test_merge_queue.py",
    ),
    Break(
        "what is pushed to a base on GitHub is looked at for its topmost only",
        "reconciler/forges/github/landing.py",
        "            for each in order.whole:\n",
        "            for each in (order,):\n",
        "tests/adapters/test_github_landing_modes.py",
    ),
    Break(
        "what a merge queue merged is not compared",
        "reconciler/forges/github/queue.py",
        "                    self._compare(pull, pull.landed)\n",
        "",
        "tests/adapters/test_github_landing_modes.py",
    ),
    Break(
        "what failed once in a merge queue goes back to its agent",
        "reconciler/planning/job.py",
        "pull.queued_times > self.spec.merge.retries",
        "True",
        "tests/test_plans.py",
    ),
    Break(
        "of what lands together only the topmost head is looked at again",
        "reconciler/landing/landing.py",
        "            kept = [self._judged_pull(each) for each in order.whole]\n",
        "            kept = [self._judged_pull(order)]\n",
        "tests/adapters/test_landing_together.py",
    ),
    Break(
        "who stands on top is blamed for what those beneath have broken",
        "reconciler/planning/jobs.py",
        "        if run.below is None or passes(observed, spec, run.below)\n",
        "",
        "tests/test_landing_line.py",
    ),
    Break(
        "a check of what is in line is ended as stale",
        "reconciler/planning/epic_wide.py",
        "if subject not in wanted and last.id not in view.tested:",
        "if subject not in wanted:",
        "tests/test_landing_line.py",
    ),
    Break(
        "a base moves although somebody moved it in that very moment",
        "reconciler/git/update_ref.py",
        '        return f"update {self.ref}\\0{self.new}\\0{self.old}\\0"\n',
        '        return f"update {self.ref}\\0{self.new}\\0\\0"\n',
        "tests/adapters/test_landing.py tests/adapters/test_landing_window.py",
    ),
    Break(
        "the head that lands is not looked at again",
        "reconciler/landing/landing.py",
        "        if now != head:\n            at = now",
        "        if False:\n            at = now",
        "tests/adapters/test_landing.py",
    ),
    Break(
        "a task is closed before its work has landed",
        "reconciler/planning/actions/land.py",
        "        commit = ports.forge.land(self.order)\n        # What",
        "        yield closing(self.subject, messages.close_reason(self.order.number, None), self.order.number)\n        commit = ports.forge.land(self.order)\n        # What",
        "tests/test_loop.py tests/test_landing_line.py",
    ),
    Break(
        "what git answered decides whether something has landed",
        "reconciler/landing/landing.py",
        "                if self.local(intent.base) == intent.new:\n",
        "                if False:\n",
        "tests/adapters/test_landing.py tests/adapters/test_landing_window.py",
    ),
    Break(
        "no checks here count as green where the manifest wants some",
        "reconciler/planning/offer.py",
        "allowed = self.facts.spec.merge.no_checks is not NoChecks.BLOCK or bool(",
        "allowed = True or bool(",
        "tests/test_plans.py",
    ),
    Break(
        "what passed under another environment passes under this one",
        "reconciler/model/desired.py",
        'where = (("", self.surroundings),) if self.surroundings else ()',
        "where: tuple[tuple[str, str], ...] = ()",
        "tests/e2e/test_proofs.py",
    ),
    Break(
        "what passed without a check that is to be run passes with it",
        "reconciler/planning/asked.py",
        "    return found or checks\n",
        "    return tuple(check for check in checks if not check.paths) or checks\n",
        "tests/test_plans.py",
    ),
    Break(
        "what passed under other commands passes under these",
        "reconciler/model/names.py",
        '"\\0".join((*commands, *given))',
        '"\\0".join(given)',
        "tests/test_job.py",
    ),
    Break(
        "a branch is deleted wherever it stands by now",
        "reconciler/workspaces/branches.py",
        '        if now != expected:\n            raise ChangedError(f"{branch_of(task)} moved',
        '        expected = now\n        if False:\n            raise ChangedError(f"{branch_of(task)} moved',
        "tests/adapters/test_workspaces.py",
    ),
    Break(
        "what landed is not compared with what was judged",
        "reconciler/landing/landing.py",
        "        if tree != order.expected.tree:\n",
        "        if False:\n",
        "tests/adapters/test_landing.py tests/adapters/test_landing_together.py",
    ),
    Break(
        "a line goes on although changes fail one after the other",
        "reconciler/planning/planner.py",
        "    paused = freeze.pauses(desired, observed)\n",
        "    paused: freeze.Pauses = {}\n",
        "tests/test_freeze.py",
    ),
    Break(
        "people are told the same at every look",
        "reconciler/planning/notices.py",
        "    return not (came_back and now - at >= AGAIN)\n",
        "    return False\n",
        "tests/test_notices.py",
    ),
    Break(
        "several senders speak to one recipient",
        "reconciler/loop/teller.py",
        "            file_lock.take(fd, patience_s)\n",
        "            pass\n",
        "tests/processes/test_teller.py",
    ),
    Break(
        "whom to tell is taken from a file that agents write to",
        "reconciler/manifest/form.py",
        '    "notify": ("notify", _later(_NOTIFIES, ()), _always),\n',
        '    "notify": ("notify", _later(_NOTIFIES, ()), _never),\n',
        "tests/test_loosening.py",
    ),
    Break(
        "agents start together where there is room for one",
        "reconciler/planning/scheduling.py",
        "            room.promise(job.spec)\n",
        "",
        "tests/test_plans.py",
    ),
    Break(
        "a run shares the cgroup of a service that takes it along",
        "reconciler/system/scopes.py",
        "            if wanted == ALWAYS:\n",
        "            if False:\n",
        "tests/processes/test_scopes.py",
    ),
)


def main() -> int:
    survived = 0
    with tempfile.TemporaryDirectory(prefix="reconcile-mutations-") as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(
            ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", ".hypothesis", ".*_cache", ".outside")
        )
        for each in BREAKS:
            noticed = _notices(copy, each)
            survived += not noticed
            print(f"{'noticed ' if noticed else 'UNNOTICED'}  {each.what}  ({each.file}; {each.noticed})", flush=True)
    return 1 if survived else 0


def _notices(copy: Path, each: Break) -> bool:
    path = copy / each.file
    whole = path.read_text("utf-8")
    assert whole.count(each.old) >= 1, f"{each.file} no longer holds {each.old!r}"
    path.write_text(whole.replace(each.old, each.new), "utf-8")
    argv = (sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *each.noticed.split())
    try:
        # The copy must win over an installed checkout.
        run = subprocess.run(argv, cwd=copy, capture_output=True, env={**os.environ, "PYTHONPATH": str(copy)})
    finally:
        path.write_text(whole, "utf-8")
    return run.returncode == 1


if __name__ == "__main__":
    sys.exit(main())
