"""The two passwords that are one pair, when something else of the PBX trunk is changed.

Neither side can be read back, so what an operator would lose here is every call out, with the trunk
Online. Each update and each rollback is tried on a PBX that keeps the password of an update that
leaves it out, and on one that loses it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from runbook_lib.errors import ConflictError, StalePlanError, VendorError
from runbook_lib.guide import RETIRE, ROLL_BACK, RUN_ORDER, TRUNK_ORDER
from runbook_lib.plan import (
    CHANGING,
    PASSWORD_AT_PBX,
    PASSWORD_AT_TWILIO,
    Action,
    Effect,
    Plan,
    Row,
)
from runbook_lib.records.journal import FILE_NAME
from runbook_lib.runbook import Runbook
from tests.conftest import CHECKOUT, TestSandbox
from tests.sections.expected import ACME_PBX_TRUNK, ACME_TRUNK, PBX_TRUNK_DRIFT
from tests.sections.test_drift import credential_list, twilio_delete, twilio_post
from tests.sections.test_safety import acme, credentials
from tests.sections.test_system_level import GLOBEX, INITECH
from tests.sections.test_tenant_level import ACME, DOMAIN, SITE, run_all, run_section
from tests.sections.test_way_back import recorded

SWITCHES = pytest.mark.parametrize("switch", ["kept", "lost"])
BY_HAND = "Rotated-By-Hand-1"
ROTATED = hashlib.sha256(BY_HAND.encode()).hexdigest()
USER, TRUNK = "acme-pbx", ACME_PBX_TRUNK["name"]
SHARED_USER, SHARED_TRUNK = "carrier-pbx", "Twilio-Shared-Trunk"
LEAVE = acme(accept_interruption=True)
PAIR = [("5.3", PASSWORD_AT_TWILIO), ("5.3", PASSWORD_AT_PBX)]
#: As somebody changes it behind everybody's back: no update, so no password is lost by it.
ONE_FIELD = {"verify_port": True}


def ours(sandbox: TestSandbox, name: str = "sip_password_acme") -> tuple[str, str]:
    """The pair as the parameters' secret has it."""
    value = (sandbox.root / f".sandbox/secrets/{name}").read_text().strip()
    digest = hashlib.sha256(value.encode()).hexdigest()
    return digest, digest


def set_switch(sandbox: TestSandbox, switch: str) -> None:
    sandbox.control("POST", "switches", {"portsip.provider_password": switch})


def drift(sandbox: TestSandbox, fields: dict[str, Any], trunk: str = TRUNK) -> None:
    patch = {"vendor": "portsip", "kind": "providers", "match": {"name": trunk}, "set": fields}
    sandbox.control("POST", "state/patch", patch)


def credential(sandbox: TestSandbox) -> str:
    path = credential_list(sandbox) + "/Credentials"
    [sid] = [one["sid"] for one in sandbox.vendors.get(f"{path}.json")["credentials"]]
    return f"{path}/{sid}.json"


def rotate(sandbox: TestSandbox, user: str = USER, trunk: str = TRUNK) -> None:
    """Both sides get another password by hand, some time after the last run."""
    state = sandbox.control("GET", "state").json()["twilio"]["credentials"].values()
    [owner] = [one["credential_list_sid"] for one in state if one["username"] == user]
    [sid] = [one["sid"] for one in state if one["username"] == user]
    account = sandbox.vendors.account("SIP/CredentialLists")["credential_lists"][0]["account_sid"]
    path = f"/2010-04-01/Accounts/{account}/SIP/CredentialLists/{owner}/Credentials/{sid}.json"
    twilio_post(sandbox, path, Password=BY_HAND)
    dated = {"date_updated": "2031-01-01T00:00:00+00:00"}
    patch = {"vendor": "twilio", "kind": "credentials", "match": {"username": user}, "set": dated}
    sandbox.control("POST", "state/patch", patch)
    drift(sandbox, {"password": BY_HAND}, trunk)


@contextmanager
def restored(sandbox: TestSandbox, switch: str) -> Iterator[Any]:
    """Return what puts the vendors' state back to that of now, under the switch."""
    state = sandbox.control("GET", "state").json()

    def restore() -> None:
        sandbox.control("POST", "reset", {"state": state})
        set_switch(sandbox, switch)

    yield restore


def rows(section: str, tenant: Any, **options: Any) -> list[Row]:
    with Runbook.open(SITE, tenant, sections=(section,), **options) as book:
        return list(book.section(section).plan().rows)


