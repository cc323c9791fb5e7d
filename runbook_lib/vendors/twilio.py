"""Twilio, through the official SDK on top of our own HTTP client.

The SDK builds requests and reads answers; our client decides which host they go to, adds time
limits and retries, and sends writes only through the journal. Twilio's errors are raised as
``VendorError`` from inside the SDK call, with Twilio's code, its meaning and what to do next.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Collection
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
from pydantic_core import to_jsonable_python
from twilio.base.version import Version
from twilio.http import HttpClient
from twilio.http.response import Response
from twilio.rest import Client
from twilio.rest.api.v2010 import V2010
from twilio.rest.trunking.v1 import V1

from ..errors import AccountError, OutcomeUnknownError, UnreachableError, VendorError
from ..records.footprint import as_form
from .account import AccountCheck
from .transport import RequestKind, Transport

_CREDENTIAL_RULES = (
    "a password needs at least 12 characters with upper and lower case and a digit; a user name, at most 32"
)

#: What Twilio's codes mean for this runbook and what to do next. Source: Twilio's error dictionary
#: (our wording). The code decides, not the HTTP status, which Twilio does not document for these.
#: If a code has several meanings, all of them are given. "It already exists" is not among them
#: for writes, because the section reads the state again before it shows an error.
MEANINGS: dict[int, tuple[str, str]] = {
    20001: (
        "a parameter is missing, is unknown to Twilio, or has a value that Twilio does not accept",
        "correct the parameter that the message names",
    ),
    20003: (
        "Twilio refuses the credentials, in general or for this request (a standard API key, another Region)",
        "check account SID, auth token or API key (a main one), and the Region",
    ),
    20004: (
        "Twilio does not allow this request, in general or for these credentials",
        "use the account's auth token or a main API key",
    ),
    20162: ("somebody else changed it at the same moment", "run the section again"),
    20404: (
        "it does not exist (any longer) in this account and Region, or the credentials are another account's",
        "run the section again",
    ),
    20409: ("something else is using or changing it at the same moment", "run the section again"),
    20429: ("too many requests at the same time in this account", "run the section again in a minute"),
    21235: (
        "the access list's name or address is already used, or is not valid",
        "choose another name, or delete the duplicate; an address must be IPv4",
    ),
    21236: (
        "something still uses the IP access control list, or it has addresses",
        "detach it everywhere first",
    ),
    21237: ("the access list is full (100 addresses)", "remove addresses that are not needed"),
    21239: (
        "the account is full (100 credential lists)",
        "remove lists that nothing uses, or use another account",
    ),
    21240: (
        "the credential list's name is taken or malformed, or Twilio refuses the user name or the password",
        "choose another list name; " + _CREDENTIAL_RULES,
    ),
    21241: ("something still uses the credential list, or it has users", "detach it everywhere first"),
    21242: ("the credential list is full (1,000 users)", "use another list"),
    21243: ("Twilio refuses the user name or the password", _CREDENTIAL_RULES),
    21244: ("the account is full (100 trunks)", "use another Twilio account of the site"),
    21245: (
        "Twilio refuses a setting of the trunk (a termination URI that is malformed or taken),"
        " or what was added to the trunk already exists",
        "run the section again, then correct the parameter",
    ),
    21247: (
        "the sub-domain's parent is missing or belongs to somebody else, or this domain has sub-domains",
        "use a dash instead of a dot; delete the trunks of the sub-domains first",
    ),
    21248: (
        "another trunk, or one that was just deleted, has this termination URI",
        "choose another termination label; after a retirement, wait and run it again",
    ),
    21249: ("the trunk is full (10 origination URIs)", "remove URIs that are not needed"),
    21255: ("the account is full (1,000 IP access control lists)", "remove lists that nothing uses"),
    21634: ("a number of the trunk has emergency calling", "remove the number's emergency address first"),
}

#: The largest page that Twilio's lists have; the default is 50.
PAGE_SIZE = 1000
#: The product whose API has paths that begin so; the others are of the 2010-04-01 API.
_PRODUCTS = {"/v1/": "trunking", "/v2/": "routes"}
#: As many events as a query gives at most. Source: Twilio, "Monitor events".
MOST_EVENTS = 10_000
#: How Twilio refuses what a key cannot read. Which of them applies to another account is not documented.
_NOT_FOR_THIS_KEY = frozenset({401, 403, 404})


class _WholePages(Version):
    """A version of one of Twilio's APIs whose lists are read in the largest pages that there are."""

    def read_limits(self, limit: int | None = None, page_size: int | None = None) -> dict[str, object]:
        return super().read_limits(limit, page_size or PAGE_SIZE)


