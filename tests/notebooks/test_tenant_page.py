"""From the home page to a verified record of a whole tenant, in a real JupyterLab, in a real browser."""

from __future__ import annotations

import json
import shutil

import pytest
from playwright.sync_api import Locator, Page, expect

from runbook_lib import working_copies
from runbook_lib.guide import RUN_ORDER
from tests.conftest import TestSandbox
from tests.notebooks.axe import OURS, THEMES, choose_theme, findings
from tests.notebooks.lab import (
    ERROR,
    PATIENCE_MS,
    WIDTHS,
    apply_button,
    choose_run_all,
    picture,
    set_width,
    type_name,
)

GLOBEX = {"site": "parameters/sandbox/site.yaml", "tenant": "parameters/sandbox/globex.yaml"}
#: What an operator may have to do for a new tenant, beside filling in its parameters.
MOST_ACTS = 12
#: A whole tenant: seven sections, each with a kernel of its own.
RUN_MS = 4 * PATIENCE_MS


@pytest.fixture(autouse=True)
def _no_copies(sandbox: TestSandbox) -> None:
    shutil.rmtree(sandbox.root / "work", ignore_errors=True)


class Hand:
    """An operator's hand: each click and each field that is filled in is an act, and is counted."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.acts = 0

    def click(self, what: Locator) -> None:
        what.click(timeout=PATIENCE_MS)
        self.acts += 1

    def run_all(self) -> None:
        choose_run_all(self.page)
        self.acts += 2

    def type_name(self, name: str) -> None:
        type_name(self.page, name)
        self.acts += 1


def start(page: Page, lab: str, path: str) -> None:
    page.goto(f"{lab}/lab/tree/{path}?reset", timeout=PATIENCE_MS)
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=PATIENCE_MS)
    expect(page.get_by_text("| Idle")).to_be_visible(timeout=PATIENCE_MS)


def front(page: Page) -> Locator:
    """The notebook in front."""
    return page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")


def until_planned(page: Page) -> None:
    expect(front(page).get_by_text("The whole tenant planned: ")).to_be_visible(timeout=PATIENCE_MS)


def test_a_new_tenant_from_the_home_page_to_its_verified_record(
    page: Page, lab: str, sandbox: TestSandbox
) -> None:
    (sandbox.root / GLOBEX["tenant"]).unlink()  # its numbers and its domain are the new tenant's
    home = working_copies.make_home(sandbox.root, None)
    start(page, lab, str(home.relative_to(sandbox.root)))
    hand = Hand(page)
    hand.run_all()
    hand.click(page.get_by_role("button", name="New tenant", exact=True))
    form = page.locator(".runbook-parameters")
    expect(form.get_by_role("heading")).to_be_visible(timeout=PATIENCE_MS)
    hand.click(form.get_by_text("New tenant", exact=True))
    form.get_by_label("Its name").fill("shop")
    hand.click(form.get_by_role("button", name="Begin a new tenant"))
    expect(form.get_by_role("heading").first).to_contain_text("shop", timeout=PATIENCE_MS)
    password = f"file:{sandbox.root / '.sandbox/secrets/sip_password_acme'}"
    for path, value in (
        ("pbx_domain", "globex.pbx.example"),
        ("dids", "12025550105-12025550106"),
        ("termination.credentials.password", password),
    ):
        form.locator(f'[data-path="{path}"]').fill(value)
    expect(form.get_by_role("status")).to_contain_text("No problems", timeout=PATIENCE_MS)
    hand.click(form.get_by_role("button", name="Show the difference"))
    hand.click(form.get_by_role("button", name="Write the file"))
    hand.click(form.get_by_role("button", name="Open its notebooks"))
    until_planned(page)
    picture(page, "tenant-planned")
    assert sandbox.writes() == []
    hand.type_name("demo/shop")
    hand.click(apply_button(page))
    running = front(page).get_by_text("The whole tenant is being applied.").first
    expect(running).to_be_visible(timeout=PATIENCE_MS)
    expect(front(page).get_by_text("of 7 sections.").first).to_be_visible(timeout=PATIENCE_MS)
    picture(page, "tenant-running")
    expect(front(page).get_by_text("The whole tenant: succeeded at").last).to_be_visible(timeout=RUN_MS)
    # Everything is read again: the plan, the form, the expected result, the closing box. No inbound rule was
    # asked for, so the page still warns about the two numbers.
    planned = front(page).get_by_text("The whole tenant planned: nothing to change")
    expect(planned).to_contain_text("rings nowhere", timeout=PATIENCE_MS)
    expect(front(page).get_by_text("reads back as expected")).to_be_visible(timeout=PATIENCE_MS)
    expect(apply_button(page)).to_have_count(0)
    assert page.locator(ERROR).count() == 0
    picture(page, "tenant-applied")
    assert hand.acts <= MOST_ACTS, hand.acts
    [record] = sandbox.root.glob("records/demo/*/*/record.json")  # one
    content = json.loads(record.read_text())
    assert (content["tenant"], content["outcome"]) == ("shop", "succeeded")
    sections = [change["section"] for change in content["changes"]]
    assert sections == sorted(sections, key=RUN_ORDER.index) and {"04", "05"} < {*sections}
    link = front(page).get_by_role("link", name="Record of the run").first
    assert "records/demo/shop" in (link.get_attribute("href") or "")


@pytest.mark.parametrize("theme", THEMES)
def test_it_reads_in_both_themes_and_in_every_width(
    page: Page, lab: str, sandbox: TestSandbox, theme: str
) -> None:
    working_copies.make(sandbox.root / "work/demo/globex", GLOBEX)
    choose_theme(page, lab, theme)
    try:
        start(page, lab, "work/demo/globex/tenant.ipynb")
        choose_run_all(page)
        until_planned(page)
        assert page.evaluate("document.body.dataset.jpThemeName") == THEMES[theme]
        outputs = page.locator(".jp-OutputArea-output")
        for width in WIDTHS:
            set_width(page, width)
            assert findings(page, *OURS) == []
            wide = outputs.evaluate_all(
                "all => all.filter(one => one.scrollWidth > one.clientWidth + 1)"
                ".map(one => [one.scrollWidth, one.clientWidth, one.innerText])"
            )
            assert wide == []
            picture(page, f"tenant-{theme}-{width}")
    finally:
        choose_theme(page, lab, "light")


def test_the_whole_tenant_is_applied_and_cancelled_with_the_keyboard_alone(
    page: Page, lab: str, sandbox: TestSandbox
) -> None:
    working_copies.make(sandbox.root / "work/demo/globex", GLOBEX)
    start(page, lab, "work/demo/globex/tenant.ipynb")
    choose_run_all(page)
    until_planned(page)
    page.keyboard.press("Escape")
    focused = lambda: page.evaluate("document.activeElement.className")  # noqa: E731
    for _ in range(200):
        page.keyboard.press("Tab")
        if focused() == "name":
            break
    page.keyboard.type("demo/globex")
    page.keyboard.press("Tab")
    assert focused() == "apply"
    page.keyboard.press("Enter")
    expect(page.locator("button.cancel:focus")).to_be_visible(timeout=PATIENCE_MS)
    page.keyboard.press("Enter")
    spoken = front(page).locator('.runbook-panel [role="status"]').first
    expect(spoken).to_contain_text("The whole tenant: interrupted at", timeout=RUN_MS)
