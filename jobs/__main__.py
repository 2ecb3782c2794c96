"""`python -m jobs` is `rodin`."""

from jobs.cli import main

main()
