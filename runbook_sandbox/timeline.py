"""Where a call to each number goes, and every change of it.

A number is ``routed`` when Twilio would hand a call to something that can answer: a voice URL, a
voice application, or a trunk with an enabled origination URL behind which a system of somebody
else's stands, or this PBX with a trunk, a DID pool and an enabled inbound rule for the number.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from .portsip.pools import Pool, parse_pool
from .store import Store, iso_micro

_Span = tuple[int, int, int]


class Timeline:
    """The route of every number, and a log of its changes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._routes: dict[str, dict[str, Any]] = {}
        self._changes: list[dict[str, Any]] = []

    def changes(self, number: str | None = None) -> list[dict[str, Any]]:
        """Return the changes, oldest first; of one number if given."""
        return [change for change in self._changes if number in (None, change["number"])]

    def look(self, cause: str, seq: int | None) -> None:
        """Find the present routes and note what changed since the last look."""
        at = iso_micro(self._store.clock.now())
        routes = self._present()
        for number in self._routes.keys() - routes.keys():
            self._changes.append(
                {
                    "seq": seq,
                    "at": at,
                    "cause": cause,
                    "number": number,
                    "route": "released",
                    "routed": False,
                    "why": "",
                }
            )
        for number, route in routes.items():
            if self._routes.get(number) != route:
                self._changes.append({"seq": seq, "at": at, "cause": cause, "number": number} | route)
        self._routes = routes

    def _present(self) -> dict[str, dict[str, Any]]:
        twilio = self._store.twilio
        targets = self._targets()
        covered = self._covered()
        return {
            row["phone_number"]: _route(row, twilio["trunks"], targets, covered)
            for row in twilio["numbers"].values()
        }

    def _targets(self) -> dict[str, set[str]]:
        """Return the hosts of each trunk's enabled origination URLs."""
        targets: dict[str, set[str]] = defaultdict(set)
        for url in self._store.twilio["origination_urls"].values():
            if url["enabled"]:
                host = (
                    url["sip_url"].partition(":")[2].split("@")[-1].split(";")[0].split("?")[0].split(":")[0]
                )
                targets[url["trunk_sid"]].add("pbx" if host in self._own_hosts() else host)
        return targets

    def _own_hosts(self) -> set[str]:
        network = self._store.portsip["network"]
        return {network["public_ipv4"], network["web_domain"]}

    def _covered(self) -> dict[str, Pool]:
        """Return, by termination host, the DIDs that a trunk's pool and an enabled rule both hold."""
        portsip = self._store.portsip
        pools: dict[tuple[str, str], Pool] = {}
        for row in portsip["providers"].values():
            if row["enabled"] and row["tenant_id"]:
                pools[row["id"], row["tenant_id"]] = parse_pool(row["did_numbers"], strict=False)
        for row in portsip["assignees"].values():
            if portsip["providers"][row["provider_id"]]["enabled"]:
                pools[row["provider_id"], row["tenant_id"]] = parse_pool(row["did_numbers"], strict=False)
        covered: dict[str, Pool] = defaultdict(list)
        for rule in portsip["inbound_rules"].values():
            pool = pools.get((rule["provider_id"], rule["tenant_id"]))
            if rule["enabled"] and pool:
                host = portsip["providers"][rule["provider_id"]]["hostname"].lower()
                covered[host] += _common(parse_pool(rule["did_numbers"], strict=False), pool)
        return covered


def _common(first: Pool, second: Pool) -> list[_Span]:
    return [
        (length, max(low, other_low), min(high, other_high))
        for length, low, high in first
        for other_length, other_low, other_high in second
        if length == other_length and max(low, other_low) <= min(high, other_high)
    ]


def _route(
    row: dict[str, Any], trunks: dict[str, Any], targets: dict[str, set[str]], covered: dict[str, Pool]
) -> dict[str, Any]:
    trunk = trunks.get(row["trunk_sid"] or "")
    if trunk is None:
        if row["voice_application_sid"]:
            return {
                "route": f"application {row['voice_application_sid']}",
                "routed": True,
                "why": "application",
            }
        if row["voice_url"]:
            return {"route": row["voice_url"], "routed": True, "why": "voice url"}
        return {"route": "none", "routed": False, "why": "nothing answers"}
    route = f"trunk {trunk['domain_name'] or trunk['sid']}"
    hosts = targets.get(trunk["sid"], set())
    if not hosts:
        return {"route": route, "routed": False, "why": "no enabled origination URL"}
    if hosts - {"pbx"}:
        return {"route": route, "routed": True, "why": "another system"}
    digits = row["phone_number"].lstrip("+")
    spans = covered.get((trunk["domain_name"] or "").lower(), [])
    inside = any(length == len(digits) and low <= int(digits) <= high for length, low, high in spans)
    return {
        "route": route,
        "routed": inside,
        "why": "pool and rule" if inside else "no pool or rule at the PBX",
    }
