"""What is wrong with the records themselves."""

from __future__ import annotations

from ..errors import RunbookError


class RecordError(RunbookError):
    """A record or the chain cannot be written, read or trusted; no closed record was changed."""
