"""Edges of Twilio in the PBX trunk's hostname: asked for, kept where set by hand, and never another trunk."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
from ruamel.yaml import YAML

from runbook_lib.errors import ConflictError
from runbook_lib.guide import RETIRE, ROLL_BACK
from runbook_lib.keys import Why
from runbook_lib.plan import CHANGING, STOPPING, Action, Effect, Row
from runbook_lib.runbook import Runbook
from tests.conftest import TestSandbox
from tests.sections.expected import ACME_PBX_TRUNK, ACME_TRUNK
from tests.sections.test_system_level import GLOBEX
from tests.sections.test_tenant_level import ACME, DOMAIN, SITE, run_all
from tests.sections.test_way_back import recorded, state, way_back

NAME = ACME_PBX_TRUNK["name"]
TOKYO = "acme-pbx.pstn.tokyo.twilio.com"
#: However somebody may have written the trunk's URI by hand.
BY_HAND = (
    TOKYO,
    "acme-pbx.pstn.sao-paulo.twilio.com",
    "acme-pbx.pstn.us1.twilio.com",
    "acme-pbx.pstn.ie1.twilio.com",
    "acme-pbx.pstn.london-ix.twilio.com",
    "ACME-PBX.pstn.Tokyo.twilio.com.",
)


def asking(sandbox: TestSandbox, termination: str, **keys: Any) -> str:
    """A file of acme's parameters with this termination URI."""
    content = YAML(typ="safe").load(sandbox.root / ACME)
    content["tenant"]["trunk"]["termination"] = termination
    content["tenant"] |= keys
    path = sandbox.root / "parameters/sandbox/acme_by_an_edge.yaml"
    with path.open("w") as file:
        YAML(typ="safe").dump(content, file)
    return str(path)


def set_by_hand(sandbox: TestSandbox, hostname: str, name: str = NAME) -> None:
    patch = {"vendor": "portsip", "kind": "providers", "match": {"name": name}, "set": {"hostname": hostname}}
    sandbox.control("POST", "state/patch", patch)


def hostname(sandbox: TestSandbox) -> str:
    return str(sandbox.vendors.pbx("acme.pbx.example").trunks()[NAME]["hostname"])


def planned(tenant: str) -> list[Row]:
    with Runbook.open(SITE, tenant) as book:
        return [row for part in book.plan().slices for row in part.rows]


def unsettled(rows: list[Row]) -> list[tuple[str, Action]]:
    return [(row.setting, row.action) for row in rows if row.action in CHANGING | STOPPING]


def cautions(tenant: str) -> list[str]:
    with Runbook.open(SITE, tenant) as book:
        section = book.section("05")
        section.plan()
        return section.cautions


def test_an_edge_is_planned_applied_verified_and_undone(sandbox: TestSandbox) -> None:
    before, tenant = state(sandbox), asking(sandbox, TOKYO)
    [row] = [row for row in planned(tenant) if row.setting == "hostname"]
    assert (row.desired, row.action) == (TOKYO, Action.CREATE)
    with recorded(sandbox, "acme") as folder:
        run_all(tenant=tenant)
    assert sandbox.vendors.trunk(DOMAIN) == ACME_TRUNK
    made = sandbox.vendors.pbx("acme.pbx.example").trunks()[NAME]
    assert made == ACME_PBX_TRUNK | {"hostname": TOKYO}
    assert unsettled(planned(tenant)) == []
    run_all(mode="verify", tenant=tenant)
    way_back(ROLL_BACK, tenant, record=folder.name)
    assert state(sandbox) == before


@pytest.mark.parametrize("by_hand", BY_HAND)
def test_an_edge_set_by_hand_is_recognised_kept_and_shown(sandbox: TestSandbox, by_hand: str) -> None:
    """Also with leave for interruptions: nothing asked for another edge."""
    tenant = asking(sandbox, "acme-pbx", accept_interruption=True)
    run_all(tenant=tenant)
    usual = cautions(tenant)
    set_by_hand(sandbox, by_hand)
    rows = planned(tenant)
    assert unsettled(rows) == []
    assert [row.current for row in rows if row.setting == "hostname"] == [by_hand]
    [caution] = [caution for caution in cautions(tenant) if caution not in usual]
    assert by_hand in caution
    sandbox.clear_log()
    run_all(tenant=tenant)
    run_all(mode="verify", tenant=tenant)
    assert sandbox.writes() == []


def test_an_update_of_another_field_keeps_the_edge(sandbox: TestSandbox) -> None:
    run_all()
    set_by_hand(sandbox, TOKYO)
    run_all(tenant=asking(sandbox, "acme-pbx", pbx_trunk={"max_concurrent_calls": 200_000}))
    assert hostname(sandbox) == TOKYO


def test_what_was_set_up_elsewhere_with_an_edge_is_ours(sandbox: TestSandbox) -> None:
    """Another machine has no journals: the trunk is known by its label alone."""
    run_all(tenant=asking(sandbox, TOKYO))
    shutil.rmtree(sandbox.root / "records")
    assert unsettled(planned(ACME)) == []


