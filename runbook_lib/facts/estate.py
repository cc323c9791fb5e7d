"""An estate: one reading of a site that serves many of its tenants.

What is account-wide at Twilio or system-wide in the PBX is read once, whole, and serves every tenant; a
tenant then costs only its own resources. It is for reading only, as old as its first read, and never the
basis of a write.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping

import httpx

from .moment import Moment


class Estate(Moment):
    """The answers of one reading of a site; it lasts until it is dropped."""

    #: Its collections are for all tenants, so they are asked for without a filter.
    reads_whole = True

    def __init__(self) -> None:
        super().__init__(lifetime_s=math.inf)

    def join(self, age_s: float, answers: Mapping[Hashable, httpx.Response]) -> None:
        """Keep everything, and nothing else: what a run has read is of another time."""

    def forget(self, scope: str) -> None:
        """Drop what was read in one scope, such as that of a tenant that nobody asks about any longer."""
        with self._lock:
            self._questions = {
                key: question
                for key, question in self._questions.items()
                if not (isinstance(key, tuple) and scope in key)
            }

    def begin(self) -> None:
        """Keep everything, so that several tenants are read as of one time."""
