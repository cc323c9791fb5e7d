"""The index of rules answers as looking at every rule and every pair would."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from runbook_lib.dialling.evaluator import Rule
from runbook_lib.dialling.rule_index import RuleIndex

_PREFIXES = st.lists(st.sampled_from(["", "0", "00", "001", "01", "1", "+", "+1"]), max_size=3, unique=True)
_CALLERS = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 4)), max_size=2)
_RULES = st.lists(st.tuples(_PREFIXES, _CALLERS, st.booleans(), st.integers(0, 9)), max_size=8).map(
    lambda found: [
        Rule(
            f"rule {index}",
            prefixes=tuple(prefixes),
            callers=tuple((first, first + more) for first, more in callers),
            enabled=enabled,
            readable=readable > 0,
        )
        for index, (prefixes, callers, enabled, readable) in enumerate(found)
    ]
)


def meet(one: Rule, other: Rule) -> bool:
    prefixes = any(
        first.startswith(second) or second.startswith(first)
        for first in one.prefixes or ("",)
        for second in other.prefixes or ("",)
    )
    callers = not (one.callers and other.callers) or any(
        max(low, start) <= min(high, end) for low, high in one.callers for start, end in other.callers
    )
    usable = one.enabled and one.readable and other.enabled and other.readable
    return usable and prefixes and callers


@settings(max_examples=300, deadline=None)
@given(_RULES)
def test_the_rules_that_meet_are_those_of_all_pairs(rules: list[Rule]) -> None:
    found = [(first, second) for first, others in RuleIndex(rules).meeting() for second in others]
    assert found == [pair for pair in combinations(rules, 2) if meet(*pair)]


@settings(max_examples=300, deadline=None)
@given(_RULES, st.text("+01", max_size=4), st.sampled_from([None, "", "1", "5", "12", "desk"]))
def test_the_candidates_hold_every_rule_that_matches(
    rules: list[Rule], number: str, caller: str | None
) -> None:
    found = RuleIndex(rules).candidates(number, caller)
    assert [rule for rule in found if rule.matches(number, caller)] == [
        rule for rule in rules if rule.matches(number, caller)
    ]
    assert found == [rule for rule in rules if rule in found]
