"""The demo data: a Twilio account with a dozen numbers and a PBX with several tenants.

Ids and SIDs are fixed, so that parameters and tests can name them.
"""

from __future__ import annotations

from typing import Any

from .portsip.defaults import inbound_rule, outbound_rule, provider, tenant
from .store import StoredRow, fixed_sid, password_digest

ACCOUNT_SID = "ACf3a1c0de5a4db0c5ba11ad5c0ffee001"
API_KEY_SID = "SKf3a1c0de5a4db0c5ba11ad5c0ffee002"
#: A subaccount of the demo account, and an account of somebody else's.
SUBACCOUNT_SID = "ACf3a1c0de5a4db0c5ba11ad5c0ffee003"
SUBACCOUNT_KEY_SID = "SKf3a1c0de5a4db0c5ba11ad5c0ffee004"
OTHER_ACCOUNT_SID = "ACf3a1c0de5a4db0c5ba11ad5c0ffee005"
OTHER_KEY_SID = "SKf3a1c0de5a4db0c5ba11ad5c0ffee006"
#: By user name of the credentials: the account that they act on, and the name of their secret.
TWILIO_CREDENTIALS = {
    ACCOUNT_SID: (ACCOUNT_SID, "twilio_auth_token"),
    API_KEY_SID: (ACCOUNT_SID, "twilio_api_key_secret"),
    SUBACCOUNT_SID: (SUBACCOUNT_SID, "twilio_subaccount_auth_token"),
    SUBACCOUNT_KEY_SID: (SUBACCOUNT_SID, "twilio_subaccount_api_key_secret"),
    OTHER_KEY_SID: (OTHER_ACCOUNT_SID, "twilio_other_api_key_secret"),
}
LEGACY_TRUNK_SID = fixed_sid("TK", "legacy sbc")
LEGACY_ACL_SID = fixed_sid("AL", "legacy sbc")
LEGACY_CREDENTIAL_LIST_SID = fixed_sid("CL", "legacy sbc")
APPLICATION_SID = fixed_sid("AP", "call recorder")
ADDRESS_SID = fixed_sid("AD", "acme dental")
DEMO_VOICE_URL = "https://demo.twilio.com/welcome/voice/"
CUSTOMER_VOICE_URL = "https://ivr.example.com/answer"

TENANTS = {
    "acme": "810000000000000001",
    "globex": "810000000000000002",
    "initech": "810000000000000003",
    "umbrella": "810000000000000004",
    "hooli": "810000000000000005",
}
TELNYX_TRUNK_ID = "820000000000000001"
SINCH_TRUNK_ID = "820000000000000002"
ACME_GENERIC_TRUNK_ID = "820000000000000003"

_MADE = "2025-03-14T09:26:53Z"
_MADE_MICRO = "2025-03-14T09:26:53.589793Z"


def data() -> dict[str, dict[str, Any]]:
    """Return the demo data of both vendors, fresh."""
    return {"twilio": _twilio(), "portsip": _portsip()}


def number_sid(number: str) -> str:
    """Return the SID that a demo number has."""
    return fixed_sid("PN", number)


def number_row(number: str, **different: Any) -> StoredRow:
    """Return an incoming phone number as it is right after it was bought."""
    row: StoredRow = {
        "sid": number_sid(number),
        "phone_number": number,
        "friendly_name": f"({number[2:5]}) {number[5:8]}-{number[8:]}",
        "capabilities": {"voice": True, "sms": True, "mms": True, "fax": False},
        "voice_url": "",
        "voice_method": "POST",
        "voice_fallback_url": "",
        "voice_fallback_method": "POST",
        "voice_caller_id_lookup": False,
        "voice_application_sid": "",
        "voice_receive_mode": "voice",
        "sms_url": "",
        "sms_method": "POST",
        "sms_fallback_url": "",
        "sms_fallback_method": "POST",
        "sms_application_sid": "",
        "status_callback": "",
        "status_callback_method": "POST",
        "trunk_sid": None,
        "emergency_status": "Active",
        "emergency_address_sid": None,
        "emergency_address_status": "unregistered",
        "address_sid": None,
        "identity_sid": None,
        "bundle_sid": None,
        "date_created": _MADE,
        "date_updated": _MADE,
    }
    return row | different


def trunk_row(sid: str, friendly_name: str | None, domain_name: str | None) -> StoredRow:
    """Return a Twilio trunk at the defaults of the General page."""
    return {
        "sid": sid,
        "friendly_name": friendly_name,
        "domain_name": domain_name,
        "disaster_recovery_method": None,
        "disaster_recovery_url": None,
        "secure": False,
        "cnam_lookup_enabled": False,
        "symmetric_rtp_enabled": False,
        "recording": {"mode": "do-not-record", "trim": "do-not-trim"},
        "transfer_mode": "disable-all",
        "transfer_caller_id": "from-transferee",
        "date_created": _MADE,
        "date_updated": _MADE,
    }


