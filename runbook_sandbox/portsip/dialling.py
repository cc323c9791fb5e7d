"""What the PBX does with a number that an extension of a tenant dials: nothing is called.

Source: PortSIP, "Configuring outbound rule" and "E.164 number processing". What they leave open are switches.
It shares no code with the runbook: tests compare the two.
"""

from __future__ import annotations

from typing import Any

from ..store import StoredRow
from ..world import World


def dialled(world: World, domain: str, number: str, caller: str) -> dict[str, Any]:
    """Return the rule that a dialled number meets, and what goes to which trunk; all ``None`` without one."""
    data = world.store.portsip
    tenant = next(row for row in data["tenants"].values() if row["domain"] == domain)
    own = [
        row["number_prefix"] for row in data["emergency_numbers"].values() if row["tenant_id"] == tenant["id"]
    ]
    by_list = {"rule": None, "sent": number, "provider_id": None, "by_own_list": True}
    listed = any(number.startswith(prefix) for prefix in own)
    if listed and world.switches["portsip.emergency_list"] == "before":
        return by_list
    number = _processed(tenant["e164"], number)
    rules = [row for row in data["outbound_rules"].values() if row["tenant_id"] == tenant["id"]]
    rule = _chosen(world, rules, number, caller)
    if rule is None:
        return by_list if listed else {"rule": None, "sent": None, "provider_id": None, "by_own_list": False}
    route = next((one for one in rule["routes"] if one.get("enabled", True)), None)
    answer = {"rule": rule["name"], "sent": None, "provider_id": None, "by_own_list": False}
    if route is None:
        return answer
    strip = route.get("strip_digits", 0)
    if number[0] == "+" and strip and world.switches["portsip.strip_counts_plus"] == "no":
        rest = "+" + number[strip + 1 :]
    else:
        rest = number[strip:]
    return answer | {"sent": route.get("prepend", "") + rest, "provider_id": route["provider_id"]}


def _processed(settings: StoredRow, number: str) -> str:
    if not settings["enabled"] or number[0] != "+":
        return number
    country = settings["country"].rpartition("(")[2].rstrip(")")
    rest = number[1:]
    if not country or not rest.startswith(country):
        return settings["prefix"] + settings["international_code"] + rest
    if settings["remove_duplicate_countries"]:
        rest = rest[len(country) :]
        area = settings["area_code"]
        if settings["remove_duplicate_area_codes"] and area and rest.startswith(area):
            rest = rest[len(area) :]
    return settings["prefix"] + settings["national_code"] + rest


def _chosen(world: World, rules: list[StoredRow], number: str, caller: str) -> StoredRow | None:
    best: list[tuple[StoredRow, int]] = []
    for rule in rules:
        begins = [one for one in _list(rule["number_prefix"]) if number.startswith(one)]
        digits = len(number)
        if number[0] == "+" and world.switches["portsip.length_counts_plus"] == "no":
            digits -= 1
        if not rule["enabled"] or (rule["number_prefix"] and not begins):
            continue
        if rule["number_length"] and str(digits) not in _list(rule["number_length"]):
            continue
        if rule["number_mask"] and not any(_within(caller, one) for one in _list(rule["number_mask"])):
            continue
        if best and rule["priority"] > best[0][0]["priority"]:
            continue
        if best and rule["priority"] < best[0][0]["priority"]:
            best = []
        best.append((rule, max(map(len, begins), default=0)))
    if not best:
        return None
    how = world.switches["portsip.equal_priorities"]
    if how == "longest":
        return max(best, key=lambda found: found[1])[0]
    return best[-1 if how == "last" else 0][0]


def _within(caller: str, entry: str) -> bool:
    first, _, last = entry.partition("-")
    return caller.isdigit() and int(first) <= int(caller) <= int(last or first)


def _list(text: str) -> list[str]:
    return [entry for entry in text.split(";") if entry]
