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

from runbook_lib.lock import held, whoami
from runbook_lib.records.journal import read_journal
from tests.conftest import TestSandbox
from tests.notebooks.lab import (
    FIRST_WRITE,
    PATIENCE_MS,
    apply_button,
    cancel_button,
    cell_of,
    choose_run_all,
    cut_labels,
    form,
    in_a_terminal,
    open_notebook,
    patience,
    picture,
    press_apply,
    run_all,
    run_cell,
    type_name,
    wait_until_planned,
)

SITE, ACME = "parameters/sandbox/site.yaml", "parameters/sandbox/acme.yaml"
CHOOSE_THEME = """async theme => {
  const token = document.cookie.match(/_xsrf=([^;]+)/)[1]
  const settings = {raw: JSON.stringify({theme})}
  const options = {method: "PUT", body: JSON.stringify(settings), headers: {"X-XSRFToken": token}}
  return (await fetch("/lab/api/settings/@jupyterlab/apputils-extension:themes", options)).status
}"""
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
    expect(page.get_by_text("Section 01 planned: nothing to change.")).to_be_visible(
        timeout=1_000 * patience(5)
    )
    for gone in ("+ create", "· not yet", "✗ differs", "rows change in section"):
        expect(page.get_by_text(gone)).to_have_count(0)
    expect(page.get_by_text("Everything reads back as expected.")).to_be_visible()
    text = page.locator(".jp-Notebook").inner_text()
    read_at = {datetime.fromisoformat(found + "+00:00") for found in re.findall(r"read (\S+ \S+) UTC", text)}
    assert read_at and min(read_at) >= pressed.replace(microsecond=0)
    picture(page, "after-an-apply")


def test_after_run_all_the_form_is_in_view_in_a_small_window(
    page: Page, lab: str, sandbox: TestSandbox
) -> None:
    """What there is to decide; the closing box is what JupyterLab itself would show."""
    page.set_viewport_size({"width": 1280, "height": 800})
    for number in ("01", "03"):
        run_all(page, lab, number)
        page.wait_for_timeout(1_000)
        if number == "01":
            expect(apply_button(page)).to_be_in_viewport()
            expect(form(page).get_by_text("Apply: 2 rows change")).to_be_in_viewport()
            picture(page, "after-run-all-800-high")
    expect(page.get_by_text("Section 03 planned: ")).to_be_in_viewport()  # it offers nothing


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
    first = datetime.fromisoformat(read_journal(journal)[0]["at"])
    assert (first - pressed).total_seconds() < patience(3)


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
    expect(ended(page, "succeeded")).to_be_visible(timeout=PATIENCE_MS)
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
    expect(form(page).get_by_text("No answer from the kernel since")).to_be_visible(
        timeout=1_000 * patience(8)
    )
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


