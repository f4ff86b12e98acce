"""What is killed at any moment costs nothing that was acknowledged.

    make test                        # a few rounds of each
    make fault                       # 50 rounds of each, a transaction left open for 10 minutes; the counts come last
    make fault PARTS=server          # some of "server life snapshot"
    make fault ROUNDS=200 OPEN_S=60  # other numbers; SEED=n repeats what was drawn

- `server`: eight writers hold, settle, charge and take time while a process of the database, or all of it, is killed.
- `life`: web, worker, poller and dispatcher die between any two steps of a job's life.
- `snapshot`: one transaction stays open while eight writers go on.

Each runs in a process of its own, as the application, on a private PostgreSQL that is as durable as a site's.
"""