def _twilio() -> dict[str, Any]:
    numbers = [number_row(f"+120255501{last:02}") for last in range(12)]
    by_last = {row["phone_number"][-2:]: row for row in numbers}
    by_last["08"]["voice_url"] = DEMO_VOICE_URL
    by_last["07"] |= {"emergency_address_sid": ADDRESS_SID, "emergency_address_status": "registered"}
    by_last["09"]["voice_url"] = CUSTOMER_VOICE_URL
    by_last["10"]["trunk_sid"] = LEGACY_TRUNK_SID
    by_last["11"]["voice_application_sid"] = APPLICATION_SID
    dated = {"date_created": _MADE, "date_updated": _MADE}
    origination = {
        "sid": fixed_sid("OU", "legacy sbc"),
        "trunk_sid": LEGACY_TRUNK_SID,
        "friendly_name": "Legacy SBC",
        "sip_url": "sip:sbc.legacy.example:5060",
        "priority": 10,
        "weight": 10,
        "enabled": True,
    }
    address = {
        "sid": fixed_sid("IP", "legacy sbc"),
        "ip_access_control_list_sid": LEGACY_ACL_SID,
        "friendly_name": "Legacy SBC",
        "ip_address": "198.51.100.20",
        "cidr_prefix_length": 32,
    }
    credential = {
        "sid": fixed_sid("CR", "legacy sbc"),
        "credential_list_sid": LEGACY_CREDENTIAL_LIST_SID,
        "username": "legacy-sbc",
        "password_sha256": password_digest("Legacy-Sbc-Passw0rd"),
    }
    acl = {"sid": LEGACY_ACL_SID, "friendly_name": "Legacy SBC"}
    credential_list = {"sid": LEGACY_CREDENTIAL_LIST_SID, "friendly_name": "Legacy SBC"}
    trunk = trunk_row(LEGACY_TRUNK_SID, "Legacy SBC", "legacy-sbc.pstn.twilio.com")
    return {
        "account": _account(ACCOUNT_SID, "Runbook demo account", ACCOUNT_SID),
        "trunks": {LEGACY_TRUNK_SID: trunk},
        "origination_urls": {origination["sid"]: origination | dated},
        "ip_access_control_lists": {LEGACY_ACL_SID: acl | dated},
        "ip_addresses": {address["sid"]: address | dated},
        "credential_lists": {LEGACY_CREDENTIAL_LIST_SID: credential_list | dated},
        "credentials": {credential["sid"]: credential | dated},
        "trunk_ip_access_control_lists": {
            f"{LEGACY_TRUNK_SID}/{LEGACY_ACL_SID}": {"trunk_sid": LEGACY_TRUNK_SID, "sid": LEGACY_ACL_SID}
            | dated
        },
        "trunk_credential_lists": {
            f"{LEGACY_TRUNK_SID}/{LEGACY_CREDENTIAL_LIST_SID}": {
                "trunk_sid": LEGACY_TRUNK_SID,
                "sid": LEGACY_CREDENTIAL_LIST_SID,
            }
            | dated
        },
        "numbers": {row["sid"]: row for row in numbers},
        # names that other customers of Twilio hold
        "taken_domains": {
            name: {"domain_name": name}
            for name in ("portsip-pbx.pstn.twilio.com", "example.pstn.twilio.com", "voice.pstn.twilio.com")
        },
        "released_domains": {},
        "routes": {},
        # the tables of further accounts
        "accounts": {
            SUBACCOUNT_SID: _further_account(
                _account(SUBACCOUNT_SID, "Subaccount", ACCOUNT_SID),
                [number_row(f"+120255501{last}") for last in range(20, 24)],
            ),
            OTHER_ACCOUNT_SID: _further_account(
                _account(OTHER_ACCOUNT_SID, "Somebody else's account", OTHER_ACCOUNT_SID), []
            ),
        },
    }


def _account(sid: str, friendly_name: str, owner: str) -> StoredRow:
    return {
        "sid": sid,
        "owner_account_sid": owner,
        "friendly_name": friendly_name,
        "status": "active",
        "type": "Full",
        "date_created": _MADE,
        "date_updated": _MADE,
    }


def _further_account(account: StoredRow, numbers: list[StoredRow]) -> dict[str, Any]:
    tables = (
        *("trunks", "origination_urls", "ip_access_control_lists", "ip_addresses", "credential_lists"),
        *("credentials", "trunk_ip_access_control_lists", "trunk_credential_lists", "released_domains"),
        "routes",
    )
    empty: dict[str, Any] = {name: {} for name in tables}
    return {"account": account, "numbers": {row["sid"]: row for row in numbers}} | empty


