"""Fresh kernels of the runbook's own interpreter; the next one warms up while the current one works.

Every notebook gets its own kernel. Starting one and importing the library takes some seconds
on a small machine, so that happens in advance. Kernels that other environments offer to Jupyter under
the same name are never started: they lack the library's packages, or have other versions of them.
"""

from __future__ import annotations

import os
import queue
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.utils import run_sync

from ..asking import RUNNER
from ..product import python_path
from . import forking
from .channel import Channel
from .scratch import Scratch

KERNEL = "python3"
#: How long a kernel that was started ahead may need to answer; then another one is started.
READY_S = 60.0
#: Run by the kernel before it accepts its first request; if this fails, the notebook shows it.
WARM_UP = "import runbook_lib.notebook.page, runbook_lib.sections, pandas.io.formats.style"
#: A kernel copies what its child processes print to where it was started from, past every filter.
#: All of it arrives in the notebook as well.
SILENT = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


#: Where Jupyter and IPython keep files of the account, unless these variables say otherwise.
JUPYTER_FOLDERS = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")


class OwnKernelSpecs(KernelSpecManager):
    """Jupyter's list of kernels, in which ``python3`` is always the interpreter that runs this.

    JupyterLab is started with it (``runbook lab``), and the kernels of every run.
    """

    def find_kernel_specs(self) -> dict[str, str]:
        """Return the folder of each kernel's resources by the kernel's name."""
        return {**super().find_kernel_specs(), KERNEL: RESOURCES}

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return how a kernel is started; raises ``NoSuchKernel`` for an unknown name."""
        if kernel_name.lower() != KERNEL:
            return super().get_kernel_spec(kernel_name)
        forking.register()
        return KernelSpec(
            resource_dir=RESOURCES,
            **{
                **get_kernel_dict(),
                "argv": [*forking.COMMAND, "-f", "{connection_file}"],
                "metadata": {"kernel_provisioner": {"provisioner_name": forking.PROVISIONER}},
            },
        )


def jupyter_folders(scratch: Path) -> dict[str, str]:
    """Return variables that give Jupyter folders in ``scratch``; none where the account's home will do.

    A container's account often has no home, or one that it cannot write.
    """
    home = os.path.expanduser("~")
    if os.path.isabs(home) and os.access(home, os.W_OK | os.X_OK):
        return {}
    return {name: str(scratch / name.lower()) for name in JUPYTER_FOLDERS if not os.environ.get(name)}


def _set_environment(kernel: AsyncKernelManager, variables: Mapping[str, str]) -> bool:
    """Give a kernel that runs already further variables; whether it took them."""
    client = kernel.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=READY_S)
        code = f"__import__('os').environ.update({dict(variables)!r})"
        # Silent: the notebook's first cell is the first one that the kernel knows of.
        reply = client.execute(code, silent=True, store_history=False, reply=True, timeout=READY_S)
        return reply["content"]["status"] == "ok"
    except (RuntimeError, TimeoutError, queue.Empty):
        return False
    finally:
        client.stop_channels()


class KernelPool:
    """Starts kernels in a folder and hands them out; in the end, ends those that are still alive.

    Parameters
    ----------
    folder
        The folder in which the kernels run.
    channel
        Answers what the kernels ask; without one they have nobody to ask.
    """

    def __init__(self, folder: Path, channel: Channel | None = None) -> None:
        self._folder = folder
        self._channel = channel
        self._waiting: dict[Path, AsyncKernelManager] = {}
        #: Started for the first notebook, whichever that will be.
        self._spare: AsyncKernelManager | None = None
        self._all: list[AsyncKernelManager] = []
        self._scratch = Scratch()
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the kernels that are still alive."""
        # Also those that were taken: a run that is interrupted may not come to use them.
        while self._all:
            kernel = self._all.pop()
            with suppress(Exception):  # whatever became of it, the records of the run are written
                if kernel.has_kernel:
                    run_sync(kernel.shutdown_kernel)(now=True)
        self._scratch.close()

    def prepare_any(self) -> None:
        """Start a kernel before it is known what for: the first one that is taken."""
        self._spare = self._started({})

    def prepare(self, key: Path, environment: Mapping[str, str]) -> None:
        """Start the kernel for ``key`` (the notebook that it is for) unless it waits already."""
        if key not in self._waiting:
            self._waiting[key] = self._started(environment)

    def _started(self, environment: Mapping[str, str]) -> AsyncKernelManager:
        self._count += 1
        # Sockets in a folder that only we may enter: nobody else on the machine can talk to a kernel.
        connection = self._scratch.path / f"{self._count}.json"
        kernel = AsyncKernelManager(
            kernel_name=KERNEL,
            kernel_spec_manager=OwnKernelSpecs(),
            transport="ipc",
            connection_file=str(connection),
        )
        self._all.append(kernel)
        with self._asking() as (variables, inherited):
            run_sync(kernel.start_kernel)(
                extra_arguments=[f"--IPKernelApp.exec_lines={WARM_UP}", "--HistoryManager.enabled=False"],
                env={
                    **os.environ,
                    "PYTHONPATH": python_path(),
                    **jupyter_folders(self._scratch.path),
                    **environment,
                    **variables,
                },
                cwd=str(self._folder),
                pass_fds=inherited,
                **SILENT,
            )
        return kernel

    def take(self, key: Path, environment: Mapping[str, str]) -> AsyncKernelManager:
        """Return the kernel for ``key``; who takes it ends it when the notebook has run."""
        spare, self._spare = self._spare, None
        if spare is not None and run_sync(spare.is_alive)() and _set_environment(spare, environment):
            return spare
        self.prepare(key, environment)
        return self._waiting.pop(key)

    @contextmanager
    def _asking(self) -> Iterator[tuple[dict[str, str], tuple[int, ...]]]:
        """The variables and files that a kernel inherits so that it can ask; here they are closed then."""
        if self._channel is None:
            yield {}, ()
            return
        with self._channel.connect() as end:
            yield {RUNNER: str(end.fileno())}, (end.fileno(),)


#: The pool of a process that was started before it was known what it would run.
_ahead: list[tuple[KernelPool, Channel]] = []


def start_ahead(folder: Path) -> KernelPool:
    """Make the pool of this process's next run in ``folder``, with a first kernel, for ``pool_for``."""
    channel = Channel()
    pool = KernelPool(folder, channel)
    pool.prepare_any()
    _ahead.append((pool, channel))
    return pool


def pool_for(folder: Path) -> tuple[KernelPool, Channel]:
    """Return the kernels of a run in ``folder``, and what answers their questions."""
    if _ahead:
        return _ahead.pop()
    channel = Channel()
    return KernelPool(folder, channel), channel


def end_ahead() -> None:
    """End a pool that no run has come to use."""
    while _ahead:
        _ahead.pop()[0].close()
