"""The sandbox's own routes under ``/_sandbox/``: looking in, setting it up, stopping it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import wraps
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from . import patch, scale
from .portsip.dialling import dialled
from .world import World, world_of

#: Takes the body, an object or for some an array, and returns plain data.
Handler = Callable[[World, Request, Any], Any]


def routes() -> list[BaseRoute]:
    """Return the control routes."""
    table: dict[str, dict[str, Handler]] = {
        "health": {"GET": _health},
        "reset": {"POST": _reset},
        "requests": {"GET": _requests, "DELETE": _clear_requests},
        "state": {"GET": _state},
        "state/patch": {"POST": _patch},
        "switches": {"GET": _switches, "POST": _set_switches},
        "faults": {"GET": _faults, "POST": _add_fault, "DELETE": _clear_faults},
        "barriers": {"GET": _barriers, "POST": _add_barrier, "DELETE": _clear_barriers},
        "credentials": {"POST": _credentials},
        "sessions": {"GET": _sessions, "DELETE": _expire_sessions},
        "clock": {"POST": _clock},
        "dial": {"POST": _dial},
        "scale": {"POST": _scale},
        "timeline": {"GET": _timeline},
        "stop": {"POST": _stop},
    }
    return [
        Route(f"/_sandbox/{path}", _by_method(handlers), methods=list(handlers))
        for path, handlers in table.items()
    ]


def _by_method(handlers: dict[str, Handler]) -> Callable[[Request], Any]:
    wrapped = {method: _plain(handler) for method, handler in handlers.items()}

    async def route(request: Request) -> Response:
        return await wrapped["GET" if request.method == "HEAD" else request.method](request)

    return route


def _plain(handler: Handler) -> Callable[[Request], Any]:
    """Let a handler take and return plain data; what makes no sense is answered 400 with the reason."""

    @wraps(handler)
    async def route(request: Request) -> Response:
        world = world_of(request)
        world.touch()
        try:
            body = json.loads(await request.body() or b"{}")
            if not isinstance(body, (dict, list)):
                raise ValueError("the body must be an object")
            answer = handler(world, request, body)
        except (ValueError, TypeError, KeyError) as error:
            return JSONResponse({"error": f"{type(error).__name__}: {error}"}, 400)
        return JSONResponse(answer)

    return route


def _health(world: World, request: Request, body: Any) -> Any:
    return {"ok": True} | world.endpoints


def _dial(world: World, request: Request, body: dict[str, Any]) -> Any:
    """Say what the PBX does with a ``number`` that the extension ``caller`` of a tenant dials."""
    return dialled(world, body["domain"], body["number"], body.get("caller", ""))


def _reset(world: World, request: Request, body: dict[str, Any]) -> Any:
    """Go back to the demo data, or to a ``state`` that was read here earlier.

    ``keep`` may name switches, faults, requests, credentials.
    """
    world.reset(frozenset(body.get("keep", ())), body.get("state"))
    return {"ok": True}


def _requests(world: World, request: Request, body: Any) -> Any:
    """Give the request log; ``?after=SEQ`` only what came later."""
    after = int(request.query_params.get("after", "0"))
    return {"last_seq": world.log.last_seq, "requests": world.log.entries(after)}


def _clear_requests(world: World, request: Request, body: Any) -> Any:
    world.log.clear()
    return {"ok": True}


def _state(world: World, request: Request, body: Any) -> Any:
    portsip = world.store.portsip | {"one_time_codes": world.sessions.codes()}
    return {"version": world.store.version, "twilio": world.store.twilio, "portsip": portsip}


def _patch(world: World, request: Request, body: dict[str, Any] | list[dict[str, Any]]) -> Any:
    """Change data behind the API's back; a list of changes is looked at as one moment in the timeline."""
    changes = body if isinstance(body, list) else [body]
    keys = [key for change in changes for key in patch.apply_patch(world.store, change, world.history)]
    world.timeline.look("state/patch", None)
    return {"ok": True, "keys": keys}


def _switches(world: World, request: Request, body: Any) -> Any:
    return {"switches": world.switches.describe()}


def _set_switches(world: World, request: Request, body: dict[str, Any]) -> Any:
    world.switches.set(body)
    if body.get("twilio.read_lag_seconds"):
        world.store.lag_from_now()
    return world.switches.values()


def _faults(world: World, request: Request, body: Any) -> Any:
    return {"faults": world.faults.describe()}


def _add_fault(world: World, request: Request, body: dict[str, Any]) -> Any:
    """Set a fault; ``{"kind": "refused", "now": true, "vendor": …}`` closes the port at once."""
    if body.get("kind") == "refused" and body.get("now"):
        vendor, seconds = str(body["vendor"]), float(body.get("seconds", 0.3))
        if vendor not in ("twilio", "portsip"):
            raise ValueError(f"unknown vendor {vendor!r}; known: twilio, portsip")
        # a little later, so that this answer gets out first
        asyncio.get_running_loop().call_later(0.05, world.refuse, vendor, seconds)
        return {"ok": True}
    return world.faults.add(body)


def _clear_faults(world: World, request: Request, body: Any) -> Any:
    world.faults.clear()
    return {"ok": True}


def _barriers(world: World, request: Request, body: Any) -> Any:
    return {"barriers": world.faults.describe_barriers()}


def _add_barrier(world: World, request: Request, body: dict[str, Any]) -> Any:
    return world.faults.add_barrier(body)


def _clear_barriers(world: World, request: Request, body: Any) -> Any:
    world.faults.clear_barriers()
    return {"ok": True}


def _credentials(world: World, request: Request, body: dict[str, Any]) -> Any:
    """Replace secrets that are accepted; a reset goes back to those of the files."""
    unknown = set(body) - set(world.own_credentials)
    if unknown or not all(isinstance(value, str) and value for value in body.values()):
        raise ValueError(f"known secrets: {', '.join(world.own_credentials)}; each a string")
    world.credentials |= body
    return {"ok": True}


def _sessions(world: World, request: Request, body: Any) -> Any:
    return {"alive": world.sessions.count()}


def _expire_sessions(world: World, request: Request, body: Any) -> Any:
    return {"expired": world.sessions.expire_all()}


def _clock(world: World, request: Request, body: dict[str, Any]) -> Any:
    """Move the sandbox's clock forward, for expiry, lockout and lags."""
    seconds = float(body["advance"])
    if not 0 <= seconds <= 10**8:
        raise ValueError("advance must be a number of seconds from 0 to 100000000")
    world.store.clock.advance(seconds)
    return {"now": world.store.clock.now().isoformat()}


def _scale(world: World, request: Request, body: dict[str, Any]) -> Any:
    sizes = scale.grow(world.store, body)
    world.timeline.look("scale", None)
    return sizes


def _timeline(world: World, request: Request, body: Any) -> Any:
    """Give the changes of the numbers' routes; ``?number=+1…`` of one number."""
    return {"changes": world.timeline.changes(request.query_params.get("number"))}


def _stop(world: World, request: Request, body: Any) -> Any:
    # a little later, so that this answer gets out first
    asyncio.get_running_loop().call_later(0.05, world.stop)
    return {"ok": True}
