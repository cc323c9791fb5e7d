"""The product's evaluator and one that somebody else wrote from PortSIP's pages send the same numbers."""

from __future__ import annotations

import os
from itertools import product

import pytest

from runbook_lib.dialling.evaluator import DialPlan, Semantics, decide
from runbook_lib.dialling.sources import rule_from_pbx
from tests.conftest import SEED

from .made_up import pairs
from .second_evaluator import sent

#: All of them with ``make sweep``.
COUNT = 100_000 if os.environ.get("RUNBOOK_SWEEP") else 5_000


@pytest.mark.parametrize(
    ("counts", "equals"), list(product((True, False), ("first", "longest", "last"))), ids=str
)
def test_both_send_the_same(counts: bool, equals: str) -> None:
    semantics = Semantics(length_counts_plus=counts, equals=equals)
    for rules, dialled, caller in pairs(SEED, COUNT):
        plan = DialPlan(tuple(rule_from_pbx(rule, None) for rule in rules))
        expected = sent(rules, dialled, caller, length_counts_plus=counts, first_of_equals=equals)
        assert decide(plan, dialled, caller, semantics).sent == expected, (rules, dialled, caller)