def test_an_edge_that_is_asked_for_interrupts_outbound_and_needs_leave(sandbox: TestSandbox) -> None:
    run_all()
    tenant = asking(sandbox, TOKYO)
    [row] = [row for row in planned(tenant) if row.setting == "hostname"]
    assert (row.action, row.effect, row.why) == (
        Action.CONFLICT,
        Effect.INTERRUPTS_OUTBOUND,
        Why.NO_LEAVE,
    )
    sandbox.clear_log()
    with pytest.raises(ConflictError):
        run_all(tenant=tenant)
    assert sandbox.writes() == []
    before = sandbox.vendors.pbx("acme.pbx.example").trunks()[NAME]
    with recorded(sandbox, "acme") as folder:
        run_all(tenant=asking(sandbox, TOKYO, accept_interruption=True))
    assert sandbox.vendors.pbx("acme.pbx.example").trunks()[NAME] == before | {"hostname": TOKYO}
    # The parameters of today name no edge: it is the same trunk, and the record is undone.
    way_back(ROLL_BACK, ACME, record=folder.name)
    assert sandbox.vendors.pbx("acme.pbx.example").trunks()[NAME] == before


@pytest.mark.parametrize("asked", ["acme-pbx.pstn.us1.twilio.com", "acme-pbx.pstn.ashburn.twilio.com"])
def test_an_edge_by_its_legacy_name_is_the_same_edge(sandbox: TestSandbox, asked: str) -> None:
    run_all(tenant=asking(sandbox, "acme-pbx.pstn.ashburn.twilio.com"))
    set_by_hand(sandbox, "acme-pbx.pstn.us1.twilio.com")
    assert unsettled(planned(asking(sandbox, asked))) == []


def second_trunk(sandbox: TestSandbox, name: str, hostname: str) -> None:
    """Somebody's second trunk to the same one at Twilio, through another edge."""
    fields = {key: value for key, value in ACME_PBX_TRUNK.items() if key not in ("did_numbers", "status")}
    sandbox.control("POST", "switches", {"portsip.trunk_name": "free"})
    sandbox.vendors.pbx("acme.pbx.example").post(
        "/providers", fields | {"name": name, "hostname": hostname, "password": "Some-Passw0rd-1"}
    )


def test_a_second_trunk_through_another_edge_is_left_alone(sandbox: TestSandbox) -> None:
    """A way round a failing edge: ours is the one that the parameters name, as it was before."""
    run_all()
    second_trunk(sandbox, "Through Umatilla", "acme-pbx.pstn.umatilla.twilio.com")
    assert unsettled(planned(ACME)) == []
    # Of two it cannot be told which one is to have the edge of the other.
    asked = planned(asking(sandbox, "acme-pbx.pstn.umatilla.twilio.com", accept_interruption=True))
    assert [(row.step, row.why) for row in asked if row.action is Action.CONFLICT] == [("5.1", Why.AMBIGUOUS)]


def test_a_trunk_that_leads_elsewhere_is_not_ours(sandbox: TestSandbox) -> None:
    run_all()
    shutil.rmtree(sandbox.root / "records")
    for elsewhere in ("acme-pbx.pstn.mars.twilio.com", "other.pstn.tokyo.twilio.com", "sip.example.com"):
        set_by_hand(sandbox, elsewhere)
        assert Why.TAKEN in [row.why for row in planned(ACME) if row.step == "5.1"]


def test_a_tenant_with_an_edge_set_by_hand_is_retired(sandbox: TestSandbox) -> None:
    before = state(sandbox)
    run_all()
    set_by_hand(sandbox, TOKYO)
    way_back(RETIRE, ACME)
    assert state(sandbox) == before


def test_the_edge_of_a_shared_trunk_set_by_hand(sandbox: TestSandbox) -> None:
    run_all(tenant=GLOBEX)
    set_by_hand(sandbox, "carrier-pbx.pstn.frankfurt.twilio.com", "Twilio-Shared-Trunk")
    sandbox.clear_log()
    run_all(tenant=GLOBEX)
    assert unsettled(planned(GLOBEX)) == []
    assert sandbox.writes() == []


def test_online_through_every_edge(sandbox: TestSandbox) -> None:
    """The sandbox's PBX sends OPTIONS to a trunk of Twilio's by any of its names; no other name answers."""
    run_all()
    pbx = sandbox.vendors.pbx("acme.pbx.example")
    found = {}
    for name in (DOMAIN, TOKYO, "acme-pbx.pstn.us1.twilio.com", "acme-pbx.pstn.mars.twilio.com"):
        patch = {"vendor": "portsip", "kind": "providers", "match": {"name": NAME}}
        sandbox.control("POST", "state/patch", patch | {"set": {"hostname": name, "keep_alive": True}})
        found[name] = pbx.trunks()[NAME]["status"]
    assert list(found.values()) == ["ONLINE", "ONLINE", "ONLINE", "OFFLINE"]