class _Api(_WholePages, V2010):
    pass


class _Trunking(_WholePages, V1):
    pass


class Twilio:
    """One Twilio account, through the SDK; lists come whole, whatever the pages.

    Parameters
    ----------
    transport
        The HTTP seam; closed by its owner.
    account_sid
        The account (or subaccount) in which everything is created.
    username, password
        ``AC…`` and the auth token, or an API key's ``SK…`` and its secret.
    hosts
        Base URL by product: ``"api"``, ``"trunking"``, ``"routes"`` and ``"monitor"``.
    region
        The Region that these hosts are in.
    reads_whole
        Whether this client serves many tenants: the account's collections are asked for without a filter,
        and once.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        account_sid: str,
        username: str,
        password: str,
        hosts: dict[str, str],
        region: str = "us1",
        reads_whole: bool = False,
    ) -> None:
        self.account_sid = account_sid
        self.region = region
        self._has_key = username != account_sid
        self._check = AccountCheck(account_sid, username, transport.journal)
        self._was_asked, self._proving = False, threading.Lock()
        self._routes_answer = True
        self.reads_whole = reads_whole
        self._kept: dict[str, Any] = {}
        self._keeping = threading.RLock()
        # A non-empty `environment` keeps the SDK from reading TWILIO_EDGE and TWILIO_REGION.
        self.sdk = Client(
            username,
            password,
            account_sid,
            http_client=_HttpClient(transport, hosts, self._check),
            environment={"TWILIO_EDGE": ""},
        )

    @property
    def account(self) -> Any:
        """The account's part of the 2010-04-01 API (SDK object)."""
        return _Api(self.sdk.api).accounts(self.account_sid)

    @property
    def trunks(self) -> Any:
        """The trunks of the trunking API (SDK object)."""
        return _Trunking(self.sdk.trunking).trunks

    def kept(self, name: str, read: Callable[[], Any]) -> Any:
        """Return what ``read`` returns; if this serves many tenants, it is called once for each name."""
        if not self.reads_whole:
            return read()
        with self._keeping:
            if name not in self._kept:
                self._kept[name] = read()
            return self._kept[name]

    def all_trunks(self) -> list[Any]:
        """Return the account's trunks (at most 100: Twilio's limit)."""
        return self.kept("trunks", self.trunks.list)

    def prove_account(self) -> bool:
        """Check, as far as possible, that the credentials act on the site's account; return whether they do.

        For an API key, the answer to the trunk list shows it, or else the accounts that the key can
        read. For an account without a trunk and a key that cannot read accounts, the question stays open.

        Raises ``AccountError`` for credentials of another account.
        """
        with self._proving:  # sections that read side by side wait for the answer
            if not self._check.proven and not self._was_asked:
                self._was_asked = True
                self._request("GET", "/v1/Trunks?PageSize=1")
                if not self._check.proven:
                    self._ask_for_accounts()
        return self._check.proven

    def _ask_for_accounts(self) -> None:
        itself = self.read_account()
        if itself is None:
            # A standard key of the account, or of its main account, may still read its numbers.
            if (
                self._permitted(f"{self._account_path(self.account_sid, '/IncomingPhoneNumbers')}?PageSize=1")
                is None
            ):
                self._check.refuse_unreadable()
            return
        owner = itself.get("owner_account_sid")
        if not owner:
            return
        # Only a main account itself can read it; its subaccounts cannot.
        if owner != self.account_sid and self._permitted(self._account_path(owner)) is not None:
            self._check.refuse_credentials_of(owner)
        self._check.proven = True

    def read_account(self) -> dict[str, Any] | None:
        """Return Twilio's description of the account; ``None`` for an API key that cannot read it."""
        return self._permitted(self._account_path(self.account_sid))

    def _permitted(self, path: str) -> dict[str, Any] | None:
        """Return what is at a path; ``None`` where it is refused to an API key."""
        try:
            return json.loads(self._request("GET", path).text)
        except VendorError as error:
            if not self._has_key or error.status not in _NOT_FOR_THIS_KEY:
                raise
            return None

    @staticmethod
    def _account_path(sid: str, part: str = "") -> str:
        return f"/2010-04-01/Accounts/{sid}{part}.json"

    def voice_region(self, domain: str) -> str | None:
        """Return the Region that serves a trunk's calls; empty if none is set, ``None`` if unknown."""
        return self._voice_region(f"/v2/Trunks/{domain}")

    def voice_region_of_number(self, number: str) -> str | None:
        """Return the Region that serves calls to a number (+E.164); as ``voice_region``."""
        return self._voice_region(f"/v2/PhoneNumbers/{number}")

    def _voice_region(self, path: str) -> str | None:
        """Return the Region that Routes has at a path.

        Nothing depends on it, so credentials that cannot read it, and a host that a firewall blocks,
        are not errors.
        """
        if not self._routes_answer:
            return None
        try:
            return (self.read(path) or {}).get("voice_region") or ""
        except AccountError:
            raise
        except VendorError as error:
            self._routes_answer = not isinstance(error, UnreachableError)
            return None

    def number_path(self, sid: str) -> str:
        """Return the path of an incoming number in the API."""
        return f"/2010-04-01/Accounts/{self.account_sid}/IncomingPhoneNumbers/{sid}.json"

    def read(self, path: str) -> dict[str, Any] | None:
        """Return Twilio's fields of the resource at a path of its API; ``None`` if there is none."""
        try:
            return json.loads(self._request("GET", path).text)
        except VendorError as error:
            if error.status != httpx.codes.NOT_FOUND:
                raise
            return None

    def entries(self, path: str) -> list[dict[str, Any]]:
        """Return the resources of a collection, page after page; none if the collection does not exist."""
        found: list[dict[str, Any]] = []
        following: str | None = f"{path}?PageSize={PAGE_SIZE}"
        while following:
            page = self.read(following) or {}
            found += next((part for part in page.values() if isinstance(part, list)), [])
            # Absolute in the trunking API, below "meta"; relative in the 2010-04-01 API.
            link = page.get("next_page_uri") or page.get("meta", {}).get("next_page_url") or ""
            following = urlunsplit(("", "", *urlsplit(link)[2:4], ""))
        return found

    def write(self, path: str, fields: dict[str, Any]) -> None:
        """Send fields, under the names of Twilio's answers, to a resource or a collection.

        An unset one is cleared, by an empty text (Twilio, REST API).
        """
        form = {
            "".join(word.capitalize() for word in name.split("_")): as_form(value)
            for name, value in fields.items()
        }
        self._request("POST", path, data=form)

    def remove(self, path: str) -> None:
        """Delete the resource at a path."""
        self._request("DELETE", path)

    def _request(self, method: str, path: str, **content: Any) -> Any:
        product = _PRODUCTS.get(path[:4], "api")
        return self.sdk.request(method, f"https://{product}.twilio.com{path}", **content)

    def numbers_like(self, numbers: Collection[str]) -> list[Any]:
        """Return the incoming numbers that begin as all of these (+E.164) do; one request per 1,000.

        A tenant's numbers mostly have their first digits in common, so one request with these finds
        all of them where single look-ups would take one each. Source: Twilio, IncomingPhoneNumber
        resource (``PhoneNumber`` accepts partial numbers). If that misses one, all are read: a
        number must not count as missing because the filter works differently.
        """
        if not numbers:
            return []
        if self.reads_whole:
            by_number = self.kept("by number", lambda: _grouped(self.all_numbers(), "phone_number"))
            return [found for number in dict.fromkeys(numbers) for found in by_number.get(number, ())]
        common = os.path.commonprefix(list(numbers))  # noqa: RUF071 - digits, not paths
        found = self.account.incoming_phone_numbers.list(phone_number=common)
        if not set(numbers) <= {one.phone_number for one in found}:
            found = self.all_numbers()
        return [one for one in found if one.phone_number.startswith(common)]

    def all_numbers(self) -> list[Any]:
        """Return every incoming number of the account; one request per 1,000."""
        return self.kept("numbers", self.account.incoming_phone_numbers.list)

    def numbers_by_trunk(self) -> dict[str, list[Any]]:
        """Return the account's numbers by the SID of the trunk that they are on."""
        return self.kept("by trunk", lambda: _grouped(self.all_numbers(), "trunk_sid"))

    def events(self, resource_sid: str | None = None) -> list[Any]:
        """Return who changed what in the account (SDK objects), of one resource if given; 30 days back."""
        narrowed = {"resource_sid": resource_sid} if resource_sid else {}
        monitor = self.sdk.monitor.v1.events
        return monitor.list(limit=MOST_EVENTS, page_size=PAGE_SIZE, **narrowed)


