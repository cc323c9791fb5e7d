"""Providers, which is the API's word for trunks."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

from starlette.responses import JSONResponse, Response

from ..store import StoredRow, new_id, password_digest
from .bodies import Check, checked, flag, one_of, text, whole
from .defaults import INBOUND_PARAMETERS, OUTBOUND_PARAMETERS, PROVIDER, fresh, provider
from .http import (
    PortsipCall,
    PortsipError,
    as_answered,
    collection,
    created,
    forbidden,
    invalid,
    not_found,
    nothing,
)
from .nested import inbound_parameters, outbound_parameters
from .pools import Pool, holds, overlap, parse_pool

FIELDS: dict[str, Check] = {
    "name": text(1, 64),
    "enabled": flag,
    "transport": one_of("UDP", "TCP", "TLS"),
    "hostname": text(1),
    "port": whole(0, 65535),
    "auth_id": text(0, 64),
    "username": text(0, 64),
    "password": text(),
    "registration": flag,
    "register_interval": whole(),
    "outbound_server": text(),
    "outbound_server_port": whole(0, 65535),
    "inlan": flag,
    "single_via_header": flag,
    "rewrite_via_ip": flag,
    "verify_port": flag,
    "keep_alive": flag,
    "keep_alive_interval": whole(),
    "concurrency": whole(),
    "additional_ips": text(),
    "adjust_sdp_direction": flag,
    "remove_srtp_info": flag,
    "stir_shaken_signature_required": flag,
    "did_numbers": text(),
    "inbound_parameters": inbound_parameters,
    "outbound_parameters": outbound_parameters,
}
#: Settable when a trunk is made and never after: the update's schema leaves them out.
_AT_CREATION: dict[str, Check] = {
    "brand": text(1, 64),
    "auth_mode": one_of("IP_AUTH", "REGISTER_AUTH", "ACCEPT_REGISTER", "TEAMS", "WHATS_APP"),
}
_READ_ONLY = frozenset({"id", "shared", "brand", "auth_mode"})
_REQUIRED = (
    "name",
    "transport",
    "hostname",
    "port",
    "outbound_server",
    "outbound_server_port",
    "concurrency",
)
_SUMMARY = ("id", "name", "enabled", "brand", "hostname", "port", "did_numbers", "shared")
#: Twilio, "Localized URIs": a trunk is called by its domain name or through an edge, also by an old name.
_EDGES = ("ashburn", "umatilla", "dublin", "frankfurt", "singapore", "tokyo", "sao-paulo", "sydney")
_LEGACY = ("us1", "us2", "ie1", "de1", "sg1", "jp1", "br1", "au1")
_TERMINATION_URI = re.compile(rf"(.+)\.pstn(?:\.(?:{'|'.join((*_EDGES, *_LEGACY))}))?\.twilio\.com")
_INTERNAL = frozenset({"tenant_id", "peer_answers", "password_sha256", "unknown_fields"})


async def listing(call: PortsipCall) -> Response:
    """GET /providers: summaries without auth_mode, transport, auth_id or status."""
    rows = [{k: row[k] for k in _SUMMARY} for row in _visible(call)]
    return collection(call, [_without_unset(row) for row in rows])


async def export(call: PortsipCall) -> Response:
    """GET /providers/export: the summaries as a file."""
    return as_file(
        "providers.csv", _SUMMARY, [{k: row.get(k, "") for k in _SUMMARY} for row in _visible(call)]
    )


async def detail(call: PortsipCall) -> Response:
    """GET /providers/{id}: everything but the password."""
    row = _view(call, find_trunk(call))
    answer = {k: v for k, v in row.items() if k not in _INTERNAL} | row.get("unknown_fields", {})
    answer["inbound_parameters"] = INBOUND_PARAMETERS | row.get("inbound_parameters", {})
    answer["outbound_parameters"] = OUTBOUND_PARAMETERS | row.get("outbound_parameters", {})
    return JSONResponse(as_answered(call.world, _without_unset(answer)))


async def create(call: PortsipCall) -> Response:
    """POST /providers: at system level, or at tenant level where both gates are open."""
    if call.tenant_id is not None:
        _need_open_gates(call)
    body = checked(call.world, await call.body(), FIELDS | _AT_CREATION, _REQUIRED)
    row = provider(**_kept(body, call.tenant_id), id=new_id(), tenant_id=call.tenant_id)
    _check(call, row)
    call.data["providers"][row["id"]] = row
    call.world.store.changed()
    return created(row["id"])


async def update(call: PortsipCall) -> Response:
    """POST /providers/{id}: 200 without a body; ``brand`` and ``auth_mode`` are ignored.

    Whether fields that are left out stay or fall back to the API's defaults is the switch
    ``portsip.provider_update``; whether the password, which nobody can read, does is
    ``portsip.provider_password``.
    """
    row = find_trunk(call)
    _need_own(call, row)
    body = {k: v for k, v in (await call.body()).items() if k not in _READ_ONLY}
    body = checked(call.world, body, FIELDS)
    base = row
    if call.world.switches["portsip.provider_update"] == "replace":
        base = row | fresh(PROVIDER) | {"unknown_fields": {}}
        base.pop("inbound_parameters", None)
        base.pop("outbound_parameters", None)
    if call.world.switches["portsip.provider_password"] == "lost":  # noqa: S105 -- a switch
        base = base | {"password_sha256": None}
    new = base | _kept(body, row["tenant_id"])
    _check(call, new)
    _refuse_removal_in_use(call, new, row["tenant_id"], new["did_numbers"])
    call.data["providers"][row["id"]] = new
    call.world.store.changed()
    return nothing()


async def status(call: PortsipCall) -> Response:
    """GET /providers/{id}/status.

    Source: PortSIP, "Configuring SIP trunk": with registration off always ONLINE, unless OPTIONS
    (``keep_alive``) get no 200. Twilio answers OPTIONS and accepts no REGISTER.
    """
    row = find_trunk(call)
    answers = row["peer_answers"]
    if localised := _TERMINATION_URI.fullmatch(row["hostname"].lower()):
        names = {(trunk["domain_name"] or "").lower() for trunk in call.world.store.twilio["trunks"].values()}
        answers = f"{localised[1]}.pstn.twilio.com" in names and not row["registration"]
    online = row["enabled"] and (bool(answers) if row["registration"] or row["keep_alive"] else True)
    return JSONResponse({"status": "ONLINE" if online else "OFFLINE"})


async def destroy(call: PortsipCall) -> Response:
    """POST /providers/{id}/destroy: refused while a rule references the trunk."""
    # 400 is the only failure that the OpenAPI document gives here, "invalid provider ID" included
    row = find_trunk(call, missing=400)
    _need_own(call, row, 400)
    users = [rule["name"] for rule in rules_using(call.data, row["id"])]
    if users:
        raise invalid(f"The provider is used by rules: {', '.join(sorted(users)[:5])}.")
    del call.data["providers"][row["id"]]
    for key in [k for k, v in call.data["assignees"].items() if v["provider_id"] == row["id"]]:
        del call.data["assignees"][key]
    call.world.store.changed()
    return nothing(204)


def find_trunk(call: PortsipCall, missing: int = 404) -> StoredRow:
    """Return the trunk of the path if the session's scope sees it."""
    row = call.data["providers"].get(call.path("id"))
    if row is None or not _sees(call, row):
        raise not_found("provider", missing)
    return row


