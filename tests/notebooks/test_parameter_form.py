"""The form of a tenant's parameters in a real JupyterLab: a new tenant, an edit, what must not happen."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from runbook_lib.parameters import load_all
from tests.conftest import TestSandbox
from tests.notebooks.axe import OURS, THEMES, choose_theme, findings
from tests.notebooks.lab import PATIENCE_MS, WIDTHS, choose_run_all, in_a_terminal, picture, set_width

SITE = "parameters/sandbox/site.yaml"


def open_form(page: Page, lab: str) -> Locator:
    page.goto(f"{lab}/lab/tree/notebooks/parameters.ipynb?reset", timeout=PATIENCE_MS)
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=PATIENCE_MS)
    expect(page.get_by_text("| Idle")).to_be_visible(timeout=PATIENCE_MS)
    choose_run_all(page)
    form = page.locator(".runbook-parameters")
    expect(form.get_by_role("heading")).to_be_visible(timeout=PATIENCE_MS)
    return form


def field(form: Locator, path: str) -> Locator:
    return form.locator(f'[data-path="{path}"]')


def write(form: Locator) -> None:
    form.get_by_role("button", name="Show the difference").click()
    form.get_by_role("button", name="Write the file").click()
    expect(form.get_by_role("status")).to_contain_text("The file is as shown here")


def test_a_new_tenant_by_the_form(page: Page, lab: str, sandbox: TestSandbox) -> None:
    """In nine acts; then its notebooks, for it, without a line of Python."""
    secret = sandbox.root / ".sandbox/secrets/sip_password_acme"
    file = sandbox.root / "parameters/sandbox/corner-shop.yaml"
    form = open_form(page, lab)
    form.get_by_text("New tenant", exact=True).click()
    form.get_by_label("Its name").fill("corner-shop")
    form.get_by_role("button", name="Begin a new tenant").click()
    expect(form.get_by_role("heading", name=str(file.relative_to(sandbox.root)))).to_be_visible()
    expect(form.get_by_role("status")).to_contain_text("2 problems to correct")
    field(form, "pbx_domain").fill("corner.pbx.example")
    field(form, "dids").fill("12025550101")  # acme's
    expect(form.locator(".problems")).to_contain_text("12025550101", timeout=PATIENCE_MS)
    field(form, "dids").fill("12025550190-12025550191")
    field(form, "termination.credentials.password").fill(f"file:{secret}")
    expect(form.get_by_role("status")).to_contain_text("No problems")
    assert not file.exists()
    picture(form, "form-new-tenant")
    write(form)
    text = file.read_text()
    assert "# Numbers with country code" in text and "# becomes demo-corner-shop.pstn.twilio.com" in text
    [(_, tenant)] = load_all(sandbox.root / SITE, [file], sandbox.root)
    assert tenant.name == "corner-shop"
    checked = in_a_terminal(sandbox, "validate", "-s", SITE, str(file))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    form.get_by_label("Mode").select_option("verify")
    form.get_by_role("button", name="Open its notebooks").click()
    copies = sandbox.root / "work/demo/corner-shop"
    tabs = page.locator("#jp-main-dock-panel .lm-TabBar-tabLabel")
    expect(tabs.filter(has_text=re.compile("00_before_you_begin|tenant.ipynb"))).to_be_visible(
        timeout=PATIENCE_MS
    )
    notebook = json.loads((copies / "01_create_sip_trunk.ipynb").read_text())
    source = "".join(next(cell["source"] for cell in notebook["cells"] if cell["id"] == "parameters")) or ""
    assert '"parameters/sandbox/corner-shop.yaml"' in source and 'mode = "verify"' in source
    assert sandbox.writes() == []
    shutil.rmtree(sandbox.root / "work")


def test_what_must_not_happen(page: Page, lab: str, sandbox: TestSandbox) -> None:
    """A secret is not kept, a wrong value is not written, nor is anything over somebody else's change."""
    acme = sandbox.root / "parameters/sandbox/acme.yaml"
    before = acme.read_text()
    form = open_form(page, lab)
    form.get_by_label("Tenant", exact=True).select_option("parameters/sandbox/acme.yaml")
    password = field(form, "termination.credentials.password")
    password.fill("Hunter2Hunter2")
    expect(form.locator("[aria-invalid=true]")).to_have_count(1)
    form.get_by_role("button", name="Show the difference").click()
    expect(form.get_by_role("button", name="Write the file")).to_be_hidden()
    password.fill("env:ACME_SIP")
    field(form, "concurrency").fill("lots")
    expect(form.get_by_text("write a whole number here")).to_be_visible()
    field(form, "concurrency").fill("")
    field(form, "country").fill("US")
    form.get_by_role("button", name="Show the difference").click()
    save = form.get_by_role("button", name="Write the file")
    expect(save).to_be_visible()
    expect(form.get_by_label("What would be written")).to_contain_text("+  country: US")
    field(form, "country").fill("DE")  # what was shown is of before
    expect(save).to_be_hidden()
    expect(form.get_by_role("status")).to_contain_text("No problems")
    form.get_by_role("button", name="Show the difference").click()
    acme.write_text(before + "  # somebody was here\n")
    save.click()
    expect(form.get_by_role("alert")).to_contain_text("nothing was written")
    assert acme.read_text() == before + "  # somebody was here\n"
    saved = [path.read_text() for path in Path(sandbox.root / "notebooks").glob("*.ipynb")]
    assert not [text for text in saved if "Hunter2" in text]
    form.get_by_role("button", name="Discard").click()
    expect(field(form, "country")).to_have_value("")
    field(form, "country").fill("US")
    write(form)
    assert "# somebody was here" in acme.read_text() and "country: US" in acme.read_text()