def _grouped(resources: list[Any], name: str) -> dict[str, list[Any]]:
    """Resources (SDK objects) by one of their fields."""
    groups: dict[str, list[Any]] = {}
    for resource in resources:
        groups.setdefault(getattr(resource, name), []).append(resource)
    return groups


def as_read(resource: Any) -> dict[str, Any]:
    """Return Twilio's fields of a resource (SDK object) as plain data, under the API's names."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else to_jsonable_python(value)
        for name, value in vars(resource).items()
        if not name.startswith("_")
    }


def read_date(text: str) -> datetime:
    """Return a time of Twilio's answers: ISO 8601 in the trunking API, RFC 2822 in the 2010-04-01 API."""
    return datetime.fromisoformat(text) if text[:1].isdigit() else parsedate_to_datetime(text)


#: Twilio's demo answers a new number until it is set up. Source: Twilio, IncomingPhoneNumber resource.
DEMO_HOST = "demo.twilio.com"


def serves_something(number: Any) -> bool:
    """Return whether calls to a number (SDK object) reach something today."""
    if number.trunk_sid or number.voice_application_sid:
        return True
    return bool(number.voice_url) and urlsplit(number.voice_url).hostname != DEMO_HOST


def live_hosts(region: str, edge: str) -> dict[str, str]:
    """Return the base URLs of Twilio's service for a Region and an edge.

    Source: Twilio, "Global infrastructure" (host names are product.edge.region.twilio.com). Routes and
    events are for all Regions and have one host each (Twilio's OpenAPI documents of routes v2, monitor v1).
    """
    hosts = {product: f"https://{product}.{edge}.{region}.twilio.com" for product in ("api", "trunking")}
    return hosts | {product: f"https://{product}.twilio.com" for product in ("routes", "monitor")}


