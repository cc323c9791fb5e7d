"""The tenant's call rules in the PBX, as far as other sections need them: who uses a number."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..did_pool import DidPool
from ..errors import VendorError
from ..facts.side_by_side import side_by_side
from ..meaning import same_name
from ..vendors.portsip import Session


@dataclass(frozen=True)
class RulesAsRead:
    """A tenant's rules as they were read, and what follows from them for its numbers.

    ``trunk_ids`` are the PBX trunks that are ours; ``outbound`` has the rules in full; ``tenant`` is the
    tenant as the PBX describes it in its own scope. What a section does not need, it does not read.
    """

    trunk_ids: Collection[str] = frozenset()
    inbound: tuple[dict[str, Any], ...] = ()
    outbound: tuple[dict[str, Any], ...] = ()
    tenant: Mapping[str, Any] = field(default_factory=dict)

    def uncovered(self, dids: Iterable[str]) -> list[str]:
        """Return the numbers (+E.164) that no enabled inbound rule of our trunk matches."""
        rules = [
            rule
            for rule in self.inbound
            if rule.get("enabled")
            and rule["provider_id"] in self.trunk_ids
            and not rule.get("cid_number_mask")
        ]
        return [did for did in dids if not any(_has(rule, did) for rule in rules)]

    def users_of(self, did: str) -> list[str]:
        """Return what uses the number: inbound rules, and outbound rules and the tenant as caller id."""
        users = [
            f"inbound rule {rule['name']}"
            for rule in self.inbound
            if rule["provider_id"] in self.trunk_ids and _has(rule, did)
        ]
        return users + self.callers([did]).get(did, [])

    def callers(self, dids: Iterable[str], except_rules: Collection[str] = ()) -> dict[str, list[str]]:
        """Return who shows which of the numbers (+E.164) as caller id, by number.

        ``except_rules`` are ids of rules that do not count.
        """
        by_digits = {_digits(did): did for did in dids}
        found: dict[str, list[str]] = {}
        for rule in self.outbound:
            if rule["id"] not in except_rules:
                for digits in {
                    _digits(route.get("outbound_caller_id")) for route in rule.get("routes") or ()
                }:
                    found.setdefault(digits, []).append(f"outbound rule {rule['name']}")
        caller_ids = self.tenant.get("outbound_caller_ids") or ()
        for digits in {_digits(caller_id.get("caller_id")) for caller_id in caller_ids}:
            found.setdefault(digits, []).append("the tenant's outbound caller id")
        return {by_digits[digits]: users for digits, users in found.items() if digits in by_digits}


class TenantRules:
    """The rules of one tenant, in the PBX.

    Parameters
    ----------
    session
        Called for a session in the tenant's scope, when it is first needed.
    """

    def __init__(self, session: Callable[[], Session]) -> None:
        self._session = session

    def inbound(self) -> list[dict[str, Any]]:
        """Read the tenant's inbound rules."""
        return list(self._session().list("/inbound_rules"))

    def outbound(self, named: Collection[str] | None = None) -> list[dict[str, Any]]:
        """Read the tenant's outbound rules in full: the list leaves the routes out.

        ``named`` narrows them down to those of these names, and to no request at all if there are none.
        """
        if named is not None and not named:
            return []
        session = self._session()
        paths = [
            f"/outbound_rules/{one['id']}"
            for one in session.list("/outbound_rules")
            if named is None or any(same_name(one["name"], name) for name in named)
        ]
        return list(side_by_side(*(partial(session.get, path) for path in paths)))

    def tenant(self) -> dict[str, Any]:
        """Read the tenant as the PBX describes it in its own scope, with its outbound caller ids."""
        return self._session().get("/tenant")

    def look(self, trunk_ids: Callable[[], Collection[str]], *, users: bool) -> RulesAsRead:
        """Read the inbound rules and, for who uses a number, the outbound ones and the tenant as well.

        ``trunk_ids`` returns the ids of the PBX trunks that are ours.
        """
        # First those that further requests wait for: the budget may not let all of them go at once.
        ids, outbound, inbound, tenant = side_by_side(
            trunk_ids,
            lambda: self.outbound() if users else (),
            self.inbound,
            lambda: self.tenant() if users else {},
        )
        return RulesAsRead(ids, tuple(inbound), tuple(outbound), tenant)

    def emergency_numbers(self) -> list[dict[str, Any]] | None:
        """Read the PBX's own emergency numbers; ``None`` if this administrator cannot read them."""
        try:
            return list(self._session().list("/emergency_numbers"))
        except VendorError as error:
            if error.status not in (403, 404):
                raise
            return None

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
            # The PBX accepts two rules with one name, and another run may have created it since the reading.
            if not any(same_name(one["name"], fields["name"]) for one in session.list(f"/{kind}")):
                session.post(f"/{kind}", fields)
            return
        read = session.get(f"/{kind}/{rule_id}")
        kept = {name: value for name, value in read.items() if name != "id" and value is not None}
        if "holidays" in kept:
            # Ids on write, objects on read.
            kept["holidays"] = [one["id"] if isinstance(one, dict) else one for one in kept["holidays"]]
        session.post(f"/{kind}/{rule_id}", {**kept, **fields})

    def callers(self, dids: Iterable[str], except_rules: Collection[str]) -> dict[str, list[str]]:
        """Read who shows which of the numbers as caller id; see ``RulesAsRead.callers``."""
        outbound, tenant = side_by_side(self.outbound, self.tenant)
        return RulesAsRead(outbound=tuple(outbound), tenant=tenant).callers(dids, except_rules)


def providers_of(rule: Mapping[str, Any]) -> list[str | None]:
    """The PBX trunks that a rule uses: an inbound rule's own, or those of an outbound rule's routes."""
    routes = rule.get("routes") or []
    return [rule.get("provider_id"), *(route.get("provider_id") for route in routes)]


def _has(rule: dict[str, Any], did: str) -> bool:
    return did in (DidPool.read_if_any(rule["did_numbers"]) or ())


def _digits(number: str | None) -> str:
    return (number or "").lstrip("+0")
