"""Where Twilio's signalling comes from: its published ranges, and those on a PBX trunk.

Ranges are compared by their addresses, not by how they are written: two halves equal the
whole, and a single address is a range too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network

Network = IPv4Network | IPv6Network

#: Twilio's signalling addresses by edge; all four addresses of each /30 count, and all edges are
#: needed, whichever edge is chosen. Source: Twilio, "Elastic SIP Trunking IP addresses".
PUBLISHED = {
    "ashburn": "54.172.60.0/30",
    "umatilla": "54.244.51.0/30",
    "dublin": "54.171.127.192/30",
    "frankfurt": "35.156.191.128/30",
    "tokyo": "54.65.63.192/30",
    "singapore": "54.169.127.128/30",
    "sydney": "54.252.254.64/30",
    "sao-paulo": "177.71.206.192/30",
}
#: Prefix lengths by IP version: anyone who sends from an associated address can call in without a password,
#: and a range wider than this is unlikely to be one provider's signalling alone.
WIDE = {4: 24, 6: 64}


def wanted(additional: Iterable[str]) -> list[Network]:
    """Return the ranges that a PBX trunk needs: Twilio's, and the site's additional ones."""
    return [
        network for text in (*PUBLISHED.values(), *additional) if (network := network_of(text)) is not None
    ]


def network_of(text: str) -> Network | None:
    """Return the range that a text means, even if host bits are set; or ``None``."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def covers(networks: Iterable[Network], network: Network) -> bool:
    """Whether these ranges together contain every address of ``network``."""
    return any(_within(network, whole) for whole in _collapsed(networks, network.version))


@dataclass(frozen=True)
class Associated:
    """The associated addresses of a PBX trunk, as they are and as they should be.

    Parameters
    ----------
    live
        The trunk's field: ranges joined by semicolons.
    additional
        The site's ranges beside Twilio's published ones.
    remove
        Ranges to remove; every other existing one is kept.
    """

    live: str
    additional: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()

    @property
    def desired(self) -> str:
        """The desired field; unchanged if it already means the same addresses."""
        needed, there = wanted(self.additional), [network for _, network in self._entries() if network]
        if not self.removed and all(covers(there, network) for network in needed):
            return self.live
        texts = list(PUBLISHED.values())
        for text in self.additional:
            if not covers(wanted(texts), ip_network(text)):
                texts.append(text)
        return ";".join([*texts, *self.kept])

    @property
    def further(self) -> tuple[str, ...]:
        """The existing ranges that are not known to be needed; each once."""
        needed, seen, found = wanted(self.additional), list[Network](), list[str]()
        for text, network in self._entries():
            if network is None:
                found += [] if text in found else [text]
            elif not covers([*needed, *seen], network):
                found.append(text)
                seen.append(network)
        return tuple(found)

    @property
    def removed(self) -> tuple[str, ...]:
        """The further ranges to remove."""
        return tuple(text for text in self.further if self._is_removed(text))

    @property
    def kept(self) -> tuple[str, ...]:
        """The further ranges to keep."""
        return tuple(text for text in self.further if not self._is_removed(text))

    @property
    def in_part(self) -> tuple[str, ...]:
        """Kept ranges of which only a part is to be removed, which the PBX cannot do."""
        unwanted = [network for text in self.remove if (network := network_of(text))]
        return tuple(
            text
            for text in self.kept
            if (network := network_of(text)) and any(_within(part, network) for part in unwanted)
        )

    @property
    def wide(self) -> tuple[str, ...]:
        """Kept and additional ranges that, combined, are wider than a /24 (IPv6: /64)."""
        networks = [network for text in (*self.kept, *self.additional) if (network := network_of(text))]
        return tuple(
            str(network)
            for version, longest in WIDE.items()
            for network in _collapsed(networks, version)
            if network.prefixlen < longest
        )

    def _entries(self) -> Iterator[tuple[str, Network | None]]:
        for text in re.split(r"[;,\s]+", self.live):
            if text:
                yield text, network_of(text)

    def _is_removed(self, text: str) -> bool:
        network = network_of(text)
        unwanted = [one for given in self.remove if (one := network_of(given))]
        return network is not None and covers(unwanted, network)


def _collapsed(networks: Iterable[Network], version: int) -> list[Network]:
    if version == 4:
        return [*collapse_addresses(network for network in networks if isinstance(network, IPv4Network))]
    return [*collapse_addresses(network for network in networks if isinstance(network, IPv6Network))]


def _within(part: Network, whole: Network) -> bool:
    if isinstance(part, IPv4Network):
        return isinstance(whole, IPv4Network) and part.subnet_of(whole)
    return isinstance(whole, IPv6Network) and part.subnet_of(whole)
