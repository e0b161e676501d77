"""Every reason why nothing is done for a task, or why an action is taken: one word for programs, closed and documented."""

from enum import StrEnum


class Reason(StrEnum):
    """Why. The value is the word in JSON; people get a sentence beside it."""

    # Before an agent starts
    READY = "Ready"
    BLOCKED = "Blocked"
    DEFERRED = "Deferred"
    BACKOFF = "Backoff"
    NO_AGENT_SLOT = "NoAgentSlot"
    AGENT_BROKEN = "AgentBroken"
    AGENT_UNAVAILABLE = "AgentUnavailable"
    USAGE_LIMIT = "UsageLimit"
    BUDGET_SPENT = "BudgetSpent"
    BUDGET_LOW = "BudgetLow"
    PROGRAM_REPLACED = "ProgramReplaced"
    # Somebody said: not now, or not you
    SUSPENDED = "Suspended"
    STOPPED = "Stopped"
    TAKEN = "Taken"
    ASSIGNED_ELSEWHERE = "AssignedElsewhere"
    OWNED_BY = "OwnedBy"
    UNUSABLE_ID = "UnusableId"
    TASK_GONE = "TaskGone"
    # An agent at work, and how its work ended
    AGENT_RUNNING = "AgentRunning"
    AGENT_FAILED = "AgentFailed"
    NO_CHANGES = "NoChanges"
    SETUP_FAILED = "SetupFailed"
    STUCK = "Stuck"
    TIMED_OUT = "TimedOut"
    BLOCKED_BY_AGENT = "BlockedByAgent"
    # On the way to the base
    AWAITING_APPROVAL = "AwaitingApproval"
    AWAITING_MERGE = "AwaitingMerge"
    AWAITING_REVIEW = "AwaitingReview"
    CHANGES_REQUESTED = "ChangesRequested"
    CHECKS_PENDING = "ChecksPending"
    CHECKS_RUNNING = "ChecksRunning"
    CHECKS_FAILED = "ChecksFailed"
    CHECK_BROKEN = "CheckBroken"
    CONFLICT = "Conflict"
    PUSH_REFUSED = "PushRefused"
    LANDING_QUEUED = "LandingQueued"
    CHECKOUT_IN_THE_WAY = "CheckoutInTheWay"
    BASE_DIVERGED = "BaseDiverged"
    BASE_BEHIND = "BaseBehind"
    PROTECTED_PATHS = "ProtectedPaths"
    DECLINED = "Declined"
    SET_ASIDE = "SetAside"
    RECORD_DAMAGED = "RecordDamaged"
    BASE_FROZEN = "BaseFrozen"
    # What is amiss with what is done
    LANDING_CUT_OFF = "LandingCutOff"
    LANDING_UNDONE = "LandingUndone"
    UNLANDED = "Unlanded"
    # Clearing up
    WORKTREE_IN_USE = "WorktreeInUse"
    NESTED_REPOSITORY = "NestedRepository"
    PATH_TAKEN = "PathTaken"
    # A whole epic
    MANIFEST_INVALID = "ManifestInvalid"
    LOOSENING_WITHHELD = "LooseningWithheld"
    TRACKER_UNAVAILABLE = "TrackerUnavailable"
    FORGE_UNAVAILABLE = "ForgeUnavailable"
    REPOSITORY_RENAMED = "RepositoryRenamed"
    EPIC_NOT_FOUND = "EpicNotFound"
    EPIC_EMPTY = "EpicEmpty"
    EPIC_COMPLETE = "EpicComplete"
    PROGRESSING = "Progressing"
    CONVERGED = "Converged"
    UNKNOWN = "Unknown"


NEEDS_A_PERSON = frozenset(
    {
        Reason.STOPPED,
        Reason.TAKEN,
        Reason.ASSIGNED_ELSEWHERE,
        Reason.UNUSABLE_ID,
        Reason.TASK_GONE,
        Reason.SUSPENDED,
        Reason.AGENT_BROKEN,
        Reason.AGENT_UNAVAILABLE,
        Reason.BUDGET_SPENT,
        Reason.PROGRAM_REPLACED,
        Reason.BLOCKED_BY_AGENT,
        Reason.AWAITING_APPROVAL,
        Reason.AWAITING_MERGE,
        Reason.AWAITING_REVIEW,
        Reason.CHECKS_PENDING,
        Reason.CHECK_BROKEN,
        Reason.CHECKOUT_IN_THE_WAY,
        Reason.BASE_DIVERGED,
        Reason.BASE_BEHIND,
        Reason.PROTECTED_PATHS,
        Reason.DECLINED,
        Reason.SET_ASIDE,
        Reason.RECORD_DAMAGED,
        Reason.BASE_FROZEN,
        Reason.WORKTREE_IN_USE,
        Reason.NESTED_REPOSITORY,
        Reason.PATH_TAKEN,
        Reason.MANIFEST_INVALID,
        Reason.TRACKER_UNAVAILABLE,
        Reason.FORGE_UNAVAILABLE,
        Reason.EPIC_NOT_FOUND,
        Reason.EPIC_EMPTY,
    }
)
"""Waiting for one of these ends only when a person, or another program, does something."""
