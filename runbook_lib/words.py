"""Numbers and lists in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with what it counts, such as ``1 row``; ``many`` is ``one`` with an s, if not given."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def first_of(names: Sequence[str], most: int) -> str:
    """Return the first names, and how many more there are, such as ``a, b and 3 more``."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def requested(counts: Mapping[str, int]) -> str:
    """Return how many requests each vendor got, such as ``1,024 requests to twilio``."""
    return ", ".join(f"{count:,} requests to {vendor}" for vendor, count in counts.items())
