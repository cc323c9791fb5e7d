"""Parameter files from before there were workspaces plan what they planned then.

``old_layout/`` has a site's and a tenant's file whose relative paths started at the project's root, and what
the code of that time (77eb69b, the last one without workspaces) planned for them on a fresh sandbox. It is
never made again: it stands for files that exist.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.version import VERSION
from runbook_lib.workspace import FILE, settings_text
from tests.conftest import TestSandbox
from tests.test_cli import runbook

OLD = Path(__file__).parent / "old_layout"
SITE, ACME = "parameters/ours/site.yaml", "parameters/ours/acme.yaml"


@pytest.fixture
def root(sandbox: TestSandbox) -> Iterator[Path]:
    """The root of a project as it was then, with what its parameter files name."""
    root = sandbox.root
    (root / "parameters/ours").mkdir()
    for name in ("site.yaml", "acme.yaml"):
        shutil.copy(OLD / name, root / "parameters/ours")
    (root / "secrets").mkdir()
    (root / "secrets/sip").write_text("In-the-w0rkspace-1")
    (root / "secrets/sip").chmod(0o600)
    (root / "trust").mkdir()
    shutil.copy(root / ".sandbox/ca.pem", root / "trust/pbx.pem")
    (root / "trust/signers").touch()
    yield root
    for name in ("secrets", "trust", "plans"):
        shutil.rmtree(root / name, ignore_errors=True)
    (root / FILE).unlink(missing_ok=True)


def planned(document: dict[str, Any]) -> dict[tuple[str, str, str], tuple[str, str, str]]:
    """What a plan says by section, step and setting."""
    return {
        (part["section"], row["step"], row["setting"]): (row["action"], row["desired"], row["effect"])
        for part in document["slices"]
        for row in part["rows"]
    }


def require_the_old_plan(sandbox: TestSandbox, *files: str) -> None:
    site, tenant = files
    ended = runbook(sandbox, "plan", "-s", site, tenant, "--out", "plans")
    assert ended.returncode == 2, ended.stdout + ended.stderr
    now = json.loads((sandbox.root / "plans/acme.plan.json").read_text())
    then = json.loads((OLD / "acme.plan.json").read_text())
    assert now["target"] == then["target"] and now["secrets"] == then["secrets"]
    rows, former = planned(now), planned(then)
    # Later versions may plan more, but nothing else.
    assert {key: rows.get(key) for key in former} == former


@pytest.mark.parametrize("kind", ["a folder of parameters", "a workspace"])
def test_it_plans_the_same_where_it_lies(sandbox: TestSandbox, root: Path, kind: str) -> None:
    if kind == "a workspace":
        (root / FILE).write_text(settings_text(VERSION, "records"))
    require_the_old_plan(sandbox, SITE, ACME)
    require_the_old_plan(sandbox, str(root / SITE), str(root / ACME))


def test_it_plans_the_same_as_today_it_would_be_written(sandbox: TestSandbox, root: Path) -> None:
    for name in ("secrets", "trust"):
        (root / name).rename(root / "parameters/ours" / name)
    require_the_old_plan(sandbox, SITE, ACME)
    ended = runbook(sandbox, "validate", "-s", SITE, ACME)
    assert ended.returncode == 0 and "Caution" not in ended.stderr, ended.stderr


@pytest.mark.parametrize("place", ["secrets/sip", "trust/pbx.pem", "trust/signers"])
def test_where_both_readings_differ_nothing_is_sent(sandbox: TestSandbox, root: Path, place: str) -> None:
    beside = root / "parameters/ours" / place
    beside.parent.mkdir()
    beside.write_text("Something-else-1")
    beside.chmod(0o600)
    sandbox.clear_log()
    ended = runbook(sandbox, "plan", "-s", SITE, ACME)
    assert ended.returncode == 3 and os.path.basename(place) in ended.stderr, ended.stderr
    assert sandbox.control("GET", "requests").json()["requests"] == []
