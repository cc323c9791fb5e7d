"""Small records, made through the records' own functions: folders of a few files, no vendor behind them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runbook_lib.records.chain import Chain
from runbook_lib.records.record import close_record, open_record, write_record
from runbook_lib.records.result import write_json, write_result

ROWS = [
    {
        "step": "1.1",
        "setting": "friendly name",
        "desired": "PortSIP acme",
        "current": None,
        "action": "create",
        "effect": "none",
        "note": "",
    }
]


def start(records: Path, run: str, mode: str = "apply") -> Path:
    """Open a run, as the runner does before the first section; return its folder."""
    folder = records / run
    site, tenant, _ = run.split("/")
    target = {"target": "sandbox", "site": site, "twilio_account": "AC1", "pbx": "sandbox"}
    open_record(
        records,
        folder,
        mode=mode,
        site=site,
        tenant=tenant,
        target=target,
        order=("01",),
        files={"site": "site.yaml", "tenant": "tenant.yaml"},
        parameters={"site": {"auth_token": "env:TOKEN"}, "tenant": {"name": tenant}},
    )
    return folder


def work(folder: Path, answered: bool = True) -> None:
    """Leave what a section leaves: its notebook, its result, the journal of one write."""
    (folder / "01_create_sip_trunk.ipynb").write_text(json.dumps({"cells": [folder.name]}), encoding="utf-8")
    write = {
        "at": "2026-11-23T00:00:00.000+00:00",
        "event": "sending",
        "entry": "1",
        "target": {},
        "section": "01",
        "resource": "trunk PortSIP acme",
        "vendor": "Twilio",
        "method": "POST",
        "path": "/v1/Trunks",
        "body": {},
        "before": None,
        "rows": ROWS,
    }
    answer = {
        "at": "2026-11-23T00:00:01.000+00:00",
        "event": "answered",
        "entry": "1",
        "status": 201,
        "request_id": f"RQ-{folder.name}",
        "seconds": 0.1,
        "result": "TK1",
        "error": None,
    }
    events = [write, answer] if answered else [write]
    text = "".join(json.dumps(one) + "\n" for one in events)
    (folder / "journal.jsonl").write_text(text, encoding="utf-8")
    write_result(
        folder,
        "01",
        {
            "section": "01",
            "title": "Create a SIP trunk on Twilio",
            "operator": "pat@desk",
            "approved_plan": None,
            "approved_by": {"how": "auto-approval"},
            "started": "2026-11-23T00:00:00+00:00",
            "ended": "2026-11-23T00:00:02+00:00",
            "outcome": "succeeded",
            "plan": ROWS,
            "applied": ROWS,
            "verification": {
                "ok": True,
                "rows": [{**ROWS[0], "current": "PortSIP acme", "action": "in place"}],
                "differences": [],
            },
            "error": None,
        },
    )


def finish(records: Path, folder: Path, message: str = "") -> None:
    """End a run, as the runner does after its last section."""
    section = {
        "section": "01",
        "title": "Create a SIP trunk on Twilio",
        "outcome": "succeeded",
        "message": message,
    }
    write_json(
        folder / "run.json",
        {
            "mode": "apply",
            "started": "2026-11-23T00:00:00+00:00",
            "ended": "2026-11-23T00:00:03+00:00",
            "outcome": "succeeded",
            "sections": [section],
        },
    )
    write_record(folder)
    close_record(records, folder)


def make(records: Path, run: str) -> Path:
    folder = start(records, run)
    work(folder)
    finish(records, folder)
    return folder


def make_fifty(records: Path) -> str:
    """Fifty records of five tenants; return the head, to be kept."""
    for number in range(50):
        make(records, f"demo/tenant{number % 5}/20261123T{number:06}Z-{number:06x}")
    head = Chain(records).head
    assert head is not None
    return head


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Fifty records that no test changes, and their head."""
    records = tmp_path_factory.mktemp("pristine") / "records"
    return records, make_fifty(records)


@pytest.fixture
def runs(pristine: tuple[Path, str]) -> list[str]:
    return list(dict.fromkeys(one.run for one in Chain(pristine[0]).entries()))
