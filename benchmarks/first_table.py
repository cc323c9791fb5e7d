"""How long somebody waits: the import of the library, the first table after Run All, the first write.

A person's notebook is played to a kernel as JupyterLab does it, cell by cell, until the first table is
there. The kernel is new for the first reading and has run the notebook before for the second. Nothing of
the tenant exists in the sandbox, and a reading is never served by an earlier one: it is one of the
vendors. The first write is timed from the click on Apply, as its journal says, for somebody who has read
the plan for some seconds. The same is then done by hand in a real JupyterLab in a real browser: its kernel is
idle and has run nothing yet, as when somebody has just opened the notebook, and a table counts when it is
seen. Times are medians; the load is that of the machine in the minute before.

::

    make bench                      five rounds with the demo's first tenant; needs chromium
    make bench BENCH='--rounds 1'   fewer
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import start_new_kernel
from playwright.sync_api import Browser, Page, expect, sync_playwright
from rich.console import Console
from rich.table import Table

from runbook_lib.guide import SECTIONS
from runbook_lib.product import NOTEBOOKS
from runbook_lib.records.journal import read_journal
from tests.conftest import CHECKOUT, TestSandbox, started
from tests.notebooks.conftest import CHROMIUM, Lab, jupyterlab
from tests.notebooks.lab import (
    PATIENCE_MS,
    apply_button,
    choose_run_all,
    open_notebook,
    type_name,
    until_it_ended,
    wait_until_planned,
)

SECTION, WRITES = "03", "01"
#: How long an operator reads a plan before Apply, and how long a first write may take at most, in seconds.
READING_S, PATIENCE_S = 8.0, 60.0
IMPORTS = ("import runbook_lib", "from runbook_lib import open_section")
NEW, WARM = "first table, new kernel", "first table, warm kernel"
#: What is promised, in seconds.
CLICK = "first write after Apply"
WANTED = {IMPORTS[0]: 0.4, NEW: 2.0, WARM: 2.0, CLICK: 3.0}
IN_BROWSER = ", in a browser"
_TABLE = ".jp-OutputArea-output table:visible"


def seconds_of_import(statement: str) -> float:
    """Return how much longer a Python runs that also imports."""

    def run(code: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=True)
        return time.perf_counter() - began

    return max(0.0, run(statement) - run("pass"))


def seconds_to_first_table(client: BlockingKernelClient, cells: list[str]) -> float:
    """Run all cells; return the seconds until the first table."""
    began, shown = time.perf_counter(), list[float]()

    def look(message: dict[str, Any]) -> None:
        if "<table" in message["content"].get("data", {}).get("text/html", ""):
            shown.append(time.perf_counter() - began)

    for cell in cells:
        # As a person's front end does, so that the form is made as well.
        reply = client.execute_interactive(cell, allow_stdin=True, output_hook=look, timeout=120)
        if reply["content"]["status"] != "ok":
            raise SystemExit(f"{reply['content']['ename']}: {reply['content']['evalue']}")
    if not shown:
        raise SystemExit(f"the notebook of section {SECTION} shows no table")
    return shown[0]


def first_write(sandbox: TestSandbox) -> datetime:
    """Wait until a write has left, and return when it did."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        for journal in sandbox.root.glob("records/demo/acme/*/journal.jsonl"):
            if entries := read_journal(journal):
                return datetime.fromisoformat(entries[0]["at"])
        time.sleep(0.05)
    raise SystemExit(f"no write left within {PATIENCE_S:.0f} s of Apply")


def seconds_to_first_write(sandbox: TestSandbox, client: BlockingKernelClient, cells: list[str]) -> float:
    """Run all cells of a section that writes, and press Apply; return the seconds until its first write."""
    seconds_to_first_table(client, cells)
    time.sleep(READING_S)
    began = datetime.now(UTC)
    # What the button's handler is called with; the form is the one that a person would see.
    press = "section.form.answered({'do': 'apply', 'name': section.name})"
    reply = client.execute_interactive(press, allow_stdin=True, timeout=120)
    if reply["content"]["status"] != "ok":
        raise SystemExit(f"{reply['content']['ename']}: {reply['content']['evalue']}")
    seconds = (first_write(sandbox) - began).total_seconds()
    client.execute_interactive("section.form.wait(60)", timeout=120)
    return seconds


def seconds_until_seen(page: Page) -> float:
    """Choose Run All; return the seconds until the first table is seen."""
    choose_run_all(page)
    began = time.perf_counter()
    page.locator(_TABLE).first.wait_for(timeout=PATIENCE_MS)
    return time.perf_counter() - began


def in_a_browser(sandbox: TestSandbox, browser: Browser, lab: Lab) -> dict[str, float]:
    """Return one reading of what somebody sees in JupyterLab, in seconds."""
    begin_again(sandbox)
    page = browser.new_page(viewport={"width": 1300, "height": 3000})
    try:
        open_notebook(page, lab.address, SECTION)
        seconds = {NEW: seconds_until_seen(page)}
        until_it_ended(page)
        page.get_by_role("menuitem", name="Edit", exact=True).click()
        page.get_by_text("Clear Outputs of All Cells", exact=True).click()
        expect(page.locator(_TABLE)).to_have_count(0)
        seconds[WARM] = seconds_until_seen(page)
        until_it_ended(page)
        open_notebook(page, lab.address, WRITES)
        choose_run_all(page)
        wait_until_planned(page, WRITES)
        page.wait_for_timeout(1_000 * READING_S)
        type_name(page)
        expect(apply_button(page)).to_be_enabled()
        began = datetime.now(UTC)
        apply_button(page).click()
        seconds[CLICK] = (first_write(sandbox) - began).total_seconds()
        ended = page.get_by_text(f"Section {WRITES}: succeeded at").last
        expect(ended).to_be_visible(timeout=PATIENCE_MS)
    finally:
        page.close()
        lab.forget()
    return {name + IN_BROWSER: value for name, value in seconds.items()}


def begin_again(sandbox: TestSandbox) -> None:
    """Let nothing of the tenant be there, and no record."""
    sandbox.control("POST", "reset")
    shutil.rmtree(sandbox.root / "records", ignore_errors=True)


def code_of(section: str) -> list[str]:
    """The code of a section's notebook, cell by cell."""
    notebook = nbformat.read(NOTEBOOKS / f"{SECTIONS[section].notebook}.ipynb", as_version=4)
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def measure(sandbox: TestSandbox) -> dict[str, float]:
    """Return one reading of everything, in seconds."""
    seconds = {statement: seconds_of_import(statement) for statement in IMPORTS}
    begin_again(sandbox)
    environment = {**os.environ, **sandbox.environment, "PYTHONPATH": str(CHECKOUT)}
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(sandbox.root), env=environment)
    try:
        for name in (NEW, WARM):
            seconds[name] = seconds_to_first_table(client, code_of(SECTION))
        seconds[CLICK] = seconds_to_first_write(sandbox, client, code_of(WRITES))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return seconds


def main() -> None:
    """Print the medians beside what is promised."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    rounds, load = options.parse_args().rounds, os.getloadavg()[0]
    with TemporaryDirectory() as folder, started(Path(folder) / "project") as sandbox:
        readings = [measure(sandbox) for _ in range(rounds)]
        with sync_playwright() as playwright, jupyterlab(sandbox, Path(folder)) as address:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            for reading in readings:
                reading |= in_a_browser(sandbox, browser, Lab(address, Path(folder)))
            browser.close()
    title = f"Waiting, in seconds: medians of {rounds} rounds, load {load:.1f} at the beginning"
    table = Table(title=title, title_justify="left")
    for column in ("What", "Seconds", "Promised"):
        table.add_column(column)
    for name in readings[0]:
        promised = WANTED.get(name.removesuffix(IN_BROWSER))
        wanted = "" if promised is None else f"{promised:.1f}"
        table.add_row(name, f"{median(reading[name] for reading in readings):.2f}", wanted)
    Console().print(table)


if __name__ == "__main__":
    main()
