"""The notebooks executed for real: through papermill's own command, and by the runner for tenants."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from runbook_lib.batch import Observer, RunResult, SectionResult, run_tenants
from runbook_lib.batch.frame import SCRIPT
from runbook_lib.errors import InputError
from runbook_lib.guide import RUN_ORDER, SECTIONS
from tests.conftest import CHECKOUT, TestSandbox
from tests.sections.expected import ACME_PBX_TRUNK, ACME_TRUNK

SITE = Path("parameters/sandbox/site.yaml")
ACME = Path("parameters/sandbox/acme.yaml")
GLOBEX = Path("parameters/sandbox/globex.yaml")


@pytest.fixture(autouse=True)
def _library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))


def run(*tenants: Path, mode: str = "apply", observer: Observer | None = None) -> RunResult:
    return run_tenants(SITE, tenants, mode, {}, observer or Observer())


def state(sandbox: TestSandbox) -> tuple[object, object]:
    trunks = sandbox.vendors.pbx("acme.pbx.example").trunks()
    return sandbox.vendors.trunk(ACME_TRUNK["domain_name"]), trunks[ACME_PBX_TRUNK["name"]]


def outputs(path: Path) -> str:
    return json.dumps([cell.get("outputs") for cell in nbformat.read(path, as_version=4).cells])


def tenant_file(sandbox: TestSandbox, folder: Path, **changes: str) -> Path:
    """The demo's tenant with other values for some of its lines."""
    text = (sandbox.root / ACME).read_text(encoding="utf-8")
    for key, value in changes.items():
        text, count = re.subn(rf"(?m)^(\s*{key}: ).*$", rf"\g<1>{value}", text)
        assert count == 1
    path = folder / "tenant.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_papermill_runs_every_notebook_with_the_parameter_files(sandbox: TestSandbox, tmp_path: Path) -> None:
    for number in RUN_ORDER:
        name = f"{SECTIONS[number].notebook}.ipynb"
        command = [
            sys.executable,
            "-m",
            "papermill",
            str(sandbox.root / "notebooks" / name),
            str(tmp_path / name),
        ]
        files = ["-f", str(sandbox.root / SITE), "-f", str(sandbox.root / ACME), "-p", "mode", "apply"]
        ended = subprocess.run([*command, *files], capture_output=True, text=True, cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert re.search(r"Journal: sha256:[0-9a-f]{64}", outputs(tmp_path / name))
    assert state(sandbox) == (ACME_TRUNK, ACME_PBX_TRUNK)


def test_the_defaults_plan_and_write_nothing(sandbox: TestSandbox, tmp_path: Path) -> None:
    sandbox.clear_log()
    result = run(ACME, mode="plan")
    assert result.exit_status == 0
    assert [one.outcome for one in result.tenants[0].sections] == ["succeeded"] * len(RUN_ORDER)
    assert sandbox.writes() == []
    assert "SANDBOX" in outputs(result.tenants[0].folder / "01_create_sip_trunk.ipynb")


def test_the_runner_carries_tenants_through_and_writes_nothing_the_second_time(sandbox: TestSandbox) -> None:
    seen: list[str] = []

    class Watching(Observer):
        def on_section_start(self, tenant: str, section: str) -> None:
            seen.append(f"{tenant} {section}")

        def on_section_end(self, tenant: str, result: SectionResult) -> None:
            seen.append(f"{tenant} {result.section} {result.outcome}")

    first = run(ACME, GLOBEX, observer=Watching())
    assert first.exit_status == 0
    assert seen[:3] == ["acme 00", "acme 00 succeeded", "acme 01"]
    assert [one.section for one in first.tenants[0].sections] == list(RUN_ORDER)
    assert state(sandbox) == (ACME_TRUNK, ACME_PBX_TRUNK)
    assert first.tenants[0].writes == sum(one.writes for one in first.tenants[0].sections) > 0
    for tenant in first.tenants:
        names = {path.name for path in tenant.folder.iterdir()}
        assert {"index.html", "run.json", "journal.jsonl"} <= names
        assert {
            f"{SECTIONS[one].notebook}.{kind}" for one in RUN_ORDER for kind in ("ipynb", "html")
        } <= names
    index = first.index.read_text(encoding="utf-8")
    assert all(tenant.folder.name in index for tenant in first.tenants)

    sandbox.clear_log()
    second = run(ACME, GLOBEX)
    assert second.exit_status == 0
    assert sandbox.writes() == []
    assert [one.writes for one in second.tenants] == [0, 0]
    assert {one.folder for one in first.tenants}.isdisjoint(one.folder for one in second.tenants)


def test_a_failed_section_ends_its_tenant_and_the_next_tenant_runs(
    sandbox: TestSandbox, tmp_path: Path
) -> None:
    fault = {
        "vendor": "twilio",
        "method": "POST",
        "path": "/v1/Trunks$",
        "count": 1,
        "kind": "status",
        "status": 400,
    }
    sandbox.control("POST", "faults", fault)
    result = run(ACME, GLOBEX)
    failed, fine = result.tenants
    assert result.exit_status == 1
    outcomes = ["succeeded", "failed"] + ["not run"] * (len(RUN_ORDER) - 2)
    assert [one.outcome for one in failed.sections] == outcomes
    assert "What to do next" in failed.sections[1].message
    assert fine.outcome == "succeeded"
    shown = outputs(failed.folder / "01_create_sip_trunk.ipynb")
    assert "What to do next" in shown and "Traceback" not in shown
    page = (failed.folder / "01_create_sip_trunk.html").read_text(encoding="utf-8")
    assert "What to do next" in page and "This section failed" in page
    assert "Exception was encountered" not in page
    assert json.loads((failed.folder / "run.json").read_text())["outcome"] == "failed"


def test_a_conflict_anywhere_stops_a_tenant_before_its_first_write(
    sandbox: TestSandbox, tmp_path: Path
) -> None:
    stranger = tenant_file(sandbox, tmp_path, name="stranger", dids='"12025559999"')
    refused, fine = run(stranger, GLOBEX).tenants
    assert {one.outcome for one in refused.sections} == {"not run"}
    assert "+12025559999" in refused.problem
    assert (refused.writes, refused.outcome, fine.outcome) == (0, "failed", "succeeded")


def test_wrong_parameters_end_before_anything_runs(sandbox: TestSandbox, tmp_path: Path) -> None:
    wrong = tenant_file(sandbox, tmp_path, dids='"+12025550101"', username="12345")
    sandbox.clear_log()
    with pytest.raises(InputError) as caught:
        run(GLOBEX, wrong)
    assert len(caught.value.problems) == 2
    assert not (sandbox.root / "records").exists()
    assert sandbox.control("GET", "requests").json()["requests"] == []


def test_a_page_needs_no_network_and_runs_no_script_but_the_search(sandbox: TestSandbox) -> None:
    folder = run(ACME, mode="plan").tenants[0].folder
    overview = folder.parents[2] / "index.html"
    for path in (*folder.glob("*.html"), overview):
        page = path.read_text(encoding="utf-8")
        scripts = re.findall(r"<script.*?</script>", page, re.DOTALL)
        assert scripts == ([f"<script>{SCRIPT}</script>"] if path == overview else [])
        assert "<link" not in page and "@import" not in page
        assert set(re.findall(r"https?://[^\s\"'<]+", page)) <= {"http://www.w3.org/2000/svg"}
        assert "default-src 'none'" in page
        assert "SANDBOX" in page
