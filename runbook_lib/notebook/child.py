"""The child process of the Apply button: ``runbook apply --section NN``, and what its record shows.

The child has its own process group, and its output goes to a file that no other process has open:
a kernel that is interrupted, restarted or closed leaves it alone, and it finishes. What it did is
read from its record, as anybody else would read it.
"""

from __future__ import annotations

import json
import shlex
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..approval import GivenApproval
from ..detached import Detached
from ..guide import RETIRE, ROLL_BACK, WHOLE
from ..outcomes import FAILED, INTERRUPTED, RUNNING
from ..plain_files import read_mapping
from ..records.living import Phase
from ..records.run_folder import OPENING
from ..secret import scrub
from .runs import RecordedRun, Status


@dataclass(frozen=True)
class Order:
    """What to apply: one section of one tenant (or ``WHOLE``), as the arguments of the ``runbook`` command.

    ``tenant`` is a file, or ``"trunk:NAME"`` for a shared trunk on its own; ``approval`` has
    ``plan_file``, ``approved_plan`` and ``approved_by``; ``options`` are further parameters of the notebook,
    and what the record is to name (``ticket``, ``reason``).
    """

    section: str
    site: str
    tenant: str
    approval: GivenApproval
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def arguments(self) -> list[str]:
        """The arguments; no secret is among them, they are in every process list."""
        named = {"plan_file": "--plan", "approved_plan": "--approved-plan", "approved_by": "--approved-by"}
        values = {**self.approval, "ticket": self.options.get("ticket"), "reason": self.options.get("reason")}
        named |= {"ticket": "--ticket", "reason": "--reason"}
        given = [
            part for key, name in named.items() if (value := values.get(key)) for part in (name, str(value))
        ]
        return [*self._what(), *given]

    def _what(self) -> list[str]:
        trunk = self.tenant.removeprefix("trunk:")
        own = trunk == self.tenant
        owner = [self.tenant] if own else ["--trunk", trunk]
        allowed = ["--accept-interruption"] if self.options.get("accept_interruption") else []
        if self.section not in (ROLL_BACK, RETIRE):
            section = [] if self.section == WHOLE else ["--section", self.section]
            return ["apply", "-s", self.site, *owner, *section, *allowed]
        if self.section == RETIRE:
            return ["retire", "-s", self.site, *owner, *allowed, "--apply"]
        only = [part for number in self.options.get("only", ()) for part in ("--section", number)]
        files = ["-s", self.site, *(["-t", self.tenant] if own else [])]  # a trunk is named by its record
        return ["rollback", self.options["record"], *files, *only, *allowed, "--apply"]

    @property
    def command(self) -> str:
        """The command as an operator would type it, in the workspace."""
        return shlex.join(["runbook", *self.arguments])


class Child:
    """A running or ended ``runbook apply`` of one section.

    Parameters
    ----------
    order
        What it applies.
    root, records
        The workspace's folder, and the tenant's records folder in which its run will appear.
    ahead
        A process that was started before; without it, one is started now.
    """

    def __init__(self, order: Order, root: Path, records: Path, ahead: Detached | None = None) -> None:
        self.order = order
        self.cancelled = False
        self._records = records
        #: Not by time, which may be set while it starts: its folder is one that was not there before.
        self._before = set(records.glob(f"*/{OPENING}"))
        self._run: RecordedRun | None = None
        self._status = Status(RUNNING)
        self._turn = threading.Lock()
        if ahead is not None and ahead.hand_over(json.dumps(order.arguments)):
            self._process = ahead
        else:
            self._process = Detached(["runbook_lib", *order.arguments], root)

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process.running

    @property
    def run(self) -> RecordedRun | None:
        """Its run; ``None`` while there is none."""
        if self._run is None:
            found = next(filter(self._is_ours, self._records.glob(f"*/{OPENING}")), None)
            self._run = RecordedRun(found.parent) if found else None
        return self._run

    def cancel(self) -> str:
        """Ask it to end: the write in flight is cut off, the record says interrupted."""
        if self.running and not self.cancelled:
            self.cancelled = True
            self._process.interrupt()
        return ""

    def status(self) -> Status:
        """Return what is known of it now; of one that has ended, the same to all who follow it."""
        with self._turn:
            if self._status.state == RUNNING:
                self._status = self._read()
                if self._status.state != RUNNING:
                    self._process.close()
            return self._status

    def _read(self) -> Status:
        running = self.running  # asked first: what an ended process has written is complete
        run = self.run
        if run is None:
            return Status(RUNNING) if running else Status(self._unrecorded(), {}, told=self._printed())
        status = run.status()
        if running and status.state != RUNNING:  # its record is closed, and the page over all is not written
            return replace(status, state=RUNNING, phase={"phase": Phase.ENDING}, error=None, told="")
        return status

    def _is_ours(self, opening: Path) -> bool:
        known = {} if opening in self._before else read_mapping(opening).get("process", {})
        return known.get("pid") == self._process.pid

    def _unrecorded(self) -> str:
        """It ended before its record was opened, so before anything was sent to write."""
        cut_off = self.cancelled or self._process.status == -signal.SIGTERM
        return INTERRUPTED if cut_off else FAILED

    def _printed(self) -> str:
        return "" if self.cancelled else scrub(self._process.printed()).strip()


_children: dict[Path, Child] = {}
#: The process that is ready for the next click; one for a workspace.
_ahead: dict[Path, Detached] = {}


def start_ahead(root: Path) -> None:
    """Have a process ready for ``start``, if there is none; it ends with this one, or when it is idle."""
    ready = _ahead.get(root)
    if ready is None or not ready.running:
        if ready is not None:
            ready.close()
        _ahead[root] = Detached(["runbook_lib.ahead"], root, listens=True)


def start(order: Order, root: Path, records: Path) -> Child:
    """Start a child, or return the one that this kernel runs for the tenant already."""
    if running(records) is None:
        _children[records] = Child(order, root, records, _ahead.pop(root, None))
    return _children[records]


def newest(records: Path) -> Child | None:
    """Return the child that this kernel started last for the tenant with this records folder."""
    return _children.get(records)


def running(records: Path) -> Child | None:
    """Return the child that works on the tenant with this records folder, if this kernel started one."""
    child = newest(records)
    return child if child is not None and child.running else None
