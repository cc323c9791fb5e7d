"""The account, its incoming phone numbers and numbers that can be bought (2010-04-01)."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from starlette.responses import JSONResponse, Response

from ..demo import number_row
from ..store import StoredRow, new_sid
from .http import TwilioCall, TwilioError, bad, boolean, choice, page_2010, rfc2822

REGISTRATION_SECONDS = 2  # how long an emergency address stays pending here; Twilio gives no figure
_UNSET_AS_TEXT = (
    "voice_url",
    "voice_fallback_url",
    "voice_application_sid",
    "sms_url",
    "sms_fallback_url",
    "sms_application_sid",
    "status_callback",
)
_URLS = {
    "VoiceUrl": "voice_url",
    "VoiceFallbackUrl": "voice_fallback_url",
    "SmsUrl": "sms_url",
    "SmsFallbackUrl": "sms_fallback_url",
    "StatusCallback": "status_callback",
}
_METHODS = {
    "VoiceMethod": "voice_method",
    "VoiceFallbackMethod": "voice_fallback_method",
    "SmsMethod": "sms_method",
    "SmsFallbackMethod": "sms_fallback_method",
    "StatusCallbackMethod": "status_callback_method",
}
_SIDS = {
    "SmsApplicationSid": ("sms_application_sid", "AP"),
    "AddressSid": ("address_sid", "AD"),
    "IdentitySid": ("identity_sid", "RI"),
    "BundleSid": ("bundle_sid", "BU"),
}
_OTHER = (
    "FriendlyName",
    "AccountSid",
    "ApiVersion",
    "VoiceCallerIdLookup",
    "VoiceReceiveMode",
    "VoiceApplicationSid",
    "TrunkSid",
    "EmergencyStatus",
    "EmergencyAddressSid",
    "PhoneNumber",
    "AreaCode",
)
_PARAMETERS = (*_URLS, *_METHODS, *_SIDS, *_OTHER)
_PREFIX = {"Local": "202555", "Mobile": "202556", "TollFree": "888555"}


async def account(call: TwilioCall) -> Response:
    """GET or POST /2010-04-01/Accounts/{Sid}.json."""
    row = call.data["account"]
    if call.request.method == "POST":
        call.only("FriendlyName", "Status")
        row["status"] = choice(call, "Status", row["status"], "active", "suspended", "closed")
        row["friendly_name"] = call.form.get("FriendlyName") or row["friendly_name"]
        row["date_updated"] = call.now()
        call.done()
    uri = f"/2010-04-01/Accounts/{row['sid']}"
    parts = {
        "available_phone_numbers": "AvailablePhoneNumbers",
        "incoming_phone_numbers": "IncomingPhoneNumbers",
        "sip": "SIP",
    }
    answer = {
        "sid": row["sid"],
        "friendly_name": row["friendly_name"],
        "status": row["status"],
        "type": row["type"],
        # The document has the field; a token is never shown here, so that none lands in a record.
        "auth_token": None,
        "owner_account_sid": row["owner_account_sid"],
        "date_created": rfc2822(row["date_created"]),
        "date_updated": rfc2822(row["date_updated"]),
        "subresource_uris": {name: f"{uri}/{part}.json" for name, part in parts.items()},
        "uri": f"{uri}.json",
    }
    return JSONResponse(answer)


async def listing(call: TwilioCall) -> Response:
    """GET IncomingPhoneNumbers: ``PhoneNumber`` matches a part (``*``: any digit), the name as a whole."""
    rows = list(call.data["numbers"].values())
    query = call.request.query_params
    if wanted := query.get("PhoneNumber"):
        pattern = re.compile(re.escape(wanted).replace(r"\*", r"\d"))
        rows = [row for row in rows if pattern.search(row["phone_number"])]
    if name := query.get("FriendlyName"):
        rows = [row for row in rows if row["friendly_name"] == name]
    if (beta := query.get("Beta")) == "true":
        rows = []
    elif beta not in (None, "false"):
        raise bad("Invalid parameter: Beta")
    return page_2010(call, "incoming_phone_numbers", rows, partial(_answer, call))


async def fetch(call: TwilioCall) -> Response:
    """GET one number."""
    return JSONResponse(_answer(call, call.find("numbers", call.path("sid"))))


async def update(call: TwilioCall) -> Response:
    """POST to one number."""
    row = call.find("numbers", call.path("sid"))
    row |= _settings(call, row)
    call.done()
    return JSONResponse(_answer(call, row))


async def buy(call: TwilioCall) -> Response:
    """POST IncomingPhoneNumbers: 21422 not available, 21421 invalid, 21452 none in the area code."""
    number, area = call.form.get("PhoneNumber"), call.form.get("AreaCode")
    owned = {row["phone_number"] for row in call.data["numbers"].values()}
    if number:
        if not re.fullmatch(r"\+[1-9]\d{6,14}", number, re.ASCII):
            raise TwilioError(400, 21421, "PhoneNumber is invalid")
        if number not in _for_sale() or number in owned:
            raise TwilioError(400, 21422, "PhoneNumber is not available")
    elif area:
        number = next((n for n in _for_sale() if n[2:5] == area and n not in owned), None)
        if number is None:
            raise TwilioError(400, 21452, "No phone numbers found in area code")
    else:
        raise bad("Missing required parameter PhoneNumber in the post body")
    now = call.now()
    row = number_row(number, sid=new_sid("PN"), date_created=now, date_updated=now)
    row |= _settings(call, row)
    call.data["numbers"][row["sid"]] = row
    call.done()
    return JSONResponse(_answer(call, row), 201)


async def release(call: TwilioCall) -> Response:
    """DELETE: the number is given back."""
    row = call.find("numbers", call.path("sid"))
    if row["emergency_address_sid"]:
        raise TwilioError(400, 21634, "The phone number has emergency calling enabled")
    del call.data["numbers"][row["sid"]]
    call.done()
    return Response(status_code=204)


async def available(call: TwilioCall) -> Response:
    """GET AvailablePhoneNumbers/{CountryCode}/{Local, Mobile, TollFree}: three of each in the US."""
    kind, query = call.path("kind"), call.request.query_params
    if kind not in _PREFIX or call.path("country") != "US":
        raise call.missing()
    owned = {row["phone_number"] for row in call.data["numbers"].values()}
    numbers = [n for n in _for_sale() if n.startswith(f"+1{_PREFIX[kind]}") and n not in owned]
    if area := query.get("AreaCode"):
        numbers = [n for n in numbers if n[2:5] == area]
    if contains := query.get("Contains"):
        pattern = re.compile(re.escape(contains).replace(r"\*", r"\d"))
        numbers = [n for n in numbers if pattern.search(n)]
    return page_2010(call, "available_phone_numbers", [_offer(number) for number in numbers])


def readable(call: TwilioCall, row: StoredRow) -> StoredRow:
    """Return what both of Twilio's APIs show of a number."""
    unset = None if call.switch("unset_text") == "null" else ""
    kept = {k: v for k, v in row.items() if k != "emergency_since"}
    kept |= {name: row[name] or unset for name in _UNSET_AS_TEXT}
    return kept | {
        "account_sid": call.data["account"]["sid"],
        "address_requirements": "none",
        "api_version": "2010-04-01",
        "beta": False,
    }


