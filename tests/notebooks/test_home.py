"""The home page in a real JupyterLab, in a real browser: every tenant by section, and the way to a page."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from runbook_lib import working_copies
from runbook_lib.guide import RUN_ORDER, SECTIONS
from runbook_lib.notebook.home import LOOK_UP
from tests.conftest import CHECKOUT, TestSandbox
from tests.notebooks.axe import OURS, THEMES, choose_theme, findings
from tests.notebooks.lab import (
    ERROR,
    FIRST_WRITE,
    PATIENCE_MS,
    WIDTHS,
    choose_run_all,
    in_a_terminal,
    picture,
    set_width,
    split_at,
    wider_than_the_page,
)

SITE = "parameters/sandbox/site.yaml"
ACME = "parameters/sandbox/acme.yaml"
BOARD = ".runbook-board"


@pytest.fixture(autouse=True)
def _no_copies(sandbox: TestSandbox) -> None:
    shutil.rmtree(sandbox.root / "work", ignore_errors=True)


def open_home(page: Page, lab: str, sandbox: TestSandbox) -> None:
    """Open the home page as ``runbook lab`` does, and choose Run All; ends when everything was read."""
    home = working_copies.make_home(sandbox.root, None)
    page.goto(f"{lab}/lab/tree/{home.relative_to(sandbox.root)}?reset", timeout=PATIENCE_MS)
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=PATIENCE_MS)
    expect(page.get_by_text("| Idle")).to_be_visible(timeout=PATIENCE_MS)
    choose_run_all(page)
    until_read(page)


def until_read(page: Page) -> None:
    expect(page.locator(f'{BOARD} [role="status"]')).to_contain_text("were read", timeout=PATIENCE_MS)


def row(page: Page, name: str) -> Locator:
    return page.locator(f"{BOARD} tbody tr").filter(has=page.get_by_role("button", name=name, exact=True))


def states(page: Page, name: str) -> list[str]:
    """The words of a tenant's row, by section in the order of a run; empty where a section does not apply."""
    cells = row(page, name).locator("td")
    return [
        cell.locator(".word").inner_text() if cell.locator(".word").count() else ""
        for cell in cells.all()[: len(RUN_ORDER)]
    ]


def section_cell(page: Page, name: str, number: str) -> Locator:
    return row(page, name).locator("td").nth(RUN_ORDER.index(number)).locator("button")


def files_of_records(sandbox: TestSandbox) -> list[str]:
    found = (sandbox.root / "records").rglob("*")
    return sorted(path.name for path in found if path.is_file() and not path.name.startswith("."))


def test_the_tenants_by_section_before_and_after_an_apply(page: Page, lab: str, sandbox: TestSandbox) -> None:
    open_home(page, lab, sandbox)
    new = ["check", "to do", "to do", "to do", "to do"]
    assert states(page, "acme") == [*new, "rings nowhere", "to do"]
    assert states(page, "globex") == [*new, "to do", "to do"]
    assert states(page, "trunk-carrier") == ["", "to do", "to do", "to do", "to do", "", ""]
    expect(page.get_by_text("SANDBOX demo · Set up trunk-carrier")).to_be_visible()
    assert sandbox.writes() == [] and files_of_records(sandbox) == []
    picture(page, "home-before")
    # What a run changes is read again without anybody's doing, once it has ended.
    done = in_a_terminal(sandbox, "apply", "-s", SITE, ACME, "--ticket", "CHG-7")
    assert done.returncode == 0, done.stdout
    in_place = ["check", *["in place"] * 4, "rings nowhere", "rings nowhere"]
    end = time.monotonic() + PATIENCE_MS / 1000
    while states(page, "acme") != in_place:
        assert time.monotonic() < end, states(page, "acme")
        page.wait_for_timeout(300)
    runs = page.locator(".jp-Cell", has_text="home.runs()").locator("table").first
    for part in ("demo/acme", "succeeded", "CHG-7", "@"):
        expect(runs).to_contain_text(part)
    picture(page, "home-after")
    with page.context.expect_page() as opened:
        runs.get_by_role("link").first.click()
    record = opened.value.get_by_text("Assign DID numbers to the trunk").first
    expect(record).to_be_visible(timeout=PATIENCE_MS)
    opened.value.close()
    assert page.locator(ERROR).count() == 0


