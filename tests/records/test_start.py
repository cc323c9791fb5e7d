"""How the commands about records begin: only what they need is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT
from tests.records.conftest import make


@pytest.mark.parametrize("command", ["list", "show", "head", "verify"])
def test_looking_at_records_loads_neither_vendors_nor_notebooks(command: str, tmp_path: Path) -> None:
    """Who looks up one change does not wait for what only a run needs."""
    make(tmp_path / "records", "demo/acme/1")
    heavy = ("pandas", "papermill", "nbformat", "nbconvert", "twilio", "httpx", "requests", "ruamel", "yaml")
    heavy += ("runbook_lib.parameters", "runbook_lib.sections", "runbook_lib.vendors", "runbook_lib.runbook")
    arguments = ["records", command, *(["demo/acme/1"] if command == "show" else [])]
    code = (
        "import sys\n"
        "from runbook_lib.__main__ import main\n"
        f"sys.argv = {['runbook', *arguments, '--records', str(tmp_path / 'records')]}\n"
        "try:\n    main()\n"
        f"finally:\n    print([name for name in {heavy} if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True)
    assert (out.returncode, out.stdout.splitlines()[-1]) == (0, "[]"), out.stdout + out.stderr
