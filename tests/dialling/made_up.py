"""Makes up outbound rules and dialled strings that overlap, tie and miss one another, from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

#: Many are prefixes of one another, so that rules overlap.
_DIGITS = ("0", "00", "000", "001", "0011", "01", "011", "1", "11", "112", "9", "99", "999")
_PREFIXES = (*_DIGITS, "+", "+4", "+44", "*", "*9", "*97", "#", "#3", "*#")
_PREPENDED = ("", "", "+", "+44", "+6", "1", "0", "00", "9*", "#")
_EXTENSIONS = ("99", "101", "150", "200", "205", "1001")
_MASKS = ("100-200", "101;205", "1000-1999", "99;150-205", "200")
#: Few, so that equal priorities are common; 1000 is the PBX's default.
_PRIORITIES = (0, 1, 10, 1000, 1000)


class Pair(NamedTuple):
    """Outbound rules in the order in which the PBX lists them, with their routes, and a call."""

    rules: list[dict[str, Any]]
    dialled: str
    caller: str


def pairs(seed: int, count: int) -> Iterator[Pair]:
    """Yield as many pairs as asked for; the same seed gives the same pairs."""
    chance = random.Random(seed)
    for _ in range(count):
        dialled = _dialled(chance)
        rules = [_rule(chance, number, dialled) for number in range(chance.choice((0, 1, 2, 2, 3, 3, 4, 6)))]
        yield Pair(rules, dialled, chance.choice(_EXTENSIONS))


def _dialled(chance: random.Random) -> str:
    """Return a string that begins like a rule's prefix, sometimes with nothing after it."""
    length = chance.choice((0, 0, 1, 2, 3, 5, 8, 9, 10, 11))
    end = "#" if chance.random() < 0.05 else ""
    return chance.choice(_PREFIXES) + "".join(chance.choices("0123456789", k=length)) + end


def _rule(chance: random.Random, number: int, dialled: str) -> dict[str, Any]:
    return {
        "id": str(700_000_000_000_000_000 + number),
        "name": f"Rule {number}",
        "enabled": chance.random() < 0.85,
        "priority": chance.choice(_PRIORITIES),
        "number_prefix": _prefixes(chance, dialled),
        "number_length": _lengths(chance, len(dialled)),
        "number_mask": chance.choice(_MASKS) if chance.random() < 0.3 else "",
        "routing_strategy": "PRIORITIZED",
        "routes": [_route(chance, trunk) for trunk in range(chance.choice((0, 1, 1, 1, 1, 1, 2, 3)))],
    }


def _prefixes(chance: random.Random, dialled: str) -> str:
    """Return a list of prefixes, or nothing; half of them begin the dialled string, so that rules overlap."""
    prefixes = {
        dialled[: chance.randint(1, 5)] if chance.random() < 0.5 else chance.choice(_PREFIXES)
        for _ in range(chance.choice((0, 1, 1, 1, 2, 3)))
    }
    return ";".join(chance.sample(sorted(prefixes), len(prefixes)))


def _route(chance: random.Random, trunk: int) -> dict[str, Any]:
    return {
        "enabled": chance.random() < 0.85,
        "provider_id": str(800_000_000_000_000_000 + trunk),
        "strip_digits": chance.choice((0, 0, 1, 2, 3, 4, 9)),
        "prepend": chance.choice(_PREPENDED),
        "outbound_caller_id": "",
    }


def _lengths(chance: random.Random, length: int) -> str:
    """Return a list of lengths on, below and above the one that is dialled; most rules have none."""
    if chance.random() < 0.5:
        return ""
    near = [number for number in range(length - 2, length + 3) if number > 0]
    return ";".join(map(str, sorted(chance.sample(near, chance.choice((1, 2, 3))))))