def keys(rows: list[Row]) -> list[tuple[str, str]]:
    return [row.key for row in rows if row.action in CHANGING]


def roll_back(sandbox: TestSandbox, folder: Path, **options: Any) -> None:
    """Roll a record back in a record of its own, which is forgotten afterwards: the next one is as alone."""
    before = set((sandbox.root / "records/demo/acme").iterdir())
    options = {"record": folder.name, "accept_interruption": True, **options}
    try:
        with Runbook.open(SITE, ACME, mode="apply", sections=(ROLL_BACK,), **options) as book:
            run = book.section(ROLL_BACK)
            run.apply()
            run.verify()
            run.finish()
    finally:
        for made in set((sandbox.root / "records/demo/acme").iterdir()) - before:
            shutil.rmtree(made) if made.is_dir() else made.unlink()


@SWITCHES
def test_rotated_by_hand_no_update_parts_the_two_sides(sandbox: TestSandbox, switch: str) -> None:
    run_all()
    with restored(sandbox, switch) as restore:
        for setting, fields in PBX_TRUNK_DRIFT.items():
            restore()
            rotate(sandbox)
            drift(sandbox, fields)
            trunk = fields.get("name", TRUNK)
            sandbox.clear_log()
            with pytest.raises(ConflictError):
                run_section("05", "apply", ACME)
            assert sandbox.writes() == [] and sandbox.passwords(USER, trunk) == (ROTATED, ROTATED), setting
            planned = rows("05", LEAVE)
            assert keys(planned)[0] == PAIR[0] and keys(planned)[-1] == PAIR[1], setting
            effects = {row.effect for row in planned if row.key in PAIR}
            assert effects == {Effect.INTERRUPTS_OUTBOUND}, setting
            run_section("05", "apply", LEAVE)
            assert [one["vendor"] for one in sandbox.writes()] == ["twilio", "portsip"], setting
            assert sandbox.passwords(USER, TRUNK) == ours(sandbox), setting
            assert sandbox.vendors.pbx("acme.pbx.example").trunks()[TRUNK] == ACME_PBX_TRUNK, setting


@SWITCHES
def test_our_own_password_goes_with_every_update_and_interrupts_nothing(
    sandbox: TestSandbox, switch: str
) -> None:
    run_all()
    with restored(sandbox, switch) as restore:
        for setting, fields in PBX_TRUNK_DRIFT.items():
            restore()
            drift(sandbox, fields)
            planned = rows("05", LEAVE)
            assert [key[1] for key in keys(planned)] == [setting]
            [changed] = [row for row in planned if row.action in CHANGING]
            assert "password" in changed.note
            sandbox.clear_log()
            run_section("05", "apply", LEAVE if changed.effect is not Effect.NONE else ACME)
            assert len(sandbox.writes()) == 1, setting
            assert sandbox.passwords(USER, TRUNK) == ours(sandbox), setting
            assert sandbox.vendors.pbx("acme.pbx.example").trunks()[TRUNK] == ACME_PBX_TRUNK, setting


def test_a_pbx_that_was_tried_keeps_its_password(sandbox: TestSandbox, tmp_path: Path) -> None:
    run_all()
    site = YAML(typ="safe").load(CHECKOUT / SITE)
    site["site"]["pbx"]["update_keeps_password"] = True
    rotate(sandbox)
    drift(sandbox, ONE_FIELD)
    sandbox.clear_log()
    with Runbook.open(site, ACME, mode="apply") as book:
        book.section("05").apply()
    [write] = sandbox.writes()
    assert write["vendor"] == "portsip" and "password" not in json.dumps(write)
    assert sandbox.passwords(USER, TRUNK) == (ROTATED, ROTATED)
    assert sandbox.vendors.pbx("acme.pbx.example").trunks()[TRUNK] == ACME_PBX_TRUNK


def _another_reference(sandbox: TestSandbox) -> dict[str, Any]:
    secret = sandbox.root / ".sandbox/secrets/sip_password_globex"
    return acme(termination=credentials(password=f"file:{secret}"))


def _changed_secret(sandbox: TestSandbox) -> dict[str, Any]:
    """The same reference leads to another value since the last run."""
    secret = sandbox.root / ".sandbox/changed"
    secret.write_text("Abcdefgh1234X\n")
    tenant = acme(
        termination=credentials(password=f"file:{secret}"), set_password=True, accept_interruption=True
    )
    os.utime(secret, (time.time() - 60, time.time() - 60))
    run_section("02", "apply", tenant)
    secret.write_text("Abcdefgh1234Y\n")
    return acme(termination=credentials(password=f"file:{secret}"))


