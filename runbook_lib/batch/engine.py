"""The papermill engine ``runbook``: papermill's own, with a status that is true.

Papermill writes every cell that never ran as ``completed`` when a kernel dies, and overwrites what
lies at the output path. Here a notebook says in ``metadata.runbook.status`` what became of it, on
disk from the start, so that a run that died says ``unknown``, and an output path that exists is refused.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from nbclient.exceptions import CellExecutionError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, NotebookExecutionManager
from papermill.log import logger

from ..errors import InputError

UNKNOWN, SUCCEEDED, FAILED, INTERRUPTED = "unknown", "succeeded", "failed", "interrupted"


class RunbookEngine(NBClientEngine):
    """``papermill --engine runbook`` and every ``runbook`` command."""

    @classmethod
    def execute_notebook(
        cls,
        nb: Any,
        kernel_name: str,
        output_path: str | None = None,
        progress_bar: bool | dict[str, Any] = True,
        log_output: bool = False,
        autosave_cell_every: int = 30,
        **options: Any,
    ) -> Any:
        """Execute a notebook and return it; see papermill's ``Engine.execute_notebook``.

        Raises ``InputError`` when the output path exists.
        """
        if output_path and Path(output_path).exists():
            raise InputError(
                [f"{output_path} exists already, and a record is never overwritten"],
                next_step="give another output path, or move the old file away",
            )
        manager = TruthfulManager(nb, output_path, log_output, progress_bar, autosave_cell_every)
        manager.notebook_start()
        try:
            cls.execute_managed_notebook(manager, kernel_name, log_output=log_output, **options)
        except BaseException as error:
            manager.ended_by(error)
            raise
        else:
            manager.ended_by(None)
        finally:
            manager.cleanup_pbar()
            manager.notebook_complete()
        return manager.nb

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: NotebookExecutionManager,
        kernel_name: str,
        *,
        kernel: Any | None = None,
        log_output: bool = False,
        start_timeout: int = 60,
        execution_timeout: int | None = None,
        **options: Any,
    ) -> None:
        """Run the cells, in ``kernel`` (a started kernel manager, ended here) or in a new kernel."""
        client = PapermillNotebookClient(
            nb_man,
            km=kernel,
            kernel_name=kernel_name,
            log=logger,
            log_output=log_output,
            startup_timeout=start_timeout,
            timeout=execution_timeout or options.get("timeout"),
            stdout_file=options.get("stdout_file"),
            stderr_file=options.get("stderr_file"),
            # The section's result is on disk when the last cell returns: nothing is left to wait for.
            shutdown_kernel="immediate",
        )
        client.execute(cleanup_kc=True)


class TruthfulManager(NotebookExecutionManager):
    """Papermill's book-keeping, without its guesses."""

    def notebook_start(self, **options: Any) -> None:
        self.nb.metadata["runbook"] = {"status": UNKNOWN}
        super().notebook_start(**options)

    def cell_complete(self, cell: Any, cell_index: int | None = None, **options: Any) -> None:
        """Finish a cell; called while an exception passes when the kernel died or time ran out."""
        if sys.exc_info()[0] is not None:
            cell.metadata.papermill["status"] = self.FAILED
        super().cell_complete(cell, cell_index, **options)

    def ended_by(self, error: BaseException | None) -> None:
        """Set the notebook's status from what ended its execution."""
        if isinstance(error, KeyboardInterrupt | SystemExit):
            status = INTERRUPTED
        elif error is not None or self.nb.metadata.papermill.get("exception"):
            status = FAILED
        else:
            status = SUCCEEDED
        self.nb.metadata["runbook"]["status"] = status
        if error is not None and not isinstance(error, CellExecutionError):
            self.nb.metadata["runbook"]["error"] = f"{type(error).__name__}: {error}"

    def notebook_complete(self, **options: Any) -> None:
        """Write the end of the notebook; cells that never ran stay ``pending``."""
        self.end_time = self.now()
        record = self.nb.metadata.papermill
        record["end_time"] = self.end_time.isoformat()
        record["duration"] = (self.end_time - self.start_time).total_seconds()
        self.complete_pbar()
        self.cleanup_pbar()
        self.save()
