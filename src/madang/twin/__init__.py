"""Simulate a cluster: what a machine would have done for the jobs of a trace, or for those that a model makes up.

    import madang.twin as twin

    trace = twin.read(Path("trace.swf.gz"), gpus=100)
    outcome = twin.simulate(trace, twin.Machine(gpus=100), "easy")
    print(twin.measure(trace, outcome.starts, gpus=100).wait.mean)

A library that knows nothing of the site: whoever holds a ledger or jobs exports a table for it. Times are whole seconds
and sizes whole GPUs; floats appear in statistics only.
"""

from madang.twin.cluster import Machine
from madang.twin.errors import BadInput
from madang.twin.formats import parse_map, read
from madang.twin.measure import Measures, measure
from madang.twin.policies import POLICIES, Outcome, simulate
from madang.twin.priority import Multifactor
from madang.twin.slurm import Slurm
from madang.twin.tiers import Stretch, Tiers
from madang.twin.trace import CHANGES, Raw, Refusal, Trace, canonical, from_columns

__all__ = [
    "CHANGES",
    "POLICIES",
    "BadInput",
    "Machine",
    "Measures",
    "Multifactor",
    "Outcome",
    "Raw",
    "Refusal",
    "Slurm",
    "Stretch",
    "Tiers",
    "Trace",
    "canonical",
    "from_columns",
    "measure",
    "parse_map",
    "read",
    "simulate",
]
