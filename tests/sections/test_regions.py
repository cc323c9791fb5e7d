"""Twilio Regions outside of the United States: what works there, what is refused, and by which API host."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ruamel.yaml import YAML

from runbook_lib.connect import endpoints
from runbook_lib.errors import ConflictError
from runbook_lib.guide import RETIRE, RUN_ORDER
from runbook_lib.keys import Why
from runbook_lib.parameters import load_site
from runbook_lib.plan import CHANGING, STOPPING, TO_LOOK_AT, Action
from runbook_lib.runbook import Runbook
from tests.conftest import TestSandbox
from tests.parameters.test_bad_input import changed, live_site, problems_of, read
from tests.sections.test_tenant_level import ACME, DOMAIN
from tests.sections.test_tenant_level import SITE as IN_US1

GLOBEX = "parameters/sandbox/globex.yaml"
REGIONS = pytest.mark.parametrize("region", ["ie1", "au1"])
TENANTS = pytest.mark.parametrize("tenant", [ACME, GLOBEX], ids=["tenant level", "system level"])
DOMAINS = {ACME: DOMAIN, GLOBEX: "carrier-pbx.pstn.twilio.com"}


def site_in(sandbox: TestSandbox, region: str) -> str:
    """A site whose account is in this Region, where the API lacks the numbers of a trunk."""
    content = YAML(typ="safe").load(sandbox.root / IN_US1)
    content["site"]["twilio_accounts"]["main"]["region"] = region
    path = sandbox.root / "parameters/sandbox/site_in_a_region.yaml"
    with path.open("w") as file:
        YAML(typ="safe").dump(content, file)
    sandbox.control("POST", "switches", {"twilio.numbers_of_a_trunk": "missing"})
    return str(path)


def run(site: str, tenant: str, number: str, mode: str = "apply") -> dict[str, Any]:
    with Runbook.open(
        site, tenant, mode=mode, sections=(number,), accept_interruption=number == RETIRE
    ) as book:
        section = book.section(number)
        section.current()
        section.plan()
        section.apply()
        section.verify()
        return section.finish()


def rows_of(site: str, tenant: str, number: str) -> list[Any]:
    with Runbook.open(site, tenant, sections=(number,)) as book:
        return [row for part in book.plan().slices for row in part.rows]


def assign_by_hand(sandbox: TestSandbox, tenant: str, site: str, *, on: bool = True) -> list[str]:
    """What the operator does in Twilio's console; return the numbers."""
    with Runbook.open(site, tenant) as book:
        dids = list(book.context.tenant.dids)
    numbers = sandbox.vendors.numbers()
    for did in dids:
        patch = {"vendor": "twilio", "kind": "numbers", "id": numbers[did]["sid"]}
        trunk = sandbox.vendors.trunk_sids()[DOMAINS[tenant]] if on else None
        sandbox.control("POST", "state/patch", patch | {"set": {"trunk_sid": trunk}})
    return dids


def asked_for_numbers_of_a_trunk(sandbox: TestSandbox) -> list[str]:
    log = sandbox.control("GET", "requests").json()["requests"]
    return [one["path"] for one in log if re.search(r"/v1/Trunks/[^/]+/PhoneNumbers", one["path"])]


@REGIONS
@TENANTS
def test_all_sections_but_04_work_in_a_region(sandbox: TestSandbox, region: str, tenant: str) -> None:
    site = site_in(sandbox, region)
    sandbox.clear_log()
    for number in [one for one in RUN_ORDER if one != "04"]:
        assert run(site, tenant, number)["outcome"] == "succeeded"
        rows = rows_of(site, tenant, number)
        assert [row.setting for row in rows if row.action in CHANGING | STOPPING] == []
    refused = [row for row in rows_of(site, tenant, "04") if row.why not in TO_LOOK_AT]
    assert {(row.action, row.why) for row in refused} == {(Action.CONFLICT, Why.UNSUITABLE)}
    assert all("https://www.twilio.com/docs/" in row.note for row in refused)
    with pytest.raises(ConflictError) as stopped:
        run(site, tenant, "04")
    assert stopped.value.step == "4.1"
    writes = [one for one in sandbox.writes() if "PhoneNumbers" in str(one["path"])]
    assert (writes, asked_for_numbers_of_a_trunk(sandbox)) == ([], [])


@TENANTS
def test_numbers_that_were_assigned_by_hand_are_in_place(sandbox: TestSandbox, tenant: str) -> None:
    site = site_in(sandbox, "ie1")
    for number in ("01", "02", "03", "05", "06"):
        run(site, tenant, number)
    dids = assign_by_hand(sandbox, tenant, site)
    sandbox.clear_log()
    rows = rows_of(site, tenant, "04")
    assert [(row.setting, row.action) for row in rows if row.why not in TO_LOOK_AT] == [
        (did, Action.IN_PLACE) for did in dids
    ]
    for number in RUN_ORDER:
        run(site, tenant, number)
    assert sandbox.writes() == []
    assert asked_for_numbers_of_a_trunk(sandbox) == []


