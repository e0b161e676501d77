"""Pull requests opened, closed and updated on GitHub: each asked for once, and looked up where the answer says nothing."""

from __future__ import annotations

import time

from reconciler.forges.github import answers, words
from reconciler.forges.github.answers import Answer, LostError
from reconciler.forges.github.gh import Gh
from reconciler.forges.github.look import Look
from reconciler.forges.github.pull import Pull
from reconciler.model.errors import ChangedError, PermanentError, TemporaryError
from reconciler.model.names import PrNumber, Sha, TaskId, branch_of, task_of
from reconciler.model.values import replace

LOOKS = 3
APART_S = 1.0


class Openings:
    """Changes of pull requests that move no base."""

    def __init__(self, gh: Gh, look: Look) -> None:
        self._gh, self._look = gh, look

    def open(self, base: str, task: TaskId, head: Sha, title: str, body: str) -> PrNumber:
        """Open the pull request of a branch that was pushed, or find the open one: opened by its agent, or before a crash."""
        found = self._open_one(base, task)
        if found is None:
            self._nothing_unheard(task)
            fields = {
                "title": words.title(title, task),
                "body": words.body(body),
                "head": branch_of(task),
                "base": base,
            }
            try:
                answer = self._gh.change("POST", f"{self._look.slug.path}/pulls", fields)
            except LostError as lost:
                found = self._shown(base, task, lost)
            else:
                found = self._opened(base, task, answer)
        if found.base != base and self._left_behind(found.base):
            found = self._sent(found, base)
        self._look.note(
            replace(found, head=head, checks=(), checked_at=None, settled_at=None) if found.head != head else found
        )
        return found.number

    def _left_behind(self, branch: str) -> bool:
        """True for the branch of a task of which no pull request is open: what goes onto it has nowhere to go from there."""
        parent = task_of(branch)
        return parent is not None and not any(pull.open for pull in self._look.of_branch(parent))

    def _sent(self, pull: Pull, base: str) -> Pull:
        answer = self._gh.change("PATCH", f"{self._look.slug.path}/pulls/{pull.number}", {"base": base})
        now = self._look.one(pull.number)
        if now is None or now.base != base:
            raise self._refused(answer, f"send #{pull.number} on to {base}")
        return now

    def close(self, number: PrNumber, landed: Sha | None = None, *, there: bool = False) -> None:
        """Close a pull request; one that is closed already stays as it is.

        `landed`: the commit that we put on the base for it, which is written under it; `there`: GitHub will call it merged
        by itself, and is given the time to. Raises TemporaryError until it has.
        """
        pull = self._look.one(number)
        for _ in range(LOOKS if there else 0):
            if pull is None or not pull.open:
                break
            time.sleep(APART_S)
            pull = self._look.one(number)
        if pull is None or not pull.open:
            return
        if there:
            raise TemporaryError(f"GitHub has yet to find #{number} on its base", delay=15.0)
        if landed:
            self._say(number, f"Merged as {landed}, which was tested as a whole and pushed to `{pull.base}`.", landed)
        try:
            answer = self._gh.change("PATCH", f"{self._look.slug.path}/pulls/{number}", {"state": "closed"})
        except LostError:
            answer = None
        now = self._look.one(number)
        if now and now.open:
            raise self._refused(answer, f"close #{number}")

    def _say(self, number: PrNumber, text: str, mark: str) -> None:
        """Write something under a pull request, where nothing there holds `mark` yet."""
        path = f"{self._look.slug.path}/issues/{number}/comments"
        if not any(mark in str(each.get("body")) for each in self._gh.pages(path) or ()):
            self._gh.change("POST", path, {"body": text})

    def update(self, number: PrNumber, head: Sha) -> None:
        """Have the base merged into a pull request whose head still is `head`; done already is done."""
        path = f"{self._look.slug.path}/pulls/{number}/update-branch"
        answer = self._gh.change("PUT", path, {"expected_head_sha": head})
        self._look.stale()
        if answer.ok:
            self._moved(number, head)
            return
        pull = self._look.one(number)
        if pull is None or pull.head != head:
            raise ChangedError(f"the head of #{number} has moved on")
        if "conflict" in answer.text:
            raise TemporaryError(f"#{number} is in conflict with its base, GitHub says", delay=30.0)
        if "no new commits" in answer.text:
            raise ChangedError(f"#{number} has all of its base already")
        raise self._refused(answer, f"update #{number}")

    def _moved(self, number: PrNumber, head: Sha) -> None:
        """Wait a moment for the new head: GitHub answers before it has it. Raises TemporaryError where it stays away."""
        for _ in range(LOOKS):
            pull = self._look.one(number)
            if pull is None or pull.head != head:
                return
            time.sleep(APART_S)
        raise TemporaryError(f"GitHub is to merge the base into #{number}, and it is not there yet", delay=15.0)

    def _opened(self, base: str, task: TaskId, answer: Answer) -> Pull:
        if answer.ok and isinstance(answer.body, dict) and isinstance(answer.body.get("number"), int):
            number = PrNumber(answer.body["number"])
            if pull := self._look.one(number):
                return pull
            raise TemporaryError(f"#{number} was opened, but GitHub does not show it yet", delay=5.0)
        if answer.ok or "already exists" in answer.text:
            return self._shown(base, task, self._refused(answer, f"open the pull request of {task}"))
        if "no commits between" in answer.text:
            raise ChangedError(f"{task}: {base} has all of {branch_of(task)}, GitHub says")
        raise self._refused(answer, f"{task}: open a pull request")

    def _shown(self, base: str, task: TaskId, why: Exception) -> Pull:
        """The open pull request that there must be; `why` where GitHub shows none."""
        for look in range(LOOKS):
            if found := self._open_one(base, task):
                return found
            if look + 1 < LOOKS:
                time.sleep(APART_S)
        raise why

    def _open_one(self, base: str, task: TaskId) -> Pull | None:
        mine = [pull for pull in self._look.of_branch(task) if pull.open]
        found = next((pull for pull in mine if pull.base == base), next(iter(mine), None))
        return self._look.one(found.number) if found else None

    def _nothing_unheard(self, task: TaskId) -> None:
        """Raise ChangedError where one came and went since the last look: a person has decided about it, not the planner."""
        known = self._look.last.pulls
        for pull in self._look.of_branch(task):
            before = known.get(pull.number)
            if before is None or before.open:
                self._look.note(pull)
                raise ChangedError(f"{task}: #{pull.number} is {pull.state}", hint="it is judged again")

    def _refused(self, answer: Answer | None, what: str) -> Exception:
        if answer is None or answer.ok:
            return LostError(f"whether GitHub did it is not known: {what}", delay=answers.NOT_YET_S)
        error = answers.refusal(answer, what, time.time())
        self._look.stale(rules_too=isinstance(error, PermanentError))
        return error
