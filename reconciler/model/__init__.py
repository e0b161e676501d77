"""The words: names, errors, reasons, the two inputs of the planner and the ports. Values and promises, no behaviour."""
