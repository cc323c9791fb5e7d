"""``python -m tests.deployments [NAME …]``: without names all, one after the other; nothing is passed over.

What is fetched is kept in ``$DEPLOYMENTS`` and used again; what is tried is new each time, and stays there
when it failed. A machine that lacks what a deployment needs fails it, and says what that is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Error as BrowserError

from tests.deployments.ground import Failed, Ground, missing
from tests.deployments.packages import by_pip, by_pipx, by_uv
from tests.deployments.servers import airflow, hub
from tests.deployments.surroundings import container, cron

#: Each with what it needs of the machine, beside Python and git.
DEPLOYMENTS: dict[str, tuple[Callable[[Ground], None], str]] = {
    "pip": (by_pip, ""),
    "pipx": (by_pipx, ""),
    "uv": (by_uv, ""),
    "cron": (cron, ""),
    "container": (container, missing("debootstrap", "unshare", root=True)),
    "hub": (hub, missing("node", "npm", "chromium")),
    "airflow": (airflow, ""),
}
PLACE = Path(os.environ.get("DEPLOYMENTS", "/var/tmp/runbook-deployments"))


def main(names: list[str]) -> int:
    """Try deployments; return the exit status."""
    if unknown := [name for name in names if name not in DEPLOYMENTS]:
        print(f"unknown: {', '.join(unknown)}; known are {', '.join(DEPLOYMENTS)}", file=sys.stderr)
        return 3
    failed = []
    for name in names or DEPLOYMENTS:
        call, needs = DEPLOYMENTS[name]
        began = time.monotonic()
        problem = needs or _tried(name, call)
        told = f"FAILED: {problem}" if problem else "passed"
        print(f"== {name}: {told} ({time.monotonic() - began:.0f} s)", flush=True)
        failed += [name] if problem else []
    if failed:
        print(f"Failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _tried(name: str, call: Callable[[Ground], None]) -> str:
    """What went wrong with a deployment; empty when nothing did."""
    folder = PLACE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        call(Ground(folder, PLACE / "shared"))
    except (Failed, AssertionError, BrowserError, OSError, subprocess.SubprocessError) as error:
        return f"{type(error).__name__}: {error}"
    shutil.rmtree(folder)
    return ""


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
