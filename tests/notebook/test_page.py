"""A section's page, on the sandbox."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator

import pytest

from runbook_lib.errors import InputError, StalePageError
from runbook_lib.guide import ROLL_BACK, SECTIONS
from runbook_lib.notebook import Table, open_section
from runbook_lib.notebook.display import Box, Shown
from runbook_lib.notebook.page import SectionPage
from runbook_lib.notebook.tables import Stack
from tests.conftest import TestSandbox

SITE, ACME = "parameters/sandbox/site.yaml", "parameters/sandbox/acme.yaml"


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


@pytest.mark.parametrize("number", [number for number in SECTIONS if number != ROLL_BACK])
def test_every_heading_names_site_and_tenant(sandbox: TestSandbox, number: str) -> None:
    """Somebody who scrolled past the banner still sees whom this is about."""
    page = open_section(number, SITE, ACME)
    shown = [page.current(), page.plan(), page.apply(), page.verify(), page.finish()]
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
    for call in (page.current, page.plan, page.apply, page.verify, page.finish, page.outbound_path):
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
