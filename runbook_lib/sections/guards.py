"""What stops an item, or is noted on it: no permission to interrupt calls, a shared trunk, the records."""

from __future__ import annotations

from dataclasses import replace

from ..guide import TENANTS_STEPS
from ..keys import ResourceKey, Why
from ..plan import CHANGING, Action, Effect, Row, Slice, describe_deviation, joined_notes, value_text
from ..records.ownership import Remains, is_as_left
from .items import Item


def describe_stop(row: Row) -> str:
    """Which row stops and why, including its effect on calls."""
    why = row.note if row.effect is Effect.NONE else f"{row.effect}; {row.note}"
    return f"{row.setting}: {row.action} ({why})"


def what_was_approved(row: Row, approved: Slice | None) -> str:
    """What the approved plan has instead of a row that stops; empty without an approved plan."""
    if approved is None:
        return ""
    same = next((one for one in approved.rows if one.key == row.key), None)
    if same is not None:
        return f" [{describe_deviation(same, row)}]"
    # A resource in conflict is one row; the approved plan has it under its name.
    rows = [one for one in approved.changing if row.desired is not None and one.desired == row.desired]
    wanted = "; ".join(
        f"{one.setting}: {value_text(one.current)} → {value_text(one.desired)}" for one in rows
    )
    return f" [approved: {wanted or 'no such row'}; live: {value_text(row.current)}]"


def kept_shared(item: Item, name: str | None) -> Item:
    """The item, as a conflict if it would change something that a shared trunk already has."""
    changes = (Action.UPDATE, Action.REPLACE, Action.REMOVE)
    # The password is written on both sides when the trunk is created; nobody can use the pair before.
    if item.repeatable and all(row.effect is Effect.NONE for row in item.rows):
        return item
    reason = f"a setting of the shared trunk {name}: change it with runbook apply --trunk {name}"
    rows = tuple(
        replace(
            row,
            action=Action.CONFLICT,
            note=joined_notes(row.note, reason),
            why=Why.SHARED,
        )
        if row.action in changes and row.step not in TENANTS_STEPS
        else row
        for row in item.rows
    )
    return item if rows == item.rows else replace(item, rows=rows, write=None)


#: Of a change whose present value no record here left.
NOT_KNOWN = "which run left the current value is not known"


NO_LEAVE = "accept_interruption is not set"


def needs_permission(item: Item) -> Item:
    if all(row.effect is Effect.NONE for row in item.rows if row.action in CHANGING):
        return item
    rows = tuple(
        replace(
            row,
            action=Action.CONFLICT,
            note=joined_notes(NO_LEAVE, row.note),
            why=Why.NO_LEAVE,
        )
        if row.effect is not Effect.NONE and row.action in CHANGING
        else row
        for row in item.rows
    )
    return replace(item, rows=rows, write=None)


def compared_with_records(item: Item, remains: Remains) -> Item:
    """The item, each row with what the records left of it, where something else is there now."""
    if item.resource is None:
        return item
    rows = tuple(_with_what_was_left(item.resource, row, remains) for row in item.rows)
    return replace(item, rows=rows)


def _with_what_was_left(resource: ResourceKey, row: Row, remains: Remains) -> Row:
    if row.field or row.action not in CHANGING | {Action.IN_PLACE}:
        return row  # a password cannot be compared, and what stops has its own reason
    left = remains.of(resource, row)
    if left is None:
        may_be_missing = row.action in CHANGING and row.current is not None and not remains.is_empty
        return replace(row, note=joined_notes(row.note, NOT_KNOWN)) if may_be_missing else row
    if is_as_left(row, left):
        return row
    found = f"found {value_text(row.current)}; run {left.run} left {value_text(left.value)} on {left.at[:10]}"
    note = joined_notes(row.note, f"changed outside: {found}")
    return replace(row, note=note, outside=left)
