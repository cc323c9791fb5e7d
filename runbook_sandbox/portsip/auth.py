"""Signing in and out, and whom a session acts for."""

from __future__ import annotations

import hmac

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..store import StoredRow
from ..world import World, world_of
from .http import (
    PortsipCall,
    PortsipError,
    actor_of,
    client_address,
    invalid,
    json_body,
    not_found,
    nothing,
    refuse_blocked,
)
from .sessions import ServedSession


async def sign_in(request: Request) -> Response:
    """POST /auth/sign_in: tokens, or the first half of a two-factor sign-in."""
    world = world_of(request)
    refuse_blocked(request, world)
    body = await json_body(request)
    username, password, domain = (body.get(name) for name in ("username", "password", "domain"))
    if not isinstance(username, str) or not 1 <= len(username) <= 64 or not isinstance(password, str):
        raise invalid("username and password are required.")
    if domain is not None and not isinstance(domain, str):
        raise invalid("domain must be a string.")
    tenant = _tenant(world, domain) if domain else None
    if not _right(world, username, password, tenant):
        settings = world.store.portsip["settings"]
        world.sessions.failed(
            client_address(request),
            allowed=settings["web_failed_auth_amount"],
            block_seconds=settings["web_blacklist_time_interval"],
        )
        status = int(world.switches["portsip.bad_credentials_status"])
        raise PortsipError(status, "UNAUTHORIZED", "The username or password is incorrect.")
    world.sessions.succeeded(client_address(request))
    home = tenant["id"] if tenant else None
    session = ServedSession(home=home, tenant_id=home, user=username)
    world.history.log(actor_of(request, session), "LOGIN", "LOGIN", username, home)
    two_factor = (
        tenant["enable_two_factor_authentication"]
        if tenant
        else world.switches["portsip.system_two_factor"] == "on"
    )
    if two_factor:
        return JSONResponse({"two_factor_enabled": True, "token": world.sessions.await_code(session)})
    return JSONResponse(world.sessions.issue(session, world.switches["portsip.expires_in"]))


async def send_otp(request: Request) -> Response:
    """POST /auth/send_otp: send the one-time code by e-mail."""
    body = await json_body(request)
    if not world_of(request).sessions.send_code(str(body.get("token"))):
        raise PortsipError(400, "UNKNOWN", "The token is not valid.")
    return nothing()


async def verify_otp(request: Request) -> Response:
    """POST /auth/verify_otp: tokens for the right code.

    The 200 body is undocumented; the sign-in's token shape is the likely one.
    """
    world = world_of(request)
    body = await json_body(request)
    session = world.sessions.verify_code(str(body.get("token")), str(body.get("code")))
    if session is None:
        raise PortsipError(400, "UNAUTHORIZED", "The code is incorrect.")
    return JSONResponse(world.sessions.issue(session, world.switches["portsip.expires_in"]))


async def refresh_token(request: Request) -> Response:
    """POST /auth/refresh_token: a full new pair; a bad one is answered 400 UNKNOWN (PortSIP's guide)."""
    world = world_of(request)
    body = await json_body(request)
    once = world.switches["portsip.refresh_token_single_use"]
    session = world.sessions.redeem(str(body.get("refresh_token")), single_use=once == "yes")
    if session is None:
        raise PortsipError(400, "UNKNOWN", "The refresh token is not valid.")
    if world.switches["portsip.refresh_keeps_scope"] == "no":
        session.tenant_id = session.home
    return JSONResponse(world.sessions.issue(session, world.switches["portsip.expires_in"]))


async def sign_out(call: PortsipCall) -> Response:
    """POST /auth/sign_out: 200 without a body."""
    call.world.sessions.end(call.session)
    return nothing()


async def user(call: PortsipCall) -> Response:
    """GET /auth/user: the role in the present scope."""
    return JSONResponse({"role": call.session.role, "password_verified": True, "password_force_reset": False})


async def switch(call: PortsipCall) -> Response:
    """POST /tenants/switch: change the scope of this session on the server's side.

    Source: PortSIP, release notes 22.0: the call no longer returns a new token.
    """
    if call.session.home is not None:
        raise PortsipError(403, "FORBIDDEN", "Only system administrators switch between tenants.")
    wanted = call.request.query_params.get("id")
    if not wanted:
        if call.world.switches["portsip.switch_without_id"] == "refused":
            raise invalid("id is required.")
        call.session.tenant_id = None
    elif wanted not in call.data["tenants"]:
        raise not_found("tenant")
    else:
        call.session.tenant_id = wanted
    return nothing()


def _tenant(world: World, domain: str) -> StoredRow:
    for tenant in world.store.portsip["tenants"].values():
        if tenant["domain"].lower() == domain.lower():
            return tenant
    raise PortsipError(404, "NOT_FOUND", "no tenant information found")


def _right(world: World, username: str, password: str, tenant: StoredRow | None) -> bool:
    wanted = world.credentials["portsip_tenant_password" if tenant else "portsip_admin_password"]
    same = hmac.compare_digest(password.encode(errors="replace"), wanted.encode())
    return username == "admin" and same and (tenant is None or tenant["enabled"])
