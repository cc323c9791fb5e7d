"""Who changed what: Twilio's Monitor events and the PBX's audit log.

A change is found by comparing the tables before and after a write, so whatever a write touches is in the
history. Changes behind the APIs are in it only if they name who made them; see ``patch``.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .store import Store, StoredRow, iso, iso_micro, new_id, new_sid

#: As many events as a query of Twilio's gives at most (Twilio, "Monitor events").
KEPT = 10_000
#: What changes with every write and says nothing, and what no history shows.
_HIDDEN = frozenset({"date_updated", "date_created", "password_sha256", "peer_answers", "unknown_fields"})

#: Twilio's resource types by table. Only ``phone-number`` is in its documents; no public sample has a trunk.
RESOURCE_TYPES = {
    "numbers": "phone-number",
    "trunks": "trunk",
    "origination_urls": "origination-url",
    "ip_access_control_lists": "ip-access-control-list",
    "ip_addresses": "ip-address",
    "credential_lists": "credential-list",
    "credentials": "credential",
    "trunk_ip_access_control_lists": "trunk-ip-access-control-list",
    "trunk_credential_lists": "trunk-credential-list",
}
#: The PBX's object types by table (PortSIP's OpenAPI document of 22.2). An assignment does not have one.
OBJECT_TYPES = {
    "providers": "PROVIDER",
    "assignees": "PROVIDER",
    "inbound_rules": "INBOUND_RULE",
    "outbound_rules": "OUTBOUND_RULE",
    "tenants": "TENANT",
    "transports": "TRANSPORT",
    "emergency_numbers": "EMERGENCY_NUMBER",
    "network": "SYSTEM",
    "settings": "SYSTEM",
}
_SINGLE = frozenset({"network", "settings"})

Snapshot = dict[str, dict[str, StoredRow]]


@dataclass(frozen=True)
class Actor:
    """Who makes a change, as the vendors say it.

    ``sid``, ``kind`` and ``source`` are Twilio's; ``name`` and ``tenant_id`` (whose administrator,
    ``None`` for the system's) the PBX's.
    """

    sid: str | None = None
    kind: str = "account"
    name: str = "admin"
    source: str = "api"
    ip: str | None = None
    tenant_id: str | None = None


@dataclass(frozen=True)
class Change:
    """One row before and after; ``None`` where there was or is none."""

    table: str
    key: str
    before: StoredRow | None
    after: StoredRow | None

    @property
    def row(self) -> StoredRow:
        """The row as it is, or was."""
        return self.after or self.before or {}

    def word(self, created: str, updated: str, deleted: str) -> str:
        """Return the word for what happened."""
        return created if self.before is None else deleted if self.after is None else updated


def snapshot(tables: Mapping[str, Any], kinds: Mapping[str, str]) -> Snapshot:
    """Return copies of the rows that a history reports."""
    return {
        name: {name: dict(tables[name])}
        if name in _SINGLE
        else {key: dict(row) for key, row in tables[name].items()}
        for name in kinds
    }


def changes(before: Snapshot, after: Snapshot) -> Iterator[Change]:
    """Yield the rows that differ."""
    for table, rows in after.items():
        for key in before[table].keys() | rows.keys():
            old, new = before[table].get(key), rows.get(key)
            if old != new:
                yield Change(table, key, old, new)


class History:
    """Both vendors' histories, oldest first; of the present process only."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.events: deque[StoredRow] = deque(maxlen=KEPT)
        self.audit: deque[StoredRow] = deque(maxlen=KEPT)

    def at_twilio(self, account: str, before: Snapshot, after: Snapshot, actor: Actor) -> None:
        """Note what an actor changed in an account."""
        for change in changes(before, after):
            kind = RESOURCE_TYPES[change.table]
            sid = change.row["sid"]
            api = "https://api.twilio.com/2010-04-01/Accounts"
            self.events.append(
                {
                    "sid": new_sid("AE"),
                    "account_sid": account,
                    "actor_sid": actor.sid,
                    "actor_type": actor.kind,
                    "description": None,
                    "event_data": {"resource_properties": _properties(change)},
                    "event_date": iso(self._store.clock.now()),
                    "event_type": f"{kind}.{change.word('created', 'updated', 'deleted')}",
                    "resource_sid": sid,
                    "resource_type": kind,
                    "source": actor.source,
                    "source_ip_address": actor.ip,
                    "links": {"actor": f"{api}/{actor.sid or account}", "resource": f"{api}/{account}"},
                    # of the join of a list and a trunk, for readers to whom it is the trunk's event
                    "_trunk_sid": change.row.get("trunk_sid") if "/" in change.key else None,
                }
            )

    def at_portsip(self, before: Snapshot, after: Snapshot, actor: Actor) -> None:
        """Note what an actor changed in the PBX."""
        for change in changes(before, after):
            row = change.row
            owner = row.get("tenant_id") if change.table not in ("tenants", "network") else row.get("id")
            name = row.get("name") or row.get("number_prefix") or change.table
            if change.table == "assignees":
                trunk = after["providers"].get(row["provider_id"]) or before["providers"][row["provider_id"]]
                name = trunk["name"]
            self.log(
                actor,
                change.word("CREATE", "UPDATE", "DELETE"),
                OBJECT_TYPES[change.table],
                name,
                owner,
                change,
            )

    def log(
        self,
        actor: Actor,
        action: str,
        object_type: str,
        name: str,
        owner: str | None,
        change: Change | None = None,
    ) -> None:
        """Add a line to the PBX's audit log; ``owner`` is the tenant that it is about."""
        self.audit.append(
            {
                "id": new_id(),
                "created_at": iso_micro(self._store.clock.now()),
                "source": actor.source,
                "ip": actor.ip or "",
                "action": action,
                "object_type": object_type,
                "user_name": actor.name,
                "object_name": name,
                "old_state": _state(change.before) if change else "",
                "new_state": _state(change.after) if change else "",
                "_tenant_id": owner,
            }
        )


def _properties(change: Change) -> StoredRow:
    before, after = change.before or {}, change.after or {}
    return {
        name: {"previous": before.get(name), "updated": after.get(name)}
        for name in before | after
        if name not in _HIDDEN and before.get(name) != after.get(name)
    }


def _state(row: StoredRow | None) -> str:
    if row is None:
        return ""
    return json.dumps({name: value for name, value in row.items() if name not in _HIDDEN})
