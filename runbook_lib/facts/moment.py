"""A moment: within it each read is sent once, and its answer serves everybody who asks.

A moment is 60 s old at most. It ends with every write, with Refresh, and whenever a reading has to be
new: a write restarts it before it is sent and again when it is answered, so that nothing that was
read while the write was in flight is used afterwards.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx

from ..records.clocks import steady
from .side_by_side import others_begin

LIFETIME_S = 60.0
#: "Refused" and "absent" describe the vendor's state as well as content does.
_REMEMBERED = frozenset({httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND})
#: Headers that describe the bytes of one exchange; remembered content is already decoded.
_OF_THE_EXCHANGE = frozenset({"content-encoding", "content-length", "transfer-encoding"})


@dataclass
class _Question:
    """A read of this moment; whoever holds the lock is sending it, the others wait for the answer."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    answer: httpx.Response | None = None


class Moment:
    """The answers of one moment; safe to use from several threads.

    Parameters
    ----------
    lifetime_s
        How old an answer may be, in seconds; counted from the moment's first read.
    """

    #: Whether collections are read whole although a filter would do for one tenant.
    reads_whole = False

    def __init__(self, lifetime_s: float = LIFETIME_S) -> None:
        self._lifetime_s = lifetime_s
        self._lock = threading.Lock()
        #: Called before everything is forgotten, for those who share this moment.
        self.before_it_ends: Callable[[], object] | None = None
        self._questions: dict[Hashable, _Question] = {}
        self._began: datetime | None = None
        self._began_at = 0.0

    @property
    def began(self) -> datetime | None:
        """When the oldest answer of this moment was asked for (UTC); ``None`` before the first read."""
        with self._lock:
            if self._is_over():
                self._forget()
            return self._began

    def begin(self) -> None:
        """Forget everything. A read in flight still serves the caller that asked for it, and no other."""
        if self.before_it_ends is not None:
            self.before_it_ends()
            self.before_it_ends = None  # it ends once for those who share it
        with self._lock:
            self._forget()

    def once(self, key: Hashable, ask: Callable[[], httpx.Response]) -> httpx.Response:
        """Return the answer to the read of this key: as remembered in this moment, or else from ``ask``.

        Only a usable answer (2xx, 403, 404) is remembered. After any other one, or an error, whoever
        has waited for it asks for itself.
        """
        question = self._question(key)
        if question.lock.locked():
            others_begin()
        with question.lock:
            if question.answer is None:
                answer = ask()
                if not (answer.is_success or answer.status_code in _REMEMBERED):
                    return answer
                question.answer = answer
            return _copy(question.answer)

    def answers(self) -> tuple[float, dict[Hashable, httpx.Response]]:
        """Return how old it is (s), and its answers: for another process of the run, to ``join``."""
        with self._lock:
            age = steady() - self._began_at if self._began is not None else self._lifetime_s
            return age, {
                key: _copy(question.answer)
                for key, question in self._questions.items()
                if question.answer is not None
            }

    def join(self, age_s: float, answers: Mapping[Hashable, httpx.Response]) -> None:
        """Go on with the answers of another process, which began this many seconds ago."""
        with self._lock:
            self._forget()
            self._began, self._began_at = datetime.now(UTC) - timedelta(seconds=age_s), steady() - age_s
            self._questions = {key: _Question(answer=answer) for key, answer in answers.items()}

    def _question(self, key: Hashable) -> _Question:
        with self._lock:
            if self._is_over():
                self._forget()
            if self._began is None:
                self._began, self._began_at = datetime.now(UTC), steady()
            return self._questions.setdefault(key, _Question())

    def _is_over(self) -> bool:
        return self._began is not None and steady() - self._began_at >= self._lifetime_s

    def _forget(self) -> None:
        self._questions = {}
        self._began = None
        self._began_at = 0.0


def _copy(answer: httpx.Response) -> httpx.Response:
    headers = [item for item in answer.headers.multi_items() if item[0].lower() not in _OF_THE_EXCHANGE]
    return httpx.Response(answer.status_code, headers=headers, content=answer.content)
