"""The papermill engine: a status that is true, and no record overwritten."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.engines import papermill_engines
from papermill.exceptions import PapermillExecutionError

from runbook_lib.batch import engine
from runbook_lib.batch.engine import RunbookEngine
from runbook_lib.batch.kernels import KernelPool
from runbook_lib.batch.store import AtomicHandler
from runbook_lib.errors import InputError, RunbookError
from runbook_lib.secret import find_secrets, remember
from tests.conftest import CHECKOUT
from tests.processes import kernels_of


@pytest.fixture(autouse=True)
def _registered() -> None:
    papermill_engines.register("runbook", RunbookEngine)


def execute(folder: Path, *sources: str, **options: Any) -> nbformat.NotebookNode:
    """Execute cells, and return the notebook as it lies on the disk whatever happened."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(one) for one in sources])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, folder / "in.ipynb")
    papermill.execute_notebook(
        folder / "in.ipynb", folder / "out.ipynb", engine_name="runbook", progress_bar=False, **options
    )
    return saved(folder)


def saved(folder: Path) -> nbformat.NotebookNode:
    return nbformat.read(folder / "out.ipynb", as_version=4)


def states(notebook: nbformat.NotebookNode) -> list[str]:
    return [cell.metadata.papermill.status for cell in notebook.cells if cell.cell_type == "code"]


def test_a_notebook_that_ran_through_succeeded(tmp_path: Path) -> None:
    notebook = execute(tmp_path, "1 + 1", "2 + 2")
    assert notebook.metadata.runbook.status == "succeeded"
    assert states(notebook) == ["completed", "completed"]


def test_a_failed_cell_fails_the_notebook_and_later_ones_stay_pending(tmp_path: Path) -> None:
    with pytest.raises(PapermillExecutionError):
        execute(tmp_path, "1 / 0", "2 + 2")
    assert saved(tmp_path).metadata.runbook.status == "failed"
    assert states(saved(tmp_path)) == ["failed", "pending"]


def test_a_failed_cell_that_is_expected_to_fail_fails_the_notebook_all_the_same(tmp_path: Path) -> None:
    """Papermill raises for it in the end, whatever its tag says to the kernel's client."""
    cells = [nbformat.v4.new_code_cell(one) for one in ("1 / 0", "2 + 2")]
    cells[0].metadata["tags"] = ["raises-exception"]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, tmp_path / "in.ipynb")
    files = (tmp_path / "in.ipynb", tmp_path / "out.ipynb")
    with pytest.raises(PapermillExecutionError):
        papermill.execute_notebook(*files, engine_name="runbook", progress_bar=False)
    assert saved(tmp_path).metadata.runbook.status == "failed"


def test_a_dead_kernel_never_counts_as_completed(tmp_path: Path) -> None:
    with pytest.raises(DeadKernelError):
        execute(tmp_path, "1 + 1", "import os; os.kill(os.getpid(), 9)", "2 + 2")
    assert saved(tmp_path).metadata.runbook.status == "failed"
    assert "DeadKernelError" in saved(tmp_path).metadata.runbook.error
    assert states(saved(tmp_path)) == ["completed", "failed", "pending"]


def test_a_cell_that_runs_out_of_time_fails_the_notebook(tmp_path: Path) -> None:
    with pytest.raises(CellTimeoutError):
        execute(tmp_path, "import time; time.sleep(60)", "2 + 2", execution_timeout=1)
    assert saved(tmp_path).metadata.runbook.status == "failed"
    assert states(saved(tmp_path)) == ["failed", "pending"]


def test_a_notebook_that_still_runs_says_unknown(tmp_path: Path) -> None:
    peek = f"import json; json.load(open({str(tmp_path / 'out.ipynb')!r}))['metadata']['runbook']['status']"
    notebook = execute(tmp_path, peek)
    assert notebook.cells[0].outputs[0].data["text/plain"] == "'unknown'"


def test_what_has_run_is_on_disk_before_the_next_cell_runs(tmp_path: Path) -> None:
    cells = f"json.load(open({str(tmp_path / 'out.ipynb')!r}))['cells']"
    peek = f"import json; [(c['metadata']['papermill']['status'], len(c['outputs'])) for c in {cells}]"
    notebook = execute(tmp_path, "1 + 1", peek, "2 + 2")
    assert notebook.cells[1].outputs[0].data["text/plain"] == (
        "[('completed', 1), ('running', 0), ('pending', 0)]"
    )


