"""Whether the open page still matches the notebook's parameters.

JupyterLab sends the cells of Run All one after another, so a cell that fails within milliseconds does
not stop those that arrive later. They would run with the section of the former parameters. So the
kernel watches its cells, and withdraws the page as soon as it may be for another tenant.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from inspect import signature
from typing import TYPE_CHECKING, Any

from IPython import get_ipython

from ..errors import StalePageError
from ..passed import OPENINGS
from ..runbook import Runbook
from .failures import rendered, told_plainly

if TYPE_CHECKING:
    from .page import Page

#: Ids of the two cells in every notebook. Copies of these cells, the cell that papermill injects, and
#: front ends that make their own ids have others: there the code shows which cell it is.
PARAMETER_CELL, OPENING_CELL = "parameters", "open"
_SETS_TARGET = re.compile(r"^\s*(?:site|tenant)\b[^=!<>(\n]*=(?!=)", re.MULTILINE)
_USES_PAGE = re.compile(r"\b(?:section|page)\.")
#: What the cells call the page that the opening cell makes.
_PAGES = ("section", "page")

NO_PARAMETERS = (
    "The parameter cell did not finish, so the cells below it do nothing: correct it, then run it and"
    " the opening cell again."
)
NOT_OPENED = (
    "The opening cell did not finish, so the cells below it do nothing: run the parameter cell and the"
    " opening cell again."
)
NOTHING_OPEN = "No section is open yet: run the parameter cell and the opening cell first."
_MISSING = object()
#: The cells of one Run All follow each other faster than this (s).
PAUSE_S = 1.0


def watch_cells() -> CellWatch | None:
    """Watch this kernel's cells from the first call on, and return the watch; ``None`` outside IPython."""
    shell = get_ipython()
    return None if shell is None else _watch_of(shell)


@cache
def _watch_of(shell: Any) -> CellWatch:
    return CellWatch(shell)


class CellWatch:
    """Withdraws the open page when a parameter or opening cell fails, or when the parameters change.

    Parameters
    ----------
    shell
        The kernel's IPython shell.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._page: Page | None = None
        self._opened_with: dict[str, Any] = {}
        #: Why no page can be used now, one sentence.
        self._reason: str | None = None
        self._setting_parameters = False
        self._ended_at = 0.0
        #: Whether the cell that runs is the first one since somebody did something: not of the same Run All.
        self.is_first_of_several = True
        #: Ids of the parameter cells that were to run and did not complete.
        self._incomplete: set[str | None] = set()
        if shell.last_execution_result is not None:  # the parameter cell, the first time in a kernel
            self._after(shell.last_execution_result)
        shell.events.register("pre_run_cell", self._before)
        shell.events.register("post_run_cell", self._after)
        if not shell.custom_exceptions:
            shell.set_custom_exc((NameError,), self._show_name_error)
        if (kernel := getattr(shell, "kernel", None)) is not None:
            self._watch_skipped_cells(kernel)

    def start_opening(self) -> None:
        """Withdraw the former page; raise ``StalePageError`` if the parameters are not complete."""
        self._withdraw(NOT_OPENED)
        if self._incomplete:
            with told_plainly():
                raise StalePageError(NO_PARAMETERS)

    def opened(self, page: Page, parameters: Mapping[str, Any]) -> None:
        """Watch over a page from now on; ``parameters`` are those that it was opened with."""
        variables = self._shell.user_ns
        self._page, self._reason = page, None
        # A value that was written into the opening cell itself has no variable that could change.
        self._opened_with = {
            name: deepcopy(value)
            for name, value in parameters.items()
            if name in variables and variables[name] == value
        }

    def check(self) -> bool:
        """Withdraw the page if the parameters changed; return whether no cell is just setting them."""
        variables = self._shell.user_ns
        if self._page is not None and any(
            variables.get(name, _MISSING) != value for name, value in self._opened_with.items()
        ):
            self._withdraw(
                f"The parameters have changed since this page was opened for {self._page.name}, so the cells"
                " below do nothing: run the opening cell again."
            )
        return not self._setting_parameters

    def _withdraw(self, reason: str) -> None:
        self._opened_with = {}
        self._reason = NO_PARAMETERS if self._incomplete else reason
        if self._page is not None:
            self._page.withdraw(self._reason)

    def _before(self, info: Any) -> None:
        self.is_first_of_several = time.monotonic() - self._ended_at > PAUSE_S
        self._setting_parameters = _is_parameter_cell(info.cell_id, info.raw_cell)
        if self._setting_parameters:
            self._incomplete.discard(info.cell_id)
        if _is_opening_cell(info.cell_id, info.raw_cell):
            self._withdraw(NOT_OPENED)

    def _after(self, result: Any) -> None:
        self._ended_at = time.monotonic()
        self._setting_parameters = False
        info = result.info
        if not result.success:
            self._did_not_complete(info.cell_id, info.raw_cell)
        elif info.cell_id == PARAMETER_CELL:
            self._incomplete.clear()
        self.check()

    def _did_not_complete(self, cell_id: str | None, code: str) -> None:
        if _is_parameter_cell(cell_id, code):
            self._incomplete.add(cell_id)
            self._withdraw(NO_PARAMETERS)
        elif _is_opening_cell(cell_id, code):
            self._withdraw(NOT_OPENED)

    def _watch_skipped_cells(self, kernel: Any) -> None:
        """Watch the cells that the kernel skips after a failure, for which IPython has no event."""
        finish = kernel.finish_metadata  # called for every request, also for those that are skipped

        def finish_metadata(request: Any, metadata: Any, reply: Mapping[str, Any]) -> Any:
            if reply.get("status") == "aborted":
                self._skipped(kernel, request["metadata"].get("cellId"), request["content"].get("code", ""))
            return finish(request, metadata, reply)

        kernel.finish_metadata = finish_metadata

    def _skipped(self, kernel: Any, cell_id: str | None, code: str) -> None:
        """Make a skipped cell show the same as one that arrives later and is run."""
        self._did_not_complete(cell_id, code)
        if self._reason and (_USES_PAGE.search(code) or _is_opening_cell(cell_id, code)):
            error = {"ename": StalePageError.__name__, "evalue": self._reason}
            lines = rendered(StalePageError(self._reason))
            kernel.send_response(kernel.iopub_socket, "error", {**error, "traceback": lines})

    def _show_name_error(self, shell: Any, kind: type, error: NameError, trace: Any, **_: Any) -> None:
        """Show a plain sentence if a cell lacks what the parameter or opening cell would have defined."""
        opening = _is_opening_cell(None, shell.user_ns["In"][-1])
        if error.name in _PAGES or (opening and error.name in signature(Runbook.open).parameters):
            lines = rendered(StalePageError(self._reason or NOTHING_OPEN))
            error._render_traceback_ = lambda: lines  # type: ignore[attr-defined]
        shell.showtraceback((kind, error, trace), running_compiled_code=True)


def _is_parameter_cell(cell_id: str | None, code: str) -> bool:
    return cell_id == PARAMETER_CELL or _SETS_TARGET.search(code) is not None


def _is_opening_cell(cell_id: str | None, code: str) -> bool:
    return cell_id == OPENING_CELL or any(opening in code for opening in OPENINGS)
