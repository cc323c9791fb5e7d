"""What the vendors leave open must not matter: the same end under every setting of every switch.

A few settings, chosen by the seed; all of them with ``make sweep``.
"""

from __future__ import annotations

from typing import Any

import pytest

from runbook_sandbox.switches import ALL
from tests.conftest import TestSandbox, sample
from tests.sections import test_drift, test_system_level, test_tenant_level
from tests.sections.expected import ACME_PBX_TRUNK, ACME_TRUNK, CARRIER_PBX_TRUNK
from tests.test_sign_in import sign_in_with_codes

SETTINGS: list[tuple[str, Any]] = [
    (switch.name, value)
    for switch in ALL
    for value in (
        (switch.values[0], 2 if 2 in switch.values else min(switch.values))
        if isinstance(switch.values, range)
        else switch.values[1:]
    )
    if value != switch.default
]


@pytest.mark.parametrize(("name", "value"), sample(SETTINGS, 6), ids=str)
def test_same_end_under_every_setting(sandbox: TestSandbox, name: str, value: Any) -> None:
    sandbox.control("POST", "switches", {name: value})
    if name == "portsip.system_two_factor":
        sign_in_with_codes(sandbox, "acme.pbx.example", "globex.pbx.example", "initech.pbx.example")
    test_tenant_level.run_all()
    test_drift.trunk(FriendlyName="changed")(sandbox)
    # Behind the API's back: what an update of one field alone does is one of the switches.
    match, wrong = {"name": ACME_PBX_TRUNK["name"]}, {"verify_port": True}
    patch = {"vendor": "portsip", "kind": "providers", "match": match, "set": wrong}
    sandbox.control("POST", "state/patch", patch)
    if name == "twilio.read_lag_seconds":
        sandbox.control("POST", "clock", {"advance": 10})
    test_tenant_level.run_all()
    for tenant in (test_system_level.GLOBEX, test_system_level.INITECH):
        test_tenant_level.run_all(tenant=tenant)
    if name == "twilio.read_lag_seconds":
        sandbox.control("POST", "clock", {"advance": 10})
    sandbox.clear_log()
    test_tenant_level.run_all()
    for tenant in (test_system_level.GLOBEX, test_system_level.INITECH):
        test_tenant_level.run_all(tenant=tenant)
    assert sandbox.writes() == []
    # What the answers look like differs by switch; what they say does not.
    sandbox.control(
        "POST", "switches", {switch.name: switch.default for switch in ALL if switch.name == name}
    )
    assert sandbox.vendors.trunk(test_tenant_level.DOMAIN) == ACME_TRUNK
    assert sandbox.vendors.pbx("acme.pbx.example").trunks()[ACME_PBX_TRUNK["name"]] == ACME_PBX_TRUNK
    test_system_level.check_final_state(sandbox.vendors)
    for trunk in (ACME_PBX_TRUNK, CARRIER_PBX_TRUNK):
        at_twilio, at_pbx = sandbox.passwords(trunk["auth_id"], trunk["name"])
        assert at_twilio == at_pbx is not None
