"""axe-core on a page of a real browser: what in it keeps people out.

The package carries axe-core itself, so nothing is fetched. A page of JupyterLab has findings of JupyterLab's
own, so there only what is ours is looked at: name it by selectors.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from playwright.sync_api import Page

from tests.notebooks.lab import PATIENCE_MS

#: What is ours in JupyterLab: texts and outputs of the open notebook.
OURS = (".jp-Notebook .jp-RenderedMarkdown", ".jp-Notebook .jp-OutputArea-output")
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
_AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
_RUN = """async within => {
  const found = within.filter(selector => document.querySelector(selector));
  const context = within.length ? { include: found.map(selector => [selector]) } : document;
  if (within.length && !found.length) throw new Error(`nothing to look at: ${within}`);
  const { violations, passes } = await axe.run(context, { resultTypes: ["violations"] });
  if (!passes.length) throw new Error("axe-core looked at nothing");
  return violations;
}"""


def findings(page: Page, *within: str) -> list[str]:
    """What axe-core finds in the whole page, or in what the selectors match: rule, place, reason.

    Fails when there is nothing to look at.
    """
    page.evaluate(_AXE)  # past the page's policy, which lets no script in
    violations: list[dict[str, Any]] = page.evaluate(_RUN, list(within))
    return [
        f"{violation['id']} ({violation['impact']}): {' '.join(map(str, node['target']))}:"
        f" {' '.join(str(node['failureSummary']).split())}: {node['html'][:200]}"
        for violation in violations
        for node in violation["nodes"]
    ]


def choose_theme(page: Page, lab: str, theme: str) -> None:
    """Let JupyterLab have this theme of ``THEMES`` for every page that is opened afterwards."""
    if not page.url.startswith(lab):
        page.goto(f"{lab}/lab/tree/?reset", timeout=PATIENCE_MS)
    status = page.evaluate(
        """async ([address, theme]) => {
          const token = document.cookie.match(/_xsrf=([^;]*)/)?.[1] ?? "";
          const body = JSON.stringify({ raw: JSON.stringify({ theme }) });
          const headers = { "X-XSRFToken": token, "Content-Type": "application/json" };
          return (await fetch(address, { method: "PUT", headers, body })).status;
        }""",
        [f"{lab}/lab/api/settings/@jupyterlab/apputils-extension:themes", THEMES[theme]],
    )
    assert status in (200, 204), status
