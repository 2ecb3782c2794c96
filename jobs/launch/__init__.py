"""Submitting and following jobs, on this machine or on Slurm, and the worker that runs inside a job."""
