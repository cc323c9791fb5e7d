"""The register as data: what an auditor asks of a period, answered from the records themselves."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from runbook_lib.cli.records import app
from runbook_lib.records import chain
from runbook_lib.records import register as register_module
from runbook_lib.records.chain import Chain
from runbook_lib.records.record import close_record, open_record, write_record
from runbook_lib.records.register import Reason, register
from runbook_lib.records.result import write_json, write_result
from runbook_lib.statement import CONFIRMED
from tests.records.conftest import make

SIGNED = {"who": "al@corp", "how": "ssh signature", "key": "SHA256:x", "at": "2026-11-22T09:00:00+00:00"}
BY = [{"kind": "account", "name": "pat", "known": "observed"}]
AUTHOR = [{"kind": "account", "name": "chris", "known": "observed"}]
WRITE = {
    "at": "2026-11-23T10:00:01.000+00:00",
    "event": "sending",
    "entry": "1",
    "target": {},
    "section": "05",
    "resource": "PBX trunk T",
    "vendor": "PortSIP",
    "method": "POST",
    "path": "/api/providers/1",
    "body": {},
    "before": {},
    "rows": [
        {
            "step": "5.4",
            "setting": "max concurrent calls",
            "desired": 60,
            "current": 50,
            "action": "update",
            "effect": "interrupts outbound",
        }
    ],
}
ANSWER = {
    "at": "2026-11-23T10:00:02.000+00:00",
    "event": "answered",
    "entry": "1",
    "status": 200,
    "request_id": None,
    "seconds": 0.1,
    "result": None,
    "error": None,
}


@pytest.fixture(autouse=True)
def _day(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(chain, "now", lambda: "2026-11-23T12:00:00+00:00")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def add(
    records: Path, run: str, *, by: Any = SIGNED, author: Any = AUTHOR, clocks: Any = None, **opening: Any
) -> None:
    """A closed record of one changed value, approved by somebody else under a ticket: nothing to look at."""
    folder = records / run
    site, tenant, _ = run.split("/")
    target = {"target": "sandbox", "site": site, "twilio_account": "AC1", "pbx": "sandbox"}
    if undoes := opening.pop("undoes", None):
        target["undoes"] = f"{undoes} sha256:0"
    affected = opening.pop("affected", None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runbook_lib.records.record.plain_identities", lambda: BY)
        for name, value in {"TICKET": "CHG-1", **opening}.items():
            if value is None:
                patch.delenv(f"RUNBOOK_{name}", raising=False)
            else:
                patch.setenv(f"RUNBOOK_{name}", value)
        open_record(
            records,
            folder,
            mode="apply",
            site=site,
            tenant=tenant,
            target=target,
            order=("05",),
            files={},
            parameters={"tenant": {"name": tenant, "pbx_domain": f"{tenant}.example"}},
            approval={"plan": "sha256:1", "by": by, "author": author},
            affected=affected,
        )
    (folder / "journal.jsonl").write_text("".join(json.dumps(event) + "\n" for event in (WRITE, ANSWER)))
    section = {"section": "05", "title": "The trunk", "outcome": "succeeded", "message": ""}
    rows = [{**WRITE["rows"][0], "current": 60, "action": "in place"}]
    result = {
        **section,
        "approved_plan": "sha256:1",
        "approved_by": by,
        "started": "2026-11-23T10:00:00+00:00",
        "ended": "2026-11-23T10:00:05+00:00",
        "plan": WRITE["rows"],
        "verification": {"at": "2026-11-23T10:00:04+00:00", "ok": True, "rows": rows, "differences": []},
        "clocks": clocks or {},
    }
    write_result(folder, "05", result)
    write_json(
        folder / "run.json",
        {"outcome": "succeeded", "ended": "2026-11-23T10:00:05+00:00", "sections": [section]},
    )
    write_record(folder)
    close_record(records, folder)


def cli(records: Path, *arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments, "--records", str(records)], env={"COLUMNS": "200"})


def listed(records: Path, *arguments: str) -> list[dict[str, Any]]:
    return json.loads(cli(records, "list", "--json", *arguments).stdout)["runs"]


def test_every_question_is_answered_in_json_and_csv(tmp_path: Path) -> None:
    add(tmp_path, "demo/acme/1")
    add(tmp_path, "demo/acme/2", undoes="1")
    [first, _] = listed(tmp_path)
    expected = {
        "run": "demo/acme/1",
        "ran_by": "pat (account, observed)",
        "opened": "2026-11-23T12:00:00+00:00",
        "ticket": "CHG-1",
        "approver": "al@corp",
        "approval": "ssh signature",
        "approved_at": "2026-11-22T09:00:00+00:00",
        "changed": "max concurrent calls: 50 → 60",
        "effect": "outbound calls interrupted, as planned",
        "verified": True,
        "read_back_at": "2026-11-23T10:00:04+00:00",
        "rolled_back_by": ["2"],
        "outcome": "succeeded",
        "exceptions": [],
    }
    assert {name: first[name] for name in expected} == expected
    rows = list(csv.DictReader(io.StringIO(cli(tmp_path, "list", "--csv").stdout)))
    assert [row["run"] for row in rows] == ["demo/acme/1", "demo/acme/2"]
    assert (rows[0]["approver"], rows[0]["verified"], rows[0]["rolled_back_by"]) == ("al@corp", "yes", "2")
    assert (rows[0]["on_hold"], rows[0]["exceptions"], rows[1]["rolled_back_by"]) == ("no", "none", "none")
    assert cli(tmp_path, "list", "--csv", "--json").exit_code == 3


EXCEPTIONS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing": ({}, []),
    "no ticket": ({"TICKET": None}, [Reason.NO_TICKET]),
    "automatic": ({"by": {"how": "auto-approval"}, "author": []}, [Reason.AUTO_APPROVED]),
    "confirmed": ({"by": {"who": "al", "how": CONFIRMED}, "author": []}, [Reason.AUTO_APPROVED]),
    "emergency": (
        {"by": {"who": "pat", "how": "emergency, not approved"}, "EMERGENCY": "line down"},
        [Reason.UNREVIEWED],
    ),
    "author": ({"author": [{**AUTHOR[0], "name": "AL"}]}, [Reason.APPROVER_IS_AUTHOR]),
    "two approvers": ({"by": SIGNED | {"who": "bo@corp, chris@corp"}}, [Reason.APPROVER_IS_AUTHOR]),
    "self": ({"by": {"who": "pat", "how": "self-approved, claimed"}}, [Reason.APPROVER_IS_AUTHOR]),
    "clock": ({"clocks": {"Twilio": -900.0}}, [Reason.CLOCK_OFF]),
    "clock within a minute": ({"clocks": {"Twilio": 30.0}}, []),
}  # fmt: skip


@pytest.mark.parametrize("case", EXCEPTIONS)
def test_exceptions(tmp_path: Path, case: str) -> None:
    changes, reasons = EXCEPTIONS[case]
    add(tmp_path, "demo/acme/1", **changes)
    [row] = register(tmp_path, Chain(tmp_path).entries())
    assert list(row.reasons) == [str(reason) for reason in reasons]
    found = listed(tmp_path, "--exceptions")
    assert [one["exceptions"] for one in found] == ([list(row.reasons)] if reasons else [])
    output = cli(tmp_path, "list", "--exceptions")
    assert output.exit_code == 0
    assert ("demo/acme/1" in output.stdout) == bool(reasons)


def test_a_weaker_policy_and_a_clock_that_was_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path, "demo/acme/1")
    path = tmp_path / "demo/acme/1/record.json"
    path.chmod(0o644)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"policy_compared": "weaker"}))
    monkeypatch.setattr(chain, "now", lambda: "2026-11-23T11:00:00+00:00")
    add(tmp_path, "demo/acme/2")
    first, second = register(tmp_path, Chain(tmp_path).entries())
    assert first.reasons == (Reason.WEAKER_POLICY,) and second.reasons == (Reason.CLOCK_OFF,)
    # Its record was changed: that is told as well, and is a problem.
    assert first.problems and cli(tmp_path, "list", "--exceptions").exit_code == 1


FILTERS: dict[str, tuple[tuple[str, ...], str]] = {
    "the day": (("--since", "2026-11-23", "--until", "2026-11-23"), "123"),
    "later": (("--since", "2026-11-24"), ""),
    "earlier": (("--until", "2026-11-22"), ""),
    "up to a time": (("--until", "2026-11-23T12:00:00"), ""),
    "in another zone": (("--since", "2026-11-23T14:00:00+02:00"), "123"),
    "ticket": (("--ticket", "chg-1"), "1"),
    "approver": (("--approver", "al@"), "12"),
    "outcome": (("--outcome", "failed"), ""),
    "tenant": (("--tenant", "acme"), "1"),
    "a tenant of the shared trunk": (("--tenant", "globex"), "23"),
    "another": (("--tenant", "umbrella"), ""),
    "all of it": (("--tenant", "globex", "--ticket", "CHG-2", "--outcome", "succeeded"), "2"),
}


@pytest.mark.parametrize("case", FILTERS)
def test_filters(tmp_path: Path, case: str) -> None:
    add(tmp_path, "demo/acme/1")
    add(tmp_path, "demo/globex/2", TICKET="CHG-2")
    affected = [{"name": "Globex Logistics", "pbx_domain": "globex.example"}]
    add(tmp_path, "demo/trunk-carrier/3", TICKET="CHG-3", by=SIGNED | {"who": "bo"}, affected=affected)
    arguments, expected = FILTERS[case]
    assert "".join(row["run"][-1] for row in listed(tmp_path, *arguments)) == expected
    assert cli(tmp_path, "list", *arguments).exit_code == 0


def test_a_time_that_is_none(tmp_path: Path) -> None:
    make(tmp_path, "demo/acme/1")
    assert cli(tmp_path, "list", "--since", "yesterday").exit_code == 3


def _forged(path: Path) -> None:
    content = path.read_text().replace("CHG-1", "CHG-9")
    path.chmod(0o644)
    path.write_text(content)


TAMPERED: dict[str, Callable[[Path], None]] = {
    "record.json": lambda run: _forged(run / "record.json"),
    "opening.json": lambda run: _forged(run / "opening.json"),
    "gone": lambda run: (run / "record.json").unlink(),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_what_is_remembered_counts_only_while_the_files_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.setattr(register_module, "MANY", 1)
    monkeypatch.setattr(register_module, "FEW", 0)
    reads: list[str] = []
    whole = register_module.read_record
    monkeypatch.setattr(
        register_module, "read_record", lambda *given: (reads.append(given[1]), whole(*given))[1]
    )
    records = tmp_path / "records"
    add(records, "demo/acme/1")
    add(records, "demo/acme/2")
    entries = Chain(records).entries()
    before = register(records, entries)
    assert len(reads) == 2
    assert register(records, entries) == before and len(reads) == 2
    assert not [path for path in records.iterdir() if "register" in path.name]
    TAMPERED[case](records / "demo/acme/2")
    after = register(records, entries)
    assert after[0] == before[0] and after[1].problems and len(reads) == 3
    # Where others may write the cache, it is not believed.
    [cache] = (tmp_path / "cache").rglob("*.json")
    cache.chmod(0o666)
    register(records, entries)
    assert len(reads) == 5
