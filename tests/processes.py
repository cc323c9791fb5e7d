"""The kernels below a process, as the operating system has them: forked, or started cold."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from runbook_lib.batch.forking import MAIN

FORK_SERVER = "runbook_lib.batch.fork_server"


def kernels_of(pid: int | None = None) -> list[int]:
    """Process ids of the kernels that a process (this one, unless said) or its fork server has started."""
    found = []
    for child in children_of(pid or os.getpid()):
        if runs(child, FORK_SERVER):
            found += list(children_of(child))
        elif runs(child, MAIN):
            found.append(child)
    return found


def children_of(pid: int) -> Iterator[int]:
    """Process ids of what a process has started and still runs."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        yield from map(int, (task / "children").read_text().split())


def runs(pid: int, module: str) -> bool:
    """Whether a process was started with a module, or is a copy of one that was."""
    with suppress(OSError):  # it has ended meanwhile: JupyterLab asks node and npm for their versions
        return module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return False
