"""Which tenants a system-level trunk is assigned to, each with its DID pool."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from .bodies import Check, checked, text, whole
from .http import PortsipCall, invalid, not_found, nothing
from .trunks import check_pool, need_system_trunk, refuse_removal_in_use, rules_using

_FIELDS: dict[str, Check] = {"did_numbers": text(), "concurrency": whole()}


async def listing(call: PortsipCall) -> Response:
    """GET /providers/{id}/assignees: items without a count."""
    row = need_system_trunk(call)
    mine = [a for a in call.data["assignees"].values() if a["provider_id"] == row["id"]]
    return JSONResponse(
        {"items": [{k: a[k] for k in ("tenant_id", "did_numbers", "concurrency")} for a in mine]}
    )


async def detail(call: PortsipCall) -> Response:
    """GET /providers/{id}/assignees/{tenant_id}: 404 if the trunk is not assigned."""
    need_system_trunk(call, 404)  # the only failure that the OpenAPI document gives here
    assignment = call.data["assignees"].get(_key(call))
    if assignment is None:
        raise not_found("assignee")
    return JSONResponse({k: assignment[k] for k in ("did_numbers", "concurrency")})


async def assign(call: PortsipCall) -> Response:
    """POST /providers/{id}/assignees/{tenant_id}: assign, or edit by assigning again."""
    row = need_system_trunk(call)
    tenant_id = call.path("tenant_id")
    if tenant_id not in call.data["tenants"]:
        raise not_found("tenant")
    body = checked(call.world, await call.body(), _FIELDS)
    body.pop("unknown_fields", None)
    present = call.data["assignees"].get(_key(call))
    base = {"did_numbers": "", "concurrency": row["concurrency"]}
    if present is not None and call.world.switches["portsip.assignee_update"] == "merge":
        base = present
    new = base | body | {"provider_id": row["id"], "tenant_id": tenant_id}
    check_pool(call, row, tenant_id, new["did_numbers"])
    refuse_removal_in_use(call, row, tenant_id, new["did_numbers"])
    call.data["assignees"][_key(call)] = new
    call.world.store.changed()
    return nothing(204)


async def unassign(call: PortsipCall) -> Response:
    """POST /providers/{id}/assignees/{tenant_id}/destroy."""
    row = need_system_trunk(call)
    if _key(call) not in call.data["assignees"]:
        raise not_found("assignee")
    in_use = rules_using(call.data, row["id"], call.path("tenant_id"))
    if in_use and call.world.switches["portsip.did_removal_in_use"] == "refused":
        raise invalid(f"The tenant's rule {in_use[0]['name']!r} uses the provider.")
    del call.data["assignees"][_key(call)]
    call.world.store.changed()
    return nothing(204)


def _key(call: PortsipCall) -> str:
    return f"{call.path('id')}/{call.path('tenant_id')}"
