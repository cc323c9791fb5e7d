"""Twilio's reads may lag behind its writes by some seconds: reading back waits for them, up to a deadline."""

from __future__ import annotations

import time

import pytest

from runbook_lib.errors import VerificationError
from runbook_lib.guide import RUN_ORDER, TRUNK_ORDER
from runbook_lib.sections import base
from tests.conftest import TestSandbox
from tests.sections.expected import ACME_PBX_TRUNK, ACME_TRUNK
from tests.sections.test_system_level import GLOBEX, INITECH, check_final_state
from tests.sections.test_tenant_level import ACME, DOMAIN, run_section

LAG_S = 5


class SharedTime:
    """Time that the sections and the sandbox share: whoever sleeps moves both clocks instead of waiting."""

    def __init__(self, sandbox: TestSandbox) -> None:
        self._sandbox = sandbox
        self.slept = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.slept

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self._sandbox.control("POST", "clock", {"advance": seconds})


@pytest.fixture
def shared_time(sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch) -> SharedTime:
    sandbox.control("POST", "switches", {"twilio.read_lag_seconds": LAG_S})
    shared = SharedTime(sandbox)
    monkeypatch.setattr(base, "time", shared)
    return shared


def test_every_section_ends_right_although_reads_lag(sandbox: TestSandbox, shared_time: SharedTime) -> None:
    waited: dict[str, float] = {}
    for tenant, order in (
        (ACME, RUN_ORDER),
        (GLOBEX, RUN_ORDER),
        (INITECH, RUN_ORDER),
        ("trunk:carrier", TRUNK_ORDER),
    ):
        for number in order:
            before = shared_time.slept
            result = run_section(number, "apply", tenant)
            assert result["verification"]["ok"]
            waited[number] = max(waited.get(number, 0), shared_time.slept - before)
    # What lags is what belongs to a trunk, in sections 2, 3 and 4; nobody waits to the deadline.
    assert all(waited[number] > 0 for number in ("02", "03", "04")), waited
    assert max(waited.values()) < base.SETTLE_S, waited
    sandbox.control("POST", "clock", {"advance": LAG_S})
    assert sandbox.vendors.trunk(DOMAIN) == ACME_TRUNK
    assert sandbox.vendors.pbx("acme.pbx.example").trunks()[ACME_PBX_TRUNK["name"]] == ACME_PBX_TRUNK
    check_final_state(sandbox.vendors)
    sandbox.clear_log()
    for tenant in (ACME, GLOBEX, INITECH):
        for number in RUN_ORDER:
            run_section(number, "apply", tenant)
    assert sandbox.writes() == []


def test_a_lag_past_the_deadline_is_told(
    sandbox: TestSandbox, shared_time: SharedTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "SETTLE_S", 2.0)
    run_section("01")
    with pytest.raises(VerificationError, match="on the trunk is absent"):
        run_section("02")
