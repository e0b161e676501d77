"""The repository as git sees it: its base branches, who commits, what stands in the way, and where it is pushed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import partial

from msgspec import Struct

from reconciler.doctor import forge
from reconciler.doctor.findings import Diagnosis, Probe, State, named
from reconciler.doctor.scene import Scene
from reconciler.git import filters, locks
from reconciler.git.identity import OURS
from reconciler.git.refs import HEADS
from reconciler.landing import filtered
from reconciler.landing.checkouts import locked_by_us
from reconciler.landing.merge_tree import MergeTrees
from reconciler.landing.remotes import Remote, Remotes
from reconciler.model.errors import ReconcileError
from reconciler.model.names import BRANCH_PREFIX, Sha
from reconciler.render.words import span
from reconciler.wiring import Site

_FILTER = re.compile(r"filter\.(.+)\.(?:clean|smudge|process)")
PUSH_S = 30.0
FORGE_S = 30.0
_SECRET = re.compile(r"(?<=://)[^\s/'@]+@|[^\s/'@:]+:[^\s/'@]+@")


def probes(scene: Scene, site: Site) -> Iterator[Probe]:
    """What is asked of a repository."""
    yield Probe(name="repository", look=lambda: _checkout(site))
    yield Probe(name="base", look=lambda: _bases(scene, site))
    yield Probe(name="identity", look=lambda: _identity(site))
    yield Probe(name="filters", look=lambda: _filters(scene, site))
    yield Probe(name="branches", look=lambda: _in_the_way(site))
    yield Probe(name="pull requests", look=lambda: _damaged(site))
    yield Probe(name="prompts", look=lambda: _prompts(scene, site))
    yield Probe(name="git locks", look=lambda: _git_locks(site))
    yield Probe(name="forge", look=lambda: forge.findings(scene, site), limit_s=FORGE_S)
    for base in sorted({spec.base for spec in scene.epics if spec.merge.push}):
        yield Probe(name=f"push {base}", look=partial(_push, site, base), limit_s=PUSH_S + 2)


def _checkout(site: Site) -> Iterator[Diagnosis]:
    main, common = str(site.repository.main), site.repository.common
    if site.repository.bare:
        message = f"bare: tasks are kept in {site.beads}; what lands is followed by the worktrees that have its base checked out"
        yield Diagnosis(name="repository", found=main, message=message)
    elif common.parent != site.repository.main and (common / ".beads").exists():
        message = f"an older version kept tasks in {common / '.beads'}: nobody reads them there"
        hint = f"if they count: mv {shlex.quote(str(common / '.beads'))} {shlex.quote(main)}/"
        yield Diagnosis(name="repository", state=State.WARNING, found=main, message=message, hint=hint)
    elif site.git.refs("symbolic-ref", "--quiet", "HEAD", ok=(0, 1, 128)).code:
        message = "on no branch (HEAD is detached): it does not follow what lands"
        hint = "git switch BRANCH, where it should"
        yield Diagnosis(name="repository", state=State.WARNING, found=main, message=message, hint=hint)
    elif common.parent != site.repository.main:
        yield Diagnosis(name="repository", found=main, message=f"its git dir is {common}")
    else:
        yield Diagnosis(name="repository", found=main)


def _damaged(site: Site) -> Iterator[Diagnosis]:
    """Whether everything that is kept about pull requests can be read."""
    site.forge.pull_requests()
    for number, why in sorted(site.forge.damaged().items()):
        message, _, hint = why.rpartition("; ")
        yield Diagnosis(name="pull requests", state=State.PROBLEM, found=f"#{number}", message=message, hint=hint)


def _bases(scene: Scene, site: Site) -> Iterator[Diagnosis]:
    """Whether every branch that work lands on is there."""
    wanted = _wanted(scene, site)
    for base in sorted(wanted - {""}):
        if _commit(site, base):
            yield _fetched(scene, site, base) or Diagnosis(name="base", found=base)
            continue
        message = f"there is no branch {base} with a commit: nothing can start from it, or land on it"
        named_by = [spec for spec in scene.epics if spec.base == base]
        empty = site.git.refs("rev-parse", "--verify", "--quiet", "HEAD", ok=(0, 1, 128)).code != 0
        hint = (
            "make its first commit" if empty or not named_by else f"git branch {base} COMMIT, or write another 'base:'"
        )
        yield Diagnosis(name="base", state=State.PROBLEM, found=base, message=message, hint=hint)
    if "" in wanted:
        message = "no branch is checked out and origin names none: a manifest must say which one work lands on"
        yield Diagnosis(name="base", state=State.WARNING, message=message, hint="write 'base: main' in it")


def _prompts(scene: Scene, site: Site) -> Iterator[Diagnosis]:
    """Whether the prompts of agents are what somebody committed."""
    for spec in scene.epics:
        head = _commit(site, spec.base)
        if found := site.ports.prompts.uncommitted(spec, Sha(head)) if head else ():
            message = f"not on {spec.base}, so it is read as it stands here: whatever an agent writes there tells the next one what to do"
            hint = "read it, then commit it"
            yield Diagnosis(name="prompts", state=State.WARNING, found=named(found), message=message, hint=hint)


def _wanted(scene: Scene, site: Site) -> set[str]:
    """The branches that work lands on; an empty name where none is known."""
    return {spec.base for spec in scene.epics} or {site.default_base or ""}


def _fetched(scene: Scene, site: Site, base: str) -> Diagnosis | None:
    """A base that is older than what was fetched for it, where nobody but the user brings it forward."""
    if site.chosen.github or any(spec.merge.push for spec in scene.epics if spec.base == base):
        return None
    seen = site.forge.base(base, look=False)
    if not seen.fetched:
        return None
    message = f"it is behind {seen.fetched}, which has been fetched: nothing starts or lands on it"
    how = f"merge --ff-only {seen.fetched}" if seen.checkout else f"fetch . {seen.fetched}:{base}"
    return Diagnosis(name="base", state=State.WARNING, found=base, message=message, hint=f"git {how}")


def _commit(site: Site, branch: str) -> str:
    """The head of a branch; empty where there is no such branch."""
    name = f"{HEADS}{branch}^{{commit}}"
    return site.git.refs("rev-parse", "--verify", "--quiet", "--end-of-options", name, ok=(0, 1, 128)).text.strip()


def _identity(site: Site) -> Iterator[Diagnosis]:
    who = {what: site.git.objects("config", f"user.{what}", ok=(0, 1)).text.strip() for what in ("name", "email")}
    if all(who.values()):
        yield Diagnosis(name="identity", found=f"{who['name']} <{who['email']}>")
        return
    missing = " and ".join(f"user.{what}" for what, value in who.items() if not value)
    message = f"git knows no {missing}: commits will be by {OURS[0]} <{OURS[1]}>"
    hint = "git config --global user.name NAME; git config --global user.email EMAIL"
    yield Diagnosis(name="identity", state=State.WARNING, message=message, hint=hint)


def _filters(scene: Scene, site: Site) -> Iterator[Diagnosis]:
    """Filters of the repository's own config, which an agent may have written: they run in no command of ours."""
    found = (_FILTER.fullmatch(key) for key, _ in site.git.config())
    names = sorted({each[1] for each in found if each})
    held = False
    for base in sorted(_wanted(scene, site) - {""}):
        head = _commit(site, base)
        if head and (why := filtered.hindrance(site.git, MergeTrees(site.git), base, Sha(head))):
            held = True
            message, _, hint = why.rpartition("; ")
            message = f"{message}: nothing starts or lands on {base}"
            shown = named(names) if names else "of this user"
            yield Diagnosis(name="filters", state=State.PROBLEM, found=shown, message=message, hint=hint)
    if held or not names:
        return
    message = "set in the repository's own config, which agents can write to: no command of ours runs them"
    yield Diagnosis(
        name="filters", state=State.WARNING, found=named(names), message=message, hint=filters.fix(names[0])
    )


