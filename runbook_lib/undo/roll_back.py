"""Rolling back a record: only what it did to the tenant's resources, and only if those are unchanged since.

The record's journal shows which resources were changed and their previous state. The last write is
undone first, so that nothing is removed while something that the same record created depends on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..did_pool import DidPool
from ..guide import TENANTS_STEPS
from ..keys import Kind, ResourceKey, Why
from ..plan import CHANGING, Action, Effect, Row, Value, joined_notes
from ..records.footprint import Trace, footprint
from ..records.journal import read_journal
from ..resources.twilio_trunk import numbers_on
from ..resources.written import collection_of, locate_created
from ..sections.base import Section, at_step
from ..sections.items import Item, View
from ..sections.passwords import SIDES, PasswordPair, find_user
from .way_back import EFFECTS, Resource, hanging_on, resource_of
from .whose import Whose

CANNOT = "cannot be undone: the password that it replaced cannot be read anywhere"
AS_BEFORE = "as it was before the record"
PRESENT = "present"
NOT_THE_TENANTS = "not this tenant's"
UNVOUCHED = "the journal is unverified"
#: Fields whose change interrupts no calls, as in the sections of the guide.
HARMLESS = frozenset({"friendly_name", "name", "priority", "weight", "concurrency"})


class RollBack(Section[None]):
    """Undoes what one record did; each row has the step of the guide that it undoes."""

    number = "90"

    def read(self) -> None:
        context = self.context
        writes = read_journal(context.to_undo.journal)
        traces = footprint(writes, lambda write: locate_created(context, write))
        self._traces = [one for one in traces if context.to_undo.covers(one.section)]
        self._resources = [resource_of(context, one) for one in reversed(self._traces)]
        whose = Whose(context, traces)
        self._live, self._hanging, self._foreign = [], [], []
        for one in self._resources:
            with at_step(one.trace.rows[0].step):
                live = one.read()
                is_there = one.trace.kind == "made" and live is not None
                self._live.append(live)
                self._hanging.append(hanging_on(context, one.trace.path) if is_there else {})
                self._foreign.append("" if one.is_as_before(live) else whose.problem(one.trace, live))
        self._others = self._other_tenants()

    def views(self) -> list[View]:
        undo = self.context.to_undo
        doubt = "" if undo.vouched else f" ({UNVOUCHED}: the chain does not have this record)"
        return [
            View(
                f"What record {undo.name} did, last write first{doubt}",
                ("Section", "Resource", "What it did", "Now"),
                tuple(
                    (one.trace.section, str(one.trace.resource), one.trace.kind, _now(one, live, foreign))
                    for one, live, foreign in zip(self._resources, self._live, self._foreign, strict=True)
                ),
            )
        ]

    def wanted(self) -> list[Item]:
        items, going = list[Item](), set[str]()
        found = zip(self._resources, self._live, self._hanging, self._foreign, strict=True)
        for resource, live, hanging, foreign in found:
            others = {key.words for path, key in hanging.items() if path not in going}
            found_items = self._items_of(resource, live, others, foreign, going)
            if all(row.action is not Action.CONFLICT for item in found_items for row in item.rows):
                going.add(resource.trace.path)
            items += found_items if self.context.to_undo.vouched else map(_doubted, found_items)
        return _once(items)

    def guarded_items(self) -> list[Item]:
        # What a tenant's run may do to a shared trunk depends here on who else uses it.
        return self._within_leave(self.items())

    def _items_of(
        self,
        resource: Resource,
        live: Mapping[str, Any] | None,
        hanging: set[str],
        foreign: str,
        going: set[str],
    ) -> list[Item]:
        """A resource's items: one, and for an updated PBX trunk also what happens to its password."""
        trace = resource.trace
        item = self._item(resource, live, hanging, foreign, going)
        if trace.kind != "changed" or collection_of(trace.path) != "providers":
            return [item]
        if item.write is None:
            return [item, PasswordPair(self.context, None).unreadable()]
        assert item.before is not None, "what was changed, and is as it was left, is there"
        former = {name: trace.before.get(name) for name in trace.changed}
        user = find_user(self.context, former.get("auth_id", item.before["auth_id"]))
        return PasswordPair(self.context, user).items_of_update(item.rows, former, item.before)

    def _item(
        self,
        resource: Resource,
        live: Mapping[str, Any] | None,
        hanging: set[str],
        foreign: str,
        going: set[str],
    ) -> Item:
        trace = resource.trace
        if self._others and not any(row.step in TENANTS_STEPS for row in trace.rows):
            note = f"kept: the shared trunk is also used by {', '.join(self._others)}"
            return Item(_rows(trace, Action.NOT_MANAGED, Why.SHARED, note))
        if resource.is_as_before(live):
            return Item(_as_before(trace))
        if foreign:
            note = f"{NOT_THE_TENANTS}: it belongs to {foreign}"
            return Item(_rows(trace, Action.CONFLICT, Why.NOT_THE_TENANTS, note))
        if not resource.is_as_left(live):
            note = f"changed since: {resource.differences(live)}"
            return Item(_rows(trace, Action.CONFLICT, Why.MOVED, note))
        if missing := resource.missing():
            return Item(_rows(trace, Action.CONFLICT, Why.GONE, missing))
        hanging = hanging | self._users_of_lost(trace, live, going)
        if hanging:
            note = f"still used by {', '.join(sorted(hanging))}"
            return Item(_rows(trace, Action.CONFLICT, Why.IN_USE, note))
        rows = _rows(trace)
        if not any(row.action in CHANGING for row in rows):
            return Item(rows)
        before = dict(live) if live is not None else None
        return Item(rows, trace.resource, resource.take_back, before=before)

    def _users_of_lost(self, trace: Trace, live: Mapping[str, Any] | None, going: set[str]) -> set[str]:
        """What still uses numbers that the PBX trunk's pool loses when it shrinks again."""
        in_pool = collection_of(trace.path) in ("providers", "assignees") and "did_numbers" in trace.changed
        if trace.kind != "changed" or not in_pool or live is None or not self.context.scope.has_tenant:
            return set()
        context, before = self.context, trace.before.get("did_numbers")
        lost = set(DidPool.read(live["did_numbers"])) - set(DidPool.read(before) if before else ())
        found = {
            ResourceKey.of(Kind.INBOUND_RULE, one["name"]).words
            for kind, one in context.rules.through(trace.path.split("/")[2])
            if kind == "inbound_rules"
            and f"/{kind}/{one['id']}" not in going
            and lost & set(DidPool.read(one["did_numbers"]))
        }
        for users in context.rules.callers(lost, {path.rpartition("/")[2] for path in going}).values():
            found |= set(users)
        trunk = context.twilio_trunk.find()
        numbers = numbers_on(context.twilio, trunk.sid) if trunk else []
        return found | {
            f"number {one.phone_number} of the Twilio trunk"
            for one in numbers
            if one.phone_number in lost and context.twilio.number_path(one.sid) not in going
        }

    def _other_tenants(self) -> list[str]:
        """Who else uses the shared trunk of a tenant's record."""
        context = self.context
        trunk = context.pbx_trunk.find() if context.scope.creates_only else None
        if trunk is None:
            return []
        ours = f"/providers/{trunk['id']}/assignees/{context.pbx.tenant_id}"
        hanging = hanging_on(context, f"/providers/{trunk['id']}")
        return sorted(key.words for path, key in hanging.items() if key.kind is Kind.TENANT and path != ours)


