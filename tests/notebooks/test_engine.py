"""The papermill engine: a status that is true, and no record overwritten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.engines import papermill_engines
from papermill.exceptions import PapermillExecutionError

from runbook_lib.batch.engine import RunbookEngine
from runbook_lib.batch.kernels import KernelPool
from runbook_lib.errors import InputError


@pytest.fixture(autouse=True)
def _registered() -> None:
    papermill_engines.register("runbook", RunbookEngine)


def execute(folder: Path, *sources: str, **options: Any) -> nbformat.NotebookNode:
    """Execute cells, and return the notebook as it lies on the disk whatever happened."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(one) for one in sources])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, folder / "in.ipynb")
    papermill.execute_notebook(
        folder / "in.ipynb", folder / "out.ipynb", engine_name="runbook", progress_bar=False, **options
    )
    return saved(folder)


def saved(folder: Path) -> nbformat.NotebookNode:
    return nbformat.read(folder / "out.ipynb", as_version=4)


def states(notebook: nbformat.NotebookNode) -> list[str]:
    return [cell.metadata.papermill.status for cell in notebook.cells if cell.cell_type == "code"]


def test_a_notebook_that_ran_through_succeeded(tmp_path: Path) -> None:
    notebook = execute(tmp_path, "1 + 1", "2 + 2")
    assert notebook.metadata.runbook.status == "succeeded"
    assert states(notebook) == ["completed", "completed"]


def test_a_failed_cell_fails_the_notebook_and_later_ones_stay_pending(tmp_path: Path) -> None:
    with pytest.raises(PapermillExecutionError):
        execute(tmp_path, "1 / 0", "2 + 2")
    assert saved(tmp_path).metadata.runbook.status == "failed"
    assert states(saved(tmp_path)) == ["failed", "pending"]


def test_a_dead_kernel_never_counts_as_completed(tmp_path: Path) -> None:
    with pytest.raises(DeadKernelError):
        execute(tmp_path, "1 + 1", "import os; os.kill(os.getpid(), 9)", "2 + 2")
    assert saved(tmp_path).metadata.runbook.status == "failed"
    assert "DeadKernelError" in saved(tmp_path).metadata.runbook.error
    assert states(saved(tmp_path)) == ["completed", "failed", "pending"]


def test_a_cell_that_runs_out_of_time_fails_the_notebook(tmp_path: Path) -> None:
    with pytest.raises(CellTimeoutError):
        execute(tmp_path, "import time; time.sleep(60)", "2 + 2", execution_timeout=1)
    assert saved(tmp_path).metadata.runbook.status == "failed"
    assert states(saved(tmp_path)) == ["failed", "pending"]


def test_a_notebook_that_still_runs_says_unknown(tmp_path: Path) -> None:
    peek = f"import json; json.load(open({str(tmp_path / 'out.ipynb')!r}))['metadata']['runbook']['status']"
    notebook = execute(tmp_path, peek)
    assert notebook.cells[0].outputs[0].data["text/plain"] == "'unknown'"


def test_an_output_path_that_exists_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out.ipynb").write_text("an older record")
    with pytest.raises(InputError, match="never overwritten"):
        execute(tmp_path, "1 + 1")
    assert (tmp_path / "out.ipynb").read_text() == "an older record"


def test_every_notebook_gets_a_kernel_of_its_own(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with KernelPool(tmp_path) as kernels:
        kernels.prepare(first, {"WHICH": "first"})
        kernels.prepare(second, {"WHICH": "second"})
        shown = [
            execute(folder, "import os; (os.getpid(), os.environ['WHICH'])", kernel=kernels.take(folder, {}))
            .cells[0]
            .outputs[0]
            .data["text/plain"]
            for folder in (first, second)
        ]
    assert "first" in shown[0] and "second" in shown[1]
    assert shown[0].split(",")[0] != shown[1].split(",")[0]


def test_kernels_that_nobody_took_are_ended(tmp_path: Path) -> None:
    with KernelPool(tmp_path) as kernels:
        kernels.prepare(tmp_path, {})
        process = kernels._waiting[tmp_path].provisioner.process
        assert process.poll() is None
    assert process.poll() is not None