def test_a_cell_opens_that_section_for_that_tenant_with_the_keyboard_alone(
    page: Page, lab: str, sandbox: TestSandbox
) -> None:
    open_home(page, lab, sandbox)
    page.keyboard.press("Escape")
    within = f"Boolean(document.activeElement.closest('{BOARD}'))"
    tabs = 0
    while not page.evaluate(within):
        page.keyboard.press("Tab")
        tabs += 1
        assert tabs < 200
    name = "document.activeElement.getAttribute('aria-label') || document.activeElement.textContent"
    names: list[str] = []
    for _ in range(5):  # the list of sites, the buttons, and one stop for the whole table
        names.append(page.evaluate(name))
        page.keyboard.press("Tab")
    assert names[1:] == ["Refresh", LOOK_UP, "New tenant", "trunk-carrier"] and not page.evaluate(within)
    page.keyboard.press("Shift+Tab")
    for key in ("ArrowDown", "ArrowDown", *["ArrowRight"] * 3):
        page.keyboard.press(key)
    assert page.evaluate(name).startswith("globex, section 02 Trunk termination: to do")
    assert not (sandbox.root / "work/demo").exists()
    page.keyboard.press("Enter")
    tab = page.locator(".lm-TabBar-tab.lm-mod-current", has_text=SECTIONS["02"].notebook)
    expect(tab.first).to_be_visible(timeout=PATIENCE_MS)
    copy = working_copies.Copy.at(sandbox.root / f"work/demo/globex/{SECTIONS['02'].notebook}.ipynb")
    assert copy is not None
    assert copy.parameters == {"site": SITE, "tenant": "parameters/sandbox/globex.yaml"}
    # It is read at once, without another key.
    expect(page.get_by_text("Section 02 planned: ")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text("SANDBOX demo/globex · Apply would stop").first).to_be_visible(
        timeout=PATIENCE_MS
    )
    picture(page, "home-opened")
    assert sandbox.writes() == []


def test_a_run_in_flight_is_seen_and_its_tenant_says_so(page: Page, lab: str, sandbox: TestSandbox) -> None:
    open_home(page, lab, sandbox)
    expect(page.get_by_text("no run is in flight")).to_be_visible()
    sandbox.control("POST", "faults", FIRST_WRITE | {"seconds": 12})
    command = [sys.executable, "-m", "runbook_lib", "apply", "-s", SITE, ACME, "--section", "01"]
    environment = {**os.environ, **sandbox.environment, "PYTHONPATH": str(CHECKOUT)}
    with subprocess.Popen(command, cwd=sandbox.root, env=environment, stdout=subprocess.DEVNULL) as run:
        expect(row(page, "acme").get_by_text("running: write 1 of 1")).to_be_visible(timeout=PATIENCE_MS)
        expect(page.locator(".jp-Cell", has_text="home.in_flight()")).to_contain_text("demo/acme")
        picture(page, "home-in-flight")
        assert run.wait(PATIENCE_MS / 1000) == 0
    expect(row(page, "acme").locator(".running")).to_have_count(0, timeout=PATIENCE_MS)
    expect(section_cell(page, "acme", "01")).to_have_attribute("data-tone", "good", timeout=PATIENCE_MS)


def focused(page: Page) -> str:
    return page.evaluate("document.activeElement.textContent")


def tab_to(page: Page, reached: Callable[[], bool], most: int = 300) -> None:
    """Press Tab until something is reached."""
    for _ in range(most):
        if reached():
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"not reached: {focused(page)}")


