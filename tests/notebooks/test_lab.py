"""A section's notebook in a real JupyterLab, in a real browser."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import stamina

from tests.conftest import CHECKOUT, TestSandbox

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
PATIENCE_MS = 60_000


@pytest.fixture
def lab(sandbox: TestSandbox, tmp_path: Path) -> Iterator[str]:
    """The address of a JupyterLab on the project's notebooks, without any settings of the user's."""
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


def test_run_all_with_the_defaults(lab: str, sandbox: TestSandbox) -> None:
    from playwright.sync_api import expect, sync_playwright

    sandbox.clear_log()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1300, "height": 5000})
        page.goto(f"{lab}/lab/tree/notebooks/01_create_sip_trunk.ipynb?reset", timeout=PATIENCE_MS)
        page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=PATIENCE_MS)
        expect(page.get_by_text("| Idle")).to_be_visible(timeout=PATIENCE_MS)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        expect(page.get_by_text("Section 01 succeeded.")).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_text("SANDBOX: both vendors are simulated on this machine")).to_be_visible()
        expect(page.get_by_text("Plan: 2 create")).to_be_visible()
        assert page.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0
        page.get_by_role("button", name="apply", exact=True).click()
        expect(page.get_by_role("button", name="Switch to apply")).to_be_disabled()
        browser.close()
    assert sandbox.writes() == []
