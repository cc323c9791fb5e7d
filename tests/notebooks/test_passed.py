"""Names and files that are passed to a notebook: nothing is done for a tenant that nobody named."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from papermill.engines import papermill_engines
from papermill.parameterize import parameterize_notebook
from ruamel.yaml import YAML

from runbook_lib.batch.engine import RunbookEngine
from runbook_lib.batch.guard import check_parameters
from runbook_lib.errors import InputError
from runbook_lib.guide import SECTIONS
from runbook_lib.notebook.failures import HEADINGS
from runbook_lib.notebook.passing import PARAMETERS, passed_names
from runbook_lib.passed import not_passed, unknown
from tests.conftest import CHECKOUT, TestSandbox
from tests.parameters.test_bad_input import live_site

SITE, ACME = "parameters/sandbox/site.yaml", "parameters/sandbox/acme.yaml"
FILES = {"site": SITE, "tenant": ACME}
OPTIONS = {number: ("accept_interruption",) for number in SECTIONS}
OPTIONS["90"] = ("record", "only", "accept_interruption")


def says_wrong_input(told: str) -> bool:
    """Whether it was refused as wrong input: in the notebook in words, by our engine by the error's class."""
    return "InputError" in told or HEADINGS["InputError"] in told


#: Parameters that must be refused, by what somebody did, with the names that are found wrong.
WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a misspelt tenant": ({"site": SITE, "tenent": ACME}, ["tenent"]),
    "a misspelt tenant, applying": ({"site": SITE, "tenent": ACME, "mode": "apply"}, ["tenent", "tenant"]),
    "a misspelt tenant, planning": ({"site": SITE, "tenent": ACME, "mode": "plan"}, ["tenent"]),
    "another case": ({**FILES, "Mode": "apply"}, ["Mode"]),
    "a name of another notebook": ({**FILES, "record": "20261123T000000Z"}, ["record"]),
    "the page": ({**FILES, "section": "02"}, ["section"]),
    "what opens the page": ({**FILES, "open_section": "x"}, ["open_section"]),
    "a name of the kernel": ({**FILES, "In": []}, ["In"]),
    "a name of Python": ({**FILES, "print": "x"}, ["print"]),
    "apply without anything": ({"mode": "apply"}, ["site", "tenant"]),
    "apply without a tenant": ({"site": SITE, "mode": "apply"}, ["tenant"]),
    "apply without a site": ({"tenant": ACME, "mode": "apply"}, ["site"]),
}


def read(number: str) -> nbformat.NotebookNode:
    path = CHECKOUT / "notebooks" / f"{SECTIONS[number].notebook}.ipynb"
    return nbformat.read(path, as_version=4)


def with_parameters(number: str, parameters: dict[str, Any], *, tagged: bool = True) -> nbformat.NotebookNode:
    """The section's notebook as papermill makes it ready."""
    notebook = read(number)
    notebook.metadata["papermill"] = {}
    for cell in notebook.cells:
        cell.metadata.setdefault("tags", [])
        if not tagged:
            cell.metadata["tags"] = []
    return parameterize_notebook(notebook, parameters, kernel_name="python3", language="python")


def names_of(problems: list[str]) -> list[str]:
    """The parameter that each problem is about."""
    return [problem.partition(":")[0] for problem in problems]


