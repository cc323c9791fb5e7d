"""What the program compares: keys of resources, and the enumeration of why a row stops.

Sentences are for people and can be edited: no phrase here is compared, split or searched. The only
exception is the phrases of older journals, which have no keys; ``key_of_phrase`` reads them through
a table that must not be edited.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from .meaning import meaning

TWILIO, PORTSIP = "Twilio", "PortSIP"


class Kind(StrEnum):
    """What a resource is. Journals contain these values, so they must not change."""

    TRUNK = "trunk"
    TERMINATION_URI = "termination_uri"
    ACCESS_LIST = "ip_access_control_list"
    CREDENTIAL_LIST = "credential_list"
    ADDRESS = "address"
    USER = "user"
    ORIGINATION_URI = "origination_uri"
    NUMBER = "number"
    PBX_TRUNK = "pbx_trunk"
    ASSIGNMENT = "assignment"
    INBOUND_RULE = "inbound_rule"
    OUTBOUND_RULE = "outbound_rule"
    TENANT = "tenant"
    #: For a line of a journal that is not in the table of older phrases.
    UNKNOWN = "unknown"


#: How people name each kind.
WORDS = {
    Kind.TRUNK: "trunk",
    Kind.TERMINATION_URI: "termination URI",
    Kind.ACCESS_LIST: "IP access control list",
    Kind.CREDENTIAL_LIST: "credential list",
    Kind.ADDRESS: "address",
    Kind.USER: "user",
    Kind.ORIGINATION_URI: "origination URI",
    Kind.NUMBER: "number",
    Kind.PBX_TRUNK: "PBX trunk",
    Kind.ASSIGNMENT: "assignment",
    Kind.INBOUND_RULE: "inbound rule",
    Kind.OUTBOUND_RULE: "outbound rule",
    Kind.TENANT: "tenant",
}
#: The kinds of lists that Twilio can enforce.
LISTS = frozenset({Kind.ACCESS_LIST, Kind.CREDENTIAL_LIST})
_IN_THE_PBX = frozenset({Kind.PBX_TRUNK, Kind.ASSIGNMENT, Kind.INBOUND_RULE, Kind.OUTBOUND_RULE, Kind.TENANT})


class Why(StrEnum):
    """Why a row stops, or is left alone; the row's note explains it to people."""

    NO_LEAVE = "no leave"  # it interrupts calls, and accept_interruption is not set
    BLOCKED_BY_SECTION = "blocked by section"  # another section has to be applied first
    NOT_READY = "not ready"  # calls would not arrive: a trunk or a rule is missing
    NOT_OURS = "not ours"  # nothing shows that the runbook created it
    TAKEN = "taken"  # something else has it today
    AMBIGUOUS = "ambiguous"  # something that must be unique was found more than once
    SHARED = "shared"  # a setting of a shared trunk, in a tenant's run
    IN_USE = "in use"  # something still uses it
    UNSUITABLE = "unsuitable"  # state or parameters do not match, which only a person can resolve
    IMMUTABLE = "immutable"  # the vendor cannot change it
    KEPT = "kept"  # left as it is until the parameters say otherwise
    MOVED = "moved"  # no longer what the record left
    NOT_THE_TENANTS = "not the tenant's"  # it hangs on something of somebody else
    GONE = "gone"  # what it would need again no longer exists
    CANNOT_BE_UNDONE = "cannot be undone"  # what was there before cannot be read
    RINGS_NOWHERE = "rings nowhere"  # nothing in the PBX takes the calls to a number
    NO_EMERGENCY_ADDRESS = "no emergency address"  # nobody would know where an emergency call comes from
    AS_BEFORE = "as before"  # as it was before the record


