"""Inbound Processing Regions of trunks (routes v2)."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from ..store import Row, new_sid
from .http import Call, base_url, choice


async def fetch(call: Call) -> Response:
    """GET /v2/Trunks/{SipTrunkDomain}: 404 for a domain that nobody gave a Region (a switch)."""
    domain = _own_domain(call)
    row = call.data["routes"].get(domain)
    if row is None and call.switch("unset_route") == "us1":
        row = _row(call, domain, None, "us1")
    if row is None:
        raise call.missing()
    return JSONResponse(_answer(call, row))


async def update(call: Call) -> Response:
    """POST /v2/Trunks/{SipTrunkDomain}: the Region that serves the trunk's calls."""
    domain = _own_domain(call)
    call.only("VoiceRegion", "FriendlyName")
    call.need("VoiceRegion")
    present = call.data["routes"].get(domain)
    region = choice(call, "VoiceRegion", None, "us1", "ie1", "au1")
    row = _row(call, domain, present, region)
    call.data["routes"][domain] = row
    call.done()
    return JSONResponse(_answer(call, row))


def _row(call: Call, domain: str, present: Row | None, region: str) -> Row:
    now = call.now()
    return {
        "sid": present["sid"] if present else new_sid("QQ"),
        "sip_trunk_domain": domain,
        "friendly_name": call.form.get("FriendlyName") or (present or {}).get("friendly_name"),
        "voice_region": region,
        "date_created": present["date_created"] if present else now,
        "date_updated": now,
    }


def _own_domain(call: Call) -> str:
    """Return the domain of the path, which must be that of a trunk of the account."""
    domain = call.path("domain").lower()
    if all((trunk["domain_name"] or "").lower() != domain for trunk in call.data["trunks"].values()):
        raise call.missing()
    return domain


def _answer(call: Call, row: Row) -> Row:
    url = f"{base_url(call.request)}/v2/Trunks/{row['sip_trunk_domain']}"
    return row | {"account_sid": call.data["account"]["sid"], "url": url}
