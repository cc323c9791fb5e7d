"""Checks of the fields in PortSIP's request bodies.

Source: the OpenAPI document of 22.2 (types, lengths, enumerations). Which fields an operation
requires is its own matter; what unknown fields become is the switch ``portsip.unknown_fields``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..store import StoredRow
from ..world import World
from .http import invalid

Check = Callable[[str, Any], None]


def text(low: int = 0, high: int = 100_000) -> Check:
    """Return a check for a string of some length."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, str) or not low <= len(value) <= high:
            raise invalid(f"{name} must be a string of {low} to {high} characters.")

    return check


def whole(low: int = 0, high: int = 2**31 - 1) -> Check:
    """Return a check for a whole number."""

    def check(name: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise invalid(f"{name} must be a number from {low} to {high}.")

    return check


def one_of(*values: str) -> Check:
    """Return a check for one of some words."""

    def check(name: str, value: Any) -> None:
        if value not in values or not isinstance(value, str):
            raise invalid(f"{name} must be one of {', '.join(values)}.")

    return check


def flag(name: str, value: Any) -> None:
    """Check a boolean."""
    if not isinstance(value, bool):
        raise invalid(f"{name} must be true or false.")


def anything(name: str, value: Any) -> None:
    """Check an object whose inside is not looked at."""
    if not isinstance(value, dict):
        raise invalid(f"{name} must be an object.")


def ids(name: str, value: Any) -> None:
    """Check a list of ids."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise invalid(f"{name} must be a list of ids.")


def checked(
    world: World, body: StoredRow, fields: dict[str, Check], required: tuple[str, ...] = ()
) -> StoredRow:
    """Return the body's known fields, and the unknown ones if the switch keeps them.

    A field that is null counts as not sent: PortSIP answers unset values as null, and a client that
    sends a trunk back as it read it must not be refused for that.
    """
    sent = _without_null(body)
    for name in required:
        if name not in sent:
            raise invalid(f"{name} is required.")
    known = {}
    for name, value in sent.items():
        if name in fields:
            fields[name](name, value)
            known[name] = value
        elif world.switches["portsip.unknown_fields"] == "refused":
            raise invalid(f"{name} is not a known field.")
        elif world.switches["portsip.unknown_fields"] == "kept":
            known.setdefault("unknown_fields", {})[name] = value
    return known


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_null(content) for name, content in value.items() if content is not None}
    return [_without_null(item) for item in value] if isinstance(value, list) else value
