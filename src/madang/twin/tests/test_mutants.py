"""The comparison with the reference is worth what it finds: each of these faults, planted in a program, must be found.

The kernel is run as plain Python here, with few and small time buckets, so that its faults show in small cases.
"""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from madang.twin import Machine, Multifactor, plain
from madang.twin.tests.reference import Cycled, Job, Reference, Tiered, Worldly
from madang.twin.tests.test_world import site

ROOM = Path(plain.__file__).parent
CASES = 1500
EASY = {
    "ending at the reservation's time is too late": ("t + limit[job] <= shadow):", "t + limit[job] < shadow):"),
    "what ends together doesn't count together": ("free >= wanted and at > last", "free >= wanted"),
    "what is left over isn't used up": ("                    extra -= size\n", "                    pass\n"),
    "the reservation is made once": ("if ended or first or queue[0] != head:", "if queue[0] != head:"),
    "after an end only newcomers are looked at": ("head, known = queue[0], 1", "head, known = queue[0], max(known, 1)"),
    "what ends now can be used later": ("live[0][0] <= t:\n            job", "live[0][0] < t:\n            job"),
    "a later job overtakes": ("del queue[:first]", "del queue[1 : first + 1]"),
}  # fmt: skip
NODES = {
    "the fullest node isn't the first choice": ("range(gpus, each + 1):", "range(each, gpus - 1, -1):"),
    "the rest goes on the emptiest node": ("range(rest, each):", "range(each - 1, rest - 1, -1):"),
    "a job larger than a node needs no rest": ("(not rest or any(count[rest:each]))", "True"),
    "a job that lasts is taken for one that ends in time": ("in_time=t + limit[job] <= later.at", "in_time=True"),
    "what a later job takes isn't remembered": ("self.free, self.count = free, count", "pass"),
}  # fmt: skip
CONSERVATIVE = {
    "a reservation is forgotten when it is made anew": ("begin + limit[job], -need[job])", "begin + limit[job], 0)"),
    "an early end frees nothing": ("profile.add(t, due, need[job])", "profile.add(due, due, need[job])"),
    "a hole that is one second short is taken": (">= begin + duration", ">= begin + duration - 1"),
}
FAIRSHARE = {
    "what was used is never forgotten": ("self.value[user] * exp(x)", "self.value[user]"),
    "what runs now isn't counted": ("self.gpus[user] += gpus", "pass"),
    "use is taken as of now": ("else self.kept[user]", "else self.value[user]"),
    "who ties gets a rank of their own": ("level < top * (1 - TIED)", "level <= top"),
    "tied accounts are ranked one by one": ("levels |= _levels", "levels = _levels"),
    "who has no share is like who has used nothing": ("0.0 if not shares[who] else ", ""),
    "shares of users count for nothing": ('shares.get("/".join(person), 1)', "1"),
    "age counts for nothing": ("min(1.0, (t - self.jobs.submit[job]) / rules.max_age_s)", "0.0"),
    "priorities are calculated once": ("        for job in queue:\n            self.weigh(job, t)", "        pass"),
    "priority isn't cut to an integer": ("max(1, int(", "max(1, ("),
    "nothing starts at a calculation": ("if queue else NEVER,", "if False else NEVER,"),
    "the first that waits is delayed": ("need[job] <= extra or t + limit[job] <= shadow", "True"),
}  # fmt: skip
SLURM = {
    "a cycle comes at once": ("t >= last + rules.interval_s:", "True:"),
    "a cycle comes only at an arrival or an end": ("last + rules.interval_s if happened else NEVER", "NEVER"),
    "after a start there is no other cycle": ("last, happened = t, bool(started)", "last, happened = t, False"),
    "a cycle comes although nothing has happened": ("last, happened = t, bool(started)", "last, happened = t, True"),
    "a cycle without starts is none": (
        "            last, happened = t, bool(started)\n            if started:",
        "            if started:\n                last, happened = t, True",
    ),
    "the main pass comes with each cycle": ("if ended or arrived:", "if True:"),
    "the main pass goes past who doesn't fit": (
        "need[queue[first]] <= free:\n                go",
        "(first or need[queue[first]] <= free):\n                go",
    ),
    "the whole queue is tested": ("queue[: rules.max_job_test]", "queue[:]"),
    "who waits too long has a slot, too": ("begin <= t + rules.window_s", "True"),
    "the end of the window is outside": ("begin <= t + rules.window_s", "begin < t + rules.window_s"),
    "nothing is set aside": ("profile.add(max(begin, t), end, -need[job])", "pass"),
    "a start leaves the cycle's room as it was": ("profile.add(t, end, -need[job])", "pass"),
    "a slot isn't rounded down": ("begin - begin % rules.resolution_s", "begin"),
    "a slot isn't rounded up": ("end + -end % rules.resolution_s", "end"),
    "a slot is rounded down at its end": ("end + -end % rules.resolution_s", "end - end % rules.resolution_s"),
    "what ends together counts apart": ("if profile.at[-1] == at:", "if False:"),
    "the last that fits is left out": ("if least.pop() > free:", "if least.pop() >= free:"),
    "new priorities are no news": ("priorities.renew(t, queue) or happened", "priorities.renew(t, queue) and happened"),
    "new priorities are late": ("priorities.next(t) if priorities and queue else NEVER", "NEVER"),
    "who runs counts for nothing": ("priorities.hold(job, t, need[job])", "pass"),
    "who has ended runs on": ("priorities.hold(job, t, -need[job])", "pass"),
    "arrivals have no priority": ("priorities.weigh(job, t)", "pass"),
    "the queue goes by arrival": ("key=priorities.order", "key=int"),
}  # fmt: skip
TIERS = {
    "an equal may be stopped": ("tier[other] < tier[job]", "tier[other] <= tier[job]"),
    "who has just begun may be stopped": ("t - begun[other] >= rules.exempt_s", "True"),
    "more are stopped than needed": ("if short <= 0:\n                break", "if False:\n                break"),
    "some are stopped although all don't suffice": ("if short > 0:\n            return []", "if 0:\n            pass"),
    "who needn't be stopped isn't spared": ("if short + need[other] <= 0:", "if False:"),
    "who is done within the grace is stopped": ("if ends[job] <= t + rules.grace_s:", "if False:"),
    "those on their way out are forgotten": ("- sum(need[other] for other in leaving)", ""),
    "the earliest is stopped": ("(tier[other], -begun[other], -other)", "(tier[other], begun[other], -other)"),
    "the higher of the lower tiers is stopped": ("(tier[other], -begun[other]", "(-tier[other], -begun[other]"),
    "the GPUs are free at once": ("if rules.grace_s:", "if False:"),
    "a restart costs nothing": ("extra_s[job] = self.restart_s", "extra_s[job] = 0"),
    "a restart is work": ("held_s - self.extra_s[job])", "held_s)"),
    "every second is a checkpoint": ("worked // self.checkpoint_s * self.checkpoint_s", "worked"),
    "an older checkpoint is forgotten": ("max(self.saved[job], worked //", "max(0, worked - self.saved[job] //"),
    "who becomes old enough isn't noticed": ("ripe[0] if ripe and queue else NEVER", "NEVER"),
    "who was stopped goes to the end": ("-tier[job], job", "-tier[job], job + len(submit) * bool(work.extra_s[job])"),
    "the head is delayed": ("need[job] <= extra or not lasting", "True"),
}  # fmt: skip
WORLD = {
    "maintenance takes nobody by surprise but the scheduler": ("upto <= begin or since >= end for", "True for"),
    "a failure is foreseen": ("not self.lost[node] and all(", "all("),
    "what ran on a node goes on": ("for job in sorted(there):", "for job in []:"),
    "work is lost in spite of checkpoints": ("self.work.stop(job, extra + worked)", "self.work.stop(job, 0)"),
    "a second across leaves is a second's work": ("* 100 // (100 + self.percent[job])", ""),
    "across leaves costs nothing": ("self.rooms[number].crosses(placed) else 0", "False else 0"),
    "the limit across leaves stays": ("-(-limit * (100 + percent) // 100) + more", "limit + more"),
    "nobody waits for one leaf": ("self.t < self.arrived[job] + its.switch_wait_s", "False"),
    "the end of that wait goes unnoticed": ("(self.t + its.switch_wait_s, LOOK, job, 0)", "(self.t, LOOK, job, 0)"),
    "the emptiest leaf is taken": ("(len(empty[leaf]), leaf)", "(-len(empty[leaf]), leaf)"),
    "as many leaves as possible": ("(-len(empty[leaf]), leaf)", "(len(empty[leaf]), leaf)"),
    "the rest goes anywhere": ("leaves is None or node // self.leaf in leaves", "True"),
    "a grant begins before it begins": ("self.begin <= t < self.end", "t < self.end"),
    "what is held isn't counted": ("self.left[number] -= need * limit", "pass"),
    "what wasn't used stays held": ("self.jobs.need[job] * self.jobs.limit[job] - used", "0"),
    "waiting jobs outlive their grant": ("            self.grant_ends,", "            self.go_down if 0 else print,"),
    "a stopped job outlives its grant": ("self.t >= self.grants[self.grant[job]].end", "False"),
    "who is passed over holds others up": ("if self.passed_over(job):", "if later and self.passed_over(job):"),
    "at once is one more": ("+ self.jobs.need[job] > most", "> most"),
    "a job gives up that has begun": ("if self.begun[job] != -1 or job", "if job"),
    "who comes again keeps the place": ("return self.arrived[job], job", "return self.jobs.submit[job], job"),
    "the head is delayed": ("in_time=self.t + self.takes(job, found) <= later.at", "in_time=True"),
    "nobody counts on the end of maintenance": (
        "if self.t < end < NEVER", "if 0"),
    "the head needs its nodes for a moment": ("at, at + self.limit)}", "at, at + 1)}"),
    "an end comes after a failure": ("END, COME_BACK, GO_DOWN,", "GO_DOWN, COME_BACK, END,"),
}  # fmt: skip
KERNEL = {
    "the ring is too short": ("longest // width + 2", "longest // width - 2"),
    "newcomers are looked at after an end": ("if ended or front != head:", "if front != head:"),
    "the newcomer's turn doesn't count what is left over": (
        "if t + limit[job] > shadow:\n                        extra -= need[job]\n        live, spares",
        "pass\n        live, spares",
    ),
    "of a size only the first is tried": (
        "low = candidate[size] + 1 if size == chosen",
        "low = count if size == chosen",
    ),
    "a bucket's instants count as one": ("if due[slot] <= middle:", "if due[slot] <= high:"),
}


