"""Drafts parameters from what was read, and lists what does not fit into any."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ..did_pool import DidPool
from ..meaning import same_name
from ..parameters import Site
from ..sip_uri import OriginationUri
from .survey import Read, Survey, TenantSide, TwilioSide, termination_of

Data = dict[str, Any]
#: Where the passwords are to be put, beside the parameter file.
PASSWORD = "file:secrets/sip_password_{name}"  # noqa: S105 - a reference
#: Of the report of what does not fit.
COLUMNS = ("What", "Whose", "What exactly")


class Misfit(StrEnum):
    """Why something does not fit."""

    NUMBER_ON_NO_TRUNK = "number on no trunk"
    POOL_WITHOUT_NUMBERS = "pool without numbers"
    ONE_SIDED = "trunk on one side only"
    OVERLAP = "number in two pools"
    WIDE_LIST = "list wider than one address"
    NO_CREDENTIALS = "trunk without credentials"
    STEP = "step of the guide not followed"
    NAME = "name that cannot be a file's"
    RULE = "rule that the parameters cannot hold"
    ORIGINATION = "origination that the parameters cannot hold"
    UNREADABLE = "could not be read"


@dataclass(frozen=True)
class Oddity:
    """Something that does not fit: why, whose, and what exactly."""

    kind: Misfit
    whose: str
    what: str


@dataclass
class Drafts:
    """Parameters of tenants and shared trunks, by the names of their files and keys."""

    tenants: dict[str, Data] = field(default_factory=dict)
    shared: dict[str, Data] = field(default_factory=dict)
    odd: list[Oddity] = field(default_factory=list)

    def add(self, kind: Misfit, whose: str, what: str) -> None:
        """Note what does not fit."""
        self.odd.append(Oddity(kind, whose, what))

    def odd_rows(self) -> list[tuple[str, str, str]]:
        """Return what does not fit as rows under ``COLUMNS``, by kind."""
        odd = sorted(self.odd, key=lambda oddity: (oddity.kind, oddity.whose))
        return [(str(one.kind), one.whose, one.what) for one in odd]


def draft(site: Site, found: Survey) -> Drafts:
    """Return the parameters that say what was found."""
    drafts = Drafts()
    used: set[str] = set()
    shares = _draft_shared(site, found, drafts, used)
    for side in found.tenants:
        if side.error is not None:
            drafts.add(Misfit.UNREADABLE, side.tenant["name"], side.error.what)
        elif side.trunks:
            _draft_tenant(site, found, side, shares, drafts, used)
    for domain, twilio in found.twilio.items():
        if domain not in used:
            what = f"{twilio.trunk.friendly_name}: no trunk in the PBX leads to it"
            drafts.add(Misfit.ONE_SIDED, domain, what)
    for name in found.without_domain:
        drafts.add(Misfit.ONE_SIDED, name, "a trunk at Twilio without a termination URI")
    for number, trunk in sorted(found.numbers.items()):
        if trunk is None:
            drafts.add(Misfit.NUMBER_ON_NO_TRUNK, number, "owned, but on no trunk")
    _note_overlaps(drafts)
    return drafts


def file_name(text: str, taken: Sequence[str]) -> str:
    """Return a free name for a file or a key, made from a text."""
    stem = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")[:50] or "tenant"
    names = (stem if count == 1 else f"{stem}-{count}" for count in range(1, len(taken) + 3))
    return next(name for name in names if name not in {*taken, "site"})


def _domain_of(trunk: Read) -> str:
    uri = termination_of(trunk)
    return uri.domain if uri else ""


def _draft_shared(
    site: Site, found: Survey, drafts: Drafts, used: set[str]
) -> dict[tuple[str, str], tuple[str, Read]]:
    """Draft the shared trunks; return each share, with its trunk's name, by the ids of tenant and trunk."""
    shares: dict[tuple[str, str], tuple[str, Read]] = {}
    for trunk, assignees in found.shared:
        domain = _domain_of(trunk)
        side = found.twilio.get(domain)
        if side is None or domain in used:
            drafts.add(
                Misfit.ONE_SIDED, trunk["name"], f"there is no trunk {domain} for it in the site's accounts"
            )
            continue
        used.add(domain)
        name = file_name(domain.split(".")[0], [*drafts.shared])
        drafts.shared[name] = _trunk(site, side, trunk, name, drafts)
        shares |= {(share["tenant_id"], trunk["id"]): (name, share) for share in assignees}
    return shares