LAYOUTS = {
    "windows": lambda text: text.replace("\n", "\r\n"),
    "four spaces": lambda text: re.sub(r"^( +)", lambda found: 2 * found[1], text, flags=re.MULTILINE),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_keeps_its_layout_and_shows_no_secret(
    page: Page, lab: str, sandbox: TestSandbox, layout: str
) -> None:
    """A secret in the file is shown nowhere, and no byte changes but those of what was edited."""
    acme = sandbox.root / "parameters/sandbox/acme.yaml"
    text = acme.read_text().replace(
        "file:.sandbox/secrets/sip_password_acme", "Hunter2-Hunter2 # to be moved"
    )
    content = LAYOUTS[layout](text).encode()
    acme.write_bytes(content)
    form = open_form(page, lab)
    form.get_by_label("Tenant", exact=True).select_option("parameters/sandbox/acme.yaml")
    password = field(form, "termination.credentials.password")
    expect(password).to_have_value("")
    expect(form.locator("[aria-invalid=true]")).to_have_count(1)
    expect(form.locator(".banner")).to_contain_text("SANDBOX")
    name = field(form, "name")
    expect(name).not_to_be_editable()
    expect(form.locator(".field", has=page.locator('[data-path="name"]'))).to_contain_text(
        "cannot be changed"
    )
    field(form, "pbx_domain").fill("acme2.pbx.example")
    form.get_by_role("button", name="Show the difference").click()
    difference = form.get_by_label("What would be written")
    expect(difference).to_contain_text("acme2.pbx.example")
    assert "Hunter2" not in page.content()
    password.fill("env:ACME_SIP")
    expect(form.get_by_role("status")).to_contain_text("No problems")
    form.get_by_role("button", name="Show the difference").click()
    expect(difference).to_contain_text("env:ACME_SIP")
    picture(form, f"form-{layout.replace(' ', '-')}")
    assert "Hunter2" not in page.content()
    form.get_by_role("button", name="Write the file").click()
    expect(form.get_by_role("status")).to_contain_text("The file is as shown here")
    expected = content.replace(b"acme.pbx.example", b"acme2.pbx.example")
    assert acme.read_bytes() == expected.replace(b"Hunter2-Hunter2", b"env:ACME_SIP")
    page.keyboard.press("Control+S")
    page.wait_for_timeout(2_000)
    kept = [*sandbox.root.rglob("*.ipynb"), *sandbox.root.rglob("*.log")]
    assert kept and not [path for path in kept if "Hunter2" in path.read_text(errors="replace")]


def test_nothing_can_be_typed_until_the_asked_for_fields_are_there(
    page: Page, lab: str, sandbox: TestSandbox
) -> None:
    """A kernel that is busy has not answered yet: what was typed then would be for the former tenant."""
    form = open_form(page, lab)
    former = form.get_by_role("heading").inner_text()
    form.get_by_text("New tenant", exact=True).click()
    form.get_by_label("Its name").fill("corner-shop")
    takes_input = page.evaluate(
        """() => {
          document.querySelector(".runbook-parameters .create").click()
          const inputs = document.querySelectorAll(".runbook-parameters .fields :is(input, select, textarea)")
          return [inputs.length > 0, [...inputs].some(one => !one.matches(":disabled"))]
        }"""
    )
    assert takes_input == [True, False]
    expect(form.get_by_role("heading")).not_to_have_text(former)
    expect(form.get_by_role("heading")).to_be_focused()
    field(form, "pbx_domain").fill("corner.pbx.example")
    field(form, "dids").fill("12025550190")
    form.get_by_role("button", name="Show the difference").click()
    expect(form.get_by_label("What would be written")).to_contain_text("12025550190")
    # What is refused is answered too.
    form.get_by_label("Its name").fill("No Name")
    form.get_by_role("button", name="Begin a new tenant").click()
    expect(form.get_by_role("alert").last).to_contain_text("make the same choice again")
    form.get_by_role("button", name="Begin a new tenant").click()
    expect(form.get_by_role("alert").last).to_contain_text("tenant.name")
    expect(field(form, "pbx_domain")).to_have_value("corner.pbx.example")
    expect(field(form, "pbx_domain")).to_be_editable()


@pytest.mark.parametrize("theme", THEMES)
def test_the_form_for_everybody(page: Page, lab: str, sandbox: TestSandbox, theme: str) -> None:
    """axe-core, both themes, every width; rules are added and removed by the keyboard."""
    choose_theme(page, lab, theme)
    try:
        form = open_form(page, lab)
        form.get_by_text("rules", exact=True).click()
        add = form.get_by_role("button", name="Add to inbound")
        add.focus()
        page.keyboard.press("Enter")
        expect(field(form, "rules.inbound.0.extension")).to_be_visible()
        expect(field(form, "rules.inbound.0.name")).to_be_focused()
        expect(form.locator("[aria-invalid=true]").first).to_be_visible()
        field(form, "rules.inbound.0.name").fill("Reception")
        form.get_by_role("button", name="Show the difference").click()
        expect(form.get_by_label("What would be written")).to_contain_text("Reception")
        assert findings(page, *OURS) == []
        for width in WIDTHS:
            set_width(page, width)
            assert form.evaluate("form => form.scrollWidth <= form.clientWidth")
            picture(form, f"form-{theme}-{width}")
        form.get_by_role("button", name="Remove inbound 1").press("Enter")
        expect(field(form, "rules.inbound.0.name")).to_have_count(0)
        expect(form.get_by_role("button", name="Add to inbound")).to_be_focused()
    finally:
        choose_theme(page, lab, "light")
