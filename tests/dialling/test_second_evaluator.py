"""The second evaluator gives what PortSIP's pages say, and the made-up pairs can tell evaluators apart."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest

from . import second_evaluator
from .made_up import Pair, pairs
from .second_e164 import processed
from .second_evaluator import sent
from .tables import Golden, GoldenE164, golden, golden_e164

SWITCHES = [
    pytest.param({"length_counts_plus": counts, "first_of_equals": first}, id=f"{first}-{counts}")
    for counts, first in product((True, False), ("first", "longest", "last"))
]


def test_it_is_short_enough_to_be_read_beside_the_pages() -> None:
    assert len(Path(second_evaluator.__file__).read_text(encoding="utf-8").splitlines()) <= 60


@pytest.mark.parametrize("switches", SWITCHES)
@pytest.mark.parametrize("case", golden(), ids=lambda case: case.name)
def test_it_gives_what_the_pages_say(case: Golden, switches: dict[str, Any]) -> None:
    number = sent(case.rules, case.dialled, case.caller, caller_groups=case.caller_groups, **switches)
    assert number in case.sent


@pytest.mark.parametrize("case", golden_e164(), ids=lambda case: case.name)
def test_e164_processing_gives_what_its_page_says(case: GoldenE164) -> None:
    assert processed(case.settings, case.dialled) == case.becomes


def test_each_way_to_choose_among_equals_is_used() -> None:
    [case] = [case for case in golden() if case.name == "equal priorities"]
    swapped = case.rules[::-1]
    chosen = {
        (order, first): sent(rules, case.dialled, "101", length_counts_plus=False, first_of_equals=first)
        for order, rules in (("as written", case.rules), ("swapped", swapped))
        for first in ("first", "longest", "last")
    }
    assert chosen == {
        ("as written", "first"): "+2345",
        ("as written", "longest"): "+2345",
        ("as written", "last"): "+4402345",
        ("swapped", "first"): "+4402345",
        ("swapped", "longest"): "+2345",
        ("swapped", "last"): "+2345",
    }


def test_a_length_counts_the_plus_only_where_it_is_set() -> None:
    rules = {length: [_with_length(length)] for length in ("12", "13")}
    number = "+442079460018"
    for counts, length, expected in (
        (False, "12", number),
        (False, "13", None),
        (True, "12", None),
        (True, "13", number),
    ):
        result = sent(rules[length], number, "101", length_counts_plus=counts, first_of_equals="first")
        assert result == expected


def _with_length(length: str) -> dict[str, Any]:
    [case] = [case for case in golden() if case.name == "a lone plus"]
    return case.rules[0] | {"number_length": length}


def test_the_same_seed_makes_the_same_pairs() -> None:
    assert list(pairs(7, 50)) == list(pairs(7, 50)) != list(pairs(8, 50))


def test_made_up_pairs_tell_evaluators_apart() -> None:
    """Each switch, and each condition if ignored, changes the result of at least one pair in a hundred."""
    made = list(pairs(21, 4_000))
    seen: Counter[str] = Counter()
    for pair in made:
        usual = _sent(pair)
        seen["sent"] += usual is not None
        seen["not sent"] += usual is None
        by_choice = {first: _sent(pair, first_of_equals=first) for first in ("first", "longest", "last")}
        for one, other in combinations(by_choice, 2):
            seen[f"{one} or {other}"] += by_choice[one] != by_choice[other]
        seen["plus counts"] += _sent(pair, length_counts_plus=True) != usual
        for field, ignored in _IGNORED.items():
            changed = [rule | {field: ignored} for rule in pair.rules]
            seen[f"{field} ignored"] += _sent(pair._replace(rules=changed)) != usual
        for character in "+*#":
            seen[f"{character} in a matched call"] += usual is not None and character in pair.dialled
    assert {name: number for name, number in seen.items() if number < len(made) / 100} == {}


_IGNORED = {"enabled": True, "priority": 1, "number_prefix": "", "number_length": "", "number_mask": ""}


def _sent(pair: Pair, *, length_counts_plus: bool = False, first_of_equals: str = "first") -> str | None:
    return sent(
        pair.rules,
        pair.dialled,
        pair.caller,
        length_counts_plus=length_counts_plus,
        first_of_equals=first_of_equals,
    )
