"""The policies by name, and the one function that runs a trace through one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, get_args

from madang.twin import plain, priority, tiers
from madang.twin.cluster import Machine
from madang.twin.errors import BadInput
from madang.twin.priority import Multifactor
from madang.twin.slurm import Slurm, backfilled
from madang.twin.tiers import Stretch, Tiers
from madang.twin.trace import Trace

Engine = Literal["auto", "plain", "numba"]

POLICIES = {
    "fcfs": "start from the front of the queue; the first job that doesn't fit stops the pass",
    "sjf": "the queue by (limit, submit, input), made anew in every pass; the first that doesn't fit stops it",
    "easy": "FCFS, and a later job may start if it doesn't delay the first one that waits (EASY backfill)",
    "conservative": "every waiting job has a reservation that never moves later; a job starts when its slot is now",
    "fairshare": "the queue by Slurm's multifactor priority with fair-share, and EASY backfill on it",
    "preempt": "the queue by tier; what doesn't fit may stop jobs of lower tiers, and EASY backfill for the rest",
    "slurm": "a main pass at arrivals and ends, and cycles of backfill as Slurm's sched/backfill has them by default",
}
ONE_POOL = {
    "conservative": "conservative backfill",
    "fairshare": "fair-share",
    "preempt": "preemption",
    "slurm": "Slurm's backfill",
}
Rules = Multifactor | Tiers | Slurm
RULED: dict[str, tuple[str, type[Rules], str]] = {
    "fairshare": ("fair-share", Multifactor, "weights: age, fairshare, size"),
    "preempt": ("preemption", Tiers, "tiers: which are higher than 0?"),
    "slurm": ("Slurm's backfill", Slurm, "rules of its own"),
}
ALONE = tuple(name for name in POLICIES if name not in RULED or name == "slurm")  # who need no rules
SMALL = 200_000  # jobs up to which the plain loop is as quick, as the compiled one needs half a second to be loaded
PATIENCE = 8_000_000  # looks at waiting jobs after which it is not


@dataclass(frozen=True)
class Outcome:
    """The start of each job of the trace, in its order, seconds from the first submit; and what computed it. Under
    preemption the first start, and all stretches in which jobs held their GPUs."""

    starts: Sequence[int]
    engine: Literal["plain", "numba"]
    stretches: Sequence[Stretch] = ()


def simulate(
    trace: Trace,
    machine: Machine,
    policy: str = "easy",
    engine: Engine = "auto",
    rules: Rules | None = None,
) -> Outcome:
    """Run the trace through the machine. `rules` are those of fairshare and of preempt, which need them, and of slurm.

    `engine` says by which program, and never changes the result: the plain loops, the compiled kernel (the extra
    `twin`), or whichever is quicker. Raises BadInput.

    >>> from madang.twin import from_columns
    >>> jobs = from_columns(submit=[0, 1, 2], run=[10, 10, 5], gpus=[3, 4, 1], machine=4)
    >>> {name: list(simulate(jobs, Machine(4), name).starts) for name in ("fcfs", "easy")}
    {'fcfs': [0, 10, 20], 'easy': [0, 10, 2]}
    """
    if policy not in POLICIES:
        raise BadInput(f"no policy is called {policy!r}: {', '.join(POLICIES)}")
    if engine not in get_args(Engine):
        raise BadInput(f"no engine is called {engine!r}: {', '.join(get_args(Engine))}")
    if rules is not None and policy not in RULED:
        raise BadInput(f"{policy} has no rules: they are of {', '.join(RULED)}")
    if policy in ONE_POOL and machine.nodes_of:
        raise BadInput(f"{ONE_POOL[policy]} is defined on a pool: leave --nodes-of out")
    if policy in ONE_POOL and machine.deliveries:
        raise BadInput(f"{ONE_POOL[policy]} is defined for a machine that stays as it is")
    if (largest := max(trace.gpus)) > machine.most:
        raise BadInput(f"a job asks for {largest:,} GPUs of {machine.most:,}: read the trace for this machine")
    if policy in RULED:
        return _ruled(trace, machine, policy, engine, rules)
    compiled = has_kernel()
    if engine == "numba" and not compiled:
        raise BadInput("the compiled kernel needs the extra “twin”: pip install 'madang[twin]'")
    small = SMALL if policy != "conservative" else SMALL // 100
    if engine == "numba" or (engine == "auto" and compiled and len(trace) > small):
        return _compiled(trace, machine, policy)
    jobs = _jobs(trace)
    if policy == "fcfs":
        return Outcome(plain.first_come(jobs, machine), "plain")
    if policy == "sjf":
        return Outcome(plain.shortest(jobs, machine), "plain")
    if policy == "conservative":
        return Outcome(plain.conservative(jobs, machine), "plain")
    try:
        return Outcome(plain.easy(jobs, machine, PATIENCE if compiled and engine == "auto" else plain.NEVER), "plain")
    except plain.TooMuch:
        return _compiled(trace, machine, policy)


def _ruled(trace: Trace, machine: Machine, policy: str, engine: Engine, rules: Rules | None) -> Outcome:
    name, kind, lacking = RULED[policy]
    if rules is None and policy == "slurm":
        rules = Slurm()
    if not isinstance(rules, kind):
        raise BadInput(f"{name} needs {lacking}")
    if engine == "numba":
        raise BadInput(f"{name} has no compiled kernel: leave --engine out")
    if isinstance(rules, Multifactor):
        return Outcome(priority.fairshare(_jobs(trace), machine, people(trace, rules), rules), "plain")
    if isinstance(rules, Slurm):
        whose = people(trace, rules.priority) if rules.priority else ()
        return Outcome(backfilled(_jobs(trace), machine, whose, rules), "plain")
    if rules.column not in trace.more:
        raise BadInput(f"preemption needs the {rules.column} of each job, and the trace names none")
    names = trace.more[rules.column]
    if unknown := sorted(set(rules.of) - set(names)):
        raise BadInput(f"no job of the trace has the {rules.column} {unknown[0]!r}")
    stretches = tiers.preempting(_jobs(trace), machine, [rules.of.get(name, 0) for name in names], rules)
    return Outcome(tiers.first_starts(len(trace), stretches), "plain", stretches)


def people(trace: Trace, rules: Multifactor) -> list[priority.Person]:
    """(account, user) of each job. Raises BadInput where the trace names neither, or not who was given a share."""
    nobody = [""] * len(trace)
    accounts, users = (trace.more.get(name, nobody) for name in ("account", "user"))
    found = list(zip(accounts, users, strict=True))
    known = set(accounts) | {"/".join(person) for person in found}
    if rules.fairshare and known == {"", "/"}:
        raise BadInput("fair-share needs whose each job was, and the trace names no account and no user")
    if unknown := [name for name in rules.shares if name not in known]:
        raise BadInput(f"nobody in the trace is called {unknown[0]!r}: a share is of an account, or of account/user")
    return found


def _jobs(trace: Trace) -> plain.Jobs:
    return plain.Jobs(list(trace.submit), list(trace.run), list(trace.gpus), list(trace.limit))


def has_kernel() -> bool:
    return find_spec("numba") is not None


def _compiled(trace: Trace, machine: Machine, policy: str) -> Outcome:
    from madang.twin import kernel

    return Outcome(kernel.run(trace, machine, policy), "numba")
