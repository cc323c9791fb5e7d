"""The resources that a run changed, as they are now, and the writes that undo it.

Resources are addressed by the vendors' ids from the journal: something with the same name today may
be another resource.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ..keys import Kind, ResourceKey, pbx_trunk
from ..plan import Effect
from ..records.footprint import Trace, same
from ..resources.regions import why_not_assigned
from ..resources.twilio_trunk import numbers_on
from ..resources.written import collection_of, is_number, number_or_path, read_at, session_of
from ..vendors.portsip import Session
from ..vendors.twilio import serves_something

if TYPE_CHECKING:
    from ..context import Context

#: The effect on calls of removing a resource, by its collection in the vendor's API.
EFFECTS = {
    "Trunks": Effect.INTERRUPTS_BOTH,
    "CredentialLists": Effect.INTERRUPTS_OUTBOUND,
    "Credentials": Effect.INTERRUPTS_OUTBOUND,
    "IpAccessControlLists": Effect.INTERRUPTS_OUTBOUND,
    "IpAddresses": Effect.INTERRUPTS_OUTBOUND,
    "OriginationUrls": Effect.INTERRUPTS_INBOUND,
    "IncomingPhoneNumbers": Effect.INTERRUPTS_INBOUND,
    "providers": Effect.INTERRUPTS_BOTH,
    "assignees": Effect.INTERRUPTS_BOTH,
    "inbound_rules": Effect.INTERRUPTS_INBOUND,
    "outbound_rules": Effect.INTERRUPTS_OUTBOUND,
}

#: The kinds of rules, by their collections.
RULES = {"inbound_rules": Kind.INBOUND_RULE, "outbound_rules": Kind.OUTBOUND_RULE}

#: Fields to recreate a resource with, by its collection; runs remove only these.
_MADE_WITH = {
    "OriginationUrls": ("friendly_name", "sip_url", "priority", "weight", "enabled"),
    "IpAddresses": ("friendly_name", "ip_address", "cidr_prefix_length"),
}

#: Values of a trunk's ``auth_type`` for lists of a kind. Source: Twilio, Trunks resource.
_AUTH_TYPES = {"CredentialLists": "CREDENTIAL_LIST", "IpAccessControlLists": "IP_ACL"}

#: A number's voice settings that pointing it at a trunk may remove. Source: Twilio,
#: IncomingPhoneNumber resource (setting TrunkSid deletes the voice application; URLs are ignored).
_VOICE = ("voice_url", "voice_method", "voice_fallback_url", "voice_fallback_method", "voice_application_sid")


class Resource(ABC):
    """A resource that a run changed."""

    def __init__(self, context: Context, trace: Trace) -> None:
        self.context = context
        self.trace = trace

    @abstractmethod
    def read(self) -> Mapping[str, Any] | None:
        """Return the vendor's present fields; ``None`` if it does not exist."""

    @abstractmethod
    def take_back(self) -> None:
        """Restore it: removed if the run created it, created again if the run removed it."""

    def is_as_left(self, live: Mapping[str, Any] | None) -> bool:
        """Whether it is still as the run left it."""
        if self.trace.kind == "removed" or live is None:
            return (live is None) == (self.trace.kind == "removed")
        return not self._moved(live)

    def is_as_before(self, live: Mapping[str, Any] | None) -> bool:
        """Whether it is as it was before the run."""
        if self.trace.kind == "made" or live is None:
            return (live is None) == (self.trace.kind == "made")
        fields = self._fields_of_interest()
        return all(same(self.trace.before.get(name), live.get(name), name) for name in fields)

    def missing(self) -> str:
        """Return what it depends on and no longer exists; empty if nothing is missing."""
        return ""

    def differences(self, live: Mapping[str, Any] | None) -> str:
        """Return how it differs from what the run left."""
        if live is None:
            return "it no longer exists"
        if self.trace.kind == "removed":
            return "it exists again, with other settings"
        moved = self._moved(live)
        return ", ".join(
            f"{name} is {live.get(name)!r}, the run left {value!r}" for name, value in moved.items()
        )

    def _moved(self, live: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that differ from what the run left, each with the value that it left.

        A change is undone field by field, so other fields may have any value. A created resource is
        removed as a whole, so every field counts that the vendor reported both then and now.
        """
        trace = self.trace
        left = trace.left if trace.kind == "made" else trace.changed
        told = {name: value for name, value in trace.told.items() if name in live}
        both = {**left, **told}
        return {name: value for name, value in both.items() if not same(value, live.get(name), name)}

    def _fields_of_interest(self) -> tuple[str, ...]:
        if self.trace.kind == "removed":
            return _MADE_WITH[collection_of(self.trace.path)]
        return tuple(self.trace.changed)


class _AtTwilio(Resource):
    def read(self) -> Mapping[str, Any] | None:
        if self.trace.kind != "removed":
            return self.context.twilio.read(self.trace.path)
        # When created again it has another id, so it is found by its content.
        fields = _MADE_WITH[collection_of(self.trace.path)]
        return next(
            (
                one
                for one in self.context.twilio.entries(_parent(self.trace.path))
                if all(same(self.trace.before.get(name), one.get(name), name) for name in fields)
            ),
            None,
        )

    def take_back(self) -> None:
        trace, twilio = self.trace, self.context.twilio
        if trace.kind == "made":
            twilio.remove(trace.path)
        elif trace.kind == "changed":
            twilio.write(trace.path, {name: trace.before.get(name) for name in trace.changed})
        else:
            fields = _MADE_WITH[collection_of(trace.path)]
            twilio.write(_parent(trace.path), {name: trace.before.get(name) for name in fields})


class _Number(Resource):
    """A number: its trunk, and the voice settings that it loses when it is moved there."""

    def read(self) -> Mapping[str, Any] | None:
        return read_at(self.context, "Twilio", self.trace.path)

    def is_as_left(self, live: Mapping[str, Any] | None) -> bool:
        if live is None:
            return False
        if self.trace.kind == "removed":
            return not serves_something(SimpleNamespace(**live))
        return same(self.trace.left.get("trunk_sid"), live.get("trunk_sid"))

    def is_as_before(self, live: Mapping[str, Any] | None) -> bool:
        fields = ("trunk_sid",) if self.trace.before.get("trunk_sid") else ("trunk_sid", *_VOICE)
        return live is not None and all(same(self.trace.before.get(name), live.get(name)) for name in fields)

    def differences(self, live: Mapping[str, Any] | None) -> str:
        return "something else answers it now" if live else "the account no longer owns it"

    def missing(self) -> str:
        trunk = self.trace.before.get("trunk_sid")
        if trunk and self.context.twilio.read(f"/v1/Trunks/{trunk}") is None:
            return "its previous trunk no longer exists: assign the number by hand"
        return why_not_assigned(self.context.account.region)

    def take_back(self) -> None:
        before, twilio = self.trace.before, self.context.twilio
        if before.get("trunk_sid"):
            # From trunk to trunk in one step, so that it is never without one.
            twilio.write(self._path, {"trunk_sid": before["trunk_sid"]})
            return
        live = self.read() or {}
        if live.get("trunk_sid"):
            twilio.remove(f"/v1/Trunks/{live['trunk_sid']}/PhoneNumbers/{self._sid}")
            live = self.read() or {}
        lost = {name: before[name] for name in _VOICE if not same(before.get(name), live.get(name))}
        if lost:
            twilio.write(self._path, lost)

    @property
    def _sid(self) -> str:
        return self.trace.path.rpartition("/")[2].removesuffix(".json")

    @property
    def _path(self) -> str:
        return number_or_path(self.context, self.trace.path)


class _AtPbx(Resource):
    """A trunk, an assignment or a rule; a trunk that was changed, section 90 updates with its password."""

    def read(self) -> Mapping[str, Any] | None:
        return read_at(self.context, "PortSIP", self.trace.path)

    def take_back(self) -> None:
        trace, kind = self.trace, collection_of(self.trace.path)
        before = {name: trace.before.get(name) for name in trace.changed}
        if trace.kind == "made":
            self._session.post(f"{trace.path}/destroy")
        elif kind == "assignees":
            self._session.post(trace.path, {name: trace.before.get(name) for name in trace.left})
        else:
            self.context.rules.write(kind, trace.path.rpartition("/")[2], before)

    @property
    def _session(self) -> Session:
        return session_of(self.context, self.trace.path)


def resource_of(context: Context, trace: Trace) -> Resource:
    """Return the resource of a trace."""
    if trace.vendor == "PortSIP":
        return _AtPbx(context, trace)
    return (_Number if is_number(trace.path) else _AtTwilio)(context, trace)


def hanging_on(context: Context, path: str) -> dict[str, ResourceKey]:
    """Return what would be lost or broken with a resource: paths, each with its key."""
    kind, sid = collection_of(path), path.rpartition("/")[2].removesuffix(".json")
    if kind == "Trunks":
        return _on_trunk(context, sid)
    if kind in ("CredentialLists", "IpAccessControlLists") and "/Trunks/" not in path:
        return _on_list(context, kind, sid)
    if kind == "providers":
        return _on_pbx_trunk(context, sid)
    if kind == "assignees":
        return {
            f"/{rules}/{one['id']}": _rule(rules, one)
            for rules, one in context.rules.through(path.split("/")[2])
        }
    return {}


def _rule(rules: str, rule: Mapping[str, Any]) -> ResourceKey:
    return ResourceKey.of(RULES[rules], rule["name"])


def _on_trunk(context: Context, sid: str) -> dict[str, ResourceKey]:
    trunk, base = context.twilio.trunks(sid), f"/v1/Trunks/{sid}"
    found = {
        context.twilio.number_path(one.sid): ResourceKey.of(Kind.NUMBER, one.phone_number)
        for one in numbers_on(context.twilio, sid)
    }
    found |= {
        f"{base}/OriginationUrls/{one.sid}": ResourceKey.of(Kind.ORIGINATION_URI, one.sip_url)
        for one in trunk.origination_urls.list()
    }
    found |= {
        f"{base}/IpAccessControlLists/{one.sid}": ResourceKey.of(Kind.ACCESS_LIST, one.friendly_name)
        for one in trunk.ip_access_control_lists.list()
    }
    found |= {
        f"{base}/CredentialLists/{one.sid}": ResourceKey.of(Kind.CREDENTIAL_LIST, one.friendly_name)
        for one in trunk.credentials_lists.list()
    }
    in_pbx = context.pbx_trunk.find()
    return found | ({f"/providers/{in_pbx['id']}": pbx_trunk(in_pbx["name"])} if in_pbx else {})


def _on_list(context: Context, kind: str, sid: str) -> dict[str, ResourceKey]:
    sip, base = context.twilio.account.sip, f"/2010-04-01/Accounts/{context.twilio.account_sid}/SIP"
    if kind == "CredentialLists":
        entries = [
            ("Credentials", one.sid, ResourceKey.of(Kind.USER, one.username))
            for one in sip.credential_lists(sid).credentials.list()
        ]
    else:
        entries = [
            (
                "IpAddresses",
                one.sid,
                ResourceKey.of(Kind.ADDRESS, f"{one.ip_address}/{one.cidr_prefix_length}"),
            )
            for one in sip.ip_access_control_lists(sid).ip_addresses.list()
        ]
    found = {f"{base}/{kind}/{sid}/{part}/{one}.json": key for part, one, key in entries}
    # No filter finds the trunks that have a list, so each one with lists of its kind is read (at most 100
    # trunks, Twilio's limit). Twilio's own refusal to delete a list in use comes after its entries are gone.
    for trunk in context.twilio.trunks.list():
        if _AUTH_TYPES[kind] not in (trunk.auth_type or ""):
            continue
        path = f"/v1/Trunks/{trunk.sid}/{kind}/{sid}"
        if context.twilio.read(path):
            found[path] = ResourceKey.of(Kind.TRUNK, trunk.domain_name or trunk.friendly_name)
    return found


def _on_pbx_trunk(context: Context, trunk_id: str) -> dict[str, ResourceKey]:
    found = {}
    if context.scope.is_shared:
        path = f"/providers/{trunk_id}/assignees"
        assignees = context.pbx.system.get(path).get("items") or []
        names = context.pbx.tenant_names({one["tenant_id"] for one in assignees})
        for one in assignees:
            tenant = one["tenant_id"]
            found[f"{path}/{tenant}"] = ResourceKey.of(Kind.TENANT, names.get(tenant, tenant))
    if context.scope.has_tenant:
        for rules, one in context.rules.through(trunk_id):
            found[f"/{rules}/{one['id']}"] = _rule(rules, one)
    return found


def _parent(path: str) -> str:
    return path.rpartition("/")[0] + (".json" if path.endswith(".json") else "")
