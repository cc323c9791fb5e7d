"""A record beside today: every section, also after the first difference, and kept as a record of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from runbook_lib.batch import Observer, run_tenants
from runbook_lib.cli.records import app
from runbook_lib.records.chain import Chain
from runbook_lib.records.verify import verify_records
from tests.conftest import CHECKOUT, TestSandbox
from tests.records.conftest import make
from tests.records.test_changed_outside import by_hand
from tests.sections.test_tenant_level import ACME, SITE, run_section


def cli(records: Path, *arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments, "--records", str(records)], env={"COLUMNS": "200"})


def kept(records: Path) -> dict[str, Any]:
    run = Chain(records).entries()[-1].run
    return json.loads((records / str(run) / "comparison.json").read_text())


def test_every_section_also_after_a_difference(sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    records = sandbox.root / "records"
    (tenant,) = run_tenants(Path(SITE), [Path(ACME)], "apply", {}, Observer()).tenants
    run = tenant.folder.name
    sandbox.clear_log()
    assert cli(records, "compare", run).exit_code == 0
    assert {row["comparison"] for row in kept(records)["rows"]} == {"as left"}
    # A difference in 01 and another in 05; the parameters of today say something else again.
    sid = sandbox.vendors.trunk_sids()["acme-pbx.pstn.twilio.com"]
    sandbox.vendors.twilio_http.post(f"/v1/Trunks/{sid}", data={"FriendlyName": "by hand"}).raise_for_status()
    by_hand(sandbox, 999)
    path = sandbox.root / ACME
    path.write_text(path.read_text() + "  pbx_trunk:\n    max_concurrent_calls: 7\n")
    assert cli(records, "compare", run).exit_code == 1
    found = {row["setting"]: row for row in kept(records)["rows"] if row["comparison"] == "differs"}
    calls, name = found.pop("max concurrent calls"), found.pop("friendly name")
    assert (calls["left"], calls["expected"], calls["today"]) == (100000, 100000, 999)
    assert (name["left"], name["today"]) == ("PortSIP acme", "by hand")
    assert found == {} and kept(records)["unread"] == []
    assert sandbox.writes()[2:] == []  # nothing but what was done by hand
    assert verify_records(records).problems == ()
    last = Chain(records).entries()[-1]
    assert cli(records, "show", str(last.run)).exit_code == 0
    assert kept(records)["of"] == f"demo/acme/{run}"


def test_a_section_that_cannot_be_read_keeps_no_other_from_it(sandbox: TestSandbox) -> None:
    records = sandbox.root / "records"
    run = run_section("01")["run_id"]
    sandbox.control(
        "POST", "faults", {"kind": "status", "vendor": "twilio", "path": "/v1/Trunks", "count": 0}
    )
    assert cli(records, "compare", run).exit_code == 1
    assert [part["section"] for part in kept(records)["unread"]] == ["01"]
    assert verify_records(records).problems == ()


def test_what_is_not_the_record_is_not_compared(tmp_path: Path) -> None:
    records = tmp_path / "records"
    make(records, "demo/acme/1")
    path = records / "demo/acme/1/record.json"
    path.chmod(0o644)
    path.write_text("{}")
    assert cli(records, "compare", "demo/acme/1").exit_code == 1
    assert cli(records, "compare", "none").exit_code == 3
    assert len(Chain(records).entries()) == 2
