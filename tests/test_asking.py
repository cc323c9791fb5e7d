"""Questions of a kernel to its runner: answers, errors, and a runner that is gone."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest

from runbook_lib.asking import RUNNER, RunnerLine
from runbook_lib.batch.channel import Channel
from runbook_lib.batch.kernels import KERNEL, KernelPool
from runbook_lib.errors import AccountError, InputError, RunbookError, SignInError, UnreachableError
from tests.conftest import CHECKOUT

REFUSED = SignInError(
    "the PBX refused to sign in admin",
    vendor="PortSIP",
    status=400,
    code="UNAUTHORIZED",
    step="0.2",
    meaning="user name or password is wrong",
    next_step="correct it",
)


@contextmanager
def line(**handlers: Any) -> Iterator[RunnerLine]:
    channel = Channel()
    for name, handler in handlers.items():
        channel.register(name, handler)
    asking = RunnerLine(channel.connect())
    yield asking
    asking.close()


def test_each_thread_gets_the_answer_to_its_own_question() -> None:
    def later(question: dict[str, Any]) -> list[str]:
        time.sleep(question["number"] % 3 / 1000)
        return [question["number"], "größer\nals eine Zeile"]

    with line(number=later) as asking, ThreadPoolExecutor(8) as threads:
        numbers = range(200)
        answers = list(threads.map(lambda number: asking.ask("number", number=number), numbers))
    assert answers == [[number, "größer\nals eine Zeile"] for number in numbers]


def test_kernels_are_answered_side_by_side() -> None:
    """A sign-in that takes long keeps no other kernel waiting."""
    both = threading.Barrier(2, timeout=20)
    channel = Channel()
    channel.register("meet", lambda _: both.wait() >= 0)
    lines = [RunnerLine(channel.connect()) for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(lambda asking: asking.ask("meet"), lines)) == [True, True]
    for asking in lines:
        asking.close()


@pytest.mark.parametrize(
    "error",
    [
        REFUSED,
        UnreachableError("no answer", vendor="PortSIP", meaning="nothing was changed"),
        InputError(["site.yaml: one", "site.yaml: two"], next_step="correct both"),
        AccountError("another account", account="AC1", other="AC2"),
        RunbookError("anything"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_arrives_as_it_was_raised(error: RunbookError) -> None:
    def fail(_: object) -> None:
        raise error

    with line(token=fail) as asking, pytest.raises(RunbookError) as caught:
        asking.ask("token")
    assert type(caught.value) is type(error)
    assert vars(caught.value) == vars(error) and str(caught.value) == str(error)
    assert caught.value.args == error.args


def test_a_defect_of_the_runner_is_told_and_the_line_goes_on() -> None:
    with line(defect=lambda _: 1 / 0, name=lambda question: question["name"]) as asking:
        with pytest.raises(RunbookError, match="the runner could not answer"):
            asking.ask("defect")
        assert asking.ask("unknown") is None
        assert asking.ask("name", name="still there") == "still there"


@pytest.mark.parametrize("sent", [b"", b'{"answer": {"access_tok'], ids=["nothing", "half a line"])
def test_a_runner_that_ends_is_nobody(sent: bytes) -> None:
    ours, theirs = socket.socketpair()
    asking = RunnerLine(theirs)

    def die() -> None:
        ours.recv(1000)
        ours.sendall(sent)
        ours.close()

    thread = threading.Thread(target=die)
    thread.start()
    assert asking.ask("token") is None
    thread.join()
    assert asking.ask("token") is None


def test_an_interrupted_question_is_not_answered_with_the_next_ones_answer() -> None:
    waiting = threading.Event()

    def slow(question: dict[str, Any]) -> int:
        if question["number"] == 1:
            waiting.wait(20)
        return question["number"]

    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with line(number=slow) as asking:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(KeyboardInterrupt):
                asking.ask("number", number=1)
            waiting.set()
            assert asking.ask("number", number=2) is None
    finally:
        signal.signal(signal.SIGALRM, before)


#: What a process sees of the socket that its kernel has: the variable, and what the descriptor leads to.
LOOK = f'[ -z "${RUNNER}" ] && ! ls -l /proc/self/fd | grep socket: && echo nothing'


def in_kernel(folder: Path, channel: Channel | None, source: str) -> str:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    notebook.metadata["kernelspec"] = {"name": KERNEL, "display_name": "Python 3"}
    nbformat.write(notebook, folder / "in.ipynb")
    with KernelPool(folder, channel) as kernels:
        ended = papermill.execute_notebook(
            str(folder / "in.ipynb"),
            str(folder / "out.ipynb"),
            engine_name="runbook",
            kernel_name=KERNEL,
            progress_bar=False,
            kernel=kernels.take(folder, {}),
        )
    return ended.cells[0].outputs[0].data["text/plain"]


@pytest.fixture(autouse=True)
def _library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))


def test_a_kernel_asks_and_no_process_that_it_starts_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor one that IPython's own files start: they are read before the first cell runs."""
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    found = tmp_path / "found-at-startup"
    (startup / "00.py").write_text(f"import os; os.system({f'({LOOK}) > {found}'!r})")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    channel = Channel()
    channel.register("sum", lambda question: sum(question["of"]))
    source = (
        "import os\n"
        "from runbook_lib.asking import ask_runner\n"
        f"os.system({f'({LOOK}) > found-by-cell'!r})\n"
        "ask_runner('sum', of=[1, 2])"
    )
    assert in_kernel(tmp_path, channel, source) == "3"
    assert found.read_text() == (tmp_path / "found-by-cell").read_text() == "nothing\n"


def test_a_kernel_without_a_runner_has_nobody_to_ask(tmp_path: Path) -> None:
    asked = "from runbook_lib.asking import ask_runner; [ask_runner('token')]"
    assert in_kernel(tmp_path, None, asked) == "[None]"


@pytest.mark.parametrize("value", ["", "not a number", "1", "999999"])
def test_a_variable_that_leads_to_no_socket_is_passed_over(value: str) -> None:
    code = "from runbook_lib.asking import ask_runner; import os; print(ask_runner('x'), dict(os.environ))"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(CHECKOUT), RUNNER: value},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("None ") and RUNNER not in ended.stdout
