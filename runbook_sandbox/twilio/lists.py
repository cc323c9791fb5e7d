"""IP access control lists and credential lists with their entries (2010-04-01)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from starlette.responses import JSONResponse, Response

from ..store import StoredRow, new_sid, password_digest
from .http import TwilioCall, integer, page_2010, rfc2822


@dataclass(frozen=True)
class AccountLists:
    """One kind of list of the account.

    The codes are those of Twilio's error dictionary: ``full`` for too many lists, ``name`` for a name
    that is taken or malformed, ``mapped`` for deleting a list that something uses.
    """

    table: str
    prefix: str
    part: str
    key: str
    entries: str
    entries_part: str
    attached: str
    limit: int
    longest_name: int
    full: int
    name: int
    mapped: int

    @property
    def owner(self) -> str:
        """The field of an entry that names its list."""
        return f"{self.key.removesuffix('s')}_sid"

    async def listing(self, call: TwilioCall) -> Response:
        """GET all lists."""
        return page_2010(call, self.key, [self._answer(call, row) for row in call.data[self.table].values()])

    async def fetch(self, call: TwilioCall) -> Response:
        """GET one list."""
        return JSONResponse(self._answer(call, call.find(self.table, call.path("sid"))))

    async def create(self, call: TwilioCall) -> Response:
        """POST: the friendly name is unique in the account."""
        if len(call.data[self.table]) >= self.limit:
            raise call.error(self.full, f"Maximum number of lists reached ({self.limit})")
        now = call.now()
        row = {"sid": new_sid(self.prefix), "date_created": now, "date_updated": now}
        row["friendly_name"] = self._checked_name(call, row)
        call.data[self.table][row["sid"]] = row
        call.done()
        return JSONResponse(self._answer(call, row), 201)

    async def update(self, call: TwilioCall) -> Response:
        """POST to one list: its name."""
        row = call.find(self.table, call.path("sid"))
        row |= {"friendly_name": self._checked_name(call, row), "date_updated": call.now()}
        call.done()
        return JSONResponse(self._answer(call, row))

    async def delete(self, call: TwilioCall) -> Response:
        """DELETE: refused while the list is mapped; its entries go along (both are switches)."""
        row = call.find(self.table, call.path("sid"))
        mapped = [key for key, part in call.data[self.attached].items() if part["sid"] == row["sid"]]
        entries = [sid for sid, entry in call.data[self.entries].items() if entry[self.owner] == row["sid"]]
        if mapped and call.switch("mapped_list_delete") == "refused":
            raise call.error(self.mapped, "The list is associated with a SIP Domain or trunk")
        if entries and call.switch("filled_list_delete") == "refused":
            raise call.error(self.mapped, "The list is not empty")
        for key in mapped:
            del call.data[self.attached][key]
        for sid in entries:
            del call.data[self.entries][sid]
        del call.data[self.table][row["sid"]]
        call.done()
        return Response(status_code=204)

    def _checked_name(self, call: TwilioCall, row: StoredRow) -> str:
        call.only("FriendlyName")
        call.need("FriendlyName")
        name = call.form["FriendlyName"]
        if len(name) > self.longest_name:
            raise call.error(self.name, f"FriendlyName is too long ({self.longest_name} characters)")
        others = (other for other in call.data[self.table].values() if other["sid"] != row["sid"])
        if any(other["friendly_name"] == name for other in others):
            raise call.error(self.name, "FriendlyName must be unique within the account")
        return name

    def _answer(self, call: TwilioCall, row: StoredRow) -> StoredRow:
        account = call.data["account"]["sid"]
        uri = f"/2010-04-01/Accounts/{account}/SIP/{self.part}/{row['sid']}"
        return row | {
            "account_sid": account,
            "date_created": rfc2822(row["date_created"]),
            "date_updated": rfc2822(row["date_updated"]),
            "subresource_uris": {self.entries: f"{uri}/{self.entries_part}.json"},
            "uri": f"{uri}.json",
        }


#: Twilio, "SIP IpAccessControlList resource": 1,000 lists; names up to 255 characters.
ACLS = AccountLists(
    "ip_access_control_lists",
    "AL",
    "IpAccessControlLists",
    "ip_access_control_lists",
    "ip_addresses",
    "IpAddresses",
    "trunk_ip_access_control_lists",
    1000,
    255,
    21255,
    21235,
    21236,
)
#: Twilio, "SIP CredentialList resource": 100 lists; names up to 64 characters.
CREDENTIAL_LISTS = AccountLists(
    "credential_lists",
    "CL",
    "CredentialLists",
    "credential_lists",
    "credentials",
    "Credentials",
    "trunk_credential_lists",
    100,
    64,
    21239,
    21240,
    21241,
)


class Entries:
    """What the entries of both kinds of list have in common."""

    prefix: str
    limit: int
    full: int

    def __init__(self, lists: AccountLists) -> None:
        self._lists = lists

    async def listing(self, call: TwilioCall) -> Response:
        """GET the entries of a list."""
        return page_2010(call, self._lists.entries, [self._answer(call, row) for row in self._own(call)])

    async def fetch(self, call: TwilioCall) -> Response:
        """GET one entry."""
        return JSONResponse(self._answer(call, self._find(call)))

    async def create(self, call: TwilioCall) -> Response:
        """POST."""
        own = self._own(call)
        if len(own) >= self.limit:
            raise call.error(self.full, f"Maximum number of entries reached ({self.limit})")
        now = call.now()
        row: StoredRow = {
            "sid": new_sid(self.prefix),
            self._lists.owner: call.path("list_sid"),
            "date_created": now,
            "date_updated": now,
        }
        row |= self._made(call, own)
        call.data[self._lists.entries][row["sid"]] = row
        call.done()
        return JSONResponse(self._answer(call, row), 201)

    async def update(self, call: TwilioCall) -> Response:
        """POST to one entry."""
        row = self._find(call)
        others = [other for other in self._own(call) if other["sid"] != row["sid"]]
        row |= self._changed(call, row, others) | {"date_updated": call.now()}
        call.done()
        return JSONResponse(self._answer(call, row))

    async def delete(self, call: TwilioCall) -> Response:
        """DELETE: 204."""
        del call.data[self._lists.entries][self._find(call)["sid"]]
        call.done()
        return Response(status_code=204)

    def _made(self, call: TwilioCall, others: list[StoredRow]) -> StoredRow:
        raise NotImplementedError

    def _changed(self, call: TwilioCall, row: StoredRow, others: list[StoredRow]) -> StoredRow:
        raise NotImplementedError

    def _own(self, call: TwilioCall) -> list[StoredRow]:
        call.find(self._lists.table, call.path("list_sid"))
        rows = call.data[self._lists.entries].values()
        return [row for row in rows if row[self._lists.owner] == call.path("list_sid")]

    def _find(self, call: TwilioCall) -> StoredRow:
        call.find(self._lists.table, call.path("list_sid"))
        return call.find(self._lists.entries, call.path("sid"), **{self._lists.owner: call.path("list_sid")})

    def _answer(self, call: TwilioCall, row: StoredRow) -> StoredRow:
        account = call.data["account"]["sid"]
        lists = self._lists
        owner = f"/2010-04-01/Accounts/{account}/SIP/{lists.part}/{row[lists.owner]}"
        return {k: v for k, v in row.items() if k != "password_sha256"} | {
            "account_sid": account,
            "date_created": rfc2822(row["date_created"]),
            "date_updated": rfc2822(row["date_updated"]),
            "uri": f"{owner}/{lists.entries_part}/{row['sid']}.json",
        }


class IpAddresses(Entries):
    """The addresses of an IP access control list; 100 at most (21237), IPv4 only."""

    prefix, limit, full = "IP", 100, 21237

    def _made(self, call: TwilioCall, others: list[StoredRow]) -> StoredRow:
        call.need("FriendlyName", "IpAddress")
        # the OpenAPI document's "default 0" is wrong: examples and acceptance tests show 32
        return self._changed(call, {"cidr_prefix_length": 32}, others)

    def _changed(self, call: TwilioCall, row: StoredRow, others: list[StoredRow]) -> StoredRow:
        call.only("FriendlyName", "IpAddress", "CidrPrefixLength")
        name = call.form.get("FriendlyName") or row["friendly_name"]
        address = call.form.get("IpAddress") or row["ip_address"]
        prefix = integer(call, "CidrPrefixLength", row["cidr_prefix_length"], 1, 32)
        if len(name) > 255:
            raise call.error(21235, "FriendlyName is too long (255 characters)")
        address = self._address(call, address, prefix)
        taken = [other for other in others if other["friendly_name"] == name]
        taken += [o for o in others if (o["ip_address"], o["cidr_prefix_length"]) == (address, prefix)]
        if taken:
            raise call.error(21235, "FriendlyName and IpAddress must be unique within the list")
        return {"friendly_name": name, "ip_address": address, "cidr_prefix_length": prefix}

    @staticmethod
    def _address(call: TwilioCall, text: str, prefix: int) -> str:
        """Return the address to keep; private and loopback ones are not refused (seen in public tests)."""
        try:
            address = ipaddress.IPv4Address(text)
        except ValueError:
            raise call.error(21235, "IpAddress must be an IPv4 address in dotted form") from None
        network = ipaddress.IPv4Network((address, prefix), strict=False).network_address
        bits = call.switch("cidr_host_bits")
        if network != address and bits == "refused":
            raise call.error(21235, "IpAddress has bits outside CidrPrefixLength")
        return str(network if bits == "normalised" else address)


class CredentialEntries(Entries):
    """The credentials of a list; 1,000 at most (21242), only the password can be changed."""

    prefix, limit, full = "CR", 1000, 21242

    def _made(self, call: TwilioCall, others: list[StoredRow]) -> StoredRow:
        call.only("Username", "Password")
        call.need("Username", "Password")
        username = call.form["Username"]
        if len(username) > 32:
            raise self._refusal(call, "Username must have 32 characters at most")
        if call.switch("duplicate_username") == "refused" and any(o["username"] == username for o in others):
            raise self._refusal(call, "Username already exists in the list")
        return {"username": username, "password_sha256": self._digest(call)}

    def _changed(self, call: TwilioCall, row: StoredRow, others: list[StoredRow]) -> StoredRow:
        call.only("Password")
        call.need("Password")
        return {"password_sha256": self._digest(call)}

    def _digest(self, call: TwilioCall) -> str:
        """Check a password by the rules of Twilio's OpenAPI document; no answer ever shows it."""
        password = call.form["Password"]
        kinds = (str.isupper, str.islower, str.isdigit)
        if len(password) < 12 or not all(any(kind(c) for c in password) for kind in kinds):
            raise self._refusal(call, "Password must have 12 characters, upper and lower case and a digit")
        return password_digest(password)

    @staticmethod
    def _refusal(call: TwilioCall, message: str) -> Exception:
        return call.error(int(call.switch("bad_credential_code")), f"Credential Validation Error: {message}")
