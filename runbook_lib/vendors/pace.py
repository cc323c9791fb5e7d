"""The turns of requests at a vendor that counts those of a minute from one address.

All processes of the machine share one small file with the time of the latest turn. Nothing is locked while
a request waits for its turn. After 429 everybody waits: for as long as the vendor asked, or for longer and
longer; and for some minutes the vendor is taken for one with the lowest limit that is documented.
"""

from __future__ import annotations

import fcntl
import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path

from ..plain_files import SMALL, shared_descriptor
from ..records.clocks import steady
from ..records.waits import NOTICE_S

#: Of a limit: what is used steadily, and what may be sent at once after a pause; the rest is for others. Most
#: readings are over before they have to wait for a turn.
STEADY, BURST = 0.7, 0.25
#: The lowest limit of any version (PortSIP, FAQ: 1,000 in 16.0), and for how long it is kept to after 429.
LOWEST_A_MINUTE, LOW_FOR_S = 1_000, 600.0
#: How long nobody sends after 429 without Retry-After: at first, and at most.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 30.0
#: The longest Retry-After that is obeyed: the vendor counts by the minute.
MINUTE_S = 60.0
#: No lock here is held for longer than a moment.
PATIENCE_S = 1.0
#: Times in the file that are further ahead are from before the machine was started.
_FURTHEST_S = 3_600.0


@dataclass
class _State:
    """What the file has, in seconds of ``steady``."""

    latest_turn: float = 0.0
    paused_until: float = 0.0
    pause_s: float = 0.0
    low_until: float = 0.0


class Pace:
    """Turns at one vendor.

    Parameters
    ----------
    path
        The file that all processes share; without it this object counts alone.
    a_minute
        The requests that may be sent in a minute.
    """

    def __init__(self, path: Path, a_minute: float) -> None:
        self._path = path
        self._a_minute = a_minute
        self._own = _State()

    def wait(self, waiting: Callable[[float], object] = lambda _: None) -> None:
        """Wait for this request's turn; ``waiting`` is called with the seconds that are left, if many are."""
        with self._changed() as state:
            now = steady()
            limit = min(self._a_minute, LOWEST_A_MINUTE) if now < state.low_until else self._a_minute
            apart = MINUTE_S / (limit * STEADY)
            earliest = max(state.latest_turn, state.paused_until, now - BURST * limit * apart)
            state.latest_turn = turn = earliest + apart
        if turn - now > NOTICE_S:
            waiting(turn - now)
        while (left := turn - steady()) > 0:
            # Not time.sleep, which fails where the clock is set while it sleeps (libfaketime).
            select.select([], [], [], left)

    def refused(self, sent_at: float, retry_after_s: float | None) -> None:
        """Let everybody wait after 429; ``sent_at`` (``time.time``) is when the refused request left."""
        with self._changed() as state:
            now = steady()
            left_at = now - max(0.0, time.time() - sent_at)
            began = state.paused_until - state.pause_s
            if left_at <= began <= now:
                return  # in flight when another one was refused
            if retry_after_s is not None:
                pause = min(retry_after_s, MINUTE_S)
            elif now - state.paused_until < LONGEST_PAUSE_S:
                pause = min(2 * state.pause_s or FIRST_PAUSE_S, LONGEST_PAUSE_S)
            else:
                pause = FIRST_PAUSE_S
            state.pause_s, state.paused_until, state.low_until = pause, now + pause, now + LOW_FOR_S

    @contextmanager
    def _changed(self) -> Iterator[_State]:
        """The state, which nobody else changes in the meantime; written at the end of the ``with`` block."""
        file = self._locked()
        try:
            state = self._own if file is None else _read(file)
            yield state
            self._own = state
            if file is not None:
                content = " ".join(f"{value:.6f}" for value in astuple(state)).encode() + b"\n"
                with suppress(OSError):
                    os.pwrite(file, content, 0)
                    os.ftruncate(file, len(content))
        finally:
            if file is not None:
                os.close(file)

    def _locked(self) -> int | None:
        """The open file with its lock; ``None`` if there cannot be one."""
        try:
            file = shared_descriptor(self._path)
        except OSError:
            return None
        until = steady() + PATIENCE_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return file
            except OSError as error:
                if not isinstance(error, BlockingIOError) or steady() > until:
                    os.close(file)
                    return None
            select.select([], [], [], 0.001)


def _read(file: int) -> _State:
    try:
        state = _State(*map(float, os.pread(file, SMALL, 0).split()))
    except (OSError, ValueError, TypeError):  # not written yet, or by somebody else
        return _State()
    is_sound = all(0 <= value < steady() + _FURTHEST_S for value in astuple(state))
    return state if is_sound else _State()
