"""Every value of a plan's file, changed one at a time with a digest that fits, approved and really applied.

The approver is not shown the change, or apply refuses the plan before it writes anything.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from runbook_lib.approval import read_plan, sign_statement
from runbook_lib.errors import ApprovalError, InputError, StalePlanError
from runbook_lib.guide import RUN_ORDER, TRUNK_ORDER
from runbook_lib.plan import SETTLED, Action, Effect, Plan, deviations
from runbook_lib.records.chain import FILE_NAME
from runbook_lib.runbook import Runbook
from runbook_lib.statement import Statement, kind_of
from tests.conftest import sample
from tests.test_approval import TwoPersons, at_path, changed, digest_of_edited, shown_to_approver, values
from tests.test_approval import two as two

SITE = "parameters/sandbox/site.yaml"
#: Tenant level, system level with a tenant of the shared trunk, and that trunk on its own.
OWNERS = {
    "tenant": ("parameters/sandbox/acme.yaml", RUN_ORDER),
    "system": ("parameters/sandbox/globex.yaml", RUN_ORDER),
    "trunk": ("trunk:carrier", TRUNK_ORDER),
}
#: Of a plan, beside its sections.
HEAD = "head"
PARTS = [(owner, part) for owner, (_, order) in OWNERS.items() for part in (HEAD, *order)]
CHOICES = {"action": list(Action), "effect": list(Effect), "section": [*RUN_ORDER, "90", "91"]}
#: How many changed values of each of some parts are tried without RUNBOOK_SWEEP.
SOME = 3


@dataclass
class Case:
    """A plan's file in which one value is another one."""

    path: tuple[Any, ...]
    value: Any
    document: dict[str, Any]


def cases(document: dict[str, Any], part: str) -> Iterator[Case]:
    """All changed files of a part of a plan: of one section, or of what is beside the sections."""
    for path in values(document):
        inside = document["slices"][path[1]]["section"] if path[0] == "slices" else HEAD
        if path == ("digest",) or inside != part:
            continue
        old = at_path(document, path)
        for value in (*changed(old), *(one for one in CHOICES.get(str(path[-1]), ()) if one != old)):
            edited = json.loads(json.dumps(document))
            at_path(edited, path[:-1])[path[-1]] = value
            yield Case(path, value, edited)


def _head(plan: Plan) -> tuple[Any, ...]:
    """What of a plan is compared before the first request."""
    return plan.target, plan.tenant, plan.secrets, kind_of(plan)


class Applied:
    """One owner's sandbox, in which the sections before the one that is looked at are applied."""

    def __init__(self, two: TwoPersons, owner: str, part: str) -> None:
        self.two = two
        self.tenant, order = OWNERS[owner]
        self.section = "01" if part == HEAD else part
        two.sandbox.control("POST", "reset")
        self.plan = self._made()
        for number in order[: order.index(self.section)]:
            with Runbook.open(SITE, self.tenant, mode="apply") as runbook:
                runbook.section(number).apply()
        two.sandbox.clear_log()
        self._chain = two.records / FILE_NAME
        self._before = self._chain.read_bytes() if self._chain.exists() else None
        self._runs = set(two.records.glob("*/*/*"))

    def _made(self) -> Plan:
        with Runbook.open(self.two.site, self.tenant) as runbook:
            return runbook.plan()

    def live(self) -> Plan:
        with Runbook.open(self.two.site, self.tenant) as runbook:
            return runbook.plan_of(runbook.section(self.section).plan())

    def approved(self, plan: Plan) -> None:
        for path in (self.two.approval, self.two.signature):
            path.unlink(missing_ok=True)
        sign_statement(self.two.approval, Statement.over([plan], "CHG-7"), self.two.pat)

    def apply(self, section: str) -> int:
        """Apply a section with the plan's file as it is; return the writes that left, whatever it raises."""
        try:
            with Runbook.open(
                self.two.site, self.tenant, mode="apply", plan_file=str(self.two.plan_file)
            ) as runbook:
                runbook.section(section).apply()
        finally:
            self.writes = len(self.two.sandbox.writes())
        return self.writes

    def forget(self) -> None:
        """Take away what a refused attempt has recorded, so that thousands of them cost the same."""
        for folder in set(self.two.records.glob("*/*/*")) - self._runs:
            if folder.is_dir():
                shutil.rmtree(folder)
        if self._before is None:
            self._chain.unlink(missing_ok=True)
        else:
            self._chain.write_bytes(self._before)


@pytest.mark.parametrize(("owner", "part"), sample(PARTS, 4), ids=lambda one: one)
def test_every_value_is_not_shown_or_refused(two: TwoPersons, owner: str, part: str) -> None:
    here = Applied(two, owner, part)
    document = json.loads(json.dumps(here.plan.to_document()))
    shown = shown_to_approver(Plan.from_document(document))
    live = here.live().slices[0]
    found: Counter[str] = Counter()
    every = list(cases(document, part))
    for case in sample(every, min(SOME, len(every))):
        try:
            case.document["digest"] = digest_of_edited(case.document)
            two.plan_file.write_text(json.dumps(case.document))
            plan = read_plan(two.plan_file)
        except (ApprovalError, ValueError, TypeError, KeyError, AttributeError):
            found["no plan"] += 1  # approve and apply read it the same way
            continue
        if shown_to_approver(plan) == shown:
            found["not shown"] += 1
            continue
        label = f"{case.path} = {case.value!r}"
        approved, original = plan.slice(here.section), here.plan.slice(here.section)
        if approved and _head(plan) == _head(here.plan) and not deviations(approved, live.rows):
            # Rows at their end already: apply has nothing to do for them, whatever was approved of them.
            rows = {row.key: row for row in live.rows}
            more = {row.key for row in approved.changing} - {row.key for row in original.changing}
            assert more and all(rows[key].action in SETTLED for key in more), f"{label} is not compared"
            found["in place"] += 1
            continue
        here.approved(plan)
        also = {case.value} if case.path[-1] == "section" else set()
        for section in {here.section} | also & set(OWNERS[owner][1]):
            with pytest.raises((ApprovalError, StalePlanError, InputError)):
                assert here.apply(section) is None, f"{label} was applied"
            assert here.writes == 0, label
            here.forget()
        found["refused"] += 1
    two.plan_file.write_text(json.dumps(document))
    here.approved(here.plan)
    assert here.apply(here.section) >= (1 if here.plan.slice(here.section).changing else 0)  # what was signed
    print(f"{owner} {part}: {dict(found)}")
