"""The papermill engine ``runbook``: papermill's own, but with a truthful status and without secrets.

When a kernel dies, papermill marks every cell that never ran as ``completed``; it overwrites the
output path, and writes whatever a cell shows. Here ``metadata.runbook.status`` shows how a notebook
ended, on disk from the start, so that a run that died says ``unknown``; an existing output path is
refused; and everything written is filtered.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import NoSuchKernel
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, NotebookExecutionManager
from papermill.iorw import papermill_io, write_ipynb
from papermill.log import logger
from papermill.translators import PythonTranslator, papermill_translators

from ..errors import InputError, RunbookError
from ..outcomes import FAILED, INTERRUPTED, SUCCEEDED, UNKNOWN
from ..records.result import RUN_FOLDER
from ..secret import scrub, scrub_data, scrub_log
from .guard import check_parameters
from .interruption import INTERRUPTIONS, describe_interruption, interruptible
from .kernels import KERNEL, KernelPool, OwnKernelSpecs
from .scan import CHANGE_IT, leak_summary, scan, withhold
from .store import reserved

LANGUAGE = "python"


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
        """Execute a notebook and return it without secrets; see papermill's ``Engine.execute_notebook``.

        Raises ``InputError`` before anything is written when the output path exists or the
        parameters contain a secret's value, and ``RunbookError`` when a secret got into the notebook
        nevertheless, which is then withheld. SIGTERM ends it as Ctrl-C does.
        """
        logger.addFilter(scrub_log)
        folder = check_parameters(nb)
        # Papermill names the path to the engine only if it wants to see cells saved as they run.
        path = output_path or nb.metadata.papermill.get("output_path")
        own = options.get("kernel") is None
        with interruptible(), reserved(path) as output, ExitStack() as stack:
            manager = TruthfulManager(nb, output_path, log_output, progress_bar, autosave_cell_every)
            try:
                manager.notebook_start()
                if own:
                    environment = {RUN_FOLDER: str(folder)} if folder is not None else {}
                    kernels = stack.enter_context(KernelPool(Path.cwd()))
                    options["kernel"] = kernels.take(Path(), environment)
                cls.execute_managed_notebook(manager, kernel_name, log_output=log_output, **options)
            except BaseException as error:
                manager.ended_by(error)
                raise
            else:
                manager.ended_by(None)
            finally:
                manager.cleanup_pbar()
                manager.notebook_complete()
                # In a batch, the runner checks the whole record, including what it writes itself.
                _look_at(output, folder if own else None)
        return manager.without_secrets()

    @classmethod
    def nb_kernel_name(cls, nb: Any, name: str | None = None) -> str:
        """Return the kernel of the runbook's own interpreter, whatever the notebook or ``-k`` says.

        Raises ``InputError`` for a kernel of another language: the parameters would be written in it.
        """
        language = _language_of_kernel(name) if name else _language_of_notebook(nb)
        if language != LANGUAGE:
            kernel = f"the kernel {name}" if name else "the notebook"
            raise InputError(
                [f"{kernel} is for {language}: the runbook's engine runs notebooks in Python only"],
                next_step="leave out the kernel (-k), or run this notebook without the runbook's engine",
            )
        return KERNEL

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: NotebookExecutionManager,
        kernel_name: str,
        *,
        kernel: Any,
        log_output: bool = False,
        start_timeout: int = 60,
        execution_timeout: int | None = None,
        **options: Any,
    ) -> None:
        """Run the cells in ``kernel``, a started kernel manager, and end it."""
        client = FilteredClient(
            nb_man,
            km=kernel,
            kernel_name=kernel_name,
            log=logger,
            log_output=log_output,
            startup_timeout=start_timeout,
            timeout=execution_timeout or options.get("timeout"),
            # How long after its answer a cell's last outputs may arrive: long, on a busy machine.
            iopub_timeout=60,
            stdout_file=options.get("stdout_file"),
            stderr_file=options.get("stderr_file"),
            # The section's result is on disk when the last cell returns, so nothing is left to wait for.
            shutdown_kernel="immediate",
        )
        client.execute(cleanup_kc=True)


def _language_of_notebook(notebook: Any) -> str:
    metadata = notebook.metadata
    named = [metadata.get("language_info", {}).get("name"), metadata.get("kernelspec", {}).get("language")]
    return next((language.lower() for language in named if language), LANGUAGE)


def _language_of_kernel(name: str) -> str:
    """The language of a kernel that is installed, or that papermill writes parameters for."""
    try:
        installed = OwnKernelSpecs().get_kernel_spec(name).language
    except (NoSuchKernel, OSError, ValueError, RuntimeError):  # also: no folder to look in, a broken entry
        installed = ""
    if installed:
        return installed.lower()
    return LANGUAGE if papermill_translators.find_translator(name, LANGUAGE) is PythonTranslator else name


def _look_at(output: Path | None, folder: Path | None) -> None:
    """Withhold the notebook, and the folder with journal and result, when a secret is in any of them."""
    places = [one for one in (output, folder) if one is not None and one.exists()]
    found = scan([*places, *(folder.rglob("*") if folder is not None else ())])
    if found:
        for place in places:
            if place == folder or place in found:
                withhold(place)
        raise RunbookError(leak_summary(found), next_step=CHANGE_IT)


class FilteredClient(PapermillNotebookClient):
    """Papermill's client; secrets are removed from messages before they are stored or logged."""

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        """Handle one message of the kernel."""
        return super().process_message({**msg, "content": scrub_data(msg["content"])}, cell, cell_index)

    def papermill_execute_cells(self) -> None:
        """Execute the cells; an interrupted cell gets the time to save its result and to sign out."""
        try:
            super().papermill_execute_cells()
        except BaseException:
            self.shutdown_kernel = "graceful"
            raise


