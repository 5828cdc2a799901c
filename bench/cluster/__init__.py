"""Runs as jobs of a SLURM cluster: scripts, jobs that find each other, and what is left of a run when one dies."""
