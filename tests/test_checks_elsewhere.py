"""What is said of checks that run on other machines."""

from __future__ import annotations

from datetime import timedelta

import worlds
from test_freeze import red_base

from reconciler.model.observed import RunState
from reconciler.model.values import replace
from reconciler.model.venue import Venue, VenueKind
from reconciler.planning.check_state import whereabouts
from reconciler.planning.planner import plan

NODES = Venue(kind=VenueKind.SSH, hosts=("n1",))


def test_of_a_check_it_is_said_where_it_is_or_what_it_waits_for_or_that_nobody_hears_its_node() -> None:
    run = replace(worlds.a_check("running"), state=RunState.RUNNING, where="slurm:n2")
    assert whereabouts(run, worlds.NOW) == " on n2"
    assert (
        whereabouts(replace(run, where="slurm", remark="Resources"), worlds.NOW) == ", once there is a node (Resources)"
    )
    silent = replace(run, heard_at=worlds.ago(240), gives_up_at=worlds.NOW + timedelta(minutes=26))
    assert whereabouts(silent, worlds.NOW) == (
        ": no word from n2 for 4 min; given up in 26 min; 'reconcile stop x-1 --give-up' does it now"
    )
    assert whereabouts(worlds.a_check("running"), worlds.NOW) == ""


def test_what_checks_lack_on_nodes_is_to_be_installed_there() -> None:
    epic = worlds.an_epic(merge={"runner": NODES})
    observed = red_base(127)
    (run,) = next(iter(observed.checks.values()))
    run = replace(run, id=replace(run.id, subject=epic.subject_of(run.tree)), where="ssh:n1")
    observed = worlds.seen(*observed.tasks.values(), checks=(run,), recent=observed.recent)
    said = (
        plan(worlds.wanted(epic), replace(observed, printed={run.id: "sh: 1: superlint: not found"})).epics[0].degraded
    )
    assert said and "superlint was not found (exit status 127," in said.message
    assert "install it on the nodes where checks run, or fix mergePolicy.checks" in said.message
