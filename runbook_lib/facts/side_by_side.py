"""Reads that do not wait for each other, sent side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar, overload

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")

#: Half of a vendor's budget, so that one run leaves the rest to others.
AT_ONCE = 4


@overload
def side_by_side(first: Callable[[], A], second: Callable[[], B], /) -> tuple[A, B]: ...
@overload
def side_by_side(
    first: Callable[[], A], second: Callable[[], B], third: Callable[[], C], /
) -> tuple[A, B, C]: ...
@overload
def side_by_side(*calls: Callable[[], Any]) -> tuple[Any, ...]: ...
def side_by_side(*calls: Callable[[], Any]) -> tuple[Any, ...]:
    """Call all of these, in at most four threads, and return their results in order.

    Raises the error of the first call, in their order, that failed. Calls after a failed one that have
    not begun are skipped. A single call is made in this thread. An interruption of this thread is
    raised at once: reads in flight change nothing and are abandoned.
    """
    if len(calls) == 1:
        return (calls[0](),)
    results: dict[int, Any] = {}
    errors: dict[int, BaseException] = {}
    waiting = list(enumerate(calls))[::-1]
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if errors or not waiting:
                    return
                number, call = waiting.pop()
            try:
                results[number] = call()
            except BaseException as error:  # raised in the thread that asked
                errors[number] = error

    # Daemons: the end of the process waits for none of them.
    threads = [threading.Thread(target=work, daemon=True) for _ in calls[:AT_ONCE]]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        with lock:
            waiting.clear()
        raise
    if errors:
        raise errors[min(errors)]
    return tuple(results[number] for number in range(len(calls)))
