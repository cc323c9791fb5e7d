"""The PortSIP PBX's REST API, on httpx.

A session is one sign-in. Switching to a tenant changes the session on the server's side, so each
scope (system, a tenant) has a session of its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from ..errors import SignInError, UnreachableError, VendorError
from ..secret import remember_token
from .sign_in import SignInGate
from .transport import Kind, Transport

PAGE = 100  # the API's own maximum of `top`
REFRESH_BEFORE_S = 60.0
_REFUSED = frozenset({400, 401, 403, 404, 423})


@dataclass
class _Token:
    access: str
    refresh: str
    expires_at: float


class Session:
    """One signed-in session at the PBX; signs in with its first request.

    Parameters
    ----------
    transport
        The HTTP seam; closed by its owner.
    url
        Base URL of the API, ending in ``/api``.
    username, password
        A system administrator's credentials, or a tenant's with ``domain``.
    tenant_id
        The tenant to switch to after signing in; ``None`` for system scope.
    """

    def __init__(
        self,
        transport: Transport,
        url: str,
        gate: SignInGate,
        *,
        username: str,
        password: str,
        domain: str | None = None,
        tenant_id: str | None = None,
    ) -> None:
        self._transport = transport
        self._url = url
        self._gate = gate
        self._credentials = {"username": username, "password": password} | (
            {"domain": domain} if domain else {}
        )
        self._tenant_id = tenant_id
        self._token: _Token | None = None

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

    def sign_out(self) -> None:
        """End the session at the PBX, if it was ever begun; an error here changes nothing."""
        if self._token is None:
            return
        token, self._token = self._token, None
        request = self._transport.build("POST", self._url + "/auth/sign_out", headers=_bearer(token))
        try:
            self._transport.send(request, "session")
        except UnreachableError:
            return  # the token expires by itself

    def _call(self, method: str, path: str, kind: Kind, **content: Any) -> httpx.Response:
        response = self._send(method, path, kind, **content)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            # Expired or revoked before its time: the request was not carried out.
            self._token = None
            response = self._send(method, path, kind, **content)
        if response.status_code >= httpx.codes.BAD_REQUEST:
            raise _error(response)
        return response

    def _send(self, method: str, path: str, kind: Kind, **content: Any) -> httpx.Response:
        request = self._transport.build(
            method, self._url + path, headers=_bearer(self._live_token()), **content
        )
        return self._transport.send(request, kind, result=lambda body: body.get("id") if body else None)

    def _live_token(self) -> _Token:
        if self._token is None:
            self._token = self._sign_in()
            self._switch()
        elif time.monotonic() > self._token.expires_at - REFRESH_BEFORE_S:
            # Whether a refreshed session keeps its tenant is not documented: switch again.
            self._token = self._refreshed(self._token) or self._sign_in()
            self._switch()
        return self._token

    def _sign_in(self) -> _Token:
        with self._gate as gate:
            gate.check(self._credentials["username"], self._url)
            response = self._transport.send(
                self._transport.build("POST", self._url + "/auth/sign_in", json=self._credentials), "session"
            )
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
        if answer.get("two_factor_enabled"):
            raise SignInError(
                f"the PBX asks for a one-time code to sign in {self._credentials['username']}",
                vendor="PortSIP",
                meaning="two-factor authentication is on, so an unattended run cannot sign in",
                next_step="use an administrator without two-factor authentication for the runbook",
            )
        return _token(answer)

    def _refreshed(self, token: _Token) -> _Token | None:
        response = self._transport.send(
            self._transport.build(
                "POST", self._url + "/auth/refresh_token", json={"refresh_token": token.refresh}
            ),
            "session",
        )
        return _token(response.json()) if response.is_success else None

    def _switch(self) -> None:
        """Move the new session to its tenant, and make sure that it is there before anything is asked."""
        if self._tenant_id is None or self._token is None:
            return
        token = self._token
        try:
            switched = self._transport.send(
                self._transport.build(
                    "POST",
                    self._url + "/tenants/switch",
                    params={"id": self._tenant_id},
                    headers=_bearer(token),
                ),
                "session",
            )
            if switched.status_code >= httpx.codes.BAD_REQUEST:
                raise _error(switched)
            scope = self._transport.send(
                self._transport.build("GET", self._url + "/tenant", headers=_bearer(token)), "read"
            )
            if scope.status_code >= httpx.codes.BAD_REQUEST or scope.json().get("id") != self._tenant_id:
                raise VendorError(
                    "the PBX did not switch the session to the tenant",
                    vendor="PortSIP",
                    status=scope.status_code,
                    meaning="nothing was changed: the session may act for another tenant",
                    next_step="check that the administrator may manage this tenant",
                )
        except VendorError:
            self.sign_out()
            raise


def _token(answer: dict[str, Any]) -> _Token:
    remember_token(answer["access_token"], "access token of the PBX")
    remember_token(answer["refresh_token"], "refresh token of the PBX")
    return _Token(
        answer["access_token"], answer["refresh_token"], time.monotonic() + float(answer["expires_in"])
    )


def _bearer(token: _Token) -> dict[str, str]:
    return {"Authorization": f"Bearer {token.access}"}


#: What the PBX's refusals mean, by HTTP status; its codes are documented for two cases only.
_MEANINGS = {
    400: ("the PBX refuses the request as it stands", "correct the parameter that the message names"),
    401: ("the PBX ended the session before its time", "run the section again"),
    403: (
        "the administrator's role does not allow this",
        "give the role Trunk.FullAccess and PhoneSystem.FullAccess",
    ),
    404: ("the PBX does not know it (any more)", "run the section again"),
    409: ("something else in the PBX is in the way", "correct the parameter that the message names"),
    429: ("too many requests from this address", "run the section again in a minute"),
}


def _error(response: httpx.Response) -> VendorError:
    try:
        first = response.json()["errors"][0]
        code, message = first.get("code"), first.get("message")
        detail = first.get("detail")
    except (ValueError, LookupError, TypeError, AttributeError):
        code, message, detail = None, None, None
    meaning, next_step = _MEANINGS.get(
        response.status_code, ("the PBX could not answer", "check the PBX, then run the section again")
    )
    text = " ".join(str(part) for part in (message, detail) if part) or "no message"
    return VendorError(
        f"the PBX answered {code or 'an error'} (HTTP {response.status_code}): {text}",
        vendor="PortSIP",
        status=response.status_code,
        code=code,
        meaning=meaning,
        next_step=next_step,
    )
