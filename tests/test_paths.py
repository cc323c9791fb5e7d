"""Relative paths: one rule for every way in, and no file that was not meant."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import certifi
import pytest

from runbook_lib.errors import InputError, SecretError
from runbook_lib.parameters import load, load_site
from runbook_lib.paths import locate
from runbook_lib.runbook import Runbook
from runbook_lib.secret import SecretRef, look_up
from tests.commands import runbook_here
from tests.conftest import CHECKOUT, TestSandbox

SITE, ACME = "parameters/sandbox/site.yaml", "parameters/sandbox/acme.yaml"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, beside the project's."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def tenant(folder: Path, name: str = "acme.yaml", **changes: str) -> Path:
    """The demo's tenant as a file of the folder, with some words replaced."""
    text = (CHECKOUT / ACME).read_text()
    for old, new in changes.items():
        text = text.replace(old, new)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_path_means_the_current_folder_first_and_then_the_project(here: Path, tmp_path: Path) -> None:
    root = tmp_path / "project"
    (root / "sub").mkdir(parents=True)
    (root / "x").write_text("project")
    assert locate("x", here, root) == root / "x"
    (here / "y").write_text("here")
    assert locate("y", here, root) == here / "y"
    assert locate("z", here, root) is None
    (here / "x").write_text("project")  # a copy: whichever is read, the same is meant
    assert locate("x", here, root) == here / "x"
    (here / "link").symlink_to(root / "sub")
    assert locate("link", here, root) == here / "link"
    assert locate(root / "x", here, root) == root / "x"


@pytest.mark.parametrize("kind", ["a file", "a dangling link", "a folder", "a named pipe"])
def test_two_that_differ_are_refused_and_both_named(here: Path, tmp_path: Path, kind: str) -> None:
    root = tmp_path / "project"
    root.mkdir()
    (root / "x").write_text("one")
    {
        "a file": lambda path: path.write_text("two"),
        "a dangling link": lambda path: path.symlink_to("nowhere"),
        "a folder": lambda path: path.mkdir(),
        "a named pipe": os.mkfifo,
    }[kind](here / "x")
    with pytest.raises(InputError) as caught:
        locate("x", here, root)
    assert str(here / "x") in str(caught.value) and str(root / "x") in str(caught.value)


def test_site_and_tenant_that_can_mean_two_files_are_reported_at_once(here: Path, tmp_path: Path) -> None:
    root = tmp_path / "project"
    shutil.copytree(CHECKOUT / "parameters", root / "parameters")
    shutil.copytree(CHECKOUT / "parameters", here / "parameters")
    assert load(SITE, ACME, root)[1].name == "acme"
    for name in (SITE, ACME):
        (here / name).write_text((here / name).read_text() + "# another\n")
    with pytest.raises(InputError) as caught:
        load(SITE, ACME, root)
    for name in (SITE, ACME):
        assert any(str(here / name) in one and str(root / name) in one for one in caught.value.problems)


