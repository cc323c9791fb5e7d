"""Questions to the runner that started this kernel, over a socket that the kernel has inherited.

A question is a line of JSON, and so is its answer. Outside a run, or after the runner has ended, nobody
answers.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from .errors import RunbookError

#: The number of the inherited socket, until it has been claimed.
RUNNER = "RUNBOOK_RUNNER_SOCKET"


class RunnerLine:
    """A connection to the runner, which any thread of this process may use.

    Parameters
    ----------
    end
        This process's end of the socket.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._lines = end.makefile("rw", encoding="utf-8", newline="\n")
        self._turn = threading.Lock()

    def ask(self, name: str, /, **details: Any) -> Any | None:
        """Return the runner's answer; ``None`` also if the runner has ended.

        Raises the ``RunbookError`` that the runner met while preparing the answer.
        """
        with self._turn:
            answer = self._exchange(json.dumps({**details, "ask": name}))
        if "error" in answer:
            raise error_of(answer["error"])
        return answer.get("answer")

    def close(self) -> None:
        """End the connection."""
        with suppress(OSError):  # a question that the runner no longer reads
            self._lines.close()
        self._end.close()

    def _exchange(self, question: str) -> Mapping[str, Any]:
        try:
            self._lines.write(question + "\n")
            self._lines.flush()
            return json.loads(self._lines.readline())
        except (OSError, ValueError):  # gone, perhaps in the middle of a line; or closed by us
            self.close()
            return {}
        except BaseException:
            # Interrupted: the rest of this answer would be mistaken for the next one.
            self.close()
            raise


def ask_runner(name: str, /, **details: Any) -> Any | None:
    """Ask the runner that started this kernel; ``None`` if there is none."""
    return _line.ask(name, **details) if _line else None


def data_of(error: RunbookError) -> dict[str, Any]:
    """Return an error as plain data, for ``error_of`` in another process."""
    return {**vars(error), "kind": type(error).__name__}


def error_of(data: Mapping[str, Any]) -> RunbookError:
    """Return the error that another process met: same class, same content."""
    kind = next(kind for kind in _kinds(RunbookError) if kind.__name__ in (data["kind"], "RunbookError"))
    error = kind.__new__(kind, data["what"])
    vars(error).update({name: value for name, value in data.items() if name != "kind"})
    return error


def _kinds(kind: type[RunbookError]) -> Iterator[type[RunbookError]]:
    """All subclasses of a class of errors, and then the class itself."""
    for derived in kind.__subclasses__():
        yield from _kinds(derived)
    yield kind


def _inherited() -> RunnerLine | None:
    """Claim the socket that the runner has passed on, so that no process started from here inherits it."""
    number = os.environ.pop(RUNNER, "")
    with suppress(OSError, ValueError):
        # The variable can outlive its socket, in a process that was started without it.
        if stat.S_ISSOCK(os.fstat(int(number)).st_mode):
            os.set_inheritable(int(number), False)
            return RunnerLine(socket.socket(fileno=int(number)))
    return None


def take_inherited() -> None:
    """Use the runner's socket in a process that was forked from one that had already imported this."""
    global _line
    _line = _inherited()


#: One per process, because one runner started it.
_line = _inherited()
