"""Errors of the runbook in a notebook: told plainly, without a stack trace, and the cell fails."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import papermill
import pytest
from papermill.exceptions import PapermillExecutionError

from runbook_lib.errors import ConflictError, InputError, PlanError, RunbookError, StalePageError
from runbook_lib.notebook.failures import HEADINGS, OTHERWISE, boxed, rendered, told_plainly

CELL = """
from runbook_lib.errors import ConflictError
from runbook_lib.notebook.failures import told_plainly

with told_plainly():
    raise ConflictError("a \\x1b[2Jthing", step="4.1", meaning="it means", next_step="do this")
"""


def test_every_part_of_an_error_is_told() -> None:
    error = ConflictError("it happened", step="2.2", meaning="it means", next_step="do this")
    text = "\n".join(rendered(error))
    for part in (f"{HEADINGS['ConflictError']} at step 2.2", "it happened", "it means", "do this"):
        assert part in text


def test_every_problem_of_the_input_is_told() -> None:
    text = "\n".join(rendered(InputError(["site.yaml:3: first", "acme.yaml:9: second"])))
    assert "site.yaml:3: first" in text and "acme.yaml:9: second" in text


def test_a_long_text_is_wrapped_and_whole() -> None:
    lines = rendered(RunbookError("word " * 200))
    assert max(map(len, lines)) <= 110
    assert " ".join(lines).split().count("word") == 200


def test_other_errors_keep_their_stack_trace() -> None:
    with pytest.raises(ValueError) as caught, told_plainly():
        raise ValueError("a bug")
    assert not hasattr(caught.value, "_render_traceback_")


def test_in_a_notebook_the_cell_fails_without_a_stack_trace(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, tmp_path / "in.ipynb")
    with pytest.raises(PapermillExecutionError) as caught:
        papermill.execute_notebook(tmp_path / "in.ipynb", tmp_path / "out.ipynb", progress_bar=False)
    assert caught.value.ename == "ConflictError"
    [failed] = [cell for cell in nbformat.read(tmp_path / "out.ipynb", 4).cells if cell.cell_type == "code"]
    [output] = failed.outputs
    told = "\n".join(output.traceback)
    assert "Traceback" not in told and "told_plainly" not in told and "\x1b[2J" not in told
    assert "do this" in told and "⟨U+001B⟩[2Jthing" in told
    assert re.search(r"at step 4\.1 · \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", told)


def test_an_error_of_a_section_that_is_not_the_guides_names_the_section() -> None:
    error = RunbookError("it happened", step="90")
    assert str(error) == "Section 90: it happened"
    assert f"{OTHERWISE} at section 90" in rendered(error)[0]


def every_kind(kind: type[RunbookError]) -> list[type[RunbookError]]:
    return [kind, *(one for below in kind.__subclasses__() for one in every_kind(below))]


def test_no_error_is_told_by_the_name_of_its_class() -> None:
    """PlanError and RunbookError are never raised as such; a stale page says one sentence."""
    for kind in {*every_kind(RunbookError)} - {RunbookError, PlanError, StalePageError}:
        assert kind.__name__ in HEADINGS or not kind.__module__.startswith("runbook_lib.")
        data = {"kind": kind.__name__, "what": "it happened", "step": None, "meaning": "", "next_step": ""}
        assert "Error" not in boxed(data).text()
