"""Sign-in sessions, their tokens and the lockout of addresses."""

from __future__ import annotations

import base64
import secrets as random
from dataclasses import dataclass

from ..store import Clock


@dataclass
class ServedSession:
    """One signed-in session.

    ``home`` is the tenant of the signed-in user (``None``: a system administrator); ``tenant_id`` the
    scope it acts in now, which ``/tenants/switch`` changes for every later request on the same token.
    """

    home: str | None
    tenant_id: str | None
    access_token: str = ""
    refresh_token: str = ""
    expires_at: float = 0.0
    user: str = "admin"

    @property
    def role(self) -> str:
        """The role of the user in the present scope."""
        return "SystemAdmin" if self.tenant_id is None else "Admin"


class ServedSessions:
    """All sessions of the PBX."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_access: dict[str, ServedSession] = {}
        self._by_refresh: dict[str, ServedSession] = {}
        self._pending: dict[str, tuple[ServedSession, str]] = {}
        self._failures: dict[str, int] = {}
        self._blocked: dict[str, float] = {}

    def issue(self, session: ServedSession, expires_in: int) -> dict[str, object]:
        """Give a session a new pair of tokens and return the answer's body."""
        self._by_access.pop(session.access_token, None)
        session.access_token, session.refresh_token = _token(), _token()
        session.expires_at = self._clock.seconds() + expires_in
        self._by_access[session.access_token] = session
        self._by_refresh[session.refresh_token] = session
        return {
            "token_type": "Bearer",
            "access_token": session.access_token,
            "refresh_token": session.refresh_token,
            "expires_in": expires_in,
        }

    def find(self, token: str) -> ServedSession | None:
        """Return the live session of an access token."""
        session = self._by_access.get(token)
        return session if session and session.expires_at > self._clock.seconds() else None

    def redeem(self, refresh_token: str, *, single_use: bool) -> ServedSession | None:
        """Return the session of a refresh token, which is used up if ``single_use``."""
        if single_use:
            return self._by_refresh.pop(refresh_token, None)
        return self._by_refresh.get(refresh_token)

    def end(self, session: ServedSession) -> None:
        """End a session with both of its tokens, also refresh tokens that were given out earlier."""
        self._by_access.pop(session.access_token, None)
        self._by_refresh = {token: other for token, other in self._by_refresh.items() if other is not session}

    def end_by_header(self, header: bytes, *, revoke: bool) -> None:
        """Let the access token of an Authorization header expire; with ``revoke`` end the session."""
        session = self._by_access.get(header.decode("latin-1").removeprefix("Bearer "))
        if session is None:
            return
        session.expires_at = float("-inf")
        if revoke:
            self.end(session)

    def expire_all(self) -> int:
        """Let every access token expire; return how many there were."""
        for session in self._by_access.values():
            session.expires_at = float("-inf")
        return len(self._by_access)

    def await_code(self, session: ServedSession) -> str:
        """Keep a session until its one-time code comes; return the token of the sign-in flow."""
        token = _token()
        self._pending[token] = (session, "")
        return token

    def send_code(self, token: str) -> bool:
        """Send the one-time code of a sign-in flow (it can be read in the sandbox's state)."""
        if token not in self._pending:
            return False
        self._pending[token] = (self._pending[token][0], f"{random.randbelow(10**6):06}")
        return True

    def verify_code(self, token: str, code: str) -> ServedSession | None:
        """Return the session when the code is right."""
        session, wanted = self._pending.get(token, (None, ""))
        if session is None or not wanted or code != wanted:
            return None
        del self._pending[token]
        return session

    def codes(self) -> list[str]:
        """Return the one-time codes that were sent and not used."""
        return [code for _, code in self._pending.values() if code]

    def count(self) -> int:
        """Return how many sessions are alive."""
        now = self._clock.seconds()
        return sum(session.expires_at > now for session in self._by_access.values())

    def blocked_until(self, address: str) -> float | None:
        """Return the seconds for which an address is still locked out, if it is."""
        until = self._blocked.get(address)
        if until is None or until <= self._clock.seconds():
            return None
        return until - self._clock.seconds()

    def failed(self, address: str, *, allowed: int, block_seconds: int) -> None:
        """Count a failed sign-in; the last allowed one locks the address out.

        Source: PortSIP, ``/admin/settings``: web_failed_auth_amount, web_blacklist_time_interval.
        """
        self._failures[address] = self._failures.get(address, 0) + 1
        if self._failures[address] >= allowed:
            self._failures[address] = 0
            self._blocked[address] = self._clock.seconds() + block_seconds

    def succeeded(self, address: str) -> None:
        """Forget the failures of an address."""
        self._failures.pop(address, None)


def _token() -> str:
    """Return an opaque token; PortSIP's look like base64 and are not JWTs."""
    return base64.b64encode(random.token_bytes(48)).decode()
