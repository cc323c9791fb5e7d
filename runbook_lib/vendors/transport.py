"""The HTTP seam that both vendors' clients share: time limits, retries, and the journal of writes.

It is made of httpx transports around each other: ``_Remembering`` (reads) around ``_Retrying`` around
``_Journalling`` (writes) around ``_Budgeted`` around ``Wire``. What kind of request it is travels in the
request's ``extensions``. All of it may be used from several threads.

Reads are repeated after any temporary failure. Writes are repeated only if the vendor cannot
have seen them: a refused connection, or 429 (Twilio documents that a request answered 429 was not
processed), which is repeated for some minutes: others use the account and the PBX, too. Any other write
without a usable answer ends in ``OutcomeUnknownError``: the caller reads before it sends again.
"""

from __future__ import annotations

import json
import random
import select
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal

import httpx

from ..errors import OutcomeUnknownError, UnreachableError
from ..facts.side_by_side import others_begin
from ..records.clocks import steady
from ..records.journal import Journal
from ..records.result import now
from ..records.waits import Wait, Waits
from .answered import answered_first

if TYPE_CHECKING:
    from ..facts.moment import Moment
    from .budget import Budget

RequestKind = Literal["read", "write", "sign_in", "sign_out"]

ATTEMPTS = 5
SESSION_ATTEMPTS = 3
#: Between attempts: doubled each time up to the longest, and by chance up to the jitter more.
FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 8.0
JITTER_S = 1.0
#: For how long a request that is answered 429 is sent again: a vendor that counts by the minute takes some.
TOO_MANY_FOR_S = 240.0
PASSING_STATUS = frozenset({429, 500, 502, 503, 504})

#: What an operator can configure so that a certificate is trusted.
TRUST = {
    "Twilio": "if a proxy inspects TLS, give its CA bundle (twilio_accounts.NAME.ca_file)",
    "PortSIP": "give the server's CA bundle (pbx.ca_file) or its pin (pbx.certificate_sha256)",
}
#: OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED: by the clock of this machine.
OUT_OF_TIME = frozenset({9, 10})
#: Nothing of a request was sent: the server, or the proxy in front of it, could not be reached.
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)


@dataclass(frozen=True)
class TimeLimits:
    """Seconds to wait for a connection and for an answer."""

    connect: float = 5.0
    answer: float = 20.0


@cache
def load_public_trust() -> ssl.SSLContext:
    """Return the public certificate authorities; reading them takes 20 ms, so every section shares them."""
    return httpx.create_ssl_context(trust_env=False)


class _TryAgainError(Exception):
    """This attempt failed in a way that is temporary and safe to repeat."""

    def __init__(self, cause: httpx.Response | httpx.TransportError | ValueError) -> None:
        super().__init__(str(cause))
        self.cause = cause

    @property
    def is_too_many(self) -> bool:
        """Whether the vendor answered 429."""
        return isinstance(self.cause, httpx.Response) and _is_too_many(self.cause)

    @property
    def wait_s(self) -> float | None:
        """How long the vendor asked us to wait, in seconds, if it did and if that is acceptable."""
        if not isinstance(self.cause, httpx.Response):
            return None
        asked_s = _retry_after_s(self.cause)
        return None if asked_s is None else min(asked_s, LONGEST_WAIT_S)

    @property
    def words(self) -> str:
        """What happened, to follow the vendor's name."""
        if isinstance(self.cause, httpx.Response):
            status = self.cause.status_code
            return f"answered {status} ({httpx.codes.get_reason_phrase(status).lower()})"
        if isinstance(self.cause, NOT_SENT):
            through = " through the proxy" if isinstance(self.cause, httpx.ProxyError) else ""
            return f"cannot be reached{through}"
        if isinstance(self.cause, httpx.TimeoutException):
            return "gave no answer in time"
        if isinstance(self.cause, httpx.TransportError):
            return "broke off the connection"
        return "gave an answer that cannot be used"


def _is_too_many(response: httpx.Response) -> bool:
    return response.status_code == httpx.codes.TOO_MANY_REQUESTS


def _retry_after_s(response: httpx.Response) -> float | None:
    asked = response.headers.get("Retry-After", "")
    return float(asked) if asked.isdigit() else None


