"""The life of a task, in order. A job's next step is the first line here that has something to say."""

from collections.abc import Callable

from reconciler.model.reasons import Reason
from reconciler.planning.actions import approval, guards
from reconciler.planning.actions.base import Action, Decision, Waiting
from reconciler.planning.actions.block_task import BlockTask, RetryTask
from reconciler.planning.actions.close_task import CloseEpic, ClosePullRequest, CloseTask
from reconciler.planning.actions.declare_tasks import CreateTask, UpdateTask
from reconciler.planning.actions.enqueue import Enqueue, in_the_forges_queue
from reconciler.planning.actions.follow import FollowBase, FollowBranch
from reconciler.planning.actions.land import Land
from reconciler.planning.actions.open_pull_request import OpenPullRequest
from reconciler.planning.actions.post_review import PostReview, WithdrawReview
from reconciler.planning.actions.prune import DeleteBranch, DropSalvage, PushBase, RemoveWorktree
from reconciler.planning.actions.relay import Relay
from reconciler.planning.actions.rerun_checks import RerunChecks
from reconciler.planning.actions.set_phase import SetPhase
from reconciler.planning.actions.start_agent import RestartAgent, StartAgent
from reconciler.planning.actions.start_check import ClearStaging, StageChecks, StartCheck
from reconciler.planning.actions.start_review import StartReview
from reconciler.planning.actions.stop_agent import StopAgent
from reconciler.planning.actions.unstack import Unstack, on_top
from reconciler.planning.actions.update_branch import UpdateBranch
from reconciler.planning.job import Job

Rule = Callable[[Job], Decision]

LIFECYCLE: tuple[Rule, ...] = (
    guards.not_for_us,        # another manifest's, held, suspended   -> left alone
    StopAgent.due,            # closed, taken, stopped, overdue       -> its agent ends
    guards.resting,           # an action went wrong                  -> tried again later
    Relay.due,                # its agent elsewhere says something    -> passed on to the tracker
    guards.at_work,           # an agent running                      -> waited for
    guards.unseen,            # a source is silent                    -> nothing on half a picture
    ClosePullRequest.due,     # its branch deleted by a person        -> declined
    RetryTask.due,            # set open again by a person            -> starts over
    guards.somebody_elses,    # taken, stopped, assigned elsewhere    -> left alone
    CloseTask.due,            # its work is on the base               -> closed
    guards.for_a_person,      # handed over                           -> waits for the person
    guards.deferred_by_user,  # deferred or blocked by somebody       -> left alone
    FollowBranch.due,         # pushed to by somebody                 -> the branch here follows
    Unstack.due,              # began on what has landed since        -> on the base, with what is its own
    PostReview.due,           # judged by its reviewer                -> its verdict posted
    WithdrawReview.due,       # its verdict is about something else   -> taken back there
    BlockTask.due,            # no agent can do more                  -> handed to a person
    OpenPullRequest.due,      # its agent ended well, with commits    -> offered
    UpdateBranch.brings_a_fix,  # red as the base was beneath it      -> the base as it is now in it
    RerunChecks.due,          # red on the forge, once                -> run again there
    RestartAgent.due,         # failed, red, rejected, in conflict    -> another attempt
    on_top,                   # began on what has not landed          -> waits for that
    in_the_forges_queue,      # in the merge queue of its forge       -> the forge merges it
    approval.pr_on_hold,      # a draft, somebody's auto-merge        -> waits for the person
    StartReview.due,          # tested, and for an agent to judge     -> being reviewed
    approval.asks_when_green, # tested, and a person must say yes     -> waits for the person
    Enqueue.due,              # green, and its forge has a queue      -> in that queue
    StartCheck.due,           # offered                               -> the merged tree under test
    approval.asks_a_person,   # whatever was tested                   -> nothing lands without their yes
    UpdateBranch.due,         # green, without the base in it         -> the base in it
    Land.due,                 # green                                 -> on the base, closed
    StartAgent.due,           # ready                                 -> being worked on
)  # fmt: skip

AFTERLIFE: tuple[Rule, ...] = (
    guards.not_for_us,
    StopAgent.due,            # closed under its agent                -> its agent ends
    guards.resting,
    guards.at_work,
    guards.unseen,
    ClosePullRequest.due,     # closed with a pull request open       -> closed as well
    RemoveWorktree.due,       # closed                                -> no worktree
    DeleteBranch.due,         # closed, and all of it on the base     -> no branch
)  # fmt: skip


# The same, for a task of which nothing is there but itself: no other line has anything to say of it. Most tasks are such.
BEGINNING: tuple[Rule, ...] = (
    guards.not_for_us,
    guards.unseen,
    guards.somebody_elses,
    guards.deferred_by_user,
    StartAgent.due,
)


def next_step(job: Job) -> Decision:
    """The next action of `job`, or why it waits; None when nothing is left to do for it."""
    for rule in BEGINNING if job.fresh else AFTERLIFE if job.done else LIFECYCLE:
        if word := rule(job):
            return word
    return None if job.done else Waiting(Reason.UNKNOWN, "nothing is known that could be done for it")


__all__ = [
    "AFTERLIFE",
    "LIFECYCLE",
    "Action",
    "BlockTask",
    "ClearStaging",
    "CloseEpic",
    "ClosePullRequest",
    "CloseTask",
    "CreateTask",
    "Decision",
    "DeleteBranch",
    "DropSalvage",
    "Enqueue",
    "FollowBase",
    "FollowBranch",
    "Land",
    "OpenPullRequest",
    "PostReview",
    "PushBase",
    "Relay",
    "RemoveWorktree",
    "RerunChecks",
    "RestartAgent",
    "RetryTask",
    "SetPhase",
    "StageChecks",
    "StartAgent",
    "StartCheck",
    "StartReview",
    "StopAgent",
    "Unstack",
    "UpdateBranch",
    "UpdateTask",
    "Waiting",
    "WithdrawReview",
    "next_step",
]
