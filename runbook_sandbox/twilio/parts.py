"""What belongs to a trunk (trunking v1): origination URLs, lists and phone numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.responses import JSONResponse, Response

from ..store import StoredRow, new_sid
from .http import TwilioCall, bad, base_url, boolean, integer, page_v1
from .numbers import dates_v1, readable

MAX_URLS = 10  # Twilio, "Elastic SIP Trunking"; breach: error dictionary 21249
_SIP_URL = re.compile(
    r"sips?:(?:[^@\s<>]+@)?(?:\[[0-9A-Fa-f:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::(\d{1,5}))?(?:[;?][^\s<>]*)?",
    re.ASCII,
)


def _seen(call: TwilioCall, table: str) -> dict[str, StoredRow]:
    """Return the rows of a trunk's table as this reader sees them, perhaps late."""
    return call.seen()[table]


def _trunk(call: TwilioCall) -> StoredRow:
    return call.find("trunks", call.path("trunk_sid"))


def _url(call: TwilioCall, part: str, sid: str) -> str:
    return f"{base_url(call.request)}/v1/Trunks/{call.path('trunk_sid')}/{part}/{sid}"


class OriginationUrls:
    """``/v1/Trunks/{TrunkSid}/OriginationUrls``."""

    async def listing(self, call: TwilioCall) -> Response:
        """GET, in the order in which they were made."""
        trunk = _trunk(call)
        rows = [row for row in _seen(call, "origination_urls").values() if row["trunk_sid"] == trunk["sid"]]
        return page_v1(call, "origination_urls", [self._answer(call, row) for row in rows])

    async def fetch(self, call: TwilioCall) -> Response:
        """GET one."""
        row = _seen(call, "origination_urls").get(call.path("sid"))
        if row is None or row["trunk_sid"] != _trunk(call)["sid"]:
            raise call.missing()
        return JSONResponse(self._answer(call, row))

    async def create(self, call: TwilioCall) -> Response:
        """POST: all of Weight, Priority, Enabled, FriendlyName and SipUrl are required."""
        trunk = _trunk(call)
        call.only("Weight", "Priority", "Enabled", "FriendlyName", "SipUrl")
        call.need("Weight", "Priority", "Enabled", "FriendlyName", "SipUrl")
        own = [row for row in call.data["origination_urls"].values() if row["trunk_sid"] == trunk["sid"]]
        if len(own) >= MAX_URLS:
            raise call.error(21249, "Maximum number of Origination URLs reached for the trunk")
        now = call.now()
        row = {"sid": new_sid("OU"), "trunk_sid": trunk["sid"], "date_created": now}
        row |= self._settings(call, row)
        call.data["origination_urls"][row["sid"]] = row
        call.done()
        return JSONResponse(self._answer(call, row), 201)

    async def update(self, call: TwilioCall) -> Response:
        """POST to one: parameters left out stay."""
        call.only("Weight", "Priority", "Enabled", "FriendlyName", "SipUrl")
        row = call.find("origination_urls", call.path("sid"), trunk_sid=_trunk(call)["sid"])
        row |= self._settings(call, row)
        call.done()
        return JSONResponse(self._answer(call, row))

    async def delete(self, call: TwilioCall) -> Response:
        """DELETE: 204."""
        row = call.find("origination_urls", call.path("sid"), trunk_sid=_trunk(call)["sid"])
        del call.data["origination_urls"][row["sid"]]
        call.done()
        return Response(status_code=204)

    @staticmethod
    def _answer(call: TwilioCall, row: StoredRow) -> StoredRow:
        own = {"account_sid": call.data["account"]["sid"], "url": _url(call, "OriginationUrls", row["sid"])}
        return row | own

    @staticmethod
    def _settings(call: TwilioCall, row: StoredRow) -> StoredRow:
        """Return the settings after the form.

        ``sips:`` is accepted although the OpenAPI document says no, and weight 0 although it says 1
        (both seen live); hosts that are not reachable are accepted, too.
        """
        name, url = (
            call.form.get("FriendlyName", row.get("friendly_name")),
            call.form.get("SipUrl", row.get("sip_url")),
        )
        if not name or len(name) > 64:
            raise bad("Invalid parameter: FriendlyName must have 1 to 64 characters")
        found = _SIP_URL.fullmatch(url or "")
        if found is None or int(found[1] or 0) > 65535:
            raise bad("Invalid parameter: SipUrl must be a SIP URI")
        if call.switch("duplicate_origination_url") == "refused" and any(
            other["sip_url"] == url and other["trunk_sid"] == row["trunk_sid"] and other["sid"] != row["sid"]
            for other in call.data["origination_urls"].values()
        ):
            raise bad("Invalid parameter: SipUrl already exists on the trunk")
        return {
            "friendly_name": name,
            "sip_url": url,
            "priority": integer(call, "Priority", row.get("priority", 10), 0, 65535),
            "weight": integer(call, "Weight", row.get("weight", 10), 0, 65535),
            "enabled": boolean(call, "Enabled", row.get("enabled", True)),
            "date_updated": call.now(),
        }


