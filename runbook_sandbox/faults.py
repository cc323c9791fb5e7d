"""Faults that are injected on demand, and barriers that hold requests until several have come."""

from __future__ import annotations

import asyncio
import re
from dataclasses import asdict, dataclass, field
from typing import Any

#: kind: what happens to a matching request
KINDS = {
    "status": "answered with `status` (429, 500 …), `retry_after` and `message` if given; before any effect",
    "refused": "connection reset before the effect; the port then refuses connections for `seconds`",
    "refused_after": "answered, then the port closes idle connections and refuses new ones for `seconds`",
    "reset_before": "connection reset before the effect",
    "reset_after": "carried out, then the connection is reset: the answer is lost",
    "cut": "carried out; half of the answer's body is sent, then the connection is reset",
    "not_json": "carried out; answered with a page of HTML under the same status (200 in the place of 204)",
    "foreign_account": "carried out; a success of Twilio that names an account names another one instead",
    "delay": "carried out after `seconds` (with `effect: first`: carried out, answered after `seconds`)",
    "expired_token": "PortSIP: the session's access token expires first; Twilio: answered 401",
    "revoked_token": "PortSIP: the session ends first (refresh token too); Twilio: answered 401",
    "wrong_password": "PortSIP sign-in: treated as a wrong password; Twilio: answered 401",
}


@dataclass
class Match:
    """Which requests are meant; ``path`` is a regular expression searched in the path."""

    vendor: str | None = None
    method: str | None = None
    path: str = ""

    def fits(self, vendor: str, method: str, path: str) -> bool:
        """Say whether a request is meant."""
        return (
            self.vendor in (None, vendor)
            and (self.method is None or self.method.upper() == method)
            and re.search(self.path, path) is not None
        )


@dataclass
class Fault:
    """A fault from the ``nth`` matching request on, ``count`` times (0: for ever)."""

    id: int
    kind: str
    match: Match
    nth: int = 1
    count: int = 1
    status: int = 500
    retry_after: str | None = None
    message: str | None = None
    seconds: float = 0.3
    effect: str = "normal"
    seen: int = 0
    applied: int = 0

    def meets(self, vendor: str, method: str, path: str) -> bool:
        """Count a request and say whether this fault is due for it."""
        if not self.match.fits(vendor, method, path):
            return False
        self.seen += 1
        if self.seen < self.nth or (self.count and self.applied >= self.count):
            return False
        self.applied += 1
        return True


@dataclass
class Barrier:
    """Holds matching requests, from the ``nth`` on, until ``waiters`` of them wait or time is up."""

    id: int
    match: Match
    waiters: int
    nth: int = 1
    timeout: float = 30.0
    after_effect: bool = False
    seen: int = 0
    waiting: int = 0
    state: str = "open"
    event: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def describe(self) -> dict[str, Any]:
        """Return the barrier as plain data."""
        return {
            "id": self.id,
            "match": asdict(self.match),
            "waiters": self.waiters,
            "nth": self.nth,
            "timeout": self.timeout,
            "after_effect": self.after_effect,
            "seen": self.seen,
            "waiting": self.waiting,
            "state": self.state,
        }


class Faults:
    """All faults and barriers that are set."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._barriers: list[Barrier] = []
        self._next_id = 1

    def add(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Set a fault; raises ``ValueError`` or ``TypeError`` for a description that makes no sense."""
        if wanted.get("kind") not in KINDS:
            raise ValueError(f"unknown fault kind {wanted.get('kind')!r}; known: {', '.join(KINDS)}")
        settings = dict(wanted)
        fault = Fault(id=self._take_id(), kind=settings.pop("kind"), match=_match(settings), **settings)
        self._faults.append(fault)
        return asdict(fault)

    def add_barrier(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Set a barrier; raises ``ValueError`` or ``TypeError`` for one that makes no sense."""
        settings = dict(wanted)
        barrier = Barrier(
            id=self._take_id(), match=_match(settings), waiters=int(settings.pop("waiters")), **settings
        )
        self._barriers.append(barrier)
        return barrier.describe()

    def due(self, vendor: str, method: str, path: str) -> Fault | None:
        """Return the first fault that is due for a request, every fitting fault counting it."""
        due = [fault for fault in self._faults if fault.meets(vendor, method, path)]
        return due[0] if due else None

    async def hold(self, vendor: str, method: str, path: str, *, after_effect: bool) -> None:
        """Wait at every barrier that is meant for a request."""
        for barrier in list(self._barriers):
            if barrier.state != "open" or barrier.after_effect != after_effect:
                continue
            if not barrier.match.fits(vendor, method, path):
                continue
            barrier.seen += 1
            if barrier.seen < barrier.nth:
                continue
            barrier.waiting += 1
            if barrier.waiting >= barrier.waiters:
                barrier.state = "released"
                barrier.event.set()
                continue
            try:
                await asyncio.wait_for(barrier.event.wait(), barrier.timeout)
            except TimeoutError:
                barrier.state = "timed out"
                barrier.event.set()

    def describe(self) -> list[dict[str, Any]]:
        """Return the faults as plain data."""
        return [asdict(fault) for fault in self._faults]

    def describe_barriers(self) -> list[dict[str, Any]]:
        """Return the barriers as plain data."""
        return [barrier.describe() for barrier in self._barriers]

    def clear(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    def clear_barriers(self) -> None:
        """Remove all barriers; whoever waits goes on."""
        for barrier in self._barriers:
            barrier.state = "removed"
            barrier.event.set()
        self._barriers.clear()

    def _take_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1


def _match(settings: dict[str, Any]) -> Match:
    match = Match(settings.pop("vendor", None), settings.pop("method", None), settings.pop("path", ""))
    if match.vendor not in (None, "twilio", "portsip"):
        raise ValueError(f"unknown vendor {match.vendor!r}; known: twilio, portsip")
    try:
        re.compile(match.path)
    except re.error as error:
        raise ValueError(f"path is not a regular expression: {error}") from None
    return match
