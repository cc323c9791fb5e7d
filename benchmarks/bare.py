"""The requests of a run again, as a script would send them: no notebooks, no records, no checks.

What a run sent is taken from the sandbox's log, and the ids of what it made from its journal. Reads
between two writes go out side by side, as many at a time as a vendor's budget allows; a write goes alone.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import groupby
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

import httpx

from runbook_lib.vendors.budget import SLOTS
from runbook_sandbox import secrets
from tests.conftest import TestSandbox
from tests.vendor_state import ACCOUNT

#: Any one that Twilio accepts; the log keeps none.
PASSWORD = "Bare-script-0123456789"  # noqa: S105 - for the sandbox only
#: What a session in the tenant's scope is asked for; the rest is the system's.
_TENANTS = ("/api/providers/", "/api/inbound_rules/", "/api/outbound_rules/", "/api/tenant/")

Entry = dict[str, Any]
#: The requests that may be in flight, by vendor.
Slots = dict[str, BoundedSemaphore]


def make_slots() -> Slots:
    """Return as many slots for each vendor as the runbook uses by default."""
    return {vendor: BoundedSemaphore(SLOTS) for vendor in ("twilio", "portsip")}


class Script:
    """A run's requests, to be sent again to a sandbox that was reset.

    Parameters
    ----------
    log
        The entries of the sandbox's log.
    made
        The ids of what the run made, in the order of its writes (``made_by``).
    """

    def __init__(self, log: list[Entry], made: list[str | None]) -> None:
        self.requests = [entry for entry in log if not _is_session(entry)]
        self.made = made

    def distinct(self) -> Script:
        """Return the script that sends each read once only."""
        seen, kept = set[str](), []
        for entry in self.requests:
            what = f"{entry['path']} {entry['query']}"
            if entry["method"] != "GET" or what not in seen:
                kept.append(entry)
            if entry["method"] == "GET":
                seen.add(what)
        return Script(kept, self.made)

    def __len__(self) -> int:
        return len(self.requests)

    def send(self, sandbox: TestSandbox, tenant_id: str, slots: Slots | None = None) -> None:
        """Sign in, send all requests, sign out; an answer that is an error of the server's ends it.

        ``slots`` are shared by scripts that run at the same time.
        """
        with (
            _Vendors(sandbox, tenant_id, slots or make_slots()) as vendors,
            ThreadPoolExecutor(2 * SLOTS) as pool,
        ):
            now, made = dict[str, str](), iter(self.made)
            for is_write, entries in groupby(self.requests, lambda entry: entry["method"] != "GET"):
                if not is_write:
                    list(pool.map(lambda entry: vendors.send(_renamed(entry, now)), list(entries)))
                    continue
                for entry in entries:
                    answer, old = vendors.send(_renamed(entry, now)).json(), next(made, None)
                    new = answer.get("sid") or answer.get("id")
                    if old and new:
                        now[old] = new


class _Vendors:
    """Clients of both vendors, signed in."""

    def __init__(self, sandbox: TestSandbox, tenant_id: str, slots: Slots) -> None:
        known, urls = secrets.read_secrets(sandbox.root), sandbox.urls
        shared: dict[str, Any] = {
            # A full pool may close a connection that it has just given to another thread (httpcore #1110).
            "limits": httpx.Limits(max_connections=None, max_keepalive_connections=None),
            "trust_env": False,
            "timeout": 60,
        }
        self._twilio = httpx.Client(
            base_url=urls["twilio_api_url"], auth=(ACCOUNT, known["twilio_auth_token"]), **shared
        )
        trust = ssl.create_default_context(cafile=urls["ca_file"])
        self._pbx = httpx.Client(base_url=urls["portsip_url"].removesuffix("/api"), verify=trust, **shared)
        self._credentials = {"username": "admin", "password": known["portsip_admin_password"]}
        self._tenant_id = tenant_id
        self._slots = slots

    def __enter__(self) -> _Vendors:
        self._system, self._tenant = self._sign_in(), self._sign_in()
        self._pbx.post(
            "/api/tenants/switch", params={"id": self._tenant_id}, headers=self._tenant
        ).raise_for_status()
        return self

    def __exit__(self, *_: object) -> None:
        for session in (self._system, self._tenant):
            self._pbx.post("/api/auth/sign_out", headers=session)
        self._twilio.close()
        self._pbx.close()

    def send(self, entry: Entry) -> httpx.Response:
        body, kind = entry["body"], "data" if entry["vendor"] == "twilio" else "json"
        if entry["vendor"] == "twilio":
            client, headers = self._twilio, None
        else:
            client = self._pbx
            headers = self._tenant if scope_of(entry) == "tenant" else self._system
        content = {kind: body} if body is not None else {}
        with self._slots[entry["vendor"]]:
            answer = client.request(
                entry["method"], entry["path"], params=entry["query"], headers=headers, **content
            )
        if answer.status_code >= 500 or (entry["method"] != "GET" and not answer.is_success):
            raise SystemExit(f"{entry['method']} {entry['path']}: {answer.status_code} {answer.text}")
        return answer

    def _sign_in(self) -> dict[str, str]:
        answer = self._pbx.post("/api/auth/sign_in", json=self._credentials)
        return {"Authorization": f"Bearer {answer.raise_for_status().json()['access_token']}"}


def made_by(journal: Path) -> list[str | None]:
    """Return the ids of what a run made, in the order of its writes."""
    entries = map(json.loads, journal.read_text(encoding="utf-8").splitlines())
    return [entry["result"] for entry in entries if entry["event"] == "answered"]


def scope_of(entry: Entry) -> str:
    """Return the session in which the PBX is asked: ``"tenant"`` or ``"system"``."""
    return "tenant" if f"{entry['path']}/".startswith(_TENANTS) else "system"


def _is_session(entry: Entry) -> bool:
    return "/auth/sign" in entry["path"] or "/tenants/switch" in entry["path"]


def _renamed(entry: Entry, now: dict[str, str]) -> Entry:
    """The entry with the ids of what this script has made, and a password in its place."""
    text = json.dumps(entry)
    for old, new in now.items():
        text = text.replace(old, new)
    return json.loads(text.replace('"***"', json.dumps(PASSWORD)))


def chain(log: list[Entry], latency_s: float) -> int:
    """Return how many requests of a log waited for another: each came when an earlier one was answered."""
    length, free = 0, float("-inf")
    for arrived in sorted(_arrivals(log)):
        if arrived >= free:
            length, free = length + 1, arrived + latency_s
    return length


def _arrivals(log: list[Entry]) -> Iterator[float]:
    for entry in log:
        yield datetime.fromisoformat(entry["at"].replace("Z", "+00:00")).timestamp()
