"""A section of a tenant, run as its notebook runs it, with waits that are short enough for thousands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from ruamel.yaml import YAML

from runbook_lib.guide import RETIRE, ROLL_BACK, RUN_ORDER
from runbook_lib.runbook import Runbook
from runbook_lib.sections import base
from runbook_lib.vendors import pace, transport
from tests.conftest import CHECKOUT

#: Tenant level, system level, and a second tenant on the first one's shared trunk.
TENANTS = ("acme", "globex", "initech")
#: The run id of the record that a tenant's run leaves, where a course comes after it.
RECORD = "20260101T000000Z-abcdef"
#: Seconds: how long a client waits for an answer, and when a slow one comes.
PATIENCE_S, SLOW_S = 0.4, 0.6


@dataclass(frozen=True)
class Course:
    """What is tried: sections of a tenant, after whole runs of the tenants ``after``."""

    tenant: str
    sections: tuple[str, ...] = RUN_ORDER
    after: tuple[str, ...] = ()

    @property
    def is_way_back(self) -> bool:
        return self.sections != RUN_ORDER

    @property
    def choices(self) -> Mapping[str, Any]:
        """How its runbook is opened."""
        if not self.is_way_back:
            return {}
        leave = {"sections": self.sections, "accept_interruption": True}
        return leave | ({"record": RECORD} if ROLL_BACK in self.sections else {})


COURSES = {
    "acme": Course("acme"),
    "globex": Course("globex"),
    "initech": Course("initech", after=("globex",)),
    "acme-90": Course("acme", (ROLL_BACK,), after=("acme",)),
    "globex-90": Course("globex", (ROLL_BACK,), after=("globex",)),
    "initech-90": Course("initech", (ROLL_BACK,), after=("globex", "initech")),
    "acme-91": Course("acme", (RETIRE,), after=("acme",)),
    "initech-91": Course("initech", (RETIRE,), after=("globex", "initech")),
}


def _content(name: str) -> dict[str, Any]:
    return YAML(typ="safe").load(CHECKOUT / "parameters" / "sandbox" / f"{name}.yaml")


SITE = _content("site")
CONTENT = {name: _content(name) for name in TENANTS}


def open_runbook(course: Course, **choices: Any) -> Runbook:
    return Runbook.open(SITE, CONTENT[course.tenant], **course.choices, **choices)


def run_section(course: Course, number: str, approval: Mapping[str, str]) -> None:
    with open_runbook(course, mode="apply", **approval) as runbook:
        carry_out(runbook, number)


def carry_out(runbook: Runbook, number: str) -> None:
    section = runbook.section(number)
    section.current()
    section.plan()
    section.apply()
    section.verify()
    section.finish()


def hurry(patch: pytest.MonkeyPatch, *, impatient: bool = False) -> None:
    """Shorten every wait; ``impatient`` also the time that an answer may take."""
    # The sandbox shows its writes at once, so there is no lag to wait out; a slow write comes late.
    patch.setattr(base, "SETTLE_S", 1.0 if impatient else 0.4)
    patch.setattr(base, "POLL_S", 0.05)
    patch.setattr(base, "SLOW_POLL_S", 0.05)
    patch.setattr(base, "LATE_S", 0.2)
    patch.setattr(transport, "FIRST_WAIT_S", 0.03)
    patch.setattr(transport, "JITTER_S", 0.02)
    patch.setattr(transport, "LONGEST_WAIT_S", 0.15)
    # Thousands of cases at one PBX: at its real pace they would take a day.
    patch.setattr(pace, "STEADY", 1000.0)
    patch.setattr(pace, "FIRST_PAUSE_S", 0.03)
    patch.setattr(pace, "LONGEST_PAUSE_S", 0.15)
    if impatient:
        patch.setattr(transport, "TimeLimits", partial(transport.TimeLimits, answer=PATIENCE_S))
