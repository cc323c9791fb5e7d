"""Another run of another records folder, so without a common lock, and a write that is carried out late.

Nothing ends up twice unnoticed, and a refusal is explained from the vendor's state, not from its code alone.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.context import Context
from runbook_lib.errors import ConflictError, VendorError, VerificationError
from runbook_lib.guide import RUN_ORDER
from runbook_lib.sections import base, passwords
from runbook_lib.vendors import transport
from tests.conftest import TestSandbox
from tests.sections.expected import ACME_PBX_TRUNK, ACME_TRUNK
from tests.sections.test_drift import twilio_post
from tests.sections.test_safety import acme, credentials
from tests.sections.test_system_level import GLOBEX, INITECH, check_final_state
from tests.sections.test_tenant_level import ACME, DOMAIN, run_all, run_section

Elsewhere = Callable[..., None]


@pytest.fixture
def elsewhere(sandbox: TestSandbox, tmp_path: Path) -> Elsewhere:
    """Run sections from another checkout: the same parameters and secrets, a records folder of its own."""
    root = tmp_path / "another checkout"
    shutil.copytree(sandbox.root / "parameters", root / "parameters")
    shutil.copytree(sandbox.root / ".sandbox", root / ".sandbox")

    def run(*numbers: str, tenant: Any = ACME, same_records: bool = False) -> None:
        if same_records:
            shutil.copytree(sandbox.root / "records", root / "records")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RUNBOOK_ROOT", str(root))
            for number in numbers:
                run_section(number, tenant=tenant)

    return run


def after_the_plan(patch: pytest.MonkeyPatch, action: Callable[[], None]) -> None:
    """Let something happen once, after the next section has read and planned, before its first write."""
    check = base.Section._check

    def checked(*arguments: Any, **options: Any) -> None:
        check(*arguments, **options)
        patch.setattr(base.Section, "_check", check)
        action()

    patch.setattr(base.Section, "_check", checked)


def with_the_next_pause(patch: pytest.MonkeyPatch, action: Callable[[], None]) -> None:
    """Let something happen once, when a section waits for the first time; it waits no real time."""

    class Time:
        monotonic = staticmethod(time.monotonic)

        @staticmethod
        def sleep(seconds: float) -> None:
            patch.setattr(base, "time", time)
            action()

    patch.setattr(base, "time", Time)


def check_acme(sandbox: TestSandbox) -> None:
    assert sandbox.vendors.trunk(DOMAIN) == ACME_TRUNK
    assert sandbox.vendors.pbx("acme.pbx.example").trunks()[ACME_PBX_TRUNK["name"]] == ACME_PBX_TRUNK


@pytest.mark.parametrize("number", RUN_ORDER)
def test_another_run_carries_a_section_out_between_reading_and_writing(
    sandbox: TestSandbox, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    """Everything that a section was about to write is refused, or there already: each kind of thing once."""
    monkeypatch.setattr(base, "POLL_S", 0.05)
    before = RUN_ORDER[: RUN_ORDER.index(number)]
    for one in before:
        run_section(one, tenant=GLOBEX)
    # Both know what was there before. Whoever begins the pair of passwords, in 02, finishes it.
    numbers = ("02", "03", "05") if number == "02" else (number,)
    after_the_plan(monkeypatch, lambda: elsewhere(*numbers, tenant=GLOBEX, same_records=bool(before)))
    for one in RUN_ORDER[len(before) :]:
        run_section(one, tenant=GLOBEX)
    run_all(tenant=INITECH)
    check_final_state(sandbox.vendors)


def test_a_pair_that_another_run_has_begun_is_waited_for(
    sandbox: TestSandbox, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere("01", "02")
    with_the_next_pause(monkeypatch, lambda: elsewhere("03", "05"))
    run_all()
    check_acme(sandbox)
    sandbox.clear_log()
    elsewhere(*RUN_ORDER)
    assert sandbox.writes() == []


def test_a_pair_that_is_begun_after_the_plan_is_waited_for(
    sandbox: TestSandbox, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The credential is refused (21243) because the other run has made it: the pair is waited for, too."""
    elsewhere("01")
    run_section("01")

    def begun() -> None:
        elsewhere("02")
        with_the_next_pause(monkeypatch, lambda: elsewhere("03", "05"))

    after_the_plan(monkeypatch, begun)
    run_section("02")
    run_all()
    check_acme(sandbox)


