"""Trunks and their recording settings (trunking v1)."""

from __future__ import annotations

import re

from starlette.responses import JSONResponse, Response

from ..store import StoredRow, new_sid
from .http import TwilioCall, TwilioError, bad, base_url, boolean, choice, page_v1

MAX_TRUNKS = 100  # Twilio, "Scale and limits"; breach: error dictionary 21244
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})?\.pstn\.twilio\.com", re.IGNORECASE)
_PARAMETERS = (
    "FriendlyName",
    "DomainName",
    "DisasterRecoveryUrl",
    "DisasterRecoveryMethod",
    "TransferMode",
    "Secure",
    "CnamLookupEnabled",
    "TransferCallerId",
    # Sent raw it is silently ignored (seen live), also where unknown parameters are refused.
    "SymmetricRtpEnabled",
)


async def listing(call: TwilioCall) -> Response:
    """GET /v1/Trunks."""
    return page_v1(call, "trunks", [answer(call, row) for row in call.data["trunks"].values()])


async def fetch(call: TwilioCall) -> Response:
    """GET /v1/Trunks/{Sid}."""
    return JSONResponse(answer(call, call.find("trunks", call.path("sid"))))


async def create(call: TwilioCall) -> Response:
    """POST /v1/Trunks: every parameter is optional; nothing is generated for those left out."""
    call.only(*_PARAMETERS)
    if len(call.data["trunks"]) >= MAX_TRUNKS:
        raise call.error(21244, "Maximum number of trunks reached")
    now = call.now()
    row: StoredRow = {
        "sid": new_sid("TK"),
        "friendly_name": None,
        "domain_name": None,
        "disaster_recovery_method": None,
        "disaster_recovery_url": None,
        "secure": False,
        "cnam_lookup_enabled": False,
        "symmetric_rtp_enabled": False,
        "recording": {"mode": "do-not-record", "trim": "do-not-trim"},
        "transfer_mode": "disable-all",
        "transfer_caller_id": "from-transferee",
        "date_created": now,
        "date_updated": now,
    }
    row |= _settings(call, row)
    call.data["trunks"][row["sid"]] = row
    call.done()
    return JSONResponse(answer(call, row), 201)


async def update(call: TwilioCall) -> Response:
    """POST /v1/Trunks/{Sid}."""
    call.only(*_PARAMETERS)
    row = call.find("trunks", call.path("sid"))
    old = row["domain_name"]
    new = _settings(call, row)
    if old and new["domain_name"] != old:
        _refuse_with_sub_domains(call, row)
        _release(call, old)
    row |= new | {"date_updated": call.now()}
    call.done()
    return JSONResponse(answer(call, row))


async def delete(call: TwilioCall) -> Response:
    """DELETE /v1/Trunks/{Sid}: numbers are kept and no longer associated.

    Source: Twilio, "Elastic SIP Trunking"; 21634 if a number has emergency calling (error dictionary).
    Whether origination URLs and lists go along is the switch ``twilio.trunk_delete``.
    """
    row = call.find("trunks", call.path("sid"))
    sid = row["sid"]
    data = call.data
    numbers = [number for number in data["numbers"].values() if number["trunk_sid"] == sid]
    if any(number["emergency_address_sid"] for number in numbers):
        raise TwilioError(400, 21634, "A phone number of the trunk has emergency calling enabled")
    _refuse_with_sub_domains(call, row)
    parts = ("origination_urls", "trunk_ip_access_control_lists", "trunk_credential_lists")
    attached = [
        (table, key) for table in parts for key, part in data[table].items() if part["trunk_sid"] == sid
    ]
    if attached and call.switch("trunk_delete") == "refused":
        raise TwilioError(409, 20409, "The trunk has associated resources")
    for table, key in attached:
        del data[table][key]
    for number in numbers:
        number["trunk_sid"] = None
    if row["domain_name"]:
        _release(call, row["domain_name"])
    del data["trunks"][sid]
    call.done()
    return Response(status_code=204)


async def fetch_recording(call: TwilioCall) -> Response:
    """GET /v1/Trunks/{TrunkSid}/Recording."""
    return JSONResponse(call.find("trunks", call.path("trunk_sid"))["recording"])


async def update_recording(call: TwilioCall) -> Response:
    """POST /v1/Trunks/{TrunkSid}/Recording: recording is not settable on the trunk itself."""
    row = call.find("trunks", call.path("trunk_sid"))
    modes = ("do-not-record", "record-from-ringing", "record-from-answer")
    present = row["recording"]
    row["recording"] = {
        "mode": choice(call, "Mode", present["mode"], *modes, *(f"{mode}-dual" for mode in modes[1:])),
        "trim": choice(call, "Trim", present["trim"], "trim-silence", "do-not-trim"),
    }
    row["date_updated"] = call.now()
    call.done()
    return JSONResponse(row["recording"])


