"""Inbound and outbound rules, in tenant scope only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse, Response

from ..store import StoredRow, new_id
from .bodies import Check, checked, flag, ids, one_of, text, whole
from .defaults import INBOUND_RULE, OUTBOUND_RULE, RULE_HOURS, fresh
from .http import PortsipCall, as_answered, collection, created, invalid, not_found, nothing
from .nested import checked_object, office_hours
from .pools import holds, parse_pool, pool_size
from .trunks import as_file, pool_of

MAX_ROUTES = 6  # PortSIP, "Outbound rules": six routes at most
_FORWARD: dict[str, Check] = {
    "action": one_of("FORWARD_TO_NUMBER", "FORWARD_TO_VOICEMAIL", "HANGUP"),
    "number": text(),
}
_ROUTE: dict[str, Check] = {
    "enabled": flag,
    "provider_id": text(1),
    "strip_digits": whole(0, 9),
    "prepend": text(),
    "outbound_caller_id": text(0, 64),
}
_FORWARDS = ("office_hours_forward_rule", "non_office_hours_forward_rule", "holiday_forward_rule")


def _routes(name: str, value: Any) -> None:
    if not isinstance(value, list) or len(value) > MAX_ROUTES:
        raise invalid(f"{name} must be a list of {MAX_ROUTES} routes at most.")
    for route in value:
        checked_object(name, route, _ROUTE)
        if not route.get("provider_id"):
            raise invalid(f"{name}: provider_id is required.")


def _forward(name: str, value: Any) -> None:
    checked_object(name, value, _FORWARD)


@dataclass(frozen=True)
class RuleKind:
    """What distinguishes inbound rules from outbound rules."""

    table: str
    word: str
    fields: dict[str, Check]
    defaults: StoredRow
    required: tuple[str, ...]
    not_in_list: frozenset[str]
    destroy_missing: int


INBOUND = RuleKind(
    "inbound_rules",
    "inbound rule",
    {
        "name": text(1, 64),
        "enabled": flag,
        "cid_number_mask": text(),
        "did_numbers": text(1),
        "office_hours": office_hours,
        "holidays": ids,
        "provider_id": text(1),
        "enable_advanced_routing": flag,
        "advanced_routing": text(),
        "play_recording_disclaimer": flag,
    }
    | dict.fromkeys(_FORWARDS, _forward),
    INBOUND_RULE,
    ("name", "did_numbers", "provider_id"),
    frozenset(),
    # the document gives 400 alone here, where the outbound rule's twin has any 4XX
    400,
)
OUTBOUND = RuleKind(
    "outbound_rules",
    "outbound rule",
    {
        "name": text(1, 64),
        "number_prefix": text(0, 64),
        "number_length": text(0, 64),
        "number_mask": text(),
        "enabled": flag,
        "priority": whole(),
        "office_hours": office_hours,
        "holidays": ids,
        "routing_strategy": one_of("PRIORITIZED", "RANDOMLY"),
        "routes": _routes,
    },
    OUTBOUND_RULE,
    ("name",),
    frozenset({"routes"}),
    404,
)


class RuleRoutes:
    """The routes of one kind of rule."""

    def __init__(self, kind: RuleKind) -> None:
        self._kind = kind

    async def listing(self, call: PortsipCall) -> Response:
        """GET: the tenant's rules; outbound ones without their routes."""
        call.need_tenant()
        rows = [self._answer(call, row) for row in self._own(call)]
        return collection(
            call, [{k: v for k, v in r.items() if k not in self._kind.not_in_list} for r in rows]
        )

    async def export(self, call: PortsipCall) -> Response:
        """GET …/export: name, numbers and trunk as a file."""
        call.need_tenant()
        columns = ("id", "name", "enabled", "did_numbers", "provider_id", "cid_number_mask")
        return as_file(f"{self._kind.table}.csv", columns, self._own(call))

    async def detail(self, call: PortsipCall) -> Response:
        """GET …/{id}."""
        return JSONResponse(self._answer(call, self._find(call)))

    async def create(self, call: PortsipCall) -> Response:
        """POST: 201 and the id."""
        tenant_id = call.need_tenant()
        body = checked(call.world, await call.body(), self._kind.fields, self._kind.required)
        row = fresh(self._kind.defaults) | body | {"id": new_id(), "tenant_id": tenant_id}
        self._check(call, row)
        call.data[self._kind.table][row["id"]] = row
        call.world.store.changed()
        return created(row["id"])

    async def update(self, call: PortsipCall) -> Response:
        """POST …/{id}: 200 without a body; an inbound rule may move to another trunk."""
        row = self._find(call)
        sent = {k: v for k, v in (await call.body()).items() if k != "id"}
        # holidays are ids on write and objects on read; what was read may come back
        if isinstance(sent.get("holidays"), list):
            sent["holidays"] = [h.get("id") if isinstance(h, dict) else h for h in sent["holidays"]]
        body = checked(call.world, sent, self._kind.fields)
        replace = call.world.switches["portsip.rule_update"] == "replace"
        base = row | fresh(self._kind.defaults) | {"unknown_fields": {}} if replace else row
        new = base | body
        self._check(call, new)
        call.data[self._kind.table][row["id"]] = new
        call.world.store.changed()
        return nothing()

    async def destroy(self, call: PortsipCall) -> Response:
        """POST …/{id}/destroy: 204."""
        row = self._find(call, self._kind.destroy_missing)
        del call.data[self._kind.table][row["id"]]
        call.world.store.changed()
        return nothing(204)

    def _own(self, call: PortsipCall) -> list[StoredRow]:
        return [row for row in call.data[self._kind.table].values() if row["tenant_id"] == call.tenant_id]

    def _find(self, call: PortsipCall, missing: int = 404) -> StoredRow:
        tenant_id = call.need_tenant(missing)
        row = call.data[self._kind.table].get(call.path("id"))
        if row is None or row["tenant_id"] != tenant_id:
            raise not_found(self._kind.word, missing)
        return row

    def _answer(self, call: PortsipCall, row: StoredRow) -> StoredRow:
        kept = {k: v for k, v in row.items() if k not in ("tenant_id", "unknown_fields")}
        kept["office_hours"] = RULE_HOURS | row["office_hours"]
        holidays = [call.data["holidays"][id_] for id_ in row["holidays"] if id_ in call.data["holidays"]]
        kept["holidays"] = [{k: v for k, v in h.items() if k != "tenant_id"} for h in holidays]
        if "routes" in kept:
            kept["routes"] = [{k: v for k, v in route.items() if v != ""} for route in kept["routes"]]
        return as_answered(call.world, kept | row.get("unknown_fields", {}))

    def _check(self, call: PortsipCall, row: StoredRow) -> None:
        for holiday in row["holidays"]:
            if call.data["holidays"].get(holiday, {}).get("tenant_id") != row["tenant_id"]:
                raise invalid(f"The holiday {holiday} does not exist.")
        if self._kind is INBOUND:
            _check_inbound(call, row)
        else:
            for route in row["routes"]:
                _check_route(call, row, route)


