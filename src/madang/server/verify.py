"""`madang ledger verify`: works on this machine's site alone, whether it runs or not, and changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING

from madang.server.home import Home
from madang.server.postgres import Postgres
from madang.server.up import Database, Say, alone, database, environment, runs_as

if TYPE_CHECKING:
    from madang.ledger.models import Seal
    from madang.ledger.verify import Problem


@contextmanager
def _data_of(home: Home, say: Say) -> Iterator[Database]:
    """The database of a site, which goes on if it runs and is ended again if it doesn't."""
    if "DATABASE_URL" in os.environ:
        # Of a site's own server only the application's URL is needed here.
        yield Database(os.environ["DATABASE_URL"], "")
    elif runs_as(home):
        server = Postgres(home.database)
        yield Database(server.url("madang"), server.url("madang_owner"))
    else:
        with alone(home), database(home, say) as found:
            yield found


def verify(home: Home, say: Say, kept: Mapping[date, str]) -> tuple[list[Problem], Seal | None]:
    """Count the whole ledger of a site again, and compare the digests of days that were `kept` elsewhere. What differs,
    where empty is how it must be; and the newest seal."""
    with _data_of(home, say) as found:
        os.environ |= environment(home, found)
        import django

        django.setup()
        from django.db import connection

        from madang.ledger.verify import last_seal
        from madang.ledger.verify import verify as count

        try:
            return count(lambda check: say(f"counting again: {check}"), kept), last_seal()
        finally:
            connection.close()
            if pool := getattr(connection, "pool", None):
                pool.close()
