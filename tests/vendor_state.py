"""The vendors' state, read through their APIs with plain HTTP: independent of the library's clients.

Ids, times and links are left out, so that a state can be compared with one written by hand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

ACCOUNT = "ACf3a1c0de5a4db0c5ba11ad5c0ffee001"


class VendorState:
    """Reads both vendors as an onlooker with credentials of its own session."""

    def __init__(self, twilio_url: str, portsip_url: str, ca_file: str, secrets: Path) -> None:
        import ssl

        token = (secrets / "twilio_auth_token").read_text().strip()
        self.twilio_http = httpx.Client(base_url=twilio_url, auth=(ACCOUNT, token), timeout=30)
        self.pbx_http = httpx.Client(
            base_url=portsip_url.rstrip("/").removesuffix("/api") + "/api",
            verify=ssl.create_default_context(cafile=ca_file),
            timeout=30,
        )
        self._password = (secrets / "portsip_admin_password").read_text().strip()

    def close(self) -> None:
        self.twilio_http.close()
        self.pbx_http.close()

    # Twilio

    def get(self, path: str) -> dict[str, Any]:
        answer = self.twilio_http.get(path, params={"PageSize": 1000})
        answer.raise_for_status()
        return answer.json()

    def account(self, path: str) -> dict[str, Any]:
        return self.get(f"/2010-04-01/Accounts/{ACCOUNT}/{path}.json")

    def trunk_sids(self) -> dict[str, str]:
        return {one["domain_name"]: one["sid"] for one in self.get("/v1/Trunks")["trunks"]}

    def trunk(self, domain: str) -> dict[str, Any]:
        sid = self.trunk_sids()[domain]
        trunk = self.get(f"/v1/Trunks/{sid}")
        acls = self.get(f"/v1/Trunks/{sid}/IpAccessControlLists")["ip_access_control_lists"]
        lists = self.get(f"/v1/Trunks/{sid}/CredentialLists")["credential_lists"]
        urls = self.get(f"/v1/Trunks/{sid}/OriginationUrls")["origination_urls"]
        numbers = self.get(f"/v1/Trunks/{sid}/PhoneNumbers")["phone_numbers"]
        return {
            "friendly_name": trunk["friendly_name"],
            "domain_name": trunk["domain_name"],
            "secure": trunk["secure"],
            "cnam_lookup_enabled": trunk["cnam_lookup_enabled"],
            "transfer_mode": trunk["transfer_mode"],
            "recording": trunk["recording"],
            "auth_type": trunk["auth_type"],
            "access_lists": {one["friendly_name"]: self._addresses(one["sid"]) for one in acls},
            "credential_lists": {one["friendly_name"]: self._users(one["sid"]) for one in lists},
            "origination": sorted(
                (one["priority"], one["weight"], one["enabled"], one["sip_url"]) for one in urls
            ),
            "numbers": sorted(one["phone_number"] for one in numbers),
        }

    def _addresses(self, sid: str) -> list[str]:
        entries = self.account(f"SIP/IpAccessControlLists/{sid}/IpAddresses")["ip_addresses"]
        return sorted(f"{one['ip_address']}/{one['cidr_prefix_length']}" for one in entries)

    def _users(self, sid: str) -> list[str]:
        return sorted(
            one["username"] for one in self.account(f"SIP/CredentialLists/{sid}/Credentials")["credentials"]
        )

    def numbers(self) -> dict[str, dict[str, Any]]:
        return {
            one["phone_number"]: one for one in self.account("IncomingPhoneNumbers")["incoming_phone_numbers"]
        }

    # PortSIP

    def pbx(self, tenant_domain: str | None = None) -> PbxState:
        return PbxState(self, tenant_domain)

    def sign_in(self) -> str:
        answer = self.pbx_http.post("/auth/sign_in", json={"username": "admin", "password": self._password})
        answer.raise_for_status()
        return answer.json()["access_token"]


class PbxState:
    """The PBX in one scope: the system's, or a tenant's."""

    def __init__(self, state: VendorState, tenant_domain: str | None) -> None:
        self._http = state.pbx_http
        self._headers = {"Authorization": f"Bearer {state.sign_in()}"}
        if tenant_domain:
            tenants = {one["domain"]: one["id"] for one in self.list("/tenants")}
            self._http.post(
                "/tenants/switch", params={"id": tenants[tenant_domain]}, headers=self._headers
            ).raise_for_status()

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        answer = self._http.get(path, params=params or None, headers=self._headers)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        answer = self._http.post(path, json=body, headers=self._headers)
        answer.raise_for_status()
        return answer

    def list(self, path: str) -> list[dict[str, Any]]:
        return self.get(path, top=100)["items"]

    def trunks(self) -> dict[str, dict[str, Any]]:
        """Details of every trunk in this scope by name, without ids."""
        found = {}
        for one in self.list("/providers"):
            detail = self.get(f"/providers/{one['id']}")
            status = self.get(f"/providers/{one['id']}/status")["status"]
            found[one["name"]] = {k: v for k, v in detail.items() if k != "id"} | {"status": status}
        return found

    def trunk_id(self, name: str) -> str:
        return next(one["id"] for one in self.list("/providers") if one["name"] == name)