def test_a_long_notebook_is_not_written_twice_for_each_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time all of it is written, which took half of the processor's time of a whole run."""
    written = list[str]()
    write = AtomicHandler.write

    def counting(handler: AtomicHandler, content: str, path: str) -> None:
        written.append(content)
        write(handler, content, path)

    monkeypatch.setattr(AtomicHandler, "write", counting)
    cells = [nbformat.v4.new_markdown_cell("about it"), nbformat.v4.new_code_cell("1 + 1")] * 10
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "in.ipynb")
    papermill.execute_notebook(
        tmp_path / "in.ipynb", tmp_path / "out.ipynb", engine_name="runbook", progress_bar=False
    )
    assert 10 < len(written) <= 10 + 4  # the start of each that runs, and both ends, which papermill repeats


def test_what_is_on_disk_in_between_is_what_is_there_at_the_end(tmp_path: Path) -> None:
    peek = f"import shutil; shutil.copy({str(tmp_path / 'out.ipynb')!r}, {str(tmp_path / 'seen.ipynb')!r});"
    show = "from IPython.display import display; shown = display('first', display_id=True)"
    final = execute(tmp_path, show, "shown.update('second')", f"{peek} 'copied'")
    seen = nbformat.read(tmp_path / "seen.ipynb", as_version=4)
    nbformat.validate(seen)
    assert [one.source for one in seen.cells] == [one.source for one in final.cells]
    assert [one.metadata.papermill.status for one in seen.cells] == ["completed", "completed", "running"]
    # What a later cell changes in an earlier one may be missing in between, and is there at the end.
    assert final.cells[0].outputs[0].data["text/plain"] == "'second'"


def test_what_is_printed_arrives_in_order_whoever_prints_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # with it, ipykernel does not look at what children print
    program = "print('from a child', flush=True)"
    start = "import threading; one = threading.Thread(target=print, args=('from a thread',)); one.start()"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {program!r}])"
    cells = [
        "print('one', flush=True); print('two')",
        f"{start}; one.join()",
        child,
        "print('three', end='')",
    ]
    outputs = [cell.outputs for cell in execute(tmp_path, *cells).cells]
    texts = ["".join(one.text for one in found if one.get("name") == "stdout") for found in outputs]
    assert texts[:2] == ["one\ntwo\n", "from a thread\n"] and "from a child\n" in texts[2] + texts[3]
    assert texts[3].endswith("three")


def test_an_output_path_that_exists_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out.ipynb").write_text("an older record")
    with pytest.raises(InputError, match="never overwritten"):
        execute(tmp_path, "1 + 1")
    assert (tmp_path / "out.ipynb").read_text() == "an older record"


