"""The parameter form without a browser: what it shows, and what it writes when."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.errors import InputError
from runbook_lib.notebook.parameter_form import ParameterForm
from tests.conftest import CHECKOUT

ACME = "parameters/sandbox/acme.yaml"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(CHECKOUT / "parameters", tmp_path / "parameters")
    monkeypatch.setenv("RUNBOOK_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def view(form: ParameterForm) -> dict[str, Any]:
    return form._view()


def act(form: ParameterForm, do: str, **further: Any) -> dict[str, Any]:
    form.answered({"do": do, "file": view(form)["tenant"], **further})
    return view(form)


def test_the_file_is_written_only_as_it_was_shown(root: Path) -> None:
    form, file = ParameterForm("parameters/sandbox/site.yaml", ACME), root / ACME
    before = file.read_text()
    assert not act(form, "save", offer=view(form)["offer"])["can_save"]
    act(form, "set", path=["country"], value="US")
    shown = act(form, "compare")
    assert shown["can_save"] and any(line == "+  country: US" for line in shown["difference"])
    act(form, "set", path=["country"], value="DE")
    act(form, "save", offer=shown["offer"])
    assert file.read_text() == before  # it was shown with another value
    shown = act(form, "compare")
    act(form, "save", offer=shown["offer"] - 1)
    assert file.read_text() == before
    shown = act(form, "save", offer=shown["offer"])
    assert "country: DE" in file.read_text() and not shown["can_save"] and shown["can_open"]


def test_nothing_is_written_while_something_is_wrong_or_refused(root: Path) -> None:
    form, file = ParameterForm("parameters/sandbox/site.yaml", ACME), root / ACME
    before = file.read_text()
    password = ["termination", "credentials", "password"]
    for path, value in ((["pbx_trunk", "max_concurrent_calls"], "lots"), (password, "Hunter2Hunter2")):
        act(form, "set", path=["country"], value="US")
        shown = act(form, "set", path=path, value=value)
        assert [problem["path"] for problem in shown["problems"]] == [path]
        shown = act(form, "compare")
        assert not shown["can_save"] and "Hunter2" not in str(shown)
        act(form, "save", offer=shown["offer"])
        assert file.read_text() == before
        act(form, "reload")


def test_a_secret_that_is_not_there_yet_keeps_no_file_from_being_written(root: Path) -> None:
    form = ParameterForm("parameters/sandbox/site.yaml", ACME)
    shown = act(form, "set", path=["termination", "credentials", "password"], value="env:NOT_SET_ANYWHERE")
    assert shown["problems"] and act(form, "compare")["can_save"]


def test_another_change_is_never_written_over(root: Path) -> None:
    form, file = ParameterForm("parameters/sandbox/site.yaml", ACME), root / ACME
    act(form, "set", path=["country"], value="US")
    shown = act(form, "compare")
    file.write_text(file.read_text() + "  # somebody\n")
    shown = act(form, "save", offer=shown["offer"])
    assert shown["said"] and "country" not in file.read_text()


@pytest.mark.parametrize("name", ["../outside", "acme", "No Name", "", "a/b"])
def test_a_new_tenant_has_a_name_that_is_free_and_fit_for_a_file(root: Path, name: str) -> None:
    files = sorted((root / "parameters").rglob("*"))
    form = ParameterForm("parameters/sandbox/site.yaml", ACME)
    shown = act(form, "new", name=name, example="dental")
    assert shown["said"] and shown["tenant"] == ACME
    assert sorted((root / "parameters").rglob("*")) == files


def test_a_file_that_cannot_be_read_is_said_to_be_so_and_not_edited(root: Path) -> None:
    (root / ACME).write_text("tenant: {name: acme\n")
    form = ParameterForm("parameters/sandbox/site.yaml", ACME)
    assert view(form)["said"] and view(form)["fields"] == []
    shown = act(form, "tenant", tenant="parameters/sandbox/globex.yaml")
    assert shown["fields"] and not shown["said"]
    with pytest.raises(InputError):
        ParameterForm("parameters/none.yaml")


@pytest.mark.parametrize(
    "do, further",
    [
        ("set", {"path": ["country"], "value": "US"}),
        ("add", {"path": ["origination", "uris"]}),
        ("remove", {"path": ["origination", "uris"], "index": 0}),
    ],
)
def test_an_edit_for_another_file_is_dropped(root: Path, do: str, further: dict[str, Any]) -> None:
    form = ParameterForm("parameters/sandbox/site.yaml", ACME)
    shown = act(form, "tenant", tenant="parameters/sandbox/globex.yaml")
    assert shown["tenant"] == "parameters/sandbox/globex.yaml" and form.draft is not None
    for file in (ACME, None):
        act(form, do, file=file, **further)
        assert not form.draft.is_changed


@pytest.mark.parametrize(
    "do, further",
    [
        ("site", {"site": "parameters/sandbox/site.yaml"}),
        ("tenant", {"tenant": "parameters/sandbox/globex.yaml"}),
        ("new", {"name": "corner", "example": "dental"}),
    ],
)
def test_unwritten_changes_are_not_left_without_a_word(root: Path, do: str, further: dict[str, Any]) -> None:
    form = ParameterForm("parameters/sandbox/site.yaml", ACME)
    act(form, "set", path=["country"], value="US")
    shown = act(form, do, **further)
    assert shown["tenant"] == ACME and shown["said"] and shown["values"]["country"] == "US"
    shown = act(form, do, **further)
    assert shown["values"].get("country") != "US" or shown["tenant"] != ACME
    assert not shown["said"]
