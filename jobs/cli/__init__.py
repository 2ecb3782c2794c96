"""The command `rodin`, one file a group of commands. Only this package prints results, notes and progress.

Workers in jobs write log lines besides (`jobs.run.progress`, `jobs.launch.worker`, `jobs.launch.element`), and
`jobs.run.failures.print_error` writes the one error line of the command line and of workers.

Modules that load torch or matplotlib are imported inside the command that needs them, so that `rodin` starts at once.
"""
