"""How long somebody waits for the home page in a real browser: from Run All to the first cells, and to all.

JupyterLab has just opened the page and its kernel is idle, as after ``runbook lab``: the kernel has run
nothing yet. Once for the demo's tenants, and once for 200 tenants that share a trunk.

::

    make bench                      five rounds; needs chromium
    make bench BENCH='--rounds 1'   fewer
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.table import Table

from runbook_lib import working_copies
from tests.conftest import TestSandbox, started
from tests.many import SITE, shared_by_many
from tests.notebooks.conftest import CHROMIUM, jupyterlab
from tests.notebooks.lab import PATIENCE_MS, choose_run_all

MANY = 200
#: In seconds, by the number of tenants: the first cells, and all of them.
PROMISED = {3: (2.0, 3.0), MANY: (2.0, 20.0)}
_FIRST, _ALL = ".runbook-board .word", ".runbook-board [role=status]"


def seconds(browser: Browser, address: str, sandbox: TestSandbox, site: Path) -> tuple[float, float]:
    """Open the home page, choose Run All, and wait for its cells, in a kernel of its own."""
    home = working_copies.make_home(sandbox.root, site)
    page = browser.new_page(viewport={"width": 1300, "height": 2000})
    try:
        page.goto(f"{address}/lab/tree/{home.relative_to(sandbox.root)}?reset", timeout=PATIENCE_MS)
        page.get_by_text("| Idle").wait_for(timeout=PATIENCE_MS)
        choose_run_all(page)
        began = time.perf_counter()
        page.locator(_FIRST).first.wait_for(timeout=PATIENCE_MS)
        first = time.perf_counter() - began
        page.locator(_ALL, has_text="were read").wait_for(state="attached", timeout=PATIENCE_MS)
        whole = time.perf_counter() - began
        page.evaluate(
            """async base => {
              const token = document.cookie.match(/_xsrf=([^;]*)/)?.[1] ?? "";
              const options = { method: "DELETE", headers: { "X-XSRFToken": token } };
              const sessions = await (await fetch(`${base}/api/sessions`)).json();
              for (const { id } of sessions) await fetch(`${base}/api/sessions/${id}`, options);
            }""",
            address,
        )
        return first, whole
    finally:
        page.close()


def main() -> None:
    """Print the medians beside what is promised."""
    parser = argparse.ArgumentParser(description="How long the home page takes.")
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    found: dict[int, list[tuple[float, float]]] = {3: [], MANY: []}
    with (
        TemporaryDirectory() as folder,
        started(Path(folder) / "project") as sandbox,
        sync_playwright() as playwright,
        jupyterlab(sandbox, Path(folder)) as address,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        sites = {3: sandbox.root / SITE, MANY: shared_by_many(sandbox, MANY)}
        for _ in range(rounds):
            for count, site in sites.items():
                found[count].append(seconds(browser, address, sandbox, site))
        browser.close()
    table = Table(title=f"The home page in a browser, in seconds: medians of {rounds} rounds")
    for column in ("tenants", "first cells", "promised", "all cells", "promised"):
        table.add_column(column, justify="right")
    for count, readings in found.items():
        first, whole = (median(reading[place] for reading in readings) for place in (0, 1))
        wanted = [f"{limit:.0f}" for limit in PROMISED[count]]
        table.add_row(str(count), f"{first:.1f}", wanted[0], f"{whole:.1f}", wanted[1])
    Console().print(table)


if __name__ == "__main__":
    main()