@pytest.mark.parametrize("code", ["21243", "21240"])
def test_a_pair_that_nobody_finishes_is_a_conflict_and_not_a_weak_password(
    sandbox: TestSandbox, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(passwords, "PAIR_S", 0.3)
    monkeypatch.setattr(base, "SLOW_POLL_S", 0.1)
    sandbox.control("POST", "switches", {"twilio.bad_credential_code": code})
    run_section("01")
    after_the_plan(monkeypatch, lambda: elsewhere("02"))
    with pytest.raises(ConflictError) as refused:
        run_section("02")
    assert refused.value.step == "2.3" and "password" in str(refused.value)
    assert "12 characters" not in str(refused.value)


@pytest.mark.parametrize("code", ["21243", "21240"])
def test_a_weak_password_is_told_as_one(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(base, "SETTLE_S", 0.2)
    monkeypatch.setattr(Context, "sip_password", lambda self: "weak")
    sandbox.control("POST", "switches", {"twilio.bad_credential_code": code})
    run_section("01")
    with pytest.raises(VendorError, match="12 characters") as error:
        run_section("02")
    assert (error.value.code, error.value.step) == (int(code), "2.3")


def test_a_credential_of_long_ago_is_not_waited_for(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_section("01")
    with_the_next_pause(monkeypatch, partial(pytest.fail, "nobody is going to finish this pair"))
    with pytest.raises(ConflictError, match="not created by this runbook"):
        run_section("02", tenant=acme(termination=credentials(list_name="Legacy SBC", username="legacy-sbc")))


def test_a_limit_that_another_run_reached_with_the_same_thing_is_none(
    sandbox: TestSandbox, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The 100th trunk is ours, made by somebody else: the vendor says that the account is full (21244)."""
    there = len(sandbox.vendors.get("/v1/Trunks")["trunks"])
    for number in range(99 - there):
        twilio_post(sandbox, "/v1/Trunks", FriendlyName=f"filler {number}")
    after_the_plan(monkeypatch, lambda: elsewhere("01"))
    run_section("01")
    assert sandbox.vendors.trunk(DOMAIN)["friendly_name"] == "PortSIP acme"


# A write that the vendor carries out after it was sent again.


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits of a run, shortened: 20 s for an answer, 12 s to settle, 30 s for what comes late."""
    monkeypatch.setattr(transport, "TimeLimits", partial(transport.TimeLimits, answer=0.6))
    monkeypatch.setattr(base, "SETTLE_S", 0.4)
    monkeypatch.setattr(base, "POLL_S", 0.05)
    monkeypatch.setattr(base, "SLOW_POLL_S", 0.1)
    monkeypatch.setattr(base, "LATE_S", 6.0)


def carried_out_late(sandbox: TestSandbox, vendor: str, path: str, seconds: float) -> None:
    late = {"vendor": vendor, "method": "POST", "path": path, "kind": "delay", "seconds": seconds}
    sandbox.control("POST", "faults", late)


def origination(sandbox: TestSandbox) -> list[str]:
    return [uri for *_, uri in sandbox.vendors.trunk(DOMAIN)["origination"]]


def test_an_origination_uri_that_is_made_twice_is_a_difference_of_the_same_run(
    sandbox: TestSandbox, hurried: None
) -> None:
    run_section("01")
    carried_out_late(sandbox, "twilio", "/OriginationUrls$", 3)
    with pytest.raises(VerificationError) as difference:
        run_section("03")
    assert difference.value.step == "3.2"
    assert sorted(origination(sandbox)) == [
        "sip:203.0.113.10;region=us1",
        "sip:203.0.113.10;region=us1",
        "sip:203.0.113.10;region=us2",
    ]
    # The journal shows that a write of ours was lost, so the next run takes the second one away.
    sandbox.clear_log()
    run_section("03")
    assert [one["method"] for one in sandbox.writes()] == ["DELETE"]
    assert origination(sandbox) == [uri for *_, uri in ACME_TRUNK["origination"]]


def test_an_outbound_rule_that_is_made_twice_is_a_difference_of_the_same_run(
    sandbox: TestSandbox, hurried: None
) -> None:
    for number in RUN_ORDER[: RUN_ORDER.index("06")]:
        run_section(number, tenant=INITECH)
    carried_out_late(sandbox, "portsip", "/outbound_rules$", 3)
    with pytest.raises(VerificationError) as difference:
        run_section("06", tenant=INITECH)
    assert difference.value.step == "6.1"
    rules = sandbox.vendors.pbx("initech.pbx.example").list("/outbound_rules")
    assert [one["name"] for one in rules].count("Twilio") == 2


def test_a_write_that_comes_before_it_is_sent_again_is_waited_for_once(
    sandbox: TestSandbox, hurried: None
) -> None:
    run_section("01")
    carried_out_late(sandbox, "twilio", "/OriginationUrls$", 0.8)
    began = time.monotonic()
    run_section("03")
    assert time.monotonic() - began < 6.0, "nothing was sent twice, so nothing is waited for"
    assert origination(sandbox) == [uri for *_, uri in ACME_TRUNK["origination"]]


# What is there twice, whoever made it.


def clone(kind: str, match: dict[str, str], vendor: str = "twilio") -> Callable[[TestSandbox], None]:
    """Return what adds a second row of something, behind the API's back."""
    key = "sid" if vendor == "twilio" else "id"

    def add(sandbox: TestSandbox) -> None:
        rows = sandbox.control("GET", "state").json()[vendor][kind].values()
        row = next(one for one in rows if match.items() <= one.items())
        second = {name: value for name, value in row.items() if name != key}
        sandbox.control("POST", "state/patch", {"vendor": vendor, "kind": kind, "add": second})

    return add


US1 = "sip:203.0.113.10;region=us1"
NUMBER = "+12025550105"
DOUBLES = {
    "trunk": ("01", "1.1", clone("trunks", {"domain_name": "carrier-pbx.pstn.twilio.com"})),
    "access list": (
        "02",
        "2.2",
        clone("ip_access_control_lists", {"friendly_name": "carrier-pbx PBX addresses"}),
    ),
    "address": ("02", "2.2", clone("ip_addresses", {"ip_address": "203.0.113.10"})),
    "credential list": ("02", "2.3", clone("credential_lists", {"friendly_name": "carrier-pbx credentials"})),
    "credential": ("02", "2.3", clone("credentials", {"username": "carrier-pbx"})),
    "origination URI": ("03", "3.2", clone("origination_urls", {"sip_url": US1})),
    "number": ("04", "4.1", clone("numbers", {"phone_number": NUMBER})),
    "PBX trunk": ("05", "5.1", clone("providers", {"name": "Twilio-Shared-Trunk"}, "portsip")),
    "outbound rule": ("06", "6.1", clone("outbound_rules", {"name": "Twilio E.164"}, "portsip")),
    "inbound rule": ("06", "6.2", clone("inbound_rules", {"name": "Twilio reception"}, "portsip")),
}


@pytest.mark.parametrize("what", DOUBLES)
def test_what_is_there_twice_is_a_difference_and_is_not_touched(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr("runbook_lib.sections.s03_origination.SETTLE_S", 0.0)
    number, step, double = DOUBLES[what]
    run_all(tenant=GLOBEX)
    double(sandbox)
    sandbox.clear_log()
    with pytest.raises(VerificationError) as difference:
        run_section(number, "verify", GLOBEX)
    assert difference.value.step == step
    with pytest.raises(ConflictError) as refused:
        run_section(number, "apply", GLOBEX)
    assert refused.value.step == step
    run_section(number, "plan", GLOBEX)
    assert sandbox.writes() == []
