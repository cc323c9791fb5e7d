"""``python -m runbook_lib.ahead``: a process that is ready to become any ``runbook`` command.

The apply form starts it while the operator reads the plan, so that what takes long (Python, the libraries,
the process that kernels are forked from) is over before the click. Until a line arrives on standard input it
holds no lock, session, secret or record. The line is a JSON list, the command's arguments. It ends without
doing anything when standard input ends, as it does with the page's kernel, and after ten minutes.
"""

from __future__ import annotations

import json
import select
import signal
import sys

from . import cli
from .batch import forking, runner  # noqa: F401 - loaded now, as it takes long

IDLE_S = 600.0


def main() -> None:
    """Wait for the arguments, then be that command."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    forking.start_fork_server()
    if arguments := _arguments():
        sys.argv = ["runbook", *arguments]
        cli.main()


def _arguments() -> list[str]:
    """What the line says; empty when there is none."""
    ready, _, _ = select.select([sys.stdin], [], [], IDLE_S)
    line = sys.stdin.readline() if ready else ""
    return json.loads(line) if line.endswith("\n") else []


if __name__ == "__main__":
    main()
