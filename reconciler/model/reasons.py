"""Every reason why something is done or waits: one word for programs, closed, each a row that says what it means.

The one who has to know more of a reason than its name asks its row; nobody keeps a list of reasons beside this one. A new
reason is one line here, and without a row the program does not start. `reconcile explain reasons` prints the table.
"""

from __future__ import annotations

from enum import StrEnum
from functools import partial

from msgspec import Struct

from reconciler.model.tables import Table


class Awaits(StrEnum):
    """What ends a wait."""

    RUN = "run"  # an agent or a check that is alive
    TIMER = "timer"
    TURN = "turn"  # a slot, or a place among others that want the same
    TASK = "task"  # another task, or what the tracker holds of this one
    SOURCE = "source"  # something that is silent answers
    PERSON = "person"  # or another program than this one
    NOTHING = "nothing"  # it is a reason to act


class Scope(StrEnum):
    """What a reason is about: one task, or everything that a manifest covers; then it is shown once."""

    TASK = "task"
    EPIC = "epic"


class ReasonRow(Struct, frozen=True):
    """What there is to know about a reason. `meaning`: a sentence for people, without a full stop."""

    meaning: str
    awaits: Awaits
    scope: Scope
    todo: str = ""  # what a person does once the program has given up; `{task}` stands for the id
    prompt: str = ""  # for its next attempt, beside the facts; `{base}` stands for the branch
    judged: bool = False  # a person decides about what would land: it is computed again before they are asked
    chosen: bool = False  # a person wanted it so: nobody has to hear of it
    passing: bool = False  # often over with the next look, without anybody's doing


RUN, TIMER, TURN, TASK = Awaits.RUN, Awaits.TIMER, Awaits.TURN, Awaits.TASK
SOURCE, PERSON, NOTHING = Awaits.SOURCE, Awaits.PERSON, Awaits.NOTHING
_INTERRUPTED = "The last attempt was interrupted, through no fault of the work. Its commits and files are still here: look, then go on."


_task, _epic = partial(ReasonRow, scope=Scope.TASK), partial(ReasonRow, scope=Scope.EPIC)


