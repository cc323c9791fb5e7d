"""Acting in a real JupyterLab: what the page says is true while a run works, and after it."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from runbook_lib.records.journal import read
from tests.conftest import TestSandbox
from tests.notebooks.lab import (
    FIRST_WRITE,
    PATIENCE_MS,
    apply_button,
    cancel_button,
    cell_of,
    choose_run_all,
    form,
    in_a_terminal,
    open_notebook,
    picture,
    press_apply,
    run_all,
    run_cell,
    type_name,
    wait_until_planned,
)

SITE, ACME = "parameters/sandbox/site.yaml", "parameters/sandbox/acme.yaml"
#: WCAG 2.1, AA, for text of this size.
CONTRAST = 4.5


def ended(page: Page, how: str, number: str = "01") -> Locator:
    return page.get_by_text(f"Section {number}: {how} at").last


def hold_the_first_write(sandbox: TestSandbox, seconds: int) -> None:
    sandbox.control("POST", "faults", FIRST_WRITE | {"seconds": seconds})


def until_it_writes(sandbox: TestSandbox) -> None:
    end = time.monotonic() + PATIENCE_MS / 1000
    while not sandbox.writes():
        assert time.monotonic() < end
        time.sleep(0.1)


def journals(sandbox: TestSandbox) -> list[Path]:
    return sorted(sandbox.root.glob("records/demo/acme/*/journal.jsonl"))


def test_after_a_run_everything_on_the_page_is_read_again_in_its_place(
    page: Page, lab: str, sandbox: TestSandbox
) -> None:
    run_all(page, lab, "01")
    expect(page.get_by_text("+ create")).to_have_count(3)
    expect(page.get_by_text("not yet", exact=False).first).to_be_visible()
    pressed = datetime.now(UTC)
    press_apply(page)
    expect(ended(page, "succeeded")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text("Section 01 planned: nothing to change.")).to_be_visible(timeout=5_000)
    for gone in ("+ create", "· not yet", "✗ differs", "rows change in section"):
        expect(page.get_by_text(gone)).to_have_count(0)
    expect(page.get_by_text("Everything reads back as expected.")).to_be_visible()
    text = page.locator(".jp-Notebook").inner_text()
    read_at = {datetime.fromisoformat(found + "+00:00") for found in re.findall(r"read (\S+ \S+) UTC", text)}
    assert read_at and min(read_at) >= pressed.replace(microsecond=0)
    picture(page, "after-an-apply")


def test_the_first_write_leaves_within_three_seconds_of_the_click(
    page: Page, lab: str, sandbox: TestSandbox
) -> None:
    run_all(page, lab, "01")
    page.wait_for_timeout(8_000)  # the operator reads the plan
    assert sandbox.control("GET", "requests").json()["requests"]
    sandbox.clear_log()
    pressed = datetime.now(UTC)
    press_apply(page)
    expect(ended(page, "succeeded")).to_be_visible(timeout=PATIENCE_MS)
    [journal] = journals(sandbox)
    first = datetime.fromisoformat(read(journal)[0]["at"])
    assert (first - pressed).total_seconds() < 3


def test_a_reload_during_a_run_finds_it_with_whatever_cell_runs_first(
    page: Page, lab: str, sandbox: TestSandbox
) -> None:
    run_all(page, lab, "01")
    hold_the_first_write(sandbox, 15)
    press_apply(page)
    until_it_writes(sandbox)
    open_notebook(page, lab, "01")
    plan = cell_of(page, "section.plan()")
    run_cell(page, plan)
    expect(plan.get_by_text("Section 01 is being applied.").first).to_be_visible(timeout=PATIENCE_MS)
    expect(cancel_button(page)).to_be_enabled()
    picture(page, "reloaded")
    # It ends, and what the cell shows is read again.
    expect(plan.get_by_text("Nothing to change").first).to_be_visible(timeout=PATIENCE_MS)
    expect(plan.get_by_text("+ create")).to_have_count(0)
    assert len(journals(sandbox)) == 1


def test_after_a_restart_the_form_says_so_and_the_run_is_found_and_cancelled(
    page: Page, lab: str, sandbox: TestSandbox
) -> None:
    run_all(page, lab, "01")
    hold_the_first_write(sandbox, 60)
    press_apply(page)
    until_it_writes(sandbox)
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_text("Restart Kernel…", exact=True).click()
    page.get_by_role("button", name="Confirm Kernel Restart").click()
    expect(form(page).get_by_text("No answer from the kernel since")).to_be_visible(timeout=8_000)
    expect(page.get_by_text("| Idle")).to_be_visible(timeout=PATIENCE_MS)
    picture(page, "restarted")
    choose_run_all(page)
    opening = cell_of(page, "from runbook_lib import open_section")
    expect(opening.get_by_text("Section 01 is being applied.").first).to_be_visible(timeout=PATIENCE_MS)
    wait_until_planned(page, "01")
    picture(page, "restarted-and-run")
    opening.locator("button.cancel").click()
    expect(ended(page, "interrupted")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text("is being applied")).to_have_count(0)
    [record] = sandbox.root.glob("records/demo/acme/*/record.json")
    assert json.loads(record.read_text())["outcome"] == "interrupted"


def test_a_second_window_follows_the_run_and_a_second_apply_says_whom_it_waits_for(
    browser: Browser, page: Page, lab: str, sandbox: TestSandbox
) -> None:
    run_all(page, lab, "01")
    done = in_a_terminal(sandbox, "apply", "-s", SITE, ACME, "--section", "01")
    assert done.returncode == 0, done.stdout
    second = browser.new_page(viewport={"width": 1300, "height": 5000})
    run_all(second, lab, "02")
    fault = FIRST_WRITE | {"path": "IpAccessControlLists.json$", "seconds": 12}
    sandbox.control("POST", "faults", fault)
    sandbox.clear_log()
    press_apply(second)
    until_it_writes(sandbox)
    # The first window is open on another section of this tenant, and nobody runs a cell there.
    expect(form(page).get_by_text("Section 02 is being applied.").first).to_be_visible(timeout=5_000)
    expect(apply_button(page)).to_have_count(0)
    waiting = in_the_background(sandbox)
    try:
        expect(ended(second, "succeeded", "02")).to_be_visible(timeout=PATIENCE_MS)
        assert ended(page, "succeeded", "02").is_visible() or page.get_by_text("Section 0").count()
    finally:
        waiting.wait(120)


def in_the_background(sandbox: TestSandbox):  # noqa: ANN201
    import os
    import subprocess
    import sys

    from tests.conftest import CHECKOUT

    return subprocess.Popen(
        [sys.executable, "-m", "runbook_lib", "plan", "-s", SITE, ACME],
        cwd=sandbox.root,
        env={**os.environ, **sandbox.environment, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.DEVNULL,
    )
