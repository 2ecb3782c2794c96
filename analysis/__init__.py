"""Tables, figures and the report of a run. Runs on a login node, without torch."""
