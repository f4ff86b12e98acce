"""What runs later: every night the days that are over are sealed, and everything is counted again."""

from __future__ import annotations

import logging

from procrastinate.contrib.django import app

from madang.ledger import actions
from madang.ledger.verify import verify

logger = logging.getLogger(__name__)


@app.periodic(cron="20 18 * * *")  # 03:20 in Seoul
@app.task(name="ledger.every_night", queueing_lock="ledger.every_night")
def every_night(timestamp: int) -> None:
    actions.seal()
    for problem in verify():
        logger.error("the ledger does not add up: %s", problem)
