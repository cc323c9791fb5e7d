"""Who changed what differs, as far as the vendors say it: Twilio's events, the PBX's audit log.

Nothing is guessed. An event counts only if it is about the very resource and reports the value that is there
now or that should be there; everything else is "not known who". It is not an error if they may not be read.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from ..dialling.destinations import destination_in_words
from ..errors import AccountError, VendorError
from ..keys import PORTSIP, TWILIO, Kind, ResourceKey, Why
from ..meaning import meaning, same_name
from ..parameters import Tenant, TrunkScope
from ..plan import Row, Value
from ..resources.pbx_trunk import desired_fields
from ..resources.rules import providers_of
from ..sections import Item, Section
from ..vendors.pbx import quoted
from ..vendors.portsip import PAGE, Session
from ..vendors.twilio import MOST_EVENTS
from .reading import SiteReading, TenantContext

#: The PBX's types of objects in its audit log. An assignment does not have one.
OBJECT_TYPES = {
    Kind.PBX_TRUNK: "PROVIDER",
    Kind.ASSIGNMENT: "PROVIDER",
    Kind.INBOUND_RULE: "INBOUND_RULE",
    Kind.OUTBOUND_RULE: "OUTBOUND_RULE",
}
#: Entries of the audit log that are looked through, newest first.
MOST_ENTRIES = 1_000
Values = dict[str, Any]


@dataclass(frozen=True)
class Author:
    """Who changed something, when (as the vendor writes it), and from where."""

    who: str
    when: str
    where: str

    def __str__(self) -> str:
        return f"{self.who}, {self.when}" + (f" ({self.where})" if self.where else "")


@dataclass(frozen=True)
class RowSubject:
    """The resource that a row is about: at which vendor, of what kind, its id if it is there, its name.

    ``with_trunk`` is the SID of the trunk that a list or a number belongs on, ``field`` the vendor's name of
    the setting. ``values`` are what is there and what should be, where the vendor writes them otherwise than
    the row does.
    """

    vendor: str
    kind: Kind
    name: str
    id: str | None = None
    with_trunk: str | None = None
    field: str = ""
    values: tuple[Value, Value] | None = None

    def values_of(self, row: Row) -> tuple[Value, Value]:
        """The present and the desired value, as the vendor writes them."""
        return self.values or (row.current, row.desired)


def subject_of(section: Section, item: Item, row: Row) -> RowSubject:
    """Return what a row of a section's item is about."""
    facts, settings = section.facts, section.context.settings
    trunk = getattr(facts, "trunk", None)
    trunk_sid = getattr(trunk, "sid", None)
    field = _field_of(section, item, row)
    if section.number == "04":
        number = facts.numbers.get(row.setting)
        return RowSubject(TWILIO, Kind.NUMBER, row.setting, number and number.sid, trunk_sid)
    key = item.resource
    if key is None:
        return _without_key(section, row)
    if (
        key.parent is not None
        and key.parent.kind is Kind.TRUNK
        and key.kind
        in (
            Kind.ACCESS_LIST,
            Kind.CREDENTIAL_LIST,
        )
    ):
        own = next((lists.own for kind, lists in facts.lists.items() if kind.kind is key.kind), None)
        return RowSubject(TWILIO, key.kind, key.name, own and own.sid, trunk_sid)
    before = item.before or {}
    if key.kind is Kind.ASSIGNMENT:
        live = facts.live or {}
        return RowSubject(PORTSIP, key.kind, settings.pbx_name, live.get("id"))
    if section.number == "06" and row.why is Why.TAKEN:
        return _moved_rule(section, key)
    return RowSubject(key.vendor, key.kind, key.name, before.get("sid") or before.get("id"), field=field)


def _moved_rule(section: Section, key: ResourceKey) -> RowSubject:
    """A rule that leads to another trunk: its trunks and ours are ids in the PBX's history."""
    facts = section.facts
    rules = facts.rules.outbound if key.kind is Kind.OUTBOUND_RULE else facts.rules.inbound
    live: Values = next((rule for rule in rules if same_name(rule["name"], key.name)), {})
    ours = facts.trunk and facts.trunk["id"]
    elsewhere = next((used for used in providers_of(live) if used not in (None, ours)), None)
    moved = (elsewhere, ours)
    return RowSubject(PORTSIP, key.kind, key.name, live.get("id"), field="provider_id", values=moved)


def _field_of(section: Section, item: Item, row: Row) -> str:
    """The vendor's name of a row's setting; empty where a row is not one setting."""
    if section.number == "05":
        labels = {label: name for name, (_, label, _) in desired_fields(section.context.settings).items()}
        return labels.get(row.setting, "")
    return item.names[item.rows.index(row)] if item.names else ""