@dataclass(frozen=True, eq=False)
class ResourceKey:
    """What identifies a resource to people: equal for the same resource, whatever messages call it.

    ``parent`` is what it belongs to: a list of an address, a trunk of an origination URI, and the
    trunk of a list for the list's place on it. A name is kept as it was written; in comparisons it is
    what people read, so an accent may be a part of its letter or follow it.
    """

    vendor: str
    kind: Kind
    name: str
    parent: ResourceKey | None = None

    @property
    def identity(self) -> tuple[Any, ...]:
        """The value by which two keys of one resource are equal."""
        parent = self.parent.identity if self.parent else ()
        return (self.vendor, str(self.kind), meaning("name", self.name), *parent)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ResourceKey) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    @classmethod
    def of(cls, kind: Kind, name: str, parent: ResourceKey | None = None) -> Self:
        """Return the key of a resource at the vendor that has this kind."""
        return cls(PORTSIP if kind in _IN_THE_PBX else TWILIO, kind, name, parent)

    def __str__(self) -> str:
        """The resource for people, with what it belongs to."""
        if self.kind is Kind.ASSIGNMENT:
            return f"{WORDS[self.kind]} of {self.parent} to {WORDS[Kind.TENANT]} {self.name}"
        if self.parent is None:
            return self.words
        return f"{self.words} {'in' if self.parent.kind in LISTS else 'on'} {self.parent}"

    @property
    def words(self) -> str:
        """The resource for people, by its kind and name alone."""
        return f"{WORDS[self.kind]} {self.name}" if self.kind in WORDS else self.name

    def to_data(self) -> dict[str, Any]:
        """Return the key as plain data, for journals."""
        parent = self.parent.to_data() if self.parent else None
        return {"vendor": self.vendor, "kind": str(self.kind), "name": self.name, "parent": parent}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Read a key; ``ValueError``, ``KeyError`` or ``TypeError`` for anything else.

        A kind that this runbook does not know is kept, but never looked up.
        """
        kind, parent = data["kind"], data["parent"]
        known = Kind(kind) if kind in [*Kind] else Kind.UNKNOWN
        return cls(
            str(data["vendor"]), known, str(data["name"]), None if parent is None else cls.from_data(parent)
        )


def trunk(domain: str) -> ResourceKey:
    """Return the key of a Twilio trunk, which its termination URI identifies."""
    return ResourceKey.of(Kind.TRUNK, domain)


def on_trunk(resource: ResourceKey, domain: str) -> ResourceKey:
    """Return the key of a list's place on a trunk."""
    return ResourceKey.of(resource.kind, resource.name, trunk(domain))


def origination_uri(sip_url: str | None, domain: str) -> ResourceKey:
    """Return the key of an origination URI: as the runbook writes it, however Twilio spells it now."""
    return ResourceKey.of(Kind.ORIGINATION_URI, str(meaning("sip_url", sip_url)), trunk(domain))


def pbx_trunk(name: str) -> ResourceKey:
    """Return the key of a trunk in the PBX."""
    return ResourceKey.of(Kind.PBX_TRUNK, name)


def assignment(name: str, tenant: str) -> ResourceKey:
    """Return the key of a tenant's share of a trunk in the PBX."""
    return ResourceKey.of(Kind.ASSIGNMENT, tenant, pbx_trunk(name))


#: The phrases of journals without keys, unchanged: never edited, even if ``WORDS`` is. The first
#: match counts; a list's place on a trunk matches only writes below a trunk.
_ON_TRUNK = r" on trunk (?P<trunk>\S+)"
_OLD_PHRASES: tuple[tuple[str, Kind, Kind | None], ...] = (
    (r"assignment of PBX trunk (?P<parent>.+) to tenant (?P<name>\S+)", Kind.ASSIGNMENT, Kind.PBX_TRUNK),
    (r"PBX trunk (?P<name>.+)", Kind.PBX_TRUNK, None),
    (rf"IP access control list (?P<name>.+){_ON_TRUNK}", Kind.ACCESS_LIST, Kind.TRUNK),
    (rf"credential list (?P<name>.+){_ON_TRUNK}", Kind.CREDENTIAL_LIST, Kind.TRUNK),
    (rf"origination URI (?P<name>.+){_ON_TRUNK}", Kind.ORIGINATION_URI, Kind.TRUNK),
    (r"address (?P<name>\S+) in IP access control list (?P<parent>.+)", Kind.ADDRESS, Kind.ACCESS_LIST),
    (r"user (?P<name>\S+) in credential list (?P<parent>.+)", Kind.USER, Kind.CREDENTIAL_LIST),
    (r"IP access control list (?P<name>.+)", Kind.ACCESS_LIST, None),
    (r"credential list (?P<name>.+)", Kind.CREDENTIAL_LIST, None),
    (r"termination URI (?P<name>.+)", Kind.TERMINATION_URI, None),
    (r"trunk (?P<name>.+)", Kind.TRUNK, None),
    (r"number (?P<name>\S+)", Kind.NUMBER, None),
    (r"inbound rule (?P<name>.+)", Kind.INBOUND_RULE, None),
    (r"outbound rule (?P<name>.+)", Kind.OUTBOUND_RULE, None),
)


def key_of_phrase(phrase: str, path: str) -> ResourceKey:
    """Return the key of what an older journal calls by this phrase, in a write on this path of an API."""
    for pattern, kind, parent_kind in _OLD_PHRASES:
        found = re.fullmatch(pattern, phrase, re.DOTALL)
        # A list may have any name, even one that ends like its place on a trunk.
        is_place = kind in LISTS and parent_kind is Kind.TRUNK
        if found is None or (is_place and not path.startswith("/v1/Trunks/")):
            continue
        parts = found.groupdict()
        if kind is Kind.ORIGINATION_URI:
            return origination_uri(parts["name"], parts["trunk"])
        named = parts.get("parent") or parts.get("trunk")
        parent = ResourceKey.of(parent_kind, named) if parent_kind and named else None
        return ResourceKey.of(kind, parts["name"], parent)
    return ResourceKey.of(Kind.UNKNOWN, phrase)
