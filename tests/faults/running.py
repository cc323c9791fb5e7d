"""A section of a tenant, run as its notebook runs it, with waits that are short enough for thousands."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from ruamel.yaml import YAML

from runbook_lib.runbook import Runbook
from runbook_lib.sections import base
from runbook_lib.vendors import transport
from tests.conftest import CHECKOUT

#: Tenant level, system level, and a second tenant on the first one's shared trunk.
TENANTS = ("acme", "globex", "initech")
#: Seconds: how long a client waits for an answer, and when a slow one comes.
PATIENCE_S, SLOW_S = 0.4, 0.6


def _content(name: str) -> dict[str, Any]:
    return YAML(typ="safe").load(CHECKOUT / "parameters" / "sandbox" / f"{name}.yaml")


SITE = _content("site")
CONTENT = {name: _content(name) for name in TENANTS}


def open_runbook(tenant: str, **choices: Any) -> Runbook:
    return Runbook.open(SITE, CONTENT[tenant], **choices)


def run_section(tenant: str, number: str, approval: dict[str, str]) -> None:
    with open_runbook(tenant, mode="apply", **approval) as runbook:
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
    patch.setattr(transport, "FIRST_WAIT_S", 0.03)
    patch.setattr(transport, "JITTER_S", 0.02)
    patch.setattr(transport, "LONGEST_WAIT_S", 0.15)
    if impatient:
        patch.setattr(transport, "TimeLimits", partial(transport.TimeLimits, answer=PATIENCE_S))
