"""Steps 5.1 to 5.5 at system level, the call rules, and tenants that share one trunk."""

from __future__ import annotations

import copy
import itertools
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from runbook_lib.errors import ConflictError, VendorError
from runbook_lib.guide import RETIRE, RUN_ORDER, TRUNK_ORDER
from runbook_lib.plan import Action
from runbook_lib.runbook import Runbook
from tests.conftest import CHECKOUT, TestSandbox
from tests.sections.expected import (
    ACME_PBX_TRUNK,
    ASSIGNMENTS,
    CARRIER_PBX_TRUNK,
    CARRIER_TRUNK,
    INBOUND,
    OUTBOUND,
)
from tests.sections.test_tenant_level import SITE, run_all, run_section
from tests.vendor_state import VendorState

DOMAIN = CARRIER_TRUNK["domain_name"]
SITE_CONTENT = YAML(typ="safe").load(CHECKOUT / SITE)


def tenant(name: str, **changes: Any) -> dict[str, Any]:
    content = YAML(typ="safe").load(CHECKOUT / "parameters" / "sandbox" / f"{name}.yaml")["tenant"]
    return {"tenant": {**copy.deepcopy(content), **changes}}


GLOBEX, INITECH = tenant("globex"), tenant("initech")


def assignments(vendors: VendorState) -> dict[str, tuple[str, int]]:
    system = vendors.pbx()
    domains = {one["id"]: one["domain"] for one in system.list("/tenants")}
    items = system.get(f"/providers/{system.trunk_id(CARRIER_PBX_TRUNK['name'])}/assignees")["items"]
    return {domains[one["tenant_id"]]: (one["did_numbers"], one["concurrency"]) for one in items}


