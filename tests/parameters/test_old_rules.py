"""Parameter files from before rules were judged as a whole plan the same rows, with cautions beside them.

``old_rules/`` has the demo's files of that time, a careful tenant with rules of its own, and the rows that
the last code without a dial plan (77eb69b) planned for them on a fresh sandbox. It is never made again.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from runbook_lib.plan import TO_LOOK_AT
from runbook_lib.runbook import Runbook
from tests.conftest import TestSandbox

OLD = Path(__file__).parent / "old_rules"
ROWS = json.loads((OLD / "rows.json").read_text(encoding="utf-8"))
#: By tenant: which of its rules the cautions of today name.
NAMED = {
    "acme": set(),
    "globex": {"Twilio 10 digits", "Twilio E.164"},
    "initech": set(),
    "byhand": {"As PortSIP shows it", "E.164"},
}


@pytest.mark.parametrize("name", ROWS)
def test_the_rows_are_the_same_and_the_cautions_stand_beside_them(sandbox: TestSandbox, name: str) -> None:
    ours = sandbox.root / "parameters" / "ours"
    shutil.copytree(OLD, ours)
    with Runbook.open(str(ours / "site.yaml"), str(ours / f"{name}.yaml")) as runbook:
        plan, cautions = runbook.plan(), runbook.cautions
    rows = {
        (part.section, row.step, row.setting): [str(row.action), row.desired, str(row.effect)]
        for part in plan.slices
        for row in part.rows
        if row.why not in TO_LOOK_AT  # newer than the dial plan; they ask for nothing
    }
    former = {(section, step, setting): rest for section, step, setting, *rest in ROWS[name]}
    assert {key: rows.get(key) for key in former} == former
    assert [key for key in rows if key not in former] == []
    assert all(any(rule in caution for caution in cautions) for rule in NAMED[name]), cautions
