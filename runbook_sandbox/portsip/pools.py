"""The grammar of a DID pool.

Source: PortSIP, "What is the DID pool" and "Configuring SIP trunk": numbers and ranges joined by
semicolons, with the country code and without leading ``+``, ``0`` or ``00``.
"""

from __future__ import annotations

import re

#: Spans of a pool: number of digits, first, last.
Pool = list[tuple[int, int, int]]

_ENTRY = re.compile(r"([0-9]{1,32})(?:-([0-9]{1,32}))?", re.ASCII)


def parse_pool(text: str, *, odd_ranges: bool = False, strict: bool = True) -> Pool:
    """Return the spans of a pool.

    Spaces around entries are tolerated: PortSIP's own guide once prints ``101; 203; 300-450``.

    Parameters
    ----------
    odd_ranges
        Let reversed ranges and ranges of unequal length pass (a switch); they hold no numbers.
    strict
        Raise ``ValueError`` for what the grammar refuses; otherwise leave such entries out.
    """
    pool: Pool = []
    for entry in (part.strip() for part in text.split(";")) if text.strip() else ():
        found = _ENTRY.fullmatch(entry)
        if found is None or entry.startswith("0"):
            if strict:
                raise ValueError(f"{entry!r} is not a DID number or range; no leading +, 0 or 00")
            continue
        low, high = found[1], found[2] or found[1]
        if len(low) == len(high) and int(low) <= int(high):
            pool.append((len(low), int(low), int(high)))
        elif strict and not odd_ranges:
            raise ValueError(f"the range {entry!r} is reversed or its ends have different lengths")
    return pool


def overlap(first: Pool, second: Pool) -> str | None:
    """Return a number that both pools hold, if any."""
    for length, low, high in first:
        for other_length, other_low, other_high in second:
            start = max(low, other_low)
            if length == other_length and start <= min(high, other_high):
                return str(start)
    return None


def holds(pool: Pool, wanted: Pool) -> bool:
    """Say whether every number of ``wanted`` is in ``pool``."""
    return all(_span_inside(pool, span) for span in wanted)


def pool_size(text: str) -> int:
    """Return how many numbers one number or range stands for."""
    return sum(high - low + 1 for _, low, high in parse_pool(text, strict=False))


def _span_inside(pool: Pool, span: tuple[int, int, int]) -> bool:
    length, low, high = span
    # neighbouring entries may cover a span together
    for other_low, other_high in sorted((a, b) for digits, a, b in pool if digits == length):
        if other_low <= low <= other_high:
            low = other_high + 1
        if low > high:
            return True
    return False
