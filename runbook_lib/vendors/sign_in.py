"""What is remembered of signing in to the PBX, between runs and between processes.

A refused sign-in is remembered in a marker and not tried again by any process: five failures lock
this address out for an hour (PortSIP, "Security": web_failed_auth_amount 5,
web_blacklist_time_interval 3600 s).
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from ..errors import SignInError, VendorError


class SignInGate:
    """Lets one sign-in through at a time and none after a refusal.

    Parameters
    ----------
    folder
        The site's records folder; the marker and its lock lie there, for every process to see.
    """

    def __init__(self, folder: Path) -> None:
        self.marker = folder / "sign-in-refused.json"
        self._lock = FileLock(folder / ".sign-in.lock", timeout=120)

    def __enter__(self) -> SignInGate:
        self.marker.parent.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    @property
    def next_step(self) -> str:
        """What an operator does about a refusal."""
        site = self.marker.parent.name
        return f"correct user name or password, then: runbook sign-in --clear -s SITE-FILE (of site {site})"

    def check(self, username: str, url: str) -> None:
        """Raise ``SignInError`` when a refusal is remembered."""
        if not self.marker.exists():
            return
        earlier = json.loads(self.marker.read_text(encoding="utf-8"))
        raise SignInError(
            f"the PBX at {url} refused to sign in {earlier['username']} at {earlier['at']}; not tried again",
            vendor="PortSIP",
            code=earlier["code"],
            step="0.2",
            meaning="five refusals lock this address out for an hour, so a refusal is tried once only",
            next_step=self.next_step,
        )

    def refused(self, username: str, error: VendorError) -> None:
        """Remember a refusal, on disk before anything else happens."""
        content = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "username": username,
            "code": error.code,
        }
        temporary = self.marker.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(content), encoding="utf-8")
        temporary.replace(self.marker)

    def clear(self) -> bool:
        """Forget the refusal; return whether there was one."""
        existed = self.marker.exists()
        self.marker.unlink(missing_ok=True)
        return existed