def _rows(
    trace: Trace, action: Action | None = None, why: Why | None = None, note: str = ""
) -> tuple[Row, ...]:
    """The rows of a trace, reversed; ``action`` for all of them that would change something, and why.

    Something created is one row, because it is removed as a whole; a change has a row for each setting.
    """
    if trace.kind == "changed":
        return tuple(_inverse(trace, row, action, why, note) for row in trace.rows)
    made = trace.kind == "made"
    desired, current = (None, PRESENT) if made else (PRESENT, None)
    usual, effect = (
        (Action.REMOVE, EFFECTS[collection_of(trace.path)]) if made else (Action.CREATE, Effect.NONE)
    )
    if action is not None:
        usual, effect = action, Effect.NONE
    setting = str(trace.resource)
    return (Row(trace.rows[0].step, setting, desired, current, usual, effect, note, why=why),)


def _inverse(trace: Trace, row: Row, action: Action | None, why: Why | None, note: str) -> Row:
    desired, current, field = row.current, row.desired, row.field
    if field in SIDES:
        return Row(
            row.step,
            row.setting,
            current,
            current,
            Action.UNREADABLE,
            note=CANNOT,
            field=field,
            why=Why.CANNOT_BE_UNDONE,
        )
    if desired == current:
        return Row(row.step, row.setting, desired, current, Action.IN_PLACE, field=field)
    if action is not None:
        return Row(row.step, row.setting, desired, current, action, note=note, field=field, why=why)
    usual = Action.CREATE if current is None else Action.REMOVE if desired is None else Action.UPDATE
    effect = row.effect if row.effect is not Effect.NONE else _effect_of_taking_back(trace, desired, current)
    return Row(row.step, row.setting, desired, current, usual, effect, field=field)


