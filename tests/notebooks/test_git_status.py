"""After work in JupyterLab git shows the parameter files that the operator saved, and nothing else."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import nbformat
import pytest
import stamina
from nbclient import NotebookClient

from runbook_lib.guide import SECTIONS
from tests.conftest import CHECKOUT, TestSandbox

ACME = "parameters/sandbox/acme.yaml"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "runbook_lib", *arguments]


@pytest.fixture
def workspace(sandbox: TestSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace as the operator has it, under git."""
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    monkeypatch.delenv("RUNBOOK_ROOT", raising=False)
    folder = tmp_path / "ws"
    subprocess.run(command("init", str(folder), "--sandbox"), check=True, capture_output=True)
    (folder / ".sandbox").mkdir(exist_ok=True)
    (folder / ".sandbox" / "secrets").symlink_to(sandbox.root / ".sandbox" / "secrets")
    for arguments in (("init", "-q"), ("add", "."), ("commit", "-qm", "as it was made")):
        git(folder, *arguments)
    return folder


@pytest.fixture
def server(workspace: Path) -> Iterator[httpx.Client]:
    """JupyterLab, as ``runbook lab`` starts it, as its own front end talks to it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [
        "--no-browser",
        "--allow-root",
        "--IdentityProvider.token=",
        "--ServerApp.disable_check_xsrf=True",
    ]
    arguments = ["lab", "-s", "parameters/sandbox/site.yaml", ACME, "--port", str(port), "--", *options]
    with (
        subprocess.Popen(command(*arguments), cwd=workspace, stdout=subprocess.DEVNULL) as lab,
        httpx.Client(
            base_url=f"http://127.0.0.1:{port}/api/contents/", timeout=60, trust_env=False
        ) as client,
    ):
        try:
            for attempt in stamina.retry_context(on=httpx.HTTPError, attempts=None, timeout=90, wait_max=0.5):
                with attempt:
                    client.get("").raise_for_status()
            yield client
        finally:
            lab.terminate()
            subprocess.run(command("sandbox", "--stop"), cwd=workspace, check=True, capture_output=True)


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=op", "-c", "user.email=op@example.com")
    done = subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


@pytest.mark.timeout(600)
def test_every_notebook_opened_run_and_saved(workspace: Path, server: httpx.Client) -> None:
    copies = sorted((workspace / "work").rglob("*.ipynb"))
    assert {path.stem for path in copies} >= {section.notebook for section in SECTIONS.values()}
    for path in copies:
        address = quote(path.relative_to(workspace).as_posix())
        opened = server.get(address).raise_for_status().json()
        notebook = nbformat.from_dict(opened["content"])
        NotebookClient(
            notebook, timeout=120, allow_errors=True, resources={"metadata": {"path": path.parent}}
        ).execute()
        assert any(cell.get("outputs") for cell in notebook.cells)
        server.post(f"{address}/checkpoints").raise_for_status()
        server.put(address, json={"type": "notebook", "content": notebook}).raise_for_status()
    assert git(workspace, "status", "--porcelain") == ""
    text = server.get(ACME).raise_for_status().json()["content"]
    server.put(ACME, json={"type": "file", "format": "text", "content": f"{text}# seen\n"}).raise_for_status()
    assert git(workspace, "status", "--porcelain") == f" M {ACME}\n"
