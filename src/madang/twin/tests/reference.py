"""The policies by the words of their definitions: slow, obvious, everything counted anew at every instant.

Shares no line with the programs that it checks. A job is (submit, run, need, limit).
"""

from __future__ import annotations

import math
from typing import Any

Job = tuple[int, int, int, int]


class Reference:
    def __init__(
        self,
        jobs: list[Job],
        gpus: int,
        nodes_of: int = 0,
        place: str = "pack",
        deliveries: tuple[tuple[int, int], ...] = (),
    ) -> None:
        self.jobs, self.gpus, self.each, self.place, self.deliveries = jobs, gpus, nodes_of, place, deliveries
        self.start: dict[int, int] = {}
        self.where: dict[int, dict[int, int]] = {}  # job: {node: GPUs}
        self.reserved: dict[int, int] = {}
        self.promises: list[tuple[int, int, int]] = []  # (t, head, its reservation)
        self.people: list[tuple[str, str]] = []  # of fair-share: whose each job is, and the rules
        self.rules: Any = None
        self.priority: dict[int, int] = {}

    def simulate(self, policy: str) -> list[int]:
        t = -1
        while len(self.start) < len(self.jobs):
            ends = [self.start[job] + self.jobs[job][1] for job in self.start]
            brought = [at for at, _gpus in self.deliveries]
            marks = [(t // self.rules.every_s + 1) * self.rules.every_s] if self.rules and self.waiting(t) else []
            known = [*(job[0] for job in self.jobs), *ends, *self.reserved.values(), *brought, *marks]
            t = min(x for x in known if x > t)
            getattr(self, policy)(t)
        return [self.start[job] for job in range(len(self.jobs))]

    # what is known at an instant

    def waiting(self, t: int) -> list[int]:
        there = [job for job, (submit, *_rest) in enumerate(self.jobs) if submit <= t and job not in self.start]
        return sorted(there, key=lambda job: (-self.priority.get(job, 0), job))

    def running(self, t: int) -> list[int]:
        return [job for job, begun in self.start.items() if begun <= t < begun + self.jobs[job][1]]

    def held(self, t: int, u: int) -> list[int]:
        """Jobs that run at t and, by their limits, still do at u."""
        return [job for job in self.running(t) if self.start[job] + self.jobs[job][3] > u]

    def free(self, t: int, u: int) -> int:
        """At u, as far as is known at t: a delivery counts once it is there."""
        there = self.gpus + sum(gpus for at, gpus in self.deliveries if at <= t)
        return there - sum(self.jobs[job][2] for job in self.held(t, u))

    def nodes(self, held: list[int]) -> list[int]:
        free = [self.each] * (self.gpus // self.each)
        for job in held:
            for node, gpus in self.where[job].items():
                free[node] -= gpus
        return free

    def placed(self, free: list[int], need: int) -> dict[int, int] | None:
        if need <= self.each:
            sign = 1 if self.place == "pack" else -1
            fitting = [(sign * gpus, node) for node, gpus in enumerate(free) if gpus >= need]
            return {min(fitting)[1]: need} if fitting else None
        empty = [node for node, gpus in enumerate(free) if gpus == self.each]
        found = {node: self.each for node in empty[: need // self.each]}
        if len(found) < need // self.each:
            return None
        if rest := need % self.each:
            fitting = [(gpus, node) for node, gpus in enumerate(free) if gpus >= rest and node not in found]
            if not fitting:
                return None
            found[min(fitting)[1]] = rest
        return found

    def fits(self, t: int, job: int) -> bool:
        need = self.jobs[job][2]
        return self.placed(self.nodes(self.running(t)), need) is not None if self.each else need <= self.free(t, t)

    def go(self, t: int, job: int) -> None:
        if self.each:
            placed = self.placed(self.nodes(self.running(t)), self.jobs[job][2])
            assert placed is not None
            self.where[job] = placed
        self.start[job] = t

    # the policies

    def fcfs(self, t: int) -> None:
        for job in self.waiting(t):
            if not self.fits(t, job):
                return
            self.go(t, job)

    def sjf(self, t: int) -> None:
        for job in sorted(self.waiting(t), key=lambda job: (self.jobs[job][3], self.jobs[job][0], job)):
            if not self.fits(t, job):
                return
            self.go(t, job)

    def easy(self, t: int) -> None:
        self.fcfs(t)
        queue = self.waiting(t)
        if not queue:
            return
        head, rest = queue[0], queue[1:]
        instants = sorted({t, *(self.start[job] + self.jobs[job][3] for job in self.running(t))})
        if self.each:
            begin = next(u for u in instants if self.placed(self.nodes(self.held(t, u)), self.jobs[head][2]))
        else:
            need = self.jobs[head][2]
            begin = next((u for u in instants if all(self.free(t, v) >= need for v in instants if v >= u)), 1 << 40)
        self.promises.append((t, head, begin))
        for job in rest:
            _submit, _run, need, limit = self.jobs[job]
            if self.each:
                placed = self.placed(self.nodes(self.running(t)), need)
                if placed is None:
                    continue
                later = self.nodes(self.held(t, begin))
                if t + limit > begin:
                    later = [gpus - placed.get(node, 0) for node, gpus in enumerate(later)]
                if self.placed(later, self.jobs[head][2]):
                    self.go(t, job)
            else:
                taken = lambda u: self.jobs[head][2] if begin <= u < begin + self.jobs[head][3] else 0  # noqa: E731
                steps = {t, begin, *(self.start[other] + self.jobs[other][3] for other in self.running(t))}
                if all(self.free(t, u) - taken(u) >= need for u in steps if t <= u < t + limit):
                    self.go(t, job)

    def conservative(self, t: int) -> None:
        for job in self.waiting(t):
            self.reserved.pop(job, None)
            _submit, _run, need, limit = self.jobs[job]
            holds = [(t, self.start[j] + self.jobs[j][3], self.jobs[j][2]) for j in self.running(t)]
            holds += [(begin, begin + self.jobs[j][3], self.jobs[j][2]) for j, begin in self.reserved.items()]

            def used(u: int, holds: list[tuple[int, int, int]] = holds) -> int:
                return sum(gpus for begin, end, gpus in holds if begin <= u < end)

            for begin in sorted({t, *(end for _begin, end, _gpus in holds)}):
                instants = {begin, *(b for b, _end, _gpus in holds if begin <= b < begin + limit)}
                if all(used(u) + need <= self.gpus for u in instants):
                    break
            self.promises.append((t, job, begin))
            if begin == t:
                self.start[job] = t
            else:
                self.reserved[job] = begin

    # fair-share: every figure from the list of jobs

    def fairshare(self, t: int) -> None:
        rules, mark = self.rules, t // self.rules.every_s * self.rules.every_s
        factors = tree({person: self.used(person, mark) for person in set(self.people)}, rules.shares)
        for job in self.waiting(t):
            if t == mark or job not in self.priority:
                submit, _run, need, _limit = self.jobs[job]
                age = min(1.0, (t - submit) / rules.max_age_s)
                size = need / self.gpus
                size = 1 - size if rules.favor_small else size
                sum_of = rules.age * age + rules.fairshare * factors[self.people[job]] + rules.size * size
                self.priority[job] = max(1, int(sum_of))
        if rules.backfill:
            self.easy(t)
        else:
            self.fcfs(t)

    def used(self, person: tuple[str, str], at: int) -> float:
        half, total = self.rules.half_life_s, 0.0
        for job, begun in self.start.items():
            end = min(begun + self.jobs[job][1], at)
            if self.people[job] == person and begun < end:
                scale = self.jobs[job][2] * half / math.log(2)
                total += scale * (math.pow(0.5, (at - end) / half) - math.pow(0.5, (at - begun) / half))
        return total


def tree(used: dict[tuple[str, str], float], shares: dict[str, int]) -> dict[tuple[str, str], float]:
    """The fair tree, by comparing everybody with everybody: of n users, 1 for whom nobody is before."""

    def level(share: int, shares: list[int], use: float, uses: list[float]) -> float:
        if share == 0:
            return 0.0
        return math.inf if use == 0 else (share / sum(shares)) / (use / sum(uses))

    def account_level(name: str) -> float:
        names = sorted({account for account, _user in used})
        sums = [sum(use for (account, _user), use in used.items() if account == other) for other in names]
        return level(shares.get(name, 1), [shares.get(other, 1) for other in names], sums[names.index(name)], sums)

    def user_level(person: tuple[str, str]) -> float:
        own = [other for other in used if other[0] == person[0]]
        given = [shares.get("/".join(other), 1) for other in own]
        return level(shares.get("/".join(person), 1), given, used[person], [used[other] for other in own])

    def above(a: float, b: float) -> bool:
        return a > b and not math.isclose(a, b, rel_tol=1e-9)

    def before(a: tuple[str, str], b: tuple[str, str]) -> bool:
        of_a, of_b = account_level(a[0]), account_level(b[0])
        return above(of_a, of_b) or (not above(of_b, of_a) and above(user_level(a), user_level(b)))

    return {who: (len(used) - sum(before(other, who) for other in used)) / len(used) for who in used}


class Cycled(Reference):
    """Slurm's main pass and cycles of backfill, second by second. `people` as for fair-share, where it has weights."""

    def __init__(self, jobs: list[Job], gpus: int, how: Any, people: list[tuple[str, str]]) -> None:
        super().__init__(jobs, gpus)
        self.how, self.people, self.rules = how, people, how.priority
        self.cycles: list[int] = []

    def seconds(self) -> list[int]:
        t, last, news = 0, None, False
        while len(self.start) < len(self.jobs):
            before = [job for job in self.waiting(t) if self.jobs[job][0] < t]
            event = any(job[0] == t for job in self.jobs) or any(
                begun + self.jobs[job][1] == t for job, begun in self.start.items()
            )
            news = news or event or (self.rules is not None and bool(before) and t % self.rules.every_s == 0)
            if self.rules is not None:
                self.weigh(t)
            if event:
                self.fcfs(t)
            if news and (last is None or t - last >= self.how.interval_s):
                last, news = t, self.cycle(t)
                self.cycles.append(t)
            t += 1
        return [self.start[job] for job in range(len(self.jobs))]

    def weigh(self, t: int) -> None:
        mark = t // self.rules.every_s * self.rules.every_s
        factors = tree({person: self.used(person, mark) for person in set(self.people)}, self.rules.shares)
        for job in self.waiting(t):
            if t == mark or job not in self.priority:
                age = min(1.0, (t - self.jobs[job][0]) / self.rules.max_age_s)
                size = self.jobs[job][2] / self.gpus
                size = 1 - size if self.rules.favor_small else size
                share = self.rules.fairshare * factors[self.people[job]]
                self.priority[job] = max(1, int(self.rules.age * age + share + self.rules.size * size))

    def cycle(self, t: int) -> bool:
        """Whether it started anybody."""
        began = False
        aside: list[tuple[int, int, int]] = []
        for job in self.waiting(t)[: self.how.max_job_test]:
            _submit, _run, need, limit = self.jobs[job]

            def left(u: int) -> int:
                return self.free(t, u) - sum(gpus for begin, end, gpus in aside if begin <= u < end)

            turns = {t, *(self.start[other] + self.jobs[other][3] for other in self.running(t))}
            turns |= {turn for begin, end, _gpus in aside for turn in (begin, end) if turn >= t}
            first = min(
                u for u in turns if all(left(v) >= need for v in {u, *(turn for turn in turns if u < turn < u + limit)})
            )
            if first == t:
                self.start[job], began = t, True
            elif first - t <= self.how.window_s:
                whole = self.how.resolution_s
                aside.append((first // whole * whole, math.ceil((first + limit) / whole) * whole, need))
        return began


class Tiered:
    """Tiers with preemption: a list of [job, start, end, stopped at], where the end is a plan until it has come."""

    def __init__(self, jobs: list[Job], gpus: int, tier: list[int], rules: Any) -> None:
        self.jobs, self.gpus, self.tier, self.rules = jobs, gpus, tier, rules
        self.stretches: list[list[Any]] = []
        self.called: set[int] = set()  # who gives GPUs back for another

    def simulate(self) -> list[tuple[int, int, int, bool]]:
        t = -1
        while len([1 for *_rest, stopped in self.stretches if stopped is None]) < len(self.jobs):
            known = [job[0] for job in self.jobs] + [end for _job, _start, end, _stopped in self.stretches]
            known += [start + self.rules.exempt_s for _job, start, _end, _stopped in self.stretches]
            t = min(x for x in known if x > t)
            self.look(t)
        return [(job, start, end, stopped is not None) for job, start, end, stopped in self.stretches]

    def of(self, job: int) -> list[list[Any]]:
        return [stretch for stretch in self.stretches if stretch[0] == job]

    def waiting(self, t: int) -> list[int]:
        there = []
        for job, (submit, *_rest) in enumerate(self.jobs):
            last = self.of(job)[-1:]
            if submit <= t and (not last or (last[0][3] is not None and last[0][2] <= t)):
                there.append(job)
        return sorted(there, key=lambda job: (-self.tier[job], job))

    def holding(self, t: int) -> list[list[Any]]:
        return [stretch for stretch in self.stretches if stretch[1] <= t < stretch[2]]

    def free(self, t: int) -> int:
        return self.gpus - sum(self.jobs[job][2] for job, *_rest in self.holding(t))

    def over(self, job: int, before: int) -> int:
        """What a stretch takes beyond work."""
        return self.rules.restart_s if before else 0

    def saved(self, job: int) -> int:
        """Work that no stop has lost."""
        kept = 0
        for number, (_job, start, _end, stopped) in enumerate(self.of(job)):
            if stopped is not None:
                at = kept + max(0, stopped - start - self.over(job, number))
                every = self.rules.checkpoint_s
                kept = max([kept, *(mark for mark in range(0, at + 1, every))]) if every else 0
        return kept

    def limit(self, stretch: list[Any]) -> int:
        """When it gives its GPUs back at the latest."""
        job, start, end, stopped = stretch
        if stopped is not None:
            return int(end)
        return int(start) + self.jobs[job][3] - self.saved(job) + self.over(job, len(self.of(job)) - 1)

    def go(self, t: int, job: int) -> None:
        before = len(self.of(job))
        self.called.discard(job)
        self.stretches.append([job, t, t + self.jobs[job][1] - self.saved(job) + self.over(job, before), None])

    def look(self, t: int) -> None:
        while queue := self.waiting(t):
            first = queue[0]
            need = self.jobs[first][2]
            if need > self.free(t):
                coming = sum(self.jobs[job][2] for job, *_rest in self.holding(t) if job in self.called)
                short = need - self.free(t) - coming
                lower = [
                    stretch
                    for stretch in self.holding(t)
                    if stretch[0] not in self.called
                    and self.tier[stretch[0]] < self.tier[first]
                    and t - stretch[1] >= self.rules.exempt_s
                ]
                lower.sort(key=lambda stretch: (self.tier[stretch[0]], -stretch[1], -stretch[0]))
                sums = [sum(self.jobs[s[0]][2] for s in lower[: n + 1]) for n in range(len(lower))]
                enough = next((n + 1 for n, of in enumerate(sums) if of >= short), 0)
                chosen = lower[:enough] if short > 0 else []
                for stretch in list(chosen):
                    others = [other for other in chosen if other is not stretch]
                    if sum(self.jobs[s[0]][2] for s in others) >= short:
                        chosen = others
                for stretch in chosen:
                    self.called.add(stretch[0])
                    if stretch[2] > t + self.rules.grace_s:
                        stretch[2], stretch[3] = t + self.rules.grace_s, t
                if need > self.free(t):
                    break
            self.go(t, first)
        if len(queue) < 2:
            return
        head, rest = queue[0], queue[1:]
        need = self.jobs[head][2]

        def left(u: int) -> int:
            return self.gpus - sum(self.jobs[s[0]][2] for s in self.holding(t) if self.limit(s) > u)

        begin = min(u for u in [t, *(self.limit(s) for s in self.holding(t))] if left(u) >= need)
        for job in rest:
            _submit, _run, wants, limit = self.jobs[job]
            until = t + limit - self.saved(job) + self.over(job, len(self.of(job)))
            if wants <= self.free(t) and (until <= begin or left(begin) - need >= wants):
                self.go(t, job)


class Worldly:
    """What befalls a site, by the words of its definition: every question is answered from the history."""

    def __init__(self, jobs: list[Job], world: Any, part: list[int], grant: list[int], answers: Any, backfill: bool):
        self.jobs, self.world, self.part, self.grant = jobs, world, part, grant
        self.answers, self.backfill = answers, backfill
        self.parts, self.grants = list(world.parts.values()), list(world.grants.values())
        self.arrivals: list[list[int]] = [[] for _ in jobs]  # of each job's attempts
        self.coming = {job: submit for job, (submit, *_rest) in enumerate(jobs)}
        self.fates: dict[int, str] = {}
        self.stretches: list[dict[str, Any]] = []

    def simulate(self) -> tuple[list[str], list[tuple[int, int, int, bool]]]:
        t = -1
        while known := [u for u in self.instants() if u > t]:
            t = min(known)
            self.happen(t)
            for number in range(len(self.parts)):
                self.look(t, number)
        fates = [self.fates.get(job, "waiting") for job in range(len(self.jobs))]
        return fates, [(s["job"], s["start"], s["end"], s["stopped"]) for s in self.stretches]

    def instants(self) -> list[int]:
        found = [*self.coming.values(), *(s["end"] for s in self.stretches)]
        found += [down.begin for down in self.world.downs] + [down.end for down in self.world.downs]
        found += [its.end for its in self.grants]
        for job, arrivals in enumerate(self.arrivals):
            found += [at + self.parts[self.part[job]].switch_wait_s for at in arrivals]
            if self.answers and arrivals:
                found.append(arrivals[-1] + self.answers(job, len(arrivals) - 1)[0])
        return [u for u in found if u < 1 << 40]

    def happen(self, t: int) -> None:
        for stretch in self.stretches:
            if stretch["end"] == t and not stretch["stopped"]:
                self.fates[stretch["job"]] = "done"
        for down in self.world.downs:
            for stretch in self.holding(t):
                hit = range(down.first, down.first + down.nodes)
                if down.begin == t and self.part[stretch["job"]] == down.part and set(hit) & set(stretch["where"]):
                    stretch["end"], stretch["stopped"] = t, True
                    its = self.grant[stretch["job"]]
                    if its >= 0 and self.grants[its].end <= t:
                        self.fates[stretch["job"]] = "cancelled"
        for job in self.waiting(t):
            if self.grant[job] >= 0 and self.grants[self.grant[job]].end == t:
                self.fates[job] = "cancelled"
        for job in self.waiting(t) if self.answers else []:
            patience, after = self.answers(job, len(self.arrivals[job]) - 1)
            if self.arrivals[job][-1] + patience == t and not self.of(job):
                self.fates[job] = "gave up"
                if after >= 0:
                    self.coming[job] = t + after
        for job in sorted(job for job, at in self.coming.items() if at == t):
            del self.coming[job]
            self.fates.pop(job, None)
            refused = not self.takes(t, job)
            self.arrivals[job].append(t)
            if refused:
                self.fates[job] = "refused"

    def takes(self, t: int, job: int) -> bool:
        _submit, _run, need, limit = self.jobs[job]
        its = self.parts[self.part[job]]
        if need > its.nodes * its.nodes_of:
            return False
        if self.grant[job] < 0:
            return True
        grant, taken = self.grants[self.grant[job]], 0
        for other, (_submit, run, gpus, longest) in enumerate(self.jobs):
            if self.grant[other] == self.grant[job] and self.arrivals[other]:
                fate = self.fates.get(other, "there")
                taken += gpus * (run if fate == "done" else longest if fate == "there" and other != job else 0)
        limits = ((need, grant.gpus_at_once), (need, grant.largest), (limit, grant.longest_s))
        limits = (*limits, (taken + need * limit, grant.gpu_seconds))
        return grant.begin <= t < grant.end and all(most is None or asked <= most for asked, most in limits)

    def of(self, job: int) -> list[dict[str, Any]]:
        return [stretch for stretch in self.stretches if stretch["job"] == job]

    def holding(self, t: int) -> list[dict[str, Any]]:
        return [stretch for stretch in self.stretches if stretch["start"] <= t < stretch["end"]]

    def waiting(self, t: int) -> list[int]:
        busy = {stretch["job"] for stretch in self.holding(t)}
        there = [job for job, at in enumerate(self.arrivals) if at and job not in self.fates and job not in busy]
        return sorted(there, key=lambda job: (self.arrivals[job][-1], job))

    def work(self, job: int) -> tuple[int, int]:
        """(what is saved, what the next start takes beyond work)."""
        saved, every, before = 0, self.world.checkpoint_s, 0
        for stretch in self.of(job):
            if stretch["stopped"]:
                held = stretch["end"] - stretch["start"] - before
                worked = saved + max(0, held) * 100 // (100 + stretch["percent"])
                saved = max([saved, *(mark for mark in range(0, worked + 1, every))]) if every else 0
                before = self.world.restart_s
        return saved, before

    def lasts(self, job: int, percent: int) -> tuple[int, int]:
        saved, before = self.work(job)
        run, limit = self.jobs[job][1] - saved, self.jobs[job][3] - saved
        return math.ceil(run * (100 + percent) / 100) + before, math.ceil(limit * (100 + percent) / 100) + before

    def nodes(self, t: int, number: int, u: int, until: int) -> dict[int, int]:
        """The free GPUs at u of the nodes that, as far as is known at t, are there from u until then."""
        free = {node: self.parts[number].nodes_of for node in range(self.parts[number].nodes)}
        for down in self.world.downs:
            there_not = down.begin <= t < down.end or (u == t and down.begin <= u < down.end)
            if down.announced:
                there_not = down.begin < until and u < down.end
            if down.part == number and there_not:
                for node in range(down.first, down.first + down.nodes):
                    free.pop(node, None)
        for stretch in self.holding(t):
            if self.part[stretch["job"]] == number and stretch["until"] > u:
                for node, gpus in stretch["where"].items():
                    if node in free:
                        free[node] -= gpus
        return free

    def place(self, number: int, free: dict[int, int], need: int, leaves: str) -> dict[int, int] | None:
        its = self.parts[number]
        if need <= its.nodes_of:
            sign = 1 if its.place == "pack" else -1
            fitting = [(sign * gpus, node) for node, gpus in free.items() if gpus >= need]
            return {min(fitting)[1]: need} if fitting else None
        whole, rest = divmod(need, its.nodes_of)
        empty = [node for node in sorted(free) if free[node] == its.nodes_of]
        leaf = (lambda node: node // its.leaf) if its.leaf else (lambda node: 0)
        of = {name: [node for node in empty if leaf(node) == name] for name in sorted({leaf(node) for node in empty})}

        def with_rest(nodes: list[int], among: set[int]) -> dict[int, int] | None:
            found = dict.fromkeys(nodes, its.nodes_of)
            if rest:
                fitting = [(free[n], n) for n in free if free[n] >= rest and n not in found and leaf(n) in among]
                if not fitting:
                    return None
                found[min(fitting)[1]] = rest
            return found

        if leaves == "one":
            for _count, name in sorted((len(nodes), name) for name, nodes in of.items()):
                found = with_rest(of[name][:whole], {name}) if len(of[name]) >= whole else None
                if found:
                    return found
            return None
        chosen: list[int] = []
        for _count, name in sorted((-len(nodes), name) for name, nodes in of.items()):
            chosen += of[name][: whole - len(chosen)]
        if len(chosen) < whole:
            return None
        return with_rest(chosen, {leaf(node) for node in chosen}) or with_rest(chosen, {leaf(node) for node in free})

    def find(self, t: int, job: int) -> dict[int, int] | None:
        number, need = self.part[job], self.jobs[job][2]
        its = self.parts[number]
        found = self.place(number, self.nodes(t, number, t, t + self.lasts(job, 0)[1]), need, "one")
        late = t >= self.arrivals[job][-1] + its.switch_wait_s
        if found is None and its.leaf and late and need > its.nodes_of:
            free = self.nodes(t, number, t, t + self.lasts(job, its.across_percent)[1])
            found = self.place(number, free, need, "any")
        return found

    def slower(self, job: int, where: dict[int, int]) -> int:
        its = self.parts[self.part[job]]
        return its.across_percent if its.leaf and len({node // its.leaf for node in where}) > 1 else 0

    def go(self, t: int, job: int, where: dict[int, int]) -> None:
        percent = self.slower(job, where)
        run, limit = self.lasts(job, percent)
        mine = {"job": job, "start": t, "end": t + run, "until": t + limit, "where": where}
        self.stretches.append({**mine, "stopped": False, "percent": percent})

    def over(self, t: int, job: int) -> bool:
        its = self.grant[job]
        if its < 0 or self.grants[its].gpus_at_once is None:
            return False
        running = sum(self.jobs[s["job"]][2] for s in self.holding(t) if self.grant[s["job"]] == its)
        return running + self.jobs[job][2] > self.grants[its].gpus_at_once

    def look(self, t: int, number: int) -> None:
        head, begin = -1, 0
        for job in [job for job in self.waiting(t) if self.part[job] == number]:
            if self.over(t, job):
                continue
            found = self.find(t, job)
            if head < 0:
                if found:
                    self.go(t, job, found)
                    continue
                if not self.backfill:
                    return
                head, need, limit = job, self.jobs[job][2], self.lasts(job, 0)[1]
                ends = [s["until"] for s in self.holding(t) if self.part[s["job"]] == number]
                ends += [down.end for down in self.world.downs if down.announced and down.part == number]
                fits = lambda u, n=need, x=limit: self.place(number, self.nodes(t, number, u, u + x), n, "any")  # noqa: E731
                begin = min((u for u in ends if t < u < 1 << 40 and fits(u)), default=1 << 60)
            elif found:
                if t + self.lasts(job, self.slower(job, found))[1] > begin:
                    free = self.nodes(t, number, begin, begin + limit)
                    left = {node: gpus - found.get(node, 0) for node, gpus in free.items()}
                    if self.place(number, left, need, "any") is None:
                        continue
                self.go(t, job, found)
