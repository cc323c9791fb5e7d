"""An estate: one reading of a site that serves many of its tenants.

What is account-wide at Twilio or system-wide in the PBX is read once, whole, and serves every tenant; a
tenant then costs only what is its own. It is for looking only, as old as its first read, and never what
a write stands on.
"""

from __future__ import annotations

import math

from .moment import Moment


class Estate(Moment):
    """The answers of one reading of a site; it lasts until it is dropped."""

    #: Its collections are for all tenants, so they are asked for without a filter.
    reads_whole = True

    def __init__(self) -> None:
        super().__init__(lifetime_s=math.inf)

    def forget(self, scope: str) -> None:
        """Drop what was read in one scope, such as a tenant's that nobody asks about any more."""
        with self._lock:
            self._questions = {
                key: question
                for key, question in self._questions.items()
                if not (isinstance(key, tuple) and scope in key)
            }

    def begin(self) -> None:
        """Keep everything: who reads several tenants in turn wants them all as of one time."""
