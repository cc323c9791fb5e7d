"""``python -m runbook_lib.batch.fork_server FD [batch]``: forks kernels from a process that has imported all.

For a batch it forks the processes of tenants too, which ask it for their kernels in turn.

Most of a kernel's start is importing IPython, pandas and this library. This process does so once, and each
kernel is a copy of it. It stays fit to be copied: one thread, no event loop, no ZeroMQ context. It never
reads what a kernel is given (arguments, environment): the copy itself does, from its own pipe, so
nothing of one kernel is in the memory of the next. Its own environment has only ``PASSED_ON``.

The other end is ``forking``. A kernel is asked for by one message, ``FORK``, with file descriptors: the
pipe with its request, the socket for its process id and exit status, and its standard streams. The process
is reaped only when the other end closes that socket, so its id cannot become another's before.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import json
import os
import selectors
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module

FORK = b"F"
#: … or for a process that runs or plans one tenant of several: it is not ended when the other end closes its
#: socket.
FORK_WORKER = b"W"
#: What is imported ahead; also a kernel that starts cold imports the library's part of it (``WARM_UP``).
PRELOADED = (
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "runbook_lib.notebook.section_page",
    "runbook_lib.notebook.tenant_page",
    "runbook_lib.sections",
    "runbook_lib.batch.streams",
    # Each kernel imports these before its first cell, or with its first request: 0.4 s of its processor time.
    "ipykernel.debugger",
    "IPython.extensions.storemagic",
    "ipywidgets",
    "httpcore",
    "cryptography.x509",
    "cryptography.hazmat.primitives.serialization",
    "pdb",
    "faulthandler",
    "tornado.platform.asyncio",
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.core.logger",
    "IPython.core.oinspect",
    "IPython.utils.wildcard",
)
#: … and for a batch, whose tenants' processes are forked as well.
PRELOADED_FOR_BATCH = ("runbook_lib.batch.worker", "runbook_lib.__main__", "runbook_lib.cli")
#: File descriptors that come with each request before those that the kernel inherits.
FIXED = 5
MOST_INHERITED = 16


@dataclass(frozen=True)
class Request:
    """What a process is to be; read from its pipe by that process alone."""

    kind: bytes
    arguments: list[str]
    environment: dict[str, str]
    folder: str
    #: Numbers that the inherited descriptors have in the kernel.
    numbers: list[int]


class _Server:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._pid = os.getpid()
        self._kernels: dict[int, socket.socket] = {}
        self._workers = set[int]()
        #: Workers whose status nobody waits for any longer: they run to completion.
        self._orphans = set[int]()
        self._selector = selectors.DefaultSelector()
        self._woken, wake = socket.socketpair()
        for end in (self._woken, wake):
            end.setblocking(False)
        self._wake = wake
        signal.set_wakeup_fd(wake.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(control, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)

    def serve(self) -> Request | None:
        """Fork until nobody asks any longer and all kernels have ended.

        Returns the request in a kernel, ``None`` in the server.
        """
        accepts = True
        while accepts or self._kernels or self._orphans:
            for key, _ in self._selector.select():
                if key.fileobj is self._woken:
                    self._woken.recv(4096)
                    self._report()
                elif key.fileobj is self._control:
                    data, descriptors, _, _ = socket.recv_fds(self._control, 1, FIXED + MOST_INHERITED)
                    if not data:
                        self._selector.unregister(self._control)
                        accepts = False
                    elif request := self._fork(data, descriptors):
                        return request
                else:
                    self._forget(key.data)
        return None

    def _fork(self, kind: bytes, descriptors: list[int]) -> Request | None:
        status = socket.socket(fileno=descriptors[1])
        # With a second thread a copy could wait for ever for a lock; the other end starts it cold then.
        pid = os.fork() if _threads() == 1 else None
        if pid == 0:
            status.detach()
            return self._become(kind, descriptors)
        for descriptor in (descriptors[0], *descriptors[2:]):
            os.close(descriptor)
        if pid is None:
            status.close()
            return None
        self._kernels[pid] = status
        if kind == FORK_WORKER:
            self._workers.add(pid)
        self._selector.register(status, selectors.EVENT_READ, pid)
        with suppress(OSError):
            status.sendall(f"{pid}\n".encode())
        return None

    def _become(self, kind: bytes, descriptors: list[int]) -> Request:
        """In the copy: close what is the server's, and take what is the kernel's."""
        signal.set_wakeup_fd(-1)
        for reset in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
            signal.signal(reset, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setsid()
        self._selector.close()
        for end in (self._control, self._woken, self._wake, *self._kernels.values()):
            end.close()
        os.close(descriptors[1])
        with os.fdopen(descriptors[0], encoding="utf-8") as pipe:
            request = Request(kind, **json.load(pipe))
        # First out of the way of the numbers that they get.
        above = max([2, *request.numbers]) + 1
        moved = [_moved(one, above) for one in descriptors[2:]]
        for one, number in zip(moved, [0, 1, 2, *request.numbers], strict=True):
            os.dup2(one, number)
            os.close(one)
        os.chdir(request.folder)
        os.environ.clear()
        os.environ.update(request.environment)
        if kind == FORK:
            # As each kernel has it; the server may have ended already.
            os.environ["JPY_PARENT_PID"] = str(self._pid)
        time.tzset()
        return request

    def _report(self) -> None:
        """Send the exit status of each kernel that has ended, as ``subprocess`` has it; it stays a zombie."""
        self._orphans = {pid for pid in self._orphans if os.waitpid(pid, os.WNOHANG)[0] == 0}
        for pid, status in self._kernels.items():
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is not None:
                code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
                with suppress(OSError):
                    status.sendall(f"{code}\n".encode())
                    status.shutdown(socket.SHUT_WR)

    def _forget(self, pid: int) -> None:
        """The other end has closed a kernel's socket: end it if it lives, and reap it."""
        status = self._kernels.pop(pid)
        self._selector.unregister(status)
        status.close()
        if pid in self._workers:
            self._workers.remove(pid)
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                self._orphans.add(pid)
            return
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _moved(descriptor: int, above: int) -> int:
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, above)
    os.close(descriptor)
    return moved


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


