"""The compiled policies on nodes: nodes by how much they have free, and by when they will.

For each number of free GPUs a bitmap of the nodes that have exactly so many, with a summary word for 64 words, gives
the lowest one in a few steps. For EASY each size that a job can need of one node has a ring of time buckets: a node
stands there by the time from which, by the limits of what runs on it, so many GPUs are free. When the head of the queue
can be placed is then an order statistic: of k whole nodes the k-th of those that become empty.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from madang.twin.cluster import Machine
from madang.twin.kernel import FAR, GROUP, Array, first_at_most, link, pop, push, put, reach, ring, unlink, waiting

NONE = -1


def simulate(submit: Array, length: Array, need: Array, limit: Array, machine: Machine, policy: str) -> Array:
    """The start of each job, int64, shape (jobs,)."""
    start = np.full(len(submit), NONE, np.int64)
    free = free_nodes(machine)
    spread = machine.place == "spread"
    if policy == "fcfs":
        _by_key(submit, length, need, np.arange(len(submit)), machine.gpus, spread, free, start)
    elif policy == "sjf":
        _by_key(submit, length, need, limit, machine.gpus, spread, free, start)
    else:
        width, buckets = ring(limit)
        _easy(submit, length, need, limit, machine.gpus, spread, free, waiting(need, limit),
              _due(machine, need, buckets), width, start)  # fmt: skip
    return start


# --- nodes by their free GPUs ---------------------------------------------------------------------------------------


def free_nodes(machine: Machine) -> tuple[Array, ...]:
    """(each node's free GPUs; bitmaps by free GPUs, their summaries; nodes by free GPUs; for each node the next one of
    the job that holds all of it)."""
    each, nodes = machine.nodes_of, machine.nodes
    words = -(-nodes // 64)
    bits, summary = np.zeros((each + 1, words), np.uint64), np.zeros((each + 1, -(-words // 64)), np.uint64)
    for node in range(0, nodes, 64):
        bits[each, node // 64] = np.uint64((1 << min(64, nodes - node)) - 1)
    for word in range(0, words, 64):
        summary[each, word // 64] = np.uint64((1 << min(64, words - word)) - 1)
    count = np.zeros(each + 1, np.int64)
    count[each] = nodes
    return np.full(nodes, each, np.int64), bits, summary, count, np.full(nodes, NONE, np.int64)


@njit(cache=True)
def _lowest_bit(word: int) -> int:
    """The place of the lowest 1 of a word that has one."""
    place = 0
    for step in (32, 16, 8, 4, 2, 1):
        if word & ((np.uint64(1) << np.uint64(step)) - np.uint64(1)) == np.uint64(0):
            word >>= np.uint64(step)
            place += step
    return place


@njit(cache=True)
def _lowest(bits: Array, summary: Array, level: int) -> int:
    """The lowest node with exactly `level` free; there is one."""
    for group in range(summary.shape[1]):
        if summary[level, group]:
            word = group * 64 + _lowest_bit(summary[level, group])
            return word * 64 + _lowest_bit(bits[level, word])
    return NONE


@njit(cache=True)
def _set_free(node: int, gpus: int, free: Array, bits: Array, summary: Array, count: Array) -> None:
    word, bit = node >> 6, np.uint64(1) << np.uint64(node & 63)
    group, mark = word >> 6, np.uint64(1) << np.uint64(word & 63)
    old = free[node]
    bits[old, word] &= ~bit
    if bits[old, word] == np.uint64(0):
        summary[old, group] &= ~mark
    bits[gpus, word] |= bit
    summary[gpus, group] |= mark
    count[old] -= 1
    count[gpus] += 1
    free[node] = gpus


@njit(cache=True)
def _one_node(gpus: int, least: int, spread: bool, each: int, count: Array) -> int:
    """How many GPUs the node has free that such a part of a job goes on, where nodes with `least` are passed over."""
    if spread:
        for level in range(each, gpus - 1, -1):
            if count[level] > (least if level == each else 0):
                return level
    else:
        for level in range(gpus, each + 1):
            if count[level] > (least if level == each else 0):
                return level
    return NONE


@njit(cache=True)
def _fits(gpus: int, spread: bool, each: int, count: Array) -> bool:
    if gpus <= each:
        return _one_node(gpus, 0, spread, each, count) != NONE
    whole, rest = gpus // each, gpus % each
    return count[each] >= whole and (rest == 0 or _one_node(rest, whole, False, each, count) != NONE)


@njit(cache=True)
def _occupy(
    gpus: int, spread: bool, free: Array, bits: Array, summary: Array, count: Array, following: Array
) -> tuple[int, int]:
    """(the first of the nodes that the job holds whole, the node of which it holds a part), where it fits."""
    each = len(count) - 1
    part, whole = gpus, 0
    if gpus > each:
        whole, part = gpus // each, gpus % each
        spread = False
    # The part is chosen with the whole nodes set aside, so that it doesn't get one of them.
    held = NONE
    last = NONE
    for _ in range(whole):
        node = _lowest(bits, summary, each)
        _set_free(node, 0, free, bits, summary, count)
        if last == NONE:
            held = node
        else:
            following[last] = node
        following[node] = NONE
        last = node
    on = NONE
    if part:
        on = _lowest(bits, summary, _one_node(part, 0, spread, each, count))
        _set_free(on, free[on] - part, free, bits, summary, count)
    return held, on


# --- FCFS and SJF --------------------------------------------------------------------------------------------------


@njit(cache=True)
def _by_key(
    submit: Array, length: Array, need: Array, key: Array, capacity: int, spread: bool, machine: tuple[Array, ...],
    start: Array,
) -> None:  # fmt: skip
    free, bits, summary, nodes, following_node = machine
    each = len(nodes) - 1
    count = len(submit)
    room = min(count, capacity) + 1
    ends, jobs = np.empty(room, np.int64), np.empty(room, np.int64)
    keys, queue = np.empty(count, np.int64), np.empty(count, np.int64)
    held, on = np.empty(count, np.int64), np.empty(count, np.int64)
    live, wait, following = 0, 0, 0
    while following < count or live:
        t = submit[following] if following < count else FAR
        if live:
            t = min(t, ends[0])
        while live and ends[0] <= t:
            job = jobs[0]
            pop(ends, jobs, live)
            live -= 1
            node = held[job]
            while node != NONE:
                _set_free(node, each, free, bits, summary, nodes)
                node = following_node[node]
            if on[job] != NONE:
                part = need[job] if held[job] == NONE else need[job] % each
                _set_free(on[job], free[on[job]] + part, free, bits, summary, nodes)
        while following < count and submit[following] <= t:
            push(keys, queue, wait, key[following], following)
            wait += 1
            following += 1
        while wait and _fits(need[queue[0]], spread, each, nodes):
            job = queue[0]
            pop(keys, queue, wait)
            wait -= 1
            start[job] = t
            held[job], on[job] = _occupy(need[job], spread, free, bits, summary, nodes, following_node)
            push(ends, jobs, live, t + length[job], job)
            live += 1


# --- when a node will have how much free ----------------------------------------------------------------------------


def _due(machine: Machine, need: Array, buckets: int) -> tuple[Array, ...]:
    """(row of the ring of each number of GPUs that a job can need of one node, or -1; for each ring and node the time
    from which so many are free, or -1 if they are now; the rings; what runs on each node by its limit's end, and how
    many that are)."""
    each, nodes = machine.nodes_of, machine.nodes
    wanted = {int(size) for size in np.unique(need) if size <= each}
    wanted |= {int(size) % each for size in np.unique(need) if size > each and size % each}
    wanted |= {each} if int(need.max()) > each else set()
    row = np.full(each + 1, NONE, np.int64)
    for place, level in enumerate(sorted(wanted)):
        row[level] = place
    rings = len(wanted)
    return (
        row,
        np.full((rings, nodes), NONE, np.int64),  # at
        np.full((rings, buckets), NONE, np.int64),  # first
        np.empty((rings, nodes), np.int64),  # after
        np.empty((rings, nodes), np.int64),  # before
        np.zeros((rings, buckets), np.int64),  # total
        np.zeros((rings, buckets // GROUP), np.int64),  # group
        np.empty((nodes, each), np.int64),  # ends of limits on the node, sorted
        np.empty((nodes, each), np.int64),  # how many GPUs each of these holds
        np.zeros(nodes, np.int64),  # how many they are
    )


@njit(cache=True)
def _changed(node: int, free: int, width: int, due: tuple[Array, ...]) -> None:
    """What runs on a node is another than before: enter it anew in the rings."""
    row, at, first, after, before, total, group, limits, parts, _many = due
    each, buckets = len(row) - 1, total.shape[1]
    have, place = free, 0
    for level in range(1, each + 1):
        while have < level:
            have += parts[node, place]
            place += 1
        ring = row[level]
        if ring == NONE:
            continue
        then = NONE if level <= free else limits[node, place - 1]
        old = at[ring, node]
        if then == old:
            continue
        if old != NONE:
            bucket = (old // width) % buckets
            unlink(node, bucket, first[ring], after[ring], before[ring])
            total[ring, bucket] -= 1
            group[ring, bucket // GROUP] -= 1
        if then != NONE:
            bucket = (then // width) % buckets
            link(node, bucket, first[ring], after[ring], before[ring])
            total[ring, bucket] += 1
            group[ring, bucket // GROUP] += 1
        at[ring, node] = then


@njit(cache=True)
def _runs_on(node: int, gpus: int, limit: int, free: int, width: int, due: tuple[Array, ...]) -> None:
    limits, parts, many = due[7], due[8], due[9]
    place = many[node]
    while place > 0 and limits[node, place - 1] > limit:
        limits[node, place], parts[node, place] = limits[node, place - 1], parts[node, place - 1]
        place -= 1
    limits[node, place], parts[node, place] = limit, gpus
    many[node] += 1
    _changed(node, free, width, due)


@njit(cache=True)
def _ends_on(node: int, gpus: int, limit: int, free: int, width: int, due: tuple[Array, ...]) -> None:
    limits, parts, many = due[7], due[8], due[9]
    place = 0
    while limits[node, place] != limit or parts[node, place] != gpus:
        place += 1
    many[node] -= 1
    for other in range(place, many[node]):
        limits[node, other], parts[node, other] = limits[node, other + 1], parts[node, other + 1]
    _changed(node, free, width, due)


@njit(cache=True)
def _free_then(node: int, t: int, free: Array, due: tuple[Array, ...]) -> int:
    limits, parts, many = due[7], due[8], due[9]
    have, place = free[node], 0
    while place < many[node] and limits[node, place] <= t:
        have += parts[node, place]
        place += 1
    return have


@njit(cache=True)
def _nodes_now(level: int, count: Array) -> int:
    total = 0
    for free in range(level, len(count)):
        total += count[free]
    return total


@njit(cache=True)
def _reach(t: int, level: int, nodes: int, count: Array, ones: Array, width: int, due: tuple[Array, ...]) -> int:
    """The first time at which so many nodes have `level` GPUs free; t if they have now."""
    ring = due[0][level]
    missing = nodes - _nodes_now(level, count)
    if missing <= 0:
        return t
    return reach(t, missing, due[1][ring], ones, width, due[2][ring], due[3][ring], due[5][ring], due[6][ring])[0]


@njit(cache=True)
def _nodes_then(t: int, level: int, then: int, count: Array, width: int, due: tuple[Array, ...]) -> int:
    """How many nodes have `level` GPUs free at `then`."""
    ring = due[0][level]
    first, after, total, group, at = due[2][ring], due[3][ring], due[5][ring], due[6][ring], due[1][ring]
    known, buckets = _nodes_now(level, count), len(total)
    left = then // width - t // width  # whole buckets before the last
    bucket = (t // width) % buckets
    while left > 0:
        if bucket % GROUP == 0 and left >= GROUP:
            known += group[bucket // GROUP]
            bucket, left = bucket + GROUP, left - GROUP
        else:
            known += total[bucket]
            bucket, left = bucket + 1, left - 1
        if bucket >= buckets:
            bucket = 0
    slot = first[bucket]
    while slot != NONE:
        known += at[slot] <= then
        slot = after[slot]
    return known


# --- EASY ----------------------------------------------------------------------------------------------------------


@njit(cache=True)
def _go(
    job: int, t: int, length: Array, need: Array, limit: Array, spread: bool, machine: tuple[Array, ...],
    due: tuple[Array, ...], width: int, held: Array, on: Array, start: Array, ends: Array, jobs: Array, live: int,
) -> int:  # fmt: skip
    free, bits, summary, nodes, following_node = machine
    each = len(nodes) - 1
    start[job] = t
    held[job], on[job] = _occupy(need[job], spread, free, bits, summary, nodes, following_node)
    node = held[job]
    while node != NONE:
        _runs_on(node, each, t + limit[job], free[node], width, due)
        node = following_node[node]
    if on[job] != NONE:
        part = need[job] if held[job] == NONE else need[job] % each
        _runs_on(on[job], part, t + limit[job], free[on[job]], width, due)
    push(ends, jobs, live, t + length[job], job)
    return live + 1


@njit(cache=True)
def _left(
    gpus: int, then: int, spread: bool, wanted: int, rest: int, have: int, have_rest: int, machine: tuple[Array, ...],
    due: tuple[Array, ...],
) -> tuple[int, int]:  # fmt: skip
    """How many nodes would have `wanted` and `rest` GPUs free at `then` if a job of `gpus` ran past it from now on."""
    free, bits, summary, nodes, _following_node = machine
    each = len(nodes) - 1
    whole, part = 0, gpus
    if gpus > each:
        whole, part = gpus // each, gpus % each
        spread = False
    have -= whole  # an empty node has all that is asked for
    have_rest -= whole
    if part:
        level = _one_node(part, whole, spread, each, nodes)
        # Of the empty nodes it doesn't matter which.
        will = each if level == each else _free_then(_lowest(bits, summary, level), then, free, due)
        have -= will >= wanted > will - part
        have_rest -= will >= rest > will - part
    return have, have_rest


@njit(cache=True)
def _easy(
    submit: Array, length: Array, need: Array, limit: Array, capacity: int, spread: bool, machine: tuple[Array, ...],
    trees: tuple[Array, ...], due: tuple[Array, ...], width: int, start: Array,
) -> None:  # fmt: skip
    free, bits, summary, nodes, following_node = machine
    sizes, kind, rank, order, begin, tree_at, leaves, tree = trees
    each, count, kinds = len(nodes) - 1, len(submit), len(sizes)
    room = min(count, capacity) + 1
    ends, jobs = np.empty(room, np.int64), np.empty(room, np.int64)
    held, on = np.empty(count, np.int64), np.empty(count, np.int64)
    ones = np.ones(len(free), np.int64)
    live, following, waits, front = 0, 0, 0, 0
    head, settled, then = NONE, False, np.int64(0)
    wanted, rest, must, must_rest, have, have_rest = 0, 0, 0, 0, 0, 0
    while following < count or live:
        t = submit[following] if following < count else FAR
        ended = False
        if live and ends[0] <= t:
            t, ended = ends[0], True
            while live and ends[0] <= t:
                job = jobs[0]
                pop(ends, jobs, live)
                live -= 1
                node = held[job]
                while node != NONE:
                    _set_free(node, each, free, bits, summary, nodes)
                    _ends_on(node, each, start[job] + limit[job], each, width, due)
                    node = following_node[node]
                if on[job] != NONE:
                    part, node = need[job] if held[job] == NONE else need[job] % each, on[job]
                    _set_free(node, free[node] + part, free, bits, summary, nodes)
                    _ends_on(node, part, start[job] + limit[job], free[node], width, due)
        newcomer, blocked = following, False
        while waits:
            while start[front] >= 0:
                front += 1
            if not _fits(need[front], spread, each, nodes):
                blocked = True
                break
            put(tree, tree_at[kind[front]], leaves[kind[front]], rank[front], FAR)
            live = _go(front, t, length, need, limit, spread, machine, due, width, held, on, start, ends, jobs, live)
            waits -= 1
        while following < count and submit[following] <= t:
            job = following
            following += 1
            if not blocked and _fits(need[job], spread, each, nodes):
                live = _go(job, t, length, need, limit, spread, machine, due, width, held, on, start, ends, jobs, live)
            else:
                if not blocked:
                    front, blocked = job, True
                waits += 1
                put(tree, tree_at[kind[job]], leaves[kind[job]], rank[job], limit[job])
        anybody = False  # else no reservation is needed
        if waits > 1:
            for size in range(kinds):
                if tree[tree_at[size] + 1] < FAR and _fits(sizes[size], spread, each, nodes):
                    anybody = True
                    break
        if not anybody:
            head = NONE
            continue
        if ended or front != head or not settled:
            if ended or front != head:
                head, gpus = front, need[front]
                # What the head needs at its time: `must` nodes with `wanted` GPUs free, and `must_rest` with `rest`.
                wanted, must, rest, must_rest = gpus, 1, gpus, 1
                if gpus > each:
                    wanted, must, rest, must_rest = each, gpus // each, each, gpus // each
                    if gpus % each:
                        rest, must_rest = gpus % each, must + 1
                then = max(
                    _reach(t, wanted, must, nodes, ones, width, due),
                    _reach(t, rest, must_rest, nodes, ones, width, due),
                )
                have, have_rest = (
                    _nodes_then(t, wanted, then, nodes, width, due), _nodes_then(t, rest, then, nodes, width, due)
                )  # fmt: skip
            newcomer = head + 1
        last = newcomer - 1
        settled = True
        while True:
            best, best_have, best_rest = np.int64(count), 0, 0
            for size in range(kinds):
                if tree[tree_at[size] + 1] == FAR or not _fits(sizes[size], spread, each, nodes):
                    continue
                after, after_rest = _left(
                    sizes[size], then, spread, wanted, rest, have, have_rest, machine, due
                )  # fmt: skip
                admits = after >= must and after_rest >= must_rest
                low, high = begin[size], begin[size + 1]
                while low < high:  # its first job behind the last that was looked at
                    middle = (low + high) >> 1
                    if order[middle] <= last:
                        low = middle + 1
                    else:
                        high = middle
                found = first_at_most(
                    tree, tree_at[size], leaves[size], low - begin[size], FAR - 1 if admits else then - t
                )  # fmt: skip
                if found >= 0 and order[begin[size] + found] < best:
                    best, best_have, best_rest = order[begin[size] + found], after, after_rest
            if best == count:
                break
            if t + limit[best] > then:
                have, have_rest = best_have, best_rest
            put(tree, tree_at[kind[best]], leaves[kind[best]], rank[best], FAR)
            live = _go(best, t, length, need, limit, spread, machine, due, width, held, on, start, ends, jobs, live)
            waits -= 1
            last, settled = best, False
