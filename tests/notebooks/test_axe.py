"""What is ours in the notebooks, for people who cannot see or point: axe-core, both themes."""

from __future__ import annotations

import shutil

import pytest
from playwright.sync_api import Page, expect

from runbook_lib import working_copies
from tests.conftest import TestSandbox
from tests.notebooks.axe import OURS, THEMES, choose_theme, findings
from tests.notebooks.lab import (
    PATIENCE_MS,
    WIDTHS,
    choose_run_all,
    cut_labels,
    form,
    in_a_terminal,
    picture,
    press_apply,
    run_all,
    set_width,
    split_at,
    wider_than_the_page,
)

SITE, ACME = "parameters/sandbox/site.yaml", "parameters/sandbox/acme.yaml"


@pytest.mark.parametrize("theme", THEMES)
def test_a_section_before_and_after_apply(page: Page, lab: str, sandbox: TestSandbox, theme: str) -> None:
    choose_theme(page, lab, theme)
    try:
        run_all(page, lab, "01")
        assert page.evaluate("document.body.dataset.jpThemeName") == THEMES[theme]
        assert findings(page, *OURS) == []
        press_apply(page)
        expect(page.get_by_text("Section 01: succeeded at").last).to_be_visible(timeout=PATIENCE_MS)
        assert findings(page, *OURS) == []
        picture(page, f"axe-section-{theme}")
    finally:
        choose_theme(page, lab, "light")


@pytest.mark.parametrize("theme", THEMES)
def test_an_apply_that_waits_and_then_fails(page: Page, lab: str, sandbox: TestSandbox, theme: str) -> None:
    """In every width as well: a label that is cut or a pale reason is what somebody needs just then."""
    done = in_a_terminal(sandbox, "apply", "-s", SITE, ACME, "--section", "01")
    assert done.returncode == 0, done.stdout
    first = {"vendor": "twilio", "method": "POST", "path": "IpAccessControlLists.json$"}
    sandbox.control("POST", "faults", {**first, "kind": "status", "status": 429, "retry_after": "8"})
    second = {"vendor": "twilio", "method": "POST", "path": "/v1/Trunks/.*/CredentialLists$"}
    sandbox.control("POST", "faults", {**second, "kind": "status", "status": 403})
    choose_theme(page, lab, theme)
    try:
        run_all(page, lab, "02")
        assert page.evaluate("document.body.dataset.jpThemeName") == THEMES[theme]
        press_apply(page)
        expect(form(page).get_by_text("Twilio answered 429").first).to_be_visible(timeout=PATIENCE_MS)
        for width in WIDTHS:
            set_width(page, width)
            assert cut_labels(page) == []
            picture(page, f"waits-{theme}-{width}")
        assert findings(page, ".runbook-panel") == []
        expect(page.get_by_text("Section 02: failed at").last).to_be_visible(timeout=PATIENCE_MS)
        expect(form(page).get_by_text("answered 429 (")).to_have_count(0)
        for width in WIDTHS:
            set_width(page, width)
            assert findings(page, *OURS) == []
            assert cut_labels(page) == []
            picture(page, f"failed-{theme}-{width}")
        assert wider_than_the_page(page) == []
        assert split_at(page) == []
    finally:
        choose_theme(page, lab, "light")


@pytest.mark.parametrize("theme", THEMES)
def test_an_applied_tenant_and_the_way_back_of_its_run(
    page: Page, lab: str, sandbox: TestSandbox, theme: str
) -> None:
    done = in_a_terminal(sandbox, "apply", "-s", SITE, ACME, "--section", "01")
    assert done.returncode == 0, done.stdout
    files = (sandbox.root / SITE, "demo", sandbox.root / ACME, "acme")
    folder, _ = working_copies.make_for(sandbox.root, *files)
    pages = {"tenant": "The whole tenant planned: ", "90_roll_back": "Section 90 planned: "}
    choose_theme(page, lab, theme)
    try:
        for name, ending in pages.items():
            path = (folder / f"{name}.ipynb").relative_to(sandbox.root)
            page.goto(f"{lab}/lab/tree/{path}?reset", timeout=PATIENCE_MS)
            page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=PATIENCE_MS)
            expect(page.get_by_text("| Idle")).to_be_visible(timeout=PATIENCE_MS)
            choose_run_all(page)
            expect(page.get_by_text(ending)).to_be_visible(timeout=PATIENCE_MS)
            assert page.evaluate("document.body.dataset.jpThemeName") == THEMES[theme]
            assert findings(page, *OURS) == []
            picture(page, f"axe-{name}-{theme}")
    finally:
        choose_theme(page, lab, "light")
        shutil.rmtree(sandbox.root / "work")


def test_a_finding_would_be_seen(page: Page) -> None:
    page.set_content('<html lang="en"><title>a</title><main><h1>a</h1><p style="color:#999">pale</p></main>')
    assert [finding.split()[0] for finding in findings(page)] == ["color-contrast"]
    assert findings(page, "h1") == []
    with pytest.raises(Exception, match="nothing to look at"):
        findings(page, ".absent")
