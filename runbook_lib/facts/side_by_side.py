"""Reads that do not wait for each other, sent side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
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
    """Call all of these, in this thread and at most three more, and return their results in order.

    The other threads begin when a call says that it waits (``others_begin``), which a request does before it
    is sent: calls that are served from memory cost no thread.

    Raises the error of the first call, in their order, that failed. Calls after a failed one that have
    not begun are skipped. An interruption of this thread is raised at once: reads in flight change nothing
    and are abandoned.
    """
    whole = _Calls(calls)
    outer, _here.calls = getattr(_here, "calls", None), whole
    whole.outer = outer
    try:
        try:
            whole.work()
        finally:
            _here.calls = outer
        for thread in whole.helpers:
            thread.join()
    except BaseException:
        whole.stop()
        raise
    if whole.errors:
        raise whole.errors[min(whole.errors)]
    return tuple(whole.results[number] for number in range(len(calls)))


def others_begin() -> None:
    """Say that this thread is about to wait, so that others begin the calls that are left beside its own."""
    calls: _Calls | None = getattr(_here, "calls", None)
    while calls is not None:
        calls.get_help()
        calls = calls.outer


class _Calls:
    """Calls that do not wait for each other; several threads may work on them."""

    def __init__(self, calls: Sequence[Callable[[], Any]]) -> None:
        self.results: dict[int, Any] = {}
        self.errors: dict[int, BaseException] = {}
        self.helpers: list[threading.Thread] = []
        #: Those that this thread is in the middle of.
        self.outer: _Calls | None = None
        self._waiting = list(enumerate(calls))[::-1]
        self._lock = threading.Lock()

    def work(self) -> None:
        """Make one call after the other, as long as there are any and none has failed."""
        while True:
            with self._lock:
                if self.errors or not self._waiting:
                    return
                number, call = self._waiting.pop()
            try:
                self.results[number] = call()
            except BaseException as error:  # raised in the thread that asked
                self.errors[number] = error
                if not isinstance(error, Exception):
                    raise

    def get_help(self) -> None:
        """Let further threads work on what is left."""
        with self._lock:
            missing = 0 if self.helpers else min(len(self._waiting), AT_ONCE - 1)
            # Daemons: the end of the process waits for none of them.
            self.helpers += [threading.Thread(target=self.work, daemon=True) for _ in range(missing)]
        for thread in self.helpers if missing else ():
            thread.start()

    def stop(self) -> None:
        """Begin no more calls."""
        with self._lock:
            self._waiting.clear()


_here = threading.local()
