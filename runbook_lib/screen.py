"""The screen: what a command prints; problems with the output never affect the work.

A reader that went away, a full disk, a closed output and a character that the terminal cannot show
are caught here, below everything that prints (rich, click, Python itself). If the output is lost, the
result of a command is repeated in plain words on the error output, and vice versa.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import sys

from rich.console import Console
from rich.text import Text

from .notebook.display import visible
from .secret import scrub

screen = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

#: Replacements for our own marks if a terminal cannot show them; other characters become code points.
PLAIN = {"✓": "+", "✗": "x", "·": "-", "…": "...", "→": "->", "⚠": "!", "—": "-", "⟨": "<", "⟩": ">"}
_PLAIN_ERRORS = "runbook.plain"


class _Output(io.RawIOBase):
    """A file descriptor that accepts whatever is written, even if the file behind it no longer does.

    ``lost`` is the error that ended it.
    """

    def __init__(self, number: int, lost: OSError | None = None) -> None:
        self._number = number
        self.lost = lost

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def write(self, data) -> int:
        while self.lost is None:
            try:
                return os.write(self._number, data)
            except BlockingIOError:  # another process set the shared terminal or pipe to non-blocking
                select.select([], [self._number], [])
            except OSError as error:
                self.lost = error
        return len(data)


_outputs: dict[str, _Output] = {}
#: What the command did, in plain words.
_conclusions: list[str] = []


def guard() -> None:
    """Put the standard streams of this process behind the screen; printing cannot raise afterwards."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:  # closed by the parent process: no file of a run may get its number
            os.open(os.devnull, os.O_RDWR)
    if sys.stdin is None:
        sys.stdin = open(0)  # noqa: SIM115 - a question finds no answer there
    if (columns := os.environ.get("COLUMNS", "")).isdigit():  # the consoles are older in a forked process
        screen.width = errors.width = int(columns)
    for name, number in (("stdout", 1), ("stderr", 2)):
        given = getattr(sys, name)
        closed = OSError(errno.EBADF, os.strerror(errno.EBADF)) if given is None else None
        _outputs[name] = output = _Output(number, closed)
        wrapped = io.TextIOWrapper(
            io.BufferedWriter(output),
            encoding=given.encoding if given is not None else "utf-8",
            errors=_PLAIN_ERRORS,
            line_buffering=name == "stderr" or output.isatty(),
        )
        setattr(sys, name, wrapped)


def complain(text: str) -> None:
    """Print lines that may contain text from vendors, which has no effect on the terminal.

    On the error output, or on the output if that one is lost.
    """
    lines = Text("\n".join(map(visible, scrub(text).splitlines())))
    errors.print(lines, soft_wrap=True)
    if _lost("stderr") and not _lost("stdout"):
        screen.print(lines, soft_wrap=True)


def conclude(*lines: str) -> None:
    """Keep what was done in plain lines: ``finish`` prints them if the output is lost."""
    _conclusions.extend(lines)


def output_failed() -> bool:
    """Whether the output is incomplete although its reader was there: a full disk, a closed output."""
    lost = _lost("stdout")
    return lost is not None and lost.errno != errno.EPIPE


def finish() -> None:
    """Repeat on the error output what was lost; nothing if a reader had merely seen enough."""
    lost = _lost("stdout")
    if lost is not None and (_conclusions or output_failed()):
        complain("\n".join([f"The output is incomplete ({lost.strerror}).", *_conclusions]))


def _lost(name: str) -> OSError | None:
    output = _outputs.get(name)
    if output is not None:
        getattr(sys, name).flush()
    return output.lost if output is not None else None


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    codes = (PLAIN.get(one) or one.encode("ascii", "backslashreplace").decode() for one in characters)
    return "".join(codes), error.end


codecs.register_error(_PLAIN_ERRORS, _plain)
