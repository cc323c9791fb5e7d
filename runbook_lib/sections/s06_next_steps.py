"""Section 6: the call rules, so that calls really flow.

A rule is identified by its name. Rules that the parameters do not name stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

from ..dialling import judgement, tables
from ..dialling.destinations import as_sent, in_words
from ..dialling.evaluator import DialPlan, explain
from ..dialling.sources import as_wanted, from_parameters, from_pbx
from ..did_pool import DidPool
from ..facts.side_by_side import side_by_side
from ..keys import Kind, ResourceKey, Why
from ..parameters import InboundRule, OutboundRule
from ..plan import CHANGING, Action, Effect, Row, Value
from .base import Item, Section, View

#: The three times of an inbound rule: label, field in the PBX, key in the parameters.
TIMES = (
    ("office hours", "office_hours_forward_rule", "extension"),
    ("outside office hours", "non_office_hours_forward_rule", "outside_hours"),
    ("holidays", "holiday_forward_rule", "holidays"),
)


FORWARDS = frozenset(field for _, field, _ in TIMES)
#: Which calls an outbound rule takes; empty for all.
CONDITIONS = frozenset({"number_prefix", "number_length", "number_mask"})
CALLER_ID = "outbound_caller_id"
#: Fields of a rule's route: the PBX takes all routes together.
OF_ROUTE = frozenset({"strip_digits", "prepend", CALLER_ID})


class NextSteps(Section):
    """Steps 6.1 and 6.2."""

    number = "06"

    def read(self) -> None:
        rules, tenant = self.context.rules, self.context.tenant
        _ = self.context.pbx
        # What only the dial plan needs is read only where it says something.
        wanted = from_parameters(tenant).rules
        lone_plus = any("+" in rule.prefixes for rule in wanted)
        self._trunk, self._inbound, self._outbound, self._own_list, self._version = side_by_side(
            self.context.pbx_trunk.find,
            rules.inbound,
            rules.outbound,
            rules.emergency_numbers if tenant.country else _unread,
            self.context.pbx.version if tenant.country or lone_plus else _unread,
        )
        self._uncovered = rules.uncovered(tenant.dids)
        self.__dict__.pop("_standing", None)

    @cached_property
    def _standing(self) -> DialPlan:
        """The dial plan as it stands at the PBX, as read."""
        return from_pbx(
            self.context.tenant,
            self._outbound,
            self._inbound,
            self._trunk["id"] if self._trunk else None,
            described=self.context.pbx.tenant,
            own_list=self._own_list,
            version=self._version,
        )

    @property
    def _wanted(self) -> DialPlan:
        """The dial plan as it is with the rules of the parameters."""
        return as_wanted(self._standing, from_parameters(self.context.tenant).rules)

    def cautions(self) -> list[str]:
        return [str(finding) for finding in judgement.cautions(self._wanted)]

    def views(self) -> list[View]:
        ours = self._trunk["id"] if self._trunk else None
        return [
            View(
                "Inbound rules of the tenant",
                ("Rule", "Enabled", "Numbers", "Rings", "Through our trunk"),
                tuple(
                    (
                        one["name"],
                        one.get("enabled"),
                        one.get("did_numbers"),
                        in_words(one.get("office_hours_forward_rule")),
                        one.get("provider_id") == ours,
                    )
                    for one in self._inbound
                ),
            ),
            View(
                "Outbound rules of the tenant",
                tables.RULE_COLUMNS,
                tuple(tables.rule_row(rule, ours) for rule in self._outbound),
            ),
            View(
                tables.caption("as the rules stand"),
                tables.CALL_COLUMNS,
                tuple(map(tables.call_row, tables.sample_calls(self._standing))),
            ),
            View(
                "Numbers that no enabled rule of our trunk takes: calls to them ring nowhere",
                ("Number",),
                tuple((did,) for did in self._uncovered),
            ),
        ]

    def items(self) -> list[Item]:
        rules = self.context.tenant.call_rules
        if rules is None:
            return self._examples()
        if self._trunk is None and "05" not in self.ahead:
            wanted = [("6.1", _outbound(one.name)) for one in rules.outbound]
            wanted += [("6.2", _inbound(one.name)) for one in rules.inbound]
            name = self.context.settings.pbx_name
            return [self.blocked(step, f"{rule}: trunk", name, "05") for step, rule in wanted]
        items: list[Item] = []
        moved = judgement.moved_emergency(self._standing, self._wanted)
        for outbound in rules.outbound:
            items.append(_needing_leave(self._outbound_item(outbound), moved.get(outbound.name, ())))
            items += self._duplicates("6.1", _outbound(outbound.name), self._outbound)
        for inbound in rules.inbound:
            items.append(self._inbound_item(inbound))
            items += self._duplicates("6.2", _inbound(inbound.name), self._inbound)
        return [*items, *self._conflicts(), *self._examples()]

    def _conflicts(self) -> list[Item]:
        """What the rules as a whole must not become: rules that tie, emergency numbers taken away."""
        rows = [
            Row(
                "6.1",
                f"{' and '.join(str(_outbound(name)) for name in finding.rules)}: {finding.example}",
                "one way",
                str(finding.trouble),
                Action.CONFLICT,
                note=str(finding),
                why=Why.UNSUITABLE,
            )
            for finding in judgement.conflicts(self._standing, self._wanted)
        ]
        return [Item((row,)) for row in rows]

    def _examples(self) -> list[Item]:
        """The examples of the parameters, each as it comes out; one that does not is in conflict."""
        if self._trunk is None and "05" not in self.ahead:
            return []
        rows = []
        for dialled, expected in self._wanted.examples:
            call = explain(self._wanted, dialled)
            row = Row("6.1", f"example {dialled}", expected, call.decision.result, Action.IN_PLACE)
            if call.decision.result != expected:
                row = replace(row, action=Action.CONFLICT, note=call.verdict, why=Why.UNSUITABLE)
            rows.append(row)
        return [Item((row,)) for row in rows]

    def _duplicates(self, step: str, rule: ResourceKey, live: list[dict[str, Any]]) -> list[Item]:
        return self.duplicates(step, str(rule), [one for one in live if one["name"] == rule.name])

    def _inbound_item(self, rule: InboundRule) -> Item:
        live = next((one for one in self._inbound if one["name"] == rule.name), None)
        key, fields = _inbound(rule.name), {}
        if live is not None and self._foreign(live["provider_id"]):
            return self._taken("6.2", key)
        settings: list[tuple[str, str, Value, Value]] = [
            ("enabled", "enabled", True, live.get("enabled") if live else None),
            ("did_numbers", "numbers", str(rule.dids), live.get("did_numbers") if live else None),
            (
                "cid_number_mask",
                "only for callers",
                "",
                (live.get("cid_number_mask") or "") if live else None,
            ),
        ]
        for time, field, name in TIMES:
            extension = getattr(rule, name) or rule.extension
            fields[field] = as_sent(extension)
            current = in_words(live.get(field)) if live else None
            settings.append((field, time, in_words(fields[field]), current))
        return self._item("6.2", key, "inbound_rules", live, settings, fields)

    def _outbound_item(self, rule: OutboundRule) -> Item:
        live = next((one for one in self._outbound if one["name"] == rule.name), None)
        key = _outbound(rule.name)
        routes = (live.get("routes") or []) if live else []
        if live is not None and any(self._foreign(route.get("provider_id")) for route in routes):
            return self._taken("6.1", key)
        route = routes[0] if routes else {}
        settings: list[tuple[str, str, Value, Value]] = [
            ("enabled", "enabled", True, live.get("enabled") if live else None),
            ("priority", "priority", rule.priority, live.get("priority") if live else None),
        ]
        for field, words, value in (
            ("number_prefix", "number begins with", rule.number_prefix),
            ("number_length", "digits dialled", rule.number_length),
            ("number_mask", "extensions", rule.extensions),
        ):
            settings.append((field, words, value or "", (live.get(field) or "") if live else None))
        for field, words, value in (
            ("strip_digits", "digits to strip", rule.strip_digits),
            ("prepend", "prepend", rule.prepend),
            (CALLER_ID, "caller id", rule.caller_id or ""),
        ):
            # A route that leaves a field out has its default.
            unset = 0 if field == "strip_digits" else ""
            settings.append((field, words, value, (route.get(field) or unset) if live else None))
        wanted = {
            "enabled": True,
            "strip_digits": rule.strip_digits,
            "prepend": rule.prepend,
            CALLER_ID: rule.caller_id or "",
        }
        return self._item("6.1", key, "outbound_rules", live, settings, {"routes": [wanted]})

    def _item(
        self,
        step: str,
        key: ResourceKey,
        kind: str,
        live: dict[str, Any] | None,
        settings: list[tuple[str, str, Value, Value]],
        nested: dict[str, Any],
    ) -> Item:
        """The item of one rule: its rows, and one write with the fields that differ.

        ``settings`` holds (field, words, desired, current); ``nested`` the fields that are sent as
        something else than the row shows.
        """
        rows = tuple(
            self.row(
                step,
                f"{key}: {words}",
                desired,
                current,
                effect=_effect(field, desired, current) if live and live.get("enabled") else Effect.NONE,
                field=field,
            )
            for field, words, desired, current in settings
        )
        changed = {}
        for (field, _, desired, _), row in zip(settings, rows, strict=True):
            if row.action is not Action.IN_PLACE:
                sent = "routes" if field in OF_ROUTE else field
                changed[sent] = nested.get(sent, desired)
        if not changed:
            return Item(rows)
        write = partial(self._write, kind, live, changed, key.name)
        return Item(rows, key, write, before=live)

    def _write(self, kind: str, live: dict[str, Any] | None, changed: dict[str, Any], name: str) -> None:
        trunk = self._trunk or self.context.pbx_trunk.find()
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
        return provider_id is not None and (self._trunk is None or provider_id != self._trunk["id"])

    def _taken(self, step: str, key: ResourceKey) -> Item:
        note = "a rule of this name uses another trunk; choose another name"
        return Item(
            (
                Row(
                    step,
                    f"{key}: trunk",
                    self.context.settings.pbx_name,
                    "another trunk",
                    Action.CONFLICT,
                    note=note,
                    why=Why.TAKEN,
                ),
            )
        )


def _unread() -> None:
    """In the place of a reading that nothing depends on."""


def _inbound(name: str) -> ResourceKey:
    return ResourceKey.of(Kind.INBOUND_RULE, name)


def _outbound(name: str) -> ResourceKey:
    return ResourceKey.of(Kind.OUTBOUND_RULE, name)


def _effect(field: str, desired: Value, current: Value) -> Effect:
    """What a change of an enabled rule does to calls that it serves today.

    An extension that rings no longer counts as cut off: whether the other one exists cannot be asked
    (PortSIP's API as far as the runbook may use it has no way).
    """
    if field == "did_numbers":
        return Effect.INTERRUPTS_INBOUND if _loses(current, desired) else Effect.NONE
    if field in FORWARDS and current is not None:
        return Effect.INTERRUPTS_INBOUND
    if field in CONDITIONS and desired:  # without a condition the rule takes every call that it took
        return Effect.INTERRUPTS_OUTBOUND
    if field in OF_ROUTE and current is not None and not (field == CALLER_ID and desired):
        return Effect.INTERRUPTS_OUTBOUND
    return Effect.NONE


def _needing_leave(item: Item, numbers: Sequence[str]) -> Item:
    """The item of a rule; where it would take emergency numbers over, as one that interrupts calls."""
    changing = next((row for row in item.rows if row.action in CHANGING), None)
    if not numbers or changing is None:
        return item
    note = f"emergency numbers that go another way today would be sent by this rule: {', '.join(numbers)}"
    marked = replace(changing, effect=Effect.INTERRUPTS_OUTBOUND, note=note)
    return replace(item, rows=tuple(marked if row is changing else row for row in item.rows))


def _loses(current: Value, desired: Value) -> bool:
    """Whether a rule is taken away from numbers that it serves today."""
    try:
        return bool(set(DidPool.read(str(current))) - set(DidPool.read(str(desired))))
    except ValueError:
        return False