def _in_the_way(site: Site) -> Iterator[Diagnosis]:
    branch = BRANCH_PREFIX.rstrip("/")
    listed = site.git.refs("for-each-ref", "--format=%(refname)", HEADS + branch).text.splitlines()
    if HEADS + branch in listed:
        message = f"in the way: git can't make {BRANCH_PREFIX}TASK beside a branch of that name"
        hint = f"git branch -m {branch} old-{branch}"
        yield Diagnosis(name="branches", state=State.PROBLEM, found=branch, message=message, hint=hint)


def _git_locks(site: Site) -> Iterator[Diagnosis]:
    """Lock files of a git that was killed: while they stand, nothing lands in that checkout."""
    common = site.repository.common
    if locked_by_us(common):
        message = "index.lock: a landing of ours is running, or was killed"
        hint = "nothing to do: the next 'reconcile watch' finishes it and removes the lock"
        yield Diagnosis(name="git locks", state=State.WARNING, found=str(common), message=message, hint=hint)
    ours = {common / "index.lock"} if locked_by_us(common) else set()
    ages = {lock: age_s for lock, age_s in locks.stale(common, everywhere=True) if lock not in ours}
    if ages:
        names = named(str(lock.relative_to(common)) for lock in ages)
        message = f"{names}, {span(max(ages.values()))} old: git refuses to work beside it"
        hint = f"if no git runs here: rm {shlex.join(map(str, ages))}"
        yield Diagnosis(
            name="git locks", state=State.WARNING, found=str(site.repository.common), message=message, hint=hint
        )


