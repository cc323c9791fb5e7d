"""What Twilio's routes have in common: credentials, errors, form parameters, dates and pages."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..demo import TWILIO_CREDENTIALS
from ..history import RESOURCE_TYPES, Actor, snapshot
from ..store import StoredRow, associations, iso, new_sid
from ..world import World, world_of

DEFAULT_PAGE, MAX_PAGE = 50, 1000
#: What a message leaves out of a path.


class TwilioError(Exception):
    """An answer with Twilio's error body (Twilio, "Twilio's Response"): code, message, more_info, status."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def missing(request: Request) -> TwilioError:
    """Return 20404: 2010-04-01 names the whole path, with ``.json``; the others leave their version out."""
    path = re.sub(r"^/v[12](?=/)", "", request.url.path)
    return TwilioError(404, 20404, f"The requested resource {path} was not found")


def bad(message: str) -> TwilioError:
    """Return 20001, the error for a parameter that Twilio cannot take."""
    return TwilioError(400, 20001, message)


@dataclass
class TwilioCall:
    """An authenticated request; ``data`` are the tables of the account that it acts on."""

    request: Request
    world: World
    form: dict[str, str]
    data: dict[str, Any]

    def seen(self) -> dict[str, Any]:
        """Return what is associated with the account's trunks as this reader sees it, perhaps late."""
        store = self.world.store
        # only the demo account's readers lag
        if self.data is not store.twilio:
            return associations(self.data)
        return store.seen(self.switch("read_lag_seconds"))

    def switch(self, name: str) -> Any:
        """Return the setting of one of Twilio's switches."""
        return self.world.switches[f"twilio.{name}"]

    def path(self, name: str) -> str:
        """Return a part of the path."""
        return str(self.request.path_params[name])

    def now(self) -> str:
        """Return the present time as it is stored."""
        return iso(self.world.store.clock.now())

    def error(self, code: int, message: str) -> TwilioError:
        """Return one of the errors 21235 to 21255, whose HTTP status is a switch."""
        return TwilioError(int(self.switch("error_status_212xx")), code, message)

    def find(self, table: str, sid: str, **belongs: str) -> StoredRow:
        """Return a row, or Twilio's 404."""
        row = self.data[table].get(sid)
        if row is None or any(row.get(name) != value for name, value in belongs.items()):
            raise self.missing()
        return row

    def missing(self) -> TwilioError:
        """Return 20404 for the requested path."""
        return missing(self.request)

    def need(self, *names: str) -> None:
        """Refuse a form in which a required parameter is missing or empty."""
        for name in names:
            if not self.form.get(name):
                raise bad(f"Missing required parameter {name} in the post body")

    def only(self, *known: str) -> None:
        """Refuse parameters that the operation does not have, if the switch says so."""
        unknown = [name for name in self.form if name not in known]
        if unknown and self.switch("unknown_parameters") == "refused":
            raise bad(f"Invalid parameter: {unknown[0]}")

    def done(self) -> None:
        """Note that the account was changed."""
        self.world.store.changed()


Endpoint = Callable[[TwilioCall], Any]


def authenticated(endpoint: Endpoint, *, of_account: bool = False) -> Callable[[Request], Any]:
    """Make a route of an endpoint that needs credentials.

    They act on the account of the path, if it is theirs or a subaccount of theirs; where the path has
    none, on their own. Source: Twilio, "REST API: Subaccounts".

    Parameters
    ----------
    of_account
        The endpoint is the account itself, which a standard API key may not use.
    """

    async def route(request: Request) -> Response:
        began = time.monotonic()
        world = world_of(request)
        username = _username(request, world)
        if username.startswith("SK") and of_account and world.switches["twilio.api_key"] == "standard":
            raise _unauthorized()
        own, _ = TWILIO_CREDENTIALS[username]
        acts_on = request.path_params["sid"] if of_account else request.path_params.get("account_sid", own)
        data = world.store.account(acts_on)
        if data is None or own not in (acts_on, data["account"]["owner_account_sid"]):
            if world.switches["twilio.foreign_account"] == "401":
                raise _unauthorized()
            raise missing(request)
        call = TwilioCall(request, world, await _form(request), data)
        response = await _with_history(call, endpoint, own)
        response.headers["Twilio-Request-Duration"] = f"{time.monotonic() - began:.3f}"
        return _stamped(request, response)

    return route


async def _with_history(call: TwilioCall, endpoint: Endpoint, actor_sid: str) -> Response:
    """Let an endpoint answer; what it changes is an event by the account whose credentials were used."""
    if call.request.method == "GET":
        return await endpoint(call)
    before = snapshot(call.data, RESOURCE_TYPES)
    response = await endpoint(call)
    ip = call.request.client.host if call.request.client else None
    actor = Actor(sid=actor_sid, ip=ip)
    after = snapshot(call.data, RESOURCE_TYPES)
    call.world.history.at_twilio(call.data["account"]["sid"], before, after, actor)
    return response


def _username(request: Request, world: World) -> str:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    try:
        username, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise _unauthorized() from None
    _, secret = TWILIO_CREDENTIALS.get(username, ("", ""))
    wanted = world.credentials.get(secret)
    if (
        scheme.lower() != "basic"
        or wanted is None
        or not hmac.compare_digest(password.encode(), wanted.encode())
    ):
        raise _unauthorized()
    return username


def _unauthorized() -> TwilioError:
    return TwilioError(401, 20003, "Authenticate")


