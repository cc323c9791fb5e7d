"""A canary that got into a record all the same is found, and the record is withheld."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from urllib.parse import quote

import pytest

from runbook_lib.batch import Observer, SectionResult, run_tenants
from runbook_lib.batch.scan import scan
from runbook_lib.secret import remember
from tests.conftest import CHECKOUT, TestSandbox

SITE = Path("parameters/sandbox/site.yaml")
ACME = Path("parameters/sandbox/acme.yaml")


def test_a_planted_canary_is_found_and_the_record_is_withheld(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    password = (sandbox.root / ".sandbox/secrets/sip_password_acme").read_text().strip()

    class Planting(Observer):
        def on_section_end(self, tenant: str, result: SectionResult) -> None:
            if result.notebook:
                encoded = base64.b64encode(f"user:{password}".encode()).decode()
                (result.notebook.parent / "attached.bin").write_bytes(b"\xff\x00" + encoded.encode())

    result = run_tenants(SITE, [ACME], "plan", {}, Planting())
    (tenant,) = result.tenants
    assert (result.exit_status, tenant.outcome) == (1, "failed")
    assert "file:.sandbox/secrets/sip_password_acme in attached.bin" in tenant.problem
    assert password not in tenant.problem
    withheld = tenant.folder.parent / "withheld" / tenant.folder.name
    assert (withheld / "attached.bin").exists()
    assert stat.S_IMODE(withheld.parent.stat().st_mode) == 0o700
    assert not [path for path in tenant.folder.iterdir() if path.suffix not in (".json", ".html")]
    assert [path.name for path in tenant.folder.glob("*.html")] == ["index.html"]
    run = json.loads((tenant.folder / "run.json").read_text())
    assert run["outcome"] == "failed" and "withheld" in run["problem"]
    assert "withheld" in (tenant.folder / "index.html").read_text(encoding="utf-8")
    assert "withheld/" not in result.index.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "planted",
    [str, lambda v: quote(v, safe=""), lambda v: json.dumps(json.dumps(v)), lambda v: v.split("\n")[1]],
)
def test_every_form_is_found(tmp_path: Path, planted) -> None:
    value = 'Planted-"one/+\nsecond-line-of-it'
    remember(value, "env:PLANTED")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file").write_text(f"x{planted(value)}x")
    (tmp_path / "clean").write_text("nothing")
    assert scan(tmp_path.rglob("*")) == {tmp_path / "sub" / "file": ["env:PLANTED"]}
