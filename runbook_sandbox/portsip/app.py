"""PortSIP's API as an ASGI application; base path ``/api``."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route

from ..world import World
from . import assignees, audit, auth, emergency, system, tenants, trunks
from .http import PortsipError, on_error, on_http_error, signed_in
from .rules import INBOUND, OUTBOUND, RuleRoutes

#: In every route by itself: a ``Mount`` of starlette's finds no path with a line feed in it.
BASE = "/api"


def portsip_app(world: World) -> Starlette:
    """Return the application; a create and a change both are POST, there is no PUT or DELETE."""
    inbound, outbound = RuleRoutes(INBOUND), RuleRoutes(OUTBOUND)
    open_routes = [
        Route(f"{BASE}/info", system.info, methods=["GET"]),
        Route(f"{BASE}/auth/sign_in", auth.sign_in, methods=["POST"]),
        Route(f"{BASE}/auth/send_otp", auth.send_otp, methods=["POST"]),
        Route(f"{BASE}/auth/verify_otp", auth.verify_otp, methods=["POST"]),
        Route(f"{BASE}/auth/refresh_token", auth.refresh_token, methods=["POST"]),
    ]
    table = {
        "/auth/sign_out": {"POST": auth.sign_out},
        "/auth/user": {"GET": auth.user},
        "/network": {"GET": system.network, "POST": system.update_network},
        "/admin/status": {"GET": system.status},
        "/admin/settings": {"GET": system.settings},
        "/transports": {"GET": system.transports},
        "/transports/{id}/status": {"GET": system.transport_status},
        "/tenants": {"GET": tenants.listing, "POST": tenants.create},
        "/tenants/switch": {"POST": auth.switch},
        "/tenants/{id}": {"GET": tenants.detail},
        "/tenant": {"GET": tenants.own, "POST": tenants.update_own},
        "/tenant/status": {"GET": tenants.own_status},
        "/providers": {"GET": trunks.listing, "POST": trunks.create},
        "/providers/export": {"GET": trunks.export},
        "/providers/{id}": {"GET": trunks.detail, "POST": trunks.update},
        "/providers/{id}/status": {"GET": trunks.status},
        "/providers/{id}/destroy": {"POST": trunks.destroy},
        "/providers/{id}/assignees": {"GET": assignees.listing},
        "/providers/{id}/assignees/{tenant_id}": {"GET": assignees.detail, "POST": assignees.assign},
        "/providers/{id}/assignees/{tenant_id}/destroy": {"POST": assignees.unassign},
        "/audit_logs": {"GET": audit.listing},
        "/emergency_numbers": {"GET": emergency.listing, "POST": emergency.create},
        "/emergency_numbers/{id}": {"GET": emergency.detail},
        "/emergency_numbers/{id}/destroy": {"POST": emergency.destroy},
    }
    for path, rules in (("/inbound_rules", inbound), ("/outbound_rules", outbound)):
        table[path] = {"GET": rules.listing, "POST": rules.create}
        if rules is inbound:
            table[f"{path}/export"] = {"GET": rules.export}
        table[f"{path}/{{id}}"] = {"GET": rules.detail, "POST": rules.update}
        table[f"{path}/{{id}}/destroy"] = {"POST": rules.destroy}
    routes = [
        Route(BASE + path, _by_method(path, endpoints), methods=list(endpoints))
        for path, endpoints in table.items()
    ]
    app = Starlette(
        routes=open_routes + routes,
        exception_handlers={PortsipError: on_error, HTTPException: on_http_error},
    )
    app.state.world = world
    app.router.redirect_slashes = False
    return app


def _by_method(path: str, endpoints: dict):
    routes = {method: signed_in(endpoint) for method, endpoint in endpoints.items()}

    async def route(request):
        method = "GET" if request.method == "HEAD" else request.method
        return await routes[method](request)

    route.__name__ = path
    return route
