"""Sections made from facts, without a server: whatever would send a request fails the test."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from ruamel.yaml import YAML

from runbook_lib.keys import Why
from runbook_lib.plan import TO_LOOK_AT, Action, Row
from runbook_lib.runbook import Runbook
from runbook_lib.sections import SECTION_CLASSES, Section
from runbook_lib.vendors.transport import Transport
from tests.conftest import CHECKOUT

PARAMETERS = CHECKOUT / "parameters" / "sandbox"
SITE = YAML(typ="safe").load(PARAMETERS / "site.yaml")
ACME = YAML(typ="safe").load(PARAMETERS / "acme.yaml")
GLOBEX = YAML(typ="safe").load(PARAMETERS / "globex.yaml")
CARRIER = "trunk:carrier"
DOMAIN = "acme-pbx.pstn.twilio.com"
DIDS = [f"+1202555010{last}" for last in range(1, 5)]
#: Long ago: nothing that another run is making just now.
THEN = datetime(2026, 1, 1, tzinfo=UTC)

Make = Callable[..., Section]


def make_section(
    number: str, facts: Any = None, *, ahead: str = "", of: Any = ACME, **changes: Any
) -> Section:
    """A section that has read ``facts``: of a tenant, with ``changes`` to it, or of a shared trunk."""
    document = copy.deepcopy(of)
    if changes:
        document["tenant"].update(changes)
    with Runbook.open(copy.deepcopy(SITE), document) as runbook:
        section = SECTION_CLASSES[number](runbook.context, frozenset(ahead.split()))
    section.facts = facts
    return section


def rows_of(section: Section) -> list[Row]:
    """The rows of a section; all else that follows from its facts is made as well."""
    assert section.views()
    section.cautions()
    section.expected()
    section.planned()
    return [row for item in section.items() for row in item.rows if row.why not in TO_LOOK_AT]


def marks_of(section: Section) -> list[tuple[Why, str]]:
    """What is to be looked at though it asks for nothing: why, and the setting."""
    rows = [row for item in section.items() for row in item.rows if row.why in TO_LOOK_AT]
    assert all(row.action is Action.NOT_MANAGED for row in rows)
    return [(row.why, row.setting) for row in rows]


def sdk(**fields: Any) -> SimpleNamespace:
    """A resource as Twilio's SDK has it."""
    return SimpleNamespace(**fields)


def outcome(rows: list[Row]) -> set[tuple[str, str, str]]:
    """Step, action and effect of the rows that are not in place."""
    return {(row.step, str(row.action), str(row.effect)) for row in rows if str(row.action) != "in place"}


TRUNK = sdk(
    sid="TK1",
    domain_name=DOMAIN,
    friendly_name="PortSIP acme",
    auth_type="IP_ACL, CREDENTIAL_LIST",
    date_created=THEN,
    secure=False,
    cnam_lookup_enabled=False,
    transfer_mode="disable-all",
    transfer_caller_id="from-transferee",
    symmetric_rtp_enabled=False,
    recording={"mode": "do-not-record", "trim": "do-not-trim"},
)


def nothing_is_sent(patch: pytest.MonkeyPatch) -> None:
    """Let both vendors' transports raise."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a request was sent")

    patch.setattr(Transport, "send", refuse)
