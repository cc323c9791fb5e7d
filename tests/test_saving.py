"""How JupyterLab saves notebooks: through the server's own contents manager."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from jupyter_server.services.contents.largefilemanager import LargeFileManager
from nbformat.v4 import new_output

from runbook_lib import saving
from tests.conftest import CHECKOUT

NAME = "01_create_sip_trunk.ipynb"
VIEW = {
    saving.VIEW: {"model_id": "m", "version_major": 2, "version_minor": 0},
    "text/html": "<b>the plan</b>",
}


@pytest.fixture
def manager(tmp_path: Path) -> LargeFileManager:
    """A server's contents manager on a checkout of its own, with the hook as the extension sets it."""
    root = tmp_path / "checkout"
    shutil.copytree(CHECKOUT / "notebooks", root / "notebooks")
    shutil.copytree(CHECKOUT / "notebooks", root / "work" / "demo" / "acme")
    shutil.copy(CHECKOUT / ".gitignore", root)
    (root / "pyproject.toml").touch()
    (root / "runbook_lib").mkdir()
    (root / "runbook_lib" / "__init__.py").touch()
    for command in (
        ("init", "-q"),
        ("add", "."),
        ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "1"),
    ):
        subprocess.run(["git", *command], cwd=root, check=True)
    manager = LargeFileManager(root_dir=str(root))
    saving._load_jupyter_server_extension(SimpleNamespace(contents_manager=manager))
    return manager


def run_as_jupyterlab_does(manager: LargeFileManager, path: str, source: str = "") -> None:
    """Open a notebook, run its cells, and save it; perhaps with other text in a cell."""
    model = manager.get(path)
    notebook: Any = model["content"]
    notebook.metadata["language_info"] = {"name": "python", "version": "3.11.7", "file_extension": ".py"}
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
    for count, cell in enumerate(cell for cell in notebook.cells if cell.cell_type == "code"):
        cell.execution_count = count + 1
        cell.metadata["execution"] = {"iopub.status.busy": "now"}
        cell.outputs = [new_output("display_data", VIEW)]
        if source and cell.id == "parameters":
            cell.source = source
    manager.save({"type": "notebook", "content": notebook, "format": "json"}, path)


def changed(manager: LargeFileManager) -> list[str]:
    status = subprocess.run(
        ["git", "status", "--porcelain", "notebooks"], cwd=manager.root_dir, capture_output=True, text=True
    )
    return status.stdout.splitlines()


def test_a_notebook_of_the_product_that_was_run_and_saved_is_as_it_was(manager: LargeFileManager) -> None:
    for path in (CHECKOUT / "notebooks").glob("*.ipynb"):
        run_as_jupyterlab_does(manager, f"notebooks/{path.name}")
    assert changed(manager) == []


def test_what_a_person_wrote_in_it_is_kept_and_nothing_else(manager: LargeFileManager) -> None:
    run_as_jupyterlab_does(manager, f"notebooks/{NAME}", 'site = "other.yaml"')
    saved = nbformat.read(Path(manager.root_dir) / "notebooks" / NAME, as_version=4)
    before = nbformat.read(CHECKOUT / "notebooks" / NAME, as_version=4)
    [cell] = [cell for cell in saved.cells if cell.id == "parameters"]
    assert cell.source == 'site = "other.yaml"'
    cell.source = next(cell.source for cell in before.cells if cell.id == "parameters")
    assert saved == before


def test_a_working_copy_keeps_the_text_of_a_control_and_not_its_view(manager: LargeFileManager) -> None:
    run_as_jupyterlab_does(manager, f"work/demo/acme/{NAME}")
    saved = nbformat.read(Path(manager.root_dir) / "work" / "demo" / "acme" / NAME, as_version=4)
    outputs = [output for cell in saved.cells for output in cell.get("outputs", ())]
    assert outputs and all(output.data == {"text/html": "<b>the plan</b>"} for output in outputs)
    assert "widgets" not in saved.metadata


def test_files_that_are_no_notebooks_pass_as_they_are(manager: LargeFileManager) -> None:
    manager.save({"type": "file", "format": "text", "content": "site: 1\n"}, "site.yaml")
    assert (Path(manager.root_dir) / "site.yaml").read_text() == "site: 1\n"
