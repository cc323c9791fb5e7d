"""Kernels that are forked: each is fresh, ends as any process ends, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.utils import run_sync

from runbook_lib.batch import forking
from runbook_lib.batch.kernels import KernelPool
from runbook_lib.product import PACKAGE
from tests.conftest import CHECKOUT, TestSandbox
from tests.processes import kernels_of

#: With ``make sweep``, as many as a large batch has.
IN_A_ROW = 500 if os.environ.get("RUNBOOK_SWEEP") else 5
#: So many before, until whatever is loaded once has been loaded.
WARM = 3


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[KernelPool]:
    with KernelPool(tmp_path) as kernels:
        yield kernels
    until(lambda: not kernels_of())


def until(true: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def started(pool: KernelPool, name: str, environment: Mapping[str, str] = {}) -> AsyncKernelManager:
    kernel = pool.take(Path(name), environment)
    assert isinstance(kernel.provisioner.process, forking.ForkedKernel)
    return kernel


def run(kernel: AsyncKernelManager, code: str) -> str:
    """What a kernel prints."""
    client = kernel.blocking_client()
    client.start_channels()
    printed: list[str] = []

    def keep(message: dict[str, Any]) -> None:
        printed.append(message["content"].get("text") or message["content"].get("evalue") or "")

    try:
        client.wait_for_ready(timeout=60)
        client.execute_interactive(code, output_hook=keep, timeout=60)
    finally:
        client.stop_channels()
    return "".join(printed).strip()


def ended(kernel: AsyncKernelManager) -> int | None:
    return kernel.provisioner.process.poll()


def test_a_kernel_gets_its_own_environment_folder_and_widgets(pool: KernelPool, tmp_path: Path) -> None:
    kernel = started(pool, "a", {"RUNBOOK_TEST": "of a"})
    code = (
        "import os; print(os.environ['RUNBOOK_TEST'], os.getcwd(), os.getsid(0) == os.getpid(),"
        " 'jupyter.widget' in get_ipython().kernel.comm_manager.targets)"
    )
    assert run(kernel, code) == f"of a {tmp_path} True True"
    assert run(started(pool, "b"), "import os; print(os.environ.get('RUNBOOK_TEST'))") == "None"


def test_nothing_of_one_kernel_is_in_the_memory_of_the_next(pool: KernelPool) -> None:
    secret = "Canary" + os.urandom(8).hex()
    first = started(pool, "a", {"RUNBOOK_SECRET": secret})
    assert run(first, "import os; print(os.environ['RUNBOOK_SECRET'])") == secret
    second = started(pool, "b")
    run(second, "pass")
    server = forking._server
    assert server is not None
    assert holds(first.provisioner.pid, secret), "or the search finds nothing"
    assert not holds(second.provisioner.pid, secret)
    assert not holds(server.pid, secret)


def test_a_section_imports_next_to_nothing(pool: KernelPool, sandbox: TestSandbox) -> None:
    """What every kernel of a run needs has been imported by the process that it is a copy of."""
    ahead = (
        "import sys; from runbook_lib.batch import fork_server as it; [*map(it.import_module, it.PRELOADED)]"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{ahead}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    )
    forking.close_server()  # an earlier test's may be a batch's, which imports more
    kernel = started(pool, "a")
    (notebook,) = (CHECKOUT / "notebooks").glob("03_*.ipynb")
    cells = [cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    for source in (cells[0], "mode = 'verify'", *cells[1:]):
        run(kernel, source)
    assert sandbox.control("GET", "requests").json()["requests"], "it has asked the vendors"
    imported = set(run(kernel, "import sys; print(*sys.modules)").split()) - set(done.stdout.split())
    # The sandbox's own modules: a live site never loads them.
    others = {name for name in imported if not name.startswith(("runbook_lib", "runbook_sandbox"))}
    assert len(others) < 20, ", ".join(sorted(others))


def holds(pid: int, text: str) -> bool:
    """Whether a process has a text in its memory, or in what it was started with."""
    if text.encode() in Path(f"/proc/{pid}/environ").read_bytes():
        return True
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            place, rights, *_ = line.split()
            if rights.startswith("rw"):
                first, last = (int(part, 16) for part in place.split("-"))
                memory.seek(first)
                try:
                    if text.encode() in memory.read(last - first):
                        return True
                except OSError:
                    continue
    return False


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("import os; os._exit(3)", 3),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    ],
)
def test_how_a_kernel_ended_is_known(pool: KernelPool, code: str, status: int) -> None:
    kernel = started(pool, "a")
    client = kernel.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    assert ended(kernel) is None
    client.execute(code)
    until(lambda: ended(kernel) is not None)
    client.stop_channels()
    assert ended(kernel) == status
    assert not run_sync(kernel.is_alive)()


def test_the_id_of_a_dead_kernel_is_nobody_elses_until_it_is_waited_for(pool: KernelPool) -> None:
    """jupyter_client signals the process group of a kernel, also of one that it knows to be dead."""
    kernel = started(pool, "a")
    pid = kernel.provisioner.pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: ended(kernel) is not None)
    time.sleep(0.5)
    assert ") Z " in Path(f"/proc/{pid}/stat").read_text()
    run_sync(kernel.shutdown_kernel)(now=True)
    until(lambda: not Path(f"/proc/{pid}").exists())


def test_a_kernel_that_was_killed_has_ended(pool: KernelPool) -> None:
    kernel = started(pool, "a")
    run_sync(kernel.provisioner.kill)()
    assert ended(kernel) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("number", "says"), [(signal.SIGKILL, "died"), (signal.SIGSTOP, "did not answer in 1 s")]
)
def test_a_kernel_that_never_answers_is_not_waited_for(pool: KernelPool, number: int, says: str) -> None:
    kernel = started(pool, "a")
    os.kill(kernel.provisioner.pid, number)
    client = kernel.client()
    client.start_channels()
    try:
        with pytest.raises(RuntimeError, match=says):
            run_sync(client.wait_for_ready)(timeout=1)
    finally:
        client.stop_channels()


def test_a_kernel_can_be_interrupted(pool: KernelPool) -> None:
    kernel = started(pool, "a")
    client = kernel.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    message = client.execute("import time; print('sleeps', flush=True); time.sleep(600)")
    while client.get_iopub_msg(timeout=60)["content"].get("text") is None:
        pass
    run_sync(kernel.interrupt_kernel)()
    reply = client.get_shell_msg(timeout=60)
    client.stop_channels()
    assert reply["parent_header"]["msg_id"] == message
    assert reply["content"]["ename"] == "KeyboardInterrupt" and ended(kernel) is None


@dataclass(frozen=True)
class Left:
    """What this process and the server of its kernels have open, and what lies in the temporary folder."""

    files: int
    server_files: int
    sockets: int
    temporary: frozenset[str]
    #: Resident sets in KiB: a proportional one depends on who else runs and shares the libraries.
    memory: int
    server_memory: int

    @classmethod
    def now(cls) -> Left:
        assert forking._server is not None
        server = forking._server.pid
        return cls(
            len(os.listdir("/proc/self/fd")),
            len(os.listdir(f"/proc/{server}/fd")),
            sum(tempfile.gettempdir() in line for line in Path("/proc/net/unix").read_text().splitlines()),
            frozenset(os.listdir(tempfile.gettempdir())),
            resident_size("self"),
            resident_size(server),
        )


def resident_size(pid: int | str) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Rss:"))


@pytest.mark.timeout(3600)
def test_many_in_a_row_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No process, socket, file or memory; and no secret of one kernel in the memory of the next."""
    temporary = tmp_path / "t"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    before, secret = None, ""
    for number in range(WARM + IN_A_ROW):
        if number == WARM:
            until(lambda: not kernels_of())
            before = Left.now()
        earlier, secret = secret, "Canary" + os.urandom(8).hex()
        with KernelPool(tmp_path) as pool:
            kernel = started(pool, str(number), {"RUNBOOK_SECRET": secret})
            assert run(kernel, "import os; print(os.environ['RUNBOOK_SECRET'])") == secret
            if number == 1:
                assert holds(kernel.provisioner.pid, secret), "or the search finds nothing"
            assert not earlier or not holds(kernel.provisioner.pid, earlier)
            run_sync(kernel.shutdown_kernel)(now=True)
    until(lambda: not kernels_of())
    assert before is not None and forking._server is not None
    assert not holds(forking._server.pid, "RUNBOOK_SECRET=Canary")
    after = Left.now()
    print(before, after, sep="\n")
    assert after.files <= before.files and after.server_files == before.server_files
    assert after.sockets == before.sockets and after.temporary == before.temporary
    assert after.server_memory < before.server_memory + 2_000
    assert after.memory < before.memory + 4_000 + 10 * IN_A_ROW
    assert [*tmp_path.iterdir()] == [temporary]


