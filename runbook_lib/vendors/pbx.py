"""One PBX for one tenant: a session for the system, and another one switched to the tenant."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property, partial
from typing import Any

from ..errors import VendorError
from ..facts.side_by_side import side_by_side
from ..meaning import meaning
from .lending import Lender
from .portsip import Session
from .sign_in import SYSTEM, KeptSignIns, SignInGate
from .transport import Transport

#: How many ids a filter asks for at once: the address stays well below 2,000 characters.
IDS_AT_ONCE = 40


class Pbx:
    """The PBX as one tenant's run needs it.

    Parameters
    ----------
    transport
        The HTTP seam; closed by its owner.
    url
        Base URL of the API, ending in ``/api``.
    domain
        The tenant's SIP domain; ``None`` if nothing is done for a tenant.
    ask
        Asks the operator for a one-time code; see ``Session``.
    lender
        The possible owner of the sessions; see ``Session``.
    reads_whole
        Whether what is read of all tenants serves others as well, so that no filter is asked for.
    """

    def __init__(
        self,
        transport: Transport,
        url: str,
        gate: SignInGate,
        *,
        username: str,
        password: str,
        domain: str | None,
        ask: Callable[[], str] | None = None,
        lender: Lender | None = None,
        reads_whole: bool = False,
    ) -> None:
        self._transport = transport
        self._url = url
        self._gate = gate
        self._credentials = {"username": username, "password": password}
        self._domain = domain
        self._ask = ask
        self._lender = lender
        self._reads_whole = reads_whole
        self._opened: list[Session] = []
        self._session: Session | None = None
        # For several threads there is one session of a scope, and the tenant is looked up once.
        self._opening, self._looking = threading.Lock(), threading.Lock()

    @property
    def system(self) -> Session:
        """The session in system scope."""
        with self._opening:
            return self._system

    @property
    def session(self) -> Session:
        """The session in the tenant's scope."""
        tenant_id = self.tenant_id
        with self._opening:
            if self._session is None:
                self._session = self.open(tenant_id)
            return self._session

    @property
    def tenant_id(self) -> str:
        """The tenant's id, looked up once by its SIP domain; only with a ``domain``.

        Raises ``VendorError`` when the PBX has no tenant of this domain.
        """
        with self._looking:
            return self._found_id

    @property
    def tenant(self) -> dict[str, Any]:
        """The PBX's present description of the tenant; as ``tenant_id``."""
        return self.system.get(f"/tenants/{self.tenant_id}")

    @cached_property
    def _system(self) -> Session:
        return self.open(None)

    @cached_property
    def _found_id(self) -> str:
        assert self._domain is not None, "a tenant is looked up by its domain"
        narrowed = {} if self._reads_whole else {"filter": f"domain eq {quoted(self._domain)}"}
        # The PBX's filter compares characters: to find the same domain in another case, all are read.
        found = self._at_domain(**narrowed) or self._at_domain()
        if not found:
            raise VendorError(
                f"the PBX has no tenant with the domain {self._domain}",
                vendor="PortSIP",
                step="0.2",
                meaning="nothing can be set up for a tenant that does not exist",
                next_step="correct tenant.pbx_domain, or create the tenant in the PBX first",
            )
        return str(found[0]["id"])

    def _at_domain(self, **narrowed: str) -> list[dict[str, Any]]:
        wanted = meaning("domain", self._domain)
        return [
            tenant
            for tenant in self.system.list("/tenants", **narrowed)
            if meaning("domain", tenant["domain"]) == wanted
        ]

    def tenant_names(self, ids: Collection[str]) -> dict[str, str]:
        """Read the names of tenants, by id; as ``tenants``."""
        return {tenant["id"]: tenant["name"] for tenant in self._tenants(ids)}

    def tenants(self, ids: Collection[str]) -> list[dict[str, str]]:
        """Read name and SIP domain of tenants; one request for every 40 of them, whatever the PBX has."""
        return [
            {"name": tenant["name"], "pbx_domain": tenant.get("domain") or ""}
            for tenant in self._tenants(ids)
        ]

    def _tenants(self, ids: Collection[str]) -> list[dict[str, Any]]:
        if self._reads_whole:
            return [tenant for tenant in self.system.list("/tenants") if tenant["id"] in ids]
        tenants: list[dict[str, Any]] = []
        for some in batched(sorted(ids), IDS_AT_ONCE):
            wanted = " or ".join(f"id eq {quoted(one)}" for one in some)
            # The filter only narrows the result and is not trusted: its fields are not documented.
            found = self.system.list("/tenants", filter=wanted)
            tenants += [tenant for tenant in found if tenant["id"] in some]
        return tenants

    @property
    def tenant_may_have_trunks(self) -> bool:
        """Whether the PBX's settings and the tenant's features allow the tenant its own trunks.

        Both default to yes (PortSIP's API: ``enable_tenant_level_trunk``, ``enable_feature_trunks``); so
        does a PBX that keeps its settings from this administrator.
        """
        settings, tenant = side_by_side(self._settings, lambda: self.tenant)
        everywhere = settings.get("enable_tenant_level_trunk") is not False
        return everywhere and tenant.get("enable_feature_trunks") is not False

    def _settings(self) -> dict[str, Any]:
        try:
            return self.system.get("/admin/settings")
        except VendorError as error:
            if error.status not in (403, 404):
                raise
            return {}

    def version(self) -> str | None:
        """Read the PBX's version."""
        return self.system.get("/admin/status").get("version")

    def transports(self) -> list[dict[str, Any]]:
        """Return the transports that are activated: ``protocol`` and ``port`` of each.

        The status is asked for by protocol, as PortSIP's OpenAPI document of 22.2 has it; protocols that
        it does not have (WSS is for browsers) are left out.
        """
        found = [
            one for one in self.system.list("/transports") if one["protocol"].upper() in ("UDP", "TCP", "TLS")
        ]
        states = side_by_side(*(partial(self._status_of, one["protocol"]) for one in found))
        return [
            one for one, state in zip(found, states, strict=True) if meaning("status", state) == "activated"
        ]

    def _status_of(self, protocol: str) -> str | None:
        return self.system.get(f"/transports/{protocol}/status").get("status")

    def sign_out(self) -> None:
        """End the sessions that were started."""
        # One after the other: two that meet a closed port at once may both use up their attempts.
        while self._opened:
            self._opened.pop().sign_out()

    def sign_out_kept(self) -> int:
        """End the sessions that are kept for later runs; return how many there were."""
        scopes = KeptSignIns(self._url, self._credentials["username"]).scopes()
        for scope in scopes:
            self.open(None if scope == SYSTEM else scope).sign_out_kept()
        return len(scopes)

    def is_at(self, url: str, username: str) -> bool:
        """Whether this is the PBX at a URL, for this administrator."""
        return (url, username) == (self._url, self._credentials["username"])

    def open(self, tenant_id: str | None) -> Session:
        """Return a session for a tenant, or the system (``None``); ``sign_out`` ends it with the others."""
        session = Session(
            self._transport,
            self._url,
            self._gate,
            **self._credentials,
            tenant_id=tenant_id,
            ask=self._ask,
            lender=self._lender,
        )
        self._opened.append(session)
        return session


def batched(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Yield the items in parts of at most ``size``."""
    return (items[start : start + size] for start in range(0, len(items), size))


def quoted(text: str) -> str:
    """Return a text as a string of the PBX's filter language."""
    return "'" + text.replace("'", "''") + "'"