def cases(nodes: bool = False) -> Iterator[tuple[list[Job], Machine]]:
    draw = random.Random(11)
    for _ in range(CASES):
        each = draw.choice((3, 4, 8)) if nodes else 0
        gpus = each * draw.randint(1, 4) if nodes else draw.randint(2, 8)
        jobs = []
        for _job in range(draw.randint(3, 14)):
            run = draw.randint(1, 12)
            jobs.append(
                (draw.randint(0, 15), run, draw.randint(1, gpus), run + draw.choice((0, 0, draw.randint(1, 30))))
            )
        jobs.sort(key=lambda job: job[0])
        yield [(submit - jobs[0][0], *rest) for submit, *rest in jobs], Machine(gpus, each)


def planted(name: str, *changes: tuple[str, str]) -> dict[str, Any]:
    """The names of a module of the room after the changes."""
    source = (ROOM / f"{name}.py").read_text(encoding="utf-8")
    for old, new in changes:
        assert source.count(old) >= 1, f"{name} has no {old!r} any more"
        source = source.replace(old, new)
    module = ModuleType(f"planted_{name}")
    sys.modules[module.__name__] = module  # named tuples and dataclasses ask for it
    exec(compile(source, f"planted {name}", "exec"), module.__dict__)
    return module.__dict__