def test_a_second_window_on_the_tenant_follows_the_run_without_a_cell_that_runs(
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
    expect(form(page).get_by_text("Section 02 is being applied.").first).to_be_visible(
        timeout=1_000 * patience(5)
    )
    expect(apply_button(page)).to_have_count(0)
    expect(ended(page, "succeeded", "02")).to_be_visible(timeout=PATIENCE_MS)
    expect(ended(second, "succeeded", "02")).to_be_visible()


def test_a_run_that_waits_says_for_whom(page: Page, lab: str, sandbox: TestSandbox) -> None:
    run_all(page, lab, "01")
    with held(sandbox.root / "records" / "demo" / "acme", "tenant acme"):
        press_apply(page)
        expect(form(page).get_by_text(f"tenant acme is in use by {whoami()}").first).to_be_visible(
            timeout=1_000 * patience(8)
        )
        assert sandbox.writes() == []
        picture(page, "waiting")
    expect(ended(page, "succeeded")).to_be_visible(timeout=PATIENCE_MS)


def test_cancel_is_within_reach_of_the_keyboard_alone(page: Page, lab: str, sandbox: TestSandbox) -> None:
    run_all(page, lab, "01")
    hold_the_first_write(sandbox, 60)
    page.keyboard.press("Escape")
    focused = lambda: page.evaluate("document.activeElement.className")  # noqa: E731
    for _ in range(200):
        page.keyboard.press("Tab")
        if focused() == "name":
            break
    page.keyboard.type("demo/acme")
    page.keyboard.press("Enter")  # only the button applies
    page.keyboard.press("Tab")
    assert focused() == "apply"
    page.keyboard.press("Enter")
    until_it_writes(sandbox)
    expect(page.locator("button.cancel:focus")).to_be_visible()
    spoken = form(page).locator('[role="status"][aria-live="polite"]')
    expect(spoken).to_contain_text("write 1 of 1")
    page.keyboard.press("Enter")
    expect(spoken).to_contain_text("Section 01: interrupted at", timeout=PATIENCE_MS)
    assert page.evaluate("Boolean(document.activeElement.closest('.runbook-panel'))")
    assert len(journals(sandbox)) == 1


def test_a_double_click_starts_one_run(page: Page, lab: str, sandbox: TestSandbox) -> None:
    run_all(page, lab, "01")
    for wrong in ("acme", "demo/globex", "Demo/acme"):
        type_name(page, wrong)
        expect(apply_button(page)).to_be_disabled()
    type_name(page)
    apply_button(page).dblclick()
    expect(ended(page, "succeeded")).to_be_visible(timeout=PATIENCE_MS)
    assert len(journals(sandbox)) == 1 and len(sandbox.writes()) == 1


def test_a_vendors_error_in_the_middle_is_shown_and_what_is_left_is_offered(
    page: Page, lab: str, sandbox: TestSandbox
) -> None:
    done = in_a_terminal(sandbox, "apply", "-s", SITE, ACME, "--section", "01")
    assert done.returncode == 0, done.stdout
    run_all(page, lab, "02")
    refusal = {"kind": "status", "status": 403, "path": "/v1/Trunks/.*/CredentialLists$"}
    sandbox.control("POST", "faults", FIRST_WRITE | refusal)
    press_apply(page)
    expect(ended(page, "failed", "02")).to_be_visible(timeout=PATIENCE_MS)
    expect(form(page).get_by_text("What to do next").first).to_be_visible()
    # The plan was read again, and offers what is missing.
    expect(form(page).get_by_text("Apply: 1 row changes")).to_be_visible(timeout=1_000 * patience(10))
    picture(page, "refused")


def test_a_saved_notebook_keeps_the_text_of_its_form_and_no_view_of_it(
    page: Page, lab: str, sandbox: TestSandbox
) -> None:
    run_all(page, lab, "01")
    page.keyboard.press("Control+S")
    path = sandbox.root / "notebooks" / "01_create_sip_trunk.ipynb"
    end = time.monotonic() + 20
    while not any(output for cell in nbformat.read(path, 4).cells for output in cell.get("outputs", ())):
        assert time.monotonic() < end
        time.sleep(0.2)
    assert "widget-view" not in path.read_text() and "Apply: 2 rows change" in path.read_text()
    page.reload()
    expect(form(page).get_by_text("Apply: 2 rows change")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text("Error displaying widget")).to_have_count(0)


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_the_form_reads_in_both_themes_and_in_every_width(
    page: Page, lab: str, sandbox: TestSandbox, theme: str
) -> None:
    open_notebook(page, lab, "01")
    assert page.evaluate(CHOOSE_THEME, theme) == 204
    run_all(page, lab, "01")
    assert page.evaluate("document.body.dataset.jpThemeLight") == str("Light" in theme).lower()
    type_name(page)
    name = theme.split()[1].lower()
    for width in (1280, 1024, 800):
        page.set_viewport_size({"width": width, "height": 5000})
        page.wait_for_function("width => innerWidth === width", arg=width)
        picture(page, f"form-{name}-{width}")
        assert cut_labels(page) == []
        assert contrast(apply_button(page)) >= CONTRAST
    hold_the_first_write(sandbox, 10)
    apply_button(page).click()
    until_it_writes(sandbox)
    expect(cancel_button(page)).to_be_visible()
    picture(page, f"running-{name}-800")
    assert cut_labels(page) == []
    assert contrast(cancel_button(page)) >= CONTRAST
    assert contrast(page.locator(".phases li[data-state=now]")) >= CONTRAST
    expect(ended(page, "succeeded")).to_be_visible(timeout=PATIENCE_MS)


def contrast(element: Locator) -> float:
    """The contrast of an element's text with its own ground, as WCAG 2.1 defines it."""
    colours = element.evaluate(
        "one => { const style = getComputedStyle(one); return [style.color, style.backgroundColor] }"
    )
    light, dark = sorted(map(luminance, colours), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    found = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in found
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
