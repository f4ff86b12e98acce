"""Eight who ask without a pause, and ask again what was not answered."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from django.db import Error, connection, transaction

from madang.ledger.errors import Busy

WRITERS = 8
PATIENCE_S = 60


class Writer(Protocol):
    """Whoever asks for one thing at each turn, and keeps what was answered."""

    def turn(self) -> None: ...


class Asked:
    """How often something was answered, and how often that took asking again."""

    def __init__(self) -> None:
        self.acknowledged = self.ambiguous = 0

    def ask(self, call: Callable[[], Any], again: Callable[[], Any]) -> Any:
        """The answer to `call`, else to `again` once the server is back. A refusal is an answer."""
        try:
            answer = whole(call)
        except (Error, Busy):  # a deadlock, too: nothing of it was done
            self.ambiguous += 1
            connection.close()
            answer = patiently(again)
        self.acknowledged += 1
        return answer


def patiently(call: Callable[[], Any]) -> Any:
    """What is answered once the server is there, or there again."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return whole(call)
        except (Error, Busy):
            connection.close()
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def whole(call: Callable[[], Any]) -> Any:
    """By itself, or in a transaction of the caller's: a verb is called in both ways."""
    if random.random() < 0.5:
        return call()
    with transaction.atomic():
        return call()


class Crowd:
    """The writers, each in a thread and with a connection of its own, from `start` to `stop`."""

    def __init__(self, writers: Sequence[Writer]) -> None:
        self.writers = writers
        self.failures: list[BaseException] = []

    def start(self) -> None:
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._work, args=(writer,)) for writer in self.writers]
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        """When everything that was asked is answered."""
        self.over.set()
        for thread in self.threads:
            thread.join()
        if self.failures:
            raise self.failures[0]

    def _work(self, writer: Writer) -> None:
        try:
            while not self.over.is_set():
                writer.turn()
        except BaseException as failure:
            self.failures.append(failure)
        finally:
            connection.close()
