"""The HTTP seam that both vendors' clients share: time limits, retries, and the journal of writes.

Reads are repeated after anything that may pass. Writes are repeated only where the vendor cannot
have seen them: a refused connection, or 429 (Twilio documents that a request answered 429 was not
processed). Any other write without a usable answer ends in ``OutcomeUnknownError``: the caller
reads before it sends again.
"""

from __future__ import annotations

import json
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import httpx
import stamina

from ..errors import OutcomeUnknownError, UnreachableError
from ..records.clocks import steady
from ..records.journal import Journal
from ..records.result import now

Kind = Literal["read", "write", "sign_in", "sign_out"]

ATTEMPTS = 5
SESSION_ATTEMPTS = 3
#: Between attempts: doubled each time up to the longest, and by chance up to the jitter more.
FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 8.0
JITTER_S = 1.0
PASSING_STATUS = frozenset({429, 500, 502, 503, 504})

#: What an operator can give so that a certificate is trusted.
TRUST = {
    "Twilio": "if a proxy inspects TLS, give its CA bundle (twilio_accounts.NAME.ca_file)",
    "PortSIP": "give the server's CA bundle (pbx.ca_file) or its pin (pbx.certificate_sha256)",
}
#: OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED: by the clock of this machine.
OUT_OF_TIME = frozenset({9, 10})
#: Nothing of a request has left: the server, or the proxy in front of it, could not be reached.
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)

# Without a handler of its own each retry would appear as an error output, also in notebooks.
logging.getLogger("stamina").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class TimeLimits:
    """Seconds to wait for a connection and for an answer."""

    connect: float = 5.0
    answer: float = 20.0


@cache
def _public_trust() -> ssl.SSLContext:
    """The public certificate authorities; reading them takes 20 ms, so every section shares one."""
    return httpx.create_ssl_context(trust_env=False)


class _TryAgainError(Exception):
    """This attempt failed in a way that may pass and that is safe to repeat."""

    def __init__(self, cause: httpx.Response | httpx.TransportError | ValueError) -> None:
        super().__init__(str(cause))
        self.cause = cause

    @property
    def wait_s(self) -> float | None:
        """What the vendor asked us to wait, in seconds, if it did and if it is bearable."""
        if not isinstance(self.cause, httpx.Response):
            return None
        asked = self.cause.headers.get("Retry-After", "")
        return min(float(asked), LONGEST_WAIT_S) if asked.isdigit() else None


def _again(error: Exception) -> bool | float:
    if not isinstance(error, _TryAgainError):
        return False
    return True if error.wait_s is None else error.wait_s


