"""Fresh kernels of the runbook's own interpreter; the next one warms up while the current one works.

Every notebook gets its own kernel. Starting one and importing the library takes some seconds
on a small machine, so that happens in advance. Kernels that other environments offer to Jupyter under
the same name are never started: they lack the library's packages, or have other versions of them.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty
from typing import Self

from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.utils import run_sync

from ..asking import RUNNER
from ..product import python_path
from ..records.clocks import steady
from . import forking
from .channel import Channel
from .scratch import Scratch

KERNEL = "python3"
#: Run by the kernel before it accepts its first request; if this fails, the notebook shows it.
WARM_UP = "import runbook_lib.notebook.section_page, runbook_lib.sections"
#: What its standard output and error are.
STREAM = "runbook_lib.batch.streams.PromptStream"
#: A kernel copies what its child processes print to where it was started from, past every filter.
#: All of it arrives in the notebook as well.
SILENT = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

#: How long a kernel that is asked to end may take: at half of it comes SIGTERM, then SIGKILL.
ENDING_S = 15.0

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
        forking.register_provisioner()
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


class PromptClient(AsyncKernelClient):
    """Talks to a kernel as soon as it answers."""

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Return when the kernel answers, and when what it shows arrives here.

        jupyter_client's own then waits until nothing has arrived for 0.2 s; nbclient ignores whatever belongs
        to none of its cells. Raises ``RuntimeError`` for a kernel that died, or that took longer than
        ``timeout`` seconds.
        """
        began = steady()
        while True:
            self.kernel_info()
            with suppress(Empty):
                reply = await self.shell_channel.get_msg(timeout=1)
                if reply["msg_type"] == "kernel_info_reply":
                    await self.iopub_channel.get_msg(timeout=0.2)
                    self._handle_kernel_info_reply(reply)
                    return
            if not await self.is_alive():
                raise RuntimeError("the kernel died before it answered")
            if timeout is not None and steady() - began > timeout:
                raise RuntimeError(f"the kernel did not answer in {timeout:g} s")


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
        self._all: list[AsyncKernelManager] = []
        self._scratch = Scratch()
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
        self._scratch.close()

    def prepare(self, key: Path, environment: Mapping[str, str]) -> None:
        """Start the kernel for ``key`` (the run that it is for) unless it waits already."""
        if key in self._waiting:
            return
        self._count += 1
        # Sockets in a private folder: no other account on the machine can talk to a kernel.
        connection = self._scratch.path / f"{self._count}.json"
        kernel = AsyncKernelManager(
            kernel_name=KERNEL,
            kernel_spec_manager=OwnKernelSpecs(),
            client_factory=PromptClient,
            transport="ipc",
            connection_file=str(connection),
            # An interrupted write is answered first, and then the result is saved.
            shutdown_wait_time=ENDING_S,
        )
        self._all.append(kernel)
        with self._asking() as (variables, inherited):
            run_sync(kernel.start_kernel)(
                extra_arguments=[
                    f"--IPKernelApp.exec_lines={WARM_UP}",
                    f"--IPKernelApp.outstream_class={STREAM}",
                    "--HistoryManager.enabled=False",
                ],
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
        self._waiting[key] = kernel

    def take(self, key: Path, environment: Mapping[str, str]) -> AsyncKernelManager:
        """Return the kernel for ``key``; who takes it ends it when the notebook has run."""
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
