"""SIP addresses of a trunk: termination domains, origination URIs, and the hosts in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

SUFFIX = ".pstn.twilio.com"
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_TERMINATION = re.compile(r"(.+?)\.pstn(?:\.([a-z0-9-]+))?\.twilio\.com", re.ASCII)

#: Twilio's regions by their old name, with the edge's present name. Source: Twilio, "Global
#: infrastructure: edge locations" and "legacy regions".
EDGES = {
    "us1": "ashburn",
    "us2": "umatilla",
    "ie1": "dublin",
    "de1": "frankfurt",
    "br1": "sao-paulo",
    "sg1": "singapore",
    "jp1": "tokyo",
    "au1": "sydney",
}
REGIONS = {edge: region for region, edge in EDGES.items()}
#: The private edges of Twilio Interconnect, likewise. Source: Twilio, "Interconnect termination URIs".
PRIVATE_EDGES = {f"{region}-ix": f"{edge}-ix" for region, edge in EDGES.items()} | {
    "us2-ix": "san-jose-ix",
    "ie1-ix": "london-ix",
}
#: Edges in a termination URI, by each name that they have or had.
TERMINATION_EDGES = {name: edge for old, edge in (EDGES | PRIVATE_EDGES).items() for name in (old, edge)}
DEFAULT_PORTS = {"udp": 5060, "tcp": 5060, "tls": 5061}

_DOCUMENTATION = tuple(IPv4Network(net) for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"))
#: Top-level names that are never in the public DNS (RFC 2606, 6761, 6762, 8375, and by custom).
_PRIVATE_NAMES = frozenset({"arpa", "home", "internal", "invalid", "lan", "local", "localhost", "test"})


@dataclass(frozen=True)
class TerminationUri:
    """Where the PBX sends calls: the label, which identifies the trunk, and the edge at which they enter.

    Without an edge (``""``) Twilio chooses. Source: Twilio, "Localized URIs: termination"; a private edge
    ends in ``-ix``. The edge is not a setting of the trunk, which can be called through any of them.
    """

    label: str
    edge: str = ""

    @classmethod
    def parse(cls, text: str) -> TerminationUri:
        """Read a termination URI that an operator wrote: a label, or the URI in full, with an edge or not.

        Upper case is refused rather than folded: how Twilio folds it is not documented. A label that DNS
        would not take (RFC 1123: letters, digits, inner hyphens, 63 characters) is refused; one dot makes
        a sub-domain of another trunk's label. Raises ``ValueError`` saying what is wrong.
        """
        match = _TERMINATION.fullmatch(text)
        label, named = (match[1], match[2] or "") if match else (text, "")
        parts = label.split(".")
        if len(parts) > 2 or not all(_LABEL.fullmatch(part) for part in parts):
            raise ValueError(
                "not a termination label: lower-case letters, digits and inner hyphens, at most 63"
                f" characters, followed by {SUFFIX} or .pstn.EDGE.twilio.com"
            )
        if named and named not in TERMINATION_EDGES:
            edges = ", ".join(dict.fromkeys(TERMINATION_EDGES.values()))
            raise ValueError(f"its edge is not one of those through which a trunk can be called: {edges}")
        return cls(label, TERMINATION_EDGES.get(named, ""))

    @classmethod
    def read(cls, hostname: str) -> TerminationUri | None:
        """Read a hostname from the PBX, in lower case; ``None`` if it does not belong to a Twilio trunk."""
        try:
            return cls.parse(hostname) if _TERMINATION.fullmatch(hostname) else None
        except ValueError:
            return None

    @property
    def domain(self) -> str:
        """The trunk's domain name at Twilio, which has no edge."""
        return self.label + SUFFIX

    def __str__(self) -> str:
        """The URI in full, with the edge's present name."""
        return f"{self.label}.pstn.{self.edge}.twilio.com" if self.edge else self.domain


def termination_label(text: str) -> str:
    """Return the label of a termination URI; see ``TerminationUri.parse``."""
    return TerminationUri.parse(text).label


def termination(text: str) -> str:
    """Check a termination URI and return it: its label alone, or in full if it names an edge."""
    uri = TerminationUri.parse(text)
    return str(uri) if uri.edge else uri.label