@dataclass(frozen=True)
class Attached:
    """A trunk's IP access control lists or its credential lists; the lists belong to the account."""

    table: str
    lists: str
    part: str
    key: str
    parameter: str

    async def listing(self, call: TwilioCall) -> Response:
        """GET the lists that are attached."""
        trunk = _trunk(call)
        rows = [row for row in _seen(call, self.table).values() if row["trunk_sid"] == trunk["sid"]]
        return page_v1(
            call, self.key, [self._answer(call, row) for row in rows if row["sid"] in call.data[self.lists]]
        )

    async def fetch(self, call: TwilioCall) -> Response:
        """GET one attached list."""
        row = _seen(call, self.table).get(f"{_trunk(call)['sid']}/{call.path('sid')}")
        if row is None or row["sid"] not in call.data[self.lists]:
            raise call.missing()
        return JSONResponse(self._answer(call, row))

    async def attach(self, call: TwilioCall) -> Response:
        """POST: ``sid`` is the list's; a second time is 21245 (error dictionary), not 409."""
        trunk = _trunk(call)
        call.only(self.parameter)
        call.need(self.parameter)
        wanted = call.data[self.lists].get(call.form[self.parameter])
        if wanted is None:
            raise call.missing()
        key = f"{trunk['sid']}/{wanted['sid']}"
        if key in call.data[self.table]:
            raise call.error(21245, "Trunk Validation Error: the list is already associated with the trunk")
        now = call.now()
        row = {"trunk_sid": trunk["sid"], "sid": wanted["sid"], "date_created": now, "date_updated": now}
        call.data[self.table][key] = row
        call.done()
        return JSONResponse(self._answer(call, row), 201)

    async def detach(self, call: TwilioCall) -> Response:
        """DELETE: the list itself stays."""
        key = f"{_trunk(call)['sid']}/{call.path('sid')}"
        if key not in call.data[self.table]:
            raise call.missing()
        del call.data[self.table][key]
        call.done()
        return Response(status_code=204)

    def _answer(self, call: TwilioCall, row: StoredRow) -> StoredRow:
        return row | {
            "account_sid": call.data["account"]["sid"],
            "friendly_name": call.data[self.lists][row["sid"]]["friendly_name"],
            "url": _url(call, self.part, row["sid"]),
        }


IP_ACCESS_CONTROL_LISTS = Attached(
    "trunk_ip_access_control_lists",
    "ip_access_control_lists",
    "IpAccessControlLists",
    "ip_access_control_lists",
    "IpAccessControlListSid",
)
CREDENTIAL_LISTS = Attached(
    "trunk_credential_lists", "credential_lists", "CredentialLists", "credential_lists", "CredentialListSid"
)


class PhoneNumbers:
    """``/v1/Trunks/{TrunkSid}/PhoneNumbers``; not in every Region, hence a switch."""

    @staticmethod
    def _trunk(call: TwilioCall) -> StoredRow:
        if call.switch("numbers_of_a_trunk") == "missing":
            raise call.missing()
        return _trunk(call)

    async def listing(self, call: TwilioCall) -> Response:
        """GET the trunk's numbers."""
        trunk, numbers = self._trunk(call), call.data["numbers"]
        mine = [sid for sid, on in _seen(call, "trunk_of").items() if on == trunk["sid"] and sid in numbers]
        return page_v1(call, "phone_numbers", [self._answer(call, numbers[sid]) for sid in mine])

    async def fetch(self, call: TwilioCall) -> Response:
        """GET one of the trunk's numbers."""
        sid = call.path("sid")
        if _seen(call, "trunk_of").get(sid) != self._trunk(call)["sid"] or sid not in call.data["numbers"]:
            raise call.missing()
        return JSONResponse(self._answer(call, call.data["numbers"][sid]))

    async def attach(self, call: TwilioCall) -> Response:
        """POST PhoneNumberSid: deletes the voice application; the voice URL stays and is ignored."""
        trunk = self._trunk(call)
        call.only("PhoneNumberSid")
        call.need("PhoneNumberSid")
        row = call.data["numbers"].get(call.form["PhoneNumberSid"])
        if row is None:
            raise call.missing()
        if row["trunk_sid"]:
            where = "same" if row["trunk_sid"] == trunk["sid"] else "other"
            if call.switch(f"number_on_{where}_trunk") == "refused":
                raise call.error(
                    21245, "Trunk Validation Error: the number is already associated with a trunk"
                )
        row |= {"trunk_sid": trunk["sid"], "voice_application_sid": "", "date_updated": call.now()}
        call.done()
        return JSONResponse(self._answer(call, row), 201)

    async def detach(self, call: TwilioCall) -> Response:
        """DELETE: the number is kept."""
        row = call.find("numbers", call.path("sid"), trunk_sid=self._trunk(call)["sid"])
        row |= {"trunk_sid": None, "date_updated": call.now()}
        call.done()
        return Response(status_code=204)

    @staticmethod
    def _answer(call: TwilioCall, row: StoredRow) -> StoredRow:
        not_here = {
            "address_sid",
            "identity_sid",
            "bundle_sid",
            "emergency_status",
            "emergency_address_sid",
            "emergency_address_status",
            "voice_receive_mode",
        }
        # The number itself belongs to the other API: its host, and a path without .json.
        api, account = call.world.endpoints["twilio_api_url"], call.data["account"]["sid"]
        number = f"{api}/2010-04-01/Accounts/{account}/IncomingPhoneNumbers/{row['sid']}"
        shown = {k: v for k, v in readable(call, row).items() if k not in not_here}
        return (
            shown
            | dates_v1(row)
            | {
                # this path says on which trunk the number is, whatever a late reader sees
                "trunk_sid": call.path("trunk_sid"),
                "url": _url(call, "PhoneNumbers", row["sid"]),
                "links": {"phone_number": number},
            }
        )
