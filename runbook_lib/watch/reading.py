"""One reading of a site for all its tenants: clients that are shared, and a context for each tenant.

Twilio's accounts and the PBX's system scope are read once. A tenant's scope is read by one of a few workers;
each has its own session that it moves from tenant to tenant, as a session's scope is the PBX's to keep.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ..connect import endpoints, pbx_endpoint
from ..context import Context
from ..facts.estate import Estate
from ..parameters import Site, Tenant, TrunkScope
from ..records.journal import FILE_NAME, Journal
from ..secret import resolve, scrub_data
from ..vendors.budget import Budget, pbx_budget, twilio_budget
from ..vendors.pbx import Pbx
from ..vendors.portsip import Session
from ..vendors.sign_in import SignInGate
from ..vendors.transport import Transport
from ..vendors.twilio import Twilio
from ..workspace import records_folder

T = TypeVar("T")
R = TypeVar("R")

#: Tenants that are read at the same time.
WORKERS = 8
#: At most half of the requests that the PBX takes from one address in a minute.
PBX_SHARE = 0.5


class EstateSession(Session):
    """A session whose collections are read, and their answers parsed, once for each scope."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._lists: dict[Any, list[dict[str, Any]]] = {}
        self._listing = threading.RLock()

    def get(self, path: str, **params: str | int) -> dict[str, Any]:
        if path == "/tenant":  # what confirmed the switch to the tenant is its description
            self.sign_in()
            return self.described
        return super().get(path, **params)

    def list(self, path: str, **params: str) -> Iterator[dict[str, Any]]:
        key = (path, *sorted(params.items()))
        with self._listing:
            if key not in self._lists:
                self._lists[key] = [*super().list(path, **params)]
            return iter(self._lists[key])

    def move_to(self, tenant_id: str) -> None:
        with self._listing:
            self._lists.clear()
        super().move_to(tenant_id)


class EstatePbx(Pbx):
    """The PBX for one tenant, through sessions that outlive it."""

    def __init__(self, reading: SiteReading, domain: str | None, worker: EstateSession | None) -> None:
        transport, url, gate = reading.of_pbx
        super().__init__(transport, url, gate, **reading.credentials, domain=domain, reads_whole=True)
        self._shared_system = reading.system
        self._worker = worker
        #: The tenant whose scope was read.
        self.moved_to: str | None = None
        self._moving = threading.Lock()

    @property
    def system(self) -> Session:
        return self._shared_system

    @property
    def session(self) -> Session:
        assert self._worker is not None, "a shared trunk on its own has no tenant"
        tenant_id = self.tenant_id
        with self._moving:
            if self.moved_to is None:
                self._worker.move_to(tenant_id)
                self.moved_to = tenant_id
        return self._worker

    @property
    def tenant(self) -> dict[str, Any]:
        return self.session.get("/tenant")


class TenantContext(Context):
    """A tenant's part of a reading of the site; what is shared stays open when it is closed."""

    rows_only = True

    def __init__(
        self, reading: SiteReading, owner: Tenant | TrunkScope, worker: EstateSession | None
    ) -> None:
        super().__init__(
            reading.root, reading.records, reading.site, owner, reading.journal, moment=reading.estate
        )
        self._estate = reading.estate
        self.twilio = reading.twilio(self.settings.account_name)
        self.pbx = self._own_pbx = EstatePbx(reading, self.scope.pbx_domain, worker)

    def close(self) -> None:
        """Drop what was read of the tenant's scope."""
        if self._own_pbx.moved_to is not None:
            self._estate.forget(self._own_pbx.moved_to)


class SiteReading:
    """A site as of one time; a context manager that signs out in the end.

    ``estate`` holds all answers. Nothing can be written: the journal lets no write out without a run.
    """

    def __init__(self, site: Site, root: Path) -> None:
        self.site = site
        self.root = root
        self.records = records_folder(root) / site.name
        self.estate = Estate()
        self.journal = Journal(self.records / FILE_NAME, scrub_data, {})
        self._transports: list[Transport] = []
        self._twilio: dict[str, Twilio] = {}
        self._opening = threading.Lock()
        url, trust = pbx_endpoint(site, root)
        a_minute = site.pbx.requests_per_minute
        budget = pbx_budget(url, a_minute, self.records, share=PBX_SHARE)
        transport = self._transport("PortSIP", budget, verify=trust)
        #: Arguments of every client of the PBX.
        self.of_pbx = (transport, url, SignInGate(self.records))
        self.credentials: Any = {
            "username": site.pbx.username,
            "password": resolve(site.pbx.password, root).reveal(),
        }
        self._sessions: list[EstateSession] = []
        self.system = self.open_session()

    def __enter__(self) -> SiteReading:
        return self

    def __exit__(self, *_: object) -> None:
        for transport in self._transports:
            transport.finish()
        while self._sessions:
            self._sessions.pop().sign_out()
        while self._transports:
            self._transports.pop().close()

    @property
    def requests(self) -> dict[str, int]:
        """How many requests were sent so far, by vendor."""
        counts: dict[str, int] = {}
        for transport in self._transports:
            counts[transport.vendor] = counts.get(transport.vendor, 0) + transport.requests
        return counts

    def open_session(self) -> EstateSession:
        """Return a new session, in system scope until it is moved."""
        session = EstateSession(*self.of_pbx, **self.credentials)
        with self._opening:
            self._sessions.append(session)
        return session

    def of_each(
        self,
        items: Sequence[T],
        look: Callable[[T, EstateSession], R],
        goes_on: Callable[[], bool] = lambda: True,
    ) -> dict[int, R]:
        """Return what ``look`` returns of each item, by its place; a few workers look, each with a session.

        What has not begun when ``goes_on`` says no is left out. Raises the first error of ``look``.
        """
        found: dict[int, R] = {}
        waiting = list(enumerate(items))[::-1]
        broken: list[BaseException] = []

        def work() -> None:
            session = self.open_session()
            while waiting and not broken and goes_on():
                try:
                    number, item = waiting.pop()
                except IndexError:  # another worker was faster
                    return
                try:
                    found[number] = look(item, session)
                except BaseException as error:  # raised in the thread that asked
                    broken.append(error)

        threads = [threading.Thread(target=work, daemon=True) for _ in items[:WORKERS]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if broken:
            raise broken[0]
        return found

    def twilio(self, name: str) -> Twilio:
        """Return the client of one of the site's Twilio accounts."""
        with self._opening:
            if name not in self._twilio:
                self._twilio[name] = self._open_twilio(name)
            return self._twilio[name]

    def _open_twilio(self, name: str) -> Twilio:
        account = self.site.twilio_accounts[name]
        where = endpoints(self.site, account, self.root)
        secret = account.api_key_secret if account.api_key_sid else account.auth_token
        assert secret is not None, "an account without credentials is refused with the parameters"
        budget = twilio_budget(account.account_sid, where.twilio["api"], self.records.parent)
        transport = self._transport("Twilio", budget, verify=where.twilio_trust, proxy=account.proxy)
        return Twilio(
            transport,
            account_sid=account.account_sid,
            username=account.api_key_sid or account.account_sid,
            password=resolve(secret, self.root).reveal(),
            hosts=where.twilio,
            region=account.region,
            reads_whole=True,
        )

    def _transport(self, vendor: str, budget: Budget, **options: Any) -> Transport:
        transport = Transport(vendor, self.journal, moment=self.estate, budget=budget, **options)
        self._transports.append(transport)
        return transport
