"""The policies once more, compiled: for a million jobs, and for queues that a list can't be searched in.

The same answers as the plain loops, to the second. What makes it fast: a binary heap of ends; a ring of time buckets
for the limits' ends, so that the time of a reservation is found by sums; and a tree for each job size over its waiting
jobs, so that a pass asks each size for its first job that may start instead of walking the queue.

Needs numba and numpy (the extra `twin`). Imported by the function that needs it, as that takes half a second.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from madang.twin.cluster import Machine
from madang.twin.trace import Trace

BUCKETS = 16_000  # at least so many for the longest limit
GROUP = 128  # buckets whose sums are added up once more
FAR = np.int64(1) << 62
Array = Any  # an int64 array; numba's types say the rest


def run(trace: Trace, machine: Machine, policy: str) -> list[int]:
    """The start of each job."""
    submit, length, need, limit = (
        np.asarray(column, np.int64) for column in (trace.submit, trace.run, trace.gpus, trace.limit)
    )
    starts: list[int] = simulate(submit, length, need, limit, machine, policy).tolist()
    return starts


def simulate(submit: Array, length: Array, need: Array, limit: Array, machine: Machine, policy: str) -> Array:
    """The same for int64 arrays of shape (jobs,): sorted by submit, every value in canonical form."""
    start = np.full(len(submit), -1, np.int64)
    if policy == "conservative":
        _conservative(submit, length, need, limit, machine.gpus, start)
        return start
    if machine.nodes_of:
        from madang.twin import kernel_nodes

        return kernel_nodes.simulate(submit, length, need, limit, machine, policy)
    if policy == "fcfs":
        _by_key(submit, length, need, np.arange(len(submit)), machine.gpus, *deliveries(machine), start)
    elif policy == "sjf":
        _by_key(submit, length, need, limit, machine.gpus, *deliveries(machine), start)
    else:
        queue = waiting(need, limit)
        _easy(submit, length, need, limit, machine.gpus, *deliveries(machine), *queue, *ring(limit), start)
    return start


def deliveries(machine: Machine) -> tuple[Array, Array]:
    """(times, GPUs), closed by one that never comes."""
    rows = np.array([*machine.deliveries, (FAR, 0)], np.int64)
    return np.ascontiguousarray(rows[:, 0]), np.ascontiguousarray(rows[:, 1])


# --- a heap of (key, value), smallest key first --------------------------------------------------------------------


@njit(cache=True)
def push(keys: Array, values: Array, size: int, key: int, value: int) -> None:
    """Put one more on a heap that holds `size`."""
    place = size
    while place > 0:
        above = (place - 1) >> 1
        if keys[above] < key or (keys[above] == key and values[above] <= value):
            break
        keys[place], values[place] = keys[above], values[above]
        place = above
    keys[place], values[place] = key, value


@njit(cache=True)
def pop(keys: Array, values: Array, size: int) -> None:
    """Take the first off a heap that holds `size`."""
    last = size - 1
    key, value = keys[last], values[last]
    place = 0
    while True:
        below = 2 * place + 1
        if below >= last:
            break
        other = below + 1
        if other < last and (
            keys[other] < keys[below] or (keys[other] == keys[below] and values[other] < values[below])
        ):
            below = other
        if keys[below] > key or (keys[below] == key and values[below] >= value):
            break
        keys[place], values[place] = keys[below], values[below]
        place = below
    keys[place], values[place] = key, value


# --- FCFS and SJF --------------------------------------------------------------------------------------------------


@njit(cache=True)
def _by_key(
    submit: Array, length: Array, need: Array, key: Array, capacity: int, arrive: Array, bring: Array, start: Array
) -> None:  # fmt: skip
    """The queue by (key, arrival); the first that doesn't fit stops the pass."""
    count = len(submit)
    room = min(count, capacity + bring.sum()) + 1
    ends, jobs = np.empty(room, np.int64), np.empty(room, np.int64)
    keys, queue = np.empty(count, np.int64), np.empty(count, np.int64)
    live, wait, free, following, brought = 0, 0, capacity, 0, 0
    while following < count or live or wait:
        t = min(submit[following] if following < count else FAR, arrive[brought])
        if live:
            t = min(t, ends[0])
        while arrive[brought] <= t:
            free += bring[brought]
            brought += 1
        while live and ends[0] <= t:
            free += need[jobs[0]]
            pop(ends, jobs, live)
            live -= 1
        while following < count and submit[following] <= t:
            push(keys, queue, wait, key[following], following)
            wait += 1
            following += 1
        while wait and need[queue[0]] <= free:
            job = queue[0]
            pop(keys, queue, wait)
            wait -= 1
            start[job] = t
            free -= need[job]
            push(ends, jobs, live, t + length[job], job)
            live += 1


