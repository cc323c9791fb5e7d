"""Kernels that start at once: a kernel provisioner of ``jupyter_client`` that forks them.

It is used for the kernels of every run, of JupyterLab as ``runbook lab`` starts it, and of whoever names
the kernel ``runbook`` (papermill ``-k runbook``, a hub). A kernel that cannot be forked starts as any
other: on another system than Linux, where a process of several threads would be copied, or when the process
that is copied has died.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

from ..product import PYTHON, python_path
from ..records.versions import source_state
from .fork_server import FORK, FORK_WORKER, MOST_INHERITED

PROVISIONER = "runbook-fork"
MAIN = "runbook_lib.batch.kernel"
#: How a kernel is started that may be forked: ``COMMAND`` and its arguments.
COMMAND = (*PYTHON, "-m", MAIN)
#: What the process that is copied may see of the environment. Secrets are in variables of any other name.
PASSED_ON = ("HOME", "LANG", "LC_ALL", "LC_CTYPE", "PATH", "TMPDIR", "TZ", "USER", "LOGNAME")
#: The descriptor of a process that runs a tenant of a batch: it asks the same server for its kernels.
INHERITED = "RUNBOOK_FORK_SERVER"
#: Seconds for importing everything on a slow machine; then the kernel is started cold.
PATIENCE = 120.0
#: Between two looks whether a killed kernel has ended: at first, and when others look.
SHORTEST_LOOK_S, LONGEST_LOOK_S = 0.002, 0.1


class CannotFork(Exception):
    """No kernel was forked; it can be started cold."""


class ForkServer:
    """A process that has imported what a kernel needs, and copies itself."""

    def __init__(self, *, for_batch: bool = False, inherited: int | None = None) -> None:
        if sys.platform != "linux":
            raise CannotFork
        self.for_batch = for_batch
        self._process: subprocess.Popen[bytes] | None = None
        if inherited is not None:
            self._control = socket.socket(fileno=inherited)
            return
        self._source = source_state()
        own, other = socket.socketpair()
        with other:
            self._process = subprocess.Popen(
                [
                    *(*PYTHON, "-m", "runbook_lib.batch.fork_server", str(other.fileno())),
                    *(["batch"] if for_batch else []),
                ],
                env={
                    **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
                    "PYTHONPATH": python_path(),
                    "PYTHONIOENCODING": "utf-8",  # as whoever reads the output of a copy expects it
                    "OPENBLAS_NUM_THREADS": "1",  # numpy would start a thread for each core
                },
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._control = own

    @property
    def pid(self) -> int:
        """Its process id, in the process that started it."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_fit(self) -> bool:
        """Whether it is alive and runs the source that is now on disk, or the source of the tenant's process.

        A process that was forked from it runs the same source, and so do its kernels.
        """
        return self._process is None or (not self.has_ended and self._source == source_state())

    def fork(
        self,
        arguments: Sequence[str],
        environment: dict[str, str],
        folder: str,
        streams: Sequence[int],
        inherited: Sequence[int],
        kind: bytes = FORK,
    ) -> ForkedKernel:
        """Start a kernel, or a process of a batch.

        Parameters
        ----------
        arguments
            Those of the kernel itself, after ``COMMAND``.
        environment, folder
            All of its environment, and where it starts.
        streams, inherited
            Descriptors for its standard input, output and error, and further ones, whose numbers it keeps.

        Raises ``CannotFork``.
        """
        if len(inherited) > MOST_INHERITED:
            raise CannotFork
        status, theirs = socket.socketpair()
        receiving, sending = os.pipe()
        with theirs, os.fdopen(sending, "w", encoding="utf-8") as pipe:
            try:
                socket.send_fds(self._control, [kind], [receiving, theirs.fileno(), *streams, *inherited])
            except OSError:
                status.close()
                raise CannotFork from None
            finally:
                os.close(receiving)
            theirs.close()
            request = {
                "arguments": list(arguments),
                "environment": environment,
                "folder": folder,
                "numbers": list(inherited),
            }
            with suppress(BrokenPipeError):
                json.dump(request, pipe)
                pipe.close()
        return ForkedKernel(status)

    def retire(self) -> None:
        """Fork no more; the process ends with its last kernel."""
        self._control.close()

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process is not None and self._process.poll() is not None

    def fork_worker(
        self, arguments: Sequence[str], environment: dict[str, str], folder: str, output: int
    ) -> ForkedKernel:
        """Start a process of a batch that asks this server for its kernels; raises ``CannotFork``."""
        control = self._control.fileno()
        with open(os.devnull, "rb") as nothing:
            return self.fork(
                arguments,
                {**environment, INHERITED: str(control)},
                folder,
                (nothing.fileno(), output, output),
                (control,),
                FORK_WORKER,
            )

    def close(self) -> None:
        """End the process; its kernels end with it. In a process that inherited it, only stop asking it."""
        self._control.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class ForkedKernel:
    """A kernel's process, in the shape of ``subprocess.Popen`` as far as a provisioner uses it."""

    stdin = stdout = stderr = None

    def __init__(self, status: socket.socket) -> None:
        self._status = status
        self._read = b""
        self.returncode: int | None = None
        if not self._receive(PATIENCE) or b"\n" not in self._read:
            status.close()
            raise CannotFork
        pid, _, self._read = self._read.partition(b"\n")
        self.pid = int(pid)

    def poll(self) -> int | None:
        """Return the exit status; ``-9`` if its parent, which knows it, has died; ``None`` while it runs."""
        if self.returncode is None and self._receive(0):
            known = self._read.endswith(b"\n")
            self.returncode = int(self._read) if known else -signal.SIGKILL
        return self.returncode

    def wait(self) -> int:
        """Wait for the end, and let the process be reaped."""
        while self.poll() is None:
            select.select([self._status], [], [])
        self._status.close()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to a process that still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _receive(self, seconds: float) -> bool:
        """Whether something came within that time: a line, or the end."""
        if self.returncode is not None or not select.select([self._status], [], [], seconds)[0]:
            return False
        with suppress(OSError):
            self._read += self._status.recv(64)
        return True


