"""Section 6: the call rules, so that calls really flow.

A rule is identified by its name. Rules that the parameters do not name stay as they are.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ..did_pool import DidPool
from ..facts.side_by_side import side_by_side
from ..keys import Kind, ResourceKey, Why
from ..meaning import same_name
from ..parameters import InboundRule, OutboundRule
from ..plan import Action, Effect, Row, Value
from .base import Item, Section, View

RING = "FORWARD_TO_NUMBER"
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
        rules = self.context.rules
        _ = self.context.pbx
        self._trunk, self._inbound, self._outbound = side_by_side(
            self.context.pbx_trunk.find, rules.inbound, rules.outbound
        )
        self._uncovered = rules.uncovered(self.context.tenant.dids)

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
                        _rings(one.get("office_hours_forward_rule")),
                        one.get("provider_id") == ours,
                    )
                    for one in self._inbound
                ),
            ),
            View(
                "Outbound rules of the tenant",
                (
                    "Rule",
                    "Enabled",
                    "Priority",
                    "Number begins with",
                    "Digits",
                    "Extensions",
                    "Through our trunk",
                ),
                tuple(
                    (
                        one["name"],
                        one.get("enabled"),
                        one.get("priority"),
                        one.get("number_prefix"),
                        one.get("number_length"),
                        one.get("number_mask"),
                        any(route.get("provider_id") == ours for route in one.get("routes") or ()),
                    )
                    for one in self._outbound
                ),
            ),
            View(
                "Numbers that no enabled rule of our trunk takes: calls to them ring nowhere",
                ("Number",),
                tuple((did,) for did in self._uncovered),
            ),
        ]

    def items(self) -> list[Item]:
        rules = self.context.tenant.rules
        if rules is None:
            return []
        if self._trunk is None and "05" not in self.ahead:
            wanted = [("6.1", _outbound(one.name)) for one in rules.outbound]
            wanted += [("6.2", _inbound(one.name)) for one in rules.inbound]
            name = self.context.settings.pbx_name
            return [self.blocked(step, f"{rule}: trunk", name, "05") for step, rule in wanted]
        items: list[Item] = []
        for outbound in rules.outbound:
            items.append(self._outbound_item(outbound))
            items += self._duplicates("6.1", _outbound(outbound.name), self._outbound)
        for inbound in rules.inbound:
            items.append(self._inbound_item(inbound))
            items += self._duplicates("6.2", _inbound(inbound.name), self._inbound)
        return items

    def _duplicates(self, step: str, rule: ResourceKey, live: list[dict[str, Any]]) -> list[Item]:
        return self.duplicates(step, str(rule), [one for one in live if same_name(one["name"], rule.name)])

    def _inbound_item(self, rule: InboundRule) -> Item:
        live = next((one for one in self._inbound if same_name(one["name"], rule.name)), None)
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
            fields[field] = {"action": RING, "number": extension}
            settings.append((field, time, f"rings {extension}", _rings(live.get(field)) if live else None))
        return self._item("6.2", key, "inbound_rules", live, settings, fields)

    def _outbound_item(self, rule: OutboundRule) -> Item:
        live = next((one for one in self._outbound if same_name(one["name"], rule.name)), None)
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


def _loses(current: Value, desired: Value) -> bool:
    """Whether a rule is taken away from numbers that it serves today."""
    try:
        return bool(set(DidPool.read(str(current))) - set(DidPool.read(str(desired))))
    except ValueError:
        return False


def _rings(forward: dict[str, Any] | None) -> str | None:
    """Where a forward rule sends a call, in words; ``None`` when it is not set."""
    if not forward or not forward.get("action"):
        return None
    if forward["action"] == RING:
        return f"rings {forward.get('number')}"
    return forward["action"].lower().replace("_", " ")
