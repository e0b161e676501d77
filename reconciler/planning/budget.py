"""What runs have used, and what that means to a budget. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from reconciler.model.agent_kinds import REPORTS_COST, AgentKind
from reconciler.model.desired import Budget, EpicSpec
from reconciler.model.observed import Run
from reconciler.model.report import Report

LEAST_USD = 0.01
_NONE = Report()


class Spend(Struct, frozen=True, kw_only=True):
    """What was used at least. `untold`: runs that were to say what they cost and could not, because they were killed."""

    usd: float = 0.0
    tokens: int = 0
    untold: int = 0


def spent(runs: Iterable[Run]) -> Spend:
    """What these runs have used; one that is alive says so when it ends."""
    usd, tokens, untold = 0.0, 0, 0
    so_far: dict[str, tuple[float, int]] = {}  # of sessions of which the last run tells for all before it
    for run in runs:
        report = run.report or _NONE
        if (report is _NONE and not run.agent) or run.started_at is None or run.alive:
            continue  # of those that can cost something, what is over
        untold += report.usd is None and run.agent in REPORTS_COST
        before = so_far.get(report.session or "", (0.0, 0)) if report.of_session else (0.0, 0)
        used = max(report.usd or 0.0, before[0]), max(report.tokens or 0, before[1])
        usd, tokens = usd + used[0] - before[0], tokens + used[1] - before[1]
        if report.of_session and report.session:
            so_far[report.session] = used
    return Spend(usd=usd, tokens=tokens, untold=untold)


def used_up(budget: Budget, spend: Spend) -> str | None:
    """What of a manifest's budget is used up, in words; None where nothing is."""
    return next((words for words, used, most in _measured(budget, spend) if used >= most), None)


def running_low(budget: Budget, spend: Spend) -> str | None:
    """What of a manifest's budget is nearly used up, in words; None where nothing is."""
    low = (words for words, used, most in _measured(budget, spend) if used >= most * budget.warn_at)
    return next(low, None)


def task_used_up(budget: Budget, spend: Spend) -> str | None:
    """Why a task may not cost any more, in words; None where it may."""
    most = budget.usd_per_task
    if most is None or spend.usd < most:
        return None
    return f"it has cost ${spend.usd:.2f} of the ${most:.2f} that a task may cost; raise budget.usdPerTask to go on"


def allowance(budget: Budget, spend: Spend) -> float | None:
    """What a run may cost: all that one may, or less where less is left of what its task may, which has cost `spend`. That can be
    little."""
    left = None if budget.usd_per_task is None else max(budget.usd_per_task - spend.usd, LEAST_USD)
    return min((most for most in (left, budget.usd_per_run) if most is not None), default=None)


def unkept(spec: EpicSpec) -> Iterator[tuple[str, str]]:
    """For which runs of a manifest nobody keeps what one of them may cost, and what to do about it, in words."""
    most = spec.budget.usd_per_run
    if most is None:
        return
    asked = {"agent": spec.agent, **({"reviewer": spec.reviewing} if spec.merge.reviewed_by_agents else {})}
    written = {
        name for name in asked if name == "agent" or spec.reviewer
    }  # the reviewer of none has the fields of the agent
    keep = ", ".join(each for each in AgentKind if each.row.bounded)
    for kind in dict.fromkeys(each.kind for each in asked.values() if not each.kind.row.bounded):
        alike = [name for name, each in asked.items() if each.kind is kind]
        who, fields = (
            " and ".join(f"{name}s" for name in alike),
            ", ".join(f"{n}.timeout" for n in alike if n in written),
        )
        yield (
            f"budget.usdPerRun (${most:.2f}) does not hold for its {who}: one of kind {kind} can't be given a limit, and does not say "
            "what it costs while it works",
            f"take it out and bound the time of a run ({fields}), or name one that keeps it: {keep}",
        )


def cost_so_far(budget: Budget, spend: Spend, run: Run, share: float = 1.0) -> str | None:
    """What a run that is alive says that it has cost, in words, once that is this share of what it may; None before, and where it
    does not say."""
    most = allowance(budget, spend)
    if run.usd is None or most is None or run.usd < most * share:
        return None
    return f"it has cost ${run.usd:.2f} of the ${most:.2f} that it may"


def _measured(budget: Budget, spend: Spend) -> Iterator[tuple[str, float, float]]:
    if budget.usd is not None:
        yield f"${spend.usd:.2f} of ${budget.usd:.2f} are spent", spend.usd, budget.usd
    if budget.tokens is not None:
        yield f"{spend.tokens} of {budget.tokens} tokens are used", spend.tokens, budget.tokens