def dates_v1(row: StoredRow) -> StoredRow:
    """Return a number's dates as trunking v1 writes them."""
    return {name: row[name] for name in ("date_created", "date_updated")}


def _answer(call: TwilioCall, row: StoredRow) -> StoredRow:
    account_sid = call.data["account"]["sid"]
    seen = call.seen()["trunk_of"]
    return readable(call, row) | {
        "trunk_sid": seen.get(row["sid"]),
        "origin": "twilio",
        "status": "in-use",
        "type": "local",
        "emergency_address_status": _emergency_status(call, row),
        "date_created": rfc2822(row["date_created"]),
        "date_updated": rfc2822(row["date_updated"]),
        "uri": f"/2010-04-01/Accounts/{account_sid}/IncomingPhoneNumbers/{row['sid']}.json",
    }


def _emergency_status(call: TwilioCall, row: StoredRow) -> str:
    since = row.get("emergency_since")
    if since is None or call.world.store.clock.now().timestamp() < since + REGISTRATION_SECONDS:
        return str(row["emergency_address_status"])
    return "registered" if row["emergency_address_sid"] else "unregistered"


def _settings(call: TwilioCall, row: StoredRow) -> StoredRow:
    """Return a number's settings after the form."""
    call.only(*_PARAMETERS)
    form = call.form
    new: StoredRow = {"date_updated": call.now()}
    for parameter, name in _URLS.items():
        if form.get(parameter, "") and not re.match(r"https?://[^\s/]+", form[parameter]):
            raise TwilioError(
                400, 21502 if parameter == "VoiceUrl" else 20001, f"{parameter} is not a valid URL"
            )
        new[name] = form.get(parameter, row[name])
    for parameter, name in _METHODS.items():
        new[name] = choice(call, parameter, row[name], "GET", "POST")
    for parameter, (name, prefix) in _SIDS.items():
        new[name] = _sid(call, parameter, prefix, row[name])
    new["friendly_name"] = form.get("FriendlyName") or row["friendly_name"]
    new["voice_caller_id_lookup"] = boolean(call, "VoiceCallerIdLookup", row["voice_caller_id_lookup"])
    new["voice_receive_mode"] = choice(call, "VoiceReceiveMode", row["voice_receive_mode"], "voice", "fax")
    return new | _voice_target(call, row) | _emergency(call, row)


