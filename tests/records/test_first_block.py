"""What a record says first: who changed what from what to what, in every form that a record has."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from typer.testing import CliRunner

from runbook_lib.batch import Observer, run_tenants
from runbook_lib.cli.records import app
from runbook_lib.errors import VendorError
from runbook_lib.notebook.section_page import SectionPage
from runbook_lib.notebook.tables import first_block_shown
from runbook_lib.records.first_block import first_block, interrupting_writes
from runbook_lib.records.register import NO_EFFECT, facts_of
from runbook_lib.runbook import Runbook
from runbook_lib.statement import CONFIRMED
from tests.conftest import CHECKOUT, TestSandbox
from tests.sections.test_tenant_level import ACME, SITE, run_all

CALLS = "max concurrent calls"


def row(action: str = "update", **changes: Any) -> dict[str, Any]:
    plain = {
        "step": "5.4",
        "setting": CALLS,
        "current": 50,
        "desired": 60,
        "action": action,
        "effect": "none",
    }
    return plain | changes


def change(*rows: dict[str, Any], status: int | None = 200, sent: str = "2026-11-23T10:00:01+00:00") -> Any:
    return {"section": "05", "status": status, "sent": sent, "rows": [*rows]}


def record(*changes: Any, after: Any = (), ok: bool | None = True, **more: Any) -> dict[str, Any]:
    return {
        "mode": "apply",
        "operator": "pat@desk",
        "site": "demo",
        "tenant": "acme",
        "target": {"target": "live"},
        "started": "2026-11-23T10:00:00+00:00",
        "outcome": "succeeded",
        "changes": [*changes],
        "after": [*after],
        "verification": [{"section": "05", "ok": ok, "at": "2026-11-23T10:00:05+00:00"}],
        **more,
    }


def read_back(value: Any, action: str = "in place", **changes: Any) -> dict[str, Any]:
    return {"section": "05", "step": "5.4", "setting": CALLS, "value": value, "action": action, **changes}


def test_one_value_old_and_new() -> None:
    in_place = row("in place", setting="port", current=5060, desired=5060)
    block = first_block(record(change(in_place, row()), after=[read_back(60)], ticket="CHG-7"))
    [changed] = block.to_data()["changed"]
    assert (changed["from"], changed["to"], changed["read_back"], changed["result"]) == (
        50,
        60,
        60,
        "as expected",
    )
    for said in (
        "pat@desk",
        CALLS,
        "from 50 to 60",
        "acme",
        "CHG-7",
        "2026-11-23 10:00:05 UTC",
        "not measured",
    ):
        assert said in block.sentence
    assert block.sentence.count(".") == 2  # one sentence, and the number of a step


@pytest.mark.parametrize(
    ("changes", "after", "ok", "expected"),
    [
        # A second write of the same setting, and one that was refused.
        (
            [change(row()), change(row(current=60, desired=70))],
            [read_back(70)],
            True,
            [(50, 70, "as expected", True)],
        ),
        ([change(row(), status=409), change(row())], [read_back(60)], True, [(50, 60, "as expected", True)]),
        ([change(row(), status=400)], [read_back(50, "update")], False, []),
        # Nobody knows whether it arrived; reading back shows what is there.
        ([change(row(), status=None)], [read_back(60)], True, [(50, 60, "as expected", False)]),
        ([change(row(), status=503)], [], None, [(50, 60, "not read back", False)]),
        ([change(row())], [read_back(55, "update")], False, [(50, 60, "differs", True)]),
        ([change(row("remove", desired=None))], [], True, [(50, None, "as expected", True)]),
        ([change(row("remove", desired=None))], [], None, [(50, None, "not read back", True)]),
        (
            [change(row("create", current=None))],
            [read_back(None, "unreadable")],
            True,
            [(None, 60, "cannot be read", True)],
        ),
    ],
)
def test_each_setting_once_as_it_was_and_as_it_became(
    changes: Any, after: Any, ok: bool | None, expected: list[Any]
) -> None:
    rows = first_block(record(*changes, after=after, ok=ok)).rows
    assert [(one.before, one.after, one.result, one.is_certain) for one in rows] == expected


def test_what_does_nothing_to_calls_says_so_in_every_form() -> None:
    shown = first_block_shown(first_block(record(change(row()), after=[read_back(60)])))
    [table] = shown.tables
    html = re.sub(r"<[^>]*>", "|", table.html())
    for form in (html, table.text(), table.markdown()):
        assert "none" in form
    assert table.plain(table.rows[0])[4] == "none"


AL = {"who": "al", "how": "ssh signature"}
EMERGENCY = {"who": "pat@desk", "how": "emergency, not approved", "reason": "line down"}


@pytest.mark.parametrize(
    ("by", "said"),
    [
        ({"how": "auto-approval"}, "nobody had approved"),
        (
            {"who": "pat@desk", "how": CONFIRMED},
            "nobody else had approved the plan, which pat@desk confirmed",
        ),
        (
            {"who": "al", "how": "claimed"},
            "al as typed by the operator (claimed), at a time that is not known",
        ),
        (AL | {"at": "2026-11-22T09:00:00+00:00"}, "2026-11-22 09:00:00 UTC by the signer's clock"),
        (AL, "at a time that is not known"),
        (EMERGENCY, "an emergency that nobody had approved: line down"),
    ],
)
def test_who_approved_and_when(by: dict[str, str], said: str) -> None:
    assert said in first_block(record(change(row()), approver={"by": by})).sentence


def test_what_was_interrupted_and_when() -> None:
    cut = row(effect="interrupts outbound")
    both = row(setting="transport", effect="interrupts both ways")
    block = first_block(
        record(
            change(row()),
            change(cut, sent="2026-11-23T10:00:02+00:00"),
            change(both, sent="2026-11-23T10:00:04+00:00"),
        )
    )
    assert "outbound and inbound calls" in block.sentence
    assert "from 2026-11-23 10:00:02 UTC to 2026-11-23 10:00:04 UTC" in block.sentence


def test_what_a_vendor_refused_interrupted_nothing() -> None:
    cut = row(effect="interrupts both ways")
    refused = record(change(cut, status=403), outcome="failed")
    assert interrupting_writes(refused) == ([], [])
    assert facts_of({}, refused).effect == NO_EFFECT and facts_of({}, refused).changed == ""
    lost = facts_of({}, record(change(cut, status=503), outcome="failed"))
    assert "interrupted" in lost.effect and "50 → 60 (it is unknown" in lost.changed


@pytest.mark.parametrize(
    "broken", [3, None, "x", [7], {"rows": 4}, [{"rows": [{"action": 1}]}], [{"rows": "x"}]]
)
@pytest.mark.parametrize(
    "part", ["changes", "after", "verification", "target", "approver", "affected", "in_flight", "started"]
)
def test_whatever_somebody_made_of_the_data(part: str, broken: Any) -> None:
    assert first_block({**record(change(row())), part: broken}).sentence


def changed_tenant(sandbox: TestSandbox, value: int = 60) -> str:
    """Acme with another number of concurrent calls, which is one setting."""
    path = sandbox.root / "changed.yaml"
    more = f"  accept_interruption: true\n  pbx_trunk:\n    max_concurrent_calls: {value}\n"
    path.write_text((sandbox.root / ACME).read_text() + more)
    return str(path)


def test_in_notebook_page_terminal_and_json(sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    monkeypatch.setenv("RUNBOOK_TICKET", "CHG-7")
    run_all()
    sandbox.clear_log()
    (tenant,) = run_tenants(
        Path(SITE), [Path(changed_tenant(sandbox))], "apply", {}, Observer(), ("05",)
    ).tenants
    assert tenant.outcome == "succeeded", tenant
    assert len(sandbox.writes()) == 1
    stored = json.loads((tenant.folder / "record.json").read_text())
    assert [*stored][:2] == ["format", "first"]
    [changed] = stored["first"]["changed"]
    assert (changed["step"], changed["setting"], changed["to"], changed["result"]) == (
        "5.4",
        CALLS,
        60,
        "as expected",
    )

    told = re.escape(CALLS) + r".*100000.*60"
    notebook = nbformat.read(tenant.folder / "05_pbx_trunk.ipynb", as_version=4)
    first = next(
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and cell.outputs and "data" in cell.outputs[0]
    )
    shown = first.outputs[0]["data"]["text/plain"]
    assert re.search(told, shown) and "CHG-7" in shown
    carried_out = [
        output["data"]["text/plain"]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "Carried out" in output.get("data", {}).get("text/plain", "")
    ]
    assert len(carried_out) == 1 and CALLS in carried_out[0] and "in place" not in carried_out[0]
    for page in ("index.html", "05_pbx_trunk.html"):
        text = re.sub(r"<[^>]*>", "", (tenant.folder / page).read_text().partition("What changed")[2])
        assert CALLS in text[:500] and "60" in text[:500]

    arguments = ["show", tenant.folder.name, "--records", str(sandbox.root / "records")]
    lines = CliRunner().invoke(app, arguments, env={"COLUMNS": "120"}).stdout.splitlines()
    assert any(re.search(told, line) for line in lines[:24])  # a screen
    data = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert data["first"] == stored["first"] and [*data][:2] == ["run", "first"]


def test_a_page_that_failed_says_first_what_it_did(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write was answered with an error of the vendor's: it may have arrived, and the run failed."""
    run_all()
    seen: list[str] = []

    class Place:
        def update(self, shown: Any) -> None:
            seen.append(shown.text())

    monkeypatch.setattr("IPython.display.display", lambda *_, **__: Place())
    page = SectionPage(
        "05",
        SITE,
        changed_tenant(sandbox),
        "apply",
        dict.fromkeys(("plan_file", "approved_plan", "approved_by")),
        {},
    )
    page.show_header()
    sandbox.control(
        "POST",
        "faults",
        {"kind": "status", "vendor": "portsip", "method": "POST", "path": "/api/providers/", "count": 0},
    )
    with pytest.raises(VendorError):
        page.apply()
    page._runbook.context.close()
    assert "the run failed" in seen[-1] and CALLS in seen[-1] and os.linesep in seen[-1]


def test_a_section_says_it_before_its_record_is_closed(sandbox: TestSandbox) -> None:
    run_all()
    with Runbook.open(SITE, changed_tenant(sandbox), mode="apply") as runbook:
        run = runbook.section("05")
        run.apply()
        block = runbook.first_block(run.result)
    stored = json.loads(
        next((sandbox.root / "records/demo/acme").glob(f"{runbook.run_id}/record.json")).read_text()
    )
    assert block.to_data() == stored["first"]