# --- waiting jobs by size ------------------------------------------------------------------------------------------


def waiting(need: Array, limit: Array) -> tuple[Array, ...]:
    """A tree for each job size over its jobs in the order of arrival: (sizes, each job's size and rank in it, the jobs
    of all sizes one after another, where each size begins there, where its tree begins, its leaves, the trees).

    A tree's leaf holds the limit of a job that waits, else FAR; a node the least below it.
    """
    sizes, kind = np.unique(need, return_inverse=True)
    kind = kind.astype(np.int32)
    order = np.argsort(kind, kind="stable").astype(np.int64)
    members = np.bincount(kind, minlength=len(sizes))
    begin = np.concatenate(([0], np.cumsum(members))).astype(np.int64)
    rank = np.empty(len(need), np.int64)
    rank[order] = np.arange(len(need)) - begin[kind[order]]
    leaves = np.array([1 << int(many - 1).bit_length() for many in members], np.int64)
    tree_at = np.concatenate(([0], np.cumsum(2 * leaves))).astype(np.int64)
    return sizes, kind, rank, order, begin, tree_at, leaves, np.full(tree_at[-1], FAR, np.int64)


@njit(cache=True)
def put(tree: Array, at: int, leaves: int, place: int, value: int) -> None:
    """Write a leaf, and the minimum of what is above it."""
    node = leaves + place
    tree[at + node] = value
    node >>= 1
    while node:
        least = min(tree[at + 2 * node], tree[at + 2 * node + 1])
        if tree[at + node] == least:
            return
        tree[at + node] = least
        node >>= 1


@njit(cache=True)
def first_at_most(tree: Array, at: int, leaves: int, low: int, most: int) -> int:
    """The first leaf from `low` on that holds at most `most`, else -1."""
    if low >= leaves or tree[at + 1] > most:
        return -1
    node = leaves + low
    while tree[at + node] > most:
        while node & 1:
            node >>= 1  # a right child: climb
        if node == 0:
            return -1
        node += 1
    while node < leaves:
        node = 2 * node if tree[at + 2 * node] <= most else 2 * node + 1
    return node - leaves


# --- a ring of time buckets ----------------------------------------------------------------------------------------


