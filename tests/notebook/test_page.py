"""A section's page, on the sandbox."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator
from functools import partial

import pandas as pd
import pytest

from runbook_lib import open_section, open_tenant
from runbook_lib.errors import ConflictError, InputError, StalePageError
from runbook_lib.guide import READS_ONLY, ROLL_BACK, RUN_ORDER, SECTIONS, STEPS, section_of
from runbook_lib.notebook import Table
from runbook_lib.notebook.display import Box, Shown
from runbook_lib.notebook.section_page import SectionPage
from runbook_lib.notebook.tables import Stack
from runbook_lib.notebook.tenant_page import TenantPage
from runbook_sandbox import demo
from tests.conftest import TestSandbox

SITE, ACME = "parameters/sandbox/site.yaml", "parameters/sandbox/acme.yaml"
TRUNK = demo.trunk_row("TK" + "a" * 32, "PortSIP acme", "acme-pbx.pstn.twilio.com")


@pytest.fixture
def page(sandbox: TestSandbox) -> Iterator[SectionPage]:
    page = open_section("01", SITE, ACME)
    yield page
    page.finish()


def test_the_header_says_first_that_this_is_the_sandbox(page: SectionPage) -> None:
    text = page.header.text()
    assert text.startswith("=== SANDBOX")
    for fact in ("Tenant: acme", "Site: demo", "mode: plan", "Twilio account: AC"):
        assert fact in text
    assert "SANDBOX" in page.header.html()


def test_plan_mode_writes_nothing(page: SectionPage, sandbox: TestSandbox) -> None:
    sandbox.clear_log()
    page.current()
    assert "create" in page.plan().text()
    assert "Nothing was written" in page.apply().text()
    assert "not a failure" in page.verify().text()
    assert "Section 01 planned" in page.finish().text()
    assert sandbox.writes() == []


def test_where_nobody_can_click_there_is_no_form(page: SectionPage) -> None:
    page.plan()
    assert page.form is None
    assert "Nothing was written" in page.apply().text()


def test_a_cell_that_is_interrupted_says_so_in_its_result(page: SectionPage) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        page._run._kept(interrupt)
    result = json.loads((page._runbook.folder / "01.result.json").read_text())
    assert result["outcome"] == "interrupted" and result["error"]["kind"] == "KeyboardInterrupt"


def test_cells_that_run_after_the_record_begin_a_run_of_their_own(page: SectionPage) -> None:
    page.plan()
    page.finish()
    before = page.header.text()
    page.plan()
    assert page.header.text() != before
    assert "Section 01 planned" in page.finish().text()


@pytest.mark.parametrize("cell", ["finish", "call_path"])
@pytest.mark.parametrize("opened", [partial(open_section, "03"), open_tenant], ids=["section", "tenant"])
def test_what_was_read_keeps_its_time_when_a_run_ends_its_moment(
    opened: Callable[..., SectionPage], cell: str, sandbox: TestSandbox
) -> None:
    page = opened(SITE, ACME)
    if isinstance(page, TenantPage) and cell == "call_path":
        pytest.skip("a section's page shows it")
    page.plan()
    page._runbook.context.moment.begin()  # as a run that has ended since does
    assert re.search(r"read \S+ \d\d:\d\d:\d\d UTC", getattr(page, cell)().text())
    page.finish()


def test_wrong_parameters_are_told_without_a_stack_trace(sandbox: TestSandbox) -> None:
    with pytest.raises(InputError) as caught:
        open_section("01", SITE, {"tenant": {"name": "acme"}, "extra": 1})
    assert "What happened" in "\n".join(caught.value._render_traceback_())


def headings(shown: Shown) -> list[str]:
    """The heading of each table and box."""
    if isinstance(shown, Stack):
        return [heading for part in shown.parts for heading in headings(part)]
    assert isinstance(shown, Table | Box)
    return [shown.heading if isinstance(shown, Table) else shown.title]


def requests(sandbox: TestSandbox) -> int:
    return len(sandbox.control("GET", "requests").json()["requests"])


@pytest.mark.parametrize("number", RUN_ORDER)
def test_the_rows_of_the_steps_are_those_of_the_plan_and_are_read_with_it(
    sandbox: TestSandbox, number: str
) -> None:
    """The steps, the current state and the plan are one moment: whoever shows all asks the vendors once."""
    page = open_section(number, SITE, ACME)
    page.plan()
    page.current()
    sandbox.clear_log()
    steps = [step for step in STEPS if section_of(step).number == number]
    shown = {step: page.step(step).frame for step in steps}
    assert requests(sandbox) == 0
    plan = page.plan().frame
    stopping = plan[plan.Action.isin(["blocked", "conflict"])]
    for step in steps:
        if not step.endswith("E"):
            rows = plan[plan.Step == step]
            # What cannot be planned yet shows what it waits for.
            expected = stopping if rows.empty else rows
            assert shown[step].reset_index(drop=True).equals(expected.reset_index(drop=True))
    assert requests(sandbox) > 0  # asked again: that is how it stands now
    page.finish()


def test_a_step_that_is_shown_again_is_read_again(page: SectionPage, sandbox: TestSandbox) -> None:
    assert set(page.step("1.1").frame.Action) == {"create"}
    sandbox.control("POST", "state/patch", {"vendor": "twilio", "kind": "trunks", "add": TRUNK})
    assert set(page.step("1.1").frame.Action) == {"in place"}


@pytest.mark.parametrize("step", ["2.1", "1.3", "", "1"])
def test_a_step_of_another_section_is_wrong_input(page: SectionPage, sandbox: TestSandbox, step: str) -> None:
    with pytest.raises(InputError):
        page.step(step)


def test_the_current_state_is_had_as_frames(sandbox: TestSandbox) -> None:
    page = open_section("03", SITE, ACME)
    state = page.current()
    assert isinstance(state["Origination URIs"], pd.DataFrame)
    assert {"UDP"} <= set(state["Transports"].Protocol)
    page.finish()


@pytest.mark.parametrize("tenant", ["acme", "initech"])
def test_a_conflict_of_section_0_stops_an_apply_there(
    sandbox: TestSandbox, tenant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The section writes nothing, and what comes after it must not start from a wrong assumption."""
    path = sandbox.root / "parameters/sandbox" / f"{tenant}.yaml"
    gone = {"vendor": "twilio", "kind": "numbers", "id": demo.number_sid("+12025550101"), "remove": True}
    sandbox.control("POST", "state/patch", gone)
    page = open_section(READS_ONLY, SITE, str(path), "apply")
    if tenant == "acme":  # which has this number
        with pytest.raises(ConflictError):
            page.check()
        assert "✗ conflict" in capsys.readouterr().out
    else:
        assert "conflict" not in set(page.check().frame.Action)
    page.finish()


