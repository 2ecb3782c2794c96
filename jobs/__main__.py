"""`python -m jobs` is `rodin`."""

from jobs.cli.app import main

main()
