"""Section 6: the call rules, without which no call gets through.

A rule is identified by its name. Rules that the parameters do not name are not changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ..dialling import judgement, tables
from ..dialling.destinations import as_sent, destination_in_words
from ..dialling.evaluator import DialPlan, explain
from ..dialling.sources import as_wanted, from_parameters
from ..did_pool import DidPool
from ..keys import Kind, ResourceKey, Why
from ..meaning import meaning, same_name
from ..parameters import InboundRule, OutboundRule
from ..plan import CHANGING, Action, Effect, Row, Value
from ..resources.dial_plan import DialPlanAsRead as Facts
from ..resources.dial_plan import read_dial_plan
from ..resources.pbx_trunk import InPbx
from ..resources.rules import RulesAsRead, providers_of
from .base import SectionOfTrunk
from .items import Field, Item, View, rings_nowhere

#: The three times of an inbound rule: label, field in the PBX, key in the parameters.
TIMES = (
    ("office hours", "office_hours_forward_rule", "extension"),
    ("outside office hours", "non_office_hours_forward_rule", "outside_hours"),
    ("holidays", "holiday_forward_rule", "holidays"),
)


FORWARDS = frozenset(field for _, field, _ in TIMES)
#: Which calls an outbound rule matches; empty for all.
CONDITIONS = frozenset({"number_prefix", "number_length", "number_mask"})
CALLER_ID = "outbound_caller_id"
#: Fields of a rule's route: the PBX takes all routes together.
OF_ROUTE = frozenset({"strip_digits", "prepend", CALLER_ID})


class NextSteps(SectionOfTrunk[Facts]):
    """Steps 6.1 and 6.2."""

    number = "06"
    needs = "05"

    def look(self) -> Facts:
        tenant = self.context.tenant
        if self.context.rows_only and not tenant.examples:
            if tenant.call_rules is None:
                return Facts(InPbx(), RulesAsRead())  # nothing is asked of the rules that there are
            # Other rules matter only if one of the rules in the parameters has to be written.
            facts = read_dial_plan(
                self.context, tenant, named=[rule.name for rule in tenant.call_rules.outbound]
            )
            standing = facts.standing(tenant)
            if self._with_ours(standing) == standing:
                return facts
        return read_dial_plan(self.context, tenant)

    @property
    def _standing(self) -> DialPlan:
        """The present dial plan in the PBX."""
        return self.facts.standing(self.context.tenant)

    def _with_ours(self, standing: DialPlan) -> DialPlan:
        """The dial plan with the rules of the parameters applied."""
        return as_wanted(standing, from_parameters(self.context.tenant).rules)

    def cautions(self) -> list[str]:
        return [str(finding) for finding in judgement.cautions(self._with_ours(self._standing))]

    def views(self) -> list[View]:
        ours = self.facts.trunk["id"] if self.facts.trunk else None
        return [
            View(
                "Inbound rules of the tenant",
                ("Rule", "Enabled", "Numbers", "Rings", "Through our trunk"),
                tuple(
                    (
                        one["name"],
                        one.get("enabled"),
                        one.get("did_numbers"),
                        destination_in_words(one.get("office_hours_forward_rule")),
                        one.get("provider_id") == ours,
                    )
                    for one in self.facts.rules.inbound
                ),
            ),
            View(
                "Outbound rules of the tenant",
                tables.RULE_COLUMNS,
                tuple(tables.rule_row(rule, ours) for rule in self.facts.rules.outbound),
            ),
            View(
                tables.caption("as the rules stand"),
                tables.CALL_COLUMNS,
                tuple(map(tables.call_row, tables.sample_calls(self._standing))),
            ),
            View(
                "Numbers that no enabled rule of our trunk takes: calls to them ring nowhere",
                ("Number",),
                tuple((did,) for did in self.facts.rules.uncovered(self.context.tenant.dids)),
            ),
        ]

    def outline(self) -> list[tuple[str, str, Value]]:
        rules, name = self.context.tenant.call_rules, self.context.settings.pbx_name
        if rules is None:
            return []
        wanted = [("6.1", _outbound(rule.name)) for rule in rules.outbound]
        wanted += [("6.2", _inbound(rule.name)) for rule in rules.inbound]
        return [(step, f"{key}: trunk", name) for step, key in wanted]

    def wanted(self) -> list[Item]:
        rules, live = self.context.tenant.call_rules, self.facts.rules
        standing = self._standing
        planned = self._with_ours(standing)
        if rules is None:
            return [*self._examples(planned), *self._silent(())]
        outbound = [
            (_outbound(rule.name), _same_name(live.outbound, rule), partial(_fields_of_outbound, rule))
            for rule in rules.outbound
        ]
        inbound = [
            (_inbound(rule.name), _same_name(live.inbound, rule), partial(_fields_of_inbound, rule))
            for rule in rules.inbound
        ]
        moved = judgement.moved_emergency(standing, planned)
        items = []
        for rule in outbound:
            made, *others = self._items("6.1", "outbound_rules", *rule)
            items += [_needing_permission(made, moved.get(meaning("name", rule[0].name), ())), *others]
        items += [item for rule in inbound for item in self._items("6.2", "inbound_rules", *rule)]
        covered = [did for rule in rules.inbound for did in rule.dids]
        return [
            *items,
            *self._conflicts(standing, planned),
            *self._examples(planned),
            *self._silent(covered),
        ]

    def _silent(self, covered: Collection[str]) -> list[Item]:
        """The numbers that ring nowhere, now and with the rules of the parameters, which cover these."""
        uncovered = self.facts.rules.uncovered(self.context.tenant.dids)
        return [Item((rings_nowhere("6.2", did),)) for did in uncovered if did not in covered]

    def _conflicts(self, standing: DialPlan, planned: DialPlan) -> list[Item]:
        """Conflicts of the rules as a whole: rules that tie, emergency numbers diverted."""
        return [
            self.conflict(
                "6.1",
                f"{' and '.join(str(_outbound(name)) for name in finding.rules)}: {finding.example}",
                "one way",
                Why.UNSUITABLE,
                str(finding),
                current=str(finding.trouble),
            )
            for finding in judgement.conflicts(standing, planned)
        ]

    def _examples(self, planned: DialPlan) -> list[Item]:
        """The examples of the parameters with their results; one that fails is in conflict."""
        rows = []
        for dialled, expected in planned.examples:
            call = explain(planned, dialled)
            row = Row("6.1", f"example {dialled}", expected, call.decision.result, Action.IN_PLACE)
            if call.decision.result != expected:
                row = replace(row, action=Action.CONFLICT, note=call.verdict, why=Why.UNSUITABLE)
            rows.append(row)
        return [Item((row,)) for row in rows]

    def _items(
        self,
        step: str,
        kind: str,
        key: ResourceKey,
        same: list[dict[str, Any]],
        fields: Callable[[Mapping[str, Any] | None], list[Field]],
    ) -> list[Item]:
        """One rule: created or corrected; a rule with its name on another trunk is a conflict."""
        live = same[0] if same else None
        if live is not None and any(self._foreign(provider_id) for provider_id in providers_of(live)):
            note = "a rule with this name uses another trunk; choose another name"
            trunk, name = f"{key}: trunk", self.context.settings.pbx_name
            item = self.conflict(step, trunk, name, Why.TAKEN, note, current="another trunk", about=key)
        else:
            named = [replace(field, label=f"{key}: {field.label}") for field in fields(live)]
            item = self.item(step, key, named, partial(self._write, kind, live, key.name), live)
        return [item, *self.duplicates(step, str(key), same, about=key)]

    def _write(self, kind: str, live: Mapping[str, Any] | None, name: str, changed: dict[str, Any]) -> None:
        trunk = self.facts.trunk or self.context.pbx_trunk.must_find()
        for route in changed.get("routes", ()):
            route["provider_id"] = trunk["id"]
        if live is None:
            changed["name"] = name
            changed |= (
                {"routing_strategy": "PRIORITIZED"}
                if kind == "outbound_rules"
                else {"provider_id": trunk["id"]}
            )
        self.context.rules.write(kind, live["id"] if live else None, changed)

    def _foreign(self, provider_id: str | None) -> bool:
        trunk = self.facts.trunk
        return provider_id is not None and (trunk is None or provider_id != trunk["id"])


def _same_name(live: Iterable[dict[str, Any]], rule: InboundRule | OutboundRule) -> list[dict[str, Any]]:
    return [found for found in live if same_name(found["name"], rule.name)]


def _fields_of_inbound(rule: InboundRule, live: Mapping[str, Any] | None) -> list[Field]:
    """The settings of an inbound rule; those that the parameters omit are the PBX's defaults."""
    read = live or {}
    fields = [
        _field("enabled", "enabled", True, live, read.get("enabled")),
        _field("did_numbers", "numbers", str(rule.dids), live, read.get("did_numbers")),
        _field("cid_number_mask", "only for callers", "", live, read.get("cid_number_mask") or ""),
    ]
    for time, name, parameter in TIMES:
        extension = getattr(rule, parameter) or rule.extension
        forward = as_sent(extension)
        fields.append(
            _field(
                name,
                time,
                destination_in_words(forward),
                live,
                destination_in_words(read.get(name)),
                {name: forward},
            )
        )
    return fields


