"""A run that finds nothing to change: one notebook does the work of all sections, and is its record."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest

from runbook_lib.batch import Observer, RunResult, run_tenants, section
from runbook_lib.facts.sharing import SharedMoment
from runbook_lib.guide import RUN_ORDER, SECTIONS, WHOLE
from runbook_lib.lock import held
from runbook_lib.product import NOTEBOOKS
from runbook_lib.records.verify import verify_records
from runbook_lib.secret import Secret, known, remember
from tests.conftest import CHECKOUT, TestSandbox
from tests.sections.expected import ACME_TRUNK

SITE = Path("parameters/sandbox/site.yaml")
ACME = Path("parameters/sandbox/acme.yaml")


@pytest.fixture(autouse=True)
def _library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))


def run(tenant: Path | str = ACME, observer: Observer | None = None, **options: Any) -> RunResult:
    return run_tenants(SITE, [tenant], "apply", {}, observer or Observer(), **options)


def shown(path: Path) -> str:
    return json.dumps(nbformat.read(path, as_version=4).cells, ensure_ascii=False)


def names_of(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("tenant", [ACME, "trunk:carrier"])
def test_its_record_has_one_notebook_and_the_results_of_all_sections(
    sandbox: TestSandbox, tenant: Path | str
) -> None:
    first = run(tenant).tenants[0]
    sandbox.clear_log()
    events: list[str] = []

    class Watching(Observer):
        def on_section_start(self, tenant: str, section: str) -> None:
            events.append(f"{section} starts")

        def on_section_end(self, tenant: str, result: section.SectionResult) -> None:
            events.append(f"{result.section} {result.outcome}")

    result = run(tenant, Watching())
    [second] = result.tenants
    order = [one.section for one in first.sections]
    assert result.exit_status == 0 and [one.section for one in second.sections] == order
    assert events == [f"{order[0]} starts", *(f"{number} succeeded" for number in order)]
    assert sandbox.writes() == [] and second.writes == second.changes == 0 and result.remarks == ()
    assert {one.notebook for one in second.sections} == {second.folder / f"{WHOLE}.ipynb"}
    names = names_of(second.folder)
    assert {f"{number}.result.json" for number in order} | {"tenant.ipynb", "tenant.html"} <= names
    assert not names & {f"{one.notebook}.ipynb" for one in SECTIONS.values()}
    # It says what the records of the sections' notebooks say.
    old, new = (json.loads((one.folder / "record.json").read_text()) for one in (first, second))
    assert {row["step"] for row in new["after"]} == {row["step"] for row in old["after"]}
    assert [(row["section"], row["setting"], row["value"]) for row in new["after"]] == [
        (row["section"], row["setting"], row["value"]) for row in old["after"]
    ]
    assert all(one["ok"] for one in new["verification"]) and len(new["verification"]) == len(order)
    assert [one["outcome"] for one in new["guide_sections"]] == ["succeeded"] * len(order)
    assert verify_records(sandbox.root / "records").problems == ()
    cells = shown(second.folder / "tenant.ipynb")
    assert "Nothing to change: nothing was written." in cells and "changed nothing for" in cells
    assert "nothing had to change" in cells and "widget-view" not in cells
    page = (second.folder / "tenant.html").read_text()
    assert "The whole tenant · " in page and "changed nothing for" in page
    assert (second.folder / "index.html").read_text().count('href="tenant.html"') == len(order)
    values = [secret.reveal() for secret in known() if isinstance(secret, Secret)]
    assert values and not any(value in cells + page for value in values)


def test_a_section_on_its_own_has_its_own_notebook(sandbox: TestSandbox) -> None:
    assert run().exit_status == 0
    [alone] = run(sections=["03"]).tenants
    assert alone.outcome == "succeeded" and "tenant.ipynb" not in names_of(alone.folder)


class Meddling(Observer):
    """Changes the trunk's name by hand just before the first notebook of a run."""

    def __init__(self, sandbox: TestSandbox) -> None:
        self.sandbox = sandbox

    def on_section_start(self, tenant: str, section: str) -> None:
        if section == "00":
            self.change()

    def change(self) -> None:
        trunks = self.sandbox.control("GET", "state").json()["twilio"]["trunks"].values()
        sid = next(one["sid"] for one in trunks if one["domain_name"] == ACME_TRUNK["domain_name"])
        patch = {"vendor": "twilio", "kind": "trunks", "id": sid, "set": {"friendly_name": "by hand"}}
        self.sandbox.control("POST", "state/patch", patch)


def changed(folder: Path) -> list[tuple[str, str]]:
    record = json.loads((folder / "record.json").read_text())
    return [(row["from"], row["to"]) for row in record["first"]["changed"]]


BACK = [("by hand", ACME_TRUNK["friendly_name"])]


