"""Events: who changed which resource of the account (monitor v1)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from starlette.responses import JSONResponse, Response

from ..store import StoredRow
from .http import TwilioCall, TwilioError, bad, base_url, page_v1

#: For how long events can be asked for (Twilio, "Monitor events").
RETENTION = timedelta(days=30)


async def listing(call: TwilioCall) -> Response:
    """GET /v1/Events, newest first."""
    query = call.request.query_params
    start, end = _time(call, "StartDate"), _time(call, "EndDate")
    same = {
        field: query[name]
        for name, field in (
            ("ActorSid", "actor_sid"),
            ("EventType", "event_type"),
            ("ResourceSid", "resource_sid"),
            ("SourceIpAddress", "source_ip_address"),
        )
        if query.get(name)
    }
    found = [
        event
        for event in _events(call)
        if all(event[field] == value for field, value in same.items())
        and (start is None or start <= _date(event))
        and (end is None or _date(event) <= end)
    ]
    return page_v1(call, "events", found[::-1])


async def fetch(call: TwilioCall) -> Response:
    """GET /v1/Events/{Sid}."""
    found = next((event for event in _events(call) if event["sid"] == call.path("sid")), None)
    if found is None:
        raise call.missing()
    return JSONResponse(found)


def _events(call: TwilioCall) -> list[StoredRow]:
    """The account's events as far as its credentials may read them, oldest first."""
    readable = call.switch("events")
    if readable == "forbidden":
        raise TwilioError(403, 20004, "Method not allowed for these credentials")
    account, since = call.data["account"]["sid"], call.world.store.clock.now() - RETENTION
    return [
        _shown(call, event)
        for event in call.world.history.events
        if event["account_sid"] == account
        and _date(event) >= since
        and (readable == "every type" or event["resource_type"] == "phone-number")
    ]


def _shown(call: TwilioCall, event: StoredRow) -> StoredRow:
    shown = {name: value for name, value in event.items() if not name.startswith("_")}
    if event["_trunk_sid"] and call.switch("event_of_an_attachment") == "trunk":
        shown["resource_sid"] = event["_trunk_sid"]
    if call.switch("event_properties") == "absent":
        shown["event_data"] = None
    return shown | {"url": f"{base_url(call.request)}/v1/Events/{event['sid']}"}


def _date(event: StoredRow) -> datetime:
    return datetime.fromisoformat(event["event_date"])


def _time(call: TwilioCall, name: str) -> datetime | None:
    text = call.request.query_params.get(name)
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise bad(f"Invalid parameter: {name}") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
