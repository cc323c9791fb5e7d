"""The vendors' rates: requests that an account may have in flight, and requests of an address in a minute."""

from __future__ import annotations

import base64
import re
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil

from .demo import TWILIO_CREDENTIALS

WINDOW_S = 60.0
_ACCOUNT = re.compile(r"/2010-04-01/Accounts/(AC[0-9a-fA-F]{32})")


class OneInFlight:
    """A request in flight; ``count`` is how many of its account were when it came, this one included."""

    def __init__(self, counts: Counter[str], account: str) -> None:
        counts[account] += 1
        self.count = counts[account]
        self._counts, self._account = counts, account
        self._has_left = False

    def leave(self) -> None:
        """It is answered; calling it twice has no effect."""
        if not self._has_left:
            self._counts[self._account] -= 1
        self._has_left = True


class InFlight:
    """Requests in flight, by Twilio account."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    @contextmanager
    def one(self, account: str) -> Iterator[OneInFlight]:
        """Count a request until it leaves, at the latest at the end of the ``with`` block."""
        request = OneInFlight(self._counts, account)
        try:
            yield request
        finally:
            request.leave()


class Recent:
    """Requests of each address within the last minute; those that were refused do not count."""

    def __init__(self) -> None:
        self._by_address: dict[str, deque[float]] = {}

    def wait_of(self, address: str, limit: int) -> int | None:
        """Count a request; return after how many seconds it would be accepted if it is one too many."""
        now, recent = time.monotonic(), self._by_address.setdefault(address, deque())
        while recent and recent[0] <= now - WINDOW_S:
            recent.popleft()
        if len(recent) >= limit:
            return max(1, ceil(recent[len(recent) - limit] + WINDOW_S - now))
        recent.append(now)
        return None


def account_of(path: str, authorization: bytes) -> str:
    """Return the account whose requests a request counts among: that of its path, or the credentials'."""
    if found := _ACCOUNT.match(path):
        return found[1]
    try:
        username = base64.b64decode(authorization.partition(b" ")[2]).decode().partition(":")[0]
    except ValueError:
        return ""
    return TWILIO_CREDENTIALS.get(username, ("", ""))[0]
