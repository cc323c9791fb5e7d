"""Runs of a tenant as their records show them, whoever started them: found, followed, cancelled.

What a page remembers is gone with its kernel, so nothing here depends on who started a run.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..guide import SECTIONS
from ..outcomes import RUNNING, UNKNOWN
from ..plain_files import read_mapping
from ..records import living
from ..records.journal import writes_in
from ..records.living import Phase
from ..records.run_folder import OPENING, RUN
from ..records.waits import Wait
from ..secret import scrub


@dataclass(frozen=True)
class Status:
    """What is known of a run.

    Parameters
    ----------
    state
        ``"running"``, then the run's outcome: ``"succeeded"``, ``"failed"``, ``"interrupted"``, or
        ``"unknown"`` when it was killed.
    phase
        What it is doing, while it runs, with the details that go with it.
    writes
        The journal's writes so far, each with its answer (``None``: not yet).
    folder
        The run's folder, once it exists.
    error
        The section's error, as its result keeps it.
    told
        Further output of the run, without secrets.
    waits
        What its processes wait for, while it runs.
    """

    state: str
    phase: Mapping[str, Any] = field(default_factory=lambda: {"phase": Phase.STARTING})
    writes: Sequence[Mapping[str, Any]] = ()
    folder: Path | None = None
    error: Mapping[str, Any] | None = None
    told: str = ""
    waits: Sequence[Wait] = ()

    @property
    def written(self) -> int:
        """How many of the things that are to be written had an answer, whatever it was.

        While a section is being worked on, those of that section.
        """
        section = self.phase.get("section")
        done = [
            write
            for write in self.writes
            if write["answer"] is not None and section in (None, write["section"])
        ]
        return len({str(write["resource"]) for write in done})


class RecordedRun:
    """A run that opened a record.

    Parameters
    ----------
    folder
        The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def opening(self) -> dict[str, Any]:
        """What the run said when it opened."""
        return read_mapping(self.folder / OPENING)

    @property
    def sections(self) -> list[str]:
        """The numbers of its sections, in order."""
        return [number for number in self.opening.get("order", ()) if number in SECTIONS]

    @property
    def started(self) -> str:
        """When it opened: ISO 8601, UTC."""
        return str(self.opening.get("started", ""))

    @property
    def operator(self) -> str:
        """Who started it: ``user@host``."""
        return str(self.opening.get("operator", "somebody"))

    @property
    def is_running(self) -> bool:
        """Whether it is in progress, as far as this machine can see."""
        return living.is_going_on(self.folder)

    @property
    def can_be_cancelled(self) -> bool:
        """Whether its process is one of this machine, and one that closes its record when it is cancelled."""
        process = self.opening.get("process") or {}
        own_page = self.opening.get("notebook")  # kept elsewhere: the process is somebody's kernel or script
        return process.get("host") == socket.gethostname() and own_page is None and self.is_running

    def cancel(self) -> str:
        """Ask it to end; return why that is not possible, or nothing."""
        if not self.can_be_cancelled:
            return "It has ended, or it runs where this page cannot end it."
        try:
            # The lock is held, so the process is alive and its id has not been reused.
            os.kill(int(self.opening["process"]["pid"]), signal.SIGTERM)
        except PermissionError:
            return f"Only the account that started it ({self.operator}) can cancel it."
        except (ProcessLookupError, ValueError, KeyError, TypeError):
            return "It has just ended."
        return ""

    def status(self) -> Status:
        """Read what is known of it now."""
        # Asked first: what an ended run has written is complete.
        running = self.is_running
        writes = writes_in(self.folder)
        if running:
            phase = living.entered(self.folder) or {"phase": Phase.STARTING}
            waits = tuple(living.reported_waits(self.folder))
            return Status(RUNNING, phase, writes, self.folder, waits=waits)
        run = read_mapping(self.folder / RUN)
        results = [read_mapping(self.folder / f"{number}.result.json") for number in self.sections]
        error = next((result["error"] for result in results if result.get("error")), None)
        return Status(run.get("outcome", UNKNOWN), {}, writes, self.folder, error, _complaint(run))


def run_in_flight(runs: Path) -> RecordedRun | None:
    """Return the run that works on the tenant with this records folder; the first, where more wait for it."""
    found = [RecordedRun(folder) for folder in living.going_on(runs)]
    waiting = [run for run in found if living.entered(run.folder).get("phase") == Phase.WAITING]
    return next((run for run in found if run not in waiting), next(iter(found), None))


def _complaint(run: Mapping[str, Any]) -> str:
    """What is wrong with a run besides its section's own error."""
    sections = run.get("sections", ())
    messages = [section["message"] for section in sections if section["outcome"] == "not run"]
    return scrub("\n".join(text for text in (*messages, run.get("problem", "")) if text))
