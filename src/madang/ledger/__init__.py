"""A ledger of what is lent: double entry in whole numbers, that can't be overspent.

It knows nothing of who lends what. A **commodity** is what is counted (a unit of a class of resource), an **account**
is one side of entries (its owner is opaque), an **entry** is one amount that went from one account to another, and is
never changed. An account that is *limited* has a **balance**:

    available = credited - debited - held        and the database refuses what would bring it below zero

A use has two steps. Before it starts, its worst case is *held*; when it ends, what it really took is *settled* and the
rest is back. What was really used is never refused: an excess over the hold becomes an *overrun*, on an account of
its own.

    from madang.ledger import actions as ledger, queries

    h100 = ledger.commodity(code="gpu:h100", unit="gpu_second", resource_class="h100")
    pool = ledger.site_account(commodity=h100, role="pool")
    used = ledger.site_account(commodity=h100, role="consumed")
    mine = ledger.open_account(commodity=h100, owner_type="allocation", owner_id=7, role="allocation", limited=True)

    ledger.grant(pool=pool, account=mine, amount=36_000, source="grants", key="7", actor=3, reason="award")
    held = ledger.hold(account=mine, sink=used, amount=7_200, source="jobs", key="41", until=None, actor=9, reason="")
    ledger.settle(hold=held, used=5_000, source="jobs", key="41", actor=None, reason="ended")
    queries.balances([mine])[mine].available                     # 31_000

What holds, and what keeps it:

- *Never overspent, however many post at once.* The update of the balance row is conditional, and a CHECK stands
  behind it.
- *Counted once.* `(source, key)` names what is booked. The same key and payload gives the same answer; another
  payload is a KeyConflict. Key and effect are one statement of one transaction: there is nothing between them to
  fail.
- *Never rewritten.* Only the functions in `sql/` write. The role of the application may call them and read; to the
  owner a trigger refuses to change an entry. A mistake is corrected by `reverse` or `refund`, which name the old entry.
- *The clock is the database's.* A hold with `until` ends by itself: whoever next needs what is available ends what is
  overdue.
- *A closed month stays closed.* Late use books into the open month and names the one it adjusts (months are Seoul's).

Many at a time, and what they come to:

- `actions.hold_batch`, `charge_batch` and `settle_batch` answer each request as the verb would, in one statement and
  one commit; `combine.Combiner` makes such batches of what many threads ask of one hot account.
- `usage.meter` books records of use in parcels: the record, its entry, the balance and the sums by day and month are
  there together or not at all. The same record again is nothing new; a changed one is reversed and booked anew. In the
  sums, `used` is split at midnight in Seoul and `booked` stands in the month of its entry, so that the sum of a month
  is the ledger's.
- `actions.seal` digests the entries of every day that is over and the records that they book, each day continuing the
  one before (every night, by `tasks`). `verify.verify()` counts balances, sums and seals again and names what differs,
  also a seal that is missing; an empty list is how it must be. The digests are worth most where the database's owner
  can't reach them: keep a copy elsewhere.
"""
