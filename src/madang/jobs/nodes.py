"""The machines of an engine, as the poller sees them, and what operators want of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

from django.db import connection

from madang.engines.base import EngineError, NodeState, Unavailable
from madang.jobs.engines import EngineWithFiles
from madang.jobs.models import Node, NodeWish

COLUMNS: Final = {
    **dict.fromkeys(("name", "state", "reason", "partitions", "gpu_type"), "text"),
    **dict.fromkeys(("gpus", "used"), "int"),
    "reason_by": "text",
    "reason_at": "timestamptz",
}
# A row that is as it was isn't written. A wish that has come true is no longer one.
KEEP: Final = f"""
INSERT INTO jobs_node AS n (engine, {", ".join(COLUMNS)}, wish, wish_why)
SELECT %s, s.*, '', '' FROM unnest({", ".join(f"%s::{kind}[]" for kind in COLUMNS.values())}) s ({", ".join(COLUMNS)})
ON CONFLICT (engine, name) DO UPDATE SET {", ".join(f"{name} = EXCLUDED.{name}" for name in COLUMNS)},
  changed_at = CASE WHEN n.state = EXCLUDED.state THEN n.changed_at ELSE now() END,
  wish = CASE WHEN n.wish = 'drain' AND EXCLUDED.state IN ('draining', 'drained') THEN ''
              WHEN n.wish = 'resume' AND EXCLUDED.state NOT IN ('draining', 'drained') THEN '' ELSE n.wish END
WHERE ({", ".join(f"n.{name}" for name in COLUMNS)})
      IS DISTINCT FROM ({", ".join(f"EXCLUDED.{name}" for name in COLUMNS)})
   OR n.wish <> ''
"""  # noqa: S608
GONE: Final = "DELETE FROM jobs_node WHERE engine = %s AND NOT name = ANY(%s)"
logger = logging.getLogger(__name__)


def keep(engine: str, seen: Sequence[NodeState]) -> None:
    """Write down what is otherwise than before: one statement, however many nodes."""
    rows: list[tuple[Any, ...]] = [
        (
            *(n.name[:80], n.state, n.reason[:400], ",".join(n.partitions)[:400], n.gpu_type[:80], n.gpus, n.used),
            *(n.reason_by[:80], n.reason_at),
        )
        for n in sorted(seen, key=lambda n: n.name)
    ]
    with connection.cursor() as cursor:
        names = [row[0] for row in rows]
        if rows:
            columns = [list(column) for column in zip(*rows, strict=True)]
            cursor.execute(f"WITH gone AS ({GONE}) {KEEP}", [engine, names, engine, *columns])
        else:
            cursor.execute(GONE, [engine, names])


def fulfil(engine: EngineWithFiles, name: str) -> None:
    """Tell the engine what operators want of its nodes. It is told again until it was seen to have come true."""
    for node in Node.objects.filter(engine=name).exclude(wish=""):
        try:
            if node.wish == NodeWish.DRAIN:
                engine.drain(node.name, node.wish_why)
            else:
                engine.resume(node.name)
        except Unavailable:
            raise
        except EngineError:
            logger.exception("the node %s of %s could not be changed", node.name, name)
