"""Reconcile a repository with its manifests: what is wanted and what is seen, brought together one step at a time.

::

     manifests/*.yaml ─▶ manifest ─▶ Desired ──┐
                                               ├─▶ planner ─▶ Plan(actions, waiting) ─▶ executor ─▶ ports ─▶ the world
     the world ─▶ ports ─▶ observer ─▶ Observed┘     pure                                   │
          ▲                                    actions/*.due                         actions/*.perform
          └──────── loop: again and again; cli chooses: diff = stop after Plan · apply = until quiet · watch = for ever

What decides is pure: everything in `planning`, every action's `due` included, is a function of the plain values of `model`
(`desired`, `observed`), and can be asked without a computer around it:

>>> from datetime import UTC, datetime
>>> from reconciler.model.desired import Desired, EpicSpec
>>> from reconciler.model.observed import Base, Observed, Task
>>> from reconciler.model.names import Sha, TaskId
>>> from reconciler.planning.planner import plan
>>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
>>> task = Task(id=TaskId("x-1"), title="Write the parser", created_at=noon, updated_at=noon)
>>> seen = Observed(at=noon, tasks={task.id: task}, bases={"main": Base(name="main", head=Sha("b0" * 20))})
>>> [f"{type(action).__name__} {action.task}" for action in plan(Desired(epics=(EpicSpec(name="all"),)), seen).actions]
['StartAgent x-1']

What does goes through one seam each: `system.shell` starts programs, `git` makes them harmless, `runners.supervisor` is the
parent of every run and outlives us, `model.ports` names everything that an action may touch. Adapters stand behind the ports
(`trackers`, `forges`, `runners`, `agents`, `workspaces`, and a world in memory with the tests) and know no policy; `wiring`
alone knows them all. `landing` brings a head to the base, for every forge.

Four rules carry the rest:

* A run (an attempt, a check) is the one kind of work that takes time: a detached process with a folder and a computable
  name. The loop starts and observes runs and never waits for one.
* A run is alive while a kernel lock is held, not while a pid exists.
* Names are computable and every effect is a compare-and-swap, so repeating an action finds what the last try left.
* `Unknown` is not absent: where a source did not answer, nothing that depends on it is started, landed or removed.

The life of a task is a table of contents: `reconciler.planning.actions.LIFECYCLE`.
"""

__version__ = "0.1.0"
