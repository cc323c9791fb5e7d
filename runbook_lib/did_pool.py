"""DID pools in PortSIP's grammar, and single numbers in E.164.

A pool is one or more entries joined by semicolons; an entry is a number or an inclusive range, with
the country code and without a leading ``+`` or ``0``: ``12027594810-12027594815;12027594820``.
Source: PortSIP, "Configuring Twilio Register Based Trunk" and "What is the DID pool".
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

#: More numbers than a trunk of this kind ever has: a typo must not expand to a billion numbers.
LARGEST = 10_000
#: A longer text is not a pool; this also keeps messages short.
_LONGEST_ENTRY = 40

_ENTRY = re.compile(r"(\d+)(?:\s*-\s*(\d+))?", re.ASCII)
_E164 = re.compile(r"\+[1-9]\d{1,14}", re.ASCII)

Run = tuple[int, int]


@dataclass(frozen=True, eq=False)
class DidPool:
    """The numbers of a pool; equal pools hold the same numbers, however they are written.

    ``text`` is the pool as it was written, without spaces. Iterating yields numbers as ``+E.164``,
    ascending. Numbers are expanded only by iterating. Use ``parse``, ``read`` or ``of`` to make one.
    """

    text: str

    @staticmethod
    @lru_cache(maxsize=1024)
    def parse(text: str) -> DidPool:
        """Read a pool that an operator wrote.

        Spaces around entries and hyphens are tolerated (PortSIP prints some), none are kept. The
        size is checked before anything is expanded, and both ends of every entry have to be
        possible telephone numbers; no number may be in two entries.
        Raises ``ValueError`` naming the entry and what is wrong with it.
        """
        for entry in text.split(";"):
            _run(entry.strip())  # also an empty one, which ``read`` skips
        pool = DidPool.read(text)
        if len(pool) > LARGEST:
            raise ValueError(f"the pool has {len(pool):,} numbers; at most {LARGEST:,} are allowed")
        ordered = sorted((_run(entry), entry) for entry in pool.entries)
        for run, _ in ordered:
            for number in sorted(set(run)):
                _check(str(number))
        for ((_, end), earlier), ((start, _), later) in pairwise(ordered):
            if start <= end:
                raise ValueError(f"entries {earlier} and {later} overlap")
        return pool

    @classmethod
    def read(cls, text: str) -> DidPool:
        """Read a pool from a PBX's answer: only the grammar is checked, and any size is accepted.

        Internal numbers, overlaps and empty entries pass: what a PBX has is shown, not judged.
        Raises ``ValueError`` naming the entry and what is wrong with it.
        """
        entries = [entry.strip() for entry in text.split(";") if entry.strip()] or [""]
        for entry in entries:
            _run(entry)
        return cls(";".join("".join(entry.split()) for entry in entries))

    @classmethod
    def read_if_any(cls, text: str | None) -> DidPool | None:
        """Read a pool as ``read`` does; ``None`` if the text is not a pool."""
        try:
            return cls.read(text or "")
        except ValueError:
            return None

    @classmethod
    def of(cls, numbers: Iterable[str]) -> DidPool:
        """Return the pool of these numbers (``+E.164`` or digits) in its shortest form.

        Raises ``ValueError`` if there are none, or if one is not a number.
        """
        runs = [_run(number.removeprefix("+")) for number in numbers]
        if not runs:
            raise ValueError("a DID pool needs at least one number")
        return cls(_written(_merged(runs)))

    @property
    def entries(self) -> tuple[str, ...]:
        """The entries as they were written."""
        return tuple(self.text.split(";"))

    @property
    def canonical(self) -> str:
        """The pool in its shortest form, ascending; equal for equal pools."""
        return _written(self.runs)

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """The first and last number of each run, ascending; runs do not overlap."""
        return _merged(map(_run, self.entries))

    def __str__(self) -> str:
        return self.text

    def __iter__(self) -> Iterator[str]:
        return (f"+{number}" for first, last in self.runs for number in range(first, last + 1))

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.runs)

    def __contains__(self, number: object) -> bool:
        if not isinstance(number, str):
            return False
        digits = number.removeprefix("+")
        if not re.fullmatch(r"[1-9]\d{0,14}", digits, re.ASCII):
            return False
        before = bisect_right(self.runs, (int(digits), 10**16)) - 1
        return before >= 0 and int(digits) <= self.runs[before][1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DidPool) and self.runs == other.runs

    def __hash__(self) -> int:
        return hash(self.runs)

    def overlap(self, other: DidPool) -> list[str]:
        """Return the numbers that both pools hold, ascending, as ``+E.164``."""
        return [
            f"+{number}"
            for first, last in self.runs
            for start, end in other.runs
            for number in range(max(first, start), min(last, end) + 1)
        ]

    def union(self, numbers: Iterable[str]) -> DidPool:
        """Return the pool with these numbers (``+E.164`` or digits) added."""
        added = DidPool.of(numbers)
        return DidPool(_written(_merged([*self.runs, *added.runs])))


def e164(text: str) -> str:
    """Check a number in E.164 (``+12027594810``) and return it.

    Raises ``ValueError`` saying what is wrong; the text itself is repeated only if it is a number.
    """
    if not _E164.fullmatch(text):
        raise ValueError(
            "not E.164: write + and the number with its country code, digits only, for example +12027594810"
        )
    _check(text[1:])
    return text


def _check(digits: str) -> None:
    """Raise ``ValueError`` if digits cannot be a telephone number."""
    # Only here: its library takes time to load, and most commands read pools without judging them.
    from .possible_numbers import check_number

    check_number(digits)


def _run(entry: str) -> Run:
    """Return an entry's first and last number; ``ValueError`` naming it and what is wrong."""
    shown = f"entry {entry}" if re.fullmatch(r"[\d\s+-]{1,%d}" % _LONGEST_ENTRY, entry) else "an entry"  # noqa: UP031
    match = _ENTRY.fullmatch(entry)
    if not entry:
        raise ValueError("an entry is empty: join entries with single semicolons")
    if "+" in entry:
        raise ValueError(f"{shown}: a number in a DID pool has no leading +; begin with the country code")
    if match is None:
        raise ValueError(
            f"{shown}: neither a number nor a range (digits, or digits-digits), separated by semicolons"
        )
    first, last = match[1], match[2] or match[1]
    if first.startswith("0") or last.startswith("0"):
        raise ValueError(f"{shown}: a number in a DID pool has no leading 0; begin with the country code")
    if len(first) != len(last):
        raise ValueError(
            f"{shown}: both ends of a range need the same number of digits" + _as_block(first, last)
        )
    if len(first) > 15:
        raise ValueError(f"{shown}: a telephone number has at most 15 digits (E.164)")
    if int(first) > int(last):
        raise ValueError(f"{shown}: the range is reversed")
    return int(first), int(last)