def answer(call: TwilioCall, row: StoredRow) -> StoredRow:
    """Return a trunk as the API shows it, with ``auth_type`` computed from its lists."""
    seen = call.seen()
    kinds = [
        kind
        for kind, table in (
            ("IP_ACL", "trunk_ip_access_control_lists"),
            ("CREDENTIAL_LIST", "trunk_credential_lists"),
        )
        if any(part["trunk_sid"] == row["sid"] for part in seen[table].values())
    ]
    url = f"{base_url(call.request)}/v1/Trunks/{row['sid']}"
    parts = {
        "origination_urls": "OriginationUrls",
        "credential_lists": "CredentialLists",
        "ip_access_control_lists": "IpAccessControlLists",
        "phone_numbers": "PhoneNumbers",
    }
    unset_method = "POST" if call.switch("disaster_recovery_method") == "POST" else None
    return row | {
        "account_sid": call.data["account"]["sid"],
        "disaster_recovery_method": row["disaster_recovery_method"] or unset_method,
        "auth_type": ",".join(kinds),
        "auth_type_set": kinds,
        "url": url,
        "links": {name: f"{url}/{part}" for name, part in parts.items()},
    }


def _settings(call: TwilioCall, row: StoredRow) -> StoredRow:
    """Return a trunk's settings after the form."""
    form = call.form
    friendly_name = form["FriendlyName"] or None if "FriendlyName" in form else row["friendly_name"]
    if friendly_name and len(friendly_name) > 64 and call.switch("friendly_name_over_64") == "refused":
        raise bad("Invalid parameter: FriendlyName is too long (64 characters)")
    recovery_url = (
        form["DisasterRecoveryUrl"] or None if "DisasterRecoveryUrl" in form else row["disaster_recovery_url"]
    )
    if recovery_url and not re.match(r"https?://[^\s/]+", recovery_url):
        raise bad("Invalid parameter: DisasterRecoveryUrl")
    modes = ("disable-all", "enable-all", "sip-only")
    caller_ids = ("from-transferee", "from-transferor")
    return {
        "friendly_name": friendly_name,
        "domain_name": _domain(call, row) if "DomainName" in form else row["domain_name"],
        "disaster_recovery_url": recovery_url,
        "disaster_recovery_method": choice(
            call, "DisasterRecoveryMethod", row["disaster_recovery_method"], "GET", "POST"
        ),
        "transfer_mode": choice(call, "TransferMode", row["transfer_mode"], *modes),
        "transfer_caller_id": choice(call, "TransferCallerId", row["transfer_caller_id"], *caller_ids),
        "secure": boolean(call, "Secure", row["secure"]),
        "cnam_lookup_enabled": boolean(call, "CnamLookupEnabled", row["cnam_lookup_enabled"]),
    }


def _domain(call: TwilioCall, row: StoredRow) -> str | None:
    """Return the checked domain name of the form.

    Source: Twilio's OpenAPI document (ends with pstn.twilio.com; letters, digits, dash) and error
    dictionary: 21245 malformed, 21247 sub-domain without its parent, 21248 taken, by whomever.
    """
    name = call.form["DomainName"]
    if not name:
        return None
    if not _DOMAIN.fullmatch(name):
        hint = "" if name.lower().endswith("twilio.com") else ": domain name must end with twilio.com"
        raise call.error(21245, f"Trunk Validation Error{hint}")
    folded = name.lower()
    others = {
        trunk["domain_name"].lower()
        for trunk in call.data["trunks"].values()
        if trunk["domain_name"] and trunk["sid"] != row["sid"]
    }
    parent = folded.partition(".")[2]
    if not parent.startswith("pstn.") and parent not in others:
        raise call.error(21247, "Trunk sub-domain: the parent domain does not exist or is not yours")
    if folded in others:
        raise call.error(int(call.switch("own_domain_code")), "Trunk Domain already taken")
    if _taken_elsewhere(call, folded) or _resting(call, folded):
        raise call.error(21248, "Trunk Domain already taken")
    return folded if call.switch("domain_case") == "lowered" else name


def _taken_elsewhere(call: TwilioCall, domain: str) -> bool:
    twilio = call.world.store.twilio
    trunks = (
        trunk
        for tables in (twilio, *twilio["accounts"].values())
        if tables is not call.data
        for trunk in tables["trunks"].values()
    )
    return domain in twilio["taken_domains"] or any(
        (trunk["domain_name"] or "").lower() == domain for trunk in trunks
    )


def _refuse_with_sub_domains(call: TwilioCall, row: StoredRow) -> None:
    own = (row["domain_name"] or "").lower()
    names = [(trunk["domain_name"] or "").lower() for trunk in call.data["trunks"].values()]
    if own and any(name.endswith(f".{own}") for name in names):
        raise call.error(21247, "The trunk's domain has sub-domains")


def _release(call: TwilioCall, domain: str) -> None:
    call.data["released_domains"][domain.lower()] = {"at": call.world.store.clock.now().timestamp()}


def _resting(call: TwilioCall, domain: str) -> bool:
    released = call.data["released_domains"].get(domain)
    delay = call.switch("domain_reuse_delay_seconds")
    return released is not None and call.world.store.clock.now().timestamp() < released["at"] + delay