def _no_records(sandbox: TestSandbox) -> dict[str, Any]:
    shutil.rmtree(sandbox.root / "records")
    return acme()


def _another_tenants_records(sandbox: TestSandbox) -> dict[str, Any]:
    (sandbox.root / "records/demo/acme").rename(sandbox.root / "records/demo/other")
    return acme()


def _older_records(sandbox: TestSandbox) -> dict[str, Any]:
    """Journals from before the time of a change was kept."""
    for path in (sandbox.root / "records").glob(f"**/{FILE_NAME}"):
        events = [json.loads(line) for line in path.read_text().splitlines()]
        for event in events:
            event.pop("fields", None)
        path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return acme()


def _another_target(sandbox: TestSandbox) -> dict[str, Any]:
    for path in (sandbox.root / "records").glob(f"**/{FILE_NAME}"):
        path.write_text(path.read_text().replace('"site": "demo"', '"site": "another"'))
    return acme()


@SWITCHES
@pytest.mark.parametrize(
    "doubt",
    [
        _another_reference,
        _changed_secret,
        _no_records,
        _another_tenants_records,
        _older_records,
        _another_target,
    ],
)
def test_in_doubt_both_sides_are_written(sandbox: TestSandbox, switch: str, doubt: Any) -> None:
    run_all()
    set_switch(sandbox, switch)
    tenant = doubt(sandbox)
    before = sandbox.passwords(USER, TRUNK)
    drift(sandbox, ONE_FIELD)
    sandbox.clear_log()
    with pytest.raises(ConflictError):
        run_section("05", "apply", tenant)
    assert sandbox.writes() == [] and sandbox.passwords(USER, TRUNK) == before
    tenant["tenant"]["accept_interruption"] = True
    assert set(PAIR) <= set(keys(rows("05", tenant)))
    run_section("05", "apply", tenant)
    at_twilio, at_pbx = sandbox.passwords(USER, TRUNK)
    assert at_twilio == at_pbx is not None
    # From here on it is ours.
    drift(sandbox, ONE_FIELD)
    assert keys(rows("05", tenant)) == [("5.4", "verify port")]


@SWITCHES
def test_the_pair_of_a_shared_trunk(sandbox: TestSandbox, switch: str, tmp_path: Path) -> None:
    """Whose run wrote it does not matter; a tenant's run neither changes the trunk nor its password."""
    run_all(tenant=GLOBEX)
    run_all(tenant=INITECH)
    set_switch(sandbox, switch)
    drift(sandbox, ONE_FIELD, SHARED_TRUNK)
    for number in TRUNK_ORDER:
        run_section(number, "apply", "trunk:carrier")
    assert sandbox.passwords(SHARED_USER, SHARED_TRUNK) == ours(sandbox, "sip_password_shared")
    rotate(sandbox, SHARED_USER, SHARED_TRUNK)
    drift(sandbox, ONE_FIELD, SHARED_TRUNK)
    for tenant in (GLOBEX, INITECH, "trunk:carrier"):
        with pytest.raises(ConflictError):
            run_section("05", "apply", tenant)
    assert sandbox.passwords(SHARED_USER, SHARED_TRUNK) == (ROTATED, ROTATED)
    site = YAML(typ="safe").load(CHECKOUT / SITE)
    site["site"]["shared_trunks"]["carrier"]["accept_interruption"] = True
    with Runbook.open(site, "trunk:carrier", mode="apply") as book:
        book.section("05").apply()
    assert sandbox.passwords(SHARED_USER, SHARED_TRUNK) == ours(sandbox, "sip_password_shared")


@pytest.mark.parametrize("set_password", [False, True], ids=["", "set_password"])
def test_what_was_approved_is_what_is_written(
    sandbox: TestSandbox, tmp_path: Path, set_password: bool
) -> None:
    """A whole plan, applied section by section, also a second time; rotated again in between, it is stale."""
    run_all()
    set_switch(sandbox, "lost")
    rotate(sandbox)
    drift(sandbox, ONE_FIELD)
    tenant = acme(accept_interruption=True, set_password=set_password)
    approval = approved(tenant, tmp_path)
    assert approval["approved_plan"] == approved(tenant, tmp_path)["approved_plan"]
    for _ in range(2):
        for number in RUN_ORDER:
            with Runbook.open(SITE, tenant, mode="apply", **approval) as book:
                book.section(number).apply()
        assert sandbox.passwords(USER, TRUNK) == ours(sandbox)
        assert sandbox.vendors.pbx("acme.pbx.example").trunks()[TRUNK] == ACME_PBX_TRUNK


