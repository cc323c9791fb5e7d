"""Follows the run that works on a page's tenant, whoever started it, until it ends.

It looks at the records folder, so a run is found again after a reload, a restart, and in a second window.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from ..outcomes import RUNNING, UNKNOWN
from . import child
from .child import Child
from .runs import RecordedRun, Status, run_in_flight

#: How often (s) the record of a run is read, and how often a run is looked for where none is known.
FOLLOW_S, LOOK_S = 0.3, 1.0


class Follower:
    """Finds and follows the runs of one tenant.

    Parameters
    ----------
    records
        The tenant's records folder.
    seen
        Called after each look at the run that is followed, also with its end; it must not wait for a cell.
    ended
        Called once when the run has ended, in a separate thread; cells can run in the meantime.
    looked
        Called about once a second as long as this looks for runs.
    """

    def __init__(
        self,
        records: Path,
        seen: Callable[[], object],
        ended: Callable[[], object],
        looked: Callable[[], object] = lambda: None,
    ) -> None:
        #: The run that was followed last; it may have ended.
        self.followed: Child | RecordedRun | None = None
        self.status: Status | None = None
        self._records = records
        self._seen, self._ended, self._looked = seen, ended, looked
        self._settled = threading.Event()
        self._turn = threading.RLock()
        self._thread: threading.Thread | None = None
        self._looking = False

    @property
    def is_following(self) -> bool:
        """Whether a run is followed that has not ended."""
        return self.status is not None and self.status.state == RUNNING

    @property
    def run(self) -> RecordedRun | None:
        """The record of the run that was followed last, once there is one."""
        return self.followed.run if isinstance(self.followed, Child) else self.followed

    def find(self) -> bool:
        """Follow a run that is in flight, if there is one; whether there is."""
        with self._turn:
            if not self.is_following:
                own = child.running(self._records)
                found = own or run_in_flight(self._records)
                if found is not None and not self._is_over(found):
                    self.follow(found)
            return self.is_following

    def follow(self, run: Child | RecordedRun) -> None:
        """Follow a run from now on."""
        with self._turn:
            self.followed, self.status = run, Status(RUNNING)
            self._settled.clear()
            self._read()
        self._start()

    def keep_looking(self) -> None:
        """Look for runs from now on, also for those that others start."""
        self._looking = True
        self._start()

    def stop_looking(self) -> None:
        """Stop looking for runs; one that is already followed is followed until it ends."""
        self._looking = False

    def cancel(self) -> str:
        """Ask the run that is followed to end; return why that is not possible, or nothing."""
        with self._turn:
            return self.followed.cancel() if self.followed is not None and self.is_following else ""

    def wait(self, seconds: float) -> None:
        """Wait until the run has ended and that is shown, ``seconds`` at most."""
        if self.followed is not None:
            self._settled.wait(seconds)

    def _is_over(self, found: Child | RecordedRun) -> bool:
        """Whether this is the run whose end was shown already: it may hold its lock a moment longer."""
        known, other = self.run, found.run if isinstance(found, Child) else found
        return known is not None and other is not None and known.folder == other.folder

    def _start(self) -> None:
        with self._turn:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._go_on, name="follows a run", daemon=True)
                self._thread.start()

    def _go_on(self) -> None:
        pause = threading.Event()
        while True:
            with self._turn:
                if self.is_following:
                    self._read()
                elif self._looking:
                    self.find()
                has_ended = not self.is_following and self.followed is not None
                tells = has_ended and not self._settled.is_set()
                if not (tells or self.is_following or self._looking):
                    self._thread = None
                    return
            if tells:
                self._ended()
                self._settled.set()
            self._looked()
            pause.wait(FOLLOW_S if self.is_following else LOOK_S)

    def _read(self) -> None:
        """Look at the run; whatever is wrong with its files, it is followed on."""
        assert self.followed is not None, "somebody said what to follow"
        try:
            status = self.followed.status()
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.status = Status(RUNNING, told=f"Its record cannot be read ({type(error).__name__}).")
            if isinstance(self.followed, Child) and not self.followed.running:
                self.status = Status(UNKNOWN, {}, told=self.status.told)
        else:
            self.status = status
        self._seen()
