"""Inbound Processing Regions of trunks and of numbers (routes v2)."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import JSONResponse, Response

from ..store import StoredRow, new_sid
from .http import TwilioCall, base_url, choice


@dataclass(frozen=True)
class Routes:
    """``/v2/Trunks/{SipTrunkDomain}`` or ``/v2/PhoneNumbers/{PhoneNumber}``.

    ``table`` and ``identity`` say which rows of the account have a Region, and by what they are named.
    """

    part: str
    table: str
    identity: str
    shown: str

    async def fetch(self, call: TwilioCall) -> Response:
        """GET: 404 for what nobody gave a Region (a switch)."""
        name = self._own(call)
        row = call.data["routes"].get(name)
        if row is None and call.switch("unset_route") == "us1":
            row = self._row(call, name, None, "us1")
        if row is None:
            raise call.missing()
        return JSONResponse(self._answer(call, row))

    async def update(self, call: TwilioCall) -> Response:
        """POST: the Region that serves the calls."""
        name = self._own(call)
        call.only("VoiceRegion", "FriendlyName")
        call.need("VoiceRegion")
        present = call.data["routes"].get(name)
        row = self._row(call, name, present, choice(call, "VoiceRegion", None, "us1", "ie1", "au1"))
        call.data["routes"][name] = row
        call.done()
        return JSONResponse(self._answer(call, row))

    def _row(self, call: TwilioCall, name: str, present: StoredRow | None, region: str) -> StoredRow:
        now = call.now()
        return {
            "sid": present["sid"] if present else new_sid("QQ"),
            self.shown: name,
            "friendly_name": call.form.get("FriendlyName") or (present or {}).get("friendly_name"),
            "voice_region": region,
            "date_created": present["date_created"] if present else now,
            "date_updated": now,
        }

    def _own(self, call: TwilioCall) -> str:
        """Return the name in the path, which must be that of a trunk or a number of the account."""
        name = call.path("name").lower()
        if all((row[self.identity] or "").lower() != name for row in call.data[self.table].values()):
            raise call.missing()
        return name

    def _answer(self, call: TwilioCall, row: StoredRow) -> StoredRow:
        url = f"{base_url(call.request)}/v2/{self.part}/{row[self.shown]}"
        return row | {"account_sid": call.data["account"]["sid"], "url": url}


TRUNKS = Routes("Trunks", "trunks", "domain_name", "sip_trunk_domain")
PHONE_NUMBERS = Routes("PhoneNumbers", "numbers", "phone_number", "phone_number")