def _fields_of_outbound(rule: OutboundRule, live: Mapping[str, Any] | None) -> list[Field]:
    """The settings of an outbound rule; the PBX accepts those of its route only together."""
    read = live or {}
    route: Mapping[str, Any] = next(iter(read.get("routes") or ()), {})
    fields = [
        _field("enabled", "enabled", True, live, read.get("enabled")),
        _field("priority", "priority", rule.priority, live, read.get("priority")),
    ]
    for name, words, value in (
        ("number_prefix", "number begins with", rule.number_prefix),
        ("number_length", "digits dialled", rule.number_length),
        ("number_mask", "extensions", rule.extensions),
    ):
        fields.append(_field(name, words, value or "", live, read.get(name) or ""))
    wanted = {
        "enabled": True,
        "strip_digits": rule.strip_digits,
        "prepend": rule.prepend,
        CALLER_ID: rule.caller_id or "",
    }
    for name, words in (
        ("strip_digits", "digits to strip"),
        ("prepend", "prepend"),
        (CALLER_ID, "caller id"),
    ):
        # A route that omits a field has its default.
        unset = 0 if name == "strip_digits" else ""
        sent = {"routes": [wanted]}
        fields.append(_field(name, words, wanted[name], live, route.get(name) or unset, sent))
    return fields


