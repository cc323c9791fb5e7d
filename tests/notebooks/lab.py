"""What a test does in a real JupyterLab, in a real browser. ``RUNBOOK_SCREENSHOTS=FOLDER`` keeps pictures."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from playwright.sync_api import Locator, Page, expect

from runbook_lib.guide import SECTIONS
from tests.conftest import CHECKOUT, TestSandbox

PATIENCE_MS = 60_000
#: What JupyterLab shows errors in, and what a cell writes to standard error.
ERROR = '.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.stderr"]'
#: Carried out at once and answered late: nothing of it happens after the test.
FIRST_WRITE = {
    "vendor": "twilio",
    "method": "POST",
    "path": "/v1/Trunks$",
    "kind": "delay",
    "effect": "first",
}

CHOOSE_THEME = """async theme => {
  const token = document.cookie.match(/_xsrf=([^;]+)/)[1]
  const settings = {raw: JSON.stringify({theme})}
  const options = {method: "PUT", body: JSON.stringify(settings), headers: {"X-XSRFToken": token}}
  return (await fetch("/lab/api/settings/@jupyterlab/apputils-extension:themes", options)).status
}"""
#: WCAG 2.1, AA, for text of this size.
CONTRAST = 4.5


def patience(seconds: float) -> float:
    """The seconds that something may take on a quiet machine; more where others use its processors."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def open_notebook(page: Page, lab: str, number: str, folder: str = "notebooks") -> None:
    """Open a section's notebook as it lies on the disk."""
    page.goto(f"{lab}/lab/tree/{folder}/{SECTIONS[number].notebook}.ipynb?reset", timeout=PATIENCE_MS)
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=PATIENCE_MS)
    expect(page.get_by_text("| Idle")).to_be_visible(timeout=PATIENCE_MS)


def run_all(page: Page, lab: str, number: str) -> None:
    """Open a section's notebook as it is and choose Run All; ends when its last cell has run."""
    open_notebook(page, lab, number)
    choose_run_all(page)
    wait_until_planned(page, number)


def wait_until_planned(page: Page, number: str) -> None:
    expect(page.get_by_text(f"Section {number} planned: ")).to_be_visible(timeout=PATIENCE_MS)


def choose_run_all(page: Page) -> None:
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()


def run_cell(page: Page, cell: Locator) -> None:
    """Run one cell, whose code is folded away."""
    cell.locator(".jp-InputPrompt, .jp-Placeholder-prompt").first.click()
    page.keyboard.press("Control+Enter")


def in_a_terminal(sandbox: TestSandbox, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``runbook``, called beside JupyterLab."""
    return subprocess.run(
        [sys.executable, "-m", "runbook_lib", *arguments],
        cwd=sandbox.root,
        env={**os.environ, **sandbox.environment, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
    )


def apply_button(page: Page) -> Locator:
    return page.locator(".runbook-panel button.apply:visible")


def cancel_button(page: Page) -> Locator:
    return page.locator(".runbook-panel button.cancel:visible").first


def type_name(page: Page, name: str = "demo/acme") -> None:
    page.locator(".runbook-panel input.name:visible").fill(name)


def press_apply(page: Page) -> None:
    """Type the demo's site and tenant and press Apply."""
    expect(apply_button(page)).to_be_disabled()
    type_name(page)
    expect(apply_button(page)).to_be_enabled()
    apply_button(page).click()


def picture(page: Page | Locator, name: str) -> None:
    if folder := os.environ.get("RUNBOOK_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/{name}.png")


def form(page: Page) -> Locator:
    """The cell that applies."""
    return page.locator(".jp-Cell", has_text="section.apply()")


def cell_of(page: Page, code: str) -> Locator:
    """The code cell that begins with this code."""
    return page.locator(".jp-CodeCell", has_text=code).first


def code_cells(page: Page) -> list[Locator]:
    """The code cells, from the parameter cell on."""
    return page.locator(".jp-CodeCell").all()


def write_into(page: Page, cell: Locator, text: str) -> None:
    """Put text in the place of what a cell holds."""
    editor = cell.locator(".cm-content")
    editor.click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(text)
    expect(editor).to_contain_text(text.splitlines()[2].strip())


def until_it_ended(page: Page) -> None:
    """Wait until the kernel has answered everything that was sent to it so far."""
    expect(page.locator(".jp-CodeCell .jp-InputArea-prompt", has_text="[*]")).to_have_count(
        0, timeout=PATIENCE_MS
    )
    expect(page.get_by_text("| Idle")).to_be_visible(timeout=PATIENCE_MS)


def use_theme(page: Page, theme: str) -> None:
    """Choose JupyterLab's theme; the next page that is opened has it."""
    assert page.evaluate(CHOOSE_THEME, theme) == 204


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