def check_host(text: str) -> str:
    """Check an IPv4 address or a fully qualified domain name and return it; ``ValueError`` otherwise."""
    if address(text) is not None:
        return text
    labels = text.split(".")
    if (
        len(text) > 253
        or len(labels) < 2
        or labels[-1].isdigit()
        or not all(_LABEL.fullmatch(one) for one in labels)
    ):
        raise ValueError("neither an IPv4 address nor a fully qualified domain name in lower case")
    return text


def address(text: str) -> IPv4Address | None:
    """Return a text as an IPv4 address, or ``None``."""
    try:
        return IPv4Address(text)
    except ValueError:
        return None


def address_kind(text: str) -> str:
    """Return the kind of a host's address: ``"public"`` if Twilio can reach it, otherwise why it cannot.

    Kinds: ``public``, ``private``, ``loopback``, ``documentation``, ``link-local``, ``multicast``,
    ``unspecified``, ``reserved``, ``not globally routed`` (carrier-grade NAT). A name
    counts as public unless it ends in a top-level name that the public DNS never has; what it
    resolves to is not checked.
    """
    ip = address(text)
    if ip is None:
        last = text.rstrip(".").rsplit(".", 1)[-1].lower()
        return "loopback" if last == "localhost" else "private" if last in _PRIVATE_NAMES else "public"
    if any(ip in network for network in _DOCUMENTATION):
        return "documentation"
    for kind in ("loopback", "link_local", "multicast", "unspecified", "reserved", "private"):
        if getattr(ip, f"is_{kind}"):
            return kind.replace("_", "-")
    return "public" if ip.is_global else "not globally routed"


def not_public(text: str) -> str | None:
    """Return why Twilio cannot reach an address (see ``address_kind``); ``None`` if it can."""
    kind = address_kind(text)
    return None if kind == "public" else kind


@dataclass(frozen=True)
class OriginationUri:
    """An origination URI as Twilio accepts it: ``sip:host[:port][;transport=…];region=us1`` or ``;edge=…``.

    ``region`` is the region's old name (``us1``) whatever ``parameter`` says. Raises ``ValueError``
    saying what is wrong with a part. Source: Twilio, Elastic SIP Trunking, "Origination" (form), and
    the guide's steps 3.1 and 3.2.
    """

    host: str
    region: str
    parameter: str = "region"
    transport: str = "udp"
    port: int = 5060

    def __post_init__(self) -> None:
        check_host(self.host)
        for name, value, allowed in (
            ("region", self.region, EDGES),
            ("parameter", self.parameter, ("region", "edge")),
            ("transport", self.transport, DEFAULT_PORTS),
        ):
            if value not in allowed:
                raise ValueError(f"{name} is not one of {', '.join(allowed)}")
        if not 1 <= self.port <= 65535:
            raise ValueError("port is out of range: 1 to 65535")

    @classmethod
    def parse(cls, text: str) -> OriginationUri:
        """Read an origination URI of the form above, as a vendor or a person wrote it.

        Port and transport may be missing (Twilio's defaults), the order of parameters is free.
        Raises ``ValueError`` for everything else: another scheme, a user, headers, other parameters.
        """
        match = re.fullmatch(r"sip:([^@:;?]+)(?::(\d{1,5}))?((?:;[a-z]+=[a-z0-9-]+)*)", text, re.ASCII)
        if match is None:
            raise ValueError("not of the form sip:host[:port][;transport=…];region=… (or ;edge=…)")
        given = [part.split("=", 1) for part in match[3].split(";")[1:]]
        values = dict(given)
        places = values.keys() & {"region", "edge"}
        if len(values) != len(given) or len(places) != 1 or values.keys() - {"transport", "region", "edge"}:
            raise ValueError("exactly one of region and edge, at most one transport, and nothing else")
        parameter, transport = places.pop(), values.get("transport", "udp")
        place = values[parameter]
        region = REGIONS.get(place, "") if parameter == "edge" else place
        port = int(match[2]) if match[2] else DEFAULT_PORTS.get(transport, 0)
        return cls(match[1], region, parameter, transport, port)

    @property
    def edge(self) -> str:
        """The region's present name, for example ``ashburn``."""
        return EDGES[self.region]

    def __str__(self) -> str:
        """The URI; port and transport are omitted if they are Twilio's defaults, as in the guide."""
        usual = self.transport == "udp" and self.port == DEFAULT_PORTS["udp"]
        place = self.region if self.parameter == "region" else self.edge
        middle = "" if usual else f":{self.port};transport={self.transport}"
        return f"sip:{self.host}{middle};{self.parameter}={place}"
