"""Growing the demo data to the size of a large provider."""

from __future__ import annotations

from .demo import number_row, trunk_row
from .portsip.defaults import provider, tenant
from .store import Store, new_id, new_sid

LIMITS = {"numbers": 100_000, "trunks": 100, "lists": 1000, "pbx_trunks": 10_000, "tenants": 10_000}


def grow(store: Store, wanted: dict[str, int]) -> dict[str, int]:
    """Add rows until there are as many as wanted; return how many there are of each.

    Raises ``ValueError`` for an unknown kind or a size out of bounds.
    """
    for kind, size in wanted.items():
        if (
            kind not in LIMITS
            or isinstance(size, bool)
            or not isinstance(size, int)
            or not 0 <= size <= LIMITS[kind]
        ):
            raise ValueError(
                f"{kind}={size!r}; allowed: {', '.join(f'{k} up to {v}' for k, v in LIMITS.items())}"
            )
    tables = {
        "numbers": store.twilio["numbers"],
        "trunks": store.twilio["trunks"],
        "lists": store.twilio["ip_access_control_lists"],
        "pbx_trunks": store.portsip["providers"],
        "tenants": store.portsip["tenants"],
    }
    makers = {
        "numbers": _number,
        "trunks": _trunk,
        "lists": _list,
        "pbx_trunks": _provider,
        "tenants": _tenant,
    }
    for kind, size in wanted.items():
        for index in range(len(tables[kind]), size):
            makers[kind](store, index)
    store.changed()
    return {kind: len(table) for kind, table in tables.items()}


def _number(store: Store, index: int) -> None:
    row = number_row(f"+1303{index:07}", sid=new_sid("PN"))
    store.twilio["numbers"][row["sid"]] = row


def _trunk(store: Store, index: int) -> None:
    row = trunk_row(new_sid("TK"), f"Filler {index}", f"filler-{index}.pstn.twilio.com")
    store.twilio["trunks"][row["sid"]] = row


def _list(store: Store, index: int) -> None:
    made = {"date_created": "2025-03-14T09:26:53Z", "date_updated": "2025-03-14T09:26:53Z"}
    row = {"sid": new_sid("AL"), "friendly_name": f"Filler {index}"} | made
    store.twilio["ip_access_control_lists"][row["sid"]] = row


def _provider(store: Store, index: int) -> None:
    row = provider(
        id=new_id(),
        tenant_id=None,
        name=f"Filler {index}",
        brand="Filler",
        auth_mode="IP_AUTH",
        transport="UDP",
        hostname=f"filler-{index}.carrier.example",
        port=5060,
        concurrency=10,
        peer_answers=True,
    )
    store.portsip["providers"][row["id"]] = row


def _tenant(store: Store, index: int) -> None:
    row = tenant(
        id=new_id(),
        name=f"Filler {index}",
        domain=f"filler-{index}.pbx.example",
        timezone="America/New_York",
        currency="USD",
        region="USA",
        created_at="2025-03-14T09:26:53.589793Z",
    )
    store.portsip["tenants"][row["id"]] = row
