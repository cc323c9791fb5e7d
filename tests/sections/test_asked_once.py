"""What a section does not ask the vendors: what it knows, and what nobody is shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from runbook_lib.errors import VerificationError
from runbook_lib.guide import RETIRE
from runbook_lib.plan import Action
from runbook_lib.resources.pbx_trunk import PbxTrunkResource
from runbook_lib.runbook import Runbook
from runbook_lib.sections.passwords import find_user
from runbook_lib.vendors.budget import Budget
from tests.conftest import TestSandbox
from tests.sections.test_system_level import GLOBEX, INITECH
from tests.sections.test_tenant_level import ACME, SITE, run_all, run_section
from tests.sections.test_way_back import rows


def log(sandbox: TestSandbox, path: str) -> list[dict[str, Any]]:
    found = sandbox.control("GET", "requests").json()["requests"]
    return [entry for entry in found if entry["path"].endswith(path)]


def test_each_origination_uri_is_compared_with_what_was_read_last(sandbox: TestSandbox) -> None:
    for number in ("01", "02"):
        run_section(number)
    sandbox.clear_log()
    run_section("03")
    methods = [entry["method"] for entry in log(sandbox, "/OriginationUrls")]
    first, second = (index for index, method in enumerate(methods) if method == "POST")
    # Read after each write, as Twilio takes a URI twice; nothing is read once more before the next write.
    assert methods[first : second + 2] == ["POST", "GET", "POST", "GET"]


def test_who_else_shares_a_trunk_is_in_the_tables_of_the_trunks_own_run_only(sandbox: TestSandbox) -> None:
    run_all(tenant=GLOBEX)
    run_all(tenant=INITECH)

    def by_id() -> list[Any]:
        tenants = log(sandbox, "/api/tenants")
        return [entry for entry in tenants if "id eq" in entry["query"].get("filter", "")]

    with Runbook.open(SITE, GLOBEX) as runbook:
        section = runbook.section("05")
        sandbox.clear_log()
        section.plan()
        shares = section.current()[1]
        assert by_id() == []
        assert [row[0] for row in shares.rows] == ["globex.pbx.example", "1 other tenant"]
        assert shares.rows[0][1] == str(runbook.context.tenant.dids)
    with Runbook.open(SITE, "trunk:carrier") as runbook:
        section = runbook.section("05")
        sandbox.clear_log()
        section.plan()
        assert by_id() == []
        shares = section.current()[1]
        assert len(by_id()) == 1
        assert {str(row[0]).split()[0] for row in shares.rows} == {"Globex", "Initech"}


def test_a_trunk_that_the_pbx_does_not_show_is_not_assigned(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in ("01", "02", "03"):
        run_section(number, tenant=GLOBEX)
    before = sandbox.control("GET", "state").json()["portsip"]["assignees"]
    monkeypatch.setattr(PbxTrunkResource, "find", lambda _: None)
    with pytest.raises(VerificationError) as hidden:
        run_section("05", tenant=GLOBEX)
    assert hidden.value.step == "5.5"
    assert hidden.value.meaning and hidden.value.next_step
    assert sandbox.control("GET", "state").json()["portsip"]["assignees"] == before


def test_a_list_of_ours_that_was_renamed_is_ours_everywhere(sandbox: TestSandbox) -> None:
    run_all()
    with Runbook.open(SITE, ACME) as runbook:
        sip, settings = runbook.context.twilio.account.sip, runbook.context.settings
        for lists, name in (
            (sip.credential_lists, settings.credential_list_name),
            (sip.ip_access_control_lists, settings.acl_name),
        ):
            [own] = [found for found in lists.list() if found.friendly_name == name]
            renamed = sandbox.vendors.twilio_http.post(
                own.uri, data={"FriendlyName": f"renamed {own.sid[:2]}"}
            )
            assert renamed.is_success
        runbook.context.moment.begin()
        user = find_user(runbook.context)
        assert user is not None and user.username == settings.username
    removed = [row.current for row in rows(RETIRE).values() if row.action is Action.REMOVE]
    assert {"renamed CL", "renamed AL"} <= set(removed)


def test_a_sign_in_waits_for_no_ordinary_read(sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    ranks: list[bool] = []
    slot = Budget.slot

    @contextmanager
    def noted(self: Budget, *, first: bool, **given: Any) -> Iterator[None]:
        ranks.append(first)
        with slot(self, first=first, **given):
            yield

    monkeypatch.setattr(Budget, "slot", noted)
    with Runbook.open(SITE, ACME) as runbook:
        runbook.context.pbx.system.get("/info")
    assert ranks == [True, False, True]  # sign-in, read, sign-out
