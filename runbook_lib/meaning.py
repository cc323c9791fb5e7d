"""The meaning of a vendor field's value, however it is written.

Plans, verification and rollbacks compare meanings; spellings are shown as the vendor has them. A field
without a form here is compared literally. An order that counts (routes, priorities) has no form
either.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Hashable
from ipaddress import IPv4Network, collapse_addresses
from typing import Any

from .did_pool import DidPool
from .sip_uri import OriginationUri, TerminationUri


def meaning(field: str, value: Any) -> Any:
    """Return the meaning of a vendor field's value: equal for two spellings of the same."""
    form = FORMS.get(field)
    return form(value) if form is not None and isinstance(value, str) and value.strip() else value


def host(text: str) -> str:
    """A DNS name ignores case, and may end in the root's dot."""
    return text.strip().removesuffix(".").lower()


def hostname(text: str) -> str:
    """Where the PBX sends calls: a termination URI names an edge as it is called today."""
    name = host(text)
    return str(TerminationUri.read(name) or name)


def name(text: str) -> str:
    """A name is what people read: letters with their accents, whole or in parts (Unicode's NFC)."""
    return unicodedata.normalize("NFC", text)


def same_name(one: str | None, other: str | None) -> bool:
    """Whether two names are one to people."""
    return meaning("name", one) == meaning("name", other)


def sip_uri(text: str) -> Hashable:
    """An origination URI: the host's case, the order of parameters, the default port and transport."""
    folded = re.sub(r"^(sip:[^:;]+)\.(?=[:;]|$)", r"\1", text.strip().lower())
    try:
        return OriginationUri.parse(folded)
    except ValueError:
        return text


def numbers(text: str) -> Hashable:
    """A pool of numbers: their order, and ranges that are split, joined or overlap."""
    try:
        return DidPool.read(text)
    except ValueError:
        return entries(text)


def entries(text: str) -> frozenset[str]:
    """A list joined by semicolons that has no order."""
    return frozenset(entry.strip() for entry in text.split(";") if entry.strip())


def networks(text: str) -> frozenset[IPv4Network | str]:
    """A list of addresses and networks: ``/32`` or not, in any order, split or joined."""
    found: list[IPv4Network] = []
    others: set[str] = set()
    for entry in entries(text):
        try:
            found.append(IPv4Network(entry, strict=False))
        except ValueError:
            others.add(host(entry))
    return frozenset({*collapse_addresses(found), *others})


def word(text: str) -> str:
    """One of a vendor's keywords, whose case is irrelevant."""
    return name(text.strip().casefold())


FORMS: dict[str, Callable[[str], Hashable]] = {
    "additional_ips": networks,
    "address": networks,
    "auth_mode": word,
    "brand": word,
    "did_numbers": numbers,
    "domain": host,
    "domain_name": host,
    "friendly_name": name,
    "hostname": hostname,
    "name": name,
    "number_length": entries,
    "number_mask": numbers,
    "number_prefix": entries,
    "outbound_server": host,
    "protocol": word,
    "sip_url": sip_uri,
    "status": word,
    "transport": word,
}