def test_an_auditors_way_from_home_to_the_request_id_of_a_write_with_the_keyboard_alone(
    page: Page, lab: str, sandbox: TestSandbox
) -> None:
    done = in_a_terminal(sandbox, "apply", "-s", SITE, ACME, "--section", "01", "--ticket", "CHG-7")
    assert done.returncode == 0, done.stdout
    (path,) = sandbox.root.glob("records/demo/acme/*/record.json")
    [write] = json.loads(path.read_text())["changes"]
    open_home(page, lab, sandbox)
    runs = page.locator(".jp-Cell", has_text="home.runs()").locator("table").first
    when = runs.get_by_role("link").first.inner_text()
    page.keyboard.press("Escape")
    tab_to(page, lambda: focused(page) == when)
    with page.context.expect_page() as opened:
        page.keyboard.press("Enter")
    run = opened.value
    run.wait_for_url(f"{lab}/runbook/records/demo/acme/{path.parent.name}/index.html")
    journal = run.get_by_role("table", name="Journal of writes")
    expect(journal).to_contain_text(write["request_id"], timeout=PATIENCE_MS)
    # On to the section's own page, and back.
    tab_to(run, lambda: focused(run) == SECTIONS["01"].title)
    run.keyboard.press("Enter")
    expect(run.get_by_text("Expected result").first).to_be_visible(timeout=PATIENCE_MS)
    tab_to(run, lambda: focused(run) == "All sections of this run")
    run.keyboard.press("Enter")
    expect(journal).to_contain_text(write["request_id"], timeout=PATIENCE_MS)
    run.close()


def test_what_is_opened_is_read_beside_another_that_is_in_front(
    page: Page, lab: str, sandbox: TestSandbox
) -> None:
    """Two tenants' pages have the same file name: each tab says whose it is."""
    files = (sandbox.root / SITE, "demo", sandbox.root / ACME, "acme")
    folder, _ = working_copies.make_for(sandbox.root, *files)
    name = f"{SECTIONS['01'].notebook}.ipynb"
    open_home(page, lab, sandbox)
    # Somebody has acme's beside the home page, and has not run it.
    page.evaluate(
        """path => {
          const link = document.createElement("a");
          link.dataset.commandlinkerCommand = "docmanager:open";
          link.dataset.commandlinkerArgs = JSON.stringify({ path, options: { mode: "split-right" } });
          document.querySelector(".jp-Notebook").append(link);
          link.click();
          link.remove();
        }""",
        str((folder / name).relative_to(sandbox.root)),
    )
    panels = page.locator("div.jp-NotebookPanel:visible")
    expect(panels).to_have_count(2, timeout=PATIENCE_MS)
    section_cell(page, "globex", "01").click()
    opened = panels.filter(has_text="SANDBOX demo/globex")
    expect(opened.get_by_text("Section 01 planned: ")).to_be_visible(timeout=PATIENCE_MS)
    page.wait_for_timeout(6000)  # it is not run once more, whatever the one beside it shows
    expect(opened.locator(".jp-CodeCell .jp-InputArea-prompt").first).to_have_text("[1]:")
    other = panels.filter(has_not_text="SANDBOX demo/globex")
    expect(other.locator(".jp-CodeCell .jp-InputArea-prompt", has_text=re.compile(r"\d"))).to_have_count(0)
    tabs = page.locator(".lm-DockPanel-tabBar .lm-TabBar-tab", has_text=name)
    expect(tabs).to_have_count(2)
    page.get_by_role("tab", name="index.ipynb").click()
    section_cell(page, "acme", "01").click()
    for tenant in ("acme", "globex"):
        expect(page.get_by_role("tab", name=f"{tenant} · {name}")).to_have_count(1, timeout=PATIENCE_MS)


