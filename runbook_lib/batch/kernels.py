"""Fresh kernels for the notebooks of a batch, the next one warming up while the current one works.

Every notebook gets a kernel of its own. Starting one and importing the library takes some seconds
on a small machine, so that happens in advance.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from jupyter_client.manager import AsyncKernelManager
from jupyter_client.utils import run_sync

KERNEL = "python3"
#: Run by the kernel before it takes its first request; a kernel that cannot do it fails in the notebook.
WARM_UP = "import runbook_lib.notebook.page, runbook_lib.sections"
#: A kernel copies what its child processes print to where it was started from, past every filter.
#: All of it arrives in the notebook as well.
SILENT = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


class KernelPool:
    """Starts kernels in a folder and hands them out; in the end, ends those that are still alive.

    Parameters
    ----------
    folder
        The folder in which the kernels run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: dict[Path, AsyncKernelManager] = {}
        self._all: list[AsyncKernelManager] = []
        self._sockets = TemporaryDirectory(prefix="runbook-", ignore_cleanup_errors=True)
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Also those that were taken: a run that is interrupted may not come to use them.
        while self._all:
            kernel = self._all.pop()
            with suppress(Exception):  # whatever became of it, the records of the run are written
                if kernel.has_kernel:
                    run_sync(kernel.shutdown_kernel)(now=True)
        self._sockets.cleanup()

    def prepare(self, key: Path, environment: Mapping[str, str]) -> None:
        """Start the kernel for ``key`` (the notebook that it is for) unless it waits already."""
        if key in self._waiting:
            return
        self._count += 1
        # Sockets in a folder that only we may enter: nobody else on the machine can talk to a kernel.
        connection = Path(self._sockets.name) / f"{self._count}.json"
        kernel = AsyncKernelManager(kernel_name=KERNEL, transport="ipc", connection_file=str(connection))
        self._all.append(kernel)
        run_sync(kernel.start_kernel)(
            extra_arguments=[f"--IPKernelApp.exec_lines={WARM_UP}", "--HistoryManager.enabled=False"],
            env={**os.environ, **environment},
            cwd=str(self._folder),
            **SILENT,
        )
        self._waiting[key] = kernel

    def take(self, key: Path, environment: Mapping[str, str]) -> AsyncKernelManager:
        """Return the kernel for ``key``; who takes it ends it when the notebook has run."""
        self.prepare(key, environment)
        return self._waiting.pop(key)