class Transport:
    """HTTP to one vendor.

    Parameters
    ----------
    vendor
        ``"Twilio"`` or ``"PortSIP"``, for messages and the journal.
    journal
        Where writes are recorded; the only way in which one leaves.
    verify
        ``True`` for the public certificate authorities, or a context that trusts others.
    proxy
        ``http://HOST:PORT``, asked for a tunnel to the vendor; the environment's proxies are never used.
    limits
        Time limits of every request.
    """

    def __init__(
        self,
        vendor: str,
        journal: Journal,
        *,
        verify: ssl.SSLContext | bool = True,
        proxy: str | None = None,
        limits: TimeLimits | None = None,
    ) -> None:
        limits = limits or TimeLimits()
        self.vendor = vendor
        self.requests = 0
        self._journal = journal
        self._proxy = proxy
        self._client = httpx.Client(
            verify=_public_trust() if verify is True else verify,
            timeout=httpx.Timeout(limits.answer, connect=limits.connect),
            follow_redirects=False,
            proxy=proxy,
            trust_env=False,
        )

    @property
    def journal(self) -> Journal:
        """The journal of the run's writes."""
        return self._journal

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def send(
        self, request: httpx.Request, kind: Kind, *, result: Callable[[Any], str | None] | None = None
    ) -> httpx.Response:
        """Send a request and return the vendor's answer, whatever its status.

        ``kind`` is ``"read"``, ``"write"`` (journalled), ``"sign_in"`` (repeated only where the
        connection was refused: a second attempt could lock the account) or ``"sign_out"``.
        ``result`` picks the resource's id out of the answer.

        Raises ``UnreachableError`` when nothing was changed for sure, and ``OutcomeUnknownError``
        when a write may have happened.
        """
        attempts = SESSION_ATTEMPTS if kind in ("sign_in", "sign_out") else ATTEMPTS
        try:
            for attempt in stamina.retry_context(
                on=_again,
                attempts=attempts,
                wait_initial=FIRST_WAIT_S,
                wait_max=LONGEST_WAIT_S,
                wait_jitter=JITTER_S,
                timeout=None,
            ):
                with attempt:
                    return self._journalled(request, result) if kind == "write" else self._once(request, kind)
        except _TryAgainError as error:
            if isinstance(error.cause, httpx.Response):
                return error.cause
            raise self._unreachable(request, error.cause) from None
        raise AssertionError("the last attempt either returns or raises")

    def build(self, method: str, url: str, **content: Any) -> httpx.Request:
        """Return a request with this client's defaults (httpx's ``Client.build_request``)."""
        return self._client.build_request(method, url, **content)

    def _once(self, request: httpx.Request, kind: Kind) -> httpx.Response:
        try:
            response = self._answer(request)
            _check_json(response)
        except (httpx.TransportError, ValueError) as error:
            if _certificate_problem(error) or not _may_repeat(kind, error):
                raise self._unreachable(request, error) from None
            raise _TryAgainError(error) from None
        if kind == "read" and response.status_code in PASSING_STATUS:
            raise _TryAgainError(response)
        return response

    def _answer(self, request: httpx.Request) -> httpx.Response:
        """Send once, and learn from the answer what time it is for the vendor."""
        self.requests += 1
        asked_at = steady()
        response = self._client.send(request)
        self._journal.clocks.saw(self.vendor, response.headers.get("Date"), asked_at)
        return response

    def _journalled(
        self, request: httpx.Request, result: Callable[[Any], str | None] | None
    ) -> httpx.Response:
        entry = self._journal.sending(
            self.vendor, request.method, request.url.raw_path.decode(), _body(request)
        )
        started = time.monotonic()
        response: httpx.Response | None = None
        problem: httpx.TransportError | ValueError | None = None
        vendor_id: str | None = None
        fields: dict[str, Any] | None = None
        try:
            response = self._answer(request)
            _check_json(response)
            if result and response.is_success:
                answer = response.json() if response.content else None
                vendor_id = result(answer)
                if vendor_id and vendor_id not in request.url.path:  # it was made by this write
                    fields = _without_passwords(answer)
                elif vendor_id:
                    # Of a change only when it was made: whether somebody has changed it since shows by that.
                    fields = {name: answer[name] for name in ("date_updated",) if name in answer}
        except (httpx.TransportError, ValueError) as error:
            problem = error
        self._journal.answered(
            entry,
            status=response.status_code if response is not None and problem is None else None,
            request_id=response.headers.get("Twilio-Request-Id") if response is not None else None,
            seconds=time.monotonic() - started,
            result=vendor_id,
            error=f"{type(problem).__name__}: {problem}" if problem is not None else None,
            left=not isinstance(problem, NOT_SENT),
            fields=fields,
        )
        if problem is not None:
            if _certificate_problem(problem):
                raise self._unreachable(request, problem) from None
            if isinstance(problem, NOT_SENT):
                raise _TryAgainError(problem) from None
            raise self._outcome_unknown(request, f"{type(problem).__name__}") from None
        assert response is not None
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise _TryAgainError(response)
        if response.is_server_error:
            raise self._outcome_unknown(request, f"HTTP {response.status_code}")
        return response

    def _outcome_unknown(self, request: httpx.Request, how: str) -> OutcomeUnknownError:
        return OutcomeUnknownError(
            f"{self.vendor} gave no usable answer to {request.method} {request.url.path} ({how})",
            vendor=self.vendor,
            meaning="the change may or may not have been made",
            next_step="run the same section again: it reads first and sends only what is still missing",
        )

    def _unreachable(self, request: httpx.Request, cause: object) -> UnreachableError:
        if isinstance(cause, httpx.Response):
            status, how = cause.status_code, f"HTTP {cause.status_code}"
        else:
            status, how = None, str(cause) or type(cause).__name__
        host = f"{request.url.host}:{request.url.port or (443 if request.url.scheme == 'https' else 80)}"
        if self._proxy:
            host += f" (through the proxy {self._proxy})"
        problem = _certificate_problem(cause) if isinstance(cause, Exception) else None
        if problem is not None and problem.verify_code in OUT_OF_TIME:
            return UnreachableError(
                f"the certificate of {self.vendor} at {host} is not valid at the time of this machine,"
                f" {now()} ({problem.verify_message})",
                vendor=self.vendor,
                meaning="nothing was sent: either this machine's clock is wrong, or the certificate has"
                " run out",
                next_step="compare this machine's date and time (UTC) with another clock, and set it right;"
                " if it is right, have the server's certificate renewed",
            )
        if problem is not None:
            return UnreachableError(
                f"the certificate of {self.vendor} at {host} is not trusted ({how})",
                vendor=self.vendor,
                meaning="nothing was sent: whoever answers there could not prove to be the right server",
                next_step=TRUST[self.vendor],
            )
        return UnreachableError(
            f"{self.vendor} at {host} gave no usable answer to {request.method} {request.url.path} ({how})",
            vendor=self.vendor,
            status=status,
            meaning="nothing was changed by this request",
            next_step=f"check {'the proxy' if self._proxy else 'the network'} and the vendor's status page,"
            " then run the same section again",
        )


def _check_json(response: httpx.Response) -> None:
    """Raise ``ValueError`` for a success whose body should be JSON and is not (cut off, a proxy's page)."""
    if response.is_success and response.content:
        json.loads(response.content)


def _may_repeat(kind: Kind, error: Exception) -> bool:
    """Whether a request that is not journalled may be sent again after this error."""
    if kind == "sign_in":
        return isinstance(error, NOT_SENT)
    # A run that is at its end does not wait for a silent server twice: the token expires by itself.
    return kind == "read" or not isinstance(error, httpx.ReadTimeout)


def _certificate_problem(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _body(request: httpx.Request) -> Any:
    """Return a request's body as plain data, without the values of passwords."""
    text = request.content.decode()
    if not text:
        return None
    if request.headers.get("Content-Type", "").startswith("application/json"):
        fields = json.loads(text)
    else:
        fields = dict(httpx.QueryParams(text).multi_items())
    return _without_passwords(fields)


def _without_passwords(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: "(secret)" if name.lower() == "password" else value for name, value in fields.items()}
