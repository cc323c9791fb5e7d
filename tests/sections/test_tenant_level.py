"""All sections at tenant level against the sandbox: planned, applied, read back, and left alone after."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_lib.errors import ConflictError
from runbook_lib.guide import RUN_ORDER
from runbook_lib.plan import CHANGING, Action
from runbook_lib.runbook import Runbook
from tests.conftest import TestSandbox
from tests.sections.expected import ACME_PBX_TRUNK, ACME_TRUNK

SITE = "parameters/sandbox/site.yaml"
ACME = "parameters/sandbox/acme.yaml"
DOMAIN = "acme-pbx.pstn.twilio.com"


def run_section(number: str, mode: str = "apply", tenant: Any = ACME) -> dict[str, Any]:
    with Runbook.open(SITE, tenant, mode=mode) as runbook:
        section = runbook.section(number)
        section.current()
        section.plan()
        section.apply()
        section.verify()
        return section.finish()


def run_all(mode: str = "apply", tenant: Any = ACME) -> list[dict[str, Any]]:
    return [run_section(number, mode, tenant) for number in RUN_ORDER]


def foreign_state(sandbox: TestSandbox) -> Any:
    """Everything that is not of acme's trunk, to show that it stays untouched."""
    vendors, pbx = sandbox.vendors, sandbox.vendors.pbx()
    mine = ACME_TRUNK["numbers"]
    return {
        "trunks": {name: vendors.trunk(name) for name in vendors.trunk_sids() if name != DOMAIN},
        "numbers": {name: one for name, one in vendors.numbers().items() if name not in mine},
        "system trunks": pbx.trunks(),
        "tenant trunks": {
            tenant: {k: v for k, v in vendors.pbx(tenant).trunks().items() if k != ACME_PBX_TRUNK["name"]}
            for tenant in ("acme.pbx.example", "umbrella.pbx.example", "globex.pbx.example")
        },
        "rules": [
            vendors.pbx("acme.pbx.example").list(path) for path in ("/inbound_rules", "/outbound_rules")
        ],
    }


def test_every_step_reaches_the_state_of_the_guide(sandbox: TestSandbox) -> None:
    before = foreign_state(sandbox)
    run_all()
    assert sandbox.vendors.trunk(DOMAIN) == ACME_TRUNK
    assert sandbox.vendors.pbx("acme.pbx.example").trunks()[ACME_PBX_TRUNK["name"]] == ACME_PBX_TRUNK
    assert foreign_state(sandbox) == before


def test_second_run_writes_nothing(sandbox: TestSandbox) -> None:
    run_all()
    sandbox.clear_log()
    results = run_all()
    assert sandbox.writes() == []
    assert [result["writes"] for result in results] == [0] * len(RUN_ORDER)
    assert not [row for result in results for row in result["plan"] if row["action"] in CHANGING]


def test_whole_tenant_is_planned_before_anything_exists(sandbox: TestSandbox) -> None:
    with Runbook.open(SITE, ACME) as runbook:
        plan = runbook.plan()
    assert sandbox.writes() == []
    assert [part.section for part in plan.slices] == list(RUN_ORDER)
    assert not [row for part in plan.slices for row in part.stopping]
    assert {row.step for part in plan.slices for row in part.changing} == {
        *("1.1", "2.1", "2.2", "2.3", "3.1", "3.2", "4.1", "5.1", "5.2", "5.3", "5.4")
    }


@pytest.mark.parametrize("number", ["02", "03", "04", "05"])
def test_section_out_of_order_is_blocked_before_its_first_write(sandbox: TestSandbox, number: str) -> None:
    result = run_section(number, "plan")
    assert Action.BLOCKED in {row["action"] for row in result["plan"]}
    with pytest.raises(ConflictError, match=r"run section 0[12] first"):
        run_section(number)
    assert sandbox.writes() == []


def test_plan_and_verify_never_write(sandbox: TestSandbox) -> None:
    run_all("plan")
    assert sandbox.writes() == []
    run_all()
    sandbox.clear_log()
    results = run_all("verify")
    assert sandbox.writes() == []
    assert all(result["verification"]["ok"] for result in results)


def test_approved_plan_is_applied_and_nothing_else(sandbox: TestSandbox, tmp_path) -> None:
    import json

    with Runbook.open(SITE, ACME) as runbook:
        plan = runbook.plan()
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan.to_document()))
    for number in RUN_ORDER:
        with Runbook.open(
            SITE, ACME, mode="apply", plan_file=str(path), approved_plan=plan.digest, approved_by="pat"
        ) as runbook:
            section = runbook.section(number)
            section.apply()
            section.verify()
            section.finish()
    assert sandbox.vendors.trunk(DOMAIN) == ACME_TRUNK
    assert sandbox.vendors.pbx("acme.pbx.example").trunks()[ACME_PBX_TRUNK["name"]] == ACME_PBX_TRUNK
