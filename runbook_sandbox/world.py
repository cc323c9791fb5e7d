"""What the servers of one sandbox share."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from .faults import Faults
from .history import History
from .limits import InFlight, Recent
from .log import RequestLog
from .portsip.sessions import ServedSessions
from .store import Store
from .switches import Switches
from .timeline import Timeline


@dataclass
class World:
    """State and settings of one running sandbox.

    ``credentials`` are the secrets that are accepted now; ``own_credentials`` those of the files.
    ``refuse`` makes a vendor's port refuse connections for some seconds; the server sets it.
    """

    store: Store
    own_credentials: dict[str, str]
    credentials: dict[str, str] = field(default_factory=dict)
    switches: Switches = field(default_factory=Switches)
    faults: Faults = field(default_factory=Faults)
    log: RequestLog = field(default_factory=RequestLog)
    in_flight: InFlight = field(default_factory=InFlight)
    recent: Recent = field(default_factory=Recent)
    sessions: ServedSessions = field(init=False)
    timeline: Timeline = field(init=False)
    history: History = field(init=False)
    endpoints: dict[str, Any] = field(default_factory=dict)
    last_request: float = field(default_factory=time.monotonic)
    refuse: Callable[[str, float], None] = lambda vendor, seconds: None
    stop: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.credentials = dict(self.own_credentials)
        self.sessions = ServedSessions(self.store.clock)
        self.timeline = Timeline(self.store)
        self.timeline.look("start", None)
        self.history = History(self.store)

    def reset(self, keep: frozenset[str] = frozenset(), state: dict[str, Any] | None = None) -> None:
        """Go back to the demo data, or to a state, and to the defaults of everything not in ``keep``."""
        self.store.reset(state)
        self.sessions = ServedSessions(self.store.clock)
        self.recent = Recent()
        if "switches" not in keep:
            self.switches.reset()
        if self.switches["twilio.read_lag_seconds"]:
            self.store.lag_from_now()
        if "faults" not in keep:
            self.faults.clear()
            self.faults.clear_barriers()
        if "requests" not in keep:
            self.log.clear()
        if "credentials" not in keep:
            self.credentials = dict(self.own_credentials)
        self.timeline = Timeline(self.store)
        self.timeline.look("reset", None)
        self.history = History(self.store)

    def touch(self) -> None:
        """Note that somebody uses the sandbox."""
        self.last_request = time.monotonic()


def world_of(request: Request) -> World:
    """Return the world that a request arrived in."""
    return request.app.state.world
