"""What is ours in the notebooks, for people who cannot see or point: axe-core, both themes."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import TestSandbox
from tests.notebooks.axe import OURS, THEMES, choose_theme, findings
from tests.notebooks.lab import PATIENCE_MS, picture, press_apply, run_all


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


def test_a_finding_would_be_seen(page: Page) -> None:
    page.set_content('<html lang="en"><title>a</title><main><h1>a</h1><p style="color:#999">pale</p></main>')
    assert [finding.split()[0] for finding in findings(page)] == ["color-contrast"]
    assert findings(page, "h1") == []
    with pytest.raises(Exception, match="nothing to look at"):
        findings(page, ".absent")
