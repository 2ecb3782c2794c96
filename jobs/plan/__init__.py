"""The plan of a run before anything is submitted: hours, disk and network sizes."""
