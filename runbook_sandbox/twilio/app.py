"""Twilio's APIs as one ASGI application."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route

from ..world import World
from . import events, numbers, parts, routes, trunks
from .http import Endpoint, TwilioError, authenticated, on_error, on_http_error
from .lists import ACLS, CREDENTIAL_LISTS, AccountLists, CredentialEntries, Entries, IpAddresses

_Table = dict[str, dict[str, Endpoint]]


def twilio_app(world: World, control: list[BaseRoute]) -> Starlette:
    """Return the application; ``control`` are the sandbox's own routes on the same port."""
    table = _trunking() | _account()
    table |= {"/v1/Events": {"GET": events.listing}, "/v1/Events/{sid}": {"GET": events.fetch}}
    for resource in (routes.TRUNKS, routes.PHONE_NUMBERS):
        table[f"/v2/{resource.part}/{{name}}"] = {"GET": resource.fetch, "POST": resource.update}
    served = [
        Route(
            path,
            _by_method(endpoints, of_account=path.endswith("/Accounts/{sid}.json")),
            methods=list(endpoints),
        )
        for path, endpoints in table.items()
    ]
    app = Starlette(
        routes=[*control, *served], exception_handlers={TwilioError: on_error, HTTPException: on_http_error}
    )
    app.state.world = world
    app.router.redirect_slashes = False
    return app


def _trunking() -> _Table:
    urls, phones = parts.OriginationUrls(), parts.PhoneNumbers()
    table: _Table = {
        "/v1/Trunks": {"GET": trunks.listing, "POST": trunks.create},
        "/v1/Trunks/{sid}": {"GET": trunks.fetch, "POST": trunks.update, "DELETE": trunks.delete},
        "/v1/Trunks/{trunk_sid}/Recording": {"GET": trunks.fetch_recording, "POST": trunks.update_recording},
        "/v1/Trunks/{trunk_sid}/OriginationUrls": {"GET": urls.listing, "POST": urls.create},
        "/v1/Trunks/{trunk_sid}/OriginationUrls/{sid}": {
            "GET": urls.fetch,
            "POST": urls.update,
            "DELETE": urls.delete,
        },
    }
    for part, resource in (
        ("PhoneNumbers", phones),
        ("IpAccessControlLists", parts.IP_ACCESS_CONTROL_LISTS),
        ("CredentialLists", parts.CREDENTIAL_LISTS),
    ):
        table[f"/v1/Trunks/{{trunk_sid}}/{part}"] = {"GET": resource.listing, "POST": resource.attach}
        table[f"/v1/Trunks/{{trunk_sid}}/{part}/{{sid}}"] = {"GET": resource.fetch, "DELETE": resource.detach}
    return table


def _account() -> _Table:
    base = "/2010-04-01/Accounts/{account_sid}"
    table: _Table = {
        "/2010-04-01/Accounts/{sid}.json": {"GET": numbers.account, "POST": numbers.account},
        f"{base}/AvailablePhoneNumbers/{{country}}/{{kind}}.json": {"GET": numbers.available},
        f"{base}/IncomingPhoneNumbers.json": {"GET": numbers.listing, "POST": numbers.buy},
        f"{base}/IncomingPhoneNumbers/{{sid}}.json": {
            "GET": numbers.fetch,
            "POST": numbers.update,
            "DELETE": numbers.release,
        },
    }
    table |= _lists(base, ACLS, IpAddresses(ACLS)) | _lists(
        base, CREDENTIAL_LISTS, CredentialEntries(CREDENTIAL_LISTS)
    )
    return table


def _lists(base: str, lists: AccountLists, entries: Entries) -> _Table:
    path = f"{base}/SIP/{lists.part}"
    inside = f"{path}/{{list_sid}}/{lists.entries_part}"
    return {
        f"{path}.json": {"GET": lists.listing, "POST": lists.create},
        f"{path}/{{sid}}.json": {"GET": lists.fetch, "POST": lists.update, "DELETE": lists.delete},
        f"{inside}.json": {"GET": entries.listing, "POST": entries.create},
        f"{inside}/{{sid}}.json": {"GET": entries.fetch, "POST": entries.update, "DELETE": entries.delete},
    }


def _by_method(endpoints: dict[str, Endpoint], *, of_account: bool):
    routes = {
        method: authenticated(endpoint, of_account=of_account) for method, endpoint in endpoints.items()
    }

    async def route(request):
        method = "GET" if request.method == "HEAD" else request.method
        return await routes[method](request)

    return route