async def _form(request: Request) -> dict[str, str]:
    """Return the form in a request's body.

    Anything else is 19056, also JSON or XML that is declared as a form (Twilio's error dictionary).
    """
    body = await request.body()
    if not body:
        return {}
    declared = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    if not declared or body.lstrip()[:1] in (b"{", b"[", b"<"):
        raise TwilioError(400, 19056, "Input request content type is invalid")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=1000)
    except ValueError:
        raise bad("The request body cannot be read") from None
    return dict(pairs)


def error_body(status: int, code: int, message: str) -> dict[str, Any]:
    """Return Twilio's error body; that of a 401 says more under ``detail``."""
    detail = {"detail": "Your AccountSid or AuthToken was incorrect."} if status == 401 else {}
    return detail | {
        "code": code,
        "message": message,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }


async def on_error(request: Request, error: Exception) -> Response:
    """Answer with the vendor's error body."""
    assert isinstance(error, TwilioError)
    response = JSONResponse(error_body(error.status, error.code, error.message), error.status)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="Twilio API"'
    return _stamped(request, response)


async def on_http_error(request: Request, error: Exception) -> Response:
    """Answer for paths and methods that do not exist."""
    if getattr(error, "status_code", 404) == 405:
        return await on_error(request, TwilioError(405, 20004, "Method not allowed"))
    return await on_error(request, missing(request))


def _stamped(request: Request, response: Response) -> Response:
    path = request.url.path
    products = {"/v1/Events": "monitor", "/v1/": "trunking", "/v2/": "routes"}
    product = next((product for start, product in products.items() if path.startswith(start)), "api")
    response.headers["Twilio-Request-Id"] = new_sid("RQ")
    response.headers["X-Home-Region"] = "us1"
    response.headers["X-API-Domain"] = f"{product}.twilio.com"
    return response


def boolean(call: TwilioCall, name: str, default: bool) -> bool:
    """Return a boolean parameter, written ``true`` or ``false``."""
    text = call.form.get(name)
    if text is None:
        return default
    if text.lower() not in ("true", "false"):
        raise bad(f"Invalid parameter: {name} must be true or false")
    return text.lower() == "true"


def integer(call: TwilioCall, name: str, default: int, low: int, high: int) -> int:
    """Return an integer parameter within its bounds."""
    text = call.form.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"-?\d{1,9}", text, re.ASCII) or not low <= int(text) <= high:
        raise bad(f"Invalid parameter: {name} must be an integer from {low} to {high}")
    return int(text)


def choice(call: TwilioCall, name: str, default: Any, *values: str) -> Any:
    """Return a parameter that must be one of some words; anything else is 20001."""
    value = call.form.get(name)
    if value is None:
        return default
    if value not in values:
        raise bad(f"Invalid parameter: {name} must be one of {', '.join(values)}")
    return value


def rfc2822(stored: str) -> str:
    """Return a stored date as 2010-04-01 writes it: ``Wed, 11 Sep 2013 17:51:38 +0000``."""
    return format_datetime(datetime.fromisoformat(stored))


def base_url(request: Request) -> str:
    """Return scheme and host as the client called them, which absolute links carry."""
    return f"{request.url.scheme}://{request.headers.get('host', request.url.netloc)}"


def page_v1(call: TwilioCall, key: str, rows: list[StoredRow]) -> Response:
    """Answer with a page and absolute links, as trunking v1 does."""
    number, size = _page(call)
    here = base_url(call.request) + call.request.url.path

    def link(page: int) -> str:
        token = {"PageToken": f"PB{page}"} if page else {}
        return f"{here}?{urlencode({'PageSize': size, 'Page': page} | token)}"

    meta = {
        "page": number,
        "page_size": size,
        "first_page_url": link(0),
        "previous_page_url": link(number - 1) if number else None,
        "url": link(number),
        "next_page_url": link(number + 1) if (number + 1) * size < len(rows) else None,
        "key": key,
    }
    return JSONResponse({key: rows[number * size : (number + 1) * size], "meta": meta})


def page_2010(
    call: TwilioCall,
    key: str,
    rows: list[StoredRow],
    answer: Callable[[StoredRow], StoredRow] = lambda row: row,
) -> Response:
    """Answer with a page and relative links, as 2010-04-01 does; ``answer`` makes what is shown of a row."""
    number, size = _page(call)
    kept = {k: v for k, v in call.request.query_params.items() if k not in ("Page", "PageSize", "PageToken")}

    def link(page: int) -> str:
        token = {"PageToken": f"PA{page}"} if page else {}
        return f"{call.request.url.path}?{urlencode(kept | {'PageSize': size, 'Page': page} | token)}"

    shown = rows[number * size : (number + 1) * size]
    meta = {
        "page": number,
        "page_size": size,
        "start": number * size,
        "end": number * size + max(len(shown) - 1, 0),
        "uri": link(number),
        "first_page_uri": link(0),
        "previous_page_uri": link(number - 1) if number else None,
        "next_page_uri": link(number + 1) if (number + 1) * size < len(rows) else None,
    }
    return JSONResponse({key: [answer(row) for row in shown]} | meta)


def _page(call: TwilioCall) -> tuple[int, int]:
    query = call.request.query_params
    size, number = query.get("PageSize", str(DEFAULT_PAGE)), query.get("Page", "0")
    if not re.fullmatch(r"\d{1,9}", size, re.ASCII) or int(size) < 1:
        raise bad("Invalid parameter: PageSize")
    if int(size) > MAX_PAGE:
        raise TwilioError(400, 20007, "Page size too large")
    if not re.fullmatch(r"\d{1,9}", number, re.ASCII):
        raise TwilioError(400, 20006, "Invalid page")
    return int(number), int(size)