def _draft_tenant(
    site: Site,
    found: Survey,
    side: TenantSide,
    shares: dict[tuple[str, str], tuple[str, Read]],
    drafts: Drafts,
    used: set[str],
) -> None:
    tenant, whose = side.tenant, side.tenant["name"]
    label = str(tenant["domain"]).split(".")[0]
    name = file_name(label, [*drafts.tenants])
    if name != label:
        drafts.add(Misfit.NAME, whose, f"{label} becomes {name}")
    first, *others = sorted(side.trunks, key=lambda trunk: (bool(trunk.get("shared")), trunk["name"]))
    for trunk in others:
        drafts.add(
            Misfit.ONE_SIDED,
            whose,
            f"another trunk to Twilio, {trunk['name']}: a parameter file can have only one",
        )
    data: Data = {"name": name, "pbx_domain": tenant["domain"], "dids": ""}
    shared, share = shares.get((tenant["id"], first["id"]), (None, first))
    twilio = found.twilio.get(_domain_of(first))
    if twilio is None:
        what = f"the site's accounts have no trunk {_domain_of(first)} for {first['name']}"
        drafts.add(Misfit.ONE_SIDED, whose, what)
        return
    used.add(_domain_of(first))
    pool = DidPool.read_if_any(share.get("did_numbers"))
    if pool is None:
        drafts.add(Misfit.POOL_WITHOUT_NUMBERS, whose, first["name"])
        return
    for did in (did for did in pool if did not in twilio.numbers):
        drafts.add(Misfit.NUMBER_ON_NO_TRUNK, whose, f"{did} is in the pool but not on the trunk")
    known = [did for did in pool if did in twilio.numbers]
    if not known:
        drafts.add(Misfit.POOL_WITHOUT_NUMBERS, whose, f"{first['name']}: none of {pool} is on its trunk")
        return
    data["dids"] = str(pool) if len(known) == len(pool) else DidPool.of(known).text
    if shared is not None:
        data |= {"shared_trunk": shared, "concurrency": share.get("concurrency") or 1}
    else:
        for did in sorted(twilio.numbers - {*pool}):
            drafts.add(Misfit.NUMBER_ON_NO_TRUNK, whose, f"{did} is on the trunk but in no pool")
        data |= _trunk(site, twilio, first, name, drafts)
    dids = DidPool.read(data["dids"])
    rules = _rules(side, first["id"], dids, lambda what: drafts.add(Misfit.RULE, whose, what))
    if rules:
        data["rules"] = rules
    drafts.tenants[name] = data


def _trunk(site: Site, side: TwilioSide, in_pbx: Read, name: str, drafts: Drafts) -> Data:
    """A trunk's part of the parameters, a tenant's own as a shared one's."""
    uri, whose = termination_of(in_pbx), in_pbx["name"]
    assert uri is not None
    data: Data = {} if len(site.twilio_accounts) == 1 else {"twilio_account": side.account}
    data["trunk"] = {
        "friendly_name": side.trunk.friendly_name or uri.label,
        "termination": str(uri) if uri.edge else uri.label,
    }
    data["termination"] = _termination(site, side, in_pbx, name, drafts)
    if origination := _origination(site, side, whose, drafts):
        data["origination"] = origination
    data["pbx_trunk"] = {
        "name": whose,
        **({} if same_name(in_pbx.get("brand"), "Twilio") else {"brand": in_pbx.get("brand") or "Twilio"}),
        "transport": str(in_pbx["transport"]).lower(),
        "max_concurrent_calls": in_pbx.get("concurrency") or 1,
    }
    return data


def _termination(site: Site, side: TwilioSide, in_pbx: Read, name: str, drafts: Drafts) -> Data:
    whose = in_pbx["name"]
    termination: Data = {}
    for access, entries in side.access:
        for entry in entries:
            if entry.cidr_prefix_length != 32:
                what = f"{access.friendly_name}: {entry.ip_address}/{entry.cidr_prefix_length} may call out"
                drafts.add(Misfit.WIDE_LIST, whose, what)
    if side.access:
        ours = site.pbx.acl_addresses
        access, entries = min(side.access, key=lambda one: all(e.ip_address not in ours for e in one[1]))
        own = termination["ip_access_control_list"] = {"name": access.friendly_name}
        single = [entry.ip_address for entry in entries if entry.cidr_prefix_length == 32]
        if single and sorted(single) != sorted(ours):
            own["addresses"] = single
    else:
        drafts.add(Misfit.STEP, whose, "2.2: no IP access control list on the trunk")
    user = in_pbx.get("auth_id") or ""
    of_user = [one for one, users in side.credentials if any(u.username == user for u in users)]
    if not of_user:
        has = f"the PBX signs in as {user}" if user else "the PBX has no authentication name"
        drafts.add(Misfit.NO_CREDENTIALS, whose, f"{has}, but no credential list on the trunk has that user")
    lists = of_user or [one for one, _ in side.credentials]
    termination["credentials"] = {
        **({"list_name": lists[0].friendly_name} if lists else {}),
        "username": user or name,
        "password": PASSWORD.format(name=name),
    }
    return termination


