"""From a head to the base, for every forge.

* `candidates`, `chains`, `merging`, `merge_tree`, `filtered`: what a landing would make, computed without writing anything.
* `commits`, `message`, `squash`, `signature`, `rerere`: the commit that lands, the same each time it is made.
* `landing`, `intents`, `stacks`: the base moves. `checkouts`, `opened`, `following`: what has it checked out goes with it.
* `remotes`, `refusals`, `large_uploads`: the base is pushed.
* `history`, `walked`, `undone`: what has landed, and what of it was taken back.
* `changes`, `named`: what a pull request brings, for people and for the planner.
"""
