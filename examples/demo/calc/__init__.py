"""A calculator, in the making."""