def _origination(site: Site, side: TwilioSide, whose: str, drafts: Drafts) -> Data:
    read: list[tuple[Any, OriginationUri]] = []
    for live in sorted(side.uris, key=lambda one: (one.priority, -one.weight, one.sip_url)):
        try:
            uri = OriginationUri.parse(live.sip_url.strip().lower())
        except ValueError:
            drafts.add(Misfit.ORIGINATION, whose, f"{live.sip_url}: not in the form that the guide uses")
            continue
        first = read[0][1] if read else uri
        alike = ("host", "parameter", "transport", "port")
        if uri.host != site.pbx.address or any(getattr(uri, one) != getattr(first, one) for one in alike):
            drafts.add(
                Misfit.ORIGINATION,
                whose,
                f"{live.sip_url}: points elsewhere, or differs in transport, port or parameter",
            )
            continue
        read.append((live, uri))
    if not read:
        drafts.add(
            Misfit.ONE_SIDED, whose, "no origination URI leads to the PBX, so inbound calls do not arrive"
        )
        return {}
    uri = read[0][1]
    return {
        "parameter": uri.parameter,
        "transport": uri.transport,
        **({} if uri.port in (5060, 5061) else {"port": uri.port}),
        "uris": [
            {"region": one.region, "priority": live.priority, "weight": live.weight, "enabled": live.enabled}
            for live, one in read
        ],
    }


def _rules(side: TenantSide, trunk_id: str, dids: DidPool, odd: Callable[[str], None]) -> Data:
    inbound, outbound = [], []
    for rule in side.inbound:
        if rule.get("provider_id") != trunk_id:
            continue
        found = _inbound(rule, dids)
        inbound += [found] if found else []
        if not found:
            odd(f"inbound rule {rule['name']}: not in the file, and not changed")
    for rule in side.outbound:
        if all(route.get("provider_id") != trunk_id for route in rule.get("routes") or ()):
            continue
        found = _outbound(rule, dids)
        outbound += [found] if found else []
        if not found:
            odd(f"outbound rule {rule['name']}: not in the file, and not changed")
    return {**({"outbound": outbound} if outbound else {}), **({"inbound": inbound} if inbound else {})}


def _inbound(rule: Read, dids: DidPool) -> Data | None:
    forwards = [
        _destination(rule.get(f"{when}_forward_rule"))
        for when in ("office_hours", "non_office_hours", "holiday")
    ]
    text = str(rule.get("did_numbers") or "")
    pool = DidPool.read_if_any(text)
    inside = pool is not None and all(did in dids for did in pool)
    if not inside or not all(forwards) or rule.get("cid_number_mask") or not rule.get("enabled"):
        return None
    data = {"name": rule["name"], "dids": text, "extension": forwards[0]}
    for key, forward in (("outside_hours", forwards[1]), ("holidays", forwards[2])):
        if forward != forwards[0]:
            data[key] = forward
    return data


def _destination(forward: Read | None) -> str | None:
    """A rule's destination as the parameters write it."""
    action, number = (forward or {}).get("action"), str((forward or {}).get("number") or "")
    if action == "HANGUP":
        return "hang up"
    if action == "FORWARD_TO_VOICEMAIL":
        return f"voicemail:{number}" if number else None
    if action == "FORWARD_TO_NUMBER" and number:
        return "keep" if number == "0" else number
    return None


def _outbound(rule: Read, dids: DidPool) -> Data | None:
    routes = rule.get("routes") or []
    if len(routes) != 1 or not rule.get("enabled") or routes[0].get("enabled") is False:
        return None
    route, caller = routes[0], routes[0].get("outbound_caller_id") or None
    conditions = {
        key: rule[name]
        for key, name in (
            ("number_prefix", "number_prefix"),
            ("number_length", "number_length"),
            ("extensions", "number_mask"),
        )
        if rule.get(name)
    }
    if not conditions or (caller is not None and (caller not in dids or not caller.startswith("+"))):
        return None
    data = {"name": rule["name"], **conditions, "priority": rule.get("priority") or 0}
    data |= {"strip_digits": route["strip_digits"]} if route.get("strip_digits") else {}
    data |= {"prepend": route["prepend"]} if route.get("prepend") else {}
    return data | ({"caller_id": caller} if caller else {})


def _note_overlaps(drafts: Drafts) -> None:
    owner: dict[str, str] = {}
    for name, data in drafts.tenants.items():
        for did in DidPool.read(data["dids"]):
            if did in owner:
                drafts.add(Misfit.OVERLAP, name, f"{did} is also in the pool of {owner[did]}")
            owner[did] = name
