"""What the sections of one run share: parameters, clients, journal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from .connect import Endpoints, endpoints, pbx_of
from .facts.moment import Moment
from .keys import ResourceKey
from .parameters import Site, Tenant, TrunkScope
from .parameters.settings import Settings
from .records import living
from .records.journal import Journal
from .records.ownership import Ownership, Remains
from .records.to_undo import RecordToUndo
from .records.waits import Waits
from .resources.pbx_trunk import PbxTrunkResource
from .resources.rules import TenantRules
from .resources.twilio_trunk import TwilioTrunkResource
from .scopes import scope_of
from .secret import resolve
from .vendors.budget import Budget, pbx_budget, twilio_budget
from .vendors.lending import Lender, lent_by_runner
from .vendors.pbx import Pbx
from .vendors.transport import Transport
from .vendors.twilio import Twilio


class Context:
    """One tenant's run.

    The clients are created on first use and send nothing before; ``close`` signs out of the sessions
    that were started here. A run's sessions belong to its runner; see ``lender``.

    Parameters
    ----------
    root
        The workspace's folder.
    records
        The site's records folder, ``records/<site>``.
    to_undo
        The record to roll back, if the run is a rollback.
    moment
        What has been read already; for a plan or a verification, an estate.
    """

    #: Whether only the rows of a plan are wanted: what serves tables and cautions alone is not read then.
    rows_only = False

    def __init__(
        self,
        root: Path,
        records: Path,
        site: Site,
        owner: Tenant | TrunkScope,
        journal: Journal,
        to_undo: RecordToUndo | None = None,
        moment: Moment | None = None,
    ) -> None:
        self.root = root
        self.records = records
        self.site = site
        #: Who has the trunk: a tenant, or nobody where a shared trunk is worked on alone.
        self.owner = owner
        self.journal = journal
        #: Whether rows that interrupt calls may be carried out.
        self.accept_interruption = owner.accept_interruption
        #: Whose trunk it is.
        self.scope = scope_of(owner)
        self.settings = Settings.of(site, owner)
        self.account = site.twilio_accounts[self.settings.account_name]
        #: What was read from both vendors.
        self.moment = moment or Moment()
        #: The owner of the PBX sessions, if it is not this context.
        self.lender: Lender = lent_by_runner
        #: What this waits for; reported to those who follow the run that the journal belongs to.
        self.waits = Waits(lambda wait: living.report_wait(journal.path.parent, living.Process.SECTION, wait))
        self._to_undo = to_undo
        self._remains: Remains | None = None
        self._looked_in: datetime | None = None
        self._transports: list[Transport] = []

    @property
    def tenant(self) -> Tenant:
        """The tenant, for what only a tenant has: where ``scope.has_tenant``."""
        assert isinstance(self.owner, Tenant), "a shared trunk alone has no tenant"
        return self.owner

    @property
    def undoes(self) -> RecordToUndo | None:
        """The record that this run rolls back, if it is a rollback."""
        return self._to_undo

    @property
    def to_undo(self) -> RecordToUndo:
        """As ``undoes``, for code that only a rollback runs."""
        assert self._to_undo is not None, "only a rollback asks for the record that it undoes"
        return self._to_undo

    @property
    def requests(self) -> dict[str, int]:
        """How many requests were sent so far, by vendor."""
        return {one.vendor: one.requests for one in self._transports}

    @cached_property
    def twilio(self) -> Twilio:
        """The Twilio account."""
        account = self.account
        key = account.api_key_sid
        secret = account.api_key_secret if key else account.auth_token
        assert secret is not None, "an account without credentials is refused with the parameters"
        # Several sites can use one account.
        api = self._endpoints.twilio["api"]
        budget = twilio_budget(account.account_sid, api, self.records.parent)
        trust = self._endpoints.twilio_trust
        transport = self._transport("Twilio", budget, verify=trust, proxy=account.proxy)
        return Twilio(
            transport,
            account_sid=account.account_sid,
            username=key or account.account_sid,
            password=resolve(secret, self.root).reveal(),
            hosts=self._endpoints.twilio,
            region=account.region,
            reads_whole=self.moment.reads_whole,
        )

    def account_is_proven(self) -> bool:
        """Whether the Twilio credentials are known to act on the site's account.

        Raises ``AccountError`` if they act on another.
        """
        return "twilio" not in self.__dict__ or self.twilio.prove_account()

    @cached_property
    def pbx(self) -> Pbx:
        """The PBX."""
        budget = pbx_budget(self._endpoints.portsip, self.site.pbx.requests_per_minute, self.records)
        transport = self._transport("PortSIP", budget, verify=self._endpoints.portsip_trust)
        return pbx_of(
            self.site,
            self.root,
            transport,
            self._endpoints.portsip,
            domain=self.scope.pbx_domain,
            lender=self.lender,
            reads_whole=self.moment.reads_whole,
        )

    @property
    def twilio_trunk(self) -> TwilioTrunkResource:
        """The Twilio trunk that the parameters describe."""
        return TwilioTrunkResource(self.twilio, self.settings.domain, self.settings.friendly_name)

    @property
    def pbx_trunk(self) -> PbxTrunkResource:
        """The PBX trunk that the parameters describe, in the scope that owns it."""
        # A tenant sees few trunks, the system perhaps thousands.
        whole = self.moment.reads_whole and not self.scope.is_shared
        return PbxTrunkResource(
            lambda: self.scope.session(self.pbx), self.settings, self.made_by_us, reads_whole=whole
        )

    def made_by_us(self, resource: ResourceKey, vendor_id: str, created: datetime | None = None) -> bool:
        """Whether this tenant's journals (for a shared trunk, the site's) show that we created it."""
        return self._ownership.made(resource, vendor_id, created)

    def answered_writes(self, vendor_id: str) -> Iterator[dict[str, Any]]:
        """Yield what these journals have of a resource; see ``records.ownership``."""
        return self._ownership.answered_writes(vendor_id)

    @contextmanager
    def interruption_permitted(self) -> Iterator[None]:
        """Plan within the ``with`` block as if changes that interrupt calls were allowed."""
        given, self.accept_interruption = self.accept_interruption, True
        try:
            yield
        finally:
            self.accept_interruption = given

    def remains(self) -> Remains:
        """What these runs left behind, of each setting; looked at once in a moment."""
        began = self.moment.began
        if self._remains is None or began is None or self._looked_in != began:
            self._remains, self._looked_in = self._ownership.remains(), began
        return self._remains

    @cached_property
    def _ownership(self) -> Ownership:
        return Ownership(self.scope.journals(self.records), self.journal.target)

    @property
    def rules(self) -> TenantRules:
        """The tenant's call rules."""
        return TenantRules(lambda: self.pbx.session)

    def sip_password(self) -> str:
        """Return the value of the password that both sides of the trunk share."""
        return resolve(self.settings.password, self.root).reveal()

    def close(self) -> None:
        """Sign out and close the connections; the context can be used again afterwards."""
        for transport in self._transports:
            transport.finish()
        self.waits.forget()
        if "pbx" in self.__dict__:
            self.__dict__.pop("pbx").sign_out()
        self.__dict__.pop("twilio", None)
        while self._transports:
            self._transports.pop().close()

    def _transport(self, vendor: str, budget: Budget, **options: Any) -> Transport:
        transport = Transport(
            vendor,
            self.journal,
            moment=self.moment,
            budget=budget,
            waits=self.waits,
            **options,
        )
        self._transports.append(transport)
        return transport

    @cached_property
    def _endpoints(self) -> Endpoints:
        return endpoints(self.site, self.account, self.root)
