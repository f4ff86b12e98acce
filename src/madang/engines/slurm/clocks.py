"""How far the clocks of a cluster are from ours. What its controller says of times is compared with ours by way of it:
an end "after our last question" may be hours before it there."""

from __future__ import annotations

import os
import re
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from madang.engines.base import APART_S
from madang.engines.slurm.commands import Commands

NOISE_S = 2.0  # a controller tells its time in whole seconds, and the answer is under way for a moment


@dataclass(frozen=True)
class Clocks:
    """Seconds that three clocks are ahead of this machine's: the database's, the controller's, and that of the disk of
    the runs, which dates the marks."""

    database: float = 0.0
    controller: float = 0.0
    marks: float = 0.0

    @property
    def asked(self) -> float:
        """What makes an instant of the database one of the controller."""
        return self.controller - self.database

    @property
    def left(self) -> float:
        """What makes the date of a mark an instant of the controller."""
        return self.controller - self.marks

    @property
    def apart(self) -> dict[str, int]:
        """Who differs from the database by more than a few seconds, and by how many it is ahead."""
        ahead = {"controller": self.asked, "run folders": self.marks - self.database, "this machine": -self.database}
        return {who: round(seconds) for who, seconds in ahead.items() if abs(seconds) > APART_S}


IN_STEP = Clocks()


def read(conn: psycopg.Connection[Any], commands: Commands, runs: Path) -> Clocks:
    """Look at all of them. Raises Unavailable where the controller doesn't answer."""
    with conn.transaction():
        row = conn.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
    assert row
    database = row[0] - time.time()
    said = re.search(r"sdiag output at .*\((\d+)\)", commands.read("sdiag"))
    controller = int(said[1]) + 0.5 - time.time() if said else 0.0
    marks = 0.0
    with suppress(OSError), tempfile.TemporaryFile(dir=runs) as file:
        file.write(b"\n")
        file.flush()
        os.fsync(file.fileno())
        marks = os.fstat(file.fileno()).st_mtime - time.time()
    return Clocks(_plain(database), _plain(controller), _plain(marks))


def _plain(ahead: float) -> float:
    return ahead if abs(ahead) > NOISE_S else 0.0
