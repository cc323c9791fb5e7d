"""What a write created: where it is, and what the vendor reports about it now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import VendorError
from ..meaning import same_name
from ..records.footprint import Write, makes, path_of, same, snake
from ..records.journal import CLOCKS, vendor_time
from ..vendors.portsip import Session
from ..vendors.twilio import read_date

if TYPE_CHECKING:
    from ..context import Context


def collection_of(path: str) -> str:
    """Return the collection that a resource's path belongs to, for example ``"Trunks"``."""
    return path.split("/")[-2]


def read_at(context: Context, vendor: str, path: str) -> Mapping[str, Any] | None:
    """Return the vendor's fields of the resource at ``path`` now; ``None`` when there is none.

    Of a number, on a trunk or not, those of the number itself: its trunk has less to say of it.
    """
    if vendor == "Twilio":
        return context.twilio.read(number_or_path(context, path))
    try:
        return session_of(context, path).get(path)
    except VendorError as error:
        if error.status != 404:
            raise
        return None


def is_number(path: str) -> bool:
    """Whether a path is that of a number, in the account or on a trunk."""
    return collection_of(path) in ("IncomingPhoneNumbers", "PhoneNumbers")


def number_or_path(context: Context, path: str) -> str:
    """Return the path at which a resource is read: a number's own, every other's as it is."""
    if not is_number(path):
        return path
    return context.twilio.number_path(path.rpartition("/")[2].removesuffix(".json"))


def session_of(context: Context, path: str) -> Session:
    """Return the session at the PBX that reaches a path: a trunk's own scope, or the tenant's."""
    ours = collection_of(path) in ("providers", "assignees")
    return context.pbx_trunk.session if ours else context.pbx.session


def locate_created(context: Context, write: Write) -> str | None:
    """Find a resource created by a write whose answer was lost; return its path, or ``None``.

    It has what was sent, and at Twilio the time at which it was sent.
    """
    body = {name: value for name, value in (write["body"] or {}).items() if name.lower() != "password"}
    path = write["path"]
    if write["vendor"] == "PortSIP":
        path = path.removeprefix("/api")
        rules = path in ("/inbound_rules", "/outbound_rules")
        session = context.pbx.session if rules else context.pbx_trunk.session
        named = [
            f"{path}/{one['id']}" for one in session.list(path) if same_name(one["name"], body.get("name"))
        ]
        found = [one for one in named if same(body, session.get(one))]  # lists omit fields
        return found[0] if len(found) == 1 else None
    stem, suffix = path.removesuffix(".json"), ".json" if path.endswith(".json") else ""
    for sid_of_list in ("CredentialListSid", "IpAccessControlListSid"):
        if sid_of_list in body:  # an association has the list's id
            attached = f"{stem}/{body[sid_of_list]}"
            return attached if context.twilio.read(attached) else None
    wanted = {snake(name): value for name, value in body.items()}
    found = [
        one["sid"]
        for one in context.twilio.entries(path)
        if same(wanted, one) and abs(read_date(one["date_created"]) - vendor_time(write)) < CLOCKS
    ]
    return f"{stem}/{found[0]}{suffix}" if len(found) == 1 else None


def keep_what_was_made(context: Context) -> None:
    """Journal what is known about the resource that the last write created, if its answer did not show it.

    An answer may have been lost, and for a rule the PBX returns only its id and is sent only
    some fields. A PBX trunk and its assignment are sent as a whole.
    """
    write = context.journal.last
    if write is None or not makes(write):
        return
    path, at_pbx = path_of(write), write["vendor"] == "PortSIP"
    if (at_pbx and "_rules" not in write["path"]) or (path is not None and not at_pbx):
        return
    path = path or locate_created(context, write)
    if path is None:
        return
    live = read_at(context, write["vendor"], path)
    if live is not None:
        context.journal.found(write["entry"], path.rpartition("/")[2].removesuffix(".json"), live)