def _field(
    name: str,
    label: str,
    desired: Value,
    live: Mapping[str, Any] | None,
    current: Value,
    sent: Mapping[str, Any] | None = None,
) -> Field:
    """A setting of a rule: ``current`` counts if it exists, and the effect if the rule is enabled."""
    effect = _effect(name, desired, current) if live and live.get("enabled") else Effect.NONE
    return Field(name, label, desired, current if live else None, effect, sent=sent)


def _inbound(name: str) -> ResourceKey:
    return ResourceKey.of(Kind.INBOUND_RULE, name)


def _outbound(name: str) -> ResourceKey:
    return ResourceKey.of(Kind.OUTBOUND_RULE, name)


def _effect(field: str, desired: Value, current: Value) -> Effect:
    """The effect of changing an enabled rule on calls that it serves today.

    An extension that no longer rings counts as cut off, because the part of PortSIP's API available to
    the runbook cannot tell whether the other extension exists.
    """
    if field == "did_numbers":
        return Effect.INTERRUPTS_INBOUND if _loses(current, desired) else Effect.NONE
    if field in FORWARDS and current is not None:
        return Effect.INTERRUPTS_INBOUND
    if field in CONDITIONS and desired:  # without a condition the rule still matches every earlier call
        return Effect.INTERRUPTS_OUTBOUND
    if field in OF_ROUTE and current is not None and not (field == CALLER_ID and desired):
        return Effect.INTERRUPTS_OUTBOUND
    return Effect.NONE


def _needing_permission(item: Item, numbers: Sequence[str]) -> Item:
    """The item of a rule, as one that interrupts calls if it would take over emergency numbers."""
    changing = next((row for row in item.rows if row.action in CHANGING), None)
    if not numbers or changing is None:
        return item
    note = f"this rule would change the route of emergency numbers: {', '.join(numbers)}"
    marked = replace(changing, effect=Effect.INTERRUPTS_OUTBOUND, note=note)
    return replace(item, rows=tuple(marked if row is changing else row for row in item.rows))


def _loses(current: Value, desired: Value) -> bool:
    """Whether a rule loses numbers that it serves today."""
    try:
        return bool(set(DidPool.read(str(current))) - set(DidPool.read(str(desired))))
    except ValueError:
        return False