@pytest.mark.parametrize("number", [number for number in SECTIONS if number != ROLL_BACK])
def test_every_heading_names_site_and_tenant(sandbox: TestSandbox, number: str) -> None:
    """Somebody who scrolled past the banner still sees whom this is about."""
    page = open_section(number, SITE, ACME)
    steps = [step for step in STEPS if section_of(step).number == number]
    shown = [*map(page.step, steps), page.current(), page.plan(), page.apply(), page.verify(), page.finish()]
    for part in shown:
        assert headings(part)
        for heading in headings(part):
            assert heading.startswith("demo/acme · ")
            assert heading in html.unescape(part.html()) and heading in part.text()


def test_every_heading_of_a_shared_trunk_names_site_and_trunk(sandbox: TestSandbox) -> None:
    page = open_section("01", SITE, "trunk:carrier")
    assert all(heading.startswith("demo/trunk-carrier · ") for heading in headings(page.plan()))
    page.finish()


def test_a_withdrawn_page_sends_nothing_and_says_why(page: SectionPage, sandbox: TestSandbox) -> None:
    sandbox.clear_log()
    page.withdraw("the parameters are others")
    calls = (page.current, page.plan, page.check, page.apply, page.verify, page.finish, page.outbound_path)
    for call in (*calls, partial(page.step, "1.1")):
        with pytest.raises(StalePageError) as caught:
            call()
        [line] = caught.value._render_traceback_()
        assert "the parameters are others" in line
    assert sandbox.control("GET", "requests").json()["requests"] == []
    page._withdrawn = None  # so that the fixture can end it


def test_pictures_need_no_other_cell_first(sandbox: TestSandbox) -> None:
    inwards, outwards = open_section("03", SITE, ACME), open_section("02", SITE, ACME)
    assert "tried first" in inwards.call_path().text()
    assert "acme-pbx.pstn.twilio.com" in outwards.outbound_path().text()
    inwards.finish()
