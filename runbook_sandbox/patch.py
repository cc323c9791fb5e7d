"""Changing the vendors' data behind their APIs, as somebody else would."""

from __future__ import annotations

from typing import Any

from .history import OBJECT_TYPES, RESOURCE_TYPES, Actor, History, snapshot
from .store import Store, StoredRow, new_id, new_sid, password_digest

#: Tables that are one row.
_SINGLE = frozenset({"account", "system", "settings", "network"})
_PREFIXES = {
    "trunks": "TK",
    "origination_urls": "OU",
    "ip_access_control_lists": "AL",
    "ip_addresses": "IP",
    "credential_lists": "CL",
    "credentials": "CR",
    "numbers": "PN",
}
#: Tables whose rows join two others; their keys are made of both ids.
_JOINS = {
    "trunk_ip_access_control_lists": ("trunk_sid", "sid"),
    "trunk_credential_lists": ("trunk_sid", "sid"),
    "assignees": ("provider_id", "tenant_id"),
}


def apply_patch(store: Store, wanted: dict[str, Any], history: History) -> list[str]:
    """Change, remove or add rows; return the keys of those that were met.

    ``wanted`` holds ``vendor``, ``kind`` and either ``add`` (a whole row) or ``id`` or ``match`` with
    ``set`` or ``remove``; the vendor's history shows it if there is an ``actor``, which has fields of
    ``history.Actor``. Raises ``ValueError`` when it makes no sense or meets nothing.
    """
    vendor, kind = wanted.get("vendor"), wanted.get("kind")
    tables = {"twilio": store.twilio, "portsip": store.portsip}.get(str(vendor))
    if tables is None or kind not in tables:
        known = f"; kinds: {', '.join(tables)}" if tables else "; vendors: twilio, portsip"
        raise ValueError(f"unknown vendor or kind: {vendor!r}, {kind!r}{known}")
    actor = Actor(**wanted["actor"]) if "actor" in wanted else None
    kinds = RESOURCE_TYPES if vendor == "twilio" else OBJECT_TYPES
    before = snapshot(tables, kinds) if actor else {}
    table = tables[kind]
    if "add" in wanted:
        keys = [_add(table, kind, dict(wanted["add"]))]
    elif kind in _SINGLE:
        table |= wanted["set"]
        keys = [kind]
    else:
        keys = _met(table, wanted)
        for key in keys:
            if wanted.get("remove"):
                del table[key]
                _drop_joins(tables, key)
            else:
                table[key] |= _kept(wanted["set"])
    store.changed()
    if actor and vendor == "twilio":
        history.at_twilio(tables["account"]["sid"], before, snapshot(tables, kinds), actor)
    elif actor:
        history.at_portsip(before, snapshot(tables, kinds), actor)
    return keys


def _met(table: dict[str, StoredRow], wanted: dict[str, Any]) -> list[str]:
    match = wanted.get("match")
    if "id" in wanted:
        keys = [wanted["id"]] if wanted["id"] in table else []
    elif isinstance(match, dict) and match:
        keys = [key for key, row in table.items() if all(row.get(k) == v for k, v in match.items())]
    else:
        raise ValueError("id or match is required")
    if not keys:
        raise ValueError(f"nothing matches {wanted.get('id') or match!r}")
    if "set" not in wanted and not wanted.get("remove"):
        raise ValueError("set or remove is required")
    return keys


def _drop_joins(tables: dict[str, Any], removed: str) -> None:
    """Remove the rows that join a removed row to others, which cannot stand without it."""
    for kind in _JOINS.keys() & tables.keys():
        for key in [key for key in tables[kind] if removed in key.split("/")]:
            del tables[kind][key]


def _add(table: dict[str, StoredRow], kind: str, row: StoredRow) -> str:
    row = _kept(row)
    if kind in _JOINS:
        key = "/".join(row[name] for name in _JOINS[kind])
    elif kind in _PREFIXES:
        key = row.setdefault("sid", new_sid(_PREFIXES[kind]))
    else:
        key = row.setdefault("id", new_id())
    table[key] = row
    return key


def _kept(fields: StoredRow) -> StoredRow:
    """Return fields as they are stored: a password as its digest."""
    kept = {k: v for k, v in fields.items() if k != "password"}
    if "password" in fields:
        kept["password_sha256"] = password_digest(fields["password"])
    return kept
