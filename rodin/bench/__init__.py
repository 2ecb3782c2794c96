"""Benchmarks of this machine, each against a named baseline in the same run. Only the command line imports them."""
