"""Who goes first in the line of a base. Pure."""

from __future__ import annotations

from reconciler.planning.job import Job
from reconciler.planning.labels import line_priority

REPAIRED = -1  # a priority above all that a task can have


def rank(job: Job) -> tuple[bool, int, int]:
    """What may land before what a person has yet to see, then by priority, then by number.

    What was repaired for this base goes first: whatever lands before it may put it in conflict again.
    """
    return not job.offer.approved, REPAIRED if job.attempts.repairs else line_priority(job.task), job.number or 0
