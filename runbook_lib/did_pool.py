"""DID pools in PortSIP's grammar.

A pool is one or more entries joined by semicolons; an entry is a number or an inclusive range, with
the country code and without a leading ``+`` or ``0``: ``12027594810-12027594815;12027594820``.
Source: PortSIP, "Configuring Twilio Register Based Trunk" and "What is the DID pool".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import phonenumbers

#: More numbers than a trunk of this kind ever holds: a slip of the finger must not become a billion.
LARGEST = 10_000

_ENTRY = re.compile(r"(\d+)(?:-(\d+))?", re.ASCII)


@dataclass(frozen=True, eq=False)
class DidPool:
    """The numbers of a pool; equal pools hold the same numbers, however they are written.

    ``text`` is the pool as it was written, without spaces. Iterating yields numbers as ``+E.164``,
    ascending.
    """

    text: str

    @classmethod
    def parse(cls, text: str) -> DidPool:
        """Read a pool. Spaces are tolerated (PortSIP prints some), none are written.

        Raises ``ValueError`` naming the entry and what is wrong with it.
        """
        entries = [entry.strip() for entry in text.split(";")]
        ranges = [_range(entry) for entry in entries]
        total = sum(last - first + 1 for first, last in ranges)
        if total > LARGEST:
            raise ValueError(f"the pool holds {total:,} numbers; at most {LARGEST:,} are taken")
        for first, last in ranges:
            for number in {first, last}:
                _check_number(str(number))
        ordered = sorted(zip(ranges, entries, strict=True))
        for ((_, end), earlier), ((start, _), later) in pairwise(ordered):
            if start <= end:
                raise ValueError(f"entries {earlier} and {later} overlap")
        return cls(";".join(entry.replace(" ", "") for entry in entries))

    @classmethod
    def of(cls, numbers: Iterable[str]) -> DidPool:
        """Return the pool of these numbers (``+E.164`` or digits), written as short as it goes.

        Raises ``ValueError`` when there are none.
        """
        ordered = sorted({int(number.removeprefix("+")) for number in numbers})
        if not ordered:
            raise ValueError("a DID pool holds at least one number")
        runs: list[list[int]] = []
        for number in ordered:
            if runs and number == runs[-1][1] + 1 and len(str(number)) == len(str(runs[-1][0])):
                runs[-1][1] = number
            else:
                runs.append([number, number])
        return cls.parse(";".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs))

    @cached_property
    def _numbers(self) -> tuple[int, ...]:
        ranges = (_range(entry) for entry in self.text.split(";"))
        return tuple(sorted(number for first, last in ranges for number in range(first, last + 1)))

    @cached_property
    def _set(self) -> frozenset[int]:
        return frozenset(self._numbers)

    def __str__(self) -> str:
        return self.text

    def __iter__(self) -> Iterator[str]:
        return (f"+{number}" for number in self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, number: object) -> bool:
        if not isinstance(number, str):
            return False
        digits = number.removeprefix("+")
        return (
            digits.isascii() and digits.isdigit() and not digits.startswith("0") and int(digits) in self._set
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DidPool) and self._set == other._set

    def __hash__(self) -> int:
        return hash(self._set)

    def overlap(self, other: DidPool) -> list[str]:
        """Return the numbers that both pools hold, ascending, as ``+E.164``."""
        return [f"+{number}" for number in sorted(self._set & other._set)]

    def union(self, numbers: Iterable[str]) -> DidPool:
        """Return the pool with these numbers added."""
        return DidPool.of([*self, *numbers])


def e164(text: str) -> str:
    """Check a number in E.164 (``+12027594810``) and return it.

    Raises ``ValueError`` saying what is wrong.
    """
    if not re.fullmatch(r"\+[1-9]\d{1,14}", text, re.ASCII):
        raise ValueError(
            "not E.164: give + and the number with its country code, digits only, for example +12027594810"
        )
    _check_number(text[1:])
    return text


def _range(entry: str) -> tuple[int, int]:
    match = _ENTRY.fullmatch(entry.replace(" ", ""))
    if not entry:
        raise ValueError("an entry is empty: join entries with single semicolons")
    if entry.startswith("+"):
        raise ValueError(f"entry {entry}: no leading + in a DID pool; begin with the country code")
    if match is None:
        raise ValueError(f"entry {entry}: neither a number nor a range (digits, or digits-digits)")
    first, last = match[1], match[2] or match[1]
    if first.startswith("0") or last.startswith("0"):
        raise ValueError(f"entry {entry}: no leading 0 in a DID pool; begin with the country code")
    if len(first) != len(last):
        raise ValueError(f"entry {entry}: both ends of a range need the same number of digits")
    if len(first) > 15:
        raise ValueError(f"entry {entry}: more than 15 digits is no telephone number (E.164)")
    if int(first) > int(last):
        raise ValueError(f"entry {entry}: the range is reversed")
    return int(first), int(last)


def _check_number(digits: str) -> None:
    try:
        possible = phonenumbers.is_possible_number(phonenumbers.parse(f"+{digits}"))
    except phonenumbers.NumberParseException:
        possible = False
    if not possible:
        raise ValueError(f"{digits} cannot be a telephone number: wrong country code or length")