def rules_of(vendors: VendorState, domain: str, trunk: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The rules of a tenant that use our trunk, in the form of the expected state."""
    session = vendors.pbx(domain)
    trunk_id = session.trunk_id(trunk)
    inbound = {
        one["name"]: (
            one["did_numbers"],
            *(one[f"{time}_forward_rule"] for time in ("office_hours", "non_office_hours", "holiday")),
        )
        for one in session.list("/inbound_rules")
        if one["provider_id"] == trunk_id and one["enabled"]
    }
    outbound = {}
    for summary in session.list("/outbound_rules"):
        rule = session.get(f"/outbound_rules/{summary['id']}")
        for route in rule["routes"]:
            if route["provider_id"] == trunk_id and rule["enabled"] and route["enabled"]:
                outbound[rule["name"]] = (
                    rule["number_prefix"] or "",
                    rule["number_length"] or "",
                    route["strip_digits"],
                    route.get("prepend") or "",
                    route["outbound_caller_id"],
                )
    return inbound, outbound


def check_final_state(vendors: VendorState) -> None:
    assert vendors.trunk(DOMAIN) == CARRIER_TRUNK
    trunk = vendors.pbx().trunks()[CARRIER_PBX_TRUNK["name"]]
    assert {name: trunk[name] for name in CARRIER_PBX_TRUNK} == CARRIER_PBX_TRUNK
    assert assignments(vendors) == ASSIGNMENTS
    for domain in ASSIGNMENTS:
        assert rules_of(vendors, domain, trunk["name"]) == (INBOUND[domain], OUTBOUND[domain])


@pytest.mark.parametrize(
    "order", list(itertools.permutations([GLOBEX, INITECH])), ids=["globex first", "initech first"]
)
def test_two_tenants_share_a_trunk_in_either_order(sandbox: TestSandbox, order: tuple[Any, ...]) -> None:
    others = {name: one for name, one in sandbox.vendors.pbx().trunks().items()}
    for one in order:
        run_all(tenant=one)
    check_final_state(sandbox.vendors)
    trunks = sandbox.vendors.pbx().trunks()
    assert {name: trunks[name] for name in others} == others
    sandbox.clear_log()
    for one in order:
        run_all(tenant=one)
    assert sandbox.writes() == []


def five() -> list[dict[str, Any]]:
    """Five tenants of the PBX, one number each, without rules."""
    domains = {name: f"{name}.pbx.example" for name in ("acme", "globex", "initech", "umbrella", "hooli")}
    return [
        {
            "tenant": {
                "name": name,
                "pbx_domain": domain,
                "dids": f"1202555010{index}",
                "shared_trunk": "carrier",
                "concurrency": index + 1,
            }
        }
        for index, (name, domain) in enumerate(domains.items())
    ]


#: All 120 orders with ``make sweep``; otherwise each tenant comes first once.
ORDERS = (
    list(itertools.permutations(range(5)))
    if os.environ.get("RUNBOOK_SWEEP")
    else [tuple((first + step) % 5 for step in range(5)) for first in range(5)]
)


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_five_tenants_share_a_trunk_in_any_order(sandbox: TestSandbox, order: tuple[int, ...]) -> None:
    tenants = five()
    for index in order:
        run_all(tenant=tenants[index])
    check_five(sandbox.vendors)


def check_five(vendors: VendorState) -> None:
    """Every tenant has its share, the trunk is as one tenant alone would have made it."""
    assert assignments(vendors) == {
        one["tenant"]["pbx_domain"]: (one["tenant"]["dids"], one["tenant"]["concurrency"]) for one in five()
    }
    state = vendors.trunk(DOMAIN)
    assert {**state, "numbers": []} == {**CARRIER_TRUNK, "numbers": []}
    assert state["numbers"] == [f"+1202555010{index}" for index in range(5)]
    trunk = vendors.pbx().trunks()[CARRIER_PBX_TRUNK["name"]]
    assert {name: trunk[name] for name in CARRIER_PBX_TRUNK} == CARRIER_PBX_TRUNK


def test_five_tenants_at_the_same_time(sandbox: TestSandbox) -> None:
    # Reads that come together are held until five wait, so that they all read before any writes.
    sandbox.control(
        "POST",
        "barriers",
        {"vendor": "twilio", "method": "GET", "path": "/v1/Trunks$", "waiters": 5, "timeout": 2},
    )
    failures: list[BaseException] = []

    def work(one: dict[str, Any]) -> None:
        try:
            run_all(tenant=one)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(one,)) for one in five()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failures == []
    check_five(sandbox.vendors)


def test_two_machines_at_the_same_time(sandbox: TestSandbox, tmp_path: Path) -> None:
    """No lock holds across machines: the vendors' unique names and reading before writing have to do."""
    sandbox.control(
        "POST",
        "barriers",
        {"vendor": "twilio", "method": "GET", "path": "/v1/Trunks$", "waiters": 2, "timeout": 1},
    )
    runs = []
    for name in ("globex", "initech"):
        root = tmp_path / name
        shutil.copytree(sandbox.root / "parameters", root / "parameters")
        shutil.copytree(sandbox.root / ".sandbox", root / ".sandbox")
        code = (
            "from tests.sections.test_tenant_level import run_all;"
            f"run_all(tenant='parameters/sandbox/{name}.yaml')"
        )
        environment = {**os.environ, **sandbox.environment, "RUNBOOK_ROOT": str(root)}
        runs.append(
            subprocess.Popen(
                [sys.executable, "-c", code], cwd=CHECKOUT, env=environment, stderr=subprocess.PIPE
            )
        )
    errors = [run.communicate(timeout=120)[1].decode() for run in runs]
    # Whoever came second may have been stopped before a write; running again finishes.
    for run, error in zip(runs, errors, strict=True):
        assert run.returncode == 0 or "runbook_lib.errors." in error, error
    sandbox.control("DELETE", "barriers")
    for one in (GLOBEX, INITECH):
        run_all(tenant=one)
    check_final_state(sandbox.vendors)


def test_shared_settings_are_a_conflict_for_a_tenant_and_changed_for_the_trunk(sandbox: TestSandbox) -> None:
    run_all(tenant=GLOBEX)
    run_all(tenant=INITECH)
    system = sandbox.vendors.pbx()
    system.post(f"/providers/{system.trunk_id(CARRIER_PBX_TRUNK['name'])}", {"verify_port": True})
    sandbox.clear_log()
    with pytest.raises(ConflictError, match="apply --trunk carrier"):
        run_section("05", "apply", GLOBEX)
    assert sandbox.writes() == []
    with Runbook.open(SITE, "trunk:carrier", mode="apply") as runbook:
        assert [tenant["name"] for tenant in runbook.tenants_affected()] == ["Globex Logistics", "Initech"]
    for number in TRUNK_ORDER:
        run_section(number, "apply", "trunk:carrier")
    assert len(sandbox.writes()) == 1
    check_final_state(sandbox.vendors)


def test_changing_a_share_writes_the_share_only(sandbox: TestSandbox) -> None:
    run_all(tenant=GLOBEX)
    run_all(tenant=INITECH)
    sandbox.clear_log()
    with pytest.raises(ConflictError, match="interrupts both ways"):
        run_all(tenant=tenant("globex", concurrency=12))
    run_all(tenant=tenant("globex", concurrency=12, accept_interruption=True))
    assert len(sandbox.writes()) == 1
    assert "assignees" in str(sandbox.writes()[0]["path"])
    pool, _ = ASSIGNMENTS["globex.pbx.example"]
    assert assignments(sandbox.vendors) == {**ASSIGNMENTS, "globex.pbx.example": (pool, 12)}


def test_growing_a_pool(sandbox: TestSandbox) -> None:
    run_all(tenant=tenant("initech", dids="12025550107", rules=None))
    run_all(tenant=INITECH)
    assert assignments(sandbox.vendors) == {"initech.pbx.example": ("12025550107-12025550108", 10)}


def without_0106(**changes: Any) -> dict[str, Any]:
    rules = copy.deepcopy(GLOBEX["tenant"]["rules"])
    rules["inbound"] = rules["inbound"][:1]
    return tenant("globex", dids="12025550105", rules=rules, **changes)


def delete_rule(sandbox: TestSandbox, domain: str, name: str) -> None:
    session = sandbox.vendors.pbx(domain)
    rule = next(one for one in session.list("/inbound_rules") if one["name"] == name)
    session.post(f"/inbound_rules/{rule['id']}/destroy")


def test_taking_a_number_away(sandbox: TestSandbox) -> None:
    run_all(tenant=GLOBEX)
    # Missing from dids, it is shown and stays.
    run_all(tenant=without_0106())
    assert assignments(sandbox.vendors)["globex.pbx.example"] == ASSIGNMENTS["globex.pbx.example"]
    assert "+12025550106" in sandbox.vendors.trunk(DOMAIN)["numbers"]
    # Named under remove, it is refused while a rule uses it.
    leaving = without_0106(remove=["+12025550106"])
    sandbox.clear_log()
    with pytest.raises(ConflictError, match="inbound rule Twilio support"):
        run_all(tenant=leaving)
    assert sandbox.writes() == []
    delete_rule(sandbox, "globex.pbx.example", "Twilio support")
    run_all(tenant=leaving)
    assert assignments(sandbox.vendors)["globex.pbx.example"] == ("12025550105", 30)
    assert sandbox.vendors.trunk(DOMAIN)["numbers"] == ["+12025550105"]
    assert "+12025550106" in sandbox.vendors.numbers()


def test_moving_a_number_between_tenants_takes_both_runs(sandbox: TestSandbox) -> None:
    run_all(tenant=GLOBEX)
    taker = tenant("initech", dids="12025550106-12025550108", rules=None)
    with pytest.raises(ConflictError, match="pool of another tenant"):
        run_all(tenant=taker)
    delete_rule(sandbox, "globex.pbx.example", "Twilio support")
    run_all(tenant=without_0106(remove=["+12025550106"]))
    run_all(tenant=taker)
    assert assignments(sandbox.vendors) == {
        "globex.pbx.example": ("12025550105", 30),
        "initech.pbx.example": ("12025550106-12025550108", 10),
    }
    assert sandbox.vendors.trunk(DOMAIN)["numbers"] == sorted(CARRIER_TRUNK["numbers"])


def test_moving_a_number_between_trunks_of_tenants(sandbox: TestSandbox) -> None:
    run_all()  # acme has 0101 to 0104 on a trunk of its own
    taker = tenant("initech", dids="12025550104;12025550107-12025550108", rules=None)
    with pytest.raises((ConflictError, VendorError)):
        run_all(tenant=taker)
    acme = YAML(typ="safe").load(CHECKOUT / "parameters" / "sandbox" / "acme.yaml")["tenant"]
    run_all(tenant={"tenant": {**acme, "dids": "12025550101-12025550103", "remove": ["+12025550104"]}})
    assert "+12025550104" not in sandbox.vendors.trunk("acme-pbx.pstn.twilio.com")["numbers"]
    run_all(tenant=taker)
    assert "+12025550104" in sandbox.vendors.trunk(DOMAIN)["numbers"]
    assert sandbox.vendors.pbx("acme.pbx.example").trunks()[ACME_PBX_TRUNK["name"]]["did_numbers"] in (
        "12025550101-12025550103",
    )


def test_cutting_over_a_number_that_answers_today(sandbox: TestSandbox) -> None:
    number, pool = "+12025550109", "12025550107-12025550109"
    names = {"dids": pool, "rules": None}
    with pytest.raises(ConflictError, match="list it under move"):
        run_all(tenant=tenant("initech", **names))
    moving = {"move": [number], "accept_interruption": True}
    with pytest.raises(ConflictError, match="no enabled inbound rule"):
        run_section("04", "apply", tenant("initech", **names, **moving))
    before = sandbox.vendors.numbers()[number]
    assert before["voice_url"] and not before["trunk_sid"]
    with Runbook.open(SITE, tenant("initech", **names, **moving)) as runbook:
        rows = runbook.section("04").plan().rows
    assert [row.action for row in rows if row.setting == number] == [Action.BLOCKED]
    rules = {"inbound": [{"name": "Twilio", "dids": pool, "extension": "2000"}]}
    run_all(tenant=tenant("initech", dids=pool, rules=rules, **moving))
    assert number in sandbox.vendors.trunk(DOMAIN)["numbers"]
    moments = sandbox.control("GET", f"timeline?number=%2B{number[1:]}").json()["changes"]
    assert {one["routed"] for one in moments} == {True}
    assert moments[-1]["route"] == f"trunk {DOMAIN}"


def test_rules_of_other_makers_stay_and_a_name_taken_is_a_conflict(sandbox: TestSandbox) -> None:
    session = sandbox.vendors.pbx("acme.pbx.example")
    before = [session.list("/inbound_rules"), session.list("/outbound_rules")]
    name = before[0][0]["name"]
    acme = YAML(typ="safe").load(CHECKOUT / "parameters" / "sandbox" / "acme.yaml")["tenant"]
    taken = {"inbound": [{"name": name, "dids": "12025550101", "extension": "100"}]}
    with pytest.raises(ConflictError, match="uses another trunk"):
        run_all(tenant={"tenant": {**acme, "rules": taken}})
    ours = {"inbound": [{"name": "Ours", "dids": "12025550101-12025550102", "extension": "100"}]}
    run_all(tenant={"tenant": {**acme, "rules": ours}})
    after = session.list("/inbound_rules")
    assert [one for one in after if one["name"] != "Ours"] == before[0]
    assert session.list("/outbound_rules") == before[1]
    assert len(after) == len(before[0]) + 1


def test_whole_tenant_at_system_level_is_planned_before_anything_exists(sandbox: TestSandbox) -> None:
    with Runbook.open(SITE, GLOBEX) as runbook:
        plan = runbook.plan()
    assert not [row for part in plan.slices for row in part.stopping]
    assert [part.section for part in plan.slices] == list(RUN_ORDER)
    assert {"5.5", "6.1", "6.2", "4.1"} <= {row.step for part in plan.slices for row in part.changing}
    assert sandbox.writes() == []


def test_a_tenants_record_names_no_other_tenant(sandbox: TestSandbox) -> None:
    """Neither one with a share of the same trunk nor one with a trunk of its own in the same account."""
    of_others = ("initech", "12025550107", "acme", "12025550101")
    names = ("initech", "acme", "globex", "globex")
    sandbox.set_up(SITE, *(f"parameters/sandbox/{name}.yaml" for name in names))
    assert set(assignments(sandbox.vendors)) == {"globex.pbx.example", "initech.pbx.example"}
    with Runbook.open(SITE, GLOBEX, mode="apply", accept_interruption=True) as runbook:
        section = runbook.section(RETIRE)
        section.current()
        section.apply()
        section.finish()
    assert set(assignments(sandbox.vendors)) == {"initech.pbx.example"}
    paths = [path for path in sandbox.root.glob("records/demo/globex/**/*") if path.is_file()]
    written = {path: path.read_text().lower() for path in paths}
    assert any("12025550105" in text for text in written.values()), "or the search finds nothing"
    for path, text in written.items():
        assert [other for other in of_others if other in text] == [], path.name
