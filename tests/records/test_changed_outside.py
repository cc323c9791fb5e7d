"""What was changed outside: a value that is there and is not the one that the newest run left."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from runbook_lib.guide import ROLL_BACK
from runbook_lib.keys import pbx_trunk
from runbook_lib.plan import Action, Left, Row
from runbook_lib.records import ownership
from runbook_lib.records.chain import Chain
from runbook_lib.records.ownership import Ownership
from runbook_lib.records.register import Reason, register
from runbook_lib.runbook import Runbook
from tests.conftest import TestSandbox
from tests.records.test_first_block import changed_tenant
from tests.sections.test_tenant_level import ACME, SITE, run_all, run_section
from tests.sections.test_way_back import way_back

CALLS = "max concurrent calls"


def outside(tenant: str = ACME, number: str = "05") -> dict[str, Left]:
    with Runbook.open(SITE, tenant) as runbook:
        rows = runbook.section(number).plan().rows
    return {row.setting: row.outside for row in rows if row.outside}


def by_hand(sandbox: TestSandbox, value: int) -> None:
    """Somebody changes the number of calls at the PBX."""
    pbx = sandbox.vendors.pbx("acme.pbx.example")
    [trunk] = [one for one in pbx.list("/providers") if one["name"] == "Twilio-Reg-Trunk"]
    whole = pbx.get(f"/providers/{trunk['id']}")
    kept = {name: one for name, one in whole.items() if name != "id" and one is not None}
    pbx.post(f"/providers/{trunk['id']}", {**kept, "concurrency": value})


def test_found_and_left(sandbox: TestSandbox) -> None:
    run_all()
    for number in ("01", "02", "03", "05", "06", "04"):
        assert outside(number=number) == {}  # as we left it, in each section
    tenant = changed_tenant(sandbox, 80)
    run = run_section("05", tenant=tenant)["run_id"]
    assert outside(tenant) == {}
    by_hand(sandbox, 999)
    left = outside(tenant)
    assert {name: (one.run, one.value) for name, one in left.items()} == {CALLS: (run, 80)}
    # Also where the parameters ask for something else, or for just that.
    assert set(outside(changed_tenant(sandbox, 90))) == {CALLS}
    assert set(outside(changed_tenant(sandbox, 999))) == {CALLS}
    result = run_section("05", tenant=changed_tenant(sandbox, 90))
    record = json.loads((sandbox.root / "records/demo/acme" / result["run_id"] / "record.json").read_text())
    [told] = record["changed_outside"]
    assert (told["setting"], told["found"], told["run"], told["value"]) == (CALLS, 999, run, 80)
    assert "changed outside" in record["first"]["sentence"]
    records = sandbox.root / "records"
    last = register(records, Chain(records).entries())[-1]
    assert Reason.CHANGED_OUTSIDE in last.reasons


def test_a_rollback_leaves_what_it_put_back(sandbox: TestSandbox) -> None:
    run_all()
    run = run_section("05", tenant=changed_tenant(sandbox, 80))["run_id"]
    way_back(ROLL_BACK, changed_tenant(sandbox, 80), record=run)
    assert outside() == {}


def test_where_the_record_is_gone_it_is_not_known(sandbox: TestSandbox) -> None:
    run_all()
    run = run_section("05", tenant=changed_tenant(sandbox, 80))["run_id"]
    folder = sandbox.root / "records/demo/acme"
    for path in folder.iterdir():
        if path.is_dir() and "05.result.json" in {one.name for one in path.iterdir()}:
            shutil.move(path, sandbox.root / path.name)
    assert run in {path.name for path in sandbox.root.iterdir()}
    by_hand(sandbox, 999)
    with Runbook.open(SITE, changed_tenant(sandbox, 90)) as runbook:
        [row] = [row for row in runbook.section("05").plan().rows if row.setting == CALLS]
    assert row.outside is None and "not known" in row.note


WRITE: dict[str, Any] = {
    "at": "2026-11-23T00:00:00.000+00:00",
    "entry": "1",
    "event": "sending",
    "target": {"target": "sandbox"},
    "section": "05",
    "resource": "PBX trunk T",
    "key": pbx_trunk("T").to_data(),
    "vendor": "PortSIP",
    "method": "POST",
    "path": "/api/providers/1",
    "body": {},
    "before": {},
}
SETTING = {"step": "5.4", "setting": CALLS, "current": 50, "action": "update", "effect": "none"}
LIVE = Row("5.4", CALLS, 70, 999, Action.UPDATE)


def journal(folder: Any, value: int, status: int | None = 200, **changes: Any) -> None:
    folder.mkdir(parents=True)
    answer = {"status": status, "request_id": None, "seconds": 0, "result": None, "error": None}
    events = [
        {**WRITE, "rows": [{**SETTING, "desired": value}], **changes},
        {"at": WRITE["at"], "entry": "1", "event": "answered", **answer},
    ]
    (folder / "journal.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))


@pytest.mark.parametrize(
    ("second", "left"),
    [
        ({}, 80),
        ({"status": 400}, 60),  # refused
        ({"status": None}, None),  # nobody knows whether it arrived
        ({"status": 503}, None),
        ({"target": {"target": "live"}}, 60),
        ({"path": "/api/providers/1/destroy"}, None),  # removed: nothing is left
        ({"key": pbx_trunk("other").to_data()}, 60),
    ],
)
def test_what_the_newest_run_left(tmp_path: Any, second: dict[str, Any], left: int | None) -> None:
    journal(tmp_path / "acme/run-1", 60)
    journal(tmp_path / "acme/run-2", 80, **second)
    found = Ownership(tmp_path, {"target": "sandbox"}).remains().of(pbx_trunk("T"), LIVE)
    assert (found.value if found else None) == left


def test_the_newest_is_the_chains_and_no_journal_is_opened(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(ownership.FEW + 4):
        journal(tmp_path / f"acme/run-{number:03}", number)
    names = [f"run-{number:03}" for number in range(ownership.FEW + 4)]
    names.append(names.pop(7))  # by its clock it was long ago
    (tmp_path / "chain.jsonl").write_text("".join(f'{{"run": "demo/acme/{name}"}}\n' for name in names))
    target = {"target": "sandbox"}
    assert Ownership(tmp_path, target).remains().of(pbx_trunk("T"), LIVE) == Left("run-007", 7, WRITE["at"])
    monkeypatch.setattr(ownership, "read_journal", lambda path: pytest.fail(f"{path} was opened"))
    assert Ownership(tmp_path, target).remains().of(pbx_trunk("T"), LIVE) == Left("run-007", 7, WRITE["at"])
