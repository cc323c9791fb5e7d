"""SIGTERM and SIGHUP end a run as Ctrl-C does: kernels are ended and the record says so."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: What an interruption arrives as.
INTERRUPTIONS = (KeyboardInterrupt, SystemExit)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise ``SystemExit`` at the first SIGTERM or SIGHUP in the ``with`` block, and ignore later ones.

    A signal that somebody else handles or ignores (``nohup``) is left alone, so blocks can be nested.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    handled = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is signal.SIG_DFL]

    def end(number: int, _: FrameType | None) -> None:
        for one in handled:
            signal.signal(one, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for one in handled:
        signal.signal(one, end)
    try:
        yield
    finally:
        for one in handled:
            signal.signal(one, signal.SIG_DFL)


def told(error: BaseException) -> str:
    """Say what interrupted a run."""
    if isinstance(error, SystemExit) and isinstance(error.code, int) and error.code > 128:
        return f"interrupted by {signal.Signals(error.code - 128).name}"
    return "interrupted"
