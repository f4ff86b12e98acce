"""A cluster: Slurm by its command line, what it was asked in PostgreSQL, one bash wrapper around each run."""

from madang.engines.slurm.commands import Breaker, Commands
from madang.engines.slurm.engine import SlurmEngine, schema

__all__ = ["Breaker", "Commands", "SlurmEngine", "schema"]