def _effect_of_taking_back(trace: Trace, desired: Value, current: Value) -> Effect:
    """The effect on calls of restoring old values, if the change itself interrupted none.

    A harmless change may interrupt calls when it is reversed: a pool that grew shrinks again, and the PBX
    rejects calls over a limit that was raised and is lowered again.
    """
    are_numbers = isinstance(desired, int) and isinstance(current, int)
    if "concurrency" in trace.changed and are_numbers and int(desired or 0) < int(current or 0):
        return Effect.INTERRUPTS_BOTH
    if HARMLESS.issuperset(trace.changed):
        return Effect.NONE
    if "did_numbers" in trace.changed:
        return Effect.INTERRUPTS_INBOUND
    return EFFECTS[collection_of(trace.path)]


def _once(items: list[Item]) -> list[Item]:
    """The items with one row for each setting, if a password is both written and unreadable.

    The row that writes it stays; without one, the row that says why it cannot be undone.
    """
    rows = [row for item in items for row in item.rows]
    written = {row.key for row in rows if row.action is not Action.UNREADABLE}
    explained = {row.key for row in rows if row.why is not None}

    def stays(row: Row) -> bool:
        if row.action is not Action.UNREADABLE:
            return True
        return row.key not in written and (row.why is not None or row.key not in explained)

    once = [replace(item, rows=tuple(filter(stays, item.rows))) for item in items]
    return [item for item in once if item.rows]


def _as_before(trace: Trace) -> tuple[Row, ...]:
    return tuple(
        row
        if row.action is Action.UNREADABLE
        else replace(
            row,
            current=row.desired,
            action=Action.IN_PLACE,
            effect=Effect.NONE,
            note=AS_BEFORE,
            why=Why.AS_BEFORE,
        )
        for row in _rows(trace)
    )


def _doubted(item: Item) -> Item:
    """The item, with a note that its changes come from an unverified journal."""
    rows = tuple(
        replace(row, note=joined_notes(UNVOUCHED, row.note)) if row.action in CHANGING else row
        for row in item.rows
    )
    return replace(item, rows=rows)


def _now(resource: Resource, live: Mapping[str, Any] | None, foreign: str) -> str:
    if resource.is_as_before(live):
        return "as it was before"
    if foreign:
        return NOT_THE_TENANTS
    return "as it was left" if resource.is_as_left(live) else "changed since"
