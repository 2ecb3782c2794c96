"""A model of Slurm, of the clock and of a shared disk, under the real launcher: seeds that break it at random."""