def _voice_target(call: TwilioCall, row: StoredRow) -> StoredRow:
    """Return trunk and voice application: setting one deletes the other (Twilio's OpenAPI document)."""
    new = {"trunk_sid": row["trunk_sid"], "voice_application_sid": row["voice_application_sid"]}
    if "VoiceApplicationSid" in call.form:
        new["voice_application_sid"] = _sid(call, "VoiceApplicationSid", "AP", "") or ""
        if new["voice_application_sid"]:
            new["trunk_sid"] = None
    if trunk_sid := _sid(call, "TrunkSid", "TK", None):
        call.find("trunks", trunk_sid)
        new = {"trunk_sid": trunk_sid, "voice_application_sid": ""}
    elif "TrunkSid" in call.form and call.switch("clear_trunk_sid") == "accepted":
        new["trunk_sid"] = None
    return new


def _emergency(call: TwilioCall, row: StoredRow) -> StoredRow:
    """Return the emergency fields; writes of EmergencyStatus are ignored (Twilio, changelog 2021-10-06)."""
    if "EmergencyAddressSid" not in call.form:
        return {}
    sid = _sid(call, "EmergencyAddressSid", "AD", None) or None
    if sid == row["emergency_address_sid"]:
        return {}
    return {
        "emergency_address_sid": sid,
        "emergency_address_status": "pending-registration" if sid else "pending-unregistration",
        "emergency_since": call.world.store.clock.now().timestamp(),
    }


def _sid(call: TwilioCall, parameter: str, prefix: str, default: Any) -> Any:
    value = call.form.get(parameter)
    if value is None:
        return default
    if value and not re.fullmatch(rf"{prefix}[0-9a-fA-F]{{32}}", value):
        raise bad(f"Invalid parameter: {parameter}")
    return value or (None if default is None else "")


def _for_sale() -> list[str]:
    return [f"+1{prefix}01{last}" for prefix in _PREFIX.values() for last in (90, 91, 92)]


def _offer(number: str) -> StoredRow:
    return {
        "friendly_name": f"({number[2:5]}) {number[5:8]}-{number[8:]}",
        "phone_number": number,
        "lata": "236",
        "locality": "Washington",
        "rate_center": "WSHNGTNZN1",
        "latitude": 38.9,
        "longitude": -77.03,
        "region": "DC",
        "postal_code": "20001",
        "iso_country": "US",
        "address_requirements": "none",
        "beta": False,
        "capabilities": {"voice": True, "sms": True, "mms": True, "fax": False},
    }
