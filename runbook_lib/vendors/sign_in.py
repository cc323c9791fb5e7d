"""What is remembered about signing in to the PBX, between runs and between processes.

A refused sign-in is remembered in a marker and not tried again by any process: five failures lock
this address out for an hour (PortSIP, "Security": web_failed_auth_amount 5,
web_blacklist_time_interval 3600 s).

A session opened with a one-time code is kept for the next runs, which cannot ask for one.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from platformdirs import user_state_path

from ..errors import SignInError, VendorError
from ..lock import file_lock
from ..plain_files import describe, read_mapping, write_whole
from ..records.waits import NOTICE_S, Wait, Waits
from ..secret import remember_token

SYSTEM = "system"
#: In the site's records folder, after a refused sign-in.
MARKER = "sign-in-refused.json"
#: The operator's own state folder.
STATE = "portsip-twilio-runbook"


class SignInGate:
    """Allows one sign-in at a time, and none after a refusal.

    Parameters
    ----------
    folder
        The site's records folder, which has the marker and its lock for every process to see. An
        account that can only read there has its own marker and lock, in its state folder, and
        respects those of the site as well.
    waits
        Where it is reported that another process is signing in.
    """

    def __init__(self, folder: Path, waits: Waits | None = None) -> None:
        self._site = folder
        self._waits = waits or Waits()
        self._folder = folder
        if not _is_writable(folder):
            name = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]
            self._folder = user_state_path(STATE, appauthor=False) / "gates" / name
        self._lock: FileLock | None = None

    @property
    def marker(self) -> Path:
        """Where this account remembers a refusal."""
        return self._folder / MARKER

    def __enter__(self) -> SignInGate:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = self._lock or file_lock(self._folder / ".sign-in.lock", 120)
            with self._waits.one() as begin:
                try:
                    self._lock.acquire(NOTICE_S)
                except Timeout:
                    begin(Wait("another process is signing in to the PBX"))
                    self._lock.acquire()
        except OSError as error:
            raise SignInError(
                f"it is unknown whether an earlier sign-in was refused ({describe(error)})",
                vendor="PortSIP",
                step="0.2",
                meaning="five refusals lock this address out for an hour, so nothing was tried",
                next_step="remove the file or folder named there, or make it writable for this account",
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.release()

    @property
    def next_step(self) -> str:
        """What an operator does about a refusal."""
        site = self._site.name
        return (
            "correct the user name or the password, then: runbook sign-in --clear -s SITE-FILE "
            f"(for site {site})"
        )

    def check(self, username: str, url: str) -> None:
        """Raise ``SignInError`` when a refusal is remembered."""
        marker = next((one for one in self._markers if os.path.lexists(one)), None)
        if marker is None:
            return
        # A marker counts whatever its content, and whatever kind of file it is.
        earlier = read_mapping(marker)
        who, at = (earlier.get(key, "(cannot be read)") for key in ("username", "at"))
        raise SignInError(
            f"the PBX at {url} refused to sign in {who} at {at}, by {marker}; not tried again",
            vendor="PortSIP",
            code=earlier.get("code"),
            step="0.2",
            meaning="five refusals lock this address out for an hour, so a refused sign-in is not repeated",
            next_step=self.next_step,
        )

    def refused(self, username: str, error: VendorError) -> None:
        """Remember a refusal, on disk before anything else happens."""
        content = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "username": username,
            "code": error.code,
        }
        write_whole(self.marker, json.dumps(content).encode())

    def clear(self) -> bool:
        """Forget the refusal; return whether there was one.

        Raises ``OSError`` when a marker cannot be removed.
        """
        existing = [one for one in self._markers if os.path.lexists(one)]
        for marker in existing:
            marker.unlink(missing_ok=True)
        return bool(existing)

    @property
    def _markers(self) -> list[Path]:
        return [folder / MARKER for folder in dict.fromkeys((self._site, self._folder))]


def _is_writable(folder: Path) -> bool:
    """Whether this account can create files in a folder, or create the folder."""
    there = next(one for one in (folder, *folder.absolute().parents) if os.path.lexists(one))
    return os.access(there, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids)


RENEW_BEFORE_S = 60.0


@dataclass(frozen=True)
class Tokens:
    """The tokens of a session.

    ``expires_at`` is in seconds of ``time.monotonic``; ``kept``: for later runs too; ``lent``: by
    somebody who refreshes and ends the session, and keeps the refresh token.
    """

    access: str
    refresh: str
    expires_at: float
    kept: bool = False
    lent: bool = False
    #: How long they were originally valid, in seconds.
    lifetime_s: float = math.inf

    @property
    def renew_at(self) -> float:
        """When to get new ones: a minute before they expire, or after half of a time that is shorter."""
        return self.expires_at - min(RENEW_BEFORE_S, self.lifetime_s / 2)

    @classmethod
    def of(cls, answer: dict[str, Any], *, kept: bool = False) -> Tokens:
        """The tokens of the PBX's answer, which are registered with the filter of secrets.

        Raises ``KeyError`` when the answer has none.
        """
        tokens = cls(
            answer["access_token"],
            answer["refresh_token"],
            time.monotonic() + float(answer["expires_in"]),
            kept,
            lifetime_s=float(answer["expires_in"]),
        )
        tokens.remember()
        return tokens

    @classmethod
    def borrowed(cls, access: str, expires_in: float) -> Tokens:
        """The lent part of an owner's tokens, which is registered with the filter of secrets."""
        tokens = cls(access, "", time.monotonic() + expires_in, lent=True, lifetime_s=expires_in)
        tokens.remember()
        return tokens

    def remember(self) -> None:
        """Register the tokens with the filter of secrets, as this process's latest."""
        remember_token(self.access, "access token of the PBX")
        if self.refresh:
            remember_token(self.refresh, "refresh token of the PBX")


