"""What a run waits for: a vendor that asked for a pause or is away, its turn, another run's lock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

#: A shorter wait (s) is reported only if it is between two attempts.
NOTICE_S = 1.0


@dataclass(frozen=True)
class Wait:
    """What a run waits for; times are those of ``time.time``.

    Parameters
    ----------
    why
        The reason, in words: ``"Twilio answered 429 (too many requests)"``.
    since
        When it began.
    until
        When it goes on; ``None`` if that depends on others.
    attempt, attempts
        Of a request that is sent again: the number of the next attempt, and the most that there are
        (0: as many as fit before ``last``).
    last
        When the last attempt is made at the latest, if their number is not limited.
    """

    why: str
    since: float = field(default_factory=time.time)
    until: float | None = None
    attempt: int = 0
    attempts: int = 0
    last: float | None = None

    @property
    def seconds(self) -> float:
        """How long it is; 0 if that depends on others."""
        return 0.0 if self.until is None else max(0.0, self.until - self.since)


class Waits:
    """What one process of a run waits for; several of its threads may wait at the same time.

    Parameters
    ----------
    listeners
        Called with the latest wait of those that go on, and with ``None`` when the last of them is over;
        never while nothing waits. They must not wait themselves.
    """

    def __init__(self, *listeners: Callable[[Wait | None], object]) -> None:
        self.listeners = [*listeners]
        self._turn = threading.Lock()
        self._open: dict[object, Wait] = {}

    @contextmanager
    def one(self) -> Iterator[Callable[[Wait], None]]:
        """Yield what reports a wait, in place of the one before it; it is over with the ``with`` block."""
        key = object()

        def begin(wait: Wait) -> None:
            with self._turn:
                self._open.pop(key, None)
                self._open[key] = wait
                self._tell()

        try:
            yield begin
        finally:
            if key in self._open:
                with self._turn:
                    self._open.pop(key, None)
                    self._tell()

    def forget(self) -> None:
        """Report that nothing waits any longer: threads that are left behind do not count."""
        with self._turn:
            if self._open:
                self._open.clear()
                self._tell()

    def _tell(self) -> None:
        latest = next(reversed(self._open.values()), None)
        for listener in self.listeners:
            listener(latest)
