"""Ctrl-C ends a run between two writes: the one in flight is answered first, unless that takes too long."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: How long an answer is waited for after Ctrl-C; a second Ctrl-C ends the waiting.
PATIENCE_S = 4.0


@contextmanager
def answered_first() -> Iterator[None]:
    """Let Ctrl-C take effect at the end of the ``with`` block, but not later than after some seconds."""
    before = signal.getsignal(signal.SIGINT)
    main = threading.main_thread()
    if threading.current_thread() is not main or not callable(before):
        yield
        return
    timer: threading.Timer | None = None

    def later(number: int, frame: FrameType | None) -> None:
        nonlocal timer
        if timer is not None:  # the second one, or time is up
            signal.signal(signal.SIGINT, before)
            before(number, frame)
            return
        timer = threading.Timer(PATIENCE_S, signal.pthread_kill, (main.ident, signal.SIGINT))
        timer.daemon = True
        timer.start()

    signal.signal(signal.SIGINT, later)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if timer is not None:
            timer.cancel()
    if timer is not None:
        before(signal.SIGINT, None)