def test_a_rotation_after_the_approval_makes_the_plan_stale(sandbox: TestSandbox, tmp_path: Path) -> None:
    run_all()
    drift(sandbox, ONE_FIELD)
    approval = approved(LEAVE, tmp_path)
    rotate(sandbox)
    sandbox.clear_log()
    with pytest.raises(StalePlanError), Runbook.open(SITE, LEAVE, mode="apply", **approval) as book:
        book.section("05").apply()
    assert sandbox.writes() == [] and sandbox.passwords(USER, TRUNK) == (ROTATED, ROTATED)


@SWITCHES
@pytest.mark.parametrize("kind", ["reset_before", "reset_after", "not_json"])
@pytest.mark.parametrize("half", ["twilio", "portsip"])
def test_a_lost_answer_parts_nothing(
    sandbox: TestSandbox, switch: str, kind: str, half: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runbook_lib.sections.base.SETTLE_S", 0.5)
    run_all()
    set_switch(sandbox, switch)
    rotate(sandbox)
    drift(sandbox, ONE_FIELD)
    path = {"twilio": "/Credentials/", "portsip": "/providers/"}[half]
    fault = {"vendor": half, "method": "POST", "path": path, "kind": kind, "nth": 1, "count": 1}
    sandbox.control("POST", "faults", fault)
    run_section("05", "apply", LEAVE)
    assert sandbox.passwords(USER, TRUNK) == ours(sandbox)
    assert sandbox.vendors.pbx("acme.pbx.example").trunks()[TRUNK] == ACME_PBX_TRUNK


@SWITCHES
def test_a_change_that_the_pbx_refuses_leaves_both_sides_the_same(sandbox: TestSandbox, switch: str) -> None:
    run_all()
    set_switch(sandbox, switch)
    rotate(sandbox)
    drift(sandbox, ONE_FIELD)
    fault = {"vendor": "portsip", "method": "POST", "path": "/providers/", "kind": "status", "status": 400}
    sandbox.control("POST", "faults", {**fault, "nth": 1, "count": 1})
    with pytest.raises(VendorError) as caught:
        run_section("05", "apply", LEAVE)
    assert caught.value.status == 400
    assert sandbox.passwords(USER, TRUNK) == ours(sandbox)


@SWITCHES
def test_a_pbx_that_takes_neither_is_put_right_by_the_next_run(sandbox: TestSandbox, switch: str) -> None:
    run_all()
    set_switch(sandbox, switch)
    rotate(sandbox)
    drift(sandbox, ONE_FIELD)
    fault = {"vendor": "portsip", "method": "POST", "path": "/providers/", "kind": "status", "status": 403}
    sandbox.control("POST", "faults", {**fault, "nth": 1, "count": 0})
    with pytest.raises(VendorError):
        run_section("05", "apply", LEAVE)
    at_twilio, at_pbx = sandbox.passwords(USER, TRUNK)
    assert at_twilio != at_pbx
    sandbox.control("DELETE", "faults")
    run_section("05", "apply", ACME)  # no call gets out now, so none is interrupted
    assert sandbox.passwords(USER, TRUNK) == ours(sandbox)


def test_without_a_user_at_twilio_section_2_comes_first(sandbox: TestSandbox) -> None:
    run_all()
    rotate(sandbox)
    drift(sandbox, ONE_FIELD)
    twilio_delete(sandbox, credential(sandbox))
    [row] = [row for row in rows("05", LEAVE) if row.action is Action.BLOCKED]
    assert row.key == PAIR[0]
    with pytest.raises(ConflictError):
        run_section("05", "apply", LEAVE)
    tenant = acme(accept_interruption=True, set_password=True)
    with Runbook.open(SITE, tenant) as book:
        assert not [row for part in book.plan().slices for row in part.stopping]
    run_all(tenant=tenant)
    assert sandbox.passwords(USER, TRUNK) == ours(sandbox)
    assert sandbox.vendors.trunk(DOMAIN) == ACME_TRUNK


@SWITCHES
@pytest.mark.parametrize("rotated", [False, True], ids=["ours", "rotated by hand"])
def test_no_rollback_of_an_update_parts_the_two_sides(
    sandbox: TestSandbox, switch: str, rotated: bool
) -> None:
    """A record that changed one field, rolled back: for each field, before the numbers are on the trunk."""
    for number in RUN_ORDER[:-1]:
        run_section(number)
    with restored(sandbox, switch) as restore:
        for nth, (setting, fields) in enumerate(PBX_TRUNK_DRIFT.items()):
            restore()
            drift(sandbox, fields)
            folder = _recorded(sandbox, nth)
            if rotated:
                rotate(sandbox)
            before = sandbox.passwords(USER, TRUNK)
            sandbox.clear_log()
            planned = rows(ROLL_BACK, ACME, record=folder.name, accept_interruption=True)
            assert len({row.key for row in planned}) == len(planned), setting
            if rotated:
                with pytest.raises(ConflictError):
                    roll_back(sandbox, folder, accept_interruption=False)
                assert sandbox.writes() == [] and sandbox.passwords(USER, TRUNK) == before, setting
            roll_back(sandbox, folder)
            at_twilio, at_pbx = sandbox.passwords(USER, fields.get("name", TRUNK))
            if "auth_id" in fields:
                # There is no such user, as there was none before the record; the row says what that means.
                [row] = [row for row in planned if row.key == PAIR[1]]
                assert (row.action, row.effect) == (Action.UPDATE, Effect.INTERRUPTS_OUTBOUND)
            else:
                assert (PAIR[0] in keys(planned)) is rotated, setting
                assert (at_twilio, at_pbx) == ours(sandbox), setting
            shutil.rmtree(folder)


@SWITCHES
def test_a_rollback_that_keeps_or_was_cut_off(sandbox: TestSandbox, switch: str, tmp_path: Path) -> None:
    """Cut off between the two halves, it is finished under the same approval."""
    run_all()
    set_switch(sandbox, switch)
    drift(sandbox, ONE_FIELD)
    folder = _recorded(sandbox, 1)
    rotate(sandbox)
    options = {"sections": (ROLL_BACK,), "record": folder.name, "accept_interruption": True}
    approval = approved(ACME, tmp_path, **options)
    fault = {"vendor": "portsip", "method": "POST", "path": "/providers/", "kind": "status", "status": 403}
    sandbox.control("POST", "faults", {**fault, "nth": 1, "count": 0})
    with pytest.raises(VendorError), Runbook.open(SITE, ACME, mode="apply", **options, **approval) as book:
        book.section(ROLL_BACK).apply()
    sandbox.control("DELETE", "faults")
    for _ in range(2):
        with Runbook.open(SITE, ACME, mode="apply", **options, **approval) as book:
            book.section(ROLL_BACK).apply()
        assert sandbox.passwords(USER, TRUNK) == ours(sandbox)


@SWITCHES
@pytest.mark.parametrize("section", [ROLL_BACK, RETIRE])
def test_what_takes_everything_away_leaves_no_half(sandbox: TestSandbox, switch: str, section: str) -> None:
    with recorded(sandbox, "acme"):
        run_all()
    set_switch(sandbox, switch)
    rotate(sandbox)
    with Runbook.open(SITE, ACME, mode="apply", sections=(section,), accept_interruption=True) as book:
        book.section(section).apply()
    state = sandbox.control("GET", "state").json()
    assert not [one for one in state["twilio"]["credentials"].values() if one["username"] == USER]
    assert not [one for one in state["portsip"]["providers"].values() if one["name"] == TRUNK]


@SWITCHES
def test_a_tenant_that_leaves_a_shared_trunk_leaves_its_pair(sandbox: TestSandbox, switch: str) -> None:
    for number, (name, tenant) in enumerate((("globex", GLOBEX), ("initech", INITECH))):
        with recorded(sandbox, name, number):
            run_all(tenant=tenant)
    set_switch(sandbox, switch)
    rotate(sandbox, SHARED_USER, SHARED_TRUNK)
    for section, tenant in ((ROLL_BACK, INITECH), (RETIRE, GLOBEX)):
        with Runbook.open(SITE, tenant, mode="apply", sections=(section,), accept_interruption=True) as book:
            book.section(section).apply()
        assert sandbox.passwords(SHARED_USER, SHARED_TRUNK) == (ROTATED, ROTATED)


def approved(tenant: Any, folder: Path, **options: Any) -> dict[str, str]:
    with Runbook.open(SITE, tenant, **options) as book:
        plan: Plan = book.plan()
    (folder / "plan.json").write_text(json.dumps(plan.to_document()))
    return {"plan_file": str(folder / "plan.json"), "approved_plan": plan.digest, "approved_by": "pat"}


def _recorded(sandbox: TestSandbox, number: int) -> Path:
    """A record of the run that puts the trunk right; its name is no longer than a run's."""
    with recorded(sandbox, "acme", 1 + number % 9, chained=False) as folder:
        run_section("05", "apply", LEAVE)
    return folder
