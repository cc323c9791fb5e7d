"""The home page without a browser: what it reads, what it says of what cannot be read, how long it takes."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from runbook_lib import working_copies
from runbook_lib.errors import InputError
from runbook_lib.guide import RUN_ORDER, SECTIONS
from runbook_lib.notebook import latest
from runbook_lib.notebook.display import utc
from runbook_lib.notebook.home import OUTDATED, HomePage
from runbook_lib.notebook.latest import LATEST, WorkspaceRuns, killed
from runbook_lib.notebook.overview import OverviewReader
from runbook_lib.notebook.panel import Board
from runbook_lib.records import living
from runbook_lib.records.record import close_record, open_record
from tests.conftest import CHECKOUT, TestSandbox
from tests.many import shared_by_many
from tests.notebooks.lab import patience

SITE = "parameters/sandbox/site.yaml"
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


def opened_run(
    sandbox: TestSandbox, run_id: str, mode: str = "apply", tenant: str = "acme", target: str = "sandbox"
) -> Path:
    records = sandbox.root / "records"
    folder = records / "demo" / tenant / run_id
    open_record(
        records,
        folder,
        mode=mode,
        site="demo",
        tenant=tenant,
        target={"target": target},
        order=("01",),
        parameters={},
        files={},
        approval={},
    )
    return folder


def closed_run(sandbox: TestSandbox, run_id: str, mode: str = "apply") -> Path:
    folder = opened_run(sandbox, run_id, mode)
    close_record(sandbox.root / "records", folder)
    return folder


def test_a_run_is_in_flight_until_its_process_lets_go_of_it_and_then_it_was_killed(
    sandbox: TestSandbox,
) -> None:
    runs = WorkspaceRuns(sandbox.root / "records")
    folder = opened_run(sandbox, "20260101T000000Z-000001")
    [run] = runs.unclosed()
    assert (run.tenant, run.sections, run.target, bool(run.doing)) == ("acme", "01", "sandbox", True)
    assert killed(runs.unclosed(), "demo") == []
    living.end(folder)
    # However many runs there were since then.
    for number in range(LATEST + 1):
        closed_run(sandbox, f"20260102T000000Z-{number:06x}")
    [run] = killed(runs.unclosed(), "demo")
    assert run.run == f"demo/acme/{folder.name}" and not run.doing
    assert killed(runs.unclosed(), "other") == []
    home = open_home(sandbox)
    assert f"records close {folder.name}" in home.next().title
    assert home.in_flight().frame.empty


def test_a_run_of_another_machine_was_not_killed_for_all_that_can_be_seen(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("socket.gethostname", lambda: "other-machine")
        folder = opened_run(sandbox, "20260101T000000Z-000001")
    living.end(folder)  # what is locked there cannot be seen here
    runs = WorkspaceRuns(sandbox.root / "records").unclosed()
    assert [(run.host, run.is_elsewhere, run.was_killed) for run in runs] == [("other-machine", True, False)]
    home = open_home(sandbox)
    assert "records close" not in home.next().title
    [row] = home.in_flight().frame.to_dict("records")
    assert "other-machine" in row["Doing"] and f"--confirm {folder.name}" in row["Note"]


def test_a_run_that_goes_on_is_in_flight_though_somebody_closed_its_record(sandbox: TestSandbox) -> None:
    runs = WorkspaceRuns(sandbox.root / "records")
    folder = opened_run(sandbox, "20260101T000000Z-000001")
    assert len(runs.unclosed()) == 1
    lock = living._own.pop(folder.absolute())
    close_record(sandbox.root / "records", folder)  # as another machine does, which sees no lock
    (folder / living.LOCK).touch()
    living._own[folder.absolute()] = os.open(folder / living.LOCK, os.O_RDONLY)
    fcntl.flock(living._own[folder.absolute()], fcntl.LOCK_EX)
    os.close(lock)
    assert [bool(run.doing) for run in runs.unclosed()] == [True]
    living.end(folder)
    assert runs.unclosed() == []


def test_the_latest_runs_are_those_that_were_to_change_something(sandbox: TestSandbox) -> None:
    first = closed_run(sandbox, "20260101T000000Z-000001")
    for number in range(LATEST + 1):
        closed_run(sandbox, f"20260102T000000Z-{number:06x}", mode="verify" if number % 2 else "plan")
    page = open_home(sandbox)
    frame = page.runs().frame
    assert [*frame.Run] == [f"demo/acme/{first.name}"] and [*frame.Target] == ["sandbox"]
    # One that says afterwards that it was to change nothing is not believed.
    opening = first / "opening.json"
    opening.chmod(0o644)
    opening.write_text(opening.read_text().replace('"mode": "apply"', '"mode": "verify"'))
    frame = open_home(sandbox).runs().frame
    assert [*frame.Run] == [f"demo/acme/{first.name}"] and "NOT AS IT WAS" in frame.Outcome[0]


def test_a_look_at_the_records_costs_the_same_among_many(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        closed_run(sandbox, f"20260101T000000Z-{number:06x}")
    opened_run(sandbox, "20260102T000000Z-000001")
    asked: list[Path] = []
    read: list[Path] = []
    is_going_on, read_chain = living.is_going_on, latest.read_chain
    monkeypatch.setattr(living, "is_going_on", lambda folder: asked.append(folder) or is_going_on(folder))
    monkeypatch.setattr(latest, "read_chain", lambda folder: read.append(folder) or read_chain(folder))
    page = HomePage(sandbox.root / SITE, watched=False)
    for _ in range(5):
        assert page.look()
    assert {folder.name for folder in asked} == {"20260102T000000Z-000001"} and len(read) == 1


def test_a_copy_that_was_edited_for_another_tenant_is_not_opened_as_this_ones(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_home(sandbox)
    page.tenants()  # reads the site
    sent: list[dict[str, Any]] = []
    page._board = Board({}, page.answered)
    monkeypatch.setattr(page._board, "send", sent.append)
    page.answered({"do": "open", "name": "acme", "section": "01"})
    folder = sandbox.root / "work/demo/acme"
    page.answered({"do": "open", "name": "acme", "section": "parameters"})
    for copy in (folder / f"{SECTIONS['01'].notebook}.ipynb", folder / working_copies.PARAMETERS):
        copy.write_text(copy.read_text().replace("acme.yaml", "globex.yaml"))
    page.answered({"do": "open", "name": "acme", "section": "01"})
    page.answered({"do": "open", "name": "acme", "section": "parameters"})
    page.answered({"do": "open", "name": "acme", "section": "02"})
    assert [bool(answer["open"] or "outside" in answer["said"]) for answer in sent] == [True] * 2 + [
        False
    ] * 2 + [True]
    assert all("globex.yaml" in answer["said"] for answer in sent[2:4])


def test_what_to_do_next_says_when_that_was_read(sandbox: TestSandbox) -> None:
    page = open_home(sandbox)
    [read] = page.next().lines
    assert page.overview.began is not None and utc(page.overview.began) in read
    closed_run(sandbox, "20260101T000000Z-000001")
    assert page.next().lines == (read,)
    page.look()
    assert page.next().lines == (read, OUTDATED)


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
    site = shared_by_many(sandbox, MANY)
    sandbox.clear_log()
    seen: list[float] = []
    began = time.monotonic()

    def look() -> None:
        if reader.overview.owners:
            seen.append(time.monotonic() - began)

    reader = OverviewReader(site, sandbox.root, look)
    overview = reader.read()
    assert overview.error is None and overview.problems == []
    assert len(overview.rows) == 1 + MANY
    assert {str(row.sections["01"].state) for row in overview.rows} == {"to do"}
    assert seen[0] < patience(2) and seen[-1] < patience(20), (seen[0], seen[-1])
    requests = sandbox.control("GET", "requests").json()["requests"]
    assert len(requests) < 6 * MANY
    assert sandbox.writes() == []