# --- pushing -------------------------------------------------------------------------------------------------


class _Rehearsal(Struct, frozen=True):
    """What came of a push of `base` that was only rehearsed. `flag`: git's word on the one ref; empty where it has none."""

    base: str
    remote: Remote
    flag: str
    why: str

    @property
    def finding(self) -> Diagnosis:
        base, remote = self.base, self.remote.name
        match self.flag:
            case "=":
                return self._diagnosis(State.OK, "up to date")
            case " ":
                return self._diagnosis(State.OK, "could be pushed")
            case "*":
                message = f"it has no branch {base}: what lands is held until it has one"
                return self._diagnosis(State.WARNING, message, f"git push {remote} {base}")
            case "!":
                message = f"it has commits of {base} that are not here: they are taken over, unless both sides went on"
                return self._diagnosis(State.WARNING, message, f"git pull --ff-only {remote} {base}")
            case _:
                hint = f"check its URL and your right to push: git push --dry-run {remote} {base}"
                return self._diagnosis(State.PROBLEM, f"it can't be pushed to: {self.why}", hint)

    def _diagnosis(self, state: State, message: str, hint: str = "") -> Diagnosis:
        found = f"{self.remote.name} ({_shown(self.remote.url)})"
        return Diagnosis(name=f"push {self.base}", state=state, found=found, message=message, hint=hint)


def _push(site: Site, base: str) -> Iterator[Diagnosis]:
    """Whether a landed base could be pushed."""
    remote, head = Remotes(site.git).of(base), _commit(site, base)
    if head:  # else the base has a finding of its own
        yield _rehearsed(site, remote, base, head).finding


def _rehearsed(site: Site, remote: Remote, base: str, head: str) -> _Rehearsal:
    how = ("--dry-run", "--porcelain", "--no-verify", "--recurse-submodules=no")
    what = ("--", remote.address, f"{head}:{HEADS}{base}")
    try:
        env = site.git.reaching(remote.url, push=True)
        finished = site.git.objects("push", *how, *what, ok=(0, 1, 128), env=env, timeout_s=PUSH_S)
    except ReconcileError as error:
        return _Rehearsal(base, remote, "", str(error))
    flag = next((line[:1] for line in finished.text.splitlines() if f":{HEADS}{base}\t" in line), "")
    return _Rehearsal(base, remote, flag, _why(finished.err))


def _why(text: bytes) -> str:
    lines = text.decode("utf-8", "replace").splitlines()
    # Its last words are advice; the first that is fatal says what is wrong.
    return _shown(next((line for line in lines if line.startswith("fatal: ")), lines[-1] if lines else "no reason"))


def _shown(text: str) -> str:
    """Text without what stands before an `@`: a URL may hold a password."""
    return _SECRET.sub("", text)[:300]