def test_what_somebody_changes_in_the_meantime_is_for_the_sections(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run().exit_status == 0
    # As if the plan had been made more than a minute ago.
    monkeypatch.setattr(SharedMoment, "keep", lambda *_: None)
    result = run(observer=Meddling(sandbox))
    [tenant] = result.tenants
    assert result.exit_status == 0, tenant
    assert sandbox.vendors.trunk(ACME_TRUNK["domain_name"]) == ACME_TRUNK
    assert (tenant.writes, tenant.changes) == (1, 1) and changed(tenant.folder) == BACK
    names = names_of(tenant.folder)
    assert {f"{SECTIONS[number].notebook}.ipynb" for number in RUN_ORDER} <= names
    assert not {"tenant.ipynb", "tenant.html"} & names
    assert verify_records(sandbox.root / "records").problems == ()


def test_what_another_run_changes_before_it_lets_go_of_the_tenant_is_read_again(sandbox: TestSandbox) -> None:
    """Also in a section that had nothing to change when it was planned."""
    assert run().exit_status == 0
    is_held = threading.Event()

    class Another(Meddling):
        def on_section_start(self, tenant: str, section: str) -> None:
            threading.Thread(target=self.work).start()
            assert is_held.wait(10)

        def work(self) -> None:
            with held(self.sandbox.root / "records/demo/acme", "tenant acme"):
                is_held.set()
                time.sleep(4)
                self.change()

    result = run(observer=Another(sandbox), sections=["01"])
    [tenant] = result.tenants
    assert result.exit_status == 0, tenant
    assert sandbox.vendors.trunk(ACME_TRUNK["domain_name"]) == ACME_TRUNK
    assert changed(tenant.folder) == BACK


@pytest.mark.parametrize(
    "cell",
    [
        "import os; os.kill(os.getpid(), 9)",
        "raise ValueError('unexpected')",
        "save('00'); raise ValueError('unexpected')",
        "[save(number) for number in ORDER]; raise ValueError('unexpected')",
        "save('00')",
    ],
)
def test_whatever_ends_it_the_sections_do_the_work(
    sandbox: TestSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cell: str
) -> None:
    [first] = run().tenants
    put_in(tmp_path, monkeypatch, cell)
    result = run()
    [tenant] = result.tenants
    assert tenant.outcome == "succeeded" and tenant.writes == 0
    [remark] = result.remarks  # a page that never works is noticed
    assert remark.startswith(section.NOT_USED)
    assert names_of(tenant.folder) == names_of(first.folder) - {"journal.jsonl"}
    assert verify_records(sandbox.root / "records").problems == ()


@pytest.mark.parametrize("target", ["kernel", "runner"])
def test_an_interruption_ends_the_tenant(
    sandbox: TestSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    assert run().exit_status == 0
    pid = os.getpid() if target == "runner" else "os.getpid()"
    put_in(tmp_path, monkeypatch, f"save('00'); import signal; os.kill({pid}, signal.SIGINT); time.sleep(30)")
    [tenant] = run().tenants
    outcomes = [one.outcome for one in tenant.sections]
    assert outcomes == ["interrupted"] + ["not run"] * (len(RUN_ORDER) - 1)
    record = json.loads((tenant.folder / "record.json").read_text())
    assert record["outcome"] == "interrupted" and record["after"] == []
    assert verify_records(sandbox.root / "records").problems == ()
    monkeypatch.undo()
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    assert run().exit_status == 0


def test_a_secret_in_it_is_reported(
    sandbox: TestSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run().exit_status == 0
    remember("Slipped-through-1", "env:SLIPPED")
    monkeypatch.setattr("runbook_lib.batch.engine.scrub_data", lambda content: content)
    put_in(tmp_path, monkeypatch, "print('Slipped-' + 'through-1')")
    [tenant] = run().tenants
    outcomes = [one.outcome for one in tenant.sections]
    assert outcomes == ["failed"] + ["not run"] * (len(RUN_ORDER) - 1)
    assert "env:SLIPPED" in tenant.sections[0].message and "tenant.ipynb" not in names_of(tenant.folder)


def put_in(folder: Path, monkeypatch: pytest.MonkeyPatch, cell: str) -> None:
    """Let the whole tenant's notebook do something else; the others stay."""
    helper = (
        "import os, time; from pathlib import Path\n"
        "from runbook_lib.guide import RUN_ORDER as ORDER\n"
        "from runbook_lib.records.result import RUN_FOLDER, write_result\n"
        "def save(number):\n"
        "    result = {'section': number, 'outcome': 'succeeded', 'plan': [], 'error': None}\n"
        "    write_result(Path(os.environ[RUN_FOLDER]), number, result)\n"
    )
    shutil.copytree(NOTEBOOKS, folder / "notebooks")
    path = folder / "notebooks" / f"{WHOLE}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    declared = next(one for one in notebook.cells if "parameters" in one.metadata.get("tags", []))
    notebook.cells = [declared, nbformat.v4.new_code_cell(helper), nbformat.v4.new_code_cell(cell)]
    nbformat.write(notebook, path)
    monkeypatch.setattr(section, "NOTEBOOKS", folder / "notebooks")
