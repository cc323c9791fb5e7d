"""SIP addresses of a trunk: termination domains, origination URIs, and the hosts in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

SUFFIX = ".pstn.twilio.com"
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)

#: Twilio's regions by their old name, and the edge's name of today. Source: Twilio, "Global
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
DEFAULT_PORTS = {"udp": 5060, "tcp": 5060, "tls": 5061}

_DOCUMENTATION = tuple(IPv4Network(net) for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"))


def termination_label(text: str) -> str:
    """Check a termination URI, given as its label or in full, and return the label.

    Upper case is refused rather than folded: how Twilio folds it is not documented. A label that
    DNS would not take (RFC 1123: letters, digits, inner hyphens, 63 characters) is refused.
    Raises ``ValueError`` saying what is wrong.
    """
    label = text.removesuffix(SUFFIX)
    parts = label.split(".")
    if len(parts) > 2 or not all(_LABEL.fullmatch(part) for part in parts):
        raise ValueError(
            "not a termination label: lower-case letters, digits and inner hyphens, at most 63 characters,"
            f" in front of {SUFFIX}"
        )
    return label


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
    """Return the IPv4 address that a text is, or ``None``."""
    try:
        return IPv4Address(text)
    except ValueError:
        return None


def not_public(text: str) -> str | None:
    """Say why an address is none that Twilio can reach: ``"private"``, ``"loopback"`` …; ``None`` if it can.

    Names count as public: what they resolve to is not looked up.
    """
    ip = address(text)
    if ip is None:
        return "loopback" if text == "localhost" or text.endswith(".localhost") else None
    if any(ip in network for network in _DOCUMENTATION):
        return "documentation"
    for kind in ("loopback", "link_local", "multicast", "unspecified", "reserved", "private"):
        if getattr(ip, f"is_{kind}"):
            return kind.replace("_", "-")
    return None if ip.is_global else "not globally routed"


@dataclass(frozen=True)
class OriginationUri:
    """An origination URI as Twilio takes it: ``sip:host[:port][;transport=…];region=us1`` or ``;edge=…``.

    Source: Twilio, Elastic SIP Trunking, "Origination" (form), and the guide's steps 3.1 and 3.2.
    """

    host: str
    region: str
    parameter: str = "region"
    transport: str = "udp"
    port: int = 5060

    def __str__(self) -> str:
        """The URI; port and transport are left out where they are Twilio's defaults, as the guide does."""
        usual = self.transport == "udp" and self.port == DEFAULT_PORTS["udp"]
        place = self.region if self.parameter == "region" else EDGES[self.region]
        middle = "" if usual else f":{self.port};transport={self.transport}"
        return f"sip:{self.host}{middle};{self.parameter}={place}"
