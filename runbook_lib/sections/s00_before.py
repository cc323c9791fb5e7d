"""Section 0: the prerequisites. Reads only and never changes anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..facts.side_by_side import side_by_side
from ..keys import Why
from ..parameters import secret_references
from ..plan import Action, Row, Value
from ..possible_numbers import way_out
from ..resources.regions import NOT_KNOWN, describe_region, is_served_elsewhere
from ..secret import exposure
from ..signalling import PUBLISHED
from ..sip_uri import address
from ..vendors.twilio import serves_something
from .base import ACCOUNT_NOT_PROVEN, Section
from .items import Item, View

#: Media of all edges. Source: Twilio, "Elastic SIP Trunking IP addresses".
MEDIA = ("168.86.128.0/18", "UDP 10000-60000")
#: Source: PortSIP's installer: media ports of the PBX.
PBX_MEDIA = "UDP 45000-65000"


@dataclass(frozen=True)
class Facts:
    """The facts of section 0.

    ``account`` is ``None`` for an API key that cannot read it, ``voice_region`` if it is not known.
    ``found`` are the account's numbers (SDK objects). ``info``, ``status`` and ``user`` are the PBX's
    description of itself and of the administrator, ``transports`` those that are activated.
    """

    account: Mapping[str, Any] | None
    voice_region: str | None
    found: Sequence[Any]
    info: Mapping[str, Any]
    status: Mapping[str, Any]
    user: Mapping[str, Any]
    tenant: Mapping[str, Any]
    transports: Sequence[Mapping[str, Any]]
    may_have_trunks: bool
    is_proven: bool

    @cached_property
    def numbers(self) -> dict[str, Any]:
        """The account's numbers, by number."""
        return {number.phone_number: number for number in self.found}