def _merged(runs: Iterable[Run]) -> tuple[Run, ...]:
    """Return runs ascending, overlapping and adjacent ones joined, each of one number of digits."""
    merged: list[Run] = []
    for first, last in sorted(runs):
        if merged and first <= merged[-1][1] + 1 and len(str(first)) == len(str(merged[-1][1])):
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def _written(runs: Iterable[Run]) -> str:
    return ";".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _as_block(first: str, last: str) -> str:
    """Return how to write a block whose extensions have different lengths; empty if it is not one.

    A block in Germany or Austria has a base number (1234-0) and extensions of one to three digits.
    """
    if len(first) > len(last):
        return ""
    stem = os.path.commonprefix([first, last])  # noqa: RUF071 - digits, not paths
    low, high = first[len(stem) :], last[len(stem) :]
    base = low in ("", "0")
    entries = [first] if base else [f"{first}-{stem}{'9' * len(low)}"]
    for length in range(len(low) + 1, len(high) + 1):
        end = last if length == len(high) else stem + "9" * length
        entries.append(f"{stem}1{'0' * (length - 1)}-{end}")
    text = ";".join(entries)
    try:
        DidPool.parse(text)
    except ValueError:
        return ""
    return f"; a block with extensions of several lengths needs one entry for each length: {text}"