class _Repeats:
    """The further attempts of one request, and the pauses between them.

    An answer of 429 says nothing about the request, so attempts that are answered so do not count: they are
    repeated for some minutes from the first of them on.
    """

    def __init__(self, kind: RequestKind) -> None:
        self._attempts = SESSION_ATTEMPTS if kind in ("sign_in", "sign_out") else ATTEMPTS
        #: The end of a run does not wait for minutes.
        self._is_patient = kind != "sign_out"
        self._failed, self._refused = 0, 0
        self._began = 0.0

    def wait_after(self, error: _TryAgainError, vendor: str) -> Wait | None:
        """Return the wait for the next attempt, from now on; ``None`` if the one that failed was the last."""
        now, attempts, last = time.time(), 0, None
        if error.is_too_many and self._is_patient:
            self._began = self._began or steady()
            left_s = self._began + TOO_MANY_FOR_S - steady()
            self._refused += 1
            number, last, is_last = self._refused, now + left_s, left_s < 0
        else:
            self._failed += 1
            number, attempts, is_last = self._failed, self._attempts, self._failed == self._attempts
        if is_last:
            return None
        pause_s = error.wait_s
        if pause_s is None:
            pause_s = min(FIRST_WAIT_S * 2.0 ** min(number - 1, 10), LONGEST_WAIT_S)
        # By chance longer, so that those who were refused together do not come again together.
        pause_s += JITTER_S * random.random()  # noqa: S311 - not a secret
        return Wait(f"{vendor} {error.words}", now, now + pause_s, number + 1, attempts, last)


class Transport:
    """HTTP to one vendor.

    Parameters
    ----------
    vendor
        ``"Twilio"`` or ``"PortSIP"``, for messages and the journal.
    journal
        Where writes are recorded; no write is sent in any other way.
    verify
        ``True`` for the public certificate authorities, or a context that trusts others.
    proxy
        ``http://HOST:PORT``, asked for a tunnel to the vendor; the environment's proxies are never used.
    limits
        Time limits of every request.
    moment
        Remembers what was read; without one every read is sent.
    budget
        The requests that may be in flight; without one, any number.
    waits
        Where each wait is reported: between two attempts, and for a turn.
    """

    def __init__(
        self,
        vendor: str,
        journal: Journal,
        *,
        verify: ssl.SSLContext | bool = True,
        proxy: str | None = None,
        limits: TimeLimits | None = None,
        moment: Moment | None = None,
        budget: Budget | None = None,
        waits: Waits | None = None,
    ) -> None:
        limits, self.waits = limits or TimeLimits(), waits or Waits()
        self.vendor = vendor
        self._journal = journal
        self._wire = Wire(
            httpx.HTTPTransport(
                verify=load_public_trust() if verify is True else verify,
                # A full pool may close a connection that another thread was just given (httpcore #1110).
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
                proxy=proxy,
                trust_env=False,
            ),
            vendor,
            journal,
        )
        peer = _Peer(vendor, proxy)
        layers: httpx.BaseTransport = self._wire
        if budget is not None:
            layers = _Budgeted(layers, vendor, budget, journal, self.waits)
        layers = _Retrying(_Journalling(layers, peer, journal), peer, self.waits)
        if moment is not None:
            layers = _Remembering(layers, vendor, moment, journal)
        self._client = httpx.Client(
            transport=layers,
            timeout=httpx.Timeout(limits.answer, connect=limits.connect),
            follow_redirects=False,
            trust_env=False,
        )

    @property
    def journal(self) -> Journal:
        """The journal of the run's writes."""
        return self._journal

    @property
    def requests(self) -> int:
        """How many requests were sent so far."""
        return self._wire.requests

    def finish(self) -> None:
        """Send nothing but sign-outs from now on, so that no abandoned thread signs in again."""
        self._wire.is_finished = True

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def send(
        self,
        request: httpx.Request,
        kind: RequestKind,
        *,
        result: Callable[[Any], str | None] | None = None,
        scope: str | None = None,
        sign: Callable[[httpx.Request], None] | None = None,
    ) -> httpx.Response:
        """Send a request and return the vendor's answer, whatever its status.

        ``kind`` is ``"read"``, ``"write"`` (journalled), ``"sign_in"`` (repeated only where the
        connection was refused: a second attempt could lock the account) or ``"sign_out"``.
        ``result`` picks the resource's id out of the answer. ``scope`` says on whose behalf a read is
        sent, where that is not in its URL; without it the answer is never one of a moment. ``sign`` gives
        the request its credentials, if it has to be sent.

        Raises ``UnreachableError`` if it is certain that nothing was changed, and ``OutcomeUnknownError``
        if a write may have happened.
        """
        request.extensions |= {KIND: kind, RESULT: result, SCOPE: scope, SIGN: sign}
        return self._client.send(request)

    def build(self, method: str, url: str, **content: Any) -> httpx.Request:
        """Return a request with this client's defaults (httpx's ``Client.build_request``)."""
        return self._client.build_request(method, url, **content)


#: What ``request.extensions`` says of a request, for the layers below the client.
KIND, RESULT, SCOPE, SIGN = "runbook.kind", "runbook.result", "runbook.scope", "runbook.sign"