def _portsip() -> dict[str, Any]:
    names = {
        "acme": "Acme Dental",
        "globex": "Globex Logistics",
        "initech": "Initech",
        "umbrella": "Umbrella Health",
        "hooli": "Hooli",
    }
    tenants = {
        TENANTS[key]: tenant(
            id=TENANTS[key],
            name=name,
            domain=f"{key}.pbx.example",
            timezone="America/New_York",
            currency="USD",
            region="USA",
            enable_two_factor_authentication=key == "hooli",
            created_at=_MADE_MICRO,
        )
        for key, name in names.items()
    }
    telnyx = provider(
        id=TELNYX_TRUNK_ID,
        tenant_id=None,
        name="Telnyx US shared",
        brand="Telnyx – US",
        auth_mode="REGISTER_AUTH",
        transport="UDP",
        hostname="sip.telnyx.com",
        port=5060,
        auth_id="pbxtelnyx01",
        concurrency=200,
        peer_answers=True,
        password_sha256=password_digest("Telnyx-Passw0rd"),
    )
    sinch = provider(
        id=SINCH_TRUNK_ID,
        tenant_id=TENANTS["umbrella"],
        name="Sinch EU",
        brand="Sinch",
        auth_mode="REGISTER_AUTH",
        transport="TLS",
        hostname="umbrella.pstn.sinch.example",
        port=5061,
        auth_id="umbrella",
        concurrency=50,
        did_numbers="442079460100-442079460119",
        peer_answers=True,
        password_sha256=password_digest("Sinch-Passw0rd"),
    )
    generic = provider(
        id=ACME_GENERIC_TRUNK_ID,
        tenant_id=TENANTS["acme"],
        name="Acme landline",
        brand="Generic",
        auth_mode="REGISTER_AUTH",
        transport="UDP",
        hostname="sip.carrier.example",
        port=5060,
        auth_id="acme-landline",
        concurrency=10,
        did_numbers="13125550140-13125550149",
        peer_answers=True,
        password_sha256=password_digest("Carrier-Passw0rd"),
    )
    assignments = {
        "acme": ("13125550100-13125550109", 20),
        "umbrella": ("13125550110-13125550119;13125550125", 30),
    }
    rule_in = inbound_rule(
        id="830000000000000001",
        tenant_id=TENANTS["acme"],
        name="Front desk (landline)",
        did_numbers="13125550140",
        provider_id=ACME_GENERIC_TRUNK_ID,
        **{
            f"{when}_forward_rule": {"action": "FORWARD_TO_NUMBER", "number": "1001"}
            for when in ("office_hours", "non_office_hours", "holiday")
        },
        holidays=["850000000000000001"],
    )
    rule_out = outbound_rule(
        id="840000000000000001",
        tenant_id=TENANTS["acme"],
        name="Local calls (landline)",
        number_prefix="312",
        number_length="10",
        routes=[
            {
                "enabled": True,
                "provider_id": ACME_GENERIC_TRUNK_ID,
                "strip_digits": 0,
                "prepend": "1",
                "outbound_caller_id": "13125550140",
            }
        ],
    )
    holiday = {
        "id": "850000000000000001",
        "tenant_id": TENANTS["acme"],
        "name": "New Year's Day",
        "every_year": True,
        "consecutive": False,
        "year_start": 2025,
        "year_end": 2025,
        "month_start": 1,
        "month_end": 1,
        "day_start": 1,
        "day_end": 1,
        "hour_start": 0,
        "hour_end": 23,
        "minute_start": 0,
        "minute_end": 59,
    }
    transports = (
        ("860000000000000001", "UDP", 5060),
        ("860000000000000002", "TCP", 5063),
        ("860000000000000003", "TLS", 5061),
    )
    return {
        "system": {"version": "22.2.11", "license_key": "SANDBOX-0000-0000", "license_type": "DEMO"},
        "settings": {
            "enable_tenant_level_trunk": True,
            "web_failed_auth_amount": 5,
            "web_blacklist_time_interval": 3600,
            "user_agent": "PortSIP PBX",
        },
        "network": {
            "web_domain": "pbx.portsip.example",
            "private_ipv4": "10.20.0.10",
            "public_ipv4": "203.0.113.10",
            "enable_ipv6": False,
            "private_ipv6": "",
            "public_ipv6": "",
            "primary_dns_server": "1.1.1.1",
            "secondary_dns_server": "8.8.8.8",
        },
        "transports": {
            id_: {"id": id_, "protocol": protocol, "port": port, "verification": "DISABLE", "active": True}
            for id_, protocol, port in transports
        },
        "tenants": tenants,
        "providers": {row["id"]: row for row in (telnyx, sinch, generic)},
        "assignees": {
            f"{TELNYX_TRUNK_ID}/{TENANTS[key]}": {
                "provider_id": TELNYX_TRUNK_ID,
                "tenant_id": TENANTS[key],
                "did_numbers": pool,
                "concurrency": concurrency,
            }
            for key, (pool, concurrency) in assignments.items()
        },
        "inbound_rules": {rule_in["id"]: rule_in},
        "outbound_rules": {rule_out["id"]: rule_out},
        "holidays": {holiday["id"]: holiday},
        "emergency_numbers": {},
    }
