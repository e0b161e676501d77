"""The bases as GitHub has them: where each is, what has landed on it, and whether the one here can go after it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reconciler.forges.github.heard import Heard
from reconciler.forges.github.landing import Merges
from reconciler.forges.github.look import Look
from reconciler.forges.github.queue import MergeQueue
from reconciler.git.commands import Git
from reconciler.landing import checkouts, filtered
from reconciler.landing.candidates import Candidates
from reconciler.landing.history import History
from reconciler.landing.landing import LandingLine
from reconciler.landing.remotes import Remote, Remotes
from reconciler.model.errors import ReconcileError, TemporaryError
from reconciler.model.names import PrNumber, Sha
from reconciler.model.observed import Base, Landing
from reconciler.model.values import replace

STRANGE = "is it the right repository? 'git remote -v' shows where it leads"


class RemoteBases:
    """The bases of one repository. Safe to share between threads."""

    def __init__(
        self,
        *,
        git: Git,
        look: Look,
        remotes: Remotes,
        history: History,
        line: LandingLine,
        candidates: Candidates,
        merges: Merges,
        queue: MergeQueue,
    ) -> None:
        self._git, self._look, self._remotes, self._history = git, look, remotes, history
        self._line, self._candidates, self._merges, self._queue = line, candidates, merges, queue
        self._heard = Heard(git)
        self._relatives: dict[tuple[Sha, Sha], bool] = {}

    def seen(self, name: str) -> Base:
        """A base as GitHub has it. Where GitHub is silent, as it was heard last: nothing lands meanwhile."""
        ours = self._line.local(name)
        theirs = self._theirs(name, ours)
        fits = theirs is None or self._history.contains(theirs, ours)
        remote, rules = self._remotes.of(name), self._look.last.rules.get(name)
        if rules and theirs and not fits and not self._related(ours, theirs):
            rules = replace(
                rules, closed=f"{name} of {self._look.slug} and {name} here have no commit in common: {STRANGE}"
            )
        if rules and (refused := self._merges.refused.get(name)):
            rules = replace(rules, unpushable=rules.unpushable or refused)
        if rules and rules.renamed:
            rules = replace(rules, renamed=f"{rules.renamed}; '{self._address_anew(remote)}' fixes it")
        return Base(
            name=name,
            head=theirs or ours,
            remote=remote.name,
            diverged=None
            if fits
            else f"{name} here has commits that {self._look.slug} lacks: push them, or take them away",
            behind=self._merges.pending(name)
            or self._queue.pending(name)
            or self._merges.freezes.due(name)
            or bool(theirs and fits and self._can_follow(name, ours, theirs)),
            frozen=self._merges.freezes.why(name),
            encoded=filtered.hindrance(self._git, self._candidates.benches, name, theirs or ours),
            rules=rules,
            undone=self._line.undone.on(name, theirs or ours, self._history.landings(name, theirs or ours)),
        )

    def landings(self, base: str) -> Sequence[Landing]:
        """Every landing on the base as GitHub has it: by our trailers, or by GitHub's word and the commit it names."""
        ours = self._line.local(base)
        tip = self._remotes.last_heard(base) or ours
        found = self._history.landings(base, tip)
        known = {(landing.task, landing.head) for landing in found}
        merged = (pull for pull in self._look.last.pulls.values() if (pull.task, pull.head) not in known)
        more = [
            Landing(task=pull.task, head=pull.head, commit=pull.landed, at=pull.closed_at)
            for pull in merged
            if pull.landed and pull.closed_at and pull.base == base and self.on(tip, pull.landed)
        ]
        self._heard.note(base, more)
        known |= {(landing.task, landing.head) for landing in more}
        more += [
            landing
            for landing in self._heard.landings(base)
            if (landing.task, landing.head) not in known and self.on(tip, landing.commit)
        ]
        return sorted((*found, *more), key=lambda landing: landing.at) if more else found

    def on(self, tip: Sha, commit: Sha) -> bool:
        """True where `tip` is known to contain a commit."""
        try:
            return self._history.contains(tip, commit)
        except TemporaryError:
            return False  # its objects are not here: it is on nothing that we know

    def marks(self, number: PrNumber) -> bool:
        """True where GitHub calls a pull request merged by itself, as its head is on its base."""
        pull = self._look.last.pulls[number]
        tip = self._remotes.last_heard(pull.base)
        return tip is not None and self.on(tip, pull.head)

    def _related(self, one: Sha, other: Sha) -> bool:
        """True where two commits, whose objects are here, have a commit in common."""
        if (one, other) not in self._relatives:
            self._relatives[one, other] = self._git.objects("merge-base", one, other, ok=(0, 1)).code == 0
        return self._relatives[one, other]

    def _address_anew(self, remote: Remote) -> str:
        """The command that gives a remote the name that its repository has now, in the form that it has."""
        before = self._look.asks
        url = re.sub(re.escape(f"{before}"), str(self._look.slug), remote.url, flags=re.IGNORECASE)
        plain = url != remote.url and "@" not in url.removeprefix("ssh://").removeprefix("git@")  # no password
        return f"git remote set-url {remote.name} {url if plain else 'URL'}"

    def _theirs(self, name: str, ours: Sha) -> Sha | None:
        head, heard = self._look.last.heads.get(name), self._remotes.last_heard(name)
        if head is None or head == heard:
            return heard
        try:
            if heard and self.on(heard, head):
                # Either the base was taken back, or the answer was older than what we know already.
                return self._remotes.head(name, near=ours, fresh=True)
            return self._remotes.trusted(name, head, near=ours)
        except ReconcileError:
            return heard

    def _can_follow(self, name: str, ours: Sha, theirs: Sha) -> bool:
        """True where the base here is behind, and nothing in its checkouts is in the way: else it may stay where it is."""
        if ours == theirs:
            return False
        way = checkouts.step(self._git, ours, theirs)
        try:
            for checkout in checkouts.of_base(self._git, name):
                checkouts.make_sure_it_can_follow(self._git, checkout, way)
        except TemporaryError:
            return False
        return True
