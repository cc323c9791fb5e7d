"""A run for real: opened in the chain before its first section, closed after its last, verified."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from pathlib import Path

import pytest
from filelock import FileLock
from rich.console import Console

from runbook_lib.batch import Observer, SectionResult, run_tenants
from runbook_lib.batch.pages import write_index
from runbook_lib.batch.progress import summary
from runbook_lib.records import living
from runbook_lib.records.chain import Chain
from runbook_lib.records.problems import CONSISTENT, VERIFIED, Anchor
from runbook_lib.records.verify import verify_records
from runbook_lib.secret import remember
from tests.conftest import CHECKOUT, TestSandbox
from tests.records.conftest import make

SITE, ACME = Path("parameters/sandbox/site.yaml"), Path("parameters/sandbox/acme.yaml")


class Onlooker(Observer):
    """Notes, before each section, how the chain and the vendors stand."""

    def __init__(self, sandbox: TestSandbox) -> None:
        self.sandbox = sandbox
        self.seen: list[tuple[list[str], int]] = []

    def on_section_start(self, tenant: str, section: str) -> None:
        entries = Chain(self.sandbox.root / "records").entries()
        self.seen.append(([one.event for one in entries], len(self.sandbox.writes())))


@pytest.fixture(autouse=True)
def _library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))


def test_an_apply_is_a_record_in_the_chain(sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBOOK_TICKET", "CHG-7")
    sandbox.clear_log()
    onlooker = Onlooker(sandbox)
    (tenant,) = run_tenants(SITE, [ACME], "apply", {}, onlooker).tenants
    assert tenant.outcome == "succeeded"
    assert onlooker.seen[0] == (["opened"], 0)
    assert all(events == ["opened"] for events, _ in onlooker.seen)

    records = sandbox.root / "records"
    assert [one.event for one in Chain(records).entries()] == ["opened", "closed"]
    head = Chain(records).head
    assert head is not None
    assert verify_records(records).status == CONSISTENT
    assert verify_records(records, [Anchor(head, "kept")]).status == VERIFIED
    assert {path.stat().st_mode & 0o777 for path in tenant.folder.iterdir()} == {0o444}

    told = json.loads((tenant.folder / "record.json").read_text())
    assert (told["outcome"], told["ticket"], told["in_flight"]) == ("succeeded", "CHG-7", [])
    assert len(told["changes"]) == tenant.writes
    assert all(one["request_id"] for one in told["changes"] if one["vendor"] == "Twilio")
    assert {one["outcome"] for one in told["guide_sections"]} == {"succeeded"}
    assert [one["section"] for one in told["guide_sections"]] == [one.section for one in tenant.sections]
    assert all(one["ok"] for one in told["verification"])
    credentials = told["parameters"]["tenant"]["termination"]["credentials"]
    assert credentials["password"] == "file:.sandbox/secrets/sip_password_acme"
    page = (tenant.folder / "index.html").read_text()
    assert "record.json" in page
    for path in (sandbox.root / ".sandbox" / "secrets").iterdir():
        for name in ("opening.json", "record.json"):
            assert path.read_text().strip() not in (tenant.folder / name).read_text()

    # Runs that write nothing are outside of the chain, unless somebody asks for it.
    (checked,) = run_tenants(SITE, [ACME], "verify", {}, Observer()).tenants
    report = verify_records(records, [Anchor(head, "kept")])
    assert report.status == VERIFIED
    assert report.unchained == (checked.folder.relative_to(records).as_posix(),)
    monkeypatch.setenv("RUNBOOK_CHAIN", "all")
    run_tenants(SITE, [ACME], "verify", {}, Observer())
    assert [one.event for one in Chain(records).entries()] == ["opened", "closed"] * 2


class Leak(Observer):
    """Plants a secret beside a section's notebook."""

    def on_section_end(self, tenant: str, result: SectionResult) -> None:
        if result.notebook is not None:
            (result.notebook.parent / "leak.txt").write_text("planted-canary-0815")


