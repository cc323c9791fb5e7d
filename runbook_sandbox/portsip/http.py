"""What PortSIP's routes have in common: errors, bodies, scope and collections."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..history import OBJECT_TYPES, Actor, snapshot
from ..store import StoredRow, iso_micro
from ..world import World, world_of
from .filters import FilterError, select
from .sessions import ServedSession


class PortsipError(Exception):
    """An answer with an ``errors`` body (PortSIP, OpenAPI document: "Errors")."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def invalid(message: str) -> PortsipError:
    """Return the refusal of a value; VALIDATE_FAILED is one of the two documented codes."""
    return PortsipError(400, "VALIDATE_FAILED", message)


def not_found(what: str, status: int = 404) -> PortsipError:
    """Return the answer for an id that is not there in the session's scope."""
    return PortsipError(status, "NOT_FOUND", f"The {what} was not found.")


def forbidden(message: str, status: int = 403) -> PortsipError:
    """Return the refusal of something that the session's scope may not do."""
    return PortsipError(status, "FORBIDDEN", message)


@dataclass
class PortsipCall:
    """A request of a signed-in session."""

    request: Request
    world: World
    session: ServedSession

    @property
    def data(self) -> dict[str, Any]:
        """The PBX's tables."""
        return self.world.store.portsip

    @property
    def tenant_id(self) -> str | None:
        """The tenant that the session acts for; ``None`` in system scope."""
        return self.session.tenant_id

    def path(self, name: str) -> str:
        """Return a part of the path."""
        return str(self.request.path_params[name])

    def need_system(self, refusal: int = 403) -> None:
        """Refuse a session that acts for a tenant with the status that is documented."""
        if self.tenant_id is not None:
            raise forbidden("This is for system administrators only.", refusal)

    def need_tenant(self, refusal: int = 404) -> str:
        """Return the tenant; refuse a session in system scope with the status that is documented."""
        if self.tenant_id is None or self.tenant_id not in self.data["tenants"]:
            raise PortsipError(refusal, "NOT_FOUND", "no tenant information found")
        return self.tenant_id

    async def body(self) -> StoredRow:
        """Return the JSON body; refuse anything that is not an object."""
        return await json_body(self.request)


async def json_body(request: Request) -> StoredRow:
    """Return a request's JSON object."""
    try:
        content = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise invalid("The request body is not JSON.") from None
    if not isinstance(content, dict):
        raise invalid("The request body is not an object.")
    return content


Endpoint = Callable[[PortsipCall], Any]


def signed_in(endpoint: Endpoint) -> Callable[[Request], Any]:
    """Make a route of an endpoint that needs a bearer token."""

    @wraps(endpoint)
    async def route(request: Request) -> Response:
        world = world_of(request)
        if world.switches["portsip.lockout_scope"] == "all":
            refuse_blocked(request, world)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        session = world.sessions.find(token.strip()) if scheme.lower() == "bearer" else None
        if session is None:
            raise PortsipError(401, "UNAUTHORIZED", "The access token is missing, wrong or expired.")
        return await _with_history(PortsipCall(request, world, session), endpoint)

    return route


async def _with_history(call: PortsipCall, endpoint: Endpoint) -> Response:
    """Let an endpoint answer; what it changes is in the audit log."""
    of_a_session = call.request.url.path.endswith(("/auth/sign_out", "/tenants/switch"))
    if call.request.method == "GET" or of_a_session:
        return await endpoint(call)
    before = snapshot(call.data, OBJECT_TYPES)
    response = await endpoint(call)
    after = snapshot(call.data, OBJECT_TYPES)
    call.world.history.at_portsip(before, after, actor_of(call.request, call.session))
    return response


def actor_of(request: Request, session: ServedSession) -> Actor:
    """Return who acts in a session."""
    return Actor(name=session.user, source="API", ip=client_address(request), tenant_id=session.home)


def refuse_blocked(request: Request, world: World) -> None:
    """Refuse an address that is locked out (PortSIP, "Troubleshooting": DENIED until a date)."""
    left = world.sessions.blocked_until(client_address(request))
    if left is not None:
        status = int(world.switches["portsip.lockout_status"])
        until = iso_micro(world.store.clock.now() + timedelta(seconds=left))
        raise PortsipError(status, "DENIED", f"The IP address is blocked until {until}.")


def client_address(request: Request) -> str:
    """Return the address that a request came from."""
    return request.client.host if request.client else "unknown"


async def on_error(request: Request, error: Exception) -> Response:
    """Answer with the vendor's error body."""
    assert isinstance(error, PortsipError)
    return JSONResponse({"errors": [{"code": error.code, "message": error.message}]}, error.status)


async def on_http_error(request: Request, error: Exception) -> Response:
    """Answer for paths and methods that do not exist."""
    status = getattr(error, "status_code", 404)
    code, message = ("NOT_FOUND", "Not found.") if status == 404 else ("UNKNOWN", "Method not allowed.")
    return JSONResponse({"errors": [{"code": code, "message": message}]}, status)


def collection(call: PortsipCall, rows: Iterable[StoredRow]) -> Response:
    """Answer with a page of a collection."""
    try:
        count, page = select(
            list(rows),
            dict(call.request.query_params),
            filter_works=call.world.switches["portsip.filter"] == "works",
        )
    except FilterError as error:
        raise invalid(str(error)) from None
    return JSONResponse({"count": count, "items": [as_answered(call.world, row) for row in page]})


def as_answered(world: World, row: StoredRow) -> StoredRow:
    """Return a row as it is answered, with unset texts as the switch says."""
    unset = world.switches["portsip.unset_text"]
    if unset == "empty":
        return row
    if unset == "null":
        return {k: None if v == "" else v for k, v in row.items()}
    return {k: v for k, v in row.items() if v != ""}


def created(id_: str) -> Response:
    """Answer to a create: 201 and the id."""
    return JSONResponse({"id": id_}, 201)


def nothing(status: int = 200) -> Response:
    """Answer without a body."""
    return Response(status_code=status)