def test_a_message_has_the_full_paths_that_were_looked_at(here: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_site("not/there.yaml", tmp_path)
    assert str(here / "not/there.yaml") in str(caught.value)
    assert str(tmp_path / "not/there.yaml") in str(caught.value)


def test_a_reference_starts_at_its_own_file_and_then_at_the_project(here: Path, tmp_path: Path) -> None:
    root, beside = tmp_path / "project", tmp_path / "msp"
    (root / "secrets").mkdir(parents=True)
    (beside / "secrets").mkdir(parents=True)
    reference = SecretRef("file", "secrets/sip", beside)
    with pytest.raises(SecretError) as caught:
        look_up(reference, root)
    assert str(beside / "secrets/sip") in str(caught.value) and str(root / "secrets/sip") in str(caught.value)
    (root / "secrets/sip").write_text("Of-the-project\n")
    assert look_up(reference, root).reveal() == "Of-the-project"
    (beside / "secrets/sip").write_text("Beside-the-file\n")
    with pytest.raises(SecretError) as caught:
        look_up(reference, root)
    assert "Of-the" not in str(caught.value) and "Beside-the" not in str(caught.value)
    (root / "secrets/sip").unlink()
    assert look_up(reference, root).reveal() == "Beside-the-file"
    (here / "secrets").mkdir()
    (here / "secrets/sip").write_text("Of-the-current-folder-1")  # never looked at
    assert look_up(reference, root).reveal() == "Beside-the-file"


@pytest.mark.parametrize("key", ["ca_file", "allowed_signers"])
def test_other_files_that_a_site_names_start_beside_it(here: Path, tmp_path: Path, key: str) -> None:
    root, beside = tmp_path / "project", tmp_path / "msp"
    (root / "keys").mkdir(parents=True)
    (beside / "keys").mkdir(parents=True)
    text = (CHECKOUT / SITE).read_text()
    if key == "ca_file":
        text = text.replace("    username: admin\n", "    username: admin\n    ca_file: keys/file\n")
    else:
        text += "    allowed_signers: keys/file\n"
    (beside / "site.yaml").write_text(text)

    def named() -> Path:
        site = load_site(beside / "site.yaml", root)
        return (site.pbx.ca_file or site.policies.allowed_signers).path(root)

    with pytest.raises(InputError, match=key):
        named()
    bundle = Path(certifi.where()).read_text()  # a CA bundle has to be one
    (root / "keys/file").write_text(bundle)
    assert named() == root / "keys/file"
    (beside / "keys/file").write_text(f"{bundle}\n# two\n")
    with pytest.raises(InputError, match=key) as caught:
        named()
    assert str(beside / "keys/file") in str(caught.value) and str(root / "keys/file") in str(caught.value)
    (root / "keys/file").unlink()
    assert named() == beside / "keys/file"


def test_a_digest_does_not_depend_on_where_the_files_lie(
    here: Path, tmp_path: Path, sandbox: TestSandbox
) -> None:
    """An approved plan names references as they are written, not the folders in which they were found."""
    elsewhere = tenant(tmp_path / "msp")
    plans = []
    for path in (sandbox.root / ACME, elsewhere):
        with Runbook.open(sandbox.root / SITE, path, sections=("01",)) as runbook:
            plans.append(runbook.plan())
    assert plans[0].digest == plans[1].digest


def runbook(sandbox: TestSandbox, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from runbook_lib.cli import main; main()", *arguments],
        cwd=folder,
        env={**os.environ, **sandbox.environment, "PYTHONPATH": str(CHECKOUT), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_the_command_from_another_folder(sandbox: TestSandbox, here: Path) -> None:
    """Site of the project, tenant and plan of this folder: that is said, and the record keeps both."""
    tenant(here)
    planned = runbook(sandbox, here, "plan", "-s", SITE, "acme.yaml", "--section", "01", "--out", "plans")
    assert planned.returncode == 2, planned.stderr
    assert "two folders" in planned.stderr and str(here / "acme.yaml") in planned.stderr
    [plan] = (here / "plans").iterdir()
    digest = json.loads(plan.read_text())["digest"]
    approval = ["--plan", f"plans/{plan.name}", "--approved-plan", digest, "--approved-by", "pat"]
    applied = runbook(sandbox, here, "apply", "-s", SITE, "acme.yaml", "--section", "01", *approval)
    assert applied.returncode == 0, applied.stdout + applied.stderr
    [opening] = sandbox.root.glob("records/demo/acme/*/opening.json")
    assert json.loads(opening.read_text())["files"] == {"site": SITE, "tenant": str(here / "acme.yaml")}
    (here / "parameters/sandbox").mkdir(parents=True)
    (here / SITE).write_text("site: {}\n")  # what a record names is never looked up here
    ended = runbook(sandbox, here, "rollback", opening.parent.name, "--accept-interruption")
    assert ended.returncode == 2, ended.stdout + ended.stderr
    refused = runbook(sandbox, here, "apply", "-s", SITE, "acme.yaml")
    assert (
        refused.returncode == 3
        and str(here / SITE) in refused.stderr
        and str(sandbox.root / SITE) in refused.stderr
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("validate", "-s", SITE, "both.yaml"),
        ("plan", "-s", SITE, "both.yaml"),
        ("plan", "-s", "both.yaml", ACME),
        ("apply", "-s", SITE, "both.yaml"),
        ("apply", "-s", SITE, ACME, "--plan", "both.yaml"),
        ("verify", "-s", SITE, "both.yaml"),
        ("approve", "both.yaml"),
        ("rollback", "20261123T000000Z", "-s", SITE, "-t", "both.yaml"),
        ("retire", "-s", SITE, "both.yaml"),
        ("sign-in", "-s", "both.yaml"),
        ("records", "--records-of-both"),
        ("records", "verify", "--head-file", "both.yaml"),
        ("records", "sign", "--key", "both.yaml"),
    ],
    ids=" ".join,
)
def test_every_path_of_every_command_is_refused_when_it_can_mean_two_files(
    sandbox: TestSandbox, here: Path, arguments: tuple[str, ...]
) -> None:
    tenant(here, "both.yaml")
    tenant(sandbox.root, "both.yaml", acme="other")
    (here / "records").mkdir()
    (sandbox.root / "records").mkdir()
    if arguments == ("records", "--records-of-both"):
        arguments = ("records", "list", "--records", "records")
    try:
        ended = runbook_here(sandbox, *arguments, folder=here)
    finally:
        (sandbox.root / "both.yaml").unlink()
    assert ended.returncode == 3, ended.stdout + ended.stderr
    name = "records" if "records" in arguments[2:] else "both.yaml"
    assert str(here / name) in ended.stderr and str(sandbox.root / name) in ended.stderr
    assert "Traceback" not in ended.stderr
    assert sandbox.control("GET", "requests").json()["requests"] == []


def test_a_page_keeps_its_files_when_a_cell_changes_the_folder(
    sandbox: TestSandbox, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runbook_lib.notebook import open_section

    path = tenant(here)
    page = open_section("01", SITE, "acme.yaml")
    tenant(tmp_path, acme="other")
    monkeypatch.chdir(tmp_path)
    page.finish()
    page.plan()  # begins a run of its own, for the same tenant
    assert page._runbook.context.tenant.name == "acme"
    assert dict(page.header.facts)["Files"] == f"{SITE}, {path}"
    page.finish()
