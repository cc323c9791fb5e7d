"""The PBX's own emergency numbers, in the scope of a tenant or of the system."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from ..store import StoredRow, new_id
from .bodies import checked, text
from .http import PortsipCall, as_answered, collection, not_found, nothing

_FIELDS = {"number_prefix": text(1, 64), "description": text(0, 1024)}


async def listing(call: PortsipCall) -> Response:
    """GET /emergency_numbers."""
    return collection(call, [_answer(row) for row in _own(call)])


async def create(call: PortsipCall) -> Response:
    """POST /emergency_numbers: 200 and the id, where other resources answer 201."""
    body = checked(call.world, await call.body(), _FIELDS, ("number_prefix",))
    row = {"description": ""} | body | {"id": new_id(), "tenant_id": call.tenant_id}
    call.data["emergency_numbers"][row["id"]] = row
    call.world.store.changed()
    return JSONResponse({"id": row["id"]})


async def detail(call: PortsipCall) -> Response:
    """GET /emergency_numbers/{id}."""
    return JSONResponse(as_answered(call.world, _answer(_find(call))))


async def destroy(call: PortsipCall) -> Response:
    """POST /emergency_numbers/{id}/destroy: 204."""
    del call.data["emergency_numbers"][_find(call)["id"]]
    call.world.store.changed()
    return nothing(204)


def _own(call: PortsipCall) -> list[StoredRow]:
    rows = call.data["emergency_numbers"].values()
    return [row for row in rows if row["tenant_id"] == call.tenant_id]


def _find(call: PortsipCall) -> StoredRow:
    found = next((row for row in _own(call) if row["id"] == call.path("id")), None)
    if found is None:
        raise not_found("emergency number")
    return found


def _answer(row: StoredRow) -> StoredRow:
    return {name: row[name] for name in ("id", "number_prefix", "description")}
