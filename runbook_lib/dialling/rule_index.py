"""Which rules can apply to a number, without asking each of them.

A tenant has a rule for each branch or for each extension, so hundreds of them, and every look at a dial plan
asks for many numbers, callers and pairs of rules.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice, takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .evaluator import Rule


class _Bucket:
    """The rules of one prefix, by the extensions that they are for."""

    def __init__(self) -> None:
        self.for_anybody: list[int] = []
        self._ranges: list[tuple[int, int, int]] = []
        self._widest = 0

    def add(self, position: int, callers: Sequence[tuple[int, int]]) -> None:
        if not callers:
            self.for_anybody.append(position)
        for first, last in callers:
            self._ranges.append((first, last, position))
            self._widest = max(self._widest, last - first)

    def sort(self) -> None:
        self._ranges.sort()

    def for_some_of(self, first: int, last: int) -> list[int]:
        """The rules that name an extension of a range."""
        low = bisect_left(self._ranges, (first - self._widest,))
        high = bisect_right(self._ranges, (last + 1,))
        return [position for _, end, position in self._ranges[low:high] if end >= first]

    @cached_property
    def all(self) -> list[int]:
        """The rules for anybody or for some."""
        return [*self.for_anybody, *(position for _, _, position in self._ranges)]


class RuleIndex:
    """Rules by their prefixes and callers; those that are off or cannot be read are left out."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._buckets: dict[str, _Bucket] = {}
        for position, rule in enumerate(rules):
            if rule.enabled and rule.readable:
                for prefix in rule.prefixes or ("",):
                    self._buckets.setdefault(prefix, _Bucket()).add(position, rule.callers)
        self._prefixes = sorted(self._buckets)
        for bucket in self._buckets.values():
            bucket.sort()
        self._longest = max(map(len, self._buckets), default=0)

    def candidates(self, number: str, caller: str | None) -> list[Rule]:
        """Return the rules whose prefix and callers a call meets, in their order."""
        extension = int(caller) if caller is not None and caller.isdecimal() else None
        found: set[int] = set()
        for bucket in self._beginning(number):
            found.update(bucket.for_anybody)
            if extension is not None:
                found.update(bucket.for_some_of(extension, extension))
        return [self._rules[position] for position in sorted(found)]

    def meeting(self) -> Iterator[tuple[Rule, list[Rule]]]:
        """Yield each rule with those after it that have a prefix and a caller in common with it."""
        for position, rule in enumerate(self._rules):
            if not (rule.enabled and rule.readable):
                continue
            found: set[int] = set()
            for prefix in rule.prefixes or ("",):
                for bucket in (*self._beginning(prefix), *self._beginning_with(prefix)):
                    found.update(bucket.for_anybody if rule.callers else bucket.all)
                    for first, last in rule.callers:
                        found.update(bucket.for_some_of(first, last))
            yield rule, [self._rules[other] for other in sorted(found) if other > position]

    def _beginning(self, number: str) -> list[_Bucket]:
        """The buckets of all prefixes that a number begins with."""
        fronts = (number[:size] for size in range(min(len(number), self._longest) + 1))
        return [self._buckets[front] for front in fronts if front in self._buckets]

    def _beginning_with(self, prefix: str) -> list[_Bucket]:
        """The buckets of all longer prefixes that begin with one."""
        start = bisect_right(self._prefixes, prefix)
        longer = takewhile(lambda other: other.startswith(prefix), islice(self._prefixes, start, None))
        return [self._buckets[other] for other in longer]