def ring(limit: Array) -> tuple[int, int]:
    """(seconds a bucket, buckets): longer than the longest limit, so that no bucket holds two laps."""
    longest = int(limit.max())
    width = max(1, longest // BUCKETS)
    buckets = longest // width + 2
    return width, -(-buckets // GROUP) * GROUP


@njit(cache=True)
def link(slot: int, bucket: int, first: Array, after: Array, before: Array) -> None:
    old = first[bucket]
    after[slot], before[slot], first[bucket] = old, -1, slot
    if old >= 0:
        before[old] = slot


@njit(cache=True)
def unlink(slot: int, bucket: int, first: Array, after: Array, before: Array) -> None:
    if before[slot] >= 0:
        after[before[slot]] = after[slot]
    else:
        first[bucket] = after[slot]
    if after[slot] >= 0:
        before[after[slot]] = before[slot]


@njit(cache=True)
def reach(
    t: int, missing: int, due: Array, weight: Array, width: int, first: Array, after: Array, total: Array, group: Array
) -> tuple[int, int]:
    """(the first time by which `missing` of the ring's weight is due, how much is due by then)."""
    buckets = len(total)
    bucket, known = (t // width) % buckets, 0
    while True:
        if bucket % GROUP == 0 and known + group[bucket // GROUP] < missing:
            known += group[bucket // GROUP]
            bucket += GROUP
        elif known + total[bucket] < missing:
            known += total[bucket]
            bucket += 1
        else:
            break
        if bucket >= buckets:
            bucket = 0
    low, high, slot = FAR, np.int64(0), first[bucket]
    while slot >= 0:
        low, high, slot = min(low, due[slot]), max(high, due[slot]), after[slot]
    while low < high:
        middle = (low + high) >> 1
        by, slot = known, first[bucket]
        while slot >= 0:
            if due[slot] <= middle:
                by += weight[slot]
            slot = after[slot]
        if by >= missing:
            high = middle
        else:
            low = middle + 1
    by, slot = known, first[bucket]
    while slot >= 0:
        if due[slot] <= low:
            by += weight[slot]
        slot = after[slot]
    return low, by


# --- EASY on a pool ------------------------------------------------------------------------------------------------


@njit(cache=True)
def _easy(
    submit: Array, length: Array, need: Array, limit: Array, capacity: int, arrive: Array, bring: Array,
    sizes: Array, kind: Array, rank: Array, order: Array, begin: Array, tree_at: Array, leaves: Array, tree: Array,
    width: int, buckets: int, start: Array,
) -> None:  # fmt: skip
    count, kinds = len(submit), len(sizes)
    room = min(count, capacity + bring.sum()) + 1
    ends, slots = np.empty(room, np.int64), np.empty(room, np.int64)
    spare = np.arange(room - 1, -1, -1)  # a stack of the slots that no running job has
    spares = room
    due, weight = np.empty(room, np.int64), np.empty(room, np.int64)
    after, before, first = np.full(room, -1, np.int64), np.full(room, -1, np.int64), np.full(buckets, -1, np.int64)
    total, group = np.zeros(buckets, np.int64), np.zeros(buckets // GROUP, np.int64)
    candidate = np.empty(kinds, np.int64)
    going = np.empty(count, np.int64)  # what starts in this pass
    live, free, following, waits, front, brought, has = 0, capacity, 0, 0, 0, 0, capacity
    head, shadow, extra = np.int64(-1), np.int64(0), np.int64(0)
    while following < count or live or waits:
        t, ended = min(submit[following] if following < count else FAR, arrive[brought]), False
        if live:
            t = min(t, ends[0])
        while arrive[brought] <= t:
            free += bring[brought]
            has += bring[brought]
            brought += 1
            ended = True
        if live and ends[0] <= t:
            ended = True
            while live and ends[0] <= t:
                slot = slots[0]
                pop(ends, slots, live)
                live -= 1
                free += weight[slot]
                bucket = (due[slot] // width) % buckets
                unlink(slot, bucket, first, after, before)
                total[bucket] -= weight[slot]
                group[bucket // GROUP] -= weight[slot]
                spare[spares] = slot
                spares += 1
        # First come: from the front of the queue, then from what arrives, until one doesn't fit.
        goes, newcomer, blocked = 0, following, False
        while waits:
            while start[front] >= 0:
                front += 1
            if need[front] > free:
                blocked = True
                break
            if ended or front != head:
                put(tree, tree_at[kind[front]], leaves[kind[front]], rank[front], FAR)
                start[front] = t
                free -= need[front]
                waits -= 1
                going[goes] = front
                goes += 1
            else:
                blocked = True  # it didn't fit before, and nothing ended
                break
        while following < count and submit[following] <= t:
            job = following
            following += 1
            if not blocked and need[job] <= free:
                start[job] = t
                free -= need[job]
                going[goes] = job
                goes += 1
            else:
                if not blocked:
                    front, blocked = job, True
                waits += 1
                put(tree, tree_at[kind[job]], leaves[kind[job]], rank[job], limit[job])
        # What started by its turn counts in the reservation, so it enters the ring before that is made.
        live, spares = _enter(
            going, 0, goes, t, length, need, limit, ends, slots, live, spare, spares,
            due, weight, width, first, after, before, total, group,
        )  # fmt: skip
        anybody = False  # else no reservation is needed
        if waits:
            for size in range(kinds):
                if sizes[size] > free or anybody:
                    break
                anybody = tree[tree_at[size] + 1] < FAR
        if not anybody:
            head = np.int64(-1)
            continue
        entered = goes
        if ended or front != head:
            head = np.int64(front)
            shadow, extra = FAR, FAR  # of a head that is larger than the machine is so far
            if need[head] <= has:
                shadow, by = reach(t, need[head] - free, due, weight, width, first, after, total, group)
                extra = free + by - need[head]
            for size in range(kinds):
                if sizes[size] > free:
                    break
                most = FAR - 1 if sizes[size] <= extra else shadow - t
                low = rank[head] + 1 if size == kind[head] else 0
                candidate[size] = first_at_most(tree, tree_at[size], leaves[size], low, most)
            while True:
                job, chosen = np.int64(count), -1
                for size in range(kinds):
                    if sizes[size] > free:
                        break
                    if candidate[size] >= 0 and order[begin[size] + candidate[size]] < job:
                        job, chosen = order[begin[size] + candidate[size]], size
                if chosen < 0:
                    break
                put(tree, tree_at[chosen], leaves[chosen], rank[job], FAR)
                start[job] = t
                free -= need[job]
                waits -= 1
                going[goes] = job
                goes += 1
                had = extra
                if t + limit[job] > shadow:
                    extra -= need[job]
                for size in range(kinds):
                    if sizes[size] > free:
                        break
                    if candidate[size] >= 0 and (size == chosen or extra < sizes[size] <= had):
                        most = FAR - 1 if sizes[size] <= extra else shadow - t
                        low = candidate[size] + 1 if size == chosen else candidate[size]
                        candidate[size] = first_at_most(tree, tree_at[size], leaves[size], low, most)
        else:  # only arrivals: the reservation still holds, and so does what was said of those who waited before
            for job in range(newcomer, following):
                if start[job] < 0 and need[job] <= free and (need[job] <= extra or t + limit[job] <= shadow):
                    put(tree, tree_at[kind[job]], leaves[kind[job]], rank[job], FAR)
                    start[job] = t
                    free -= need[job]
                    waits -= 1
                    going[goes] = job
                    goes += 1
                    if t + limit[job] > shadow:
                        extra -= need[job]
        live, spares = _enter(
            going, entered, goes, t, length, need, limit, ends, slots, live, spare, spares,
            due, weight, width, first, after, before, total, group,
        )  # fmt: skip


@njit(cache=True)
def _enter(
    going: Array, entered: int, goes: int, t: int, length: Array, need: Array, limit: Array,
    ends: Array, slots: Array, live: int, spare: Array, spares: int,
    due: Array, weight: Array, width: int, first: Array, after: Array, before: Array, total: Array, group: Array,
) -> tuple[int, int]:  # fmt: skip
    """Jobs that start at t: onto the heap of ends and into the ring of limits."""
    for place in range(entered, goes):
        job = going[place]
        spares -= 1
        slot = spare[spares]
        due[slot], weight[slot] = t + limit[job], need[job]
        bucket = (due[slot] // width) % len(total)
        link(slot, bucket, first, after, before)
        total[bucket] += need[job]
        group[bucket // GROUP] += need[job]
        push(ends, slots, live, t + length[job], slot)
        live += 1
    return live, spares


# --- conservative --------------------------------------------------------------------------------------------------


@njit(cache=True)
def _slice(at: Array, free: Array, points: int, t: int) -> tuple[int, int]:
    """(the place of the step at t, made if there is none; how many steps there are then)."""
    place = np.searchsorted(at[:points], t)
    if place < points and at[place] == t:
        return place, points
    for other in range(points, place, -1):
        at[other], free[other] = at[other - 1], free[other - 1]
    at[place], free[place] = t, free[place - 1]
    return place, points + 1


@njit(cache=True)
def _add(at: Array, free: Array, points: int, begin: int, end: int, gpus: int) -> int:
    low, points = _slice(at, free, points, begin)
    high, points = _slice(at, free, points, end)
    for place in range(low, high):
        free[place] += gpus
    # A step between equal values is none: without this the profile would grow with every change.
    for place in (high, low):
        if 0 < place < points and free[place] == free[place - 1]:
            for other in range(place, points - 1):
                at[other], free[other] = at[other + 1], free[other + 1]
            points -= 1
    return points


@njit(cache=True)
def _earliest(at: Array, free: Array, points: int, now: int, gpus: int, duration: int) -> int:
    place = np.searchsorted(at[:points], now, side="right") - 1
    begin = now
    while True:
        if free[place] < gpus:
            place += 1
            begin = at[place]
        elif place + 1 == points or at[place + 1] >= begin + duration:
            return begin
        else:
            place += 1


@njit(cache=True)
def _conservative(submit: Array, length: Array, need: Array, limit: Array, capacity: int, start: Array) -> None:
    count = len(submit)
    room = min(count, capacity) + 1
    ends, jobs = np.empty(room, np.int64), np.empty(room, np.int64)
    queue, slot = np.empty(count, np.int64), np.full(count, -1, np.int64)
    at, free = np.empty(2 * count + GROUP, np.int64), np.empty(2 * count + GROUP, np.int64)
    at[0], free[0], points = 0, capacity, 1
    live, wait, following, settled, soonest = 0, 0, 0, True, FAR
    while following < count or live:
        t = min(submit[following] if following < count else FAR, soonest)
        if live:
            t = min(t, ends[0])
        past = np.searchsorted(at[:points], t, side="right") - 1
        if past > 64:  # steps that lie before now, dropped many at a time
            for place in range(past, points):
                at[place - past], free[place - past] = at[place], free[place]
            points -= past
        while live and ends[0] <= t:
            job = jobs[0]
            pop(ends, jobs, live)
            live -= 1
            due = start[job] + limit[job]
            if due > t:
                points = _add(at, free, points, t, due, need[job])
                settled = False
        again = 0 if not settled or soonest <= t else wait
        while following < count and submit[following] <= t:
            queue[wait] = following
            wait += 1
            following += 1
        settled, kept, soonest = True, 0, FAR
        for place in range(wait):
            job = queue[place]
            if place >= again:
                old = slot[job]
                if old >= 0:
                    points = _add(at, free, points, old, old + limit[job], need[job])
                begin = _earliest(at, free, points, t, need[job], limit[job])
                settled = settled and (old < 0 or old == begin)
                points = _add(at, free, points, begin, begin + limit[job], -need[job])
                slot[job] = begin
            if slot[job] == t:
                start[job] = t
                push(ends, jobs, live, t + length[job], job)
                live += 1
            else:
                queue[kept] = job
                kept += 1
                soonest = min(soonest, slot[job])
        wait = kept
