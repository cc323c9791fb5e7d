"""The notebook of discover, run by papermill: it shows first, and writes files only where it is asked to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nbformat
import papermill

from tests.conftest import CHECKOUT, TestSandbox
from tests.discover.by_hand import ByHand
from tests.test_cli import SITE

NOTEBOOK = CHECKOUT / "notebooks" / "discover.ipynb"


def shown(sandbox: TestSandbox, to: str | None) -> str:
    """Run the notebook, and return the text of its outputs."""
    executed = sandbox.root / "discovered.ipynb"
    papermill.execute_notebook(
        str(NOTEBOOK), str(executed), {"site": SITE, "to": to}, cwd=str(sandbox.root), progress_bar=False
    )
    outputs = [
        json.dumps(output) for cell in nbformat.read(executed, 4).cells for output in cell.get("outputs", ())
    ]
    executed.unlink()
    return "\n".join(outputs)


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.yaml*")}


def test_it_shows_what_was_found_and_writes_files_only_when_asked(sandbox: TestSandbox) -> None:
    hand = ByHand(sandbox)
    hand.tenant(1, "One", "one.pbx.example")
    hand.tenant(2, "Two", "two.pbx.example", "wide list")
    sandbox.clear_log()
    before = files_below(sandbox.root)
    text = shown(sandbox, None)
    for found in ("one.pbx.example", "two.pbx.example", "list wider than one address"):
        assert found in text
    assert files_below(sandbox.root) == before
    shown(sandbox, "found")
    assert files_below(sandbox.root) - before == {"found/one.yaml", "found/two.yaml"}
    assert sandbox.writes() == []
    again = shown(sandbox, "found")
    assert "there already" in again
    assert files_below(sandbox.root) - before == {"found/one.yaml", "found/two.yaml"}
    shutil.rmtree(sandbox.root / "found")