def seen_from_inside(notebook: nbformat.NotebookNode, number: str) -> list[str]:
    """What the opening cell says of the cells before it."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    opening = next(index for index, source in enumerate(sources) if "open_section(" in source)
    declared = (*PARAMETERS, *OPTIONS[number])
    names, lost = passed_names(sources[:opening], declared)
    values: dict[str, Any] = {}
    for source in sources[:opening]:
        exec(source, values)
    return [*unknown(names, declared), *not_passed(names, values["mode"]), *lost]


@pytest.mark.parametrize("number", sorted(SECTIONS))
@pytest.mark.parametrize("what", WRONG)
def test_wrong_names_are_found_by_the_engine_and_by_the_opening_cell(
    sandbox: TestSandbox, number: str, what: str
) -> None:
    if what == "a name of another notebook" and number == "90":
        pytest.skip("this is the notebook")
    parameters, wrong = WRONG[what]
    notebook = with_parameters(number, parameters)
    with pytest.raises(InputError) as caught:
        check_parameters(notebook)
    assert caught.value.problems == seen_from_inside(notebook, number)
    assert names_of(caught.value.problems) == wrong


@pytest.mark.parametrize("number", sorted(SECTIONS))
def test_a_notebooks_own_names_are_accepted(sandbox: TestSandbox, number: str) -> None:
    own: dict[str, Any] = {"record": None, "only": ["01"], "accept_interruption": True}
    options = {name: own[name] for name in OPTIONS[number]}
    inject_paths = {"PAPERMILL_INPUT_PATH": "a", "PAPERMILL_OUTPUT_PATH": "b"}
    for parameters in ({}, {"mode": "verify"}, {**FILES, **options, **inject_paths, "mode": "apply"}):
        notebook = with_parameters(number, parameters)
        check_parameters(notebook)
        assert seen_from_inside(notebook, number) == []


@pytest.mark.parametrize("key", ["site", "tenant"])
@pytest.mark.parametrize("value", [None, "", {}, []])
def test_an_empty_file_is_refused_before_a_kernel_starts(sandbox: TestSandbox, key: str, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        check_parameters(with_parameters("01", {**FILES, key: value}))
    assert names_of(caught.value.problems) == [key]


def test_what_the_notebooks_own_cell_overwrites_is_not_passed(sandbox: TestSandbox) -> None:
    """Papermill puts its cell first where the parameter cell has lost its tag: the defaults win."""
    notebook = with_parameters("01", {**FILES, "mode": "apply"}, tagged=False)
    assert seen_from_inside(notebook, "01") == ["site", "tenant", "mode"]
    with pytest.raises(InputError) as caught:
        check_parameters(notebook)
    assert names_of(caught.value.problems) == ["site", "tenant", "mode"]


def test_a_cell_that_another_tool_puts_in_counts_as_well() -> None:
    own = 'site = "a"\ntenant = "b"\nmode = "plan"'
    assert passed_names([own, "import os", 'tenant = "c"; mode = "apply"'], PARAMETERS)[0] == [
        "tenant",
        "mode",
    ]
    assert passed_names([own, "rows = 3"], PARAMETERS) == ([], [])


def test_a_bug_in_reading_parameters_is_not_taken_for_a_foreign_notebook(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise its secrets would not be known to the filter."""

    def bug(*_: object) -> None:
        raise AttributeError("no such name")

    monkeypatch.setattr("runbook_lib.parameters.load", bug)
    with pytest.raises(AttributeError):
        check_parameters(with_parameters("01", FILES))


@pytest.mark.parametrize("value", [5, ["a"], "a\0b", "x" * 10_000])
def test_a_foreign_notebooks_parameters_mean_something_else(sandbox: TestSandbox, value: object) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x = 1")])
    notebook.metadata["papermill"] = {"parameters": {"site": value, "tenant": value}}
    assert check_parameters(notebook) is None


def test_foreign_notebooks_keep_their_names() -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x = 1")])
    notebook.metadata["papermill"] = {"parameters": {"anything": 1, "mode": "apply"}}
    assert check_parameters(notebook) is None


def by_papermill(*options: str) -> Any:
    def run(folder: Path, root: Path, parameters: dict[str, Any]) -> tuple[bool, str]:
        output = folder / "out.ipynb"
        given = [part for name, value in parameters.items() for part in ("-p", name, value)]
        command = [sys.executable, "-m", "papermill", *options, "--no-progress-bar"]
        ended = subprocess.run(
            [*command, str(root / "notebooks/01_create_sip_trunk.ipynb"), str(output), *given],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        return ended.returncode == 0, ended.stderr

    return run


def by_python(engine: str | None) -> Any:
    def run(folder: Path, root: Path, parameters: dict[str, Any]) -> tuple[bool, str]:
        papermill_engines.register("runbook", RunbookEngine)
        source, output = str(root / "notebooks/01_create_sip_trunk.ipynb"), str(folder / "out.ipynb")
        try:
            papermill.execute_notebook(
                source, output, parameters=parameters, engine_name=engine, progress_bar=False
            )
        except Exception as error:
            return False, f"{type(error).__name__}: {error}"
        return True, ""

    return run


def edited(parameters: dict[str, Any]) -> nbformat.NotebookNode:
    """A copy whose parameter cell somebody edited, in the place of passing anything."""
    notebook = read("01")
    [cell] = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    cell.source += "".join(f"\n{name} = {value!r}" for name, value in parameters.items())
    return notebook


def by_nbconvert(folder: Path, root: Path, parameters: dict[str, Any]) -> tuple[bool, str]:
    nbformat.write(edited(parameters), folder / "in.ipynb")
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "in.ipynb"]
    ended = subprocess.run([*command, "--output", "out.ipynb"], cwd=folder, capture_output=True, text=True)
    return ended.returncode == 0, ended.stderr


def by_nbclient(folder: Path, root: Path, parameters: dict[str, Any]) -> tuple[bool, str]:
    try:
        NotebookClient(edited(parameters), kernel_name="python3").execute()
    except CellExecutionError as error:
        return False, str(error)
    return True, ""