def test_a_number_to_remove_is_refused_too_and_one_beside_is_shown(sandbox: TestSandbox) -> None:
    site = site_in(sandbox, "ie1")
    run(site, ACME, "01")
    dids = assign_by_hand(sandbox, ACME, site)
    content = YAML(typ="safe").load(sandbox.root / ACME)
    content["tenant"] |= {"dids": dids[0][1:], "remove": [dids[1]]}
    path = sandbox.root / "parameters/sandbox/acme_smaller.yaml"
    with path.open("w") as file:
        YAML(typ="safe").dump(content, file)
    found = {row.setting: (row.action, row.why) for row in rows_of(site, str(path), "04")}
    assert found[dids[0]] == (Action.IN_PLACE, None)
    assert found[dids[1]] == (Action.CONFLICT, Why.UNSUITABLE)
    assert found[dids[2]] == (Action.NOT_MANAGED, Why.KEPT)


@TENANTS
def test_retiring_stops_at_numbers_and_goes_on_without_them(sandbox: TestSandbox, tenant: str) -> None:
    site = site_in(sandbox, "ie1")
    for number in ("01", "02", "03", "05", "06"):
        run(site, tenant, number)
    dids = assign_by_hand(sandbox, tenant, site)
    sandbox.clear_log()
    with pytest.raises(ConflictError):
        run(site, tenant, RETIRE)
    assert sandbox.writes() == []
    stopping = [row for row in rows_of(site, tenant, RETIRE) if row.why is Why.UNSUITABLE]
    assert [row.setting for row in stopping] == dids
    assign_by_hand(sandbox, tenant, site, on=False)
    assert run(site, tenant, RETIRE)["outcome"] == "succeeded"
    assert asked_for_numbers_of_a_trunk(sandbox) == []


def test_a_trunk_that_another_region_serves_is_a_caution(sandbox: TestSandbox) -> None:
    """Where Routes has nothing, Twilio's default serves: a trunk in Ireland then gets no call."""
    site = site_in(sandbox, "ie1")
    run(site, ACME, "01")
    assert len(run(site, ACME, "00", "plan")["cautions"]) == 1
    path = f"/v2/Trunks/{DOMAIN}"
    assert sandbox.vendors.twilio_http.post(path, data={"VoiceRegion": "ie1"}).is_success
    assert run(site, ACME, "00", "plan")["cautions"] == []
    assert len(run(IN_US1, ACME, "00", "plan")["cautions"]) == 1


def test_numbers_are_looked_up_in_routes_only_on_request(sandbox: TestSandbox) -> None:
    site = site_in(sandbox, "ie1")
    run(site, ACME, "01")
    dids = assign_by_hand(sandbox, ACME, site)
    assert sandbox.vendors.twilio_http.post(
        f"/v2/PhoneNumbers/{dids[0]}", data={"VoiceRegion": "ie1"}
    ).is_success
    sandbox.clear_log()
    with Runbook.open(site, ACME) as book:
        section = book.section("04")
        section.current()
        section.plan()
        log = sandbox.control("GET", "requests").json()["requests"]
        assert [one for one in log if one["path"].startswith("/v2/PhoneNumbers")] == []
        shown = dict(section.number_regions().rows)
        route = {"VoiceRegion": "ie1"}
        assert sandbox.vendors.twilio_http.post(f"/v2/PhoneNumbers/{dids[1]}", data=route).is_success
        assert dict(section.number_regions().rows)[dids[1]] == "ie1"  # asked again is read again
    assert list(shown) == dids
    assert shown[dids[0]] == "ie1"
    assert all("not ie1" in shown[did] for did in dids[1:])


@pytest.mark.parametrize(
    ("account", "hosts"),
    [
        ({}, "ashburn.us1"),
        ({"edge": "tokyo"}, "tokyo.us1"),
        ({"region": "ie1"}, "dublin.ie1"),
        ({"region": "ie1", "edge": "dublin"}, "dublin.ie1"),
        ({"region": "au1"}, "sydney.au1"),
    ],
)
def test_the_hosts_of_a_region(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, account: dict[str, str], hosts: str
) -> None:
    for name in ("ADMIN", "TOKEN", "SIP"):
        monkeypatch.setenv(f"RUNBOOK_TEST_{name}", "Canary-Passw0rd-77")
    for name in ("RUNBOOK_TWILIO_API_URL", "RUNBOOK_TWILIO_TRUNKING_URL", "RUNBOOK_PORTSIP_URL"):
        monkeypatch.delenv(name, raising=False)
    site = live_site()
    site["site"]["twilio_accounts"]["main"] |= account
    path = tmp_path / "site.yaml"
    with path.open("w") as file:
        YAML(typ="safe").dump(site, file)
    loaded = load_site(str(path), tmp_path)
    found = endpoints(loaded, loaded.twilio_accounts["main"], tmp_path).twilio
    assert found["api"] == f"https://api.{hosts}.twilio.com"
    assert found["trunking"] == f"https://trunking.{hosts}.twilio.com"


@pytest.mark.parametrize(
    ("region", "edge"),
    [("ie1", "ashburn"), ("ie1", "sydney"), ("ie1", "frankfurt"), ("au1", "dublin"), ("au1", "singapore")],
)
def test_a_pair_that_twilio_does_not_have(tmp_path: Any, region: str, edge: str) -> None:
    site = changed(read("site.yaml"), "site.twilio_accounts.main.region", region)
    site = changed(site, "site.twilio_accounts.main.edge", edge)
    [problem] = problems_of(tmp_path, site, read("acme.yaml"))
    assert "site.twilio_accounts.main.edge" in problem
