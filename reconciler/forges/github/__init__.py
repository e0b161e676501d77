"""GitHub, through the user's own `gh`: pull requests and landings there, merging and checking of trees here, by git.

* `forge`: all of it together, as a forge.
* `slug`: which repository a remote names. `gh`, `answers`, `spending`: how it is asked, what a refusal means, what it cost.
* `query`, `pull`, `check_results`, `rules`: the one query and what its answer says. Pure but for the reading of rules.
* `look`: the newest answer, and when the next one is worth its points.
* `branches`: the branches of our tasks on both sides. `words`: text that does nothing there.
* `landing`, `notes`: a merge that is asked for once and always read back.
* `verdicts`: given here, by `reconcile approve`, `reject` and `merge`.

What is plain git is that of the local forge: candidates are merged here, on the base as GitHub has it.
"""
