"""States and the verbs that move between them; who did what, when and why; deadlines by the database's clock.

A small library that knows nothing of the domain:

- `log.act(actor, verb, on=row, reason=…)` opens the one transaction of a verb, puts who and why into the row history
  that database triggers keep, and writes one line of the log that people read.
- `machine.Machine` is the table of moves of one kind of thing. `Machine.move(row, verb)` locks the row, refuses a move
  that the table doesn't have, and writes the new state. Nothing else writes a state.
- `moment.now()` is the instant of the database's clock: the only one that deadlines are decided by.
- `errors.Refused` and its kin are the answers a verb may give instead of doing something. They carry a message for
  people, and the field it belongs to.
"""
