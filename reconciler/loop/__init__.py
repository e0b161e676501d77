"""Look, decide, do, and again: `observer` asks the ports, `executor` performs a plan, `loop` says when."""
