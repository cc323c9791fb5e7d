"""Dial plans as tables: outbound rules with their conditions, and dialled numbers with where they go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import phonenumbers

from ..plan import Value
from .countries import country_of
from .evaluator import Call, CallOutcome, DialPlan, decide, explain
from .judgement import sample_of, ways

RULE_COLUMNS = (
    *("Rule", "Enabled", "Through our trunk", "Priority", "Number begins with", "Digits", "Extensions"),
    *("Strip", "Prepend", "Caller id", "Routes"),
)
CALL_COLUMNS = (
    *("Dialled", "From", "Kind", "Rule", "Sent", "Twilio accepts it", "Caller id"),
    *("Rules see", "Same priority", "Strip", "Prepend", "Verdict"),
)
#: Twilio's side of a number that leaves.
_ACCEPTED = {
    CallOutcome.SENT: "yes, +E.164",
    CallOutcome.EMERGENCY: "as an emergency number",
    CallOutcome.REFUSED: "not as documented",
    CallOutcome.ELSEWHERE: "another trunk",
}


def caption(how: str) -> str:
    """Return the caption of a table of dialled numbers, with the version of the number plans."""
    return f"Where dialled numbers go, {how} (number plans of phonenumbers {phonenumbers.__version__})"


def rule_row(rule: Mapping[str, Any], trunk_id: str | None) -> tuple[Value, ...]:
    """Return an outbound rule, as the PBX has it, as a row of ``RULE_COLUMNS``; its first route counts."""
    routes: Sequence[Mapping[str, Any]] = rule.get("routes") or ()
    first = routes[0] if routes else {}
    return (
        rule["name"],
        rule.get("enabled"),
        any(route.get("provider_id") == trunk_id for route in routes),
        rule.get("priority"),
        rule.get("number_prefix"),
        rule.get("number_length"),
        rule.get("number_mask"),
        first.get("strip_digits") or 0,
        first.get("prepend") or "",
        first.get("outbound_caller_id") or "",
        len(routes),
    )


def call_row(call: Call) -> tuple[Value, ...]:
    """Return a dialled number as a row of ``CALL_COLUMNS``."""
    decision = call.decision
    route = decision.rule.route if decision.rule else None
    return (
        call.dialled,
        call.caller,
        call.kind,
        decision.rule.name if decision.rule else None,
        None if decision.by_own_list else decision.sent,
        None if decision.by_own_list else _ACCEPTED.get(decision.outcome),
        route.caller_id if route else None,
        decision.processed,
        ", ".join(call.ties) or None,
        route.strip if route else None,
        route.prepend if route else None,
        call.verdict,
    )


def sample_calls(plan: DialPlan) -> list[Call]:
    """Explain what people dial: each way of dialling in the country, emergency numbers, the examples.

    A second way to dial a number is shown where a rule applies to it. Without a country: one number for
    each rule of the trunk.
    """
    country = country_of(plan.country)
    dialled = [
        way.dialled
        for way in (ways(country, plan.area_code) if plan.country else ())
        if way.needed or decide(plan, way.dialled).rule is not None
    ]
    dialled += [*country.emergency, *(number for number, _ in plan.examples)]
    if not plan.country:
        dialled += [sample_of(rule) for rule in plan.rules if rule.enabled and rule.route and rule.route.ours]
    return [explain(plan, number) for number in dict.fromkeys(dialled) if number]
