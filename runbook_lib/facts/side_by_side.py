"""Reads that do not wait for each other, side by side."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

AT_ONCE = 4


def side_by_side(*calls: Callable[[], Any]) -> tuple[Any, ...]:
    """Call all of them, at most 4 at a time, and return their results in order.

    Raises the error of the first call, in order, that raised one, when all of them have ended.
    """
    if len(calls) < 2:
        return tuple(call() for call in calls)
    with ThreadPoolExecutor(min(len(calls), AT_ONCE)) as threads:
        waiting = [threads.submit(call) for call in calls]
    return tuple(one.result() for one in waiting)
