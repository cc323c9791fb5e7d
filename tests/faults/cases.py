"""The cases of the sweep: a course, a section, the nth request of that section, and what happens to it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tests.faults.running import SLOW_S

#: What the sandbox is asked to do to a request.
FAULTS: dict[str, dict[str, Any]] = {
    "429_retry_after": {"kind": "status", "status": 429, "retry_after": "1"},
    "429": {"kind": "status", "status": 429},
    "500": {"kind": "status", "status": 500},
    "502": {"kind": "status", "status": 502},
    "503": {"kind": "status", "status": 503},
    "refused": {"kind": "refused", "seconds": 0.1},
    "reset_before": {"kind": "reset_before"},
    "reset_after": {"kind": "reset_after"},
    "cut": {"kind": "cut"},
    "not_json": {"kind": "not_json"},
    "slow_before_effect": {"kind": "delay", "seconds": SLOW_S},
    "slow_after_effect": {"kind": "delay", "seconds": SLOW_S, "effect": "first"},
    "expired_token": {"kind": "expired_token"},
    "revoked_token": {"kind": "revoked_token"},
    "wrong_password": {"kind": "wrong_password"},
    "foreign_account": {"kind": "foreign_account"},
}
SLOW = frozenset({"slow_before_effect", "slow_after_effect"})
#: Where the process that runs the section is killed (SIGKILL).
KILLS = ("killed_before", "killed_after_effect", "killed_after_answer")
KINDS = (*FAULTS, *KILLS)

#: An id of Twilio's or of the PBX's, in a path or elsewhere.
ID = r"\b(?:[A-Z]{2}[0-9a-f]{32}|[0-9]{18})\b"


@dataclass(frozen=True)
class Request:
    """A request of a clean run: course, section, number within it (from 1), vendor, method and path."""

    course: str
    section: str
    nth: int
    vendor: str
    method: str
    path: str

    @property
    def signs_in(self) -> bool:
        return self.path.endswith("/auth/sign_in")

    @property
    def is_session(self) -> bool:
        """Whether it is about the session and changes nothing that lasts."""
        return "/auth/" in self.path or self.path.endswith("/tenants/switch")

    @property
    def is_write(self) -> bool:
        return self.method != "GET" and not self.is_session

    @property
    def plain(self) -> str:
        """The request without ids, for people."""
        return f"{self.method} {re.sub(ID, 'ID', self.path)}"


@dataclass(frozen=True)
class Case:
    request: Request
    kind: str

    @property
    def name(self) -> str:
        one = self.request
        return f"{one.course}/{one.section}/{one.nth}/{self.kind}"


def makes_sense(request: Request, kind: str) -> bool:
    """Whether a kind is one for a request: only the PBX has tokens, and only a sign-in takes a password.

    Twilio takes its password with every request.
    """
    if kind in ("expired_token", "revoked_token"):
        return request.vendor == "portsip" and not request.signs_in
    if kind == "foreign_account":
        return request.vendor == "twilio"
    if kind == "wrong_password":
        return request.vendor == "twilio" or request.signs_in
    return True


def all_cases(requests: list[Request]) -> list[Case]:
    return [Case(one, kind) for one in requests for kind in KINDS if makes_sense(one, kind)]
