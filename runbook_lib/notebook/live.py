"""What the cells of an open page show, and how it is read again in its place.

A run that has ended makes every table above and below its form a statement about the past. So each of them is
read again where it is, and whatever cannot be read says so with its time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from IPython import get_ipython
from IPython.display import DisplayHandle

from ..errors import RunbookError, error_as_data
from .display import Box, Shown, utc
from .failures import boxed


class Displays:
    """The displays of one page, in the order in which they were shown."""

    def __init__(self) -> None:
        self._shown: dict[tuple[str, str], tuple[DisplayHandle, Callable[[], Shown]]] = {}
        #: Whether what is shown is being read again: no cell runs for it.
        self.is_refreshing = False

    def follow(self, shown: Shown, again: Callable[[], Shown]) -> None:
        """Let a cell show this so that it can be read again; what no cell shows is not read again."""
        if not self.is_refreshing:
            # IPython asks the value of a cell for this first. Headless pages have no such displays.
            object.__setattr__(shown, "_ipython_display_", lambda: self._display(shown, again))

    def refresh(self) -> None:
        """Read everything again, in the order in which it was shown."""
        self.is_refreshing = True
        try:
            # The closing box ends the run that reads, so it comes last.
            for handle, again in sorted(
                self._shown.values(), key=lambda display: _name(display[1]) == "finish"
            ):
                handle.update(_read(again)._repr_mimebundle_(), raw=True)
        finally:
            self.is_refreshing = False

    def _display(self, shown: Shown, again: Callable[[], Shown]) -> None:
        handle = DisplayHandle()
        handle.display(shown._repr_mimebundle_(), raw=True)
        self._shown[_cell(), _name(again)] = handle, again


def _read(again: Callable[[], Shown]) -> Shown:
    try:
        return again()
    except RunbookError as error:
        box = boxed(error_as_data(error))
        return Box("stop", f"This could not be read again at {utc()}. {box.title}", box.lines)


def _name(call: Any) -> str:
    """What a call reads: the method's name, with the step if it has one."""
    arguments = getattr(call, "args", ())
    return " ".join([getattr(call, "func", call).__name__, *map(str, arguments)])


def _cell() -> str:
    """The id of the cell that runs; a cell that is run again shows in its own place."""
    kernel = getattr(get_ipython(), "kernel", None)
    parent = kernel.get_parent("shell") if kernel is not None else {}
    return str(parent.get("metadata", {}).get("cellId", ""))
