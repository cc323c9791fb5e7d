"""The ``runbook records`` commands: what was changed, by whom, and whether the record of it holds.

Exit status: 0 fine, 1 a problem was found or something was refused, 3 the usage is wrong. Names and
texts in records came from elsewhere: nothing of them acts on the terminal.
"""

from __future__ import annotations

# Each module adds its commands.
from . import comparing, handing, keeping, looking, proving, settling  # noqa: F401
from .common import app

__all__ = ["app"]
