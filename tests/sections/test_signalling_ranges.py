"""Section 5: further signalling ranges on the PBX trunk are kept, added and taken off only by parameter."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runbook_lib.errors import ConflictError
from runbook_lib.plan import Action, Effect
from runbook_lib.runbook import Runbook
from tests.conftest import TestSandbox
from tests.sections.expected import ACME_PBX_TRUNK, CARRIER_PBX_TRUNK
from tests.sections.test_connections import acme, run, site
from tests.sections.test_tenant_level import run_all

PUBLISHED = str(ACME_PBX_TRUNK["additional_ips"])
GLOBEX = "parameters/sandbox/globex.yaml"
SETTING = "associated IP addresses"


def put(sandbox: TestSandbox, live: str, name: str = "Twilio-Reg-Trunk") -> None:
    """Somebody edits the trunk in the PBX's portal."""
    change = {"match": {"name": name}, "set": {"additional_ips": live}}
    sandbox.control("POST", "state/patch", {"vendor": "portsip", "kind": "providers", **change})
    sandbox.clear_log()


def associated(sandbox: TestSandbox) -> str:
    return sandbox.vendors.pbx("acme.pbx.example").trunks()["Twilio-Reg-Trunk"]["additional_ips"]


def taking_off(*ranges: str, **more: Any) -> dict[str, Any]:
    return acme(pbx_trunk={"remove_signalling_ranges": list(ranges)}, **more)


@pytest.mark.parametrize(
    "further", ["198.51.100.0/30", "198.51.100.7;203.0.113.0/24", "sip.example", "10.0.0.0/8"]
)
def test_a_range_that_somebody_added_is_kept_and_stops_nothing(sandbox: TestSandbox, further: str) -> None:
    run_all()
    put(sandbox, f"{PUBLISHED};{further}")
    run(site(), acme(), "05")
    assert sandbox.writes() == [] and associated(sandbox) == f"{PUBLISHED};{further}"
    with Runbook.open(site(), acme(), mode="verify") as runbook:
        section = runbook.section("05")
        rows = section.plan().rows
        kept = [row.current for row in rows if row.action is Action.NOT_MANAGED]
        assert kept == further.split(";") and not [row for row in rows if row.effect is not Effect.NONE]
        assert section.cautions and section.verify().ok
        section.finish()


def test_what_is_missing_is_added_beside_what_is_kept(sandbox: TestSandbox) -> None:
    run_all()
    put(sandbox, "54.172.60.0/30;198.51.100.0/30")
    run(site(), acme(), "05")
    assert len(sandbox.writes()) == 1 and associated(sandbox) == f"{PUBLISHED};198.51.100.0/30"


def test_a_site_adds_ranges_also_to_a_trunk_that_is_new(sandbox: TestSandbox) -> None:
    adding = site(additional_signalling_ranges=["203.0.113.0/29"])
    run(adding, acme(), "01", "02", "05")
    assert associated(sandbox) == f"{PUBLISHED};203.0.113.0/29"
    more = site(additional_signalling_ranges=["203.0.113.0/29", "198.51.100.0/30"])
    run(more, acme(), "05")
    assert associated(sandbox) == f"{PUBLISHED};203.0.113.0/29;198.51.100.0/30"
    with Runbook.open(more, acme()) as runbook:
        *_, firewall, _ = runbook.section("00").current()
    assert {"203.0.113.0/29", "198.51.100.0/30"} <= {row[2] for row in firewall.rows}
    # No longer named by the site: that takes nothing off.
    sandbox.clear_log()
    run(site(), acme(), "05")
    assert sandbox.writes() == []


def test_taking_a_range_off_needs_the_parameter_and_leave(sandbox: TestSandbox) -> None:
    run_all()
    put(sandbox, f"{PUBLISHED};198.51.100.0/30;203.0.113.7")
    with Runbook.open(site(), taking_off("198.51.100.0/30"), mode="apply") as runbook:
        section = runbook.section("05")
        (row,) = [row for row in section.plan().rows if row.setting == SETTING]
        assert (row.action, row.effect) == (Action.CONFLICT, Effect.INTERRUPTS_INBOUND)
        with pytest.raises(ConflictError):
            section.apply()
    assert sandbox.writes() == []
    run(site(), taking_off("198.51.100.0/30", accept_interruption=True), "05")
    assert associated(sandbox) == f"{PUBLISHED};203.0.113.7"


def test_a_part_of_a_range_is_a_conflict(sandbox: TestSandbox) -> None:
    run_all()
    put(sandbox, f"{PUBLISHED};198.51.100.0/24")
    tenant = taking_off("198.51.100.0/30", accept_interruption=True)
    with Runbook.open(site(), tenant, mode="apply") as runbook, pytest.raises(ConflictError) as caught:
        runbook.section("05").apply()
    assert caught.value.step == "5.4" and sandbox.writes() == []


def test_a_wide_range_is_named_in_the_sections_summary(sandbox: TestSandbox) -> None:
    run_all()
    for live, named in (("198.51.100.0/24", False), ("198.51.0.0/16", True)):
        put(sandbox, f"{PUBLISHED};{live}")
        with Runbook.open(site(), acme()) as runbook:
            section = runbook.section("05")
            section.plan()
            result = section.finish()
        assert any("/24:" in caution for caution in result["cautions"]) is named
        written = json.loads((runbook.folder / "05.result.json").read_text())
        assert written["cautions"] == result["cautions"] != []


def test_a_shared_trunk_keeps_a_range_for_every_tenant(sandbox: TestSandbox) -> None:
    run_all(tenant=GLOBEX)
    put(sandbox, f"{PUBLISHED};198.51.100.0/30", str(CARRIER_PBX_TRUNK["name"]))
    run_all(tenant=GLOBEX)
    assert sandbox.writes() == []
