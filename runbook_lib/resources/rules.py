"""The tenant's call rules in the PBX, as far as the other sections need them: who uses a number."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from ..did_pool import DidPool
from ..facts.side_by_side import side_by_side
from ..meaning import same_name
from ..vendors.portsip import Session


class Rules:
    """The rules of one tenant, read when first asked for.

    Parameters
    ----------
    session
        Called for a session in the tenant's scope, when it is first needed.
    trunk_ids
        Called for the ids of the PBX trunks that are ours.
    """

    def __init__(self, session: Callable[[], Session], trunk_ids: Callable[[], set[str]]) -> None:
        self._session = session
        self._trunk_ids = trunk_ids

    def inbound(self) -> list[dict[str, Any]]:
        """Read the tenant's inbound rules."""
        return list(self._session().list("/inbound_rules"))

    def outbound(self) -> list[dict[str, Any]]:
        """Read the tenant's outbound rules in full: the list leaves the routes out."""
        session = self._session()
        paths = [f"/outbound_rules/{one['id']}" for one in session.list("/outbound_rules")]
        return list(side_by_side(*(partial(session.get, path) for path in paths)))

    def through(self, trunk_id: str) -> list[tuple[str, dict[str, Any]]]:
        """Return the rules that use a PBX trunk, each with its kind as for ``write``."""
        found = [("inbound_rules", one) for one in self.inbound() if one["provider_id"] == trunk_id]
        for one in self.outbound():
            if any(route.get("provider_id") == trunk_id for route in one.get("routes") or ()):
                found.append(("outbound_rules", one))
        return found

    def remove(self, kind: str, rule_id: str) -> None:
        """Delete a rule."""
        self._session().post(f"/{kind}/{rule_id}/destroy")

    def write(self, kind: str, rule_id: str | None, fields: dict[str, Any]) -> None:
        """Make a rule (``rule_id`` ``None``), or update one, sending back all of it that was read.

        ``kind`` is ``"inbound_rules"`` or ``"outbound_rules"``.
        """
        session = self._session()
        if rule_id is None:
            # The PBX takes two rules of one name: another run may have made it since the plan was read.
            if not any(same_name(one["name"], fields["name"]) for one in session.list(f"/{kind}")):
                session.post(f"/{kind}", fields)
            return
        read = session.get(f"/{kind}/{rule_id}")
        kept = {name: value for name, value in read.items() if name != "id" and value is not None}
        if "holidays" in kept:
            # Ids on write, objects on read.
            kept["holidays"] = [one["id"] if isinstance(one, dict) else one for one in kept["holidays"]]
        session.post(f"/{kind}/{rule_id}", {**kept, **fields})

    def uncovered(self, dids: Iterable[str]) -> list[str]:
        """Return the numbers (+E.164) whose calls no enabled inbound rule of our trunk takes."""
        ours = self._trunk_ids()
        rules = [
            rule
            for rule in self.inbound()
            if rule.get("enabled") and rule["provider_id"] in ours and not rule.get("cid_number_mask")
        ]
        return [did for did in dids if not any(_has(rule, did) for rule in rules)]

    def users_of(self, did: str) -> list[str]:
        """Return what uses the number: inbound rules, and outbound rules and the tenant as caller id."""
        ours = self._trunk_ids()
        users = [
            f"inbound rule {rule['name']}"
            for rule in self.inbound()
            if rule["provider_id"] in ours and _has(rule, did)
        ]
        return users + self.callers([did], set()).get(did, [])

    def callers(self, dids: Iterable[str], except_rules: set[str]) -> dict[str, list[str]]:
        """Return who shows which of the numbers (+E.164) as caller id, by number.

        ``except_rules`` are ids of rules that do not count.
        """
        by_digits = {_digits(did): did for did in dids}
        found: dict[str, list[str]] = {}
        for rule in self.outbound():
            if rule["id"] not in except_rules:
                for digits in {
                    _digits(route.get("outbound_caller_id")) for route in rule.get("routes") or ()
                }:
                    found.setdefault(digits, []).append(f"outbound rule {rule['name']}")
        tenant = self._session().get("/tenant")
        for digits in {_digits(one.get("caller_id")) for one in tenant.get("outbound_caller_ids") or ()}:
            found.setdefault(digits, []).append("the tenant's outbound caller id")
        return {by_digits[digits]: users for digits, users in found.items() if digits in by_digits}


def _has(rule: dict[str, Any], did: str) -> bool:
    try:
        return did in DidPool.read(rule["did_numbers"])
    except ValueError:
        return False


def _digits(number: str | None) -> str:
    return (number or "").lstrip("+0")
