"""What is known about clocks: this machine's compared with the vendors', and the times in the chain.

The chain determines the order, never a clock. A vendor's time is compared only with a time from the same
vendor's clock, which the ``Date`` header of every answer shows: this machine's clock may be off by any
amount, and may be changed during a run.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import Any

from .chain import Entry

#: Above this difference, a person should check the clock.
CAUTION_S = 60.0
#: Clocks of machines that write to one chain may differ by this much without a caution.
TOLERANCE = timedelta(minutes=2)


def steady() -> float:
    """Return seconds of a clock that nobody can set and that runs during sleep, if the system has one."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


@dataclass(frozen=True)
class _Seen:
    """A vendor's time at a moment of ``steady``, within some seconds."""

    vendor_time: datetime
    at: float
    within_s: float


class VendorClocks:
    """The vendors' clocks, as seen in the answers of one run."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def saw(self, vendor: str, date: str | None, asked_at: float) -> None:
        """Learn from the ``Date`` header of an answer; ``asked_at`` is when it was requested (``steady``)."""
        try:
            stamp = parsedate_to_datetime(date or "")
            received = steady()
            # It has whole seconds, and was written between the request and now.
            within = (1 + received - asked_at) / 2
            moment = stamp.astimezone(UTC) + timedelta(seconds=within)
        except (ValueError, OverflowError):
            return  # without one, or with one that says nothing
        self._seen[vendor] = _Seen(moment, received, within)

    def told(self) -> list[tuple[str, str, float, float]]:
        """Return what is known as plain data, for another process of this machine, to ``join``."""
        return [
            (vendor, seen.vendor_time.isoformat(), seen.at, seen.within_s)
            for vendor, seen in dict(self._seen).items()
        ]

    def join(self, told: Iterable[tuple[str, str, float, float]]) -> None:
        """Add what another process has seen; what this one has seen itself takes precedence."""
        for vendor, moment, at, within_s in told:
            self._seen.setdefault(vendor, _Seen(datetime.fromisoformat(moment), at, within_s))

    def now(self, vendor: str) -> datetime:
        """Return the present time by a vendor's clock; by this machine's before its first answer."""
        return self.known(vendor) or datetime.now(UTC)

    def known(self, vendor: str) -> datetime | None:
        """Return the present time by a vendor's clock; ``None`` before its first answer."""
        seen = self._seen.get(vendor)
        return seen.vendor_time + timedelta(seconds=steady() - seen.at) if seen is not None else None

    def latest(self) -> datetime | None:
        """Return the present time by the vendor's clock that is ahead; ``None`` before the first answer."""
        return max(filter(None, map(self.known, self._seen)), default=None)

    def differences(self) -> dict[str, float]:
        """Return by how many seconds this machine's clock is ahead of each vendor's now.

        Differences that an answer's travel time could explain are omitted.
        """
        found = {}
        for vendor, seen in dict(self._seen).items():
            ahead = (datetime.now(UTC) - self.now(vendor)).total_seconds()
            certain = max(abs(ahead) - seen.within_s, 0.0)
            found[vendor] = round(certain if ahead > 0 else -certain, 1) or 0.0
        return found


def clock_cautions(differences: object, verb: str = "is") -> list[str]:
    """Return cautions about recorded differences; tolerates any content."""
    found = differences.items() if isinstance(differences, Mapping) else ()
    return [
        f"this machine's clock {verb} {_span(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} {vendor}'s"
        for vendor, ahead in found
        if isinstance(ahead, int | float) and abs(ahead) > CAUTION_S
    ]


def largest(differences: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the largest difference to each vendor's clock out of several measurements."""
    found: dict[str, float] = {}
    for measured in differences:
        for vendor, ahead in measured.items():
            found[vendor] = max(found.get(vendor, 0.0), ahead, key=abs)
    return found


def set_back(entries: Sequence[Entry]) -> list[tuple[Entry, Entry, timedelta]]:
    """Return neighbouring entries of a chain whose times go backwards, and by how much."""
    found = []
    for before, after in pairwise(entries):
        try:
            back = datetime.fromisoformat(before.at) - datetime.fromisoformat(after.at)
        except (ValueError, TypeError):  # not a time that the runbook wrote
            continue
        if back > timedelta():
            found.append((before, after, back))
    return found


def describe_set_back(entries: Sequence[Entry], most: int = 5) -> list[tuple[str, bool]]:
    """Return the places where the chain's times go backwards, and whether each exceeds the tolerance."""
    found = [
        (
            f"entry {after.seq} ({after.event} {after.run}) has the time {after.at}, "
            f"{_span(back)} before entry {before.seq} ({before.event} {before.run}, {before.at}): "
            "a clock was set back, or had been fast; what counts is the order of the chain",
            back > TOLERANCE,
        )
        for before, after, back in set_back(entries)
    ]
    grave = [one for one in found if one[1]]
    shown = [*grave, *(one for one in found if not one[1])][:most]
    if len(found) > most:
        shown.append((f"and {len(found) - most} more such places", len(grave) > most))
    return shown


def runs_in_order(entries: Sequence[Entry], runs: Iterable[str]) -> list[str]:
    """Return runs, oldest first: in the order in which the chain says they opened.

    A run outside the chain has only the time in its name: it comes after the last chained run whose
    own time is not later.
    """
    chained = list(dict.fromkeys(str(entry.run) for entry in entries if entry.run))
    place = {run: number for number, run in enumerate(chained)}
    # The earliest name from each place on: a run under a clock that was ahead attracts nothing.
    earliest: list[str] = []
    for run in reversed(chained):
        name = run.rpartition("/")[2]
        earliest.append(min(name, earliest[-1]) if earliest else name)
    earliest.reverse()

    def key(run: str) -> tuple[Any, ...]:
        name = run.rpartition("/")[2]
        if run in place:
            return (place[run], 0, "", "")
        return (bisect_right(earliest, name) - 1, 1, name, run)

    return sorted(runs, key=key)


def _span(length: float | timedelta) -> str:
    """A length of time as people say it."""
    seconds = length.total_seconds() if isinstance(length, timedelta) else length
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
