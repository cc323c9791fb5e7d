"""Every section's notebook in a real JupyterLab, in a real browser, with its defaults.

``RUNBOOK_SCREENSHOTS=FOLDER`` keeps a picture of each. ``RUNBOOK_SWEEP=1`` breaks each parameter cell
20 times, otherwise twice.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell
from playwright.sync_api import Page, expect

from runbook_lib.guide import ROLL_BACK, SECTIONS
from tests.conftest import CHECKOUT, TestSandbox
from tests.notebooks.lab import (
    ERROR,
    FIRST_WRITE,
    PATIENCE_MS,
    apply_button,
    cancel_button,
    cell_of,
    choose_run_all,
    code_cells,
    form,
    in_a_terminal,
    needless,
    picture,
    press_apply,
    run_all,
    run_cell,
    split_at,
    type_name,
    until_it_ended,
    wait_until_planned,
    wider_than_the_page,
    write_into,
)

TRIES = 20 if os.environ.get("RUNBOOK_SWEEP") else 2
#: What somebody does to the parameter cell who wants globex after acme.
BROKEN = {
    "a quote is lost": ('acme.yaml"', "globex.yaml"),
    "no such file": ("acme.yaml", "no-such-tenant.yaml"),
    "a bare word": ('"parameters/sandbox/acme.yaml"', "globex"),
}


@pytest.mark.parametrize("number", SECTIONS)
def test_run_all_with_the_defaults(page: Page, lab: str, sandbox: TestSandbox, number: str) -> None:
    if number == ROLL_BACK:  # needs a record
        done = in_a_terminal(sandbox, "apply", "--section", "01", "parameters/sandbox/acme.yaml")
        assert done.returncode == 0, done.stdout
        sandbox.clear_log()
    run_all(page, lab, number)
    picture(page, number)
    expect(page.get_by_text("SANDBOX: both vendors are simulated on this machine")).to_be_visible()
    assert page.locator(ERROR).count() == 0
    assert sandbox.writes() == []
    assert split_at(page) == []


def test_nothing_scrolls_sideways(page: Page, lab: str, sandbox: TestSandbox) -> None:
    """An action or a note that is out of sight is not read; nor where JupyterLab drops styles."""
    for number in ("02", "05", "06"):
        run_all(page, lab, number)
        assert wider_than_the_page(page) == []
    source = sandbox.root / "notebooks" / f"{SECTIONS['06'].notebook}.ipynb"
    opened = sandbox.root / "untrusted.ipynb"
    papermill = [sys.executable, "-m", "papermill", "--engine", "runbook", "--no-progress-bar"]
    environment = {**os.environ, **sandbox.environment, "PYTHONPATH": str(CHECKOUT)}
    command = [*papermill, str(source), str(opened)]
    subprocess.run(command, cwd=sandbox.root, env=environment, check=True, capture_output=True)
    page.goto(f"{lab}/lab/tree/{opened.name}?reset", timeout=PATIENCE_MS)
    head = page.locator(".jp-RenderedHTML table caption").first
    head.wait_for(timeout=PATIENCE_MS)
    assert "color:inherit" not in (head.get_attribute("style") or "")  # it is not trusted
    assert wider_than_the_page(page) == []
    assert split_at(page, find=needless) == []
    picture(page, "untrusted")
    opened.unlink()
    shutil.rmtree(sandbox.root / "records", ignore_errors=True)


def test_an_error_in_a_cell_would_be_seen(page: Page, lab: str, sandbox: TestSandbox) -> None:
    """``ERROR`` finds what a failing cell leaves in this JupyterLab."""
    notebook = sandbox.root / "notebooks" / "fails.ipynb"
    content = nbformat.read(CHECKOUT / "notebooks" / f"{SECTIONS['01'].notebook}.ipynb", as_version=4)
    content.cells = [new_code_cell("1 / 0")]
    nbformat.write(content, notebook)
    page.goto(f"{lab}/lab/tree/notebooks/fails.ipynb?reset", timeout=PATIENCE_MS)
    expect(page.get_by_text("| Idle")).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    expect(page.locator(ERROR)).to_be_visible(timeout=PATIENCE_MS)
    notebook.unlink()


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_after_a_broken_parameter_cell_no_later_cell_runs_for_the_former_tenant(
    page: Page, lab: str, sandbox: TestSandbox, change: tuple[str, str]
) -> None:
    """JupyterLab sends the cells one by one, so some of them arrive after the failure and are run."""
    run_all(page, lab, "01")
    first, *later = code_cells(page)
    working = "\n".join(first.locator(".cm-line").all_inner_texts())
    assert working.count(change[0]) == 1
    for number in range(TRIES):
        if number:
            write_into(page, first, working)
            choose_run_all(page)
            wait_until_planned(page, "01")
        expect(form(page).get_by_text("SANDBOX demo/acme · Apply: 2 rows change")).to_be_visible()
        sandbox.clear_log()
        write_into(page, first, working.replace(*change))
        choose_run_all(page)
        expect(page.locator(ERROR).first).to_be_visible(timeout=PATIENCE_MS)
        until_it_ended(page)
        assert sandbox.control("GET", "requests").json()["requests"] == []
        for cell in later:
            expect(cell.locator(ERROR)).to_have_count(1)
            expect(cell.locator(".jp-OutputArea-output")).to_have_count(1)
        assert page.locator(".runbook-panel").count() == 0
    picture(page, "stale-page")


def test_the_form_of_the_former_tenant_is_withdrawn_at_once(
    page: Page, lab: str, sandbox: TestSandbox
) -> None:
    """Only the parameter cell runs, and what stands below it was for the former tenant."""
    run_all(page, lab, "01")
    type_name(page)
    expect(apply_button(page)).to_be_enabled()
    first, opening, *_ = code_cells(page)
    write_into(page, first, "\n".join(first.locator(".cm-line").all_inner_texts()).replace("acme", "globex"))
    page.keyboard.press("Control+Enter")
    expect(form(page).get_by_text("This form is withdrawn.")).to_be_visible(timeout=PATIENCE_MS)
    expect(apply_button(page)).to_have_count(0)
    picture(page, "form-withdrawn")
    sandbox.clear_log()
    plan = cell_of(page, "section.plan()")
    run_cell(page, plan)
    expect(plan.locator(ERROR)).to_contain_text("run the opening cell again", timeout=PATIENCE_MS)
    assert sandbox.control("GET", "requests").json()["requests"] == []
    run_cell(page, opening)
    run_cell(page, plan)
    expect(plan.get_by_text("demo/globex · Plan")).to_be_visible(timeout=PATIENCE_MS)


def test_apply_shows_the_journal_as_it_grows_and_keeps_the_record(
    page: Page, lab: str, sandbox: TestSandbox
) -> None:
    run_all(page, lab, "01")
    assert sandbox.writes() == []
    picture(form(page), "apply-offered")
    sandbox.control("POST", "faults", FIRST_WRITE | {"seconds": 3})
    press_apply(page)
    expect(page.get_by_text("sent …")).to_be_visible(timeout=PATIENCE_MS)
    picture(form(page), "apply-running")
    # The kernel is free while the child works: a cell runs.
    expect(page.get_by_text("| Idle")).to_be_visible()
    expect(page.get_by_text("Section 01: succeeded at").last).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_role("cell", name="Twilio POST")).to_be_visible()
    picture(form(page), "apply-succeeded")
    assert [one["path"] for one in sandbox.writes()] == ["/v1/Trunks"]
    assert "acme-pbx.pstn.twilio.com" in sandbox.vendors.trunk_sids()
    (folder,) = (path.parent for path in sandbox.root.glob("records/demo/acme/*/record.json"))
    assert json.loads((folder / "run.json").read_text())["outcome"] == "succeeded"
    verified = in_a_terminal(sandbox, "records", "verify")
    assert verified.returncode == 0, verified.stdout
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Page of section 01").click()
    expect(opened.value.get_by_text("Expected result").first).to_be_visible(timeout=PATIENCE_MS)
    picture(opened.value, "apply-record")


def test_cells_that_run_again_show_the_new_state(page: Page, lab: str, sandbox: TestSandbox) -> None:
    run_all(page, lab, "01")
    press_apply(page)
    expect(page.get_by_text("Section 01: succeeded at").last).to_be_visible(timeout=PATIENCE_MS)
    choose_run_all(page)
    expect(page.get_by_text("Nothing to apply: everything is in place.")).to_be_visible(timeout=PATIENCE_MS)
    picture(form(page), "apply-again")


def test_cancel_interrupts_a_write_that_hangs(page: Page, lab: str, sandbox: TestSandbox) -> None:
    run_all(page, lab, "01")
    sandbox.control("POST", "faults", FIRST_WRITE | {"seconds": 40})
    press_apply(page)
    expect(page.get_by_text("sent …")).to_be_visible(timeout=PATIENCE_MS)
    cancel_button(page).click()
    expect(page.get_by_text("Section 01: interrupted at").last).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text("no answer was seen").first).to_be_visible()
    picture(form(page), "apply-interrupted")
    (path,) = sandbox.root.glob("records/demo/acme/*/record.json")
    record = json.loads(path.read_text())
    assert record["outcome"] == "interrupted" and len(record["in_flight"]) == 1
    # What was cut off is found and finished by the next run.
    choose_run_all(page)
    expect(page.get_by_text("Nothing to apply: everything is in place.")).to_be_visible(timeout=PATIENCE_MS)