class KeptSignIns:
    """Sessions that an operator opened with a one-time code: one for each scope, until they expire.

    They are the operator's, not the site's: files of mode 0600 in the state folder of the operator's
    account, never under ``records/``.

    Parameters
    ----------
    url, username
        Where and as whom they were opened: nobody else is shown them.
    """

    def __init__(self, url: str, username: str) -> None:
        name = hashlib.sha256(f"{username}\n{url}".encode()).hexdigest()[:16]
        state = user_state_path(STATE, appauthor=False)
        # Without a home folder "~" stays as it is: that would be a folder wherever the command is started.
        self._folder = state / "sign-ins" / name if state.is_absolute() else Path(os.devnull, name)

    def scopes(self) -> list[str]:
        """Return what sessions are kept for: ``SYSTEM``, or a tenant's id."""
        return [scope for scope in map(_decoded, self._folder.glob("*.json")) if self.take(scope)]

    def take(self, scope: str) -> Tokens | None:
        """Return the tokens that are kept for a scope, if any are and have not expired."""
        path = self._path(scope)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            tokens = Tokens.of(content | {"expires_in": content["until"] - time.time()}, kept=True)
        except OSError:  # none is kept, or this account cannot look into the folder that HOME names
            return None
        except (ValueError, KeyError, TypeError):
            path.unlink(missing_ok=True)
            return None
        if tokens.expires_at <= time.monotonic():
            path.unlink(missing_ok=True)
            return None
        return tokens

    def keep(self, scope: str, tokens: Tokens) -> None:
        """Keep the tokens of a scope in place of those that were kept.

        Raises ``SignInError`` where this account has no folder for them.
        """
        try:
            self._keep(self._path(scope), tokens)
        except OSError as error:
            raise SignInError(
                f"the session at the PBX cannot be kept ({error.strerror or type(error).__name__})",
                vendor="PortSIP",
                step="0.2",
                meaning="this account has no writable home folder, so the next run would ask for a code"
                " again",
                next_step="set HOME or XDG_STATE_HOME to a folder of this account, then sign in again",
            ) from None

    def _keep(self, path: Path, tokens: Tokens) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = path.with_suffix(f".{os.getpid()}")
        content = {
            "access_token": tokens.access,
            "refresh_token": tokens.refresh,
            "until": time.time() + tokens.expires_at - time.monotonic(),
        }
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(content, file)
        temporary.replace(path)

    def drop(self, scope: str, tokens: Tokens) -> None:
        """Forget these tokens of a scope; others that another process has kept since then stay."""
        kept = self.take(scope)
        if kept and kept.access == tokens.access:
            self._path(scope).unlink(missing_ok=True)

    def _path(self, scope: str) -> Path:
        # A tenant's id is the PBX's, so anything may be in it.
        return self._folder / f"{scope.encode().hex()}.json"


def _decoded(path: Path) -> str:
    return bytes.fromhex(path.stem).decode()