def test_the_server_is_killed(pool: KernelPool) -> None:
    kernel = started(pool, "a")
    run(kernel, "pass")
    assert forking._server is not None
    os.kill(forking._server.pid, signal.SIGKILL)
    until(lambda: ended(kernel) is not None)
    assert ended(kernel) == -signal.SIGKILL
    until(lambda: not Path(f"/proc/{kernel.provisioner.pid}").exists())
    assert run(started(pool, "b"), "print('again')") == "again"


def test_who_started_them_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from runbook_lib.batch.kernels import KernelPool;"
        "pool = KernelPool(Path.cwd()); kernel = pool.take(Path('a'), {}); client = kernel.blocking_client();"
        "client.start_channels(); client.wait_for_ready(timeout=60);"
        "print(kernel.provisioner.pid, flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert process.stdout is not None
    kernel = int(process.stdout.readline())
    process.kill()
    process.communicate()
    until(lambda: not Path(f"/proc/{kernel}").exists())


def test_source_that_has_changed_is_read_again(pool: KernelPool, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, before = started(pool, "a"), forking._server
    assert before is not None
    monkeypatch.setattr(forking, "source_state", lambda: (0, 0))
    started(pool, "b")
    assert forking._server is not before
    assert run(kernel, "print('goes on')") == "goes on"
    run_sync(kernel.shutdown_kernel)(now=True)
    until(lambda: before.has_ended)


def test_where_it_cannot_fork_a_kernel_starts_cold(pool: KernelPool, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(*_: object) -> None:
        raise forking.CannotFork

    monkeypatch.setattr(forking, "_forked", cannot)
    kernel = pool.take(Path("a"), {"RUNBOOK_TEST": "cold"})
    assert isinstance(kernel.provisioner.process, subprocess.Popen)
    assert run(kernel, "import os; print(os.environ['RUNBOOK_TEST'])") == "cold"


def test_the_kernel_that_a_wheel_installs_is_forked(tmp_path: Path) -> None:
    """The kernel ``runbook``: what a hub starts, and ``papermill -k runbook`` with papermill's own engine."""
    folder = tmp_path / "kernels" / "runbook"
    folder.mkdir(parents=True)
    shutil.copy(PACKAGE / "batch" / "kernel.json", folder)
    specs = KernelSpecManager(kernel_dirs=[str(folder.parent)])
    kernel = AsyncKernelManager(kernel_name="runbook", kernel_spec_manager=specs)
    run_sync(kernel.start_kernel)(cwd=str(tmp_path))
    try:
        assert isinstance(kernel.provisioner.process, forking.ForkedKernel)
        assert run(kernel, "import runbook_lib; print(runbook_lib.__name__)") == "runbook_lib"
    finally:
        run_sync(kernel.shutdown_kernel)(now=True)
