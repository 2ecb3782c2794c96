"""Fitting tri-planes to views of subjects: losses, one step and the loop."""