class TruthfulManager(NotebookExecutionManager):
    """Papermill's book-keeping, without its guesses."""

    def without_secrets(self) -> nbformat.NotebookNode:
        """Return the filtered notebook: cells, outputs, parameters, widgets, all metadata."""
        return nbformat.from_dict(scrub_data(self.nb))

    #: Whether ``save`` may wait for the next cell that runs, which is about to start.
    _can_wait = False

    def save(self, **options: Any) -> None:
        """Write the notebook in its present state; papermill's saving, without secrets."""
        if self._can_wait:
            return
        if self.output_path and self.nb.metadata["runbook"]["status"] in (FAILED, INTERRUPTED):
            write_ipynb(self.without_secrets(), self.output_path)
        elif self.output_path:
            # Neither checked nor laid out, which takes ten times as long, as the next saving replaces it; the
            # last one is papermill's own.
            papermill_io.write(json.dumps(scrub_data(self.nb), ensure_ascii=False), self.output_path)
        self.last_save_time = self.now()

    def notebook_start(self, **options: Any) -> None:
        """Begin the notebook, with an unknown outcome."""
        self.nb.metadata["runbook"] = {"status": UNKNOWN}
        super().notebook_start(**options)

    def cell_start(self, cell: Any, cell_index: int | None = None, **options: Any) -> None:
        """Begin a cell: one that runs is written as running, with the ends of those before it."""
        with self._waiting(not _runs(cell)):
            super().cell_start(cell, cell_index, **options)

    def cell_complete(self, cell: Any, cell_index: int | None = None, **options: Any) -> None:
        """Finish a cell; called while an exception passes when the kernel died or time ran out.

        Its end is written at once if it failed, or if it is the last one that runs; otherwise with the start
        of the next one, which follows without a pause: a long notebook is not written twice for each cell.
        """
        record = cell.metadata.papermill
        if sys.exc_info()[0] is not None:
            record["status"] = self.FAILED
        follows = cell_index is not None and any(map(_runs, self.nb.cells[cell_index + 1 :]))
        with self._waiting(record["status"] != self.FAILED and follows):
            super().cell_complete(cell, cell_index, **options)

    @contextmanager
    def _waiting(self, can_wait: bool) -> Iterator[None]:
        self._can_wait = can_wait
        try:
            yield
        finally:
            self._can_wait = False

    def ended_by(self, error: BaseException | None) -> None:
        """Set the notebook's status from what ended its execution."""
        # A cell that times out is interrupted as well, but by the engine.
        timed_out = isinstance(error, CellTimeoutError)
        if isinstance(error, INTERRUPTIONS) or (_interrupted_inside(self.nb) and not timed_out):
            status = INTERRUPTED
        elif error is not None or self.nb.metadata.papermill.get("exception") or _failed_inside(self.nb):
            status = FAILED
        else:
            status = SUCCEEDED
        self.nb.metadata["runbook"]["status"] = status
        if isinstance(error, INTERRUPTIONS):
            self.nb.metadata["runbook"]["error"] = describe_interruption(error)
        elif error is not None and not isinstance(error, CellExecutionError):
            self.nb.metadata["runbook"]["error"] = scrub(f"{type(error).__name__}: {error}")

    def notebook_complete(self, **options: Any) -> None:
        """Write the end of the notebook; cells that never ran stay ``pending``."""
        self.end_time = self.now()
        record = self.nb.metadata.papermill
        record["end_time"] = self.end_time.isoformat()
        record["duration"] = (self.end_time - self.start_time).total_seconds()
        self.complete_pbar()
        self.cleanup_pbar()
        self.save()


def _runs(cell: Any) -> bool:
    return cell.cell_type == "code"


def _failed_inside(notebook: nbformat.NotebookNode) -> bool:
    """Whether papermill will raise for a cell, even if its tag lets the run continue after it."""
    return any(
        output.output_type == "error" and not (output.ename == "SystemExit" and output.evalue in ("", "0"))
        for cell in notebook.cells
        for output in cell.get("outputs", ())
    )


def _interrupted_inside(notebook: nbformat.NotebookNode) -> bool:
    """Whether a cell ended because somebody interrupted the kernel itself."""
    return any(
        output.output_type == "error" and output.ename == KeyboardInterrupt.__name__
        for cell in notebook.cells
        for output in cell.get("outputs", ())
    )