def _without_key(section: Section, row: Row) -> RowSubject:
    """What a row is about that only a person can settle, so that nothing would be written."""
    settings = section.context.settings
    if section.number == "05":
        live = section.facts.live or {}
        return RowSubject(PORTSIP, Kind.PBX_TRUNK, settings.pbx_name, live.get("id"))
    if section.number == "06":
        kind = Kind.OUTBOUND_RULE if row.step == "6.1" else Kind.INBOUND_RULE
        return RowSubject(PORTSIP, kind, "")  # several rules together, such as two that tie
    if section.number == "02" and row.step == "2.3":
        return RowSubject(TWILIO, Kind.USER, settings.username)
    trunk = getattr(section.facts, "trunk", None)
    return RowSubject(TWILIO, Kind.TRUNK, settings.domain, trunk.sid if trunk is not None else None)


class Authors:
    """Looks up who changed what; reads the vendors' histories when something differs, and once."""

    def __init__(self, reading: SiteReading, owners: Sequence[Tenant | TrunkScope]) -> None:
        self._names = _names(reading, owners)
        self._histories: dict[str, list[Any]] = {}
        self._looking = threading.Lock()

    def author_of(self, context: TenantContext, row: Row, subject: RowSubject) -> Author | None:
        """Return who made a row what it is; ``None`` where no vendor says so."""
        if subject.vendor == TWILIO:
            return self._at_twilio(context, row, subject)
        return self._at_pbx(context, row, subject)

    def _at_twilio(self, context: TenantContext, row: Row, subject: RowSubject) -> Author | None:
        account, twilio = context.settings.account_name, context.twilio
        events = self._history(account, twilio.events)
        if subject.id and len(events) >= MOST_EVENTS:
            events = self._history(f"{account}/{subject.id}", lambda: twilio.events(subject.id))
        event = next((event for event in events if _event_tells(event, row, subject)), None)
        if event is None or not (event.actor_sid or event.actor_type):
            return None
        who = " ".join(filter(None, (event.actor_type, event.actor_sid)))
        where = " ".join(filter(None, (event.source, event.source_ip_address)))
        return Author(who, event.event_date.isoformat() if event.event_date else "", where)

    def _at_pbx(self, context: TenantContext, row: Row, subject: RowSubject) -> Author | None:
        of_system = context.scope.is_shared and subject.kind in (Kind.PBX_TRUNK, Kind.ASSIGNMENT)
        session = context.pbx.system if of_system else context.pbx.session
        whose = "system" if of_system else context.pbx.tenant_id
        object_type, name = OBJECT_TYPES[subject.kind], meaning("name", subject.name)
        is_unique = self._names[object_type, name] < 2
        is_of_tenant = context.scope.has_tenant and (subject.kind is Kind.ASSIGNMENT or not of_system)
        tenant_id = context.pbx.tenant_id if is_of_tenant else None
        for entry in self._history(whose, lambda: _newest(session)):
            same = (
                entry.get("object_type") == object_type and meaning("name", entry.get("object_name")) == name
            )
            if same and entry.get("user_name") and _entry_tells(entry, row, subject, is_unique, tenant_id):
                return Author(
                    str(entry["user_name"]), str(entry.get("created_at") or ""), str(entry.get("ip") or "")
                )
        return None

    def _history(self, name: str, read: Callable[[], list[Any]]) -> list[Any]:
        with self._looking:
            if name not in self._histories:
                try:
                    self._histories[name] = read()
                except AccountError:
                    raise
                except VendorError:  # not known who, but still known what
                    self._histories[name] = []
            return self._histories[name]


def _names(reading: SiteReading, owners: Sequence[Tenant | TrunkScope]) -> Counter[tuple[str, Any]]:
    """How many of the site's things have a name, by their type in the audit log."""
    names: Counter[tuple[str, Any]] = Counter()
    for owner in owners:
        if not isinstance(owner, Tenant):
            continue
        if owner.shared_trunk is None:
            names["PROVIDER", meaning("name", owner.pbx_trunk.name)] += 1
        rules = owner.call_rules
        for rule in rules.outbound if rules else ():
            names["OUTBOUND_RULE", meaning("name", rule.name)] += 1
        for inbound in rules.inbound if rules else ():
            names["INBOUND_RULE", meaning("name", inbound.name)] += 1
    for trunk in reading.site.shared_trunks.values():
        names["PROVIDER", meaning("name", trunk.pbx_trunk.name)] += 1
    return names


