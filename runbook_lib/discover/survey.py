"""Everything of a site that has to do with Twilio trunks, read once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..errors import RunbookError
from ..meaning import host
from ..resources.rules import TenantRules
from ..sip_uri import TerminationUri
from ..vendors.portsip import Session
from ..watch.reading import SiteReading

Read = dict[str, Any]


@dataclass(frozen=True)
class TwilioSide:
    """A trunk at Twilio with its parts (SDK objects); ``lists`` and ``entries`` by list."""

    account: str
    trunk: Any
    uris: tuple[Any, ...]
    access: tuple[tuple[Any, tuple[Any, ...]], ...]
    credentials: tuple[tuple[Any, tuple[Any, ...]], ...]
    numbers: frozenset[str]


@dataclass(frozen=True)
class TenantSide:
    """A tenant of the PBX: its trunks to Twilio in full, and its rules; or why it could not be read."""

    tenant: Read
    trunks: tuple[Read, ...] = ()
    inbound: tuple[Read, ...] = ()
    outbound: tuple[Read, ...] = ()
    error: RunbookError | None = None


@dataclass(frozen=True)
class Survey:
    """What was read. ``shared`` are the system's trunks to Twilio, each with its assignees."""

    twilio: dict[str, TwilioSide]
    without_domain: tuple[str, ...]
    numbers: dict[str, str | None]
    shared: tuple[tuple[Read, tuple[Read, ...]], ...]
    tenants: tuple[TenantSide, ...] = field(default=())


def survey(reading: SiteReading) -> Survey:
    """Read a site; sends no write."""
    sides: dict[str, TwilioSide] = {}
    without_domain: list[str] = []
    numbers: dict[str, str | None] = {}
    for account in reading.site.twilio_accounts:
        twilio = reading.twilio(account)
        numbers |= {number.phone_number: number.trunk_sid for number in twilio.all_numbers()}
        for trunk in twilio.all_trunks():
            if trunk.domain_name:
                sides[host(trunk.domain_name)] = _twilio_side(account, twilio, trunk)
            else:
                without_domain.append(trunk.friendly_name or trunk.sid)
    system = reading.system
    found = [
        (system.get(f"/providers/{one['id']}"), one["id"])
        for one in system.list("/providers")
        if termination_of(one)
    ]
    shared = tuple(
        (trunk, tuple(system.get(f"/providers/{trunk_id}/assignees").get("items") or ()))
        for trunk, trunk_id in found
    )
    tenants = [*system.list("/tenants")]
    read = reading.of_each(tenants, _tenant_side)
    of_tenants = tuple(read[number] for number in range(len(tenants)))
    return Survey(sides, tuple(without_domain), numbers, shared, of_tenants)


def termination_of(trunk: Read) -> TerminationUri | None:
    """Return what a PBX trunk sends calls to, where that is a trunk of Twilio's."""
    return TerminationUri.read(host(trunk.get("hostname") or ""))


def _twilio_side(account: str, twilio: Any, trunk: Any) -> TwilioSide:
    parts, sip = twilio.trunks(trunk.sid), twilio.account.sip
    access = [
        (one, tuple(sip.ip_access_control_lists(one.sid).ip_addresses.list()))
        for one in parts.ip_access_control_lists.list()
    ]
    credentials = [
        (one, tuple(sip.credential_lists(one.sid).credentials.list()))
        for one in parts.credentials_lists.list()
    ]
    on_trunk = twilio.numbers_by_trunk().get(trunk.sid, [])
    return TwilioSide(
        account,
        trunk,
        tuple(parts.origination_urls.list()),
        tuple(access),
        tuple(credentials),
        frozenset(number.phone_number for number in on_trunk),
    )


def _tenant_side(tenant: Read, session: Session) -> TenantSide:
    try:
        session.move_to(tenant["id"])
        listed = [one for one in session.list("/providers") if termination_of(one)]
        if not listed:
            return TenantSide(tenant)
        rules = TenantRules(lambda: session)
        return TenantSide(
            tenant,
            tuple(session.get(f"/providers/{one['id']}") for one in listed),
            tuple(rules.inbound()),
            tuple(rules.outbound()),
        )
    except RunbookError as error:
        return TenantSide(tenant, error=error)
