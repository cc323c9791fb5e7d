"""The home page without a browser: what it reads, what it says of what cannot be read, how long it takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from runbook_lib.errors import InputError
from runbook_lib.guide import RUN_ORDER
from runbook_lib.notebook.home import HomePage
from runbook_lib.notebook.latest import killed_runs, latest_runs, runs_in_flight
from runbook_lib.notebook.overview import OverviewReader
from runbook_lib.records import living
from runbook_lib.records.record import open_record
from tests.conftest import CHECKOUT, TestSandbox
from tests.notebooks.lab import patience

SITE = "parameters/sandbox/site.yaml"
#: One of 200 tenants with a share of the site's trunk.
TENANT = """tenant:
  name: t{index}
  pbx_domain: filler-{index}.pbx.example
  dids: "1303{index:07}"
  shared_trunk: carrier
  concurrency: 3
  rules:
    outbound:
      - {{ name: Twilio, number_length: "10", prepend: "+1", caller_id: "+1303{index:07}" }}
    inbound:
      - {{ name: Twilio, dids: "1303{index:07}", extension: "2000" }}
"""
MANY = 200


@pytest.fixture
def home(sandbox: TestSandbox) -> Iterator[HomePage]:
    page = open_home(sandbox)
    yield page
    page.close()


def open_home(sandbox: TestSandbox) -> HomePage:
    return HomePage(sandbox.root / SITE, watched=False)


def states(page: HomePage, name: str) -> dict[str, str]:
    frame = page.tenants()["Tenants by section"].set_index("Tenant")
    return {number: frame.loc[name, number] for number in RUN_ORDER}


def files_of_records(sandbox: TestSandbox) -> list[Path]:
    return [
        path for path in (sandbox.root / "records").rglob("*") if path.is_file() and path.suffix != ".lock"
    ]


def test_every_section_of_every_tenant_is_a_frame(home: HomePage, sandbox: TestSandbox) -> None:
    sandbox.clear_log()
    acme = dict.fromkeys(RUN_ORDER, "to do") | {"00": "check", "06": "rings nowhere"}
    assert states(home, "acme") == acme
    assert states(home, "initech")["04"] == "differs"  # one of its numbers has a voice URL
    assert states(home, "trunk-carrier") == {
        number: "to do" if number in ("01", "02", "03", "05") else None for number in RUN_ORDER
    }
    assert sandbox.writes() == [] and not files_of_records(sandbox)


def test_a_file_that_is_wrong_keeps_no_other_tenant_from_being_read(sandbox: TestSandbox) -> None:
    path = sandbox.root / "parameters/sandbox/globex.yaml"
    path.write_text(path.read_text().replace("concurrency: 30", "concurency: 30"))
    home = open_home(sandbox)
    assert set(states(home, "globex.yaml").values()) == {"invalid"}
    assert "to do" in states(home, "acme").values()
    assert "globex.yaml" in home.next().title
    frame = home.tenants()["Tenants by section"].set_index("Tenant")
    assert "concurency" in frame.loc["globex.yaml", "Note"]


def test_what_two_files_have_in_common_is_shown(sandbox: TestSandbox) -> None:
    path = sandbox.root / "parameters/sandbox/initech.yaml"
    path.write_text(path.read_text().replace("12025550107-12025550108", "12025550105-12025550108", 1))
    home = open_home(sandbox)
    box = home.next()
    assert any("+12025550105" in line or "12025550105" in line for line in box.lines), box


def test_a_vendor_that_is_away_is_no_empty_table(home: HomePage, sandbox: TestSandbox) -> None:
    away = {"vendor": "portsip", "method": "GET", "path": "/providers", "kind": "status", "status": 403}
    sandbox.control("POST", "faults", away | {"count": 0})
    assert "unreachable" in states(home, "acme").values()
    assert home.next().tone == "stop"


def test_a_number_that_something_else_answers_is_a_conflict(home: HomePage, sandbox: TestSandbox) -> None:
    numbers = sandbox.control("GET", "state").json()["twilio"]["numbers"].values()
    sid = next(number["sid"] for number in numbers if number["phone_number"] == "+12025550102")
    patch = {"vendor": "twilio", "kind": "numbers", "id": sid, "set": {"voice_url": "https://ivr.example/"}}
    sandbox.control("POST", "state/patch", patch)
    assert states(home, "acme")["04"] == "conflict"
    assert "acme" in home.next().title and "section 04" in home.next().title


def test_no_site_is_an_error_that_says_what_to_do(sandbox: TestSandbox) -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml"):
        HomePage("nowhere.yaml", watched=False)
    (sandbox.root / "parameters/sandbox/site.yaml").unlink()
    with pytest.raises(InputError) as caught:  # the example's is nobody's
        HomePage(None, watched=False)
    assert "example" in str(caught.value.next_step)


def test_an_own_site_comes_before_the_sandboxs(sandbox: TestSandbox) -> None:
    own = sandbox.root / "parameters" / "own"
    own.mkdir()
    for name in ("site", "acme"):
        text = (sandbox.root / f"parameters/sandbox/{name}.yaml").read_text()
        (own / f"{name}.yaml").write_text(text.replace("name: demo", "name: own"))
    assert HomePage(None, watched=False).overview.site_file == own / "site.yaml"


def opened_run(sandbox: TestSandbox, run_id: str) -> Path:
    records = sandbox.root / "records"
    folder = records / "demo" / "acme" / run_id
    open_record(
        records,
        folder,
        mode="apply",
        site="demo",
        tenant="acme",
        target={"target": "sandbox"},
        order=("01",),
        parameters={},
        files={},
        approval={},
    )
    return folder


def test_a_run_is_in_flight_until_its_process_lets_go_of_it_and_then_it_was_killed(
    sandbox: TestSandbox,
) -> None:
    records = sandbox.root / "records"
    folder = opened_run(sandbox, "20260101T000000Z-000001")
    assert [(run.tenant, run.sections) for run in runs_in_flight(records)] == [("acme", "01")]
    assert killed_runs(latest_runs(records), "demo") == []
    living.end(folder)
    assert runs_in_flight(records) == []
    assert killed_runs(latest_runs(records), "demo") == [f"demo/acme/{folder.name}"]
    assert killed_runs(latest_runs(records), "other") == []


def test_the_notebook_runs_unattended_and_leaves_no_record(sandbox: TestSandbox, tmp_path: Path) -> None:
    def papermill(*options: str) -> tuple[subprocess.CompletedProcess[str], str]:
        command = [sys.executable, "-m", "papermill", "--no-progress-bar", "--engine", "runbook"]
        environment = {**os.environ, **sandbox.environment, "PYTHONPATH": str(CHECKOUT)}
        output = tmp_path / f"{len(list(tmp_path.iterdir()))}.ipynb"
        files = [str(sandbox.root / "notebooks/index.ipynb"), str(output)]
        ended = subprocess.run(
            [*command, *files, *options], cwd=sandbox.root, env=environment, capture_output=True, text=True
        )
        cells = nbformat.read(output, as_version=4).cells if output.exists() else []
        return ended, json.dumps(cells, ensure_ascii=False)

    ended, shown = papermill()
    assert ended.returncode == 0, ended.stderr
    for words in ("SANDBOX demo · Set up", "Tenants by section", "! rings nowhere", "no run is in flight"):
        assert words in shown.replace("&nbsp;", " "), words
    assert "widget" not in shown and not files_of_records(sandbox) and sandbox.writes() == []
    ended, shown = papermill("-p", "site", "parameters/none.yaml")
    assert ended.returncode != 0 and "parameters/none.yaml" in shown
    ended, _ = papermill("-p", "sites", SITE)
    assert ended.returncode != 0 and "did you mean site" in ended.stderr


def test_two_hundred_tenants(sandbox: TestSandbox) -> None:
    """20 s for all of them, the first after 2 s."""
    folder = sandbox.root / "parameters" / "many"
    folder.mkdir()
    site = (sandbox.root / SITE).read_text().replace("name: demo", "name: many")
    (folder / "site.yaml").write_text(site)
    first = len(sandbox.control("GET", "state").json()["portsip"]["tenants"])
    for index in range(first, first + MANY):
        (folder / f"t{index}.yaml").write_text(TENANT.format(index=index))
    sandbox.control("POST", "scale", {"tenants": first + MANY, "numbers": first + MANY + 40})
    sandbox.clear_log()
    seen: list[float] = []
    began = time.monotonic()

    def look() -> None:
        if reader.overview.owners:
            seen.append(time.monotonic() - began)

    reader = OverviewReader(folder / "site.yaml", sandbox.root, look)
    overview = reader.read()
    assert overview.error is None and overview.problems == []
    assert len(overview.rows) == 1 + MANY
    assert {str(row.sections["01"].state) for row in overview.rows} == {"to do"}
    assert seen[0] < patience(2) and seen[-1] < patience(20), (seen[0], seen[-1])
    requests = sandbox.control("GET", "requests").json()["requests"]
    assert len(requests) < 6 * MANY
    assert sandbox.writes() == []
