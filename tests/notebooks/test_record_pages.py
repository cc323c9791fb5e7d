"""Records in a real browser: from a notebook to one write's request id, and pages for everybody."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import TestSandbox
from tests.notebooks.axe import findings
from tests.notebooks.lab import (
    FIRST_WRITE,
    PATIENCE_MS,
    WIDTHS,
    cancel_button,
    in_a_terminal,
    picture,
    press_apply,
    run_all,
    set_width,
    split_at,
    split_words,
)


def the_record(sandbox: TestSandbox) -> Path:
    (path,) = sandbox.root.glob("records/demo/acme/*/record.json")
    return path


def test_from_the_notebook_to_the_request_id_of_a_write(page: Page, lab: str, sandbox: TestSandbox) -> None:
    """In JupyterLab, without its 403 between pages; then by the keyboard alone from the list to the id."""
    run_all(page, lab, "01")
    press_apply(page)
    expect(page.get_by_text("Section 01: succeeded at").last).to_be_visible(timeout=PATIENCE_MS)
    record = the_record(sandbox)
    [write] = json.loads(record.read_text())["changes"]
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Record of the run").click()
    run = opened.value
    address = f"{lab}/runbook/records/demo/acme/{record.parent.name}/index.html"
    assert run.url == address
    expect(run.get_by_role("table", name="Journal of writes")).to_contain_text(write["request_id"])
    run.get_by_role("link", name="Create a SIP trunk on Twilio").click()
    expect(run.get_by_text("Expected result").first).to_be_visible()
    run.get_by_role("link", name="All sections of this run").click()
    assert run.url == address
    run.close()
    with page.expect_popup() as opened:
        page.get_by_role("link", name="All records").click()
    listed = opened.value
    listed.get_by_role("searchbox").focus()
    listed.keyboard.type("ACME friendly")
    for _ in range(5):
        if listed.evaluate("document.activeElement.tagName") == "A":
            break
        listed.keyboard.press("Tab")
    listed.keyboard.press("Enter")
    listed.wait_for_url(address)
    expect(listed.get_by_text(write["request_id"])).to_be_visible()


def test_pages_of_records_for_everybody(browser: Browser, page: Page, lab: str, sandbox: TestSandbox) -> None:
    """The list, a run and its section, also of a cancelled run: as files, both themes, two widths."""
    for command in ("apply", "verify"):
        in_a_terminal(sandbox, command, "--section", "01", tenant_file("globex"))
    run_all(page, lab, "01")
    sandbox.control("POST", "faults", FIRST_WRITE | {"seconds": 40})
    press_apply(page)
    expect(page.get_by_text("sent …")).to_be_visible(timeout=PATIENCE_MS)
    cancel_button(page).click()
    expect(page.get_by_text("Section 01: interrupted at").last).to_be_visible(timeout=PATIENCE_MS)
    folder = the_record(sandbox).parent
    (globex,) = sandbox.root.glob("records/demo/globex/*/record.json")  # a verification is no record
    pages = {
        "list": sandbox.root / "records/index.html",
        "run": globex.parent / "index.html",
        "section": globex.parent / "01_create_sip_trunk.html",
        "interrupted-run": folder / "index.html",
        "interrupted-section": folder / "01_create_sip_trunk.html",
    }
    for theme in ("light", "dark"):
        for width in WIDTHS:
            context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
            for name, path in pages.items():
                shown = context.new_page()
                sent: list[str] = []
                shown.on("request", lambda request, sent=sent: sent.append(request.url))
                shown.goto(path.as_uri())
                assert findings(shown) == [], (name, theme, width)
                assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth"), (name, width)
                assert split_words(shown) == [], (name, width)
                assert sent == [path.as_uri()]
                picture(shown, f"record-{name}-{theme}-{width}")
                shown.close()
            context.close()
    shown = browser.new_page()
    shown.goto(pages["interrupted-run"].as_uri())
    expect(shown.get_by_text("This run was interrupted before it completed.")).to_be_visible()
    expect(shown.get_by_text("it is unknown whether it was carried out")).to_be_visible()


def test_pages_that_are_handed_on(browser: Browser, sandbox: TestSandbox) -> None:
    """A batch, a way back, and both copies of a record: no finding, no word split, no request."""
    place = sandbox.root / "handed"
    place.mkdir()

    def run(*arguments: str) -> str:
        done = in_a_terminal(sandbox, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    try:
        run("apply", "--section", "01", tenant_file("acme"), tenant_file("globex"))
        record = the_record(sandbox)
        run_id = record.parent.name
        run("records", "export", run_id, str(place / "one-page.html"))
        run("records", "export", run_id, str(place / "customer.html"), "--for", "customer")
        run("rollback", run_id, "--apply", "--accept-interruption")
        # A notebook that an earlier test left open plans again after each run: that leaves no record.
        (back,) = {path.parent for path in sandbox.root.glob("records/demo/acme/*/record.json")} - {
            record.parent
        }
        (batch,) = sandbox.root.glob("records/_batches/*/index.html")
        pages = {
            "list": sandbox.root / "records/index.html",
            "batch": batch,
            "run": record.parent / "index.html",
            "section": record.parent / "01_create_sip_trunk.html",
            "rollback": back / "index.html",
            "rollback-notebook": back / "90_roll_back.html",
            "one-page": place / "one-page.html",
            "customer": place / "customer.html",
        }
        for theme in ("light", "dark"):
            for width in WIDTHS:
                context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
                for name, path in pages.items():
                    shown = context.new_page()
                    sent: list[str] = []
                    shown.on("request", lambda request, sent=sent: sent.append(request.url))
                    shown.goto(path.as_uri())
                    assert findings(shown) == [], (name, theme, width)
                    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth"), (name, width)
                    if (name, width) != ("one-page", 800):  # its table of writes has more columns than room
                        assert split_words(shown) == [], (name, width)
                    assert sent == [path.as_uri()]
                    picture(shown, f"handed-{name}-{theme}-{width}")
                    shown.close()
                context.close()
    finally:
        shutil.rmtree(place)


def test_words_stay_whole_in_the_record_of_a_whole_tenant(browser: Browser, sandbox: TestSandbox) -> None:
    """All that a run changes, a password that nobody can read among it; in names of 40 characters as well."""
    path = sandbox.root / tenant_file("acme")
    path.write_text(path.read_text().replace("friendly_name: PortSIP acme", f"friendly_name: {'T' * 40}"))
    done = in_a_terminal(sandbox, "apply", tenant_file("acme"))
    assert done.returncode == 0, done.stdout + done.stderr
    record = the_record(sandbox)
    assert "T" * 40 in record.read_text() and "(not readable)" in record.read_text()
    shown = browser.new_page()
    for page in sorted(record.parent.glob("*.html")):
        shown.goto(page.as_uri())
        assert split_at(shown) == [], page.name
        for width in WIDTHS:
            set_width(shown, width)
            assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth"), (page.name, width)
            picture(shown, f"record-of-acme-{page.stem}-{width}")


@pytest.mark.parametrize("scripts", [True, False])
def test_the_list_is_searched_without_a_server_and_read_without_scripts(
    browser: Browser, sandbox: TestSandbox, scripts: bool
) -> None:
    for tenant in ("acme", "globex"):
        done = in_a_terminal(
            sandbox, "apply", "--section", "01", "--ticket", f"CHG-{tenant}", tenant_file(tenant)
        )
        assert done.returncode == 0, done.stdout + done.stderr
    in_a_terminal(sandbox, "verify", "--section", "01", tenant_file("initech"))
    copy = sandbox.root / "copy"
    shutil.copytree(sandbox.root / "records", copy)
    page = browser.new_context(java_script_enabled=scripts).new_page()
    page.goto((copy / "index.html").as_uri())
    changes = page.get_by_role("table", name="Changes, newest first").locator("tbody tr")
    try:
        expect(changes).to_have_count(2)
        if not scripts:
            expect(page.get_by_role("searchbox")).to_be_hidden()
            return
        page.get_by_role("searchbox").fill("chg-GLOBEX")
        expect(changes.locator("visible=true")).to_have_count(1)
        expect(changes.locator("visible=true")).to_contain_text("demo/globex")
        page.get_by_role("searchbox").fill("initech")  # which only verified: its fold opens
        expect(page.get_by_role("table", name="Plans and checks, newest first")).to_be_visible()
        expect(changes.locator("visible=true")).to_have_count(0)
        page.get_by_role("searchbox").fill("")
        expect(changes.locator("visible=true")).to_have_count(2)
    finally:
        shutil.rmtree(copy)


def tenant_file(name: str) -> str:
    return f"parameters/sandbox/{name}.yaml"
