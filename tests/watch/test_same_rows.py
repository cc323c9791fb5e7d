"""One reading for all tenants makes the rows of a plan of each, at a fraction of the requests."""

from __future__ import annotations

from typing import Any

from runbook_lib.parameters import load
from runbook_lib.runbook import Runbook
from runbook_lib.watch.differences import look_at_all
from tests.conftest import TestSandbox
from tests.test_cli import SITE
from tests.watch.test_drift import BY_HAND, TENANTS, by_hand, in_place, state

__all__ = ["in_place", "state"]


def planned(tenant: str) -> list[tuple[str, Any]]:
    with Runbook.open(SITE, tenant) as book:
        return [(part.section, row) for part in book.plan().slices for row in part.rows]


def test_the_rows_are_those_of_a_plan_of_each_tenant(in_place: TestSandbox) -> None:
    for name in ("priority", "limit", "number led away", "rule off", "share", "shared trunk"):
        by_hand(in_place, name)
    loaded = [load(SITE, tenant, in_place.root) for tenant in TENANTS]
    one_by_one = [planned(tenant) for tenant in TENANTS]
    in_place.clear_log()
    looked, requests = look_at_all(loaded[0][0], [owner for _, owner in loaded], in_place.root)
    assert [list(one.rows) for one in looked[1:]] == one_by_one
    log = in_place.control("GET", "requests").json()["requests"]
    assert len(log) >= sum(requests.values()) - 20  # sign-outs come after they were counted
    assert in_place.writes() == []
    assert {one.owner.name for one in looked if one.differences} == {
        found[0] for name, (_, found) in BY_HAND.items() if name in ("priority", "share", "shared trunk")
    }
