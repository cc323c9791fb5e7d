"""The runner's side of the questions that its kernels ask; the kernels' side is ``asking``."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from ..asking import data_of
from ..errors import RunbookError
from ..secret import scrub

#: Returns the answer to a question, as plain data; called from the threads of several kernels.
Handler = Callable[[Mapping[str, Any]], Any]


class Channel:
    """Answers questions of kernels, each of which has its own socket and thread.

    A question without a registered handler gets the answer ``None``, as if there were no runner.

    A thread ends when its kernel has ended, whatever ended it.
    """

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}

    def register(self, name: str, handler: Handler) -> None:
        """Answer the questions of a name with what ``handler`` returns, or with the error that it raises."""
        self._handlers[name] = handler

    def connect(self) -> socket.socket:
        """Return the end for a kernel; the caller closes its own copy once the kernel has inherited it."""
        ours, theirs = socket.socketpair()
        threading.Thread(target=self._serve, args=(ours,), name="questions of a kernel", daemon=True).start()
        return theirs

    def _serve(self, ours: socket.socket) -> None:
        with suppress(OSError), ours, ours.makefile("rw", encoding="utf-8", newline="\n") as lines:
            while line := lines.readline():
                lines.write(json.dumps(self._answer(line)) + "\n")
                lines.flush()

    def _answer(self, line: str) -> dict[str, Any]:
        try:
            question = json.loads(line)
            handler = self._handlers.get(question["ask"])
            return {"answer": None if handler is None else handler(question)}
        except RunbookError as error:
            return {"error": data_of(error)}
        except Exception as error:
            # A bug in the runbook, which the section's record has to show.
            what = scrub(f"the runner could not answer ({type(error).__name__}: {error})")
            return {"error": data_of(RunbookError(what))}