def pool_of(data: dict[str, Any], provider_id: str, tenant_id: str) -> Pool | None:
    """Return the numbers that a tenant may use on a trunk; ``None`` if it does not have the trunk."""
    row = data["providers"].get(provider_id)
    if row is None:
        return None
    if row["tenant_id"] == tenant_id:
        return parse_pool(row["did_numbers"], strict=False)
    assignment = data["assignees"].get(f"{provider_id}/{tenant_id}")
    return parse_pool(assignment["did_numbers"], strict=False) if assignment else None


def rules_using(data: dict[str, Any], provider_id: str, tenant_id: str | None = None) -> list[StoredRow]:
    """Return the rules that reference a trunk, of one tenant if given."""
    inbound = [rule for rule in data["inbound_rules"].values() if rule["provider_id"] == provider_id]
    outbound = [
        rule
        for rule in data["outbound_rules"].values()
        if any(route.get("provider_id") == provider_id for route in rule["routes"])
    ]
    return [rule for rule in inbound + outbound if tenant_id in (None, rule["tenant_id"])]


def check_pool(call: PortsipCall, row: StoredRow, tenant_id: str, did_numbers: str) -> None:
    """Refuse a pool that the grammar or another tenant's pool forbids.

    Source: the OpenAPI document of 22.2: "should not overlap with other tenant DID/DDI pool number
    ranges"; a guide narrows it to "the same trunk provider", hence the switch.
    """
    world = call.world
    try:
        pool = parse_pool(did_numbers, odd_ranges=world.switches["portsip.odd_ranges"] == "accepted")
    except ValueError as error:
        raise invalid(f"did_numbers: {error}.") from None
    extent = world.switches["portsip.pool_overlap"]
    for other, owner, numbers in _pools(call.data):
        near = {
            "global": True,
            "trunk": other["id"] == row["id"],
            "brand": other["brand"] == row["brand"],
        }[extent]
        if owner != tenant_id and near and (taken := overlap(pool, parse_pool(numbers, strict=False))):
            raise invalid(f"did_numbers: {taken} is already assigned to another tenant.")


def refuse_removal_in_use(call: PortsipCall, row: StoredRow, tenant_id: str, did_numbers: str) -> None:
    """Refuse, if the switch says so, to take numbers away that one of the tenant's rules uses."""
    if call.world.switches["portsip.did_removal_in_use"] == "accepted":
        return
    pool = parse_pool(did_numbers, strict=False)
    for rule in rules_using(call.data, row["id"], tenant_id):
        used = [rule["did_numbers"]] if "did_numbers" in rule else []
        used += [
            route["outbound_caller_id"].lstrip("+0")
            for route in rule.get("routes", [])
            if route["provider_id"] == row["id"] and route.get("outbound_caller_id")
        ]
        if any(not holds(pool, parse_pool(numbers, strict=False)) for numbers in used):
            raise invalid(f"did_numbers: the rule {rule['name']!r} uses a number that would be removed.")


