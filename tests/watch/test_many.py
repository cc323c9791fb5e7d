"""Many tenants, some of them changed by known people: exactly these are found, for few requests each."""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import Any

import pytest

from runbook_lib.parameters import load, load_all
from runbook_lib.runbook import Runbook
from runbook_lib.watch.differences import look_at_all
from tests.conftest import TestSandbox
from tests.test_cli import SITE, runbook
from tests.watch import many

#: Tenants with a trunk of their own, with a share of one, and how many of all were changed.
OWN, SHARED, CHANGED = (30, 20, 25) if os.environ.get("RUNBOOK_SWEEP") else (6, 4, 5)


@pytest.fixture(scope="module")
def set_up(sandbox_of_file: TestSandbox) -> tuple[list[str], Any]:
    """The parameter files, and the vendors' state as it was set up."""
    files = many.set_up(sandbox_of_file, OWN, SHARED)
    texts = {file: (sandbox_of_file.root / file).read_text() for file in files}
    return texts, sandbox_of_file.control("GET", "state").json()


@pytest.fixture
def files(set_up: tuple[dict[str, str], Any], sandbox: TestSandbox) -> list[str]:
    texts, state = set_up
    for file, text in texts.items():
        (sandbox.root / file).write_text(text)
    sandbox.control("POST", "reset", {"state": state})
    return [str(sandbox.root / file) for file in texts]


def test_exactly_what_was_changed_and_by_whom(files: list[str], sandbox: TestSandbox) -> None:
    changes = many.changes(sandbox, files, CHANGED)
    many.carry_out(sandbox, changes)
    sandbox.clear_log()
    ended = runbook(sandbox, "drift", "-s", SITE, *files, "--json")
    assert ended.returncode == 2, ended.stdout + ended.stderr
    document = json.loads(ended.stdout)
    wanted = sorted((change.tenant, change.step, change.who) for change in changes)
    assert sorted(many.found(document["differences"])) == wanted
    assert document["unread"] == [] and document["tenants"] == len(files)
    assert sandbox.writes() == []


def test_drift_of_all_makes_the_rows_of_a_plan_of_each(files: list[str], sandbox: TestSandbox) -> None:
    many.carry_out(sandbox, many.changes(sandbox, files, CHANGED))
    site, one_by_one = str(sandbox.root / SITE), []
    for file in files:
        with Runbook.open(site, file) as book:
            one_by_one.append([(part.section, row) for part in book.plan().slices for row in part.rows])
    loaded = load_all(site, files, sandbox.root)
    looked, _ = look_at_all(loaded[0][0], [owner for _, owner in loaded], sandbox.root)
    of_tenants = [list(one.rows) for one in looked if one.owner.name != "trunk-carrier"]
    assert of_tenants == one_by_one
    assert sum(bool(one.differences) for one in looked) == CHANGED


#: By what a tenant has: one and one more of them, and what the second one costs at the PBX and at Twilio.
FURTHER = {
    "a share, with a rule": (("initech", f"t{OWN}"), (6, 0)),
    "a trunk of its own": (("t1", "t3"), (5, 5)),
    "a trunk of its own, with a rule": (("t2", "t4"), (7, 5)),
}


@pytest.mark.parametrize("kind", FURTHER)
def test_what_a_further_tenant_costs(files: list[str], sandbox: TestSandbox, kind: str) -> None:
    names, wanted = FURTHER[kind]
    folder = sandbox.root / many.PARAMETERS
    owners = [load(folder / "site.yaml", folder / f"{name}.yaml", sandbox.root) for name in names]
    costs = []
    for count in (1, 2):
        sandbox.clear_log()
        look_at_all(owners[0][0], [owner for _, owner in owners[:count]], sandbox.root)
        log = sandbox.control("GET", "requests").json()["requests"]
        costs.append(Counter(one["path"].startswith("/api/") for one in log if "/auth/" not in one["path"]))
    assert (costs[1][True] - costs[0][True], costs[1][False] - costs[0][False]) == wanted
