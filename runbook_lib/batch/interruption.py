"""SIGTERM and SIGHUP end a run as Ctrl-C does: kernels are ended, and the record says so.

One is enough: pressing Ctrl-C again does not interrupt what writes the record.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: The signals that interrupt a run.
INTERRUPTIONS = (KeyboardInterrupt, SystemExit)
#: Default handlers of a signal.
NOBODYS = (signal.SIG_DFL, signal.default_int_handler)


class Interruption:
    """A signal handler that raises at the first signal and ignores later ones.

    ``KeyboardInterrupt`` for SIGINT, ``SystemExit`` for SIGTERM and SIGHUP. ``arrived`` is the number of
    the signal that came first, ``None`` while there was none.
    """

    def __init__(self) -> None:
        self.arrived: int | None = None
        self._held = False

    def __call__(self, number: int, frame: FrameType | None = None) -> None:
        """Handle a signal."""
        if self.arrived is None:
            self.arrived = number
            if not self._held:
                self._raise()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Raise nothing in the ``with`` block, so that it completes."""
        before, self._held = self._held, True
        try:
            yield
        finally:
            self._held = before

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Raise in this ``with`` block, inside one that holds; at once if a signal has arrived already."""
        before, self._held = self._held, False
        try:
            self._raise()
            yield
        finally:
            self._held = before

    def ignore(self) -> None:
        """Ignore Ctrl-C from now on; Python would let the last one kill it while it shuts down."""
        # Where Ctrl-C came while a string was being executed (as dataclasses do when they are imported),
        # ``python -m`` kills itself with SIGINT at its end, unless another string was executed since.
        exec("")  # noqa: S102
        if signal.getsignal(signal.SIGINT) is self:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _raise(self) -> None:
        if self.arrived == signal.SIGINT:
            raise KeyboardInterrupt
        if self.arrived is not None:
            raise SystemExit(128 + self.arrived)


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Raise at the first signal in the ``with`` block, and ignore later ones.

    A signal that is already handled or ignored (``nohup``) is left alone. Blocks can be nested: an
    inner one, also inside ``interrupted_once``, yields the handler of the outer one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield Interruption()  # only the main thread may handle signals
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    outer = (handler for handler in before.values() if isinstance(handler, Interruption))
    interruption = next(outer, None) or Interruption()
    handled = [number for number, handler in before.items() if handler in NOBODYS]
    for number in handled:
        signal.signal(number, interruption)
    try:
        yield interruption
    finally:
        for number in handled:
            signal.signal(number, before[number])


def interrupted_once() -> Interruption:
    """Let Ctrl-C raise once in this process; ignore later ones, even while Python shuts down."""
    handler = signal.getsignal(signal.SIGINT)
    if isinstance(handler, Interruption):
        return handler
    interruption = Interruption()
    if handler in NOBODYS:
        signal.signal(signal.SIGINT, interruption)
    return interruption


def describe_interruption(error: BaseException) -> str:
    """Return what interrupted a run."""
    if isinstance(error, SystemExit) and isinstance(error.code, int) and error.code > 128:
        return f"interrupted by {signal.Signals(error.code - 128).name}"
    return "interrupted"