class _Layer(httpx.BaseTransport):
    """A transport around another one."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner

    def close(self) -> None:
        self._inner.close()


class _Remembering(_Layer):
    """Sends a read once within a moment; a write ends it, before it is sent and again when it is answered."""

    def __init__(self, inner: httpx.BaseTransport, vendor: str, moment: Moment, journal: Journal) -> None:
        super().__init__(inner)
        self._vendor = vendor
        self._moment = moment
        self._journal = journal

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        kind, scope = request.extensions[KIND], request.extensions[SCOPE]
        if kind == "write":
            self._moment.begin()
            try:
                return self._inner.handle_request(request)
            finally:
                self._moment.begin()
        # A read in the middle of a change must see the present state.
        if kind != "read" or scope is None or self._journal.is_writing:
            return self._inner.handle_request(request)
        key = (self._vendor, scope, request.method, str(request.url))
        return self._moment.once(key, lambda: self._inner.handle_request(request))


class _Retrying(_Layer):
    """Repeats what failed temporarily, if that is safe; waits in between, and lets other reads begin."""

    def __init__(self, inner: httpx.BaseTransport, peer: _Peer, waits: Waits) -> None:
        super().__init__(inner)
        self._peer = peer
        self._waits = waits

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        kind = request.extensions[KIND]
        others_begin()
        if request.extensions[SIGN]:
            request.extensions[SIGN](request)
        # The journal decides whether a write may be repeated.
        send: Callable[[httpx.Request], httpx.Response]
        send = self._inner.handle_request if kind == "write" else partial(self._once, kind)
        repeats = _Repeats(kind)
        with self._waits.one() as begin:
            while True:
                try:
                    return send(request)
                except _TryAgainError as error:
                    wait = repeats.wait_after(error, self._peer.vendor)
                    if wait is None:
                        if isinstance(error.cause, httpx.Response):
                            return error.cause
                        raise self._peer.unreachable(request, error.cause) from None
                begin(wait)
                # Not time.sleep, which fails where the clock is set while it sleeps (libfaketime).
                select.select([], [], [], wait.seconds)

    def _once(self, kind: RequestKind, request: httpx.Request) -> httpx.Response:
        try:
            response = self._inner.handle_request(request)
            _check_json(response)
        except (httpx.TransportError, ValueError) as error:
            if _certificate_problem(error) or not _may_repeat(kind, error):
                raise self._peer.unreachable(request, error) from None
            raise _TryAgainError(error) from None
        if _is_too_many(response) or (kind == "read" and response.status_code in PASSING_STATUS):
            raise _TryAgainError(response)
        return response


class _Journalling(_Layer):
    """Records each attempt of a write before it is sent and when it is answered."""

    def __init__(self, inner: httpx.BaseTransport, peer: _Peer, journal: Journal) -> None:
        super().__init__(inner)
        self._peer = peer
        self._journal = journal

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.extensions[KIND] != "write":
            return self._inner.handle_request(request)
        with answered_first():
            return self._journalled(request)

    def _journalled(self, request: httpx.Request) -> httpx.Response:
        result: Callable[[Any], str | None] | None = request.extensions[RESULT]
        entry = self._journal.sending(
            self._peer.vendor, request.method, request.url.raw_path.decode(), _body(request)
        )
        started = time.monotonic()
        response: httpx.Response | None = None
        problem: httpx.TransportError | ValueError | None = None
        vendor_id: str | None = None
        fields: dict[str, Any] | None = None
        try:
            response = self._inner.handle_request(request)
            _check_json(response)
            if result and response.is_success:
                answer: Any = response.json() if response.content else None
                vendor_id = result(answer)
                if vendor_id and vendor_id not in request.url.path:  # it was made by this write
                    fields = _without_passwords(answer)
                elif vendor_id:
                    # For a change, only when it was made: that shows whether somebody has changed it since.
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
                raise self._peer.unreachable(request, problem) from None
            if isinstance(problem, NOT_SENT):
                raise _TryAgainError(problem) from None
            raise self._peer.outcome_unknown(request, f"{type(problem).__name__}") from None
        assert response is not None
        if _is_too_many(response):
            raise _TryAgainError(response)
        if response.is_server_error:
            raise self._peer.outcome_unknown(request, f"HTTP {response.status_code}")
        return response


class _Budgeted(_Layer):
    """Holds one of the account's slots for each exchange."""

    def __init__(
        self, inner: httpx.BaseTransport, vendor: str, budget: Budget, journal: Journal, waits: Waits
    ) -> None:
        super().__init__(inner)
        self._vendor = vendor
        self._budget = budget
        self._journal = journal
        self._waits = waits

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        # A section that has written reads to see the result.
        confirms = self._journal.is_writing or self._journal.writes > 0
        first = confirms or request.extensions[KIND] != "read"
        with ExitStack() as held:
            with self._waits.one() as begin:
                held.enter_context(self._budget.slot(first=first, waiting=partial(self._report, begin)))
            sent_at = time.time()  # after waiting for its turn
            response = self._inner.handle_request(request)
        if _is_too_many(response):
            self._budget.refused(sent_at, _retry_after_s(response))
        return response

    def _report(self, begin: Callable[[Wait], object], pause_s: float | None) -> None:
        wait = Wait(f"{self._vendor} is sent no more requests at present")
        begin(wait if pause_s is None else replace(wait, until=wait.since + pause_s))