def test_the_kernel_looks_at_nothing_once_the_board_is_gone(
    page: Page, lab: str, sandbox: TestSandbox
) -> None:
    """The board says that it is there; without it no run is looked for, and no vendor is asked."""
    open_home(page, lab, sandbox)
    page.locator(".jp-Notebook .jp-Cell").last.click()
    page.keyboard.press("Escape")
    page.keyboard.press("b")

    def run(code: str) -> None:
        page.keyboard.press("Enter")  # into the cell
        page.keyboard.press("Control+A")
        page.keyboard.insert_text(code)
        page.keyboard.press("Control+Enter")

    run(
        "from runbook_lib.notebook import home as module; module.AWAY_S = 0; looks = []; look = home.look;"
        " home.look = lambda: looks.append(1) or look()"
    )
    page.wait_for_timeout(3000)
    run("looks.clear()")
    page.wait_for_timeout(5000)
    run("print('looks', len(looks)); module.AWAY_S = 30; home._heard_at -= 1000")
    expect(page.get_by_text("looks 0", exact=True)).to_be_visible(timeout=PATIENCE_MS)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # as when it is shown again
    page.wait_for_timeout(5000)
    run("print('again', bool(looks))")
    expect(page.get_by_text("again True", exact=True)).to_be_visible(timeout=PATIENCE_MS)


def test_words_stay_whole_in_the_tables_of_the_home_and_the_tenant(
    page: Page, lab: str, sandbox: TestSandbox
) -> None:
    done = in_a_terminal(sandbox, "apply", "-s", SITE, ACME, "--ticket", "CHG-7")
    assert done.returncode == 0, done.stdout
    open_home(page, lab, sandbox)
    expect(page.locator(".jp-Cell", has_text="home.runs()")).to_contain_text("CHG-7")
    assert split_at(page) == []
    picture(page, "home-words-800")
    page.set_viewport_size({"width": 1280, "height": 800})
    row(page, "acme").get_by_role("button", name="acme", exact=True).click()
    tenant = page.locator("div.jp-NotebookPanel:not(.lm-mod-hidden)")
    expect(tenant.get_by_text("The whole tenant planned: ")).to_be_visible(timeout=PATIENCE_MS)
    assert split_at(page) == []
    picture(page, "tenant-words-800")
    assert wider_than_the_page(page) == []


@pytest.mark.parametrize("theme", THEMES)
def test_it_reads_in_both_themes_and_in_every_width(
    page: Page, lab: str, sandbox: TestSandbox, theme: str
) -> None:
    numbers = sandbox.control("GET", "state").json()["twilio"]["numbers"].values()
    sid = next(number["sid"] for number in numbers if number["phone_number"] == "+12025550102")
    patch = {"vendor": "twilio", "kind": "numbers", "id": sid, "set": {"voice_url": "https://ivr.example/"}}
    sandbox.control("POST", "state/patch", patch)
    path = sandbox.root / "parameters/sandbox/initech.yaml"
    path.write_text(path.read_text().replace("concurrency: 10", "concurency: 10"))
    choose_theme(page, lab, theme)
    try:
        open_home(page, lab, sandbox)
        assert page.evaluate("document.body.dataset.jpThemeName") == THEMES[theme]
        assert {"conflict", "to do", "rings nowhere"} < {*states(page, "acme"), *states(page, "globex")}
        assert set(states(page, "initech.yaml")) == {"invalid"}
        for width in WIDTHS:
            set_width(page, width, 800)
            page.locator(BOARD).scroll_into_view_if_needed()
            picture(page, f"home-{theme}-{width}")
            assert findings(page, *OURS) == []
            assert cut(page) == [] and broken_words(page) == []
    finally:
        choose_theme(page, lab, "light")


def cut(page: Page) -> list[str]:
    """What on the board is wider than the place that it has."""
    return page.locator(f"{BOARD} .scroll, {BOARD} button, {BOARD} select, {BOARD} th").evaluate_all(
        "all => all.filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.innerText)"
    )


def broken_words(page: Page) -> list[str]:
    """The words of the states that are longer than the line that they have: they end in the middle."""
    return page.locator(f"{BOARD} .word").evaluate_all(
        """all => all.filter(one => {
          const range = document.createRange();
          return one.innerText.split(" ").some((word, place, words) => {
            const start = words.slice(0, place).join(" ").length + (place ? 1 : 0);
            range.setStart(one.firstChild, start);
            range.setEnd(one.firstChild, start + word.length);
            return range.getClientRects().length > 1;
          });
        }).map(one => one.innerText)"""
    )
