"""The ``runbook`` command in this process: the same errors, output and status, without starting Python."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from runbook_lib.batch.interruption import Interruption
from runbook_lib.cli.app import _command
from runbook_lib.cli.running import guarded
from tests.conftest import TestSandbox


def runbook_here(
    sandbox: TestSandbox, *arguments: str, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Call ``runbook`` as from ``folder``, by default the project's root."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name, value in sandbox.environment.items():
            patch.setenv(name, value)
        patch.setenv("COLUMNS", "140")
        patch.chdir(folder or sandbox.root)
        patch.setattr(sys, "argv", ["runbook", *arguments])
        status = guarded(lambda: _command(Interruption()))
    return subprocess.CompletedProcess(["runbook", *arguments], status, out.getvalue(), err.getvalue())
