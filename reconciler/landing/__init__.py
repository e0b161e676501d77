"""From a head to the base, for every forge.

* `candidates`, `chains`, `merging`, `merge_tree`: what a landing would make, computed without writing anything.
* `commits`, `message`, `signature`: the commit that lands, the same each time it is made.
* `landing`, `intents`, `checkouts`, `opened`, `following`, `remotes`: the base moves, what has it checked out follows, and so does the remote.
* `history`: what has landed, read from the base.
* `record`, `changes`: what is kept about a pull request, and what it brings, for people.
"""
