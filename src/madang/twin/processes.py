"""Work on other processor cores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
HEARTBEAT_S = 20


def on_processes(do: Callable[..., T], calls: Iterable[tuple[Any, ...]], processes: int) -> Iterator[T | None]:
    """What each call answers, as they end; None now and then, while none does. What hasn't begun when the caller leaves
    is never done.
    """
    from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
    from multiprocessing import get_context

    # Forked, a process would share locks with the threads of this one.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        going = {pool.submit(do, *call) for call in calls}
        try:
            while going:
                done, going = wait(going, timeout=HEARTBEAT_S, return_when=FIRST_COMPLETED)
                if not done:
                    yield None
                yield from (future.result() for future in done)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
