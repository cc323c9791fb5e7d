"""Each field that a section sets, changed by somebody else one at a time: one row, one write, put right."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from ruamel.yaml import YAML

from runbook_lib.guide import RUN_ORDER
from runbook_lib.plan import CHANGING
from runbook_lib.runbook import Runbook
from tests.conftest import CHECKOUT, TestSandbox
from tests.sections.expected import ACME_PBX_TRUNK, ACME_TRUNK, PBX_TRUNK_DRIFT
from tests.sections.test_tenant_level import DOMAIN, SITE, run_all, run_section
from tests.vendor_state import ACCOUNT

TENANT = YAML(typ="safe").load(CHECKOUT / "parameters" / "sandbox" / "acme.yaml")
#: Drift is put right with leave: some of these fields interrupt calls when they change.
WITH_LEAVE = {"tenant": {**TENANT["tenant"], "accept_interruption": True}}

Change = Callable[[TestSandbox], None]


def twilio_post(sandbox: TestSandbox, path: str, **fields: Any) -> None:
    sandbox.vendors.twilio_http.post(path, data=fields).raise_for_status()


def twilio_delete(sandbox: TestSandbox, path: str) -> None:
    sandbox.vendors.twilio_http.delete(path).raise_for_status()


def trunk_path(sandbox: TestSandbox) -> str:
    return f"/v1/Trunks/{sandbox.vendors.trunk_sids()[DOMAIN]}"


def trunk(**fields: Any) -> Change:
    return lambda sandbox: twilio_post(sandbox, trunk_path(sandbox), **fields)


def origination(region: str, **fields: Any) -> Change:
    def change(sandbox: TestSandbox) -> None:
        path = trunk_path(sandbox) + "/OriginationUrls"
        urls = sandbox.vendors.get(path)["origination_urls"]
        sid = next(one["sid"] for one in urls if one["sip_url"].endswith(region))
        twilio_post(sandbox, f"{path}/{sid}", **fields)

    return change


def named(sandbox: TestSandbox, kind: str, key: str, name: str) -> str:
    return next(
        one["sid"] for one in sandbox.vendors.account(f"SIP/{kind}")[key] if one["friendly_name"] == name
    )


def access_list(sandbox: TestSandbox) -> str:
    sid = named(sandbox, "IpAccessControlLists", "ip_access_control_lists", "acme-pbx PBX addresses")
    return f"/2010-04-01/Accounts/{ACCOUNT}/SIP/IpAccessControlLists/{sid}"


def credential_list(sandbox: TestSandbox) -> str:
    sid = named(sandbox, "CredentialLists", "credential_lists", "acme-pbx credentials")
    return f"/2010-04-01/Accounts/{ACCOUNT}/SIP/CredentialLists/{sid}"


def address(**fields: Any) -> Change:
    def change(sandbox: TestSandbox) -> None:
        path = access_list(sandbox) + "/IpAddresses"
        sid = sandbox.vendors.get(path + ".json")["ip_addresses"][0]["sid"]
        twilio_post(sandbox, f"{path}/{sid}.json", **fields)

    return change


def address_removed(sandbox: TestSandbox) -> None:
    path = access_list(sandbox) + "/IpAddresses"
    twilio_delete(sandbox, f"{path}/{sandbox.vendors.get(path + '.json')['ip_addresses'][0]['sid']}.json")


def detached(kind: str, key: str) -> Change:
    def change(sandbox: TestSandbox) -> None:
        path = f"{trunk_path(sandbox)}/{kind}"
        twilio_delete(sandbox, f"{path}/{sandbox.vendors.get(path)[key][0]['sid']}")

    return change


def number_taken_off(sandbox: TestSandbox) -> None:
    path = trunk_path(sandbox) + "/PhoneNumbers"
    numbers = sandbox.vendors.get(path)["phone_numbers"]
    sid = next(one["sid"] for one in numbers if one["phone_number"] == "+12025550103")
    twilio_delete(sandbox, f"{path}/{sid}")


def origination_removed(sandbox: TestSandbox) -> None:
    path = trunk_path(sandbox) + "/OriginationUrls"
    urls = sandbox.vendors.get(path)["origination_urls"]
    twilio_delete(sandbox, f"{path}/{next(one['sid'] for one in urls if one['sip_url'].endswith('us2'))}")


def pbx(**fields: Any) -> Change:
    def change(sandbox: TestSandbox) -> None:
        session = sandbox.vendors.pbx("acme.pbx.example")
        session.post(f"/providers/{session.trunk_id(ACME_PBX_TRUNK['name'])}", fields)

    return change


CASES: list[tuple[str, str, Change]] = [
    ("01", "friendly name", trunk(FriendlyName="changed")),
    ("02", "termination URI", trunk(DomainName="")),
    (
        "02",
        "IP access control list",
        lambda s: twilio_post(s, access_list(s) + ".json", FriendlyName="changed"),
    ),
    ("02", "address 203.0.113.10", address(CidrPrefixLength=24)),
    ("02", "address 203.0.113.10", address(IpAddress="203.0.113.99")),
    ("02", "address 203.0.113.10", address_removed),
    ("02", "name of address 203.0.113.10", address(FriendlyName="changed")),
    (
        "02",
        "IP access control list on the trunk",
        detached("IpAccessControlLists", "ip_access_control_lists"),
    ),
    ("02", "credential list", lambda s: twilio_post(s, credential_list(s) + ".json", FriendlyName="changed")),
    ("02", "credential list on the trunk", detached("CredentialLists", "credential_lists")),
    ("03", "us1 SIP URI", origination("us1", SipUrl="sip:203.0.113.77;region=us1")),
    ("03", "us1 priority", origination("us1", Priority=99)),
    ("03", "us1 weight", origination("us1", Weight=99)),
    ("03", "us1 enabled", origination("us1", Enabled="false")),
    ("03", "us1 name", origination("us1", FriendlyName="changed")),
    ("03", "us2 SIP URI", origination("us2", SipUrl="sip:203.0.113.77;region=us2")),
    ("03", "us2 priority", origination("us2", Priority=99)),
    ("03", "us2 weight", origination("us2", Weight=99)),
    ("03", "us2 enabled", origination("us2", Enabled="false")),
    ("04", "+12025550103", number_taken_off),
    *(("05", setting, pbx(**fields)) for setting, fields in PBX_TRUNK_DRIFT.items()),
]


@pytest.mark.parametrize(
    ("number", "setting", "change"), CASES, ids=lambda one: one if isinstance(one, str) else ""
)
def test_one_field_is_one_row_and_one_write(
    sandbox: TestSandbox, number: str, setting: str, change: Change
) -> None:
    run_all()
    change(sandbox)
    tenant = copy.deepcopy(WITH_LEAVE)
    with Runbook.open(SITE, tenant) as runbook:
        plan = runbook.plan()
    rows = [
        (part.section, row.setting) for part in plan.slices for row in part.rows if row.action in CHANGING
    ]
    assert rows == [(number, setting)]
    assert not [row for part in plan.slices for row in part.stopping]
    sandbox.clear_log()
    for section in RUN_ORDER:
        run_section(section, "apply", tenant)
    assert len(sandbox.writes()) == 1
    assert sandbox.vendors.trunk(DOMAIN) == ACME_TRUNK
    assert sandbox.vendors.pbx("acme.pbx.example").trunks()[ACME_PBX_TRUNK["name"]] == ACME_PBX_TRUNK