class BeforeYouBegin(Section[Facts]):
    """Steps 0.1 and 0.2."""

    number = "00"

    def look(self) -> Facts:
        twilio, pbx, rows_only = self.context.twilio, self.context.pbx, self.context.rows_only
        account, voice_region, numbers, info, status, user, tenant, transports, may_have = side_by_side(
            self._own_account,
            lambda: None if rows_only else twilio.voice_region(self.context.settings.domain),
            lambda: twilio.numbers_like([*self.context.tenant.dids]) if rows_only else twilio.all_numbers(),
            lambda: pbx.system.get("/info"),
            lambda: pbx.system.get("/admin/status"),
            lambda: pbx.system.get("/auth/user"),
            lambda: pbx.tenant,
            pbx.transports,
            lambda: pbx.tenant_may_have_trunks,
        )
        return Facts(
            account,
            voice_region,
            found=numbers,
            info=info,
            status=status,
            user=user,
            tenant=tenant,
            transports=transports,
            may_have_trunks=may_have,
            is_proven=self.context.account_is_proven(),
        )

    def _own_account(self) -> dict[str, Any] | None:
        account = self.context.twilio.read_account()
        self.context.account_is_proven()  # a wrong account explains refusals of the other reads
        return account

    def views(self) -> list[View]:
        tenant, account = self.context.tenant, self.context.account
        return [
            View(
                "Who we are signed in as",
                ("Side", "What", "Value"),
                (
                    ("Twilio", "account", self._account_name()),
                    ("Twilio", "account of the credentials", self._proof()),
                    (
                        "Twilio",
                        "account status",
                        self.facts.account["status"] if self.facts.account else NOT_KNOWN,
                    ),
                    ("Twilio", "Region and edge", f"{account.region} through {account.api_edge}"),
                    ("Twilio", "proxy", account.proxy or "none"),
                    ("Twilio", "certificates trusted", str(account.ca_file or "public authorities")),
                    (
                        "Twilio",
                        f"Region that serves {self.context.settings.domain}",
                        describe_region(self.facts.voice_region, account.region),
                    ),
                    ("PortSIP", "version", self.facts.status.get("version")),
                    ("PortSIP", "role", self.facts.user.get("role")),
                    ("PortSIP", "tenant", f"{self.facts.tenant['name']} ({self.facts.tenant['domain']})"),
                    ("PortSIP", "tenant may have trunks of its own", self.facts.may_have_trunks),
                ),
            ),
            View("Secrets that this run uses", ("Key", "Reference", "Caution"), self._secrets()),
            View(
                "The tenant's numbers at Twilio",
                ("Number", "Owned", "Voice", "Emergency address"),
                tuple(self._number_row(did) for did in tenant.dids),
            ),
            View(
                "Numbers of the account that nothing uses yet",
                ("Number", "Voice"),
                tuple(
                    (did, one.capabilities.get("voice"))
                    for did, one in sorted(self.facts.numbers.items())
                    if not serves_something(one) and did not in tenant.dids
                ),
            ),
            View(
                "Transports of the PBX",
                ("Protocol", "Port"),
                tuple((one["protocol"], one["port"]) for one in self.facts.transports),
            ),
            View(
                "What the firewall in front of the PBX must let through",
                ("Direction", "What", "Addresses", "Ports"),
                self._firewall(),
            ),
            View(
                "What Twilio grants by default",
                ("What", "Value"),
                (
                    (
                        "Calls per second out, per trunk and Region",
                        "1; up to 5 with a Business Profile; not settable by this API",
                    ),
                    (
                        "Calls at the same time",
                        "not limited by the trunk; limited without a Business Profile",
                    ),
                ),
            ),
        ]

    def wanted(self) -> list[Item]:
        rows = [self._account_row(), *self._did_rows(), *self._address_rows(), *self._transport_rows()]
        if not self.context.scope.is_shared:
            rows.append(self._tenant_row())
        return [Item((row,)) for row in rows]

    def cautions(self) -> list[str]:
        region, here = self.facts.voice_region, self.context.account.region
        if not is_served_elsewhere(region, here):
            return []
        return [f"Region that serves {self.context.settings.domain}: {describe_region(region, here)}."]

    def _account_name(self) -> str:
        sid = self.context.account.account_sid
        return f"{self.facts.account['friendly_name']} ({sid})" if self.facts.account else sid

    def _proof(self) -> str:
        return "this account" if self.facts.is_proven else ACCOUNT_NOT_PROVEN

    def _account_row(self) -> Row:
        if self.facts.account is None:
            note = "the API key cannot read accounts"
            return Row("0.1", "Twilio account", "active", None, Action.UNREADABLE, note=note)
        note = "Twilio refuses calls for an account that is not active: resolve this in Twilio's console"
        return _check("0.1", "Twilio account", "active", self.facts.account["status"], note)

    def _did_rows(self) -> list[Row]:
        rows = []
        for did in self.context.tenant.dids:
            number = self.facts.numbers.get(did)
            current = "not owned" if number is None else _voice(number)
            meant = way_out(did[1:]) if number is None else ""
            note = meant or "the runbook does not buy or port numbers: do that in Twilio's console"
            rows.append(_check("0.1", f"number {did}", WANTED, current, note))
            if number is not None and not number.emergency_address_sid:
                rows.append(_without_emergency_address(did))
        return rows

    def _address_rows(self) -> list[Row]:
        """The address that Twilio calls, and those from which the PBX calls out."""
        pbx, public = self.context.site.pbx, self.facts.info.get("public_ipv4") or None
        missing = "the PBX reports no public address: a LAN installation? Set its public address first"
        if address(pbx.address) is None:
            own = self.facts.info.get("web_domain") or "nothing"
            note = f"a host name; whether it resolves to the PBX was not checked (the PBX calls itself {own})"
            called = Row(
                "0.2", "address that Twilio calls", pbx.address, pbx.address, Action.IN_PLACE, note=note
            )
        else:
            note = "the PBX reports a different public address; correct pbx.address" if public else missing
            called = _check("0.2", "address that Twilio calls", pbx.address, public, note)
        allowed = self.context.settings.acl_addresses
        wanted = ", ".join(allowed)
        note = (
            "the PBX's public address is not among them, so its calls would be refused" if public else missing
        )
        calling = _check(
            "0.2", "addresses that may call out", wanted, wanted if public in allowed else public, note
        )
        return [called, calling]

    def _transport_rows(self) -> list[Row]:
        protocol = self.context.settings.origination_transport.upper()
        found = (
            protocol if any(one["protocol"].upper() == protocol for one in self.facts.transports) else None
        )
        return [
            _check(
                "0.2",
                "PBX transport",
                protocol,
                found,
                "add the transport in the PBX, or change origination.transport",
            )
        ]

    def _tenant_row(self) -> Row:
        note = "switch on trunks at tenant level, in the PBX's settings or in the tenant's features"
        return _check("0.2", "tenant may have trunks of its own", True, self.facts.may_have_trunks, note)

    def _secrets(self) -> tuple[tuple[Value, ...], ...]:
        """Where the secrets are stored, and who else can access their files."""
        context = self.context
        return tuple(
            (key, str(reference), exposure(reference, context.root))
            for key, reference in secret_references(context.site, context.tenant).items()
        )

    def _number_row(self, did: str) -> tuple[Value, ...]:
        number = self.facts.numbers.get(did)
        if number is None:
            return (did, False, None, None)
        registered = number.emergency_address_status if number.emergency_address_sid else "none"
        return (did, True, number.capabilities.get("voice"), str(registered))

    def _firewall(self) -> tuple[tuple[Value, ...], ...]:
        ports = ", ".join(f"{one['protocol']} {one['port']}" for one in self.facts.transports)
        ranges = [
            *PUBLISHED.items(),
            *(("named by the site", network) for network in self.context.site.additional_signalling_ranges),
        ]
        rows = [("in and out", f"SIP signalling, {whose}", network, ports) for whose, network in ranges]
        rows.append(("out", "SIP signalling at Twilio", "the same addresses", "UDP and TCP 5060, TLS 5061"))
        return (
            *rows,
            (
                "in and out",
                "media (RTP), every edge",
                MEDIA[0],
                f"{MEDIA[1]} at Twilio, {PBX_MEDIA} at the PBX",
            ),
        )


WANTED = "owned, voice-capable"


def _voice(number: Any) -> str:
    return WANTED if number.capabilities.get("voice") else "owned, not voice-capable"


def _without_emergency_address(did: str) -> Row:
    """The row of a number without an emergency address; it stops nothing."""
    note = (
        "without one, nobody would know where an emergency call from it comes from: register one "
        "in Twilio's console"
    )
    why, setting = Why.NO_EMERGENCY_ADDRESS, f"emergency address of {did}"
    return Row("0.1", setting, None, "none", Action.NOT_MANAGED, note=note, why=why)


def _check(step: str, setting: str, desired: Value, current: Value, note: str) -> Row:
    """A row that only a person can resolve: in place or in conflict."""
    if desired == current:
        return Row(step, setting, desired, current, Action.IN_PLACE)
    return Row(step, setting, desired, current, Action.CONFLICT, note=note, why=Why.UNSUITABLE)
