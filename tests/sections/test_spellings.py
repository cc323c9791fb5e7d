"""What the vendors hold, spelled in another way: in place, nothing is written, shown as they spell it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from runbook_lib.plan import CHANGING, STOPPING
from runbook_lib.runbook import Runbook
from runbook_lib.sections import SECTION_CLASSES
from runbook_lib.signalling import PUBLISHED as SIGNALLING
from tests.conftest import TestSandbox
from tests.sections.expected import ACME_PBX_TRUNK, CARRIER_PBX_TRUNK
from tests.sections.test_tenant_level import SITE, run_all
from tests.sections.test_way_back import set_up
from tests.test_cli import runbook

ACME, GLOBEX = "parameters/sandbox/acme.yaml", "parameters/sandbox/globex.yaml"
DOMAIN = "acme-pbx.pstn.twilio.com"
ADDRESSES = "; ".join(reversed(list(SIGNALLING.values())))

#: A table of a vendor, which row, a field, its spellings, and the row of the plan that shows it.
Case = tuple[str, str, dict[str, Any], str, tuple[str, ...], str, str]


def of_acme(field: str, spellings: tuple[str, ...], setting: str) -> Case:
    return ("portsip", "providers", {"name": ACME_PBX_TRUNK["name"]}, field, spellings, "05", setting)


def origination(url: str, spellings: tuple[str, ...], setting: str) -> Case:
    return ("twilio", "origination_urls", {"sip_url": url}, "sip_url", spellings, "03", setting)


TENANTS: dict[str, list[Case]] = {
    ACME: [
        (
            *("twilio", "trunks", {"domain_name": DOMAIN}, "domain_name"),
            ("ACME-PBX.pstn.twilio.com", f"{DOMAIN}."),
            *("01", "termination URI"),
        ),
        origination(
            "sip:203.0.113.10;region=us1",
            (
                "sip:203.0.113.10:5060;region=us1",
                "sip:203.0.113.10;region=us1;transport=UDP",
                "SIP:203.0.113.10:5060;transport=udp;region=us1",
            ),
            "us1 SIP URI",
        ),
        origination("sip:203.0.113.10;region=us2", ("sip:203.0.113.10;Region=us2",), "us2 SIP URI"),
        of_acme("hostname", ("Acme-PBX.pstn.twilio.com", f"{DOMAIN}."), "hostname"),
        of_acme("transport", ("udp",), "transport"),
        of_acme("brand", ("TWILIO",), "brand"),
        of_acme("auth_mode", ("register_auth",), "kind of trunk"),
        of_acme("additional_ips", (ADDRESSES, ADDRESSES.replace("; ", ";") + ";"), "associated IP addresses"),
        of_acme(
            "did_numbers",
            ("12025550103-12025550104;12025550101-12025550102", "12025550101 - 12025550104;"),
            "DID pool",
        ),
        (
            *("portsip", "tenants", {"domain": "acme.pbx.example"}, "domain", ("ACME.pbx.example",)),
            *("00", ""),
        ),
        ("portsip", "transports", {"protocol": "UDP"}, "protocol", ("udp",), "00", ""),
    ],
    GLOBEX: [
        (
            *("portsip", "assignees", {"did_numbers": "12025550105;12025550106"}, "did_numbers"),
            ("12025550106; 12025550105", "12025550105-12025550106"),
            *("05", "the tenant's DID pool"),
        ),
        (
            *("portsip", "providers", {"name": CARRIER_PBX_TRUNK["name"]}, "hostname"),
            (CARRIER_PBX_TRUNK["hostname"].upper(),),
            *("05", "hostname"),
        ),
        (
            *("portsip", "inbound_rules", {"name": "Twilio support"}, "did_numbers"),
            ("12025550106-12025550106", "12025550106;"),
            *("06", "inbound rule Twilio support: numbers"),
        ),
        (
            *("portsip", "outbound_rules", {"name": "Twilio 11 digits"}, "number_length", (" 11;",)),
            *("06", "outbound rule Twilio 11 digits: digits dialled"),
        ),
        (
            *("portsip", "outbound_rules", {"name": "Twilio 11 digits"}, "number_prefix", ("1 ;",)),
            *("06", "outbound rule Twilio 11 digits: number begins with"),
        ),
    ],
}


@contextmanager
def spelled(sandbox: TestSandbox, case: Case, spelling: str) -> Iterator[None]:
    """The vendor holds a value in this spelling."""
    vendor, kind, match, field, *_ = case
    table = sandbox.control("GET", "state").json()[vendor][kind]
    key, row = next(
        (key, row) for key, row in table.items() if all(row.get(name) == match[name] for name in match)
    )
    patch = {"vendor": vendor, "kind": kind, "id": key}
    sandbox.control("POST", "state/patch", patch | {"set": {field: spelling}})
    yield
    sandbox.control("POST", "state/patch", patch | {"set": {field: row[field]}})


def problems(tenant: str, section: str, setting: str, spelling: str) -> list[str]:
    """What a plan and a verification make of it: rows that are not in place, a spelling that is not shown."""
    with Runbook.open(SITE, tenant) as book:
        rows = [row for part in book.plan().slices for row in part.rows]
    found = [f"{row.setting}: {row.action}" for row in rows if row.action in CHANGING | STOPPING]
    if setting and spelling not in [row.current for row in rows if row.setting == setting]:
        found.append(f"not shown: {spelling!r}")
    with Runbook.open(SITE, tenant, mode="verify") as book:
        verified = SECTION_CLASSES[section](book.context).verify(wait=False)
    return found + [f"verify: {row.setting}" for row in verified.differences]


@pytest.mark.parametrize("tenant", TENANTS)
def test_another_spelling_is_in_place(sandbox: TestSandbox, tenant: str) -> None:
    run_all(tenant=tenant)
    assert problems(tenant, "05", "", "") == []
    sandbox.clear_log()
    wrong = {}
    for case in TENANTS[tenant]:
        for spelling in case[4]:
            with spelled(sandbox, case, spelling):
                if found := problems(tenant, case[5], case[6], spelling):
                    wrong[f"{case[3]}: {spelling}"] = found
    assert wrong == {}
    assert sandbox.writes() == []


def test_applying_keeps_the_spelling_and_writes_nothing(sandbox: TestSandbox) -> None:
    run_all()
    cases = {case[3]: (case, case[4][0]) for case in TENANTS[ACME] if case[1] in ("providers", "trunks")}
    for case, spelling in cases.values():
        vendor, kind, match, field, *_ = case
        patch = {"vendor": vendor, "kind": kind, "match": match, "set": {field: spelling}}
        sandbox.control("POST", "state/patch", patch)
    sandbox.clear_log()
    run_all()
    assert sandbox.writes() == []


def test_an_update_of_another_field_keeps_the_spelling(sandbox: TestSandbox) -> None:
    """Also where the PBX answers in a spelling of its own, which is no change of ours."""
    run_all(tenant=GLOBEX)
    case = TENANTS[GLOBEX][0]
    with spelled(sandbox, case, "12025550106; 12025550105"):
        patch = {"vendor": "portsip", "kind": "assignees", "match": {"concurrency": 30}}
        sandbox.control("POST", "state/patch", patch | {"set": {"concurrency": 29}})
        sandbox.clear_log()
        run_all(tenant=GLOBEX)
        assert len(sandbox.writes()) == 1
        held = sandbox.control("GET", "state").json()["portsip"]["assignees"].values()
        assert ("12025550106; 12025550105", 30) in [(row["did_numbers"], row["concurrency"]) for row in held]


def test_a_record_is_rolled_back_whatever_the_spelling(sandbox: TestSandbox) -> None:
    """Nothing counts as changed since that is only written in another way."""
    record = set_up(sandbox, chained=True).name
    for case in TENANTS[ACME]:
        if case[1] not in ("tenants", "transports") and case[3] not in ("brand", "auth_mode"):
            vendor, kind, match, field, spellings, *_ = case
            if field == "hostname":
                continue  # the sandbox identifies the trunk of the demo by it
            patch = {"vendor": vendor, "kind": kind, "match": match, "set": {field: spellings[-1]}}
            sandbox.control("POST", "state/patch", patch)
    ended = runbook(sandbox, "rollback", record, "--accept-interruption")
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert "changed since" not in ended.stdout
