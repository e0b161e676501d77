"""What places runs on other machines: four words, and no more is asked of it.

An engine is believed in nothing that matters. What it says of a job shortens waiting and gives words; that a run is over is
proved by the ref of its task alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from reconciler.model.venue import Venue


class JobState(StrEnum):
    """`over`: the engine says that it ended, by the word of a node that answers. `lost`: nobody there can know, as its node
    does not answer, or may not."""

    QUEUED = "queued"
    RUNNING = "running"
    OVER = "over"
    LOST = "lost"


class EngineJob(Struct, frozen=True, kw_only=True):
    """A job as its engine sees it. `remark`: why it waits, or how it ended, in the engine's words."""

    state: JobState
    node: str = ""
    remark: str = ""


class Fitness(Struct, frozen=True, kw_only=True):
    """One thing that was looked at: `wrong` where it is, and then `hint` says what helps."""

    name: str
    found: str
    wrong: str = ""
    hint: str = ""
    fatal: bool = False


class Engine(Protocol):
    """An engine that exists, at one venue. Jobs are known by names that we give; a name may have several jobs."""

    def submit(self, name: str, script: str, env: Mapping[str, str], lock: int) -> None:
        """Have a script run on some node, with these variables. A program that outlives us may hold `lock`.

        Raises TemporaryError when it did not: there may be a job, or none. Twice is once: the script claims its run.
        """
        ...

    def jobs(self) -> Mapping[str, Sequence[EngineJob]]:
        """Every job of ours that it still knows of, by name. Raises TemporaryError when it does not answer."""
        ...

    def cancel(self, name: str) -> None:
        """Ask the jobs of this name to end, TERM first. Raises TemporaryError when it does not answer."""
        ...

    def fit(self) -> Iterator[Fitness]:
        """What of it, and of how it is set up, matters to us."""
        ...

    def nodes(self, program: str) -> Iterator[Fitness]:
        """What of each node matters to us, and to an agent that is this program (empty: none that is known by name)."""
        ...


# Plain sh: `$1` the scratch folder, `$2` the remote, `$3` the agent's program. The first line says `ok`, or what is wrong.
LOOK_AT_NODE = r"""for p in python3 git $3; do command -v "$p" > /dev/null || { echo "$p is missing"; exit 0; }; done
python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' || { echo "python3 is older than 3.9"; exit 0; }
mkdir -p "$1" 2>/dev/null && [ -w "$1" ] || { echo "$1 can't be written to"; exit 0; }
GIT_TERMINAL_PROMPT=0 git ls-remote -- "$2" > /dev/null 2>&1 < /dev/null || { echo "the remote can't be reached"; exit 0; }
n=$(find "$1" -path '*/runs/work/*' -name courier.json 2>/dev/null | wc -l)
k=$(find "$1" -path '*/runs/work/*' -name kept.json 2>/dev/null | wc -l)
free=$(df -Pk "$1" | awk 'NR==2 {print int($4/1048576)}')
echo "ok git $(git --version | cut -d' ' -f3), $free GiB free, $n runs there or undelivered, $k checkouts kept" """


def judged(node: str, printed: str) -> Fitness:
    """What a node printed when it was looked at.

    >>> judged("n1", "ok git 2.39, 5 GiB free").found, judged("n1", "git is missing").wrong
    ('git 2.39, 5 GiB free', 'git is missing')
    """
    good = printed.startswith("ok ")
    return Fitness(
        name=f"node {node}",
        found=printed[3:].strip() if good else "",
        wrong="" if good else printed.strip() or "silent",
    )


def name_of(venue: Venue) -> str:
    """What people call an engine.

    >>> from reconciler.model.venue import VenueKind
    >>> name_of(Venue(kind=VenueKind.SLURM))
    'Slurm'
    """
    return {"slurm": "Slurm", "ssh": "ssh", "here": "pretend nodes"}.get(venue.kind, venue.kind)