class Reason(Table):
    """Why. The value is the word in JSON; beside it people get a sentence about the case at hand."""

    row: ReasonRow

    @property
    def awaits(self) -> Awaits:
        return self.row.awaits

    # Before an agent starts
    READY = "Ready", _task("an agent can start", TURN)
    BLOCKED = "Blocked", _task("it depends on a task that is not closed, or somebody blocked it", TASK)
    DEFERRED = "Deferred", _task("it, or its epic, is deferred", TASK)
    BACKOFF = "Backoff", _task("something failed, and is tried again later", TIMER)
    NO_AGENT_SLOT = "NoAgentSlot", _task("maxAgents agents are running", TURN)
    OVERLAPS = "Overlaps", _task("it would change what work in hand changes: others start first", TURN)
    MACHINE_FULL = (
        "MachineFull",
        _task("too little memory, disk or room for processes is free for another agent", TURN, passing=True),
    )
    AGENT_BROKEN = "AgentBroken", _epic("several agents failed within seconds of their start", PERSON)
    AGENT_UNAVAILABLE = (
        "AgentUnavailable",
        _epic(
            "the agent can't work here: it is missing, not logged in, or without its model", PERSON, prompt=_INTERRUPTED
        ),
    )
    USAGE_LIMIT = "UsageLimit", _epic("the agent's usage limit is reached", TIMER, prompt=_INTERRUPTED)
    BUDGET_SPENT = "BudgetSpent", _task("the budget is spent", PERSON, prompt=_INTERRUPTED)
    BUDGET_LOW = "BudgetLow", _epic("the budget is nearly spent", NOTHING)
    PROGRAM_REPLACED = "ProgramReplaced", _epic("the program was replaced while it runs: nothing new starts", PERSON)
    # Somebody wants it so: not now, or not you
    SUSPENDED = "Suspended", _epic("the manifest is suspended", PERSON, chosen=True)
    STOPPED = "Stopped", _task("it was stopped by command", PERSON, chosen=True)
    TAKEN = "Taken", _task("a person works on it", PERSON, chosen=True)
    ASSIGNED_ELSEWHERE = "AssignedElsewhere", _task("it is assigned to somebody else", PERSON, chosen=True)
    OWNED_BY = "OwnedBy", _task("it belongs to another manifest", TASK)
    UNUSABLE_ID = "UnusableId", _task("its id can't be the name of a branch and a folder", PERSON)
    UNMANAGED = "Unmanaged", _task("no manifest covers it, and something was begun for it", PERSON)
    TASK_GONE = "TaskGone", _task("its task was deleted, and something of it is left", PERSON)
    # An agent running, and how its work ended
    AGENT_RUNNING = "AgentRunning", _task("its agent is running", RUN)
    QUEUED = "Queued", _task("its agent waits for a node, in the queue of the engine that places it", RUN)
    NODE_SILENT = (
        "NodeSilent",
        _task("nothing has been heard for a while of the node that its agent is on; it is given up in time", RUN),
    )
    AGENT_FAILED = (
        "AgentFailed",
        _task(
            "its agent failed",
            PERSON,
            prompt="The last attempt ended before its time. Its commits and files are still here: look, then go on.",
        ),
    )
    NO_CHANGES = (
        "NoChanges",
        _task(
            "its agent ended without a new commit",
            PERSON,
            todo="Look at 'reconcile logs {task}'. Write into the task what is missing, then run 'reconcile retry {task}', or close it.",
            prompt="The last attempt ended without a commit. Only what is committed on your branch counts as work.",
        ),
    )
    SETUP_FAILED = (
        "SetupFailed",
        _task("a set-up command failed", PERSON, prompt="The commands that prepare this worktree failed."),
    )
    STUCK = (
        "Stuck",
        _task(
            "its agent made no progress and was stopped",
            PERSON,
            prompt="The last attempt made no progress for too long and was stopped. Its commits and files are still here.",
        ),
    )
    TIMED_OUT = (
        "TimedOut",
        _task(
            "its agent hit its time limit",
            PERSON,
            prompt="The last attempt ran into its time limit. Its commits and files are still here: look, then go on.",
        ),
    )
    BLOCKED_BY_AGENT = (
        "BlockedByAgent",
        _task(
            "its agent says that it can't continue",
            PERSON,
            todo="Read its notes ('reconcile describe {task}') and its log ('reconcile logs {task}'), help, then 'reconcile retry {task}'.",
        ),
    )
    # On the way to the base
    AWAITING_APPROVAL = "AwaitingApproval", _task("it waits for approval", PERSON, judged=True)
    STACKED = "Stacked", _task("it began on the branch of a task that has yet to land, and goes on after that", TASK)
    AWAITING_MERGE = "AwaitingMerge", _task("it is ready, and merged by a person", PERSON, judged=True)
    AWAITING_REVIEW = "AwaitingReview", _task("review comments wait for the people who made them", PERSON)
    REVIEW_DUE = "ReviewDue", _task("its reviewer is asked about it", TURN)
    REVIEW_RUNNING = "ReviewRunning", _task("its reviewer is running", RUN)
    CHANGES_REQUESTED = (
        "ChangesRequested",
        _task(
            "somebody asked for changes",
            PERSON,
            todo="Resolve or hide what is open at its pull request, or approve it, or change the task; then run 'reconcile retry {task}'.",
            prompt="Change on your branch what is asked for, and commit.",
        ),
    )
    CHECKS_PENDING = "ChecksPending", _task("the forge's checks are pending or missing", PERSON)
    CHECKS_RUNNING = "ChecksRunning", _task("checks are running on the merged tree", RUN)
    CHECKS_FAILED = (
        "ChecksFailed",
        _task(
            "the checks failed",
            PERSON,
            prompt="The checks failed on your work merged into {base}. Fix it on your branch and commit.",
        ),
    )
    CHECK_BROKEN = "CheckBroken", _epic("the checks can't be run, or the base fails them too", PERSON)
    QUEUE_PAUSED = "QueuePaused", _epic("changes fail their checks one after the other: nothing is tested", PERSON)
    CONFLICT = (
        "Conflict",
        _task(
            "it conflicts with its base",
            PERSON,
            todo="Fix the branch agent/{task} by hand, then run 'reconcile retry {task}'.",
            prompt="Your branch conflicts with {base}, which has moved on since you began. Merge {base} into your branch "
            "(or rebase onto it), keep what both sides meant, and commit.",
        ),
    )
    PUSH_REFUSED = (
        "PushRefused",
        _task(
            "its branch can't be pushed as it is",
            PERSON,
            todo="Fix what refuses it, or the commits of agent/{task}, then run 'reconcile retry {task}': it is pushed again "
            "as it is then.",
            prompt="Where your branch is to go, what is in your commits was refused. Fix it in the commits themselves, by "
            "'git commit --amend' or 'git rebase': none that {base} lacks may hold it, and one more on top does not help.",
        ),
    )
    LANDING_QUEUED = "LandingQueued", _task("it waits for its turn to merge", RUN)
    CHECKOUT_IN_THE_WAY = (
        "CheckoutInTheWay",
        _task("the base's checkout has changes that a merge would overwrite", PERSON),
    )
    BASE_DIVERGED = "BaseDiverged", _epic("the base here and its remote have gone different ways", PERSON)
    BASE_BEHIND = "BaseBehind", _epic("the base is behind what was fetched for it", PERSON)
    PROTECTED_PATHS = (
        "ProtectedPaths",
        _task(
            "it changes protected paths; a person reads it before anything of it runs, checks too", PERSON, judged=True
        ),
    )
    DECLINED = (
        "Declined",
        _task(
            "its pull request was closed without merging",
            PERSON,
            todo="Close the task, or run 'reconcile retry {task}' to have it done again.",
        ),
    )
    SET_ASIDE = "SetAside", _task("somebody keeps its pull request from landing", PERSON)
    RECORD_DAMAGED = "RecordDamaged", _task("what is recorded of it can't be read", PERSON)
    BASE_FROZEN = "BaseFrozen", _epic("the base got a commit that was not checked", PERSON)
    # Why something is done
    DECLARED = "Declared", _task("the manifest declares it", NOTHING)
    MANIFEST_CHANGED = "ManifestChanged", _task("its entry in the manifest changed", NOTHING)
    DROPPED = "Dropped", _task("the manifest no longer declares it", NOTHING)
    REOPENED = "Reopened", _task("a person set it open again", NOTHING)
    SEEN = "Seen", _task("its labels in the tracker are updated to match reality", NOTHING)
    AGENT_DONE = "AgentDone", _task("its agent is done", NOTHING)
    LEFTOVERS = "Leftovers", _task("its run ended, and processes of it still live", NOTHING)
    OFF_ITS_BRANCH = "OffItsBranch", _task("its worktree has moved off its branch", NOTHING)
    PUSHED = "Pushed", _task("somebody pushed to its branch", NOTHING)
    NOT_GREEN = "NotGreen", _task("checks of the forge failed, perhaps by chance", NOTHING)
    OUTDATED = "Outdated", _task("its branch lacks what its base has", NOTHING)
    NO_CHECKS = "NoChecks", _task("there is nothing to check it with", NOTHING)
    CHECKS_PASSED = "ChecksPassed", _task("the checks passed on what would land", NOTHING)
    STALE = "Stale", _task("what the check is about is no longer what would land", NOTHING)
    CHECK_ENDED = "CheckEnded", _task("its check finished", NOTHING)
    REVIEW_ENDED = "ReviewEnded", _task("its review finished", NOTHING)
    LANDED = "Landed", _task("its work is on the base", NOTHING)
    TASK_CLOSED = "TaskClosed", _task("its task is closed", NOTHING)
    EXPIRED = "Expired", _task("its retention period is over", NOTHING)
    LANDED_ELSEWHERE = "LandedElsewhere", _epic("the base moved somewhere else, or a landing was cut off", NOTHING)
    UNPUSHED = "Unpushed", _epic("the remote lacks what landed", NOTHING)
    # What is amiss with what is done
    LANDING_CUT_OFF = "LandingCutOff", _epic("a landing was cut off", NOTHING)
    LANDING_UNDONE = "LandingUndone", _task("what landed was taken back, or the next commit would", NOTHING)
    UNLANDED = "Unlanded", _task("it is closed, and its work is not on the base", NOTHING)
    # Clearing up
    WORKTREE_IN_USE = "WorktreeInUse", _task("somebody uses its worktree", PERSON, passing=True)
    NESTED_REPOSITORY = "NestedRepository", _task("its worktree holds a repository of its own", PERSON)
    PATH_TAKEN = "PathTaken", _task("something else stands where its worktree belongs", PERSON)
    # A whole epic
    MANIFEST_INVALID = "ManifestInvalid", _epic("its file can't be used", PERSON)
    LOOSENING_WITHHELD = "LooseningWithheld", _epic("its file allows more than was applied", NOTHING)
    TRACKER_UNAVAILABLE = "TrackerUnavailable", _epic("its tasks can't be read", PERSON, passing=True)
    FORGE_UNAVAILABLE = (
        "ForgeUnavailable",
        _epic("its forge, or its base branch, can't be used or is not there", PERSON),
    )
    NOT_WRITABLE = (
        "NotWritable",
        _epic("a folder that it has to write to takes nothing: it is full, or read-only", PERSON, passing=True),
    )
    FILTER_MISSING = (
        "FilterMissing",
        _epic(
            "files of its base need a filter that is not here, fails, or is set by the repository's own config alone",
            PERSON,
        ),
    )
    REPOSITORY_RENAMED = "RepositoryRenamed", _epic("its repository has another name now", NOTHING)
    EPIC_NOT_FOUND = "EpicNotFound", _epic("there is no such epic", PERSON)
    EPIC_IS_WORK = "EpicIsWork", _epic("what it names as its epic is a task of another manifest", PERSON)
    EPIC_EMPTY = "EpicEmpty", _epic("its epic has no tasks", PERSON)
    EPIC_COMPLETE = "EpicComplete", _epic("all of its tasks are closed", NOTHING)
    PROGRESSING = "Progressing", _epic("something runs, is due or has a timer", NOTHING)
    CONVERGED = "Converged", _epic("everything matches the manifest", NOTHING)
    UNKNOWN = "Unknown", _task("something did not answer", SOURCE, passing=True)
