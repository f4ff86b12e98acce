"""One hot account: requests that come while another is under way go together, as one statement and one commit.

The speed of a hot account is that of its commits, one after another. Nobody waits for company here: a request that
finds nobody under way goes at once; those that come meanwhile are the next batch. Each is answered by itself, as the
verb would.

    hot = Combiner(source="meter")
    hold = hot.hold(Hold(account, sink, 60, "841"))            # from any number of threads
    hot.settle(account, Settlement(hold, 40, "841"))

Each call is a transaction of its own, on the connection of whichever thread goes; inside another transaction the batch
would be committed with it, and for everybody: that is refused.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from django.db import connection

from madang.ledger import actions
from madang.ledger.actions import Hold, Settled, Settlement
from madang.ledger.errors import Refused

MOST = 1_000  # of one batch


class _Asked:
    """A request and the thread that waits for it. `turn` opens when it is answered, or when its thread is to go."""

    __slots__ = ("answer", "done", "request", "turn")

    def __init__(self, request: Any) -> None:
        self.request, self.answer, self.done, self.turn = request, None, False, Lock()
        self.turn.acquire()


@dataclass
class _Queue:
    """The requests of one account and verb, and whose thread is at the database, or on its way there."""

    waiting: deque[_Asked] = field(default_factory=deque)
    going: _Asked | None = None
    lock: Lock = field(default_factory=Lock)

    def next(self) -> None:
        """With the lock: wake the one that has waited longest, and nobody else, to go with all the others."""
        self.going = self.waiting[0] if self.waiting else None
        if self.going:
            self.going.turn.release()


class Combiner:
    def __init__(self, *, source: str, actor: int | None = None, reason: str = "") -> None:
        self._shared: dict[str, Any] = {"source": source, "actor": actor, "reason": reason}
        self._queues: dict[tuple[str, int], _Queue] = {}

    def hold(self, request: Hold) -> int:
        """As `actions.hold`, without an end by the clock."""
        return int(self._ask("hold", request.account, request, actions.hold_batch))

    def charge(self, request: Hold) -> int:
        """As `actions.charge`, of now."""
        return int(self._ask("charge", request.account, request, actions.charge_batch))

    def settle(self, account: int, request: Settlement) -> Settled:
        """As `actions.settle`, of now. `account` is that of the hold."""
        answer: Settled = self._ask("settle", account, request, actions.settle_batch)
        return answer

    def _ask(self, verb: str, account: int, request: Any, batch: Callable[..., Sequence[Any]]) -> Any:
        if connection.in_atomic_block:
            raise RuntimeError("a combined request is a transaction of its own")
        queue = self._queues.setdefault((verb, account), _Queue())
        mine = _Asked(request)
        with queue.lock:
            queue.waiting.append(mine)
            if queue.going is None:
                queue.next()
        try:
            mine.turn.acquire()
        except BaseException:  # interrupted: the others must not wait for a thread that has left
            with queue.lock:
                if mine in queue.waiting:
                    queue.waiting.remove(mine)
                    if queue.going is mine:
                        queue.next()
            raise
        if not mine.done:
            self._go(queue, mine, batch)
        if isinstance(mine.answer, Refused):
            raise mine.answer
        return mine.answer

    def _go(self, queue: _Queue, mine: _Asked, batch: Callable[..., Sequence[Any]]) -> None:
        """Ask for all that wait, and answer each. An error of the whole batch is the asking thread's; the others, of
        whom nothing was booked either, ask for themselves."""
        with queue.lock:
            going = [queue.waiting.popleft() for _ in range(min(MOST, len(queue.waiting)))]
        borrowed = connection.connection is None
        answers: Sequence[Any] = ()
        try:
            answers = batch([asked.request for asked in going], **self._shared)
        finally:
            if borrowed:  # many threads ask, and few at a time are at the database
                connection.close()
            with queue.lock:
                if not answers:
                    queue.waiting.extendleft(asked for asked in reversed(going) if asked is not mine)
                queue.next()
            for asked, answer in zip(going, answers, strict=False):
                asked.answer, asked.done = answer, True
                if asked is not mine:
                    asked.turn.release()