class Wire(_Layer):
    """One exchange with the vendor: sends, reads all of the answer, and learns the vendor's time from it."""

    def __init__(self, inner: httpx.BaseTransport, vendor: str, journal: Journal) -> None:
        super().__init__(inner)
        self.requests = 0
        self.is_finished = False
        self._vendor = vendor
        self._journal = journal
        self._counting = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send once."""
        if self.is_finished and request.extensions[KIND] != "sign_out":
            raise RuntimeError("nothing more is sent: the run has signed out")
        with self._counting:
            self.requests += 1
        asked_at = steady()
        response = self._inner.handle_request(request)
        response.request = request
        try:
            response.read()
        finally:
            response.close()
        _check_redirect(response)
        self._journal.clocks.saw(self._vendor, response.headers.get("Date"), asked_at)
        reported = response.headers.get("Twilio-Concurrent-Requests", "")
        if reported.isdigit() and len(reported) < 7:
            with self._counting:
                self._journal.most_at_once = max(self._journal.most_at_once, int(reported))
        return response


@dataclass(frozen=True)
class _Peer:
    """The other side of the connection, for messages."""

    vendor: str
    proxy: str | None

    def outcome_unknown(self, request: httpx.Request, how: str) -> OutcomeUnknownError:
        return OutcomeUnknownError(
            f"{self.vendor} gave no usable answer to {request.method} {request.url.path} ({how})",
            vendor=self.vendor,
            meaning="the change may or may not have been made",
            next_step="run the same section again: it reads the current state and sends only what is missing",
        )

    def unreachable(self, request: httpx.Request, cause: object) -> UnreachableError:
        if isinstance(cause, httpx.Response):
            status, how = cause.status_code, f"HTTP {cause.status_code}"
        else:
            status, how = None, str(cause) or type(cause).__name__
        host = f"{request.url.host}:{request.url.port or (443 if request.url.scheme == 'https' else 80)}"
        if self.proxy:
            host += f" (through the proxy {self.proxy})"
        problem = _certificate_problem(cause) if isinstance(cause, Exception) else None
        if problem is not None and problem.verify_code in OUT_OF_TIME:
            return UnreachableError(
                f"the certificate of {self.vendor} at {host} is not valid by this machine's clock,"
                f" {now()} ({problem.verify_message})",
                vendor=self.vendor,
                meaning="nothing was sent: either this machine's clock is wrong, or the certificate has"
                " expired",
                next_step="compare this machine's date and time (UTC) with another clock, and correct it;"
                " if it is right, have the server's certificate renewed",
            )
        if problem is not None:
            return UnreachableError(
                f"the certificate of {self.vendor} at {host} is not trusted ({how})",
                vendor=self.vendor,
                meaning="nothing was sent: whatever answered there could not prove that it is the "
                "right server",
                next_step=TRUST[self.vendor],
            )
        return UnreachableError(
            f"{self.vendor} at {host} gave no usable answer to {request.method} {request.url.path} ({how})",
            vendor=self.vendor,
            status=status,
            meaning="nothing was changed by this request",
            next_step=f"check {'the proxy' if self.proxy else 'the network'} and the vendor's status page,"
            " then run the same section again",
        )


def _check_redirect(response: httpx.Response) -> None:
    """Raise ``RemoteProtocolError`` for an invalid redirection; httpx would raise it outside the layers."""
    try:
        if response.has_redirect_location:
            httpx.URL(response.headers["Location"])
    except httpx.InvalidURL as error:
        raise httpx.RemoteProtocolError(f"Invalid URL in location header: {error}.") from None


def _check_json(response: httpx.Response) -> None:
    """Raise ``ValueError`` for a success whose body should be JSON and is not (cut off, a proxy's page)."""
    if response.is_success and response.content:
        json.loads(response.content)


def _may_repeat(kind: RequestKind, error: Exception) -> bool:
    """Whether a request that is not journalled may be sent again after this error."""
    if kind == "sign_in":
        return isinstance(error, NOT_SENT)
    # A run that is ending does not wait twice for a silent server: the token expires by itself.
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
