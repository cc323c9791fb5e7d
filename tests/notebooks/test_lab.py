"""Every section's notebook in a real JupyterLab, in a real browser, with its defaults.

``RUNBOOK_SCREENSHOTS=FOLDER`` keeps a picture of each.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
import stamina
from playwright.sync_api import Page, expect, sync_playwright

from runbook_lib.guide import ROLL_BACK, SECTIONS
from runbook_lib.runbook import Runbook
from tests.conftest import CHECKOUT, TestSandbox

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="chromium is not installed; CI requires it"
)
PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def lab(running_sandbox: TestSandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a JupyterLab on the project's notebooks, without any settings of the user's."""
    sandbox, tmp_path = running_sandbox, tmp_path_factory.mktemp("lab")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [f"--port={port}", "--no-browser", "--allow-root", "--IdentityProvider.token="]
    folders = {
        name: str(tmp_path / name) for name in ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    }
    address = f"http://127.0.0.1:{port}"
    with (tmp_path / "lab.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options, f"--ServerApp.root_dir={sandbox.root}"],
            env={**os.environ, **sandbox.environment, **folders, "PYTHONPATH": str(CHECKOUT)},
            stderr=log,
        )
        try:
            for attempt in stamina.retry_context(
                on=httpx.TransportError, attempts=None, timeout=60, wait_max=0.5
            ):
                with attempt:
                    httpx.get(f"{address}/api")
            yield address
        finally:
            server.terminate()
            server.wait(30)


@pytest.fixture
def page(lab: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 1300, "height": 5000})
        browser.close()


def run_all(page: Page, lab: str, number: str) -> None:
    """Open a section's notebook as it is and choose Run All; ends when its last cell has run."""
    page.goto(f"{lab}/lab/tree/notebooks/{SECTIONS[number].notebook}.ipynb?reset", timeout=PATIENCE_MS)
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=PATIENCE_MS)
    expect(page.get_by_text("| Idle")).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    expect(page.get_by_text(f"Section {number} succeeded.")).to_be_visible(timeout=PATIENCE_MS)


@pytest.mark.parametrize("number", SECTIONS)
def test_run_all_with_the_defaults(page: Page, lab: str, sandbox: TestSandbox, number: str) -> None:
    if number == ROLL_BACK:  # needs a record
        with Runbook.open(
            "parameters/sandbox/site.yaml", "parameters/sandbox/acme.yaml", mode="apply"
        ) as runbook:
            runbook.section("01").apply()
        sandbox.clear_log()
    run_all(page, lab, number)
    if folder := os.environ.get("RUNBOOK_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/{number}.png")
    expect(page.get_by_text("SANDBOX: both vendors are simulated on this machine")).to_be_visible()
    assert page.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0
    assert sandbox.writes() == []


def test_apply_wants_the_tenants_name(page: Page, lab: str, sandbox: TestSandbox) -> None:
    run_all(page, lab, "01")
    page.get_by_role("button", name="apply", exact=True).click()
    expect(page.get_by_role("button", name="Switch to apply")).to_be_disabled()
    assert sandbox.writes() == []
