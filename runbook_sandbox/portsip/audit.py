"""The audit log: who changed what in the PBX, and who signed in."""

from __future__ import annotations

from starlette.responses import Response

from ..store import StoredRow
from .http import PortsipCall, collection, forbidden


async def listing(call: PortsipCall) -> Response:
    """GET /audit_logs: how far a role and a tenant's scope see is undocumented, hence the switches."""
    switches = call.world.switches
    if switches["portsip.audit_log"] == "forbidden":
        raise forbidden("The role does not allow to read audit logs.")
    every = call.tenant_id is None or switches["portsip.audit_scope"] == "all"
    rows = [row for row in call.world.history.audit if every or row["_tenant_id"] == call.tenant_id]
    if switches["portsip.audit_order"] == "newest":
        rows = rows[::-1]
    return collection(call, [_shown(row, switches["portsip.audit_states"] == "absent") for row in rows])


def _shown(row: StoredRow, is_bare: bool) -> StoredRow:
    shown = {name: value for name, value in row.items() if not name.startswith("_")}
    return shown | {"old_state": "", "new_state": ""} if is_bare else shown
