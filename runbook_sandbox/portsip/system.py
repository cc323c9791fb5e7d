"""The PBX itself: network, transports, status, settings."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..store import StoredRow
from ..world import world_of
from .bodies import Check, checked, flag, text
from .http import PortsipCall, as_answered, collection, forbidden, invalid, not_found, nothing

_NETWORK: dict[str, Check] = {
    name: text()
    for name in (
        "web_domain",
        "private_ipv4",
        "public_ipv4",
        "private_ipv6",
        "public_ipv6",
        "primary_dns_server",
        "secondary_dns_server",
    )
} | {"enable_ipv6": flag}


async def info(request: Request) -> Response:
    """GET /info: needs no token; with ``domain`` also who that tenant is."""
    world = world_of(request)
    portsip = world.store.portsip
    answer = dict(portsip["network"])
    domain = request.query_params.get("domain")
    if domain:
        tenant = next((t for t in portsip["tenants"].values() if t["domain"].lower() == domain.lower()), None)
        if tenant is None:
            raise not_found("tenant")
        answer |= {
            "name": tenant["name"],
            "domain": tenant["domain"],
            "website": tenant["website"],
            "avatar_url": "",
            "enable_ms365_integration": False,
            "ms365_authorization_endpoint": "",
        }
    return JSONResponse(as_answered(world, answer))


async def network(call: PortsipCall) -> Response:
    """GET /network: the same fields for system roles."""
    call.need_system()
    return JSONResponse(as_answered(call.world, call.data["network"]))


async def update_network(call: PortsipCall) -> Response:
    """POST /network."""
    call.need_system()
    body = checked(call.world, await call.body(), _NETWORK)
    body.pop("unknown_fields", None)
    call.data["network"] |= body
    call.world.store.changed()
    return nothing()


async def status(call: PortsipCall) -> Response:
    """GET /admin/status: the server's version and its licence."""
    call.need_system()
    data = call.data
    counts = {
        "max_concurrent_calls": 1000,
        "licensed_users": 10_000,
        "current_users": 40,
        "online_users": 17,
        "current_tenants": len(data["tenants"]),
        "current_dealers": 0,
        "current_calls": 3,
        "current_trunks": len(data["providers"]),
        "current_conference_servers": 1,
        "current_media_servers": 1,
        "current_call_queue_servers": 1,
        "current_ivr_servers": 1,
    }
    fixed = {"news": "", "maintenance_expires_at": "2027-12-31T00:00:00Z", "calls_in_24_hours": []}
    return JSONResponse(as_answered(call.world, data["system"] | fixed | counts))


async def settings(call: PortsipCall) -> Response:
    """GET /admin/settings: the few settings that matter to trunks and sign-in; not for every role."""
    call.need_system()
    if call.world.switches["portsip.admin_settings"] == "forbidden":
        raise forbidden("The role lacks System.Settings.")
    return JSONResponse(call.data["settings"])


async def transports(call: PortsipCall) -> Response:
    """GET /transports."""
    _may_see_transports(call)
    return collection(call, [_transport(row) for row in call.data["transports"].values()])


async def transport_status(call: PortsipCall) -> Response:
    """GET /transports/{id}/status, where the id is the protocol (OpenAPI document of 22.2)."""
    _may_see_transports(call)
    wanted = call.path("id")
    for row in call.data["transports"].values():
        if wanted == row["protocol"]:
            return JSONResponse({"status": "ACTIVATED" if row["active"] else "DEACTIVATED"})
    if wanted not in ("UDP", "TCP", "TLS"):
        raise invalid("The transport must be UDP, TCP or TLS.")
    raise not_found("transport")


def _may_see_transports(call: PortsipCall) -> None:
    if call.tenant_id is not None and call.world.switches["portsip.tenant_transports"] == "hidden":
        raise forbidden("Transports are for system administrators only.")


def _transport(row: StoredRow) -> StoredRow:
    return {name: row[name] for name in ("id", "protocol", "port", "verification")}
