"""One tenant of a batch as a function of plain data: what an executor is given, on this machine or another.

``carry_out`` starts a process for the tenant and waits for it, so a process that dies is a failed tenant,
and nothing of one tenant (environment, signals, secrets) is in another's process.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..records.record import EMERGENCY, REASON, TICKET
from ..workspace import OLD_VARIABLE, VARIABLE
from .forked import Forked

POLL_S = 0.05
WORKER = "runbook_lib.batch.worker"
#: What a tenant's process has from the batch's environment, on whatever machine it runs.
PASSED_ON = (VARIABLE, OLD_VARIABLE, TICKET, REASON, EMERGENCY)

Event = tuple[str, Any]


@dataclass(frozen=True)
class Task:
    """One tenant's run; paths are the same on every machine that runs it."""

    root: str
    site: str
    tenant: str
    mode: str
    run_id: str
    sections: tuple[str, ...] = ()
    approval: Mapping[str, str | None] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    #: The id of its batch.
    batch: str = ""

    def to_text(self) -> str:
        """Return it as one line; it has no secret."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Task:
        """Return what ``to_text`` has written."""
        content = json.loads(text)
        return cls(**{**content, "sections": tuple(content["sections"])})


@dataclass(frozen=True)
class Ended:
    """How a tenant's process ended: its exit status, negative for a signal, and what it reported."""

    status: int
    events: tuple[Event, ...]


class Watch:
    """What accompanies the tasks of this machine: hears of their events, and can interrupt them all."""

    def __init__(self, hear: Callable[[Task, Event], None] = lambda *_: None) -> None:
        self.hear = hear
        self.is_interrupted = False


def passed_on() -> dict[str, str]:
    """Return the variables of this process that its tenants' processes have as well."""
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ}


def carry_out(task: Task, watch: Watch | None = None) -> Ended:
    """Run a tenant in a separate process, and return how it ended; ``OSError`` if none can be started."""
    watch, heard, interrupted = watch or Watch(), 0, False
    process = Forked([WORKER, task.to_text()], Path(task.root), environment=task.environment)
    try:
        while True:
            is_running = process.running
            events = tuple(_events(process.printed()))
            for event in events[heard:]:
                watch.hear(task, event)
            heard = len(events)
            if not is_running:
                break
            if watch.is_interrupted and not interrupted:
                process.interrupt()
                interrupted = True
            time.sleep(POLL_S)
        status = process.status
        assert status is not None, "it has ended"
        return Ended(status, events)
    finally:
        process.close()


def _events(printed: str) -> Iterator[Event]:
    """The lines that are events; ignores anything else that a library may print."""
    for line in printed.splitlines():
        with suppress(ValueError, AttributeError):
            yield from json.loads(line).items()
