"""The decision: what is due, from what is wanted and what is seen. Pure: no clock, no files, no processes."""
