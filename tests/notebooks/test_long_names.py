"""Names of 40 characters: no scroll bar below a table, no label cut off, in the windows that people have."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from runbook_lib import working_copies
from tests.conftest import TestSandbox
from tests.notebooks.lab import (
    FIRST_WRITE,
    PATIENCE_MS,
    WIDTHS,
    apply_button,
    cancel_button,
    choose_run_all,
    cut_labels,
    open_notebook,
    picture,
    set_width,
    split_at,
    type_name,
    until_it_ended,
    wait_until_planned,
    wider_than_the_page,
)

#: With hyphens, where a browser may break it, and without.
SITE, TENANT, TRUNK = "northern-region-telephone-service-oy-002", "n" * 40, "T" * 40


def long_named(sandbox: TestSandbox) -> str:
    """Write the parameters of a site and a tenant with long names; return the folder of their notebooks."""
    assert {len(SITE), len(TENANT), len(TRUNK)} == {40}
    source = sandbox.root / "parameters" / "sandbox"
    folder = source.parent / SITE
    folder.mkdir(exist_ok=True)
    (folder / "site.yaml").write_text(
        (source / "site.yaml").read_text().replace("name: demo", f"name: {SITE}")
    )
    acme = (source / "acme.yaml").read_text()
    for old, new in (
        ("  name: acme\n", f"  name: {TENANT}\n"),
        ("friendly_name: PortSIP acme", f"friendly_name: {TRUNK}"),
    ):
        assert old in acme
        acme = acme.replace(old, new)
    (folder / f"{TENANT}.yaml").write_text(f"{acme}  pbx_trunk: {{ name: {TRUNK} }}\n")
    files = {"site": f"parameters/{SITE}/site.yaml", "tenant": f"parameters/{SITE}/{TENANT}.yaml"}
    copies = sandbox.root / working_copies.FOLDER / SITE / TENANT
    working_copies.make(copies, files)
    return str(copies.relative_to(sandbox.root))


def test_names_of_forty_characters(page: Page, lab: str, sandbox: TestSandbox) -> None:
    folder = long_named(sandbox)
    for number in ("00", "05", "01"):
        open_notebook(page, lab, number, folder)
        choose_run_all(page)
        if number == "00":
            until_it_ended(page)
        else:
            wait_until_planned(page, number)
        expect(page.get_by_text(TENANT).first).to_be_visible()
        found = wider_than_the_page(page)
        picture(page, f"long-names-{number}")
        assert found == []
        assert split_at(page) == []
    type_name(page, f"{SITE}/{TENANT}")
    expect(apply_button(page)).to_be_enabled()
    in_every_width(page, "form")
    sandbox.control("POST", "faults", FIRST_WRITE | {"seconds": 10})
    apply_button(page).click()
    expect(cancel_button(page)).to_be_visible(timeout=PATIENCE_MS)
    in_every_width(page, "running")
    expect(page.get_by_text("Section 01: succeeded at").last).to_be_visible(timeout=PATIENCE_MS)
    in_every_width(page, "after")
    assert wider_than_the_page(page) == []


def in_every_width(page: Page, name: str) -> None:
    for width in WIDTHS:
        set_width(page, width)
        picture(page, f"long-names-{name}-{width}")
        assert cut_labels(page) == []