def _newest(session: Session) -> list[dict[str, Any]]:
    """Return the newest entries of the audit log, whatever order and pages the PBX gives."""
    # Which fields a filter takes is not documented, so what it narrows down is looked at again.
    narrowed: dict[str, str | int] = {
        "orderby": "created_at desc",
        "top": PAGE,
        "filter": " or ".join(f"object_type eq {quoted(one)}" for one in sorted({*OBJECT_TYPES.values()})),
    }
    try:
        page = session.get("/audit_logs", **narrowed)
    except VendorError as error:
        if error.status != httpx.codes.BAD_REQUEST:
            raise
        narrowed = {"top": PAGE}
        page = session.get("/audit_logs", **narrowed)
    items = [*(page.get("items") or ())]
    while page.get("items") and len(items) < min(page.get("count") or 0, MOST_ENTRIES):
        page = session.get("/audit_logs", **narrowed, skip=len(items))
        items += page.get("items") or ()
    return sorted(items, key=lambda entry: str(entry.get("created_at") or ""), reverse=True)


def _event_tells(event: Any, row: Row, subject: RowSubject) -> bool:
    """Whether an event of Twilio's is what made a row what it is."""
    data = event.event_data if isinstance(event.event_data, dict) else {}
    changed = {
        name: (both.get("previous"), both.get("updated"))
        for name, both in (data.get("resource_properties") or data).items()
        if isinstance(both, dict)
    }
    previous = {str(before) for before, _ in changed.values() if before is not None}
    is_gone = str(event.event_type or "").endswith(".deleted")
    if subject.with_trunk and subject.kind is not Kind.NUMBER:  # a list's place on a trunk
        both = {str(subject.id), subject.with_trunk}
        return is_gone and both <= {str(event.resource_sid), *previous}
    if subject.id is None:
        return is_gone and any(_fits(value, subject.name) for value in previous)
    if event.resource_sid != subject.id:
        return False
    if not changed:
        return True
    before_was_right = subject.with_trunk is not None and subject.with_trunk in previous
    return before_was_right or _is_about(changed, row, subject)


def _entry_tells(
    entry: Mapping[str, Any], row: Row, subject: RowSubject, is_unique: bool, tenant_id: str | None
) -> bool:
    """Whether an entry of the audit log is what made a row what it is.

    ``is_unique`` says that nothing else of the site has this type and name; ``tenant_id`` whose it has
    to be, if the entry says so.
    """
    before, after = _values(entry.get("old_state")), _values(entry.get("new_state"))
    known = after or before
    if known.get("id") not in (None, subject.id) and subject.id is not None:
        return False
    if tenant_id is not None and known.get("tenant_id") not in (None, tenant_id):
        return False
    if known.get("id") is None and not is_unique:
        return False  # another tenant has one of the same name
    if not known:
        return True
    if entry.get("action") == "DELETE":
        return row.current is None
    changed = {
        path: (before.get(path), after.get(path))
        for path in before | after
        if before.get(path) != after.get(path)
    }
    return _is_about(changed, row, subject)


def _is_about(changed: Mapping[str, tuple[Any, Any]], row: Row, subject: RowSubject) -> bool:
    """Whether one of the values that changed is the row's: its setting, and what is or should be there."""
    current, desired = subject.values_of(row)
    names = {subject.field, *(("cidr_prefix_length",) if subject.field == "ip_address" else ())}
    return any(
        _fits(after, current) or (desired is not None and _fits(before, desired))
        for place, (before, after) in changed.items()
        if not subject.field or names & {*place.split(".")}
    )


def _values(state: Any) -> Values:
    """The single values of an entry's state, by their place in it; empty where it is not JSON."""
    try:
        content = json.loads(state) if isinstance(state, str) and state else state
    except ValueError:
        return {}
    found: Values = {}

    def collect(place: str, value: Any) -> None:
        if isinstance(value, dict):
            if value.get("action"):
                found[place] = destination_in_words(value)
                return
            for name, inner in value.items():
                collect(f"{place}.{name}" if place else str(name), inner)
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                collect(f"{place}.{index}", inner)
        else:
            found[place] = value

    collect("", content if isinstance(content, dict) else {})
    return found


def _fits(told: Any, value: Value) -> bool:
    """Whether a value that a history reports is the one of a row, or a part of it."""
    if value is None or told is None:
        return False
    text = str(told).strip().lower()
    wanted = str(value).strip().lower()
    parts = {wanted, *wanted.split("/")} if "/" in wanted and len(wanted) < 20 else {wanted}
    return (
        text in parts
        or meaning("did_numbers", text) == meaning("did_numbers", wanted)
        or meaning("sip_url", text) == meaning("sip_url", wanted)
    )
