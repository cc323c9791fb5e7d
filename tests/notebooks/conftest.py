"""A real JupyterLab on the sandbox, and a page of a real browser."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import stamina
from playwright.sync_api import Browser, Page, sync_playwright

from runbook_lib import saving, server_extension
from tests.conftest import CHECKOUT, TestSandbox

CHROMIUM = shutil.which("chromium")
#: Where a JupyterLab keeps settings, and open tabs.
SETTINGS = ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")


@dataclass(frozen=True)
class Lab:
    """A JupyterLab, and the folder with its settings."""

    address: str
    folder: Path

    def forget(self) -> None:
        """End its kernels, and delete what it keeps of settings and open tabs."""
        with httpx.Client(base_url=self.address, timeout=60, trust_env=False) as client:
            client.get("/lab").raise_for_status()
            token = {"X-XSRFToken": client.cookies["_xsrf"]}
            for session in client.get("/api/sessions").json():
                client.delete(f"/api/sessions/{session['id']}", headers=token).raise_for_status()
        for name in SETTINGS:
            shutil.rmtree(self.folder / name, ignore_errors=True)


@contextmanager
def jupyterlab(sandbox: TestSandbox, folder: Path) -> Iterator[str]:
    """The address of a JupyterLab on the project's notebooks, without any settings of the user's."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [f"--port={port}", "--no-browser", "--allow-root", "--IdentityProvider.token="]
    # As runbook lab does.
    options.append("--ServerApp.kernel_spec_manager_class=runbook_lib.batch.kernels.OwnKernelSpecs")
    for module in (saving.MODULE, server_extension.MODULE):
        options.append(f"--ServerApp.jpserver_extensions={module}=True")
    folders = {name: str(folder / name) for name in SETTINGS}
    address = f"http://127.0.0.1:{port}"
    with (folder / "lab.log").open("w") as log:
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


@pytest.fixture(scope="session")
def running_lab(running_sandbox: TestSandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    with jupyterlab(running_sandbox, folder) as address:
        yield Lab(address, folder)


@pytest.fixture(scope="module")
def lab(running_lab: Lab) -> Iterator[str]:
    """The address of a JupyterLab on the sandbox; no kernel, open tab or theme of another file is in it."""
    yield running_lab.address
    running_lab.forget()


@pytest.fixture
def browser() -> Iterator[Browser]:
    if CHROMIUM is None and not os.environ.get("CI"):
        pytest.skip("chromium is not installed; CI requires it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Page:
    return browser.new_page(viewport={"width": 1300, "height": 5000})
