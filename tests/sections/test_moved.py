"""Somebody else changes things between plan and apply: the section stops unwritten and shows what moved."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.errors import ConflictError, PlanError, StalePlanError
from runbook_lib.guide import RUN_ORDER
from runbook_lib.runbook import Runbook
from tests.conftest import TestSandbox
from tests.sections.expected import ACME_PBX_TRUNK, ACME_TRUNK, CARRIER_PBX_TRUNK, CARRIER_TRUNK
from tests.sections.test_drift import Change, twilio_post
from tests.sections.test_system_level import GLOBEX, tenant
from tests.sections.test_tenant_level import SITE
from tests.vendor_state import ACCOUNT

ACME_RULES = {
    "inbound": [{"name": "Twilio", "dids": "12025550101-12025550104", "extension": "100"}],
    "outbound": [{"name": "Twilio out", "number_length": "10", "prepend": "+1", "caller_id": "+12025550101"}],
}
ACME = tenant("acme", rules=ACME_RULES)
ACME_DOMAIN, CARRIER_DOMAIN = ACME_TRUNK["domain_name"], CARRIER_TRUNK["domain_name"]
SIP = f"/2010-04-01/Accounts/{ACCOUNT}/SIP"
WRITABLE_ACME = {k: v for k, v in ACME_PBX_TRUNK.items() if k not in ("shared", "status")}
WRITABLE_CARRIER = {k: v for k, v in CARRIER_PBX_TRUNK.items() if k != "status"}


def made_trunk(domain: str, name: str) -> Change:
    return lambda sandbox: twilio_post(sandbox, "/v1/Trunks", DomainName=domain, FriendlyName=name)


def of_trunk(domain: str, part: str = "", **fields: Any) -> Change:
    return lambda sandbox: twilio_post(
        sandbox, f"/v1/Trunks/{sandbox.vendors.trunk_sids()[domain]}{part}", **fields
    )


def access_list_with(label: str, address: str, **entry: Any) -> Change:
    """Our IP access control list, made by hand, with our entry at another address."""

    def change(sandbox: TestSandbox) -> None:
        twilio_post(sandbox, f"{SIP}/IpAccessControlLists.json", FriendlyName=f"{label} PBX addresses")
        lists = sandbox.vendors.account("SIP/IpAccessControlLists")["ip_access_control_lists"]
        sid = next(one["sid"] for one in lists if one["friendly_name"] == f"{label} PBX addresses")
        path = f"{SIP}/IpAccessControlLists/{sid}/IpAddresses.json"
        twilio_post(sandbox, path, FriendlyName="PBX 203.0.113.10", IpAddress=address, **entry)

    return change


def origination(domain: str, priority: int) -> Change:
    return of_trunk(
        domain,
        "/OriginationUrls",
        FriendlyName="PBX through us1",
        SipUrl="sip:203.0.113.10;region=us1",
        Priority=priority,
        Weight=10,
        Enabled="true",
    )


def number(did: str, **fields: Any) -> Change:
    return lambda sandbox: twilio_post(sandbox, sandbox.vendors.numbers()[did]["uri"], **fields)


def pbx_trunk(domain: str | None, fields: dict[str, Any]) -> Change:
    def change(sandbox: TestSandbox) -> None:
        sandbox.vendors.pbx(domain).post("/providers", {**fields, "password": "Abcdefghijk1"})

    return change


def share(pool: str, concurrency: int) -> Change:
    """The shared trunk made by hand, and assigned to globex with another share."""

    def change(sandbox: TestSandbox) -> None:
        pbx_trunk(None, WRITABLE_CARRIER)(sandbox)
        system = sandbox.vendors.pbx()
        ids = {one["domain"]: one["id"] for one in system.list("/tenants")}
        trunk = system.trunk_id(CARRIER_PBX_TRUNK["name"])
        system.post(
            f"/providers/{trunk}/assignees/{ids['globex.pbx.example']}",
            {"did_numbers": pool, "concurrency": concurrency},
        )

    return change


def inbound_rule(domain: str, trunk: str, name: str, dids: str, extension: str) -> Change:
    def change(sandbox: TestSandbox) -> None:
        session = sandbox.vendors.pbx(domain)
        rings = {"action": "FORWARD_TO_NUMBER", "number": extension}
        times = ("office_hours_forward_rule", "non_office_hours_forward_rule", "holiday_forward_rule")
        fields = {"name": name, "did_numbers": dids, "provider_id": session.trunk_id(trunk), "enabled": True}
        session.post("/inbound_rules", {**fields, **dict.fromkeys(times, rings)})

    return change


def cases_of(
    label: str, content: dict[str, Any], did: str, domain: str, scope: str | None, fields: dict[str, Any]
) -> list[Any]:
    """A tenant's cases: section, tenant, change, and what the refusal says."""
    pbx_domain = content["tenant"]["pbx_domain"]
    rule = content["tenant"]["rules"]["inbound"][0]
    name = f"PortSIP {label.removesuffix('-pbx')}"
    found = [
        (
            "01 renamed",
            made_trunk(domain, "By hand"),
            ["friendly name", f"approved: absent → {name}; live: By hand → {name}"],
        ),
        (
            "01 elsewhere",
            made_trunk("by-hand.pstn.twilio.com", name),
            [f"friendly name: absent → {name}", "by-hand.pstn.twilio.com"],
        ),
        (
            "01 without URI",
            lambda sandbox: twilio_post(sandbox, "/v1/Trunks", FriendlyName=name),
            [
                "termination URI: approved, but no longer needed",
                f"approved: absent → {domain}; live: no such row",
            ],
        ),
        (
            "02 address",
            access_list_with(label, "203.0.113.99"),
            [
                "address 203.0.113.10",
                "approved: absent → 203.0.113.10/32",
                "live: 203.0.113.99/32 → 203.0.113.10/32",
            ],
        ),
        (
            "02 prefix",
            access_list_with(label, "203.0.113.10", CidrPrefixLength=24),
            [
                "address 203.0.113.10",
                "approved: absent → 203.0.113.10/32",
                "203.0.113.0/24 → 203.0.113.10/32",
            ],
        ),
        (
            "02 URI taken off",
            of_trunk(domain, DomainName="by-hand.pstn.twilio.com"),
            ["termination URI: blocked", "live: absent", f"approved: absent → {label} credentials"],
        ),
        ("03 priority", origination(domain, 99), ["us1 priority", "approved: absent → 10; live: 99 → 10"]),
        (
            "05 max concurrent calls",
            pbx_trunk(scope, {**fields, "concurrency": 3}),
            ["max concurrent calls", "approved: absent → 100000; live: 3 → 100000"],
        ),
        (
            "05 hostname",
            pbx_trunk(scope, {**fields, "hostname": "sip.other.example"}),
            [f"approved: name: absent → {fields['name']}", "has the hostname sip.other.example"],
        ),
        (
            "06 extension",
            inbound_rule(pbx_domain, fields["name"], rule["name"], rule["dids"], "7777"),
            [
                f"inbound rule {rule['name']}: office hours",
                f"approved: absent → rings {rule['extension']}; live: rings 7777 → rings {rule['extension']}",
            ],
        ),
        (
            "04 voice URL",
            number(did, VoiceUrl="https://ivr.customer.example/"),
            [did, f"→ {domain}; live: voice URL https://ivr.customer.example/ → {domain}"],
        ),
    ]
    return [pytest.param(case[:2], content, *rest, id=f"{label} {case}") for case, *rest in found]


