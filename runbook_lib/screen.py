"""The screen: what a command prints, and what becomes of that never reaches the work.

A reader that went away, a full disk, a closed output and a character that the terminal cannot show
are caught here, below everything that prints (rich, click, Python itself). What a command did is
repeated in plain words on the error output when the output is lost, and the other way round.
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

#: Our own marks where a terminal cannot show them; any other character becomes its code point.
PLAIN = {"✓": "+", "✗": "x", "·": "-", "…": "...", "→": "->", "⚠": "!", "—": "-", "⟨": "<", "⟩": ">"}
_PLAIN_ERRORS = "runbook.plain"


class _Output(io.RawIOBase):
    """A file descriptor that takes whatever is written, also when nothing behind it does any more.

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
            except BlockingIOError:  # another process made the terminal or pipe that we share so
                select.select([], [self._number], [])
            except OSError as error:
                self.lost = error
        return len(data)


_outputs: dict[str, _Output] = {}
#: What the command did, in plain words.
_conclusions: list[str] = []


def guard() -> None:
    """Put the standard streams of this process behind the screen; what is printed cannot raise after that."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:  # closed by whoever started us: no file of a run may take its place
            os.open(os.devnull, os.O_RDWR)
    if sys.stdin is None:
        sys.stdin = open(0)  # noqa: SIM115 - a question finds no answer there
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
    """Print lines of which vendors may have written a part: nothing of them acts on the terminal.

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
    """Say on the error output what the output could not; nothing if a reader only had seen enough."""
    lost = _lost("stdout")
    if lost is not None and (_conclusions or output_failed()):
        complain("\n".join([f"The output was cut off ({lost.strerror}).", *_conclusions]))


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