def _run_kernel(request: Request, started_by: int) -> None:
    from .. import asking
    from ..notebook import served

    asking.take_inherited()
    served.started_by = started_by
    import ipywidgets
    from ipykernel.kernelapp import IPKernelApp

    from ..notebook.watch import watch_cells

    sys.argv = [__file__, *request.arguments]
    # It ends when its parent is gone; it looks for its parent's id in the environment at import only.
    app = IPKernelApp.instance(parent_handle=int(os.environ["JPY_PARENT_PID"]))
    app.initialize(request.arguments)
    # It does so itself where a kernel exists when it is imported.
    ipywidgets.load_ipython_extension(app.shell)
    watch_cells()  # before the first cell, which may be one that needs a page
    app.start()


def _run_worker(request: Request) -> int:
    """Run a module's ``main``, as ``python -m`` does."""
    from . import forking

    forking.inherit()
    sys.argv = [*request.arguments]
    return import_module(sys.argv[0]).main()


def main(number: str, *purpose: str) -> int:
    """Preload, then fork a process for each request; returns at the end of the server, and of each copy."""
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, signal.SIG_IGN)  # it ends with the other end, and its kernels end with it
    control, parent = socket.socket(fileno=int(number)), os.getppid()
    if purpose:
        # Nobody attaches a debugger to a batch's kernels: ipykernel does without if it cannot be imported.
        sys.modules["debugpy"] = None  # type: ignore[assignment]
    for module in (*PRELOADED, *(PRELOADED_FOR_BATCH if purpose else ())):
        import_module(module)
    import_module("runbook_lib.vendors.transport").load_public_trust()
    if purpose:
        import_module("runbook_lib.batch.pages").prepare()
    gc.collect()
    gc.freeze()
    request = _Server(control).serve()
    if request is None:
        return 0
    if request.kind == FORK_WORKER:
        status = _run_worker(request)
        # Python would take apart all that the process has imported: 0.1 s of its processor time.
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(status)
    _run_kernel(request, parent)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
