"""What follows from facts sends nothing: tables, rows, cautions, expected results, the picture's path."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_lib.errors import InputError
from runbook_lib.guide import RUN_ORDER
from runbook_lib.runbook import Runbook
from runbook_lib.sections import SECTION_CLASSES
from runbook_lib.vendors.transport import Transport
from tests.conftest import TestSandbox
from tests.sections.from_facts import ACME, CARRIER, DIDS, GLOBEX, SITE
from tests.sections.test_tenant_level import run_section

#: Own trunk, share and shared trunk; as they are, and as they ask for all that can be asked of facts.
SCOPES: dict[str, Any] = {
    "own trunk": ACME,
    "own trunk, numbers moved and removed, password set": {
        "tenant": {
            **ACME["tenant"],
            "dids": ";".join(did[1:] for did in DIDS[:3]),
            "remove": DIDS[3:],
            "move": DIDS[:1],
            "set_password": True,
        }
    },
    "share": GLOBEX,
    "shared trunk": CARRIER,
}


def nothing_is_sent(patch: pytest.MonkeyPatch) -> None:
    """Let both vendors' transports raise."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a request was sent")

    patch.setattr(Transport, "send", refuse)


def read_and_derive(owner: Any, ahead: frozenset[str]) -> None:
    with Runbook.open(SITE, owner) as runbook:
        for number in runbook.order:
            section = SECTION_CLASSES[number](runbook.context, ahead)
            for section.reading_back in (False, True):
                section.read()
                with pytest.MonkeyPatch.context() as patch:
                    nothing_is_sent(patch)
                    assert section.views()
                    assert section.planned().section == number
                    section.items()
                    section.expected()
                    section.cautions()
                    getattr(section, "path", None)


@pytest.mark.parametrize("owner", SCOPES.values(), ids=SCOPES)
def test_what_follows_from_facts_sends_nothing(sandbox: TestSandbox, owner: Any) -> None:
    for ahead in (frozenset[str](), frozenset(RUN_ORDER)):
        read_and_derive(owner, ahead)
    base = owner if isinstance(owner, str) else GLOBEX if "shared_trunk" in owner["tenant"] else ACME
    with Runbook.open(SITE, base) as runbook:
        order = runbook.order
    for number in order:
        run_section(number, tenant=base)
    read_and_derive(owner, frozenset())


@pytest.mark.parametrize("number", ["00", "04", "06"])
def test_a_shared_trunk_alone_has_no_section_of_a_tenant(sandbox: TestSandbox, number: str) -> None:
    with Runbook.open(SITE, CARRIER) as runbook, pytest.raises(InputError):
        runbook.section(number)
    with pytest.raises(InputError):
        Runbook.open(SITE, CARRIER, sections=(number,))
    assert sandbox.control("GET", "requests").json()["requests"] == []
