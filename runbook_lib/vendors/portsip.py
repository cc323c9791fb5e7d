"""The PortSIP PBX's REST API, on httpx.

A session is one sign-in. Switching to a tenant changes the session on the server, so each
scope (system, a tenant) has its own session.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx

from ..errors import SignInError, UnreachableError, VendorError
from ..facts.side_by_side import AT_ONCE
from ..secret import remember_token
from .lending import Lender
from .sign_in import SYSTEM, KeptSignIns, SignInGate, Tokens
from .transport import RequestKind, Transport

PAGE = 100  # the API's own maximum of `top`
_REFUSED = frozenset({400, 401, 403, 404, 423})


class Session:
    """One signed-in session at the PBX; signs in with its first request.

    Parameters
    ----------
    transport
        The HTTP seam; closed by its owner.
    url
        Base URL of the API, ending in ``/api``.
    username, password
        A system administrator's credentials.
    tenant_id
        The tenant to switch to after signing in; ``None`` for system scope.
    ask
        Asks the operator for the one-time code that the PBX has sent; a session opened this way is
        kept for later runs. Without it, a PBX that asks for a code is an error.
    lender
        The possible owner of a session of this scope. A lent session is refreshed and ended by
        its owner; without one, this signs in itself.
    """

    def __init__(
        self,
        transport: Transport,
        url: str,
        gate: SignInGate,
        *,
        username: str,
        password: str,
        tenant_id: str | None = None,
        ask: Callable[[], str] | None = None,
        lender: Lender | None = None,
    ) -> None:
        self._transport = transport
        self._url = url
        self._gate = gate
        self._credentials = {"username": username, "password": password}
        self._tenant_id = tenant_id
        self._ask = ask
        self._kept = KeptSignIns(url, username)
        self._scope = tenant_id or SYSTEM
        self._token: Tokens | None = None
        self._lender = lender
        self._refused: str | None = None
        self._lock = threading.RLock()
        self._sign_in_error: SignInError | None = None
        #: The tenant as the PBX described it when the session was switched to it.
        self.described: dict[str, Any] = {}

    def get(self, path: str, **params: str | int) -> dict[str, Any]:
        """Return the answer of a GET as plain data."""
        return self._call("GET", path, "read", params=params or None).json()

    def list(self, path: str, **params: str) -> Iterator[dict[str, Any]]:
        """Yield the items of a collection, page after page.

        ``skip`` counts items although PortSIP's prose calls it 1-based (the schema says minimum 0).
        """
        skip = 0
        while True:
            page = self.get(path, skip=skip, top=PAGE, **params)
            items = page.get("items") or []
            yield from items
            skip += len(items)
            if not items or skip >= page.get("count", 0):
                return

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a write and return its answer as plain data (empty without a body)."""
        response = self._call("POST", path, "write", json=body)
        return response.json() if response.content else {}

    def sign_in(self) -> bool:
        """Sign in now rather than with the first request; return whether the session is kept."""
        with self._lock:
            return self._live_token().kept

    def token(self, refused: str | None = None) -> Tokens:
        """Return the tokens of the live session; those of another one if its access token is ``refused``."""
        with self._lock:
            if self._token is not None and self._token.access == refused:
                self._discard()
            return self._live_token()

    def move_to(self, tenant_id: str) -> None:
        """Act for another tenant from now on; only where nobody else uses this session.

        A session of somebody else's is left where it is. Where the PBX does not switch from tenant to tenant,
        this signs in again.
        """
        with self._lock:
            token, self._token = self._token, None
            self._tenant_id = self._scope = tenant_id
            self.described = {}
            if token is None or token.kept or token.lent:
                return
            try:
                if time.monotonic() <= token.renew_at:  # else it is switched when it was refreshed
                    self._switch(token)
            except VendorError:
                self._end(token)
            else:
                self._token = token

    def sign_out(self) -> None:
        """End the session at the PBX if it was started here and is not kept; errors are ignored."""
        token, self._token = self._token, None
        if token is not None and not token.kept and not token.lent:
            self._end(token)

    def sign_out_kept(self) -> None:
        """End the session that is kept for this scope, if one is."""
        token = self._kept.take(self._scope)
        if token is not None:
            self._kept.drop(self._scope, token)
            self._end(token)

    def _end(self, token: Tokens) -> None:
        request = self._transport.build("POST", self._url + "/auth/sign_out", headers=_bearer(token))
        try:
            self._transport.send(request, "sign_out")
        except UnreachableError:
            return  # the token expires by itself

    def _call(self, method: str, path: str, kind: RequestKind, **content: Any) -> httpx.Response:
        has_renewed = False
        for _ in range(2 * AT_ONCE):
            token, response = self._send(method, path, kind, **content)
            if response.status_code != httpx.codes.UNAUTHORIZED:
                break
            # Expired or revoked early: the request was not carried out.
            with self._lock:
                is_latest = self._token is token  # else another thread has renewed it in the meantime
                if is_latest and has_renewed:
                    break
                if is_latest:
                    self._discard()
                    has_renewed = True
        if response.status_code >= httpx.codes.BAD_REQUEST:
            raise _error(response)
        return response

    def _send(
        self, method: str, path: str, kind: RequestKind, **content: Any
    ) -> tuple[Tokens | None, httpx.Response]:
        used: list[Tokens] = []

        def sign(request: httpx.Request) -> None:
            with self._lock:  # threads that begin at once sign in once, and are refused by one error
                if self._sign_in_error is not None:
                    raise self._sign_in_error
                try:
                    used.append(self._live_token())
                except SignInError as error:
                    self._sign_in_error = error
                    raise
            request.headers.update(_bearer(used[-1]))

        response = self._transport.send(
            self._transport.build(method, self._url + path, **content),
            kind,
            result=lambda body: body.get("id") if body else None,
            scope=self._scope,
            sign=sign,
        )
        return used[-1] if used else None, response

    def _live_token(self) -> Tokens:
        if self._token is not None and time.monotonic() <= self._token.renew_at:
            return self._token
        lent = (
            self._lender(self._url, self._credentials["username"], self._scope, self._refused)
            if self._lender is not None
            else None
        )
        self._token = lent or self._own_token()
        return self._token

    def _own_token(self) -> Tokens:
        if self._token is None or self._token.lent:
            token = self._kept.take(self._scope) or self._sign_in()
        else:
            token = self._refreshed(self._token) or self._sign_in()
        # Whatever interrupts this, sign-out ends the session, and nobody uses it before it was switched.
        self._token = replace(token, expires_at=-math.inf)
        try:
            # Whether a refreshed session keeps its tenant is not documented: switch again.
            self._switch(token)
        except VendorError as error:
            self._end(token)
            self._discard()
            if token.kept and error.status == httpx.codes.UNAUTHORIZED:
                return self._own_token()  # it was revoked since it was kept
            raise
        return token

    def _discard(self) -> None:
        if self._token is not None and self._token.kept:
            self._kept.drop(self._scope, self._token)
        self._refused = self._token.access if self._token is not None else None
        self._token = None

    def _sign_in(self) -> Tokens:
        with self._gate as gate:
            gate.check(self._credentials["username"], self._url)
            response = self._session_call("/auth/sign_in", self._credentials)
            if response.status_code in _REFUSED:
                error = _error(response)
                gate.refused(self._credentials["username"], error)
                raise SignInError(
                    f"the PBX refused to sign in {self._credentials['username']}: {error.what}",
                    vendor="PortSIP",
                    status=error.status,
                    code=error.code,
                    step="0.2",
                    meaning="user name, password or domain is wrong, or this address is locked out",
                    next_step=self._gate.next_step,
                )
        if response.status_code >= httpx.codes.BAD_REQUEST:
            raise _error(response)
        answer = response.json()
        return self._second_factor(answer["token"]) if answer.get("two_factor_enabled") else Tokens.of(answer)

    def _second_factor(self, token: str) -> Tokens:
        """Sign in with a one-time code.

        The body of ``/auth/verify_otp`` is not documented; the tokens of a sign-in are expected.
        """
        username = self._credentials["username"]
        if self._ask is None:
            raise SignInError(
                f"the PBX asks for a one-time code to sign in {username}",
                vendor="PortSIP",
                step="0.2",
                meaning="two-factor authentication is on, so an unattended run cannot sign in",
                next_step="first: runbook sign-in -s SITE-FILE TENANT-FILE, which asks for the code;"
                " or use an administrator without two-factor authentication for the runbook",
            )
        remember_token(token, "sign-in token of the PBX")
        sent = self._session_call("/auth/send_otp", {"token": token})
        if not sent.is_success:
            raise _error(sent)
        verified = self._session_call("/auth/verify_otp", {"token": token, "code": self._ask()})
        if verified.status_code in _REFUSED:
            raise SignInError(
                f"the PBX refused the one-time code of {username}: {_error(verified).what}",
                vendor="PortSIP",
                status=verified.status_code,
                step="0.2",
                meaning="the code is wrong or too old; no session is kept",
                next_step="run runbook sign-in again, with the new code that the PBX sends",
            )
        if not verified.is_success:
            raise _error(verified)
        try:
            tokens = Tokens.of(verified.json(), kept=True)
        except (ValueError, KeyError, TypeError):
            raise VendorError(
                f"the PBX accepted the one-time code of {username}, but its answer has no tokens",
                vendor="PortSIP",
                status=verified.status_code,
                step="0.2",
                meaning="this version of the PBX gives an undocumented answer; no session is kept",
                next_step="use an administrator without two-factor authentication for the runbook",
            ) from None
        try:
            self._kept.keep(self._scope, tokens)
        except SignInError:
            self._end(tokens)
            raise
        return tokens

    def _refreshed(self, token: Tokens) -> Tokens | None:
        if not token.kept:
            return self._redeemed(token)
        with self._gate:  # another process may have redeemed it, and perhaps that works once only
            newer = self._kept.take(self._scope)
            return newer if newer and newer.access != token.access else self._redeemed(token)

    def _redeemed(self, token: Tokens) -> Tokens | None:
        response = self._session_call("/auth/refresh_token", {"refresh_token": token.refresh})
        if not response.is_success:
            return None
        fresh = Tokens.of(response.json(), kept=token.kept)
        if fresh.kept:
            self._kept.keep(self._scope, fresh)
        return fresh

    def _session_call(self, path: str, body: dict[str, str]) -> httpx.Response:
        return self._transport.send(self._transport.build("POST", self._url + path, json=body), "sign_in")

    def _switch(self, token: Tokens) -> None:
        """Switch the new session to its tenant, and confirm that before anything is read."""
        if self._tenant_id is None:
            return
        switched = self._transport.send(
            self._transport.build(
                "POST", self._url + "/tenants/switch", params={"id": self._tenant_id}, headers=_bearer(token)
            ),
            "sign_in",
        )
        if switched.status_code >= httpx.codes.BAD_REQUEST:
            raise _error(switched)
        scope = self._transport.send(
            self._transport.build("GET", self._url + "/tenant", headers=_bearer(token)), "read"
        )
        if scope.status_code == httpx.codes.UNAUTHORIZED:
            raise _error(scope)
        if scope.status_code >= httpx.codes.BAD_REQUEST or scope.json().get("id") != self._tenant_id:
            raise VendorError(
                "the PBX did not switch the session to the tenant",
                vendor="PortSIP",
                status=scope.status_code,
                meaning="the session might act for another tenant, so nothing was changed",
                next_step="check that the administrator may manage this tenant",
            )
        self.described = scope.json()


