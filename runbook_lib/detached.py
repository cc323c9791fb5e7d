"""A process of this project's own code that outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .product import PYTHON, python_path
from .records.result import RUN_FOLDER


class Detached:
    """A running or ended ``python -m …``, in its own process group.

    What it prints goes to a file that nobody else has open, so it never waits for a reader: if its
    parent is interrupted or ends, it still runs to completion.

    Parameters
    ----------
    arguments
        What follows ``python -m``; never a secret, because arguments are visible in every process list.
    root
        The workspace's folder, in which it runs; nothing is imported from there.
    listens
        Whether it waits for ``hand_over``; until then it ends with its starter.
    environment
        Environment variables in addition to those of this process.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        root: Path,
        *,
        listens: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close(), read until then
        self._listens = listens
        try:
            self._process = self.start([*arguments], root, dict(environment or {}))
        except BaseException:
            self._output.close()
            raise

    def start(self, arguments: list[str], root: Path, environment: dict[str, str]) -> Any:
        """Start the process, and return it in the shape of ``subprocess.Popen``."""
        own = {name: value for name, value in os.environ.items() if name != RUN_FOLDER}
        # UTF-8 as ``printed`` reads it.
        own |= {"PYTHONIOENCODING": "utf-8", "PYTHONPATH": python_path(), **environment}
        return subprocess.Popen(
            [*PYTHON, "-m", *arguments],
            cwd=root,
            env=own,
            stdin=subprocess.PIPE if self._listens else subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status, negative for the signal that ended it; ``None`` while it runs."""
        return self._process.poll()

    @property
    def running(self) -> bool:
        """Whether the process is running."""
        return self.status is None

    def interrupt(self) -> None:
        """Ask it to end: the write in flight is interrupted, and the record says so."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)

    def hand_over(self, line: str) -> bool:
        """Pass a listening process its line, so that it outlives its starter; return whether it took it."""
        assert self._process.stdin is not None, "only a process that listens is handed something"
        try:
            with self._process.stdin as pipe:
                pipe.write(line.encode() + b"\n")
        except OSError:
            return False
        return self.running

    def printed(self) -> str:
        """What it has printed so far; empty after ``close``."""
        if self._output.closed:
            return ""
        size = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), size, 0).decode(errors="replace")

    def close(self) -> None:
        """Let go of an ended process's output."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._output.close()