@contextmanager
def in_time(seconds: float = 2) -> Iterator[None]:
    """A fault may run for ever. Asked again and again, as one that is asked while garbage is looked for isn't heard."""

    def stop(*_args: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def survives(run: Callable[[list[Job], Machine], list[int]], policy: str, nodes: bool = False) -> bool:
    """Whether the program gives what the reference gives in every case."""
    for jobs, machine in cases(nodes):
        wanted = Reference(jobs, machine.gpus, machine.nodes_of).simulate(policy)
        try:
            with in_time():
                found = run(jobs, machine)
        except (AssertionError, IndexError, KeyError, OverflowError, TimeoutError, ValueError):
            return False
        if found != wanted:
            return False
    return True


def by(module: dict[str, Any], function: str) -> Callable[[list[Job], Machine], list[int]]:
    def run(jobs: list[Job], machine: Machine) -> list[int]:
        columns = module["Jobs"](*(list(column) for column in zip(*jobs, strict=True)))
        return list(module[function](columns, machine))

    return run


def by_kernel(*changes: tuple[str, str]) -> Callable[[list[Job], Machine], list[int]]:
    np = pytest.importorskip("numpy")
    pytest.importorskip("numba")
    bare = ("from numba import njit", "njit = lambda **_kwargs: lambda function: function")
    module = planted("kernel", bare, ("GROUP = 128", "GROUP = 1"), ("BUCKETS = 16_000", "BUCKETS = 12"), *changes)

    def run(jobs: list[Job], machine: Machine) -> list[int]:
        columns = (np.array(column, np.int64) for column in zip(*jobs, strict=True))
        return list(module["simulate"](*columns, machine, "easy").tolist())

    return run


def test_without_a_fault_every_program_gives_what_the_reference_gives():
    assert survives(by(planted("plain"), "easy_pool"), "easy")
    assert survives(by(planted("plain"), "easy_nodes"), "easy", nodes=True)
    assert survives(by(planted("plain"), "conservative"), "conservative")


def test_without_a_fault_the_kernel_gives_what_the_reference_gives():
    assert survives(by_kernel(), "easy")


@pytest.mark.parametrize("fault", EASY)
def test_a_fault_in_easy_is_found(fault):
    assert not survives(by(planted("plain", EASY[fault]), "easy_pool"), "easy")


@pytest.mark.parametrize("fault", NODES)
def test_a_fault_on_nodes_is_found(fault):
    change = NODES[fault]
    if change[0] in (ROOM / "cluster.py").read_text(encoding="utf-8"):
        cluster = planted("cluster", change)
        module = planted("plain")
        module.update(Nodes=cluster["Nodes"], suffices=cluster["suffices"])
    else:
        module = planted("plain", change)
    assert not survives(by(module, "easy_nodes"), "easy", nodes=True)


@pytest.mark.parametrize("fault", CONSERVATIVE)
def test_a_fault_in_conservative_backfill_is_found(fault):
    assert not survives(by(planted("plain", CONSERVATIVE[fault]), "conservative"), "conservative")


def fair(*changes: tuple[str, str]) -> bool:
    """Whether the loop gives what the reference gives in every case."""
    module = planted("priority", *changes)
    draw = random.Random(5)
    for jobs, machine in cases():
        names = [*product("ab", "kl")]
        people = [draw.choice(names) for _job in jobs]
        rules = module["Multifactor"](
            age=draw.choice((0, 3, 500)), fairshare=draw.choice((2, 900)), size=draw.choice((0, 50)),
            max_age_s=draw.randint(5, 40), half_life_s=draw.randint(1, 40), every_s=draw.randint(1, 12),
            shares={name: draw.randint(0, 2) for name in {who[0] for who in people} | {"/".join(people[0])}},
        )  # fmt: skip
        reference = Reference(jobs, machine.gpus)
        reference.people, reference.rules = people, rules
        columns = plain.Jobs(*(list(column) for column in zip(*jobs, strict=True)))
        try:
            with in_time():
                if module["fairshare"](columns, machine, people, rules) != reference.simulate("fairshare"):
                    return False
        except (IndexError, KeyError, TimeoutError, ValueError, ZeroDivisionError):
            return False
    return True


def test_without_a_fault_fair_share_is_its_definition():
    assert fair()


@pytest.mark.parametrize("fault", FAIRSHARE)
def test_a_fault_in_fair_share_is_found(fault):
    assert not fair(FAIRSHARE[fault])


def cycled(*changes: tuple[str, str]) -> bool:
    """Whether the loop gives what the reference gives in every case."""
    module = planted("slurm", *changes)
    draw = random.Random(7)
    for jobs, machine in cases():
        people = [draw.choice(("a", "b")) for _job in jobs]
        names = [(name, name) for name in people]
        weights = Multifactor(
            age=draw.choice((0, 500)), fairshare=draw.choice((2, 900)), size=draw.choice((0, 50)),
            max_age_s=draw.randint(5, 40), half_life_s=draw.randint(1, 40), every_s=draw.randint(2, 12),
        )  # fmt: skip
        rules = module["Slurm"](
            draw.randint(1, 9), draw.choice((1, 2, 3, 99)), draw.choice((1, 2, 5)), draw.randint(1, 40),
            draw.choice((None, weights)),
        )  # fmt: skip
        columns = plain.Jobs(*(list(column) for column in zip(*jobs, strict=True)))
        try:
            with in_time():
                if (
                    module["backfilled"](columns, machine, names, rules)
                    != Cycled(jobs, machine.gpus, rules, names).seconds()
                ):
                    return False
        except (IndexError, KeyError, TimeoutError, ValueError):
            return False
    return True


def test_without_a_fault_slurms_backfill_is_its_definition():
    assert cycled()


@pytest.mark.parametrize("fault", SLURM)
def test_a_fault_in_slurms_backfill_is_found(fault):
    assert not cycled(SLURM[fault])


def tiered(*changes: tuple[str, str]) -> bool:
    """Whether the loop gives what the reference gives in every case."""
    module = planted("tiers", *changes)
    draw = random.Random(6)
    for jobs, machine in cases():
        tier = [draw.randint(0, 2) for _job in jobs]
        times = {name: draw.choice((0, 1, 3, 6)) for name in ("exempt_s", "grace_s", "checkpoint_s", "restart_s")}
        rules = module["Tiers"]({"high": 1}, **times)
        columns = plain.Jobs(*(list(column) for column in zip(*jobs, strict=True)))
        try:
            with in_time():
                found = sorted(module["preempting"](columns, machine, tier, rules))
        except (AssertionError, IndexError, KeyError, TimeoutError, ValueError):
            return False
        if found != sorted(Tiered(jobs, machine.gpus, tier, rules).simulate()):
            return False
    return True


def test_without_a_fault_preemption_is_its_definition():
    assert tiered()


@pytest.mark.parametrize("fault", TIERS)
def test_a_fault_in_preemption_is_found(fault):
    assert not tiered(TIERS[fault])


def worldly(*changes: tuple[str, str]) -> bool:
    """Whether the loop gives what the reference gives in every case."""
    module = planted("world", *changes)
    draw = random.Random(8)
    for _ in range(2 * CASES):
        jobs, world, *how = site(draw.randint)
        grants = {name: module["Grant"](**vars(its)) for name, its in world.grants.items()}
        columns = plain.Jobs(*(list(column) for column in zip(*jobs, strict=True)))
        try:
            with in_time():
                found = module["live"](columns, replace(world, grants=grants), *how)
        except (AssertionError, AttributeError, IndexError, KeyError, TimeoutError, ValueError):
            return False
        if (found.fate, sorted(found.stretches)) != (lambda f, s: (f, sorted(s)))(
            *Worldly(jobs, world, *how).simulate()
        ):
            return False
    return True


def test_without_a_fault_what_befalls_a_site_is_its_definition():
    assert worldly()


@pytest.mark.parametrize("fault", WORLD)
def test_a_fault_in_what_befalls_a_site_is_found(fault):
    assert not worldly(WORLD[fault])


@pytest.mark.parametrize("fault", KERNEL)
def test_a_fault_in_the_kernel_is_found(fault):
    assert not survives(by_kernel(KERNEL[fault]), "easy")
