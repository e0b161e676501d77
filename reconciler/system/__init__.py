"""The machine: programs, locks, file events, the environment and the journal. Knows no task."""
