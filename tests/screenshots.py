"""Make the pictures of the README: a real JupyterLab on a sandbox of its own, in a real browser.

``python -m tests.screenshots``, or ``make screenshots``; one of them: give its name. It needs chromium.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.conftest import CHECKOUT, TestSandbox, started
from tests.notebooks.conftest import CHROMIUM, jupyterlab
from tests.notebooks.lab import PATIENCE_MS, choose_run_all, in_a_terminal, run_all

FOLDER = CHECKOUT / "docs"
#: High enough that nothing scrolls.
WIDTH, HEIGHT = 1280, 12_000


def section_3(page: Page, lab: str, sandbox: TestSandbox) -> bytes:
    """The call path and the plan of a trunk that exists already."""
    for section in ("01", "02"):
        in_a_terminal(sandbox, "apply", "--section", section, "parameters/sandbox/acme.yaml")
    run_all(page, lab, "03")
    hide_surroundings(page)
    path = page.locator(".jp-Cell", has_text="section.call_path()").first
    plan = page.locator(".jp-Cell", has_text="section.plan()").first
    return from_to(page, path, plan)


def record(page: Page, lab: str, sandbox: TestSandbox) -> bytes:
    """The way of calls in the record of a whole run."""
    in_a_terminal(sandbox, "apply", "parameters/sandbox/globex.yaml")
    (run,) = sandbox.root.glob("records/demo/globex/*/record.json")
    page.goto(f"{lab}/runbook/records/demo/globex/{run.parent.name}/", timeout=PATIENCE_MS)
    figures = page.locator("figure svg")
    return from_to(page, figures.first, figures.last)


def home(page: Page, lab: str, sandbox: TestSandbox) -> bytes:
    """The tenants by section, after one of them was set up."""
    in_a_terminal(sandbox, "apply", "parameters/sandbox/globex.yaml")
    page.goto(f"{lab}/lab/tree/notebooks/index.ipynb?reset", timeout=PATIENCE_MS)
    page.get_by_text("| Idle").wait_for(timeout=PATIENCE_MS)
    choose_run_all(page)
    page.locator(".runbook-board table td").first.wait_for(timeout=PATIENCE_MS)
    page.locator(".runbook-board progress").wait_for(state="hidden", timeout=PATIENCE_MS)
    hide_surroundings(page)
    board = page.locator(".runbook-board")
    return from_to(page, board, board)


PICTURES: dict[str, Callable[[Page, str, TestSandbox], bytes]] = {
    "section-3": section_3,
    "record": record,
    "home": home,
}


def hide_surroundings(page: Page) -> None:
    """Close the list of files, so that the notebook has the width."""
    page.keyboard.press("Control+b")
    page.wait_for_timeout(1000)


def from_to(page: Page, first: object, last: object) -> bytes:
    """A picture from the top of one element to the bottom of another, with a margin around three sides."""
    boxes = [element.bounding_box() for element in (first, last)]  # type: ignore[attr-defined]
    top, bottom = boxes[0]["y"] - 8, boxes[1]["y"] + boxes[1]["height"]
    left = min(box["x"] for box in boxes) - 8
    right = min(max(box["x"] + box["width"] for box in boxes) + 8, WIDTH)
    clip = {"x": max(left, 0), "y": top, "width": right - max(left, 0), "height": bottom - top}
    return page.screenshot(clip=clip)


def main(names: list[str]) -> None:
    """Make the pictures of these names; all of them without one."""
    for name in names or list(PICTURES):
        with (
            tempfile.TemporaryDirectory() as folder,
            started(Path(folder) / "project") as sandbox,
            sync_playwright() as playwright,
        ):
            place = Path(folder) / "lab"
            place.mkdir()
            with jupyterlab(sandbox, place) as lab:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
                page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
                (FOLDER / f"{name}.png").write_bytes(PICTURES[name](page, lab, sandbox))
                browser.close()
        print(FOLDER / f"{name}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
