"""Tenants, in system scope as a collection and in a tenant's own scope."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from ..store import StoredRow, iso_micro, new_id
from .bodies import Check, anything, checked, flag, text, whole
from .defaults import TENANT, tenant
from .http import PortsipCall, as_answered, collection, created, invalid, not_found, nothing
from .nested import e164, office_hours
from .pools import holds, parse_pool
from .trunks import pool_of

_SUMMARY = (
    "id",
    "name",
    "domain",
    "max_extensions",
    "max_concurrent_calls",
    "enabled",
    "website",
    "timezone",
    "currency",
    "region",
)
_AVATAR: StoredRow = {"avatar_file_name": "", "avatar_file_size": 0, "avatar_file_url": ""}


def _check_of(name: str) -> Check:
    default = TENANT[name]
    if isinstance(default, bool):
        return flag
    return whole() if isinstance(default, int) else text()


_FIELDS: dict[str, Check] = {name: _check_of(name) for name in TENANT} | {
    "name": text(1, 1024),
    "domain": text(1, 280),
    "website": text(0, 255),
    "timezone": text(1),
    "currency": text(3, 3),
    "region": text(3, 3),
    "office_hours": office_hours,
    "e164": e164,
    "cdr_event": anything,
    "extension_event": anything,
}
#: These are not given back: they may hold a password.
_NOT_READABLE = frozenset({"cdr_event", "extension_event"})


async def listing(call: PortsipCall) -> Response:
    """GET /tenants: summaries."""
    call.need_system()
    rows = call.data["tenants"].values()
    summaries = [{k: row[k] for k in _SUMMARY} | _AVATAR | {"created_at": row["created_at"]} for row in rows]
    return collection(call, summaries)


async def create(call: PortsipCall) -> Response:
    """POST /tenants: domain unique; defaults 1000 extensions and 20 concurrent calls."""
    call.need_system()
    body = checked(
        call.world, await call.body(), _FIELDS, ("name", "domain", "timezone", "currency", "region")
    )
    if any(row["domain"].lower() == body["domain"].lower() for row in call.data["tenants"].values()):
        raise invalid("The domain is already used by another tenant.")
    kept = {k: v for k, v in body.items() if k not in _NOT_READABLE | {"unknown_fields"}}
    row = tenant(**kept, id=new_id(), created_at=iso_micro(call.world.store.clock.now()))
    call.data["tenants"][row["id"]] = row
    call.world.store.changed()
    return created(row["id"])


async def detail(call: PortsipCall) -> Response:
    """GET /tenants/{id}."""
    call.need_system()
    row = call.data["tenants"].get(call.path("id"))
    if row is None:
        raise not_found("tenant")
    return JSONResponse(as_answered(call.world, row | _AVATAR | {"used_disk_quota": "0"}))


async def own(call: PortsipCall) -> Response:
    """GET /tenant: the tenant that the session acts for."""
    row = call.data["tenants"][call.need_tenant()]
    hidden = ("enabled", "email_recipients", "created_at")
    readable = {k: v for k, v in row.items() if k not in hidden}
    extra = {"used_disk_quota": "0", "stir_shaken_cert": "", "stir_shaken_key": ""}
    return JSONResponse(as_answered(call.world, readable | _AVATAR | extra))


async def update_own(call: PortsipCall) -> Response:
    """POST /tenant: here only ``outbound_caller_ids``, which must be in the tenant's pools."""
    row = call.data["tenants"][call.need_tenant()]
    wanted = (await call.body()).get("outbound_caller_ids", row["outbound_caller_ids"])
    if not isinstance(wanted, list):
        raise invalid("outbound_caller_ids must be a list.")
    for item in wanted:
        if not isinstance(item, dict) or not isinstance(item.get("caller_id"), str):
            raise invalid("Each of outbound_caller_ids needs provider_id and caller_id.")
        pool = pool_of(call.data, str(item.get("provider_id")), row["id"])
        if pool is None or not holds(
            pool, parse_pool(item["caller_id"].lstrip("+0"), strict=False) or [(0, 0, 0)]
        ):
            raise invalid(f"{item['caller_id']} is not in the DID pool.")
    row["outbound_caller_ids"] = wanted
    call.world.store.changed()
    return nothing()


async def own_status(call: PortsipCall) -> Response:
    """GET /tenant/status: shows the server's version to a tenant, too."""
    tenant_id = call.need_tenant()
    own_trunks = sum(row["tenant_id"] == tenant_id for row in call.data["providers"].values())
    counts = {
        "licensed_users": 100,
        "current_users": 8,
        "online_users": 5,
        "current_calls": 0,
        "current_queues": 0,
        "current_conference_rooms": 0,
        "current_ring_groups": 1,
        "current_ivrs": 1,
        "current_trunks": own_trunks,
    }
    return JSONResponse({"version": call.data["system"]["version"], "calls_in_24_hours": []} | counts)