CASES = [
    *cases_of("acme-pbx", ACME, "+12025550103", ACME_DOMAIN, "acme.pbx.example", WRITABLE_ACME),
    *cases_of("carrier-pbx", GLOBEX, "+12025550106", CARRIER_DOMAIN, None, WRITABLE_CARRIER),
    pytest.param(
        "05",
        ACME,
        pbx_trunk("acme.pbx.example", {**WRITABLE_ACME, "did_numbers": "12025550101"}),
        [
            "DID pool",
            "approved: absent → 12025550101-12025550104; live: 12025550101 → 12025550101-12025550104",
        ],
        id="acme-pbx 05 pool",
    ),
    pytest.param(
        "05",
        GLOBEX,
        share("12025550105", 7),
        [
            "the tenant's DID pool",
            "approved: absent → 12025550105;12025550106; live: 12025550105 → 12025550105;12025550106",
            "the tenant's concurrent calls",
            "approved: absent → 30; live: 7 → 30",
        ],
        id="carrier-pbx 05 share",
    ),
]


def approved(content: dict[str, Any], folder: Path) -> dict[str, str]:
    with Runbook.open(SITE, content) as runbook:
        plan = runbook.plan()
    assert not [row for part in plan.slices for row in part.stopping]
    (folder / "plan.json").write_text(json.dumps(plan.to_document()))
    return {"plan_file": str(folder / "plan.json"), "approved_plan": plan.digest, "approved_by": "pat"}


def apply(number: str, content: dict[str, Any], approval: dict[str, str]) -> None:
    with Runbook.open(SITE, content, mode="apply", **approval) as runbook:
        runbook.section(number).apply()


@pytest.mark.parametrize(("section", "content", "change", "said"), CASES)
def test_what_moved_since_the_approval_stops_the_section_and_is_shown(
    sandbox: TestSandbox,
    tmp_path: Path,
    section: str,
    content: dict[str, Any],
    change: Callable[[TestSandbox], None],
    said: list[str],
) -> None:
    approval = approved(content, tmp_path)
    for before in RUN_ORDER[: RUN_ORDER.index(section)]:
        apply(before, content, approval)
    change(sandbox)
    sandbox.clear_log()
    with pytest.raises(PlanError) as caught:
        apply(section, content, approval)
    assert isinstance(caught.value, StalePlanError | ConflictError)
    assert sandbox.writes() == []
    assert [one for one in said if one not in str(caught.value)] == [], str(caught.value)


@pytest.mark.parametrize("content", [ACME, GLOBEX], ids=["acme", "globex"])
def test_what_nobody_moved_is_applied(sandbox: TestSandbox, tmp_path: Path, content: dict[str, Any]) -> None:
    approval = approved(content, tmp_path)
    for section in RUN_ORDER:
        apply(section, content, approval)
    assert sandbox.writes()
