"""What a person can do by a click or a key: a row each, with the command that does it. Screens have no other way to act."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from reconciler.model.names import MANIFEST_NAME, TASK_ID
from reconciler.render.status import Entry, alive, section_of

MESSAGE_MAX = 10_000


class Act(Struct, frozen=True, kw_only=True):
    """`asks`: the question before it is done, where it destroys or spends. `words`: what a person has to write."""

    label: str
    key: str
    fits: Callable[[Entry], bool] = lambda entry: True
    asks: str = ""
    words: str = ""
    style: str = ""
    of_a_manifest: bool = False
    options: tuple[str, ...] = ()


class Click(Struct, frozen=True, kw_only=True):
    """One act on one subject, as a button names it. `head`: the commit that was on the screen; `sure`: it was asked twice."""

    name: str
    subject: str
    head: str = ""
    sure: bool = False

    def __str__(self) -> str:
        return " ".join(filter(None, (self.name, self.subject, self.head, "sure" if self.sure else "")))

    @property
    def act(self) -> Act:
        return ACTS[self.name]

    def argv(self, message: str = "") -> list[str]:
        """The command, without the program; what people wrote never becomes an option of it."""
        words = [f"--message={message}"] if self.act.words else []
        at = [f"--head={self.head}"] if self.head else []
        subject = ["--", self.subject] if self.subject else []
        return [self.name, *self.act.options, *at, *words, *subject]

    def command(self) -> str:
        """The same for people, to be copied."""
        words = ["-m", "TEXT"] if self.act.words else []
        subject = [self.subject] if self.subject else []
        return shlex.join(["reconcile", self.name, *subject, *self.act.options, *words])


def asked(text: str) -> Click:
    """What `str` wrote. Raises ValueError for anything else."""
    name, *rest = text.split(" ")
    sure = rest[-1:] == ["sure"]
    rest = rest[:-1] if sure else rest
    act = ACTS.get(name)
    if act is None or len(rest) > 2:
        raise ValueError("no such act")
    subject, head = (*rest, "", "")[:2]
    pattern = MANIFEST_NAME if act.of_a_manifest else TASK_ID
    if not pattern.fullmatch(subject) and (subject or name != "merge"):
        raise ValueError("no such subject")
    if head and not (len(head) in (40, 64) and set(head) <= set("0123456789abcdef")):
        raise ValueError("no such commit")
    return Click(name=name, subject=subject, head=head, sure=sure)


def of_task(entry: Entry) -> Iterator[Click]:
    """What can be done about a task as it stands."""
    pull = entry["pullRequest"]
    for name, act in ACTS.items():
        if not act.of_a_manifest and act.fits(entry):
            head = pull["head"] if name in ("approve", "reject") and pull else ""
            yield Click(name=name, subject=entry["id"], head=head)


def asked_for(entry: Entry) -> str:
    """The name of the act that a task waits for; "" where it waits for no person, or for something else."""
    if section_of(entry) != "person":
        return ""
    if ACTS["retry"].fits(entry):
        return "retry"
    return "approve" if _offered(entry) and entry["pullRequest"]["review"] == "required" else ""


def of_manifest(name: str, entries: Sequence[Entry], *, suspended: bool, manual: bool) -> Iterator[Click]:
    """What can be done about a manifest as a whole."""
    if manual and any(_waits(entry, "AwaitingMerge") for entry in entries):
        yield Click(name="merge", subject="")  # of all manifests: the command knows no single one
    if any(_waits(entry, "QueuePaused") for entry in entries):
        yield Click(name="unfreeze", subject=name)
    yield Click(name="resume" if suspended else "suspend", subject=name)


def _waits(entry: Entry, *reasons: str) -> bool:
    return bool(entry["waiting"]) and entry["waiting"]["reason"] in reasons


def _open(entry: Entry) -> bool:
    return entry["status"] not in ("closed", None)


def _offered(entry: Entry) -> bool:
    return _open(entry) and bool(entry["pullRequest"]) and entry["pullRequest"]["state"] == "open"


def _startable(entry: Entry) -> bool:
    return _open(entry) and not alive(entry) and not _offered(entry) and not _waits(entry, "Taken", "Blocked")


ACTS: dict[str, Act] = {
    "approve": Act(label="Approve", key="a", fits=lambda e: _offered(e) and e["pullRequest"]["review"] != "approved"),
    "reject": Act(label="Request changes", key="r", words="What is to be changed? The agent reads it.", fits=_offered),
    "retry": Act(
        label="Retry",
        key="y",
        fits=lambda e: _open(e) and not alive(e) and (e["group"] == "needsHuman" or _waits(e, "Stopped")),
    ),
    "spawn": Act(
        label="Start an agent", key="n", asks="Start an agent now? It spends what an attempt costs.", fits=_startable
    ),
    "take": Act(label="Take", key="t", fits=lambda e: _open(e) and not _waits(e, "Taken")),
    "release": Act(label="Give back", key="t", fits=lambda e: _waits(e, "Taken")),
    "stop": Act(
        label="Stop", key="s", asks="Stop it? Its work is kept; Retry starts it again.", style="no", fits=alive
    ),
    "suspend": Act(label="Suspend", key="", of_a_manifest=True),
    "resume": Act(label="Resume", key="", of_a_manifest=True),
    "merge": Act(
        label="Merge now",
        key="",
        asks="Check and merge every open pull request that passes, here and now?",
        options=("--no-wait",),
        of_a_manifest=True,
    ),
    "unfreeze": Act(
        label="Unfreeze",
        key="",
        asks="Let the merge queue go on? What failed is tested again.",
        of_a_manifest=True,
    ),
}