DOORS = {
    "papermill": by_papermill(),
    "papermill with our engine": by_papermill("--engine", "runbook"),
    "papermill.execute_notebook": by_python(None),
    "papermill.execute_notebook with our engine": by_python("runbook"),
    "nbconvert": by_nbconvert,
    "nbclient": by_nbclient,
}


@pytest.fixture
def live(sandbox: TestSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A live site's file: the vendors on this machine in the place of the real ones."""
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    secrets = sandbox.root / ".sandbox" / "secrets"
    for name, file in (("TOKEN", "twilio_auth_token"), ("ADMIN", "portsip_admin_password")):
        monkeypatch.setenv(f"RUNBOOK_TEST_{name}", (secrets / file).read_text().strip())
    monkeypatch.setenv("RUNBOOK_TEST_SIP", (secrets / "sip_password_acme").read_text().strip())
    with (tmp_path / "site.yaml").open("w") as file:
        YAML(typ="safe").dump(live_site(), file)
    sandbox.clear_log()
    return tmp_path / "site.yaml"


@pytest.mark.parametrize("door", DOORS)
def test_a_misspelt_tenant_never_applies_the_default_one_on_a_live_site(
    sandbox: TestSandbox, live: Path, tmp_path: Path, door: str
) -> None:
    parameters = {"site": str(live), "tenent": str(tmp_path / "globex.yaml"), "mode": "apply"}
    succeeded, told = DOORS[door](tmp_path, sandbox.root, parameters)
    # An edited cell passes nothing: there it is what is missing that is named.
    named = "tenant: was not passed" if door in ("nbconvert", "nbclient") else "tenent: "
    assert not succeeded and says_wrong_input(told) and named in told
    assert sandbox.control("GET", "requests").json()["requests"] == []
    # With our engine nothing was even begun.
    assert (tmp_path / "out.ipynb").exists() == (door in ("papermill", "papermill.execute_notebook"))


@pytest.mark.parametrize("door", ["papermill", "papermill with our engine", "nbconvert"])
@pytest.mark.parametrize("mode", ["plan", "verify"])
def test_a_live_site_without_a_tenant_reads_nothing_for_the_default_one(
    sandbox: TestSandbox, live: Path, tmp_path: Path, door: str, mode: str
) -> None:
    succeeded, told = DOORS[door](tmp_path, sandbox.root, {"site": str(live), "mode": mode})
    assert not succeeded and says_wrong_input(told)
    assert re.search(r"acme\.yaml:\d+:\s+tenant:", told)  # the default's file, as such
    assert sandbox.control("GET", "requests").json()["requests"] == []


@pytest.mark.parametrize("door", ["papermill", "papermill with our engine"])
def test_both_named_are_applied(
    sandbox: TestSandbox, tmp_path: Path, door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By paths as the current folder and the project's have them."""
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    (tmp_path / "mine.yaml").write_text((sandbox.root / ACME).read_text())
    parameters = {"site": SITE, "tenant": "mine.yaml", "mode": "apply"}
    succeeded, told = DOORS[door](tmp_path, sandbox.root, parameters)
    assert succeeded, told
    assert [one["path"] for one in sandbox.writes()] == ["/v1/Trunks"]
    shown = json.dumps([cell.get("outputs") for cell in nbformat.read(tmp_path / "out.ipynb", 4).cells])
    assert str(tmp_path / "mine.yaml") in shown


@pytest.mark.parametrize("door", [(), ("--engine", "runbook")])
def test_with_cwd_paths_start_at_the_folder_in_which_the_notebook_runs(
    sandbox: TestSandbox, tmp_path: Path, door: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/mine.yaml").write_text((sandbox.root / ACME).read_text())
    (tmp_path / "mine.yaml").write_text("tenant: {}\n")
    run = by_papermill(*door, "--cwd", str(tmp_path / "inner"))
    succeeded, told = run(tmp_path, sandbox.root, {"site": SITE, "tenant": "mine.yaml"})
    assert succeeded, told


@pytest.mark.parametrize("door", ["nbconvert", "nbclient"])
def test_a_parameter_cell_that_was_edited_passes_nothing(
    sandbox: TestSandbox, tmp_path: Path, door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    sandbox.clear_log()
    succeeded, told = DOORS[door](tmp_path, sandbox.root, {**FILES, "mode": "apply"})
    assert not succeeded and says_wrong_input(told)
    assert all(f"{name}: was not passed" in told for name in ("site", "tenant"))
    assert sandbox.control("GET", "requests").json()["requests"] == []
    assert not os.path.exists(sandbox.root / "records")
