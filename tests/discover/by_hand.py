"""Tenants that somebody set up by hand: with plain HTTP, as the portal and the console would, sound or odd.

Nothing of the library is used here.
"""

from __future__ import annotations

from typing import Any

import httpx

from tests.conftest import TestSandbox

RANGES = (
    "54.172.60.0/30;54.244.51.0/30;54.171.127.192/30;35.156.191.128/30;"
    "54.65.63.192/30;54.169.127.128/30;54.252.254.64/30;177.71.206.192/30"
)
#: What is odd about every so many-th tenant.
ODDITIES = (
    "wide list",
    "no credentials",
    "no origination",
    "number off",
    "empty pool",
    "keep alive",
    "masked rule",
    "capital letter",
    "overlap",
)
PBX = "203.0.113.10"


class ByHand:
    """Sets tenants up, one request after the other."""

    def __init__(self, sandbox: TestSandbox) -> None:
        self._sandbox = sandbox
        self._twilio, self._pbx = sandbox.vendors.twilio_http, sandbox.vendors.pbx_http
        self._account = "/2010-04-01/Accounts/ACf3a1c0de5a4db0c5ba11ad5c0ffee001"
        self._token = sandbox.vendors.sign_in()

    def tenant(self, number: int, name: str, domain: str, odd: str = "", trunk: str = "") -> None:
        """A tenant with two numbers, rules, and a trunk of its own or a share of the PBX trunk ``trunk``."""
        dids = [f"+1303555{number:03}{last}" for last in (0, 1)]
        body = {"name": name, "domain": domain, "timezone": "UTC", "currency": "USD", "region": "USA"}
        tenant = self._post("/tenants", body)["id"]
        pool = ";".join(did[1:] for did in dids)
        label = domain.split(".")[0].lower() if not odd else f"odd-{number}"
        if trunk:
            sid = self.sids[trunk]
            self._post(f"/providers/{trunk}/assignees/{tenant}", {"did_numbers": pool, "concurrency": 5})
        else:
            sid = self.twilio_trunk(label, odd)
        for did in dids:
            row = {"phone_number": did, "trunk_sid": None if odd == "number off" and did == dids[0] else sid}
            self._number(row)
        self._switch(tenant)
        if not trunk:
            trunk = self.pbx_trunk(label, "" if odd == "empty pool" else pool, odd)
        forward = {"action": "FORWARD_TO_NUMBER", "number": "1001"}
        hours = [f"{when}_forward_rule" for when in ("office_hours", "non_office_hours", "holiday")]
        if odd == "overlap":  # which the PBX may refuse or accept
            change = {"did_numbers": f"{pool};1303555{number - 1:03}0"}
            found = {"vendor": "portsip", "kind": "assignees", "match": {"tenant_id": tenant}, "set": change}
            self._sandbox.control("POST", "state/patch", found)
        rule = {"name": "Front desk", "did_numbers": dids[0][1:], "provider_id": trunk}
        rule |= dict.fromkeys(hours, forward) | ({"cid_number_mask": "1212*"} if odd == "masked rule" else {})
        if odd != "empty pool":
            self._post("/inbound_rules", rule)
            route = {"provider_id": trunk, "prepend": "+1", "outbound_caller_id": dids[0]}
            self._post("/outbound_rules", {"name": "Out", "number_length": "10", "routes": [route]})
        self._switch(None)

    sids: dict[str, str] = {}  # noqa: RUF012 - by the id of a shared trunk

    def shared(self, label: str) -> str:
        """A trunk at system level; return its id."""
        sid = self.twilio_trunk(label, "")
        trunk = self.pbx_trunk(label, "", "")
        self.sids[trunk] = sid
        return trunk

    def twilio_trunk(self, label: str, odd: str) -> str:
        form = {"FriendlyName": f"By hand {label}", "DomainName": f"{label}.pstn.twilio.com"}
        sid = self._form("/v1/Trunks", form)["sid"]
        sip = f"{self._account}/SIP"
        acl = self._form(f"{sip}/IpAccessControlLists.json", {"FriendlyName": f"{label} ips"})["sid"]
        address = {"FriendlyName": "our PBX", "IpAddress": PBX}
        address |= {"CidrPrefixLength": 24} if odd == "wide list" else {}
        self._form(f"{sip}/IpAccessControlLists/{acl}/IpAddresses.json", address)
        self._form(f"/v1/Trunks/{sid}/IpAccessControlLists", {"IpAccessControlListSid": acl})
        if odd != "no credentials":
            users = self._form(f"{sip}/CredentialLists.json", {"FriendlyName": f"{label} users"})["sid"]
            user = {"Username": label, "Password": "By-Hand-Passw0rd"}
            self._form(f"{sip}/CredentialLists/{users}/Credentials.json", user)
            self._form(f"/v1/Trunks/{sid}/CredentialLists", {"CredentialListSid": users})
        for region, priority in () if odd == "no origination" else (("us1", 10), ("us2", 20)):
            uri = {"FriendlyName": region.upper(), "SipUrl": f"sip:{PBX};region={region}"}
            uri |= {"Priority": priority, "Weight": 10, "Enabled": "true"}
            self._form(f"/v1/Trunks/{sid}/OriginationUrls", uri)
        return sid

    def pbx_trunk(self, label: str, pool: str, odd: str) -> str:
        body = {
            **{
                "name": f"Twilio {label}",
                "brand": "Twilio",
                "auth_mode": "REGISTER_AUTH",
                "transport": "UDP",
            },
            **{"hostname": f"{label}.pstn.twilio.com", "port": 5060, "outbound_server": ""},
            **{"outbound_server_port": 0, "auth_id": label, "password": "By-Hand-Passw0rd"},
            **{"registration": False, "concurrency": 30, "keep_alive": odd == "keep alive"},
            **{"verify_port": False, "rewrite_via_ip": False, "additional_ips": RANGES, "did_numbers": pool},
        }
        return self._post("/providers", body)["id"]

    def _number(self, row: dict[str, Any]) -> None:
        """A number as it is bought and put on a trunk: the API offers only few to buy."""
        rows = self._sandbox.control("GET", "state").json()["twilio"]["numbers"] if not self._like else None
        if rows is not None:
            self._like.update(next(iter(rows.values())))
        fresh = {key: value for key, value in self._like.items() if key != "sid"}
        fresh |= {"friendly_name": row["phone_number"]} | row
        self._sandbox.control("POST", "state/patch", {"vendor": "twilio", "kind": "numbers", "add": fresh})

    _like: dict[str, Any] = {}  # noqa: RUF012 - a number as the sandbox has it

    def _form(self, path: str, form: dict[str, Any]) -> dict[str, Any]:
        return self._ok(self._twilio.post(path, data=form))

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._ok(self._pbx.post(path, json=body, headers={"Authorization": f"Bearer {self._token}"}))

    def _switch(self, tenant: str | None) -> None:
        headers = {"Authorization": f"Bearer {self._token}"}
        params = {"id": tenant} if tenant else None
        self._ok(self._pbx.post("/tenants/switch", params=params, headers=headers))

    @staticmethod
    def _ok(answer: httpx.Response) -> dict[str, Any]:
        assert answer.is_success, answer.text
        return answer.json() if answer.content else {}
