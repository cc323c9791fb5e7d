"""The child process of the Apply button: ``runbook apply --section NN``, and what its record shows.

The child is a process group of its own and writes what it prints to a file that nobody else holds:
a kernel that is interrupted, restarted or closed leaves it alone, and it finishes. What it did is
read from its record, as anybody else would read it.
"""

from __future__ import annotations

import shlex
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..approval import GivenApproval
from ..detached import Detached
from ..guide import RETIRE, ROLL_BACK
from ..plain_files import read_mapping
from ..records.journal import FILE_NAME, read
from ..records.record import OPENING, RUN
from ..secret import scrub

RUNNING, INTERRUPTED, FAILED, UNKNOWN = "running", "interrupted", "failed", "unknown"


@dataclass(frozen=True)
class Order:
    """What to apply: one section of one tenant, as the arguments of the ``runbook`` command.

    ``tenant`` is a file, or ``"trunk:NAME"`` for a shared trunk on its own; ``approval`` has
    ``plan_file``, ``approved_plan`` and ``approved_by``; ``options`` are those of the way back.
    """

    section: str
    site: str
    tenant: str
    approval: GivenApproval
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def arguments(self) -> list[str]:
        """The arguments; no secret is among them, they are in every process list."""
        given = {
            "--plan": self.approval["plan_file"],
            "--approved-plan": self.approval["approved_plan"],
            "--approved-by": self.approval["approved_by"],
        }
        return [
            *self._what(),
            *(part for option, value in given.items() if value for part in (option, value)),
        ]

    def _what(self) -> list[str]:
        trunk = self.tenant.removeprefix("trunk:")
        own = trunk == self.tenant
        owner = [self.tenant] if own else ["--trunk", trunk]
        if self.section not in (ROLL_BACK, RETIRE):
            return ["apply", "-s", self.site, *owner, "--section", self.section]
        leave = ["--accept-interruption"] if self.options.get("accept_interruption") else []
        if self.section == RETIRE:
            return ["retire", "-s", self.site, *owner, *leave, "--apply"]
        only = [part for number in self.options.get("only", ()) for part in ("--section", number)]
        files = ["-s", self.site, *(["-t", self.tenant] if own else [])]  # a trunk is named by its record
        return ["rollback", self.options["record"], *files, *only, *leave, "--apply"]

    @property
    def command(self) -> str:
        """The command as an operator would type it, in the workspace."""
        return shlex.join(["runbook", *self.arguments])


@dataclass(frozen=True)
class Status:
    """What is known of a child.

    Parameters
    ----------
    state
        ``"running"``, then the run's outcome: ``"succeeded"``, ``"failed"``, ``"interrupted"``, or
        ``"unknown"`` when it was killed.
    writes
        The journal's writes so far, each with its answer (``None``: not yet).
    folder
        The run's folder, once it is there.
    error
        The section's error, as its result keeps it.
    told
        What else the run reported, without secrets.
    """

    state: str
    writes: Sequence[Mapping[str, Any]] = ()
    folder: Path | None = None
    error: Mapping[str, Any] | None = None
    told: str = ""


class Child:
    """A running or ended ``runbook apply`` of one section.

    Parameters
    ----------
    order
        What it applies.
    root, records
        The workspace's folder, and the tenant's records folder in which its run will appear.
    """

    def __init__(self, order: Order, root: Path, records: Path) -> None:
        self.order = order
        self.cancelled = False
        self._records = records
        #: Not by time, which may be set while it starts: its folder is one that was not there before.
        self._before = set(records.glob(f"*/{OPENING}"))
        self._folder: Path | None = None
        self._process = Detached(["runbook_lib", *order.arguments], root)

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process.running

    @property
    def folder(self) -> Path | None:
        """The folder of its run; ``None`` while there is none."""
        if self._folder is None:
            self._folder = next(filter(self._is_ours, self._records.glob(f"*/{OPENING}")), None)
        return self._folder.parent if self._folder else None

    def cancel(self) -> None:
        """Ask it to end: the write in flight is cut off, the record says interrupted."""
        if self.running and not self.cancelled:
            self.cancelled = True
            self._process.interrupt()

    def status(self) -> Status:
        """Read what is known of it now."""
        running = self.running  # asked first: what an ended process has written is complete
        folder = self.folder
        if folder is None:
            return Status(RUNNING) if running else Status(self._unrecorded(), told=self._printed())
        journal = folder / FILE_NAME
        writes = read(journal) if journal.exists() else []
        if running:
            return Status(RUNNING, writes, folder)
        run, result = read_mapping(folder / RUN), read_mapping(folder / f"{self.order.section}.result.json")
        return Status(
            run.get("outcome", UNKNOWN), writes, folder, result.get("error"), told=self._complaint(run)
        )

    def close(self) -> None:
        """Let go of an ended process's output."""
        self._process.close()

    def _is_ours(self, opening: Path) -> bool:
        known = {} if opening in self._before else read_mapping(opening).get("process", {})
        return known.get("pid") == self._process.pid

    def _unrecorded(self) -> str:
        """The outcome of a child that ended before its record was opened, and so before any write."""
        return INTERRUPTED if self._process.status == -signal.SIGTERM else FAILED

    @staticmethod
    def _complaint(run: Mapping[str, Any]) -> str:
        """What is wrong with the run besides its section's own error."""
        messages = [one["message"] for one in run.get("sections", ()) if one["outcome"] == "not run"]
        return scrub("\n".join(one for one in (*messages, run.get("problem", "")) if one))

    def _printed(self) -> str:
        return scrub(self._process.printed()).strip()


_children: dict[Path, Child] = {}


def start(order: Order, root: Path, records: Path) -> Child:
    """Start a child, or return the one that this kernel runs for the tenant already."""
    before = running(records)
    if before is None:
        _children[records] = Child(order, root, records)
    return _children[records]


def newest(records: Path) -> Child | None:
    """Return the child that this kernel started last for the tenant with this records folder."""
    return _children.get(records)


def running(records: Path) -> Child | None:
    """Return the child that works on the tenant with this records folder, if this kernel started one."""
    child = newest(records)
    return child if child is not None and child.running else None
