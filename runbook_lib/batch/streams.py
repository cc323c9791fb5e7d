"""Standard output and error of a run's kernels."""

from __future__ import annotations

from typing import Any

from ipykernel.iostream import OutStream


class PromptStream(OutStream):
    """ipykernel's stream, whose ``flush`` waits for nothing when nothing was written.

    ipykernel flushes both streams several times for each cell, and waits each time for another thread.
    """

    _is_flushed = True

    def write(self, string: str) -> Any:
        """Write a text, which is sent soon, or with the next ``flush``."""
        try:
            return super().write(string)
        finally:
            self._is_flushed = False  # once it is there: another thread may flush in between

    def flush(self) -> None:
        """Send what was written."""
        if not self._is_flushed:
            self._is_flushed = True
            super().flush()
