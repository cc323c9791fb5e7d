"""Records from before journals had keys are read, exported, owned and rolled back.

``old/acme_and_globex.tar.xz`` was made by the code before ``runbook_lib.keys``, in ``/srv/runbook`` on a
fresh sandbox: ``runbook apply`` for acme and for globex, then the records folder, and the vendors' state
as the sandbox's control route ``state`` gave it. It is never made again: it stands for records that exist.
"""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from click.testing import Result
from typer.testing import CliRunner

from runbook_lib.cli.records import app
from runbook_lib.guide import ROLL_BACK
from runbook_lib.keys import Kind
from runbook_lib.plan import Action, Effect
from runbook_lib.records import check_records, journal
from runbook_lib.records.record import record_so_far
from runbook_lib.records.run_folder import RECORD
from runbook_lib.runbook import Runbook
from tests.conftest import TestSandbox
from tests.rendering import render_messages, upper_case
from tests.sections.test_tenant_level import SITE
from tests.sections.test_way_back import state, way_back

OLD = Path(__file__).parent / "old" / "acme_and_globex.tar.xz"
RUNS = ("demo/acme/20261126T004725Z-f9969c", "demo/globex/20261126T004738Z-5ba5fe")


@pytest.fixture
def before(sandbox: TestSandbox) -> dict[str, Any]:
    """The vendors' state before the old runs; it is as they left it now, and their records are here."""
    seeded = state(sandbox)
    with tarfile.open(OLD) as archive:
        archive.extractall(sandbox.root, filter="data")
    left = sandbox.root / "state.json"
    sandbox.control("POST", "reset", {"state": json.loads(left.read_text())})
    left.unlink()
    return seeded


@pytest.fixture
def records(sandbox: TestSandbox, before: dict[str, Any]) -> Path:
    return sandbox.root / "records"


def runbook_records(records: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--records", str(records)], env={"COLUMNS": "160"})


@pytest.mark.parametrize("run", RUNS)
def test_shown_verified_and_exported(records: Path, tmp_path: Path, run: str) -> None:
    assert runbook_records(records, "list").exit_code == 0
    assert runbook_records(records, "show", run).exit_code == 0
    assert runbook_records(records, "verify").exit_code == 0
    out = tmp_path / "record.zip"
    assert runbook_records(records, "export", run, str(out)).exit_code == 0
    with ZipFile(out) as zipped:
        assert f"{run.rpartition('/')[2]}/record/journal.jsonl" in zipped.namelist()
    assert check_records.main([str(records)]) == check_records.main([str(out)]) == 0


@pytest.mark.parametrize("run", RUNS)
def test_a_record_made_again_from_its_files_is_the_same(records: Path, run: str) -> None:
    stored = json.loads((records / run / RECORD).read_text())
    again = json.loads(json.dumps(record_so_far(records / run)))
    # Records of before had no first block; from their data it is made all the same.
    first = again.pop("first")
    assert again == stored
    assert first["changed"] and {row["result"] for row in first["changed"]} <= {
        "as expected",
        "cannot be read",
    }
    assert first["sentence"].startswith(stored["operator"])


@pytest.mark.parametrize("run", RUNS)
def test_every_phrase_of_an_old_journal_has_a_key(records: Path, run: str) -> None:
    writes = journal.read_journal(records / run / journal.FILE_NAME)
    found = [journal.key_of(write) for write in writes]
    assert Kind.UNKNOWN not in {key.kind for key in found}
    # Words are as they were, so each key is called as its phrase calls it.
    assert [str(key) for key in found] == [write["resource"] for write in writes]
    assert [key.vendor for key in found] == [write["vendor"] for write in writes]


@pytest.mark.parametrize("words", ["as they are", "in upper case"])
def test_what_the_old_runs_made_is_ours(
    sandbox: TestSandbox, records: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    if words == "in upper case":
        render_messages(monkeypatch, upper_case)
    # The secret is older than the password that was written with it.
    os.utime(sandbox.root / ".sandbox/secrets/sip_password_acme", (0, 0))
    other = {
        "name": "acme",
        "pbx_domain": "acme.pbx.example",
        "dids": "12025550101-12025550104",
        "trunk": {"friendly_name": "PortSIP acme, new", "termination": "acme-pbx"},
        "termination": {
            "ip_access_control_list": {"addresses": ["203.0.113.10", "203.0.113.11"]},
            "credentials": {"username": "acme-pbx", "password": "file:.sandbox/secrets/sip_password_acme"},
        },
        "origination": {"uris": [{"region": "us1", "priority": 10}]},
        "pbx_trunk": {"name": "Another name"},
    }
    with Runbook.open(SITE, {"tenant": other}) as runbook:
        plan = runbook.plan()
    rows = {(row.step, row.current, row.desired): row for part in plan.slices for row in part.changing}
    assert not [row for part in plan.slices for row in part.stopping]
    # The trunk is renamed, as we made it; so is the list, to which an address is added without a word.
    assert rows["1.1", "PortSIP acme", "PortSIP acme, new"].action is Action.UPDATE
    assert rows["2.2", None, "203.0.113.11/32"].effect is Effect.NONE
    # The second URI was ours and is not asked for any more; the PBX trunk keeps its password.
    assert rows["3.2", "present", None].action is Action.REMOVE
    assert rows["5.2", "Twilio-Reg-Trunk", "Another name"].effect is Effect.NONE
    assert not [row for row in rows.values() if row.field]


@pytest.mark.parametrize("words", ["as they are", "in upper case"])
def test_rolled_back(
    sandbox: TestSandbox,
    before: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    words: str,
) -> None:
    if words == "in upper case":
        render_messages(monkeypatch, upper_case)
    assert state(sandbox) != before
    for tenant in ("globex", "acme"):
        assert way_back(ROLL_BACK, tenant)["verification"]["ok"]
    assert state(sandbox) == before
