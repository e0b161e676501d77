"""What a manifest may say of the machines that its agents run on: what would break what we promise there is refused. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from reconciler.model.agent_spec import AgentSpec
from reconciler.model.desired import EpicSpec
from reconciler.model.venue import Venue, VenueKind

LEASE_LEAST_S = 120.0
SYNCS_PER_LEASE = 4
_OWN = "reconcile says that itself"
_NEVER = "nothing would ever run"
_ONE_NODE = "a run is on one node; for more of it, --cpus-per-task and --mem"
_NOT_SHOWN = "squeue would not show the run"
# By the options of sbatch: why they can't be given. Their beginnings are refused as well, as getopt takes those.
_SBATCH = {
    "job-name": "runs are found by the names that reconcile gives them",
    "output": _OWN,
    "error": _OWN,
    "input": _OWN,
    "open-mode": _OWN,
    "parsable": _OWN,
    "chdir": "a run works in its own checkout",
    "array": "one job is one run",
    "nodes": _ONE_NODE,
    "nodefile": _ONE_NODE,
    "spread-job": _ONE_NODE,
    "requeue": "a run that was placed again would be a second one",
    "no-kill": "Slurm would take a run for alive whose node is dead",
    "wrap": _OWN,
    "wait": "nobody waits for the end of a job",
    "hold": "a run that waits until somebody releases it takes the place of others; 'suspend: true' starts none",
    "dependency": "reconcile knows the order of the tasks",
    "export": "what an agent gets stands in env and passEnv",
    "export-file": "what an agent gets stands in env and passEnv",
    "signal": "the courier has to hear of it in time, by TERM",
    "test-only": _NEVER,
    "clusters": _NOT_SHOWN,
    "uid": _NOT_SHOWN,
    "gid": "what a run writes would be another group's",
    "help": _NEVER,
    "usage": _NEVER,
    "version": _NEVER,
}
_LETTERS = {"J": "job-name", "o": "output", "e": "error", "i": "input", "D": "chdir", "a": "array", "W": "wait"}
_LETTERS |= {"d": "dependency", "M": "clusters", "h": "help", "V": "version", "N": "nodes", "F": "nodefile"}
_LETTERS |= {"H": "hold", "k": "no-kill"}
_SSH = dict.fromkeys("fNnWsTtGVO", "a command is run there, and its end is waited for")
# The letters that take no value: in one word others may follow, as in -QH.
_ALONE = {VenueKind.SLURM: "OQsv", VenueKind.SSH: "46AaCgKkMqvXxYy"}
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:-]{0,253}")
_PASSWORD = re.compile(r"://[^/@\s]*:[^/@\s]*@")


def wrong_options(kind: str, options: Sequence[str]) -> tuple[int, str] | None:
    """Which of the options for an engine is wrong, and why; None where all can be given.

    >>> wrong_options("slurm", ["--mem=4G", "-pagents"]), wrong_options("slurm", ["--mem=4G", "--job-n=x"])
    (None, (1, "'--job-n=x' can't be given: runs are found by the names that reconcile gives them"))
    >>> wrong_options("slurm", ["agents"])
    (0, "'agents' is no option; allowed: one per entry, such as --partition=agents")
    >>> wrong_options("here", ["-x"])
    (0, 'options are for kinds slurm and ssh')
    """
    if options and kind not in (VenueKind.SLURM, VenueKind.SSH):
        return 0, "options are for kinds slurm and ssh"
    for n, option in enumerate(options):
        if not re.match(r"-[A-Za-z]|--[A-Za-z]", option) or not option.isprintable():
            return n, f"{option!r} is no option; allowed: one per entry, such as --partition=agents"
        if why := _why_not(kind, option):
            return n, f"{option!r} can't be given: {why}"
    return None


def _why_not(kind: str, option: str) -> str:
    """
    >>> _why_not("slurm", "-QH") == _SBATCH["hold"], _why_not("slurm", "-pH"), _why_not("ssh", "-qN") == _SSH["N"]
    (True, '', True)
    """
    if kind == VenueKind.SLURM and option.startswith("--"):
        given = option[2:].partition("=")[0]
        if " " in given:
            return "it is one word, as --partition=agents is"
        return next((why for name, why in _SBATCH.items() if name.startswith(given)), "")
    refused = _SSH if kind == VenueKind.SSH else {letter: _SBATCH[name] for letter, name in _LETTERS.items()}
    for letter in option[1:]:
        if letter in refused:
            return refused[letter]
        if letter not in _ALONE[VenueKind(kind)]:
            break  # what follows is its value
    return ""


def wrong_place(remote: str | None, scratch: str, hosts: Sequence[str]) -> str:
    """What is wrong with where runs are to be; empty where nothing is.

    >>> wrong_place("ssh://ctl/a.git", "/var/tmp/r", ["n1", "me@n2"]), wrong_place(None, "tmp", [])
    ('', "scratch is 'tmp'; allowed: an absolute path that every node has, or can make")
    >>> wrong_place("https://me:secret@example.com/a", "/var/tmp/r", [])
    'remote holds a password, which every node would be sent; allowed: an address that nodes reach with a key of their own'
    """
    if remote is not None:
        if _PASSWORD.search(remote):
            return "remote holds a password, which every node would be sent; allowed: an address that nodes reach with a key of their own"
        if remote.startswith("-") or "::" in remote or not remote.isprintable() or " " in remote:
            return f"remote is {remote!r}; allowed: an address that git takes, or an absolute path"
    if not scratch.startswith("/") or posixpath.normpath(scratch) != scratch or scratch in ("/", "//"):
        return f"scratch is {scratch!r}; allowed: an absolute path that every node has, or can make"
    if not re.fullmatch(r"[A-Za-z0-9/._+@-]+", scratch):
        return f"scratch is {scratch!r}; allowed: letters, digits and / . _ + @ -"
    wrong = next((host for host in hosts if not _HOST.fullmatch(host)), None)
    if wrong is not None:
        return f"{wrong!r} is no host; allowed: as in ~/.ssh/config"
    if len(set(hosts)) < len(hosts):
        return "a host stands there twice"
    return ""


def wrong_lease(kind: str, sync_s: float, lease_s: float) -> str:
    """What is wrong with how often a node reports; empty where nothing is.

    >>> wrong_lease("slurm", 30, 900), wrong_lease("slurm", 60, 120)
    ('', 'lease is shorter than 4 x sync: one report that is late would halt the agent')
    """
    if lease_s < SYNCS_PER_LEASE * sync_s:
        return f"lease is shorter than {SYNCS_PER_LEASE} x sync: one report that is late would halt the agent"
    if lease_s < LEASE_LEAST_S and kind != VenueKind.HERE:
        return "lease is shorter than 2m: a restart of the remote would halt every agent"
    return ""


def unfit(spec: EpicSpec) -> tuple[tuple[str, ...], str] | None:
    """The field of a manifest that does not go together with where its tasks are worked on, and why; None where all do."""
    if _optioned(spec.agent, spec.runner):
        why = "runner and overrides hold options of Slurm, and agents run elsewhere; allowed with runner kind slurm"
        return ("agent",), why
    if all(at.local for at in spec.venues):
        return None
    if spec.worktrees.copy:
        why = "copies files of this machine, which no node has; commit them, or set them up there"
        return ("worktrees", "copy"), why
    if spec.worktrees.sparse:
        return ("worktrees", "sparse"), "is kept on this machine only, so far; leave it out, or let agents run here"
    if spec.stack:
        return ("stack",), "brings worktrees of this machine onto the base; leave it out, or let agents run here"
    if spec.agent.opens_pull_request:
        why = "lets an agent push by itself, which nobody could end where its node is cut off; leave it out"
        return ("agent", "opensPullRequest"), why
    at = spec.venue  # of others some tasks wait until there is room
    if at.hosts and spec.max_agents > len(at.hosts) * at.per_host:
        return ("maxAgents",), _more_than(spec.max_agents, at)
    return None


def _optioned(agent: AgentSpec, usual: Venue) -> bool:
    """True where options of Slurm are for what is placed by something else."""
    most = agent.venue_for((), usual)
    given = [(usual, agent.runner), *((most, each.runner) for each in agent.overrides)]
    return any(isinstance(by, tuple) and at.kind is not VenueKind.SLURM for at, by in given)


def too_many_checks(at: Venue, parallel: int | None) -> tuple[tuple[str, ...], str] | None:
    """The field by which more checks would run at once than the hosts take that are given for them, and what is wrong with it.

    >>> too_many_checks(Venue(kind=VenueKind.SSH, hosts=("n1",), per_host=2), 3)
    (('mergePolicy', 'queue', 'parallel'), '3 is more than 1 hosts take (2 each: 2)')
    """
    most = len(at.hosts) * at.per_host
    if not at.hosts or parallel is None or parallel <= most:
        return None
    return ("mergePolicy", "queue", "parallel"), _more_than(parallel, at)


def _more_than(asked: int, at: Venue) -> str:
    return f"{asked} is more than {len(at.hosts)} hosts take ({at.per_host} each: {len(at.hosts) * at.per_host})"
