"""What runs later: every night the days that are over are sealed, and everything is counted again."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from procrastinate.contrib.django import app

from madang.ledger import actions
from madang.ledger.verify import missing, verify

logger = logging.getLogger(__name__)


@app.periodic(cron="20 18 * * *")  # 03:20 in Seoul
@app.task(name="ledger.every_night", queueing_lock="ledger.every_night")
def every_night(timestamp: int) -> None:
    gone = missing(datetime.fromtimestamp(timestamp, UTC))  # before they are made once more
    actions.seal()
    for problem in [*gone, *verify()]:
        logger.error("the ledger does not add up: %s", problem)