def test_every_notebook_gets_a_kernel_of_its_own(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with KernelPool(tmp_path) as kernels:
        kernels.prepare(first, {"WHICH": "first"})
        kernels.prepare(second, {"WHICH": "second"})
        shown = [
            execute(folder, "import os; (os.getpid(), os.environ['WHICH'])", kernel=kernels.take(folder, {}))
            .cells[0]
            .outputs[0]
            .data["text/plain"]
            for folder in (first, second)
        ]
    assert "first" in shown[0] and "second" in shown[1]
    assert shown[0].split(",")[0] != shown[1].split(",")[0]


def test_a_kernel_knows_the_root_of_the_server_that_started_it(tmp_path: Path) -> None:
    """Also one that was forked, whose parent another process is."""
    (tmp_path / f"jpserver-{os.getpid()}.json").write_text(json.dumps({"root_dir": str(tmp_path)}))
    source = "from runbook_lib.notebook.served import Served\nprint(Served.by_this_kernel().root)"
    with KernelPool(tmp_path) as kernels:
        kernel = kernels.take(tmp_path, {"JUPYTER_RUNTIME_DIR": str(tmp_path)})
        assert kernels_of() == [kernel.provisioner.pid]
        [shown] = execute(tmp_path, source, kernel=kernel).cells[0].outputs
    assert shown.text == f"{tmp_path}\n"


def test_kernels_that_nobody_took_are_ended(tmp_path: Path) -> None:
    with KernelPool(tmp_path) as kernels:
        kernels.prepare(tmp_path, {})
        process = kernels._waiting[tmp_path].provisioner.process
        assert process.poll() is None
    assert process.poll() is not None


def in_a_process(folder: Path, *sources: str, options: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Start papermill's own command on cells."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(one) for one in sources])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, folder / "in.ipynb")
    return subprocess.Popen(
        [sys.executable, "-m", "papermill", "--engine", "runbook", *options, "in.ipynb", "out.ipynb"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stderr=subprocess.PIPE,
        text=True,
        # The tests may run under nohup, and what is ignored is left alone.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )


def wait_for(path: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_interrupts_the_notebook_and_ends_its_kernel(tmp_path: Path, number: int) -> None:
    cell = f"import os, pathlib, time\npathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n"
    last_words = f"try: time.sleep(60)\nfinally: pathlib.Path({str(tmp_path / 'end')!r}).touch()"
    process = in_a_process(tmp_path, cell + last_words, "2 + 2")
    wait_for(tmp_path / "pid")
    time.sleep(0.5)
    process.send_signal(number)
    _, shown = process.communicate(timeout=30)
    assert process.returncode not in (0, None)
    assert saved(tmp_path).metadata.runbook.status == "interrupted", shown
    assert states(saved(tmp_path)) == ["failed", "pending"]
    assert (tmp_path / "end").exists()  # the cell was interrupted before the kernel was ended
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_killed_engine_leaves_a_notebook_that_says_unknown(tmp_path: Path) -> None:
    process = in_a_process(tmp_path, f"open({str(tmp_path / 'runs')!r}, 'w')\nimport time; time.sleep(60)")
    wait_for(tmp_path / "runs")
    process.kill()
    process.communicate(timeout=30)
    assert saved(tmp_path).metadata.runbook.status == "unknown"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("room", [0, 4096, 16384])
def test_a_full_disk_never_counts_as_succeeded(small_disk: Path, room: int) -> None:
    fill = f"""
import os
with open({str(small_disk / "fill")!r}, "wb", buffering=0) as file:
    try:
        while True: file.write(bytes(1024))
    except OSError: file.truncate(max(0, file.tell() - {room}))
print("x" * 30000)
"""
    with pytest.raises(OSError, match="No space left"):
        execute(small_disk, "1 + 1", fill, "2 + 2")
    assert saved(small_disk).metadata.runbook.status in ("unknown", "failed")
    assert not list(small_disk.glob(".out*"))


def test_no_room_at_all_leaves_nothing_behind(small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        execute(small_disk, "x = 1" + "#" * 40_000)
    assert not (small_disk / "out.ipynb").exists()


def test_a_notebook_is_never_seen_half_written(tmp_path: Path) -> None:
    sources = [f"import time; time.sleep(0.02); print('x' * {size})" for size in range(0, 200_000, 10_000)]
    process = in_a_process(tmp_path, *sources)
    wait_for(tmp_path / "out.ipynb")
    read = 0
    while process.poll() is None:
        text = (tmp_path / "out.ipynb").read_text()
        read += bool(text and json.loads(text))
    process.communicate()
    assert read > 10 and saved(tmp_path).metadata.runbook.status == "succeeded"


def test_a_relative_output_path_is_meant_from_where_papermill_was_called(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "out.ipynb").write_text("of somebody else")
    process = in_a_process(tmp_path, "import os; os.getcwd()", options=("--cwd", "elsewhere"))
    _, shown = process.communicate(timeout=60)
    assert process.returncode == 0, shown
    assert "elsewhere" in saved(tmp_path).cells[0].outputs[0].data["text/plain"]
    assert (tmp_path / "elsewhere" / "out.ipynb").read_text() == "of somebody else"
    again = in_a_process(tmp_path, "1", options=("--cwd", "elsewhere"))
    assert "never overwritten" in again.communicate(timeout=60)[1]


def test_secrets_that_the_engine_knows_never_reach_the_notebook(tmp_path: Path) -> None:
    value = 'Engine-canary"<7>'
    remember(value, "env:ENGINE_CANARY")
    cells = [
        "value = 'Engine-' + 'canary\"<7>'",
        "import sys, time\nprint(value[:9], end='', flush=True); time.sleep(0.5); print(value[9:])",
        "from IPython.display import display, HTML\ndisplay(HTML(value)); value",
        "from ipywidgets import Text\nText(value=value)",
        f"raise KeyError({value!r})",
    ]
    with pytest.raises(PapermillExecutionError) as caught:
        execute(tmp_path, *cells)
    content = (tmp_path / "out.ipynb").read_bytes()
    assert find_secrets(content) == [] and content.count(b"[env:ENGINE_CANARY]") >= 5
    assert find_secrets(str(caught.value)) == []


def test_a_notebook_with_a_secret_in_spite_of_the_filter_is_withheld(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "scrub_data", lambda content: content)
    remember("Slipped-through-1", "env:SLIPPED")
    with pytest.raises(RunbookError, match="env:SLIPPED in out"):
        execute(tmp_path, "print('Slipped-' + 'through-1')")
    assert not (tmp_path / "out.ipynb").exists()
    assert (tmp_path / "withheld" / "out.ipynb").exists()
