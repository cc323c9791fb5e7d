"""A section's page and its mode switch, on the sandbox."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runbook_lib.errors import ApprovalError, InputError
from runbook_lib.notebook import open_section
from runbook_lib.notebook.forms import ModeSwitch
from runbook_lib.notebook.page import SectionPage
from tests.conftest import TestSandbox

SITE, ACME = "parameters/sandbox/site.yaml", "parameters/sandbox/acme.yaml"


@pytest.fixture
def page(sandbox: TestSandbox) -> Iterator[SectionPage]:
    page = open_section("01", SITE, ACME)
    yield page
    page.finish()


def controls(switch: ModeSwitch) -> tuple[object, object, object, object]:
    """The control's parts: buttons, what it says, name, confirmation."""
    choice, said, asked = switch.widget.children
    return choice, said, *asked.children


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
    assert "Section 01 succeeded" in page.finish().text()
    assert sandbox.writes() == []


def test_the_switch_asks_for_the_tenants_name_before_apply(page: SectionPage, sandbox: TestSandbox) -> None:
    choice, said, name, confirm = controls(page.mode_switch())
    sandbox.clear_log()
    choice.value = "apply"
    assert page.mode == "plan" and confirm.disabled and "acme" in said.value
    name.value = "globex"
    assert confirm.disabled
    name.value = "acme"
    assert not confirm.disabled
    confirm.click()
    assert page.mode == "apply"
    assert sandbox.writes() == []


def test_a_mode_chosen_by_the_switch_ends_with_the_record(page: SectionPage) -> None:
    choice, _, name, confirm = controls(page.mode_switch())
    choice.value, name.value = "apply", "acme"
    confirm.click()
    page.plan()
    assert "in 1 write" in page.apply().text()
    assert "as the guide expects" in page.verify().text()
    assert "The mode is plan again" in page.finish().text()
    assert page.mode == "plan"


def test_verify_needs_no_confirmation(page: SectionPage) -> None:
    choice, _, _, _ = controls(page.mode_switch())
    choice.value = "verify"
    assert page.mode == "verify"
    choice.value = "plan"
    assert page.mode == "plan"


def test_a_switch_that_is_refused_stays_where_it_was() -> None:
    def refused(mode: str) -> None:
        raise ApprovalError("the site asks for approval", next_step="make a plan")

    switch = ModeSwitch("plan", "acme", refused)
    choice, said, name, confirm = controls(switch)
    choice.value, name.value = "apply", "acme"
    confirm.click()
    assert choice.value == switch.mode == "plan"
    assert "the site asks for approval" in said.value and "make a plan" in said.value


def test_the_switch_is_words_where_nobody_can_click(
    page: SectionPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = page.mode_switch()._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "Mode: plan" in bundle["text/plain"] and "Mode: plan" in bundle["text/html"]
    monkeypatch.setenv("RUNBOOK_RUN_DIR", "anywhere")
    assert set(page.mode_switch()._repr_mimebundle_()) == {"text/plain", "text/html"}


def test_wrong_parameters_are_told_without_a_stack_trace(sandbox: TestSandbox) -> None:
    with pytest.raises(InputError) as caught:
        open_section("01", SITE, {"tenant": {"name": "acme"}, "extra": 1})
    assert "What happened" in "\n".join(caught.value._render_traceback_())


def test_pictures_need_no_other_cell_first(sandbox: TestSandbox) -> None:
    inwards, outwards = open_section("03", SITE, ACME), open_section("02", SITE, ACME)
    assert "tried first" in inwards.call_path().text()
    assert "acme-pbx.pstn.twilio.com" in outwards.outbound_path().text()
    inwards.finish()
