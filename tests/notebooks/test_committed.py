"""The committed notebooks: clean, complete by the guide's ids, and short."""

from __future__ import annotations

import ast
import json
import re
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest

from runbook_lib.guide import READS_ONLY, SECTIONS, STEPS, section_of

FOLDER = Path(__file__).parent.parent.parent / "notebooks"
PARAMETERS = ("site", "tenant", "mode", "plan_file", "approved_plan", "approved_by")
CALLS = ("current", "plan", "apply", "verify", "finish")
#: Section 0 has nothing to apply.
CHECKS = ("current", "check", "verify", "finish")
LONGEST_CELL = 12
#: Notebooks beside those of the sections: the home page, a tenant on one page, the form of parameters.
OTHERS = {"discover", "index", "parameters", "tenant"}
each_of_ours = pytest.mark.parametrize("name", sorted({one.notebook for one in SECTIONS.values()} | OTHERS))
each_section = pytest.mark.parametrize("number", sorted(SECTIONS))


def read(number: str) -> nbformat.NotebookNode:
    return nbformat.read(FOLDER / f"{SECTIONS[number].notebook}.ipynb", as_version=4)


def code_cells(number: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in read(number).cells if cell.cell_type == "code"]


def calls_of(number: str) -> tuple[str, ...]:
    return CHECKS if number == READS_ONLY else CALLS


def test_every_section_has_its_notebook_and_no_other_lies_there() -> None:
    sections = {one.notebook for one in SECTIONS.values()}
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == sections | OTHERS


@each_of_ours
def test_it_is_valid_and_has_no_outputs_and_no_counts(name: str) -> None:
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"


@each_of_ours
def test_it_is_formatted_for_readable_differences(name: str) -> None:
    text = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), indent=1, ensure_ascii=False) + "\n"


@each_of_ours
def test_its_code_is_folded_away_but_for_the_parameters(name: str) -> None:
    for cell in nbformat.read(FOLDER / f"{name}.ipynb", as_version=4).cells:
        if cell.cell_type == "code":
            assert bool(cell.metadata.get("jupyter", {}).get("source_hidden")) is (cell.id != "parameters")


@each_of_ours
def test_its_cells_are_short_and_hold_no_logic(name: str) -> None:
    forbidden = (ast.If, ast.For, ast.While, ast.FunctionDef, ast.ClassDef, ast.Try, ast.With, ast.Lambda)
    for cell in nbformat.read(FOLDER / f"{name}.ipynb", as_version=4).cells:
        if cell.cell_type == "code":
            assert len(cell.source.splitlines()) <= LONGEST_CELL
            assert not any(isinstance(node, forbidden) for node in ast.walk(ast.parse(cell.source))), cell.id


@each_of_ours
def test_cell_ids_are_readable_names(name: str) -> None:
    ids = [cell.id for cell in nbformat.read(FOLDER / f"{name}.ipynb", as_version=4).cells]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", one) for one in ids)
    assert {"parameters", "open"} <= set(ids)


@each_section
def test_its_parameters_are_the_contracts_and_change_nothing_by_default(number: str) -> None:
    [cell] = [cell for cell in code_cells(number) if "parameters" in cell.metadata.get("tags", [])]
    values = {
        one.targets[0].id: ast.literal_eval(one.value)
        for one in ast.parse(cell.source).body
        if isinstance(one, ast.Assign)
    }
    options = ("record", "only", "accept_interruption")[0 if number == "90" else 2 :]
    assert tuple(values) == (*PARAMETERS[:2], *options, *PARAMETERS[2:])
    assert values["mode"] == "plan"
    assert all((FOLDER.parent / values[name]).is_file() for name in ("site", "tenant"))
    assert values["plan_file"] is values["approved_plan"] is values["approved_by"] is None


@each_section
def test_it_walks_from_current_state_to_record_in_cells_of_their_own(number: str) -> None:
    sources = [cell.source for cell in code_cells(number)]
    calls = [f"section.{call}()" for call in calls_of(number)]
    known = {f"section.{call}()" for call in (*CALLS, *CHECKS)}
    assert [source for source in sources if source in known] == calls
    [opening] = [source for source in sources if "open_section(" in source]
    assert opening.splitlines()[0] == "from runbook_lib import open_section"
    assert f'open_section("{number}", {", ".join(PARAMETERS)}' in opening


@pytest.mark.parametrize("step", sorted(STEPS))
def test_every_step_shows_its_settings_under_its_heading(step: str) -> None:
    """What is set beside what is there, before anything is planned; expected results are read back below."""
    cells = read(section_of(step).number).cells
    [place] = [index for index, cell in enumerate(cells) if f"### {step} " in cell.source]
    call = "section.verify()" if step.endswith("E") else f'section.step("{step}")'
    assert cells[place + 1].source == call
    assert sum(cell.source == call for cell in cells) == 1


@each_section
def test_a_picture_follows_a_sentence_that_says_what_it_shows(number: str) -> None:
    cells = read(number).cells
    for before, cell in pairwise(cells):
        if cell.source in ("section.call_path()", "section.outbound_path()"):
            assert before.cell_type == "markdown" and before.source.startswith("The picture shows ")


@pytest.mark.parametrize("step", sorted(STEPS))
def test_every_step_of_the_guide_has_its_heading(step: str) -> None:
    section = section_of(step)
    headings = [
        line
        for cell in read(section.number).cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("### ")
    ]
    assert [line for line in headings if line.startswith(f"### {step} ")] == [f"### {step} {STEPS[step]}"]


@each_section
def test_every_step_says_where_to_click_by_hand(number: str) -> None:
    for cell in read(number).cells:
        if cell.cell_type == "markdown" and re.match(r"### \d\.\d ", cell.source):
            assert "**By hand" in cell.source, cell.id


@each_section
def test_cells_are_named_for_what_they_call(number: str) -> None:
    assert {*calls_of(number)[:-1], "record"} <= {cell.id for cell in read(number).cells}


def test_5_e_says_that_online_proves_nothing() -> None:
    [cell] = [cell for cell in read("05").cells if cell.id == "step-5-e"]
    assert "Online proves nothing about the credentials" in cell.source


@each_of_ours
def test_notes_warnings_and_advice_look_different_without_colours(name: str) -> None:
    """JupyterLab gives all quotations the same grey bar."""
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    markdown = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    marks = {"ℹ": "Note", "⚠": "Warning", "★": "Best practice"}
    for quotation in re.findall(r"^> .*", "\n".join(markdown), re.MULTILINE):
        mark, rest = quotation[2], quotation[4:]
        assert rest.startswith(f"**{marks[mark]}** ")
