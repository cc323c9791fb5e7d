"""The parameter form without a browser: what it shows, and what it writes when."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from runbook_lib import working_copies
from runbook_lib.errors import InputError
from runbook_lib.notebook.panel import ParameterPanel
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
    shown = view(form)
    form.answered({"do": do, "file": shown["tenant"], "shape": shown["shape"], **further})
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


def test_a_copy_that_was_edited_for_another_tenant_is_not_opened(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form, sent = ParameterForm("parameters/sandbox/site.yaml", ACME), list[dict[str, Any]]()
    form._panel = ParameterPanel(view(form), form.answered)
    monkeypatch.setattr(form._panel, "send", sent.append)
    act(form, "open")
    copy = root / "work" / "demo" / "acme" / f"{working_copies.FIRST}.ipynb"
    assert copy.exists()
    copy.write_text(copy.read_text().replace("acme.yaml", "globex.yaml"))
    opened = len(sent)
    assert "globex.yaml" in act(form, "open")["said"] and len(sent) == opened


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
    other = [{"file": ACME}, {"file": None}, {"shape": shown["shape"] - 1}, {"shape": None}]
    for typed_for in other:
        assert act(form, do, **typed_for, **further)["said"]
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


def test_a_change_that_would_misplace_a_comment_is_refused_beside_its_field(root: Path) -> None:
    file = root / ACME
    file.write_text(file.read_text() + '  move:\n    - "+12025550101" # desk\n    - "+12025550102" # fax\n')
    before = file.read_text()
    form = ParameterForm("parameters/sandbox/site.yaml", ACME)
    others = ["+12025550103", "+12025550104"]
    shown = act(form, "set", path=["move"], value=others)
    [problem] = [problem for problem in shown["problems"] if problem["path"] == ["move"]]
    assert "What to do next" in problem["text"]
    shown = act(form, "compare")
    act(form, "save", offer=shown["offer"])
    assert not shown["can_save"] and file.read_text() == before
    shown = act(form, "set", path=["move"], value=["+12025550102", "+12025550101"])
    assert not [problem for problem in shown["problems"] if problem["path"] == ["move"]]
    shown = act(form, "compare")
    act(form, "save", offer=shown["offer"])
    assert file.read_text().endswith('    - "+12025550102" # fax\n    - "+12025550101" # desk\n')


def test_a_row_is_never_edited_as_another_one(root: Path) -> None:
    """What was typed for the second rule, when the first one had just been removed, is for no rule now."""
    globex = "parameters/sandbox/globex.yaml"
    form = ParameterForm("parameters/sandbox/site.yaml", globex)
    typed_for = view(form)["shape"]
    act(form, "remove", path=["rules", "inbound"], index=0)
    shown = act(form, "set", shape=typed_for, path=["rules", "inbound", 0, "extension"], value="9999")
    assert shown["said"] and [row["extension"] for row in shown["values"]["rules"]["inbound"]] == ["1002"]


@pytest.mark.parametrize("folder, target", [("sandbox", "sandbox"), ("example", "live"), ("sandbox", "")])
def test_it_says_first_what_the_site_is(root: Path, folder: str, target: str) -> None:
    site = root / "parameters" / folder / "site.yaml"
    if not target:
        site.write_text(site.read_text().replace("target: sandbox", "target: lab"))
    form = ParameterForm(site)
    shown = view(form)
    assert shown["target"] == target
    assert shown["banner"].startswith(target.upper()) and (target or "unknown" in shown["banner"])
    assert shown["banner"] in form.show().text().replace("\n", " ")


def test_a_name_that_things_bear_is_fixed_and_a_wrong_one_can_be_corrected(root: Path) -> None:
    form = ParameterForm("parameters/sandbox/site.yaml", ACME)
    assert view(form)["fixed"]["name"]
    shown = act(form, "set", path=["name"], value="acme-2")
    assert shown["said"] and shown["values"]["name"] == "acme" and form.draft is not None
    assert not form.draft.is_changed
    shown = act(form, "new", name="corner", example="dental")
    assert shown["fixed"] and act(form, "set", path=["name"], value="other")["values"]["name"] == "corner"
    (root / ACME).write_text((root / ACME).read_text().replace("  name: acme\n", "  name: Acme & Sons\n"))
    form = ParameterForm("parameters/sandbox/site.yaml", ACME)
    assert not view(form)["fixed"]
    shown = act(form, "set", path=["name"], value="acme")
    assert not shown["said"] and shown["values"]["name"] == "acme" and shown["fixed"]


def test_each_thing_that_is_asked_for_is_answered(root: Path) -> None:
    """The page takes no input until then, so also what is refused, or changes nothing, has its answer."""
    form = ParameterForm("parameters/sandbox/site.yaml", ACME)
    for number, (do, further) in enumerate(
        [
            ("tenant", {"tenant": "parameters/sandbox/none.yaml"}),
            ("new", {"name": "acme", "example": "dental"}),
            ("new", {"name": "corner", "example": "none"}),
            ("remove", {"path": ["rules", "inbound"], "index": 3}),
            ("reload", {}),
        ]
    ):
        assert act(form, do, ask=f"page-{number}", **further)["answered"] == f"page-{number}"