def _bearer(token: Tokens) -> dict[str, str]:
    return {"Authorization": f"Bearer {token.access}"}


#: The meaning of the PBX's refusals, by HTTP status; its codes are documented for only a few cases.
_MEANINGS = {
    400: (
        "the PBX refuses the request: either a value, or the change itself",
        "correct the parameter that the message names, or run the section again",
    ),
    401: ("the PBX ended the session early", "run the section again"),
    403: (
        "the administrator's role or the PBX's settings (trunks at tenant level) do not allow this",
        "give the role Trunk.FullAccess and PhoneSystem.FullAccess, or switch the feature on",
    ),
    404: ("the PBX does not have it (any longer), or not for this tenant", "run the section again"),
    409: ("it clashes with something else in the PBX", "correct the parameter that the message names"),
    429: ("too many requests from this address", "run the section again in a minute"),
}
#: Whatever the status: which one comes with this code is not documented.
_BLOCKED = (
    "the PBX has blocked this address for some time, as it does after failed sign-ins",
    "wait until the time in the message, or remove the block in the PBX's IP filters",
)


def _error(response: httpx.Response) -> VendorError:
    try:
        first = response.json()["errors"][0]
        code, message = first.get("code"), first.get("message")
        detail = first.get("detail")
    except (ValueError, LookupError, TypeError, AttributeError):
        code, message, detail = None, None, None
    unknown = ("the PBX could not answer", "check the PBX, then run the section again")
    meaning, next_step = _BLOCKED if code == "DENIED" else _MEANINGS.get(response.status_code, unknown)
    text = " ".join(str(part) for part in (message, detail) if part) or "no message"
    return VendorError(
        f"the PBX answered {code or 'an error'} (HTTP {response.status_code}): {text}",
        vendor="PortSIP",
        status=response.status_code,
        code=code,
        meaning=meaning,
        next_step=next_step,
    )