def as_file(name: str, columns: tuple[str, ...], rows: list[StoredRow]) -> Response:
    """Answer with a CSV file."""
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(file.getvalue(), media_type="application/octet-stream", headers=headers)


def _refuse_removal_in_use(
    call: PortsipCall, row: StoredRow, tenant_id: str | None, did_numbers: str
) -> None:
    if tenant_id is not None:
        refuse_removal_in_use(call, row, tenant_id, did_numbers)


def _pools(data: dict[str, Any]) -> list[tuple[StoredRow, str, str]]:
    """Return every pool with its trunk and its tenant."""
    own = [
        (row, row["tenant_id"], row["did_numbers"]) for row in data["providers"].values() if row["tenant_id"]
    ]
    assigned = [
        (data["providers"][row["provider_id"]], row["tenant_id"], row["did_numbers"])
        for row in data["assignees"].values()
    ]
    return own + assigned


def _kept(body: StoredRow, tenant_id: str | None) -> StoredRow:
    """Return what is kept of a body: the password as a digest, a pool at tenant level only."""
    kept = {k: v for k, v in body.items() if k != "password"}
    if body.get("password"):
        kept["password_sha256"] = password_digest(body["password"])
    if tenant_id is None and "did_numbers" in kept:
        kept["did_numbers"] = ""  # at system level, pools belong to the assignees
    return kept


def _check(call: PortsipCall, row: StoredRow) -> None:
    world, others = call.world, [r for r in call.data["providers"].values() if r["id"] != row["id"]]
    if not any(t["protocol"] == row["transport"] for t in call.data["transports"].values()):
        raise invalid(f"There is no {row['transport']} transport.")
    if world.switches["portsip.trunk_name"] == "unique" and any(
        r["tenant_id"] == row["tenant_id"] and r["name"] == row["name"] for r in others
    ):
        raise invalid("The name is already used by another provider.")
    _refuse_twin(row, others)
    if row["tenant_id"] is not None:
        check_pool(call, row, row["tenant_id"], row["did_numbers"])


def _refuse_twin(row: StoredRow, others: list[StoredRow]) -> None:
    """Refuse a second register trunk of one hostname and authentication name in the whole PBX.

    Source: PortSIP, "Configuring SIP trunk": the pair must be unique, "to avoid conflicts".
    """
    if row["auth_mode"] != "REGISTER_AUTH":
        return
    pair = (row["hostname"].lower(), row["auth_id"])
    if any(
        (r["hostname"].lower(), r["auth_id"]) == pair for r in others if r["auth_mode"] == "REGISTER_AUTH"
    ):
        raise invalid("A provider with this hostname and authentication ID already exists.")


def _need_open_gates(call: PortsipCall) -> None:
    tenant = call.data["tenants"][call.need_tenant()]
    if not call.data["settings"]["enable_tenant_level_trunk"]:
        raise forbidden("Tenant level trunks are not enabled on this PBX.")
    if not tenant["enable_feature_trunks"]:
        raise forbidden("The trunk feature is not enabled for this tenant.")


def _need_own(call: PortsipCall, row: StoredRow, refusal: int = 403) -> None:
    if call.tenant_id is not None and row["tenant_id"] != call.tenant_id:
        raise forbidden("The provider is shared by the system administrator and read-only.", refusal)


def _sees(call: PortsipCall, row: StoredRow) -> bool:
    if call.tenant_id is None:
        return row["tenant_id"] is None or call.world.switches["portsip.system_list"] == "all"
    return row["tenant_id"] == call.tenant_id or f"{row['id']}/{call.tenant_id}" in call.data["assignees"]


def _visible(call: PortsipCall) -> list[StoredRow]:
    return [_view(call, row) for row in call.data["providers"].values() if _sees(call, row)]


def _without_unset(row: StoredRow) -> StoredRow:
    """Leave out brand and auth_mode if unset: neither has a default, nor may it be empty."""
    return {k: v for k, v in row.items() if k not in _AT_CREATION or v}


def _view(call: PortsipCall, row: StoredRow) -> StoredRow:
    """Return a trunk as the session's scope sees it.

    To a tenant, a shared trunk shows the tenant's own numbers and concurrency.
    """
    assignment = call.data["assignees"].get(f"{row['id']}/{call.tenant_id}")
    if assignment is not None:
        own = {"did_numbers": assignment["did_numbers"], "concurrency": assignment["concurrency"]}
        return row | own | {"shared": True}
    assigned = any(a["provider_id"] == row["id"] for a in call.data["assignees"].values())
    return row | {"shared": call.tenant_id is None and assigned}


def need_system_trunk(call: PortsipCall, refusal: int = 403) -> StoredRow:
    """Return the trunk of the path for an operation on its assignees."""
    call.need_system(refusal)
    row = find_trunk(call)
    if row["tenant_id"] is not None:
        raise PortsipError(400, "VALIDATE_FAILED", "A tenant level provider cannot be shared.")
    return row
