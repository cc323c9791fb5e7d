"""What a test does in a real JupyterLab, in a real browser. ``RUNBOOK_SCREENSHOTS=FOLDER`` keeps pictures."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

from runbook_lib.guide import SECTIONS
from tests.conftest import CHECKOUT, TestSandbox

PATIENCE_MS = 60_000
#: Of the windows that people have.
WIDTHS = (1280, 1024, 800)
#: JupyterLab lays a page out again some time after its window has changed.
LAYOUT_S = 3.0
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


def set_width(page: Page, width: int, height: int = 5000) -> None:
    """Make the window so wide."""
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_function("width => innerWidth === width", arg=width)


def wider_than_the_page(page: Page) -> list[str]:
    """Outputs that have a scroll bar below them, in the window's widths that people have."""
    outputs, found = page.locator(".jp-OutputArea-output"), list[str]()
    for width in WIDTHS:  # the file list takes its part of each
        set_width(page, width)
        end = time.monotonic() + LAYOUT_S
        while wide := outputs.evaluate_all(
            "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.innerText)"
        ):
            if time.monotonic() > end:
                found += wide
                break
            page.wait_for_timeout(100)
    return found


def cut_labels(page: Page) -> list[str]:
    """The labels and buttons of the form that are wider than the place that they have."""
    return (
        page.locator(".runbook-panel")
        .locator("button:visible, label:visible, li:visible")
        .evaluate_all(
            "all => all.filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.innerText)"
        )
    )


#: The words of the tables, with whether each goes on in the next line, and whether it would fit on one.
_WORDS = r"""() => {
  const found = [];
  const cells = [...document.querySelectorAll("table :is(th, td, caption)")];
  for (const cell of cells.filter(one => one.checkVisibility())) {
    const words = [];
    const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const node = texts.currentNode;
      const goesOn = node.previousSibling?.nodeName === "WBR";
      for (const match of node.data.matchAll(/\S+/g)) {
        const end = [node, match.index + match[0].length];
        const last = words.at(-1);
        if (goesOn && match.index === 0 && last) Object.assign(last, { end, text: last.text + match[0] });
        else words.push({ start: [node, match.index], end, text: match[0] });
      }
    }
    const style = getComputedStyle(cell);
    const room = cell.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    for (const { start, end, text } of words) {
      const range = document.createRange();
      range.setStart(...start);
      range.setEnd(...end);
      const lines = [...range.getClientRects()].filter(one => one.width);
      const tops = lines.map(one => one.top);
      const width = lines.reduce((sum, one) => sum + one.width, 0);
      found.push({ text, split: Math.max(...tops) - Math.min(...tops) > 6, fits: width + 10 < room });
    }
  }
  return found;
}"""
#: Words of letters alone: an address or an id may have to go on in the next line.
_PLAIN = re.compile(r"[^\w\s]?[^\W\d_]{2,16}[^\w\s]{0,2}")
Finder = Callable[[Page], list[str]]
#: Any text may end a line behind these.
_ENDS = re.compile(r"[-‐–/?|]")


def needless(page: Page) -> list[str]:
    """The words in tables that go on in the next line although they would fit on one."""
    split = [word["text"] for word in page.evaluate(_WORDS) if word["split"] and word["fits"]]
    return sorted({word for word in split if not _ENDS.search(word)})


def split_words(page: Page) -> list[str]:
    """The words in tables that go on in the next line: of letters, and any others that would fit on one."""
    split = {word["text"] for word in page.evaluate(_WORDS) if word["split"]}
    return sorted({word for word in split if _PLAIN.fullmatch(word)} | {*needless(page)})


def split_at(page: Page, *widths: int, find: Finder = split_words) -> list[tuple[int, str]]:
    """The words in tables that are split, with the width of the window."""
    found = []
    for width in widths or WIDTHS:
        set_width(page, width)
        page.wait_for_timeout(300)
        found += [(width, word) for word in find(page)]
    return found
