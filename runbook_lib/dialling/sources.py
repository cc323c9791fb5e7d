"""A dial plan from a tenant's parameters, or from the PBX's answers.

A rule is identified by its name as people read it, however either side spells it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .. import meaning
from ..did_pool import DidPool
from . import destinations
from .evaluator import DialPlan, DialPlanInboundRule, E164Processing, Route, Rule, ranges, split_entries

if TYPE_CHECKING:
    from ..parameters import Tenant
    from ..parameters.model import OutboundRule


def from_parameters(tenant: Tenant) -> DialPlan:
    """Return the dial plan that a tenant's parameters alone define."""
    rules = tenant.call_rules
    return DialPlan(
        rules=tuple(map(managed_rule, rules.outbound)) if rules else (),
        country=tenant.country,
        area_code=tenant.dialling.area_code if tenant.dialling else None,
        dids=tenant.dids,
        inbound=tuple(
            DialPlanInboundRule(
                meaning.name(rule.name),
                rule.dids,
                str(destinations.destination_in_words(destinations.as_sent(rule.extension))),
            )
            for rule in (rules.inbound if rules else ())
        ),
        examples=tuple(tenant.examples.items()),
    )


def from_pbx(
    tenant: Tenant,
    outbound: Iterable[Mapping[str, Any]],
    inbound: Iterable[Mapping[str, Any]],
    trunk_id: str | None,
    *,
    described: Mapping[str, Any],
    own_list: Iterable[Mapping[str, Any]] | None,
    version: str | None,
) -> DialPlan:
    """Return the PBX's present dial plan: all rules, ours or not.

    ``described`` is the tenant as the PBX describes it; ``own_list`` its emergency numbers, ``None`` where
    they were not read.
    """
    wanted = from_parameters(tenant)
    names = {rule.name for rule in wanted.rules}
    rules = (rule_from_pbx(rule, trunk_id) for rule in outbound)
    return replace(
        wanted,
        rules=tuple(replace(rule, managed=rule.name in names) for rule in rules),
        inbound=tuple(_read_inbound(rule, trunk_id) for rule in inbound),
        e164=_processing(described.get("e164") or {}),
        own_list=None if own_list is None else tuple(str(one.get("number_prefix") or "") for one in own_list),
        version=version,
        time_zone=described.get("timezone"),
    )


def as_wanted(standing: DialPlan, wanted: Sequence[Rule]) -> DialPlan:
    """Return the dial plan as it would be with the rules of the parameters written."""
    by_name = {rule.name: rule for rule in wanted}
    present = {rule.name for rule in standing.rules}
    kept = tuple(
        _with_further_routes(by_name[rule.name], rule) if rule.name in by_name else rule
        for rule in standing.rules
    )
    return replace(standing, rules=(*kept, *(rule for rule in wanted if rule.name not in present)))


def managed_rule(rule: OutboundRule) -> Rule:
    """Return a rule of the parameters as the runbook writes it."""
    return Rule(
        name=meaning.name(rule.name),
        priority=rule.priority,
        prefixes=split_entries(rule.number_prefix),
        lengths=tuple(map(int, split_entries(rule.number_length))),
        callers=ranges(rule.extensions),
        routes=(Route(rule.strip_digits, rule.prepend, rule.caller_id or ""),),
        managed=True,
    )


def rule_from_pbx(rule: Mapping[str, Any], trunk_id: str | None) -> Rule:
    try:
        lengths, callers = _lengths(rule.get("number_length")), ranges(rule.get("number_mask"))
        readable = True
    except ValueError:
        lengths, callers, readable = (), (), False
    return Rule(
        name=meaning.name(str(rule["name"])),
        priority=int(rule.get("priority") or 0),
        prefixes=split_entries(rule.get("number_prefix")),
        lengths=lengths,
        callers=callers,
        routes=tuple(
            Route(
                int(route.get("strip_digits") or 0),
                str(route.get("prepend") or ""),
                str(route.get("outbound_caller_id") or ""),
                ours=trunk_id is not None and route.get("provider_id") == trunk_id,
                enabled=route.get("enabled") is not False,
            )
            for route in rule.get("routes") or ()
        ),
        enabled=bool(rule.get("enabled")),
        readable=readable,
    )


def _read_inbound(rule: Mapping[str, Any], trunk_id: str | None) -> DialPlanInboundRule:
    try:
        dids = DidPool.read(rule.get("did_numbers") or "")
        known = True
    except ValueError:
        dids, known = DidPool("1"), False
    return DialPlanInboundRule(
        name=meaning.name(str(rule["name"])),
        dids=dids,
        destination=destinations.destination_in_words(rule.get("office_hours_forward_rule"))
        or "goes nowhere",
        enabled=known and bool(rule.get("enabled")),
        any_caller=not rule.get("cid_number_mask"),
        ours=rule.get("provider_id") == trunk_id,
    )


def _lengths(text: str | None) -> tuple[int, ...]:
    """The lengths of a rule, also where the PBX has a range of them."""
    return tuple(length for low, high in ranges(text) for length in range(low, min(high, 64) + 1))


def _processing(read: Mapping[str, Any]) -> E164Processing:
    country = re.search(r"\((\d+)\)\s*$", str(read.get("country") or ""))
    return E164Processing(
        enabled=bool(read.get("enabled")),
        country_code=country[1] if country else "",
        area_code=str(read.get("area_code") or ""),
        national_code=str(read.get("national_code") or ""),
        international_code=str(read.get("international_code") or ""),
        prefix=str(read.get("prefix") or ""),
        drop_country=read.get("remove_duplicate_countries") is not False,
        drop_area=read.get("remove_duplicate_area_codes") is not False,
    )


def _with_further_routes(wanted: Rule, standing: Rule) -> Rule:
    """A rule that is in place already is the same, however its values are written at the PBX."""
    same = replace(standing, managed=True)
    equal = (
        wanted.conditions == same.conditions
        and wanted.route is not None
        and same.route is not None
        and replace(wanted.route, caller_id="") == replace(same.route, caller_id="")
        and wanted.route.caller_id.lstrip("+0") == same.route.caller_id.lstrip("+0")
    )
    return same if equal else wanted
