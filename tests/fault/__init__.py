"""What is killed at any moment costs nothing that was acknowledged.

    make test                   # a few rounds of each
    make fault                  # 50 rounds of each; the counts come last
    make fault PARTS=server     # one of "server life"
    make fault ROUNDS=200       # another number; SEED=n repeats what was drawn

- `server`: eight writers hold, settle, charge and take time while a process of the database, or all of it, is killed.
- `life`: web, worker, poller and dispatcher die between any two steps of a job's life.

Each runs in a process of its own, as the application, on a private PostgreSQL that is as durable as a site's.
"""
