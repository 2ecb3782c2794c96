"""Fitting tri-planes to pictures of people: the losses, the step and the loop."""
