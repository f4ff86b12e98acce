"""Time on things, never taken twice; and pools of equal things, never taken beyond their number.

It knows nothing of what is taken or why. A **leaf** is a thing whose time can be taken; a thing made of parts is
taken by taking all of its leaves (a room of four desks). A **claim** is exclusive time on one leaf. Bookings, leases,
outages, buffers and package holds are all claims, so maintenance and a booking can't overlap either. A **pool** is a
number of equal things that is counted instead of named.

    from madang.claims import actions as claims, pools, queries

    room = claims.leaf(owner_type="space", owner_id=3)
    desks = [claims.leaf(owner_type="space", owner_id=3, part=f"desk {n}", parent=room) for n in range(4)]

    mine = claims.take(leaves=[desks[0]], during=(ten, noon), source_type="booking", source_id=41,
                       state="held", expires_at=in_15_minutes)
    claims.take(leaves=[room], during=(eleven, one), source_type="outage", source_id=5)  # Taken: a desk isn't free
    claims.confirm(claims=mine)
    claims.move(claims=mine, during=(one, three))
    claims.release(claims=mine)

    seats = pools.pool(owner_type="cohort", owner_id=8, capacity=30)
    pools.take(pool=seats, amount=1, during=(march, july), source_type="enrollment", source_id=12)

What holds, and what keeps it:

- *Never twice.* An exclusion constraint of PostgreSQL on (leaf, time) for what is held or confirmed. Moving and
  extending are checked by the same constraint. Who loses is told `Taken`, and nothing else.
- *All or nothing.* A verb is one function of the database, which locks the leaves in id order first. A deadlock or
  serialization failure is tried again, twice, and then answered as Taken.
- *Two that want what the other has* don't wait for each other. A transaction of several verbs asks for leaves in the
  order of their ids, then for pools in that of theirs; one that doesn't is told Taken where it is waited for.
- *A hold ends without a timer.* Whoever next wants the time ends what is overdue by the database's clock.
- *A pool by its peak,* under its row lock: two that follow each other need one seat, not two. Smaller or shorter is
  never refused, and a pool is never made smaller than what it promised from now on.
- *Nothing is forgotten.* Claims are never deleted, and a trigger keeps every change with who made it and why.
- *By nobody else.* The application's role may read, and call the verbs; it can't write the tables.
"""
