"""A moment: what was read at one time, in which every request is sent once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta

import httpx

#: What was read longer ago (s) is read again.
LIFETIME_S = 60.0
#: Answers that say something of the state: a success, and what this account may not read or does not have.
_KEPT = frozenset({httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND})

Key = tuple[str, ...]


class Moment:
    """Remembers the answers of reads until it begins anew; may be used by several threads.

    Between the processes of a run it is handed over with ``answers`` and ``join``.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[Key, Future[httpx.Response]] = {}
        #: When the first answer was asked for, by the monotonic clock, which all processes share.
        self._began: float | None = None
        #: Called before everything is forgotten, for those who share this moment.
        self.before_it_ends: Callable[[], object] | None = None

    @property
    def began(self) -> datetime | None:
        """When the first of its answers was asked for (UTC); ``None`` before."""
        began = self._began
        return None if began is None else datetime.now(UTC) - timedelta(seconds=time.monotonic() - began)

    @property
    def is_over(self) -> bool:
        """Whether it is too old to be read from."""
        began = self._began
        return began is not None and time.monotonic() - began > LIFETIME_S

    def begin(self) -> None:
        """Forget everything: before what has to be read anew, and around every write."""
        if self.before_it_ends is not None:
            self.before_it_ends()
        with self._lock:
            self._answers, self._began = {}, None

    def once(self, key: Key, ask: Callable[[], httpx.Response]) -> httpx.Response:
        """Return the answer to a read, asking only if nobody has asked in this moment.

        Whoever asks while another thread waits for the same answer waits for it, too, and gets the same
        error.
        """
        with self._lock:
            answers, waiting = self._answers, self._answers.get(key)
            if waiting is None:
                own = answers[key] = Future[httpx.Response]()
                if self._began is None:
                    self._began = time.monotonic()
        if waiting is not None:
            return waiting.result()
        try:
            response = ask()
        except BaseException as error:
            answers.pop(key, None)
            own.set_exception(error)
            raise
        if not response.is_success and response.status_code not in _KEPT:
            answers.pop(key, None)
        own.set_result(response)
        return response

    def answers(self) -> tuple[float | None, dict[Key, tuple[int, bytes]]]:
        """Return when it began (monotonic) and what was answered, status and body, for another process."""
        with self._lock:
            done = {key: one for key, one in self._answers.items() if one.done() and not one.exception()}
            return self._began, {
                key: (one.result().status_code, one.result().content) for key, one in done.items()
            }

    def join(self, began: float | None, answers: Mapping[Key, tuple[int, bytes]]) -> None:
        """Go on with a moment of another process of this machine, in the place of this one."""
        with self._lock:
            self._began, self._answers = began, {}
            for key, (status, body) in answers.items():
                one = self._answers[key] = Future[httpx.Response]()
                one.set_result(httpx.Response(status, content=body))
