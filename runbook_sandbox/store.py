"""The sandbox's state: both vendors' resources as plain tables, in memory and in one JSON file."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import secrets as random
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

StoredRow = dict[str, Any]

#: Twilio's reads of these may lag behind writes (``twilio.read_lag_seconds``).
_LAGGING = ("origination_urls", "trunk_ip_access_control_lists", "trunk_credential_lists")


#: The longest lag that the switch allows.
MAX_LAG_S = 5.0


class Clock:
    """Wall-clock time of the sandbox, which a test can move forward."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def now(self) -> datetime:
        """Return the present time in UTC."""
        return datetime.now(UTC) + self._ahead

    def seconds(self) -> float:
        """Return seconds that only ever grow, for lags and expiry."""
        return time.monotonic() + self._ahead.total_seconds()

    def reset(self) -> None:
        """Go back to the real time."""
        self._ahead = timedelta()

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self._ahead += timedelta(seconds=seconds)


#: Tables of the PBX that a state which was read by an older sandbox does not have.
_NEWER_TABLES = ("emergency_numbers",)


class Store:
    """Both vendors' data.

    ``twilio`` and ``portsip`` map a table's name to its rows by id. ``version`` grows with every
    change of a vendor's state; whoever changes a row calls ``changed``.
    """

    def __init__(self, seed: Callable[[], dict[str, dict[str, Any]]], path: Path | None = None) -> None:
        self.clock = Clock()
        self.version = 0
        self.twilio: dict[str, Any] = {}
        self.portsip: dict[str, Any] = {}
        self._seed = seed
        self._path = path
        self._saved_version = 0
        self._views: deque[tuple[float, dict[str, Any]]] = deque()
        self._fill(_saved(path, seed()) if path else seed())

    def reset(self, state: dict[str, Any] | None = None) -> None:
        """Go back to the demo data, or to a state; ``KeyError`` for one that lacks a table."""
        fresh = self._seed()
        if state is not None:
            state = {**state, "portsip": {name: {} for name in _NEWER_TABLES} | state["portsip"]}
            fresh = {
                vendor: {name: state[vendor][name] for name in tables} for vendor, tables in fresh.items()
            }
        self._fill(fresh)
        self._views.clear()
        self.clock.reset()
        self.version += 1

    def account(self, sid: str) -> dict[str, Any] | None:
        """Return the tables of a Twilio account: the demo's, which is ``twilio``, or a further one's."""
        return self.twilio if sid == self.twilio["account"]["sid"] else self.twilio["accounts"].get(sid)

    def changed(self) -> None:
        """Note that a vendor's state was changed."""
        self.version += 1
        if self._views:
            self._forget_before(self.clock.seconds() - MAX_LAG_S)
            self._views.append((self.clock.seconds(), copy.deepcopy(associations(self.twilio))))

    def lag_from_now(self) -> None:
        """Begin to keep earlier states of a trunk's associations, for readers that lag."""
        if not self._views:
            self._views.append((float("-inf"), copy.deepcopy(associations(self.twilio))))

    def seen(self, lag: float) -> dict[str, Any]:
        """Return a trunk's associations as a reader sees them that lags by ``lag`` seconds."""
        if lag <= 0 or not self._views:
            self._views.clear()
            return associations(self.twilio)
        self._forget_before(self.clock.seconds() - lag)
        return self._views[0][1]

    def _forget_before(self, limit: float) -> None:
        while len(self._views) > 1 and self._views[1][0] <= limit:
            self._views.popleft()

    def _fill(self, data: dict[str, Any]) -> None:
        self.twilio, self.portsip = data["twilio"], data["portsip"]

    def save(self) -> None:
        """Write the state to its file if it changed; the file appears whole."""
        if self._path is None or self._saved_version == self.version:
            return
        self._saved_version = self.version
        temporary = self._path.with_suffix(f".{os.getpid()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"twilio": self.twilio, "portsip": self.portsip}, file)
        temporary.replace(self._path)


def associations(twilio: dict[str, Any]) -> dict[str, Any]:
    """Return what is associated with the trunks of an account's tables."""
    trunk_of = {sid: number["trunk_sid"] for sid, number in twilio["numbers"].items()}
    return {name: twilio[name] for name in _LAGGING} | {"trunk_of": trunk_of}


def _saved(path: Path, fresh: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the state of an earlier process; fresh data if it is unreadable or of another version."""
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        fits = all(saved[vendor].keys() == tables.keys() for vendor, tables in fresh.items())
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return fresh
    return saved if fits else fresh


def new_sid(prefix: str) -> str:
    """Return a new SID: two letters and 32 hexadecimal digits (Twilio, "What is a String Identifier")."""
    return prefix + random.token_hex(16)


def fixed_sid(prefix: str, name: str) -> str:
    """Return the SID that a demo resource always has."""
    return prefix + hashlib.sha256(name.encode()).hexdigest()[:32]


def new_id() -> str:
    """Return a new PortSIP id: a string of 18 decimal digits, as samples of real systems show."""
    return str(7 * 10**17 + random.randbelow(10**17))


def password_digest(password: str) -> str:
    """Return what is kept of a password that no API gives back."""
    return hashlib.sha256(password.encode()).hexdigest()


def iso(moment: datetime) -> str:
    """Return a time as trunking v1 writes it: ``2015-01-02T11:23:45Z``."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_micro(moment: datetime) -> str:
    """Return a time as PortSIP writes it: RFC 3339 with microseconds and ``Z``."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
