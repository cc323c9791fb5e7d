"""SIGTERM and SIGHUP end a run as Ctrl-C does: kernels are ended and the record says so.

One is enough: whoever presses Ctrl-C again does not cut off what writes the record.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: What an interruption arrives as.
INTERRUPTIONS = (KeyboardInterrupt, SystemExit)
#: What handles a signal where nobody has said otherwise.
NOBODYS = (signal.SIG_DFL, signal.default_int_handler)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise at the first signal in the ``with`` block, and ignore later ones.

    ``KeyboardInterrupt`` for SIGINT, ``SystemExit`` for SIGTERM and SIGHUP. A signal that somebody else
    handles or ignores (``nohup``) is left alone, so blocks can be nested.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    handled = [one for one, handler in before.items() if handler in NOBODYS]
    ended = False

    def end(number: int, _: FrameType | None) -> None:
        nonlocal ended
        if ended:
            return
        ended = True
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    for one in handled:
        signal.signal(one, end)
    try:
        yield
    finally:
        for one in handled:
            signal.signal(one, before[one])


def told(error: BaseException) -> str:
    """Say what interrupted a run."""
    if isinstance(error, SystemExit) and isinstance(error.code, int) and error.code > 128:
        return f"interrupted by {signal.Signals(error.code - 128).name}"
    return "interrupted"