def test_a_withheld_record_is_closed_without_what_is_withheld(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBOOK_CHAIN", "all")
    remember("planted-canary-0815", "env:CANARY")
    (tenant,) = run_tenants(SITE, [ACME], "verify", {}, Leak()).tenants
    assert tenant.outcome == "failed"
    assert (tenant.folder.parent / "withheld" / tenant.folder.name / "leak.txt").exists()
    assert not (tenant.folder / "leak.txt").exists()
    assert verify_records(sandbox.root / "records").status == CONSISTENT
    told = json.loads((tenant.folder / "record.json").read_text())
    assert told["outcome"] == "failed" and "env:CANARY in leak.txt" in told["problem"]
    assert told["parameters"]["tenant"]["name"] == "acme"


def test_a_run_that_cannot_be_recorded_writes_nothing(sandbox: TestSandbox) -> None:
    chain = sandbox.root / "records" / "chain.jsonl"
    chain.parent.mkdir()
    chain.write_text("damaged\n")
    sandbox.clear_log()
    result = run_tenants(SITE, [ACME], "apply", {}, Observer())
    assert result.exit_status == 1
    first: SectionResult = result.tenants[0].sections[0]
    assert "chain.jsonl line 1 cannot be read" in first.message and "What to do next" in first.message
    assert sandbox.writes() == []
    assert chain.read_text() == "damaged\n"
    assert left(chain.parent) == []


def left(records: Path) -> list[str]:
    """What is there of runs."""
    return [path.relative_to(records).as_posix() for path in records.glob("*/*/*") if path.is_dir()]


def test_a_run_that_is_refused_leaves_nothing(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the lock of the chain, or by something else in its place: no record was touched, so none fails."""
    monkeypatch.setattr("runbook_lib.records.chain.LOCK_WAIT_S", 0.1)
    records = sandbox.root / "records"
    make(records, "demo/acme/20261123T000000Z-aaaaaa")
    lock = records / ".chain.lock"
    sandbox.clear_log()
    with FileLock(lock):
        locked = run_tenants(SITE, [ACME], "apply", {}, Observer())
    lock.unlink()
    os.mkfifo(lock)
    replaced = run_tenants(SITE, [ACME], "apply", {}, Observer())
    for result, told in ((locked, "written by another process"), (replaced, ".chain.lock: not a file")):
        assert result.exit_status == 1 and told in result.tenants[0].sections[0].message
        assert not result.tenants[0].folder.exists()
        Console().print(summary(result))
        assert result.tenants[0].folder.name not in capsys.readouterr().out
    assert sandbox.writes() == []
    assert left(records) == ["demo/acme/20261123T000000Z-aaaaaa"]
    lock.unlink()
    assert verify_records(records).status == CONSISTENT


def test_an_apply_among_unfriendly_files(sandbox: TestSandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """Every file of an older record hangs who opens it, and the page cannot be written: both are named."""
    records = sandbox.root / "records"
    older = make(records, "demo/acme/20261123T000000Z-aaaaaa")
    for path in list(older.iterdir()):
        path.unlink()
        os.mkfifo(path)
    os.mkfifo(records / "demo/acme/.tenant-acme.holder")
    (records / "index.html").mkdir()
    result = run_tenants(SITE, [ACME], "apply", {}, Observer(), ("01",))
    assert result.exit_status == 0, result.tenants
    assert any("index.html" in remark for remark in result.remarks)
    Console().print(summary(result))
    assert "index.html" not in capsys.readouterr().out
    (records / "index.html").rmdir()
    write_index(records)
    assert "cannot be read" in (records / "index.html").read_text()
    problems = {one.path for one in verify_records(records).problems}
    assert problems == {f"demo/acme/{older.name}/{path.name}" for path in older.iterdir()}


def test_a_tenant_that_cannot_be_locked_is_not_written_to(sandbox: TestSandbox) -> None:
    lock = sandbox.root / "records/demo/acme/.tenant-acme.lock"
    lock.parent.mkdir(parents=True)
    os.mkfifo(lock)
    sandbox.clear_log()
    result = run_tenants(SITE, [ACME], "apply", {}, Observer(), ("01",))
    assert result.exit_status == 1 and ".tenant-acme.lock" in result.tenants[0].sections[0].message
    assert sandbox.writes() == []
    assert verify_records(sandbox.root / "records").status == CONSISTENT


@pytest.mark.parametrize("goes_away", [True, False])
def test_a_run_opens_although_somebody_looks_whether_it_is_in_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, goes_away: bool
) -> None:
    """Between the making of the lock's file and the lock itself."""
    really, looking = fcntl.flock, list[int]()

    def flock(file: int, how: int) -> None:
        if how & fcntl.LOCK_EX and not looking:
            looking.append(os.open(tmp_path / living.LOCK, os.O_RDONLY))
            really(looking[0], fcntl.LOCK_SH | fcntl.LOCK_NB)
            if goes_away:
                threading.Timer(0.1, os.close, looking).start()
        really(file, how)

    monkeypatch.setattr(living.fcntl, "flock", flock)
    if goes_away:
        living.begin(tmp_path)
        assert living.is_going_on(tmp_path)
        living.end(tmp_path)
        return
    monkeypatch.setattr(living, "LONGEST_LOOK_S", 0.05)
    with pytest.raises(BlockingIOError):
        living.begin(tmp_path)
    os.close(looking[0])