class ForkingProvisioner(LocalProvisioner):
    """Starts the runbook's own kernels by fork, and all others as ``LocalProvisioner`` does."""

    process: Any = None

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start the kernel, cold if it cannot be forked; raises what ``LocalProvisioner`` raises."""
        if tuple(cmd[: len(COMMAND)]) != COMMAND:
            return await super().launch_kernel(cmd, **kwargs)
        try:
            process = _forked(cmd[len(COMMAND) :], kwargs)
        except CannotFork:
            return await super().launch_kernel(cmd, **kwargs)
        self.process = process
        self.pid = self.pgid = process.pid
        self.cwd = kwargs.get("cwd") or Path.cwd()
        return self.connection_info

    async def kill(self, restart: bool = False) -> None:
        """Kill the kernel, which ends at once: jupyter_client looks first after 0.1 s."""
        await super().kill(restart=restart)
        pause = SHORTEST_LOOK_S
        while pause < LONGEST_LOOK_S and await self.poll() is None:
            await asyncio.sleep(pause)
            pause *= 2


_server: ForkServer | None = None
_turn = threading.Lock()


def start_fork_server(*, for_batch: bool = False) -> None:
    """Start the process that is copied, so that the first kernel waits less."""
    with suppress(CannotFork), _turn:
        _fit_server(for_batch=for_batch)


def start_worker(
    arguments: Sequence[str], environment: dict[str, str], folder: str, output: int
) -> ForkedKernel:
    """Start a process of a batch; raises ``CannotFork``."""
    with _turn:
        return _fit_server(for_batch=True).fork_worker(arguments, environment, folder, output)


def inherit() -> None:
    """Take the server that started this process, so that no process started from here inherits it."""
    global _server
    number = os.environ.pop(INHERITED, "")
    with suppress(OSError, ValueError):
        if stat.S_ISSOCK(os.fstat(int(number)).st_mode):
            os.set_inheritable(int(number), False)
            _server = ForkServer(inherited=int(number))


def close_server() -> None:
    """End the process that is copied, and the kernels that it has started."""
    global _server
    if _server is not None:
        _server.close()
        _server = None


def _fit_server(*, for_batch: bool = False) -> ForkServer:
    global _server
    _retired[:] = [server for server in _retired if not server.has_ended]
    if _server is None or not _server.is_fit or (for_batch and not _server.for_batch):
        if _server is not None:
            _server.retire()
            _retired.append(_server)
        _server = ForkServer(for_batch=for_batch)
    return _server


#: Of an older state of the source, with kernels that still run.
_retired: list[ForkServer] = []


def _forked(arguments: list[str], options: dict[str, Any]) -> ForkedKernel:
    with _turn, open(os.devnull, "r+b") as nothing:
        streams = [
            _descriptor(options.get(name), nothing.fileno(), default)
            for name, default in (("stdin", nothing.fileno()), ("stdout", 1), ("stderr", 2))
        ]
        return _fit_server().fork(
            arguments,
            dict(options.get("env") or os.environ),
            str(options.get("cwd") or Path.cwd()),
            streams,
            tuple(options.get("pass_fds", ())),
        )


def _descriptor(stream: Any, nothing: int, default: int) -> int:
    if stream is None:
        return default
    if stream == subprocess.DEVNULL:
        return nothing
    return stream if isinstance(stream, int) else stream.fileno()


@atexit.register
def _end() -> None:
    close_server()
    while _retired:
        _retired.pop().close()


def register_provisioner() -> None:
    """Register the provisioner where the product is not installed, so that no entry point does it."""
    known = KernelProvisionerFactory.instance().provisioners
    known.setdefault(
        PROVISIONER,
        EntryPoint(PROVISIONER, f"{__name__}:ForkingProvisioner", KernelProvisionerFactory.GROUP_NAME),
    )
