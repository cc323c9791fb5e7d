"""The home page in a real JupyterLab, in a real browser: every tenant by section, and the way to a page."""

from __future__ import annotations

import shutil
import time

import pytest
from playwright.sync_api import Locator, Page, expect

from runbook_lib import working_copies
from runbook_lib.guide import RUN_ORDER
from tests.conftest import TestSandbox
from tests.notebooks.lab import (
    ERROR,
    PATIENCE_MS,
    choose_run_all,
    in_a_terminal,
    picture,
)

SITE = "parameters/sandbox/site.yaml"
ACME = "parameters/sandbox/acme.yaml"
BOARD = ".runbook-board"


@pytest.fixture(autouse=True)
def _no_copies(sandbox: TestSandbox) -> None:
    shutil.rmtree(sandbox.root / "work", ignore_errors=True)


def open_home(page: Page, lab: str, sandbox: TestSandbox) -> None:
    """Open the home page as ``runbook lab`` does, and choose Run All; ends when everything was read."""
    home = working_copies.make_home(sandbox.root, None)
    page.goto(f"{lab}/lab/tree/{home.relative_to(sandbox.root)}?reset", timeout=PATIENCE_MS)
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=PATIENCE_MS)
    expect(page.get_by_text("| Idle")).to_be_visible(timeout=PATIENCE_MS)
    choose_run_all(page)
    until_read(page)


def until_read(page: Page) -> None:
    expect(page.locator(f'{BOARD} [role="status"]')).to_contain_text("were read", timeout=PATIENCE_MS)


def row(page: Page, name: str) -> Locator:
    return page.locator(f"{BOARD} tbody tr").filter(has=page.get_by_role("button", name=name, exact=True))


def states(page: Page, name: str) -> list[str]:
    """The words of a tenant's row, by section in the order of a run; empty where a section does not apply."""
    cells = row(page, name).locator("td")
    return [
        cell.locator(".word").inner_text() if cell.locator(".word").count() else "" for cell in cells.all()
    ]


def section_cell(page: Page, name: str, number: str) -> Locator:
    return row(page, name).locator("td").nth(RUN_ORDER.index(number)).locator("button")


def opened(page: Page) -> str:
    """The title of the notebook's tab in front."""
    return page.locator("#jp-main-dock-panel .lm-TabBar-tab.jp-mod-current .lm-TabBar-tabLabel").inner_text()


def files_of_records(sandbox: TestSandbox) -> list[str]:
    found = (sandbox.root / "records").rglob("*")
    return sorted(path.name for path in found if path.is_file() and not path.name.startswith("."))


def test_the_tenants_by_section_before_and_after_an_apply(page: Page, lab: str, sandbox: TestSandbox) -> None:
    open_home(page, lab, sandbox)
    new = ["check", "to do", "to do", "to do", "to do"]
    assert states(page, "acme") == [*new, "rings nowhere", "to do"]
    assert states(page, "globex") == [*new, "to do", "to do"]
    assert states(page, "trunk-carrier") == ["", "to do", "to do", "to do", "to do", "", ""]
    expect(page.get_by_text("SANDBOX demo · Set up trunk-carrier")).to_be_visible()
    assert sandbox.writes() == [] and files_of_records(sandbox) == []
    picture(page, "home-before")
    # What a run changes is read again without anybody's doing, once it has ended.
    done = in_a_terminal(sandbox, "apply", "-s", SITE, ACME, "--ticket", "CHG-7")
    assert done.returncode == 0, done.stdout
    in_place = ["check", *["in place"] * 4, "rings nowhere", "rings nowhere"]
    end = time.monotonic() + PATIENCE_MS / 1000
    while states(page, "acme") != in_place:
        assert time.monotonic() < end, states(page, "acme")
        page.wait_for_timeout(300)
    runs = page.locator(".jp-Cell", has_text="home.runs()").locator("table").first
    for part in ("demo/acme", "succeeded", "CHG-7", "@"):
        expect(runs).to_contain_text(part)
    picture(page, "home-after")
    runs.get_by_role("link").first.click()
    expect(page.locator("iframe").content_frame.get_by_text("Assign DID numbers to the trunk")).to_be_visible(
        timeout=PATIENCE_MS
    )
    assert page.locator(ERROR).count() == 0