class _HttpClient(HttpClient):
    def __init__(self, transport: Transport, hosts: dict[str, str], check: AccountCheck) -> None:
        super().__init__(None, False, None)
        self._transport = transport
        self._hosts = hosts
        self._check = check

    def request(
        self,
        method: str,
        uri: str,
        params: dict[str, object] | None = None,
        data: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,
        allow_redirects: bool = False,
    ) -> Response:
        request = self._transport.build(
            method,
            self._at_our_host(uri),
            params={name: value for name, value in (params or {}).items() if value is not None} or None,
            data=data or None,
            headers={
                name: value for name, value in (headers or {}).items() if name != "Content-Type" or data
            },
        )
        if auth:
            request = next(httpx.BasicAuth(*auth).auth_flow(request))
        kind: RequestKind = "read" if method.upper() == "GET" else "write"
        response = self._transport.send(
            request,
            kind,
            result=lambda body: body.get("sid") if body else None,
            scope=self._check.account_sid,
        )
        self._check.look_at(request, response)
        if response.status_code >= httpx.codes.BAD_REQUEST:
            raise _error(response)
        return Response(response.status_code, response.text, response.headers)

    def _at_our_host(self, uri: str) -> str:
        """Return the URI at the configured host; also for next-page links, which are absolute."""
        parts = urlsplit(uri)
        for product, base in self._hosts.items():
            if parts.netloc == urlsplit(base).netloc or parts.netloc.split(".")[0] == product:
                ours = urlsplit(self._hosts["api" if parts.path.startswith("/2010-04-01/") else product])
                return urlunsplit((ours.scheme, ours.netloc, parts.path, parts.query, ""))
        raise ValueError(f"the SDK requested a host to which credentials must not be sent: {parts.netloc}")


def _error(response: httpx.Response) -> VendorError:
    try:
        body = response.json()
    except ValueError:
        body = {}
    if not isinstance(body, dict):
        body = {}
    code = body.get("code") if isinstance(body.get("code"), int) else None
    meaning, next_step = MEANINGS.get(code or 0, (None, None))
    if response.is_server_error:
        meaning = meaning or "Twilio could not answer"
        next_step = next_step or "check Twilio's status page, then run the section again"
    kind = OutcomeUnknownError if response.is_server_error else VendorError
    return kind(
        f"Twilio answered {f'error {code}' if code else 'an error'} (HTTP {response.status_code}):"
        f" {body.get('message') or 'no message'}",
        vendor="Twilio",
        status=response.status_code,
        code=code,
        meaning=meaning,
        next_step=next_step
        or f"look it up in Twilio's error dictionary: {body.get('more_info') or code or 'no code'}",
    )
