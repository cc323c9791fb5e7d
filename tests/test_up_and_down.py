"""Several versions and several workspaces: up and down, side by side, one within another, moved and copied.

The next version is made here, from this one's files: as a release that changes no format, and as one whose
records or plans have newer formats. Each lies in a folder of its own, and runs in processes of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from runbook_lib.version import VERSION
from runbook_lib.workspace import OLD_VARIABLE, VARIABLE
from tests.conftest import CHECKOUT

SITE, ACME = "parameters/sandbox/site.yaml", "parameters/sandbox/acme.yaml"
SECTION = ("-s", SITE, ACME, "--section")
NEXT = "9.9.9"
#: Which files of the library hold a format, and what the next one is called here.
FORMATS = {
    "records": {"records/formats.py": 2, "records/summary.py": 2},
    "chain": {"records/chain.py": 3},
    "plans": {"plan.py": 3},
}
DAMAGE = ("CHANGED SINCE IT WAS RECORDED", ": changed", "was damaged", "Traceback")


@dataclass(frozen=True)
class Runbook:
    """A version of the runbook, in a folder of its own."""

    place: Path
    version: str

    def __call__(self, folder: Path, *arguments: str, status: int = 0) -> str:
        ended = subprocess.run(
            [sys.executable, "-P", "-c", "from runbook_lib.cli import main; main()", *arguments],
            cwd=folder,
            env={name: value for name, value in os.environ.items() if name not in (VARIABLE, OLD_VARIABLE)}
            | {"PYTHONPATH": str(self.place), "COLUMNS": "300"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
        )
        told = ended.stdout + ended.stderr
        assert ended.returncode == status, f"{self.version}: {arguments}: {ended.returncode}\n{told}"
        return told


def made(place: Path, version: str, *formats: str) -> Runbook:
    """This version's files in another folder, as another version, with newer formats of some of its files."""
    for name in ("runbook_lib", "runbook_sandbox", "notebooks", "parameters"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(CHECKOUT / name, place / name, symlinks=True, ignore=ignored)
    shutil.copy(CHECKOUT / "CHANGELOG.md", place)
    library = place / "runbook_lib"
    (library / "version.py").write_text(f'"""Another version."""\n\nVERSION = "{version}"\n')
    for path, number in (item for name in formats for item in FORMATS[name].items()):
        source = (library / path).read_text()
        raised, count = re.subn(r"^FORMAT = \d+$", f"FORMAT = {number}", source, flags=re.MULTILINE)
        assert count == 1, path
        if path == "records/chain.py":  # which has the keys of a line by its format
            raised += "\nKEYS[FORMAT] = KEYS[FORMAT - 1]\n"
        (library / path).write_text(raised)
    return Runbook(place, version)


@pytest.fixture(scope="module")
def this(tmp_path_factory: pytest.TempPathFactory) -> Runbook:
    return made(tmp_path_factory.mktemp("this") / "product", VERSION)


@pytest.fixture(scope="module")
def following(tmp_path_factory: pytest.TempPathFactory) -> Runbook:
    return made(tmp_path_factory.mktemp("next") / "product", NEXT)


@pytest.fixture
def workspace(this: Runbook, tmp_path: Path) -> Iterator[Path]:
    this(tmp_path, "init", "ws", "--sandbox")
    yield tmp_path / "ws"
    this(tmp_path / "ws", "sandbox", "--stop")


def runs(workspace: Path) -> list[str]:
    """The run ids of a workspace's records of acme, the oldest first."""
    return sorted(path.parent.name for path in workspace.glob("records/demo/acme/*/record.json"))


def approved(plan: Path) -> tuple[str, ...]:
    """The options that approve a plan's file."""
    digest = json.loads(plan.read_text())["digest"]
    return ("--plan", str(plan), "--approved-plan", digest, "--approved-by", "pat")


def test_up_and_down_with_a_workspace_in_use(this: Runbook, following: Runbook, workspace: Path) -> None:
    this(workspace, "apply", *SECTION, "01")
    this(workspace, "plan", *SECTION, "02", "--out", "plans", status=2)
    (plan_of_this,) = (workspace / "plans").iterdir()
    (first,) = runs(workspace)
    head = this(workspace, "records", "head").split()[-1]

    assert NEXT in following(workspace, "upgrade") and NEXT not in (workspace / "runbook.toml").read_text()
    following(workspace, "upgrade", "--apply")
    assert NEXT in (workspace / "runbook.toml").read_text()
    for arguments in (("list",), ("show", first), ("verify", "--head", head)):
        told = following(workspace, "records", *arguments)
        assert not any(word in told for word in DAMAGE), told
    following(workspace, "rollback", first, "--accept-interruption", status=2)
    following(workspace, "apply", *SECTION, "02", *approved(plan_of_this))
    following(workspace, "plan", *SECTION, "03", "--out", "later", status=2)
    (plan_of_next,) = (workspace / "later").iterdir()
    assert json.loads(plan_of_next.read_text())["runbook"] == NEXT
    (second,) = {*runs(workspace)} - {first}
    head = following(workspace, "records", "head").split()[-1]

    for arguments in (("list",), ("show", second), ("verify", "--head", head)):
        told = this(workspace, "records", *arguments)
        assert not any(word in told for word in DAMAGE) and "newer runbook" not in told, told
    this(workspace, "upgrade", "--apply")
    assert NEXT in (workspace / "runbook.toml").read_text(), "a downgrade does not set it back"
    this(workspace, "apply", *SECTION, "03", *approved(plan_of_next))
    this(workspace, "rollback", second, "--apply", "--accept-interruption")
    this(workspace, "plan", *SECTION, "02", status=2)
    this(workspace, "records", "verify", "--head", head)
    following(workspace, "records", "verify", "--head", head)


@pytest.mark.parametrize("formats", [("records", "plans"), ("chain",)], ids=["records and plans", "chain"])
def test_back_from_newer_formats(
    this: Runbook, tmp_path: Path, workspace: Path, formats: tuple[str, ...]
) -> None:
    """Whatever this version cannot understand it names as newer, and leaves as it is."""
    newer = made(tmp_path / "newer", NEXT, *formats)
    this(workspace, "apply", *SECTION, "01")
    (first,) = runs(workspace)
    newer(workspace, "apply", *SECTION, "02")
    newer(workspace, "records", "verify")
    newer(workspace, "records", "show", first)
    (second,) = {*runs(workspace)} - {first}
    newer(workspace, "plan", *SECTION, "03", "--out", "plans", status=2)
    (plan,) = (workspace / "plans").iterdir()
    before = {path: path.read_bytes() for path in workspace.glob("records/**/*.json*")}

    commands: list[tuple[str, ...]] = [("records", "list"), ("records", "verify")]
    commands += [("records", "show", second), ("rollback", second)]
    if "plans" in formats:
        commands.append(("apply", *SECTION, "03", *approved(plan)))
    else:
        commands.append(("apply", *SECTION, "03"))
    for arguments in commands:
        told = this(workspace, *arguments, status=1)
        named = "reads formats 1 to 2: upgrade" if "--plan" in arguments else "newer runbook"
        assert named in told, (arguments, told)
        assert not any(word in told for word in DAMAGE), (arguments, told)
    now = {path: path.read_bytes() for path in workspace.glob("records/**/*.json*")}
    assert {path: now.get(path) for path in before} == before
    if "chain" not in formats:  # what is older is understood as before
        assert "newer runbook" not in this(workspace, "records", "show", first)
        told = this(workspace, "rollback", first, "--accept-interruption", status=1)
        assert "conflict" in told and "newer runbook" not in told, "the newer run's lists still use its trunk"
    newer(workspace, "records", "verify")
    newer(workspace, "rollback", second, "--apply", "--accept-interruption")


def first_line(runbook: Runbook, folder: Path, *options: str) -> str:
    """The first line of a plan that is made in a folder, which has changes."""
    site = SITE if (folder / SITE).exists() else str(folder / "sandbox/site.yaml")
    tenant = site.replace("site.yaml", "acme.yaml")
    return runbook(folder, *options, "plan", "-s", site, tenant, "--section", "01", status=2).splitlines()[0]


def test_versions_and_workspaces_side_by_side(this: Runbook, following: Runbook, tmp_path: Path) -> None:
    """Each command's first line names its workspace and its version, and each of them works."""
    outer, inner, other = tmp_path / "outer", tmp_path / "outer/team/inner", tmp_path / "ö ther"
    for runbook, folder in ((this, outer), (following, inner), (following, other)):
        runbook(tmp_path, "init", str(folder), "--sandbox")
    try:
        for runbook in (this, following):
            for folder, expected in (
                (outer, outer),
                (inner, inner),
                (inner / "parameters", inner),
                (other, other),
            ):
                line = first_line(runbook, folder)
                assert f"Workspace {expected} ·" in line and line.endswith(f"runbook {runbook.version}")
            named = first_line(runbook, inner, "--workspace", str(other))
            assert f"Workspace {other} ·" in named
        this(outer, "apply", *SECTION, "01")
        following(inner, "apply", *SECTION, "01")
        (of_this,), (of_next,) = runs(outer), runs(inner)
        assert of_this != of_next and not runs(other)
        for folder, version in ((outer, VERSION), (inner, NEXT)):
            record = json.loads(next(folder.glob("records/demo/acme/*/record.json")).read_text())
            assert record["runbook"]["version"] == version and record["workspace"] == str(folder)

        for folder in (outer, inner):
            this(folder, "sandbox", "--stop")
        renamed, copied = inner.rename(tmp_path / "renamed"), tmp_path / "copied"
        shutil.copytree(renamed, copied, symlinks=True)
        for folder in (renamed, copied):
            try:
                told = following(folder, "plan", *SECTION, "01")
                assert f"Workspace {folder} ·" in told.splitlines()[0]
                following(folder, "records", "verify")
                following(folder, "rollback", of_next, "--apply", "--accept-interruption")
                assert f"Workspace {folder} ·" in first_line(following, folder)
            finally:
                following(folder, "sandbox", "--stop")
        assert len(runs(renamed)) == len(runs(copied)) == 2 and len(runs(outer)) == 1
    finally:
        for folder in (outer, inner, other):
            if folder.exists():
                this(folder, "sandbox", "--stop")


def test_git_clean_in_a_checkout_that_is_used_as_the_readme_says(tmp_path: Path) -> None:
    """The workspace lies apart: nothing of it goes, and git shows only what the operator changed."""
    checkout, ws = tmp_path / "checkout", tmp_path / "bigtel"
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=CHECKOUT, check=True, capture_output=True, text=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(CHECKOUT / name, checkout / name, follow_symlinks=False)

    def git(*arguments: str) -> str:
        who = ["-c", "user.name=ops", "-c", "user.email=ops@example.com"]
        command = ["git", *who, *arguments]
        return subprocess.run(command, cwd=checkout, check=True, capture_output=True, text=True).stdout

    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "the product")
    product = Runbook(checkout, VERSION)
    product(checkout, "init", str(ws), "--records", str(tmp_path / "kept"))
    # For this test a site of the sandbox, in the place where a live site's files lie.
    shutil.copytree(checkout / "parameters/sandbox", ws / "parameters/bigtel")
    files = ("-s", "parameters/bigtel/site.yaml", "parameters/bigtel/acme.yaml")
    try:
        product(ws, "apply", *files, "--section", "01")
        product(checkout, "apply", *SECTION, "00")  # and the demo, in the checkout itself
        example = checkout / "parameters/example/us.yaml"
        example.write_text(example.read_text() + "# ours\n")
        assert git("status", "--porcelain") == " M parameters/example/us.yaml\n"
        (record,) = tmp_path.glob("kept/demo/acme/*/record.json")
        head = product(ws, "records", "head").split()[-1]
        product(checkout, "sandbox", "--stop")
        git("clean", "-qffdx")
        assert git("status", "--porcelain") == " M parameters/example/us.yaml\n"
        product(ws, "records", "verify", "--head", head)
        product(ws, "rollback", record.parent.name, "--apply", "--accept-interruption")
    finally:
        product(ws, "sandbox", "--stop")