def _check_inbound(call: PortsipCall, row: StoredRow) -> None:
    """Refuse an inbound rule outside the tenant's pool.

    Source: the OpenAPI document of 22.2 and PortSIP, "Inbound rules": one number or one range.
    """
    odd = call.world.switches["portsip.odd_ranges"] == "accepted"
    try:
        wanted = parse_pool(row["did_numbers"], odd_ranges=odd)
    except ValueError as error:
        raise invalid(f"did_numbers: {error}.") from None
    if ";" in row["did_numbers"] or not wanted:
        raise invalid("did_numbers must be one number or one range.")
    pool = pool_of(call.data, row["provider_id"], row["tenant_id"])
    if pool is None:
        raise invalid("provider_id: the provider does not exist.")
    if not holds(pool, wanted):
        raise invalid("did_numbers: outside the DID pool.")
    for when in _FORWARDS:
        number = row[when].get("number") or ""
        if re.fullmatch(r"\d+-\d+", number) and pool_size(number) != pool_size(row["did_numbers"]):
            raise invalid(f"{when}: the ranges have different sizes.")
    if call.world.switches["portsip.same_inbound_rule"] == "accepted":
        return
    same = ("did_numbers", "provider_id", "tenant_id", "cid_number_mask")
    for other in call.data["inbound_rules"].values():
        if other["id"] != row["id"] and all(other[k] == row[k] for k in same):
            raise invalid("An inbound rule for this DID, provider and caller mask already exists.")


def _check_route(call: PortsipCall, row: StoredRow, route: StoredRow) -> None:
    """Refuse a route whose trunk or caller id the tenant does not have.

    Source: PortSIP, "Handle outbound calls": a caller id is in the pool and may begin with +, 0, 00, +00.
    """
    route.update(
        {"enabled": True, "strip_digits": 0, "prepend": ""}
        | {k: v for k, v in route.items() if v is not None}
    )
    pool = pool_of(call.data, route["provider_id"], row["tenant_id"])
    if pool is None:
        raise invalid("routes: the provider does not exist.")
    caller_id = route.get("outbound_caller_id")
    if not caller_id:
        return
    found = re.fullmatch(r"\+?0{0,2}([1-9]\d*)", caller_id, re.ASCII)
    if found is None or not holds(pool, parse_pool(found[1], strict=False) or [(0, 0, 0)]):
        raise invalid(f"routes: the outbound caller ID {caller_id} is not in the DID pool.")
